from types import SimpleNamespace

import pytest
import torch

from pcsargmax import Grid, Triangular, soft_argmax
from pcsargmax.core import losses as core
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import ImageBatch
from pcsargmax.training.images.pose_module import PoseModule


@pytest.fixture
def make():
    """A module for 64 x 64 images, a batch of three and what it logs; keywords are settings."""

    def build(**changes):
        small = {"size": (64, 64), "trunk": "tiny", "deconv_channels": 8, "num_samples": 2}
        settings = ImageSettings(**(small | changes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = SimplePose(4, "tiny", size=(64, 64), depth_bins=settings.depth_bins or None, deconv_channels=8)
            torch.nn.init.normal_(network.scores.weight, std=0.5)  # maps with some form
        module = PoseModule(network, settings, {"version": 1})
        logged = {}
        module.log = lambda name, value, **_: logged.update({name: value})
        module._trainer = SimpleNamespace(
            estimated_stepping_batches=10, global_step=0, global_rank=0, world_size=1, strategy=None
        )
        return module, batch(3 if settings.depth_bins else 2), logged

    return build


def batch(dimension: int) -> ImageBatch:
    generator = torch.Generator().manual_seed(1)
    visible = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1]], dtype=torch.bool)
    has_depth = visible.clone() if dimension == 3 else torch.zeros_like(visible)
    if dimension == 3:
        has_depth[:, 3] = False
        has_depth[2] = False
    target = torch.rand(3, 4, dimension, generator=generator) * (8 if dimension == 3 else 15)
    target[~visible] = 0
    if dimension == 3:
        target[..., 2] = target[..., 2].where(has_depth, 0)
    return ImageBatch(torch.rand(3, 3, 64, 64, generator=generator) - 0.5, target, visible, has_depth)


def test_the_loss_is_the_mean_error_of_visible_keypoints_in_cells(make):
    module, images, logged = make(objective="soft")
    loss = module.training_step(images, 0)
    again, _, _ = make()
    found = soft_argmax(again(images), Grid((16, 16)))
    torch.testing.assert_close(loss, (found - images.target).abs().sum(dim=-1)[images.visible].mean())
    assert torch.equal(logged["train/loss"], loss)


def test_the_noise_of_a_step_is_a_function_of_seed_and_step(make):
    module, images, _ = make()
    again, _, _ = make()
    other, _, _ = make(seed=1)
    first = module.training_step(images, 0)
    assert torch.equal(first, again.training_step(images, 0))
    assert not torch.equal(first, other.training_step(images, 0))
    module._trainer.global_step = 1
    assert not torch.equal(first, module.training_step(images, 0))


def test_absent_keypoints_have_no_gradient(make):
    module, images, _ = make(objective="sampling")
    images = images._replace(visible=images.visible & torch.tensor([True, True, True, False]))
    module.training_step(images, 0).backward()
    slopes = module.network.scores.weight.grad.flatten(1).abs().sum(dim=1)
    assert slopes[3] == 0
    assert (slopes[:3] > 0).all()


@pytest.mark.parametrize("bins", [0, 8])
@pytest.mark.parametrize("objective", ["sampling", "soft_vr"])
def test_a_batch_without_visible_keypoints_has_a_loss_of_0(make, objective, bins):
    data = "figures3d" if bins else "coco"
    module, images, _ = make(objective=objective, depth_bins=bins, data=data)
    nothing = torch.zeros_like(images.visible)
    loss = module.training_step(images._replace(visible=nothing, has_depth=nothing), 0)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_keypoints_without_depth_are_compared_with_the_map_that_is_summed_over_it(make):
    module, images, _ = make(objective="soft", depth_bins=8, data="figures3d")
    logits = module(images)
    flat = images.visible & ~images.has_depth
    assert 0 < flat.sum() < images.visible.sum()
    cube = soft_argmax(logits, Grid((8, 16, 16)))
    # the expectation of x and y is that of the whole map
    errors = (cube - images.target).abs()
    expected = errors[images.has_depth].sum() + errors[flat][:, :2].sum()
    loss = module.location_loss(logits, images, 0.0, None)
    torch.testing.assert_close(loss, expected / images.visible.sum())


def test_a_sampled_loss_of_depth_is_the_core_s(make):
    module, images, _ = make(depth_bins=8, data="figures3d", temperature_schedule="constant", num_samples=3)
    images = images._replace(visible=images.has_depth)
    logits = module(images)
    found = module.location_loss(logits, images, 0.0, torch.Generator().manual_seed(5))
    rows = images.has_depth
    expected = core.expected_error(
        logits[rows].unsqueeze(1),
        Grid((8, 16, 16)),
        images.target[rows].unsqueeze(1),
        basis=Triangular(),
        num_samples=3,
        temperature=2.0,
        generator=torch.Generator().manual_seed(5),
    )
    torch.testing.assert_close(found, expected.mean())


@pytest.mark.parametrize("bins", [0, 8])
def test_validation_logs_the_mean_error_in_cells(make, bins):
    module, images, logged = make(depth_bins=bins, data="figures3d" if bins else "coco")
    module.eval()
    module.validation_step(images, 0)
    module.validation_step(images, 1)
    module.on_validation_epoch_end()
    found = soft_argmax(module(images), module.network.grid)
    away = found - images.target
    if bins:
        away[..., 2] = away[..., 2].where(images.has_depth, 0)
    errors = away.norm(dim=-1)[images.visible]
    torch.testing.assert_close(logged["val/error"], errors.mean())
    torch.testing.assert_close(logged["val/pck@2"], (errors <= 2).float().mean())
    logged.clear()
    module.validation_step(images, 0)  # nothing is left of before
    module.on_validation_epoch_end()
    torch.testing.assert_close(logged["val/error"], errors.mean())


def test_validation_without_a_keypoint_is_told(make):
    module, images, _ = make(data="coco")
    module.validation_step(images._replace(visible=torch.zeros_like(images.visible)), 0)
    with pytest.raises(ValueError, match="coco: validation needs at least one keypoint within an image, got none"):
        module.on_validation_epoch_end()


def test_the_rate_falls_after_the_steps(make):
    module, _, _ = make(lr=0.01, lr_steps=(2, 3), lr_decay=0.5)
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == [0.01, 0.01, 0.005, 0.0025, 0.0025]
    for changes in ({"lr_steps": ()}, {"lr_schedule": "constant"}):
        assert isinstance(make(**changes)[0].configure_optimizers(), torch.optim.AdamW)
    cycle = make(lr_schedule="onecycle", lr=0.01)[0].configure_optimizers()["lr_scheduler"]
    assert (cycle["interval"], cycle["scheduler"].total_steps) == ("step", 10)


def test_the_checkpoint_holds_what_opens_the_run_again(make):
    module, _, _ = make()
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {"pcsargmax": {"version": 1}}
