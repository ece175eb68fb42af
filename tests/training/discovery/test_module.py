import math
from types import SimpleNamespace

import pytest
import torch

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.regularizers import distribution_regularizer, variance_regularizer
from pcsargmax.models.skeleton_merger import SkeletonMerger, SkeletonScores
from pcsargmax.ops.skeleton import edge_count, skeleton_loss
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_clouds
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.discovery.module import DiscoverModule, draw_keypoints, regularization, separation_penalty
from pcsargmax.transforms.frames import NormalizeMinMax


@pytest.fixture(scope="module")
def merger():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SkeletonMerger(3, "light", dropout=0.5)


@pytest.fixture
def batch(box_root, merger):
    """Three clouds of unequal size."""
    dataset = open_clouds(DiscoverSettings(data="box", root=str(box_root)), "all")
    items = [prepare(dataset[i], merger.backbone, NormalizeMinMax()) for i in range(3)]
    return collate([PreparedClouds(items, merger.backbone)[i] for i in range(3)])


def module(merger, **changes) -> tuple[DiscoverModule, dict[str, float]]:
    """A module outside a trainer, at step 5 of 10, and what it logs."""
    made = DiscoverModule(merger, DiscoverSettings(data="box", keypoints=3, **changes), {})
    logged: dict[str, float] = {}
    made.log = lambda name, value, **_: logged.update({name: float(value)})
    made._trainer = SimpleNamespace(global_step=5, estimated_stepping_batches=10, global_rank=0)
    return made, logged


def scores(generator_seed: int = 0) -> SkeletonScores:
    generator = torch.Generator().manual_seed(generator_seed)
    sites = torch.rand(2, 20, 3, generator=generator)
    mask = torch.arange(20) < torch.tensor([[20], [12]])
    return SkeletonScores(
        torch.randn(2, 3, 20, generator=generator), sites, mask, torch.rand(2, 3, generator=generator)
    )


@pytest.mark.parametrize("spacing", [0.03, 0.001])  # 15 points an edge, and more
def test_the_loss_of_a_soft_step_is_that_of_the_skeleton(merger, batch, spacing):
    made, logged = module(merger.eval(), objective="soft", separation=0.0, edge_spacing=spacing)
    loss = made.training_step(batch, 0)
    with torch.no_grad():
        found = made(batch)
        keypoints = soft_argmax(found.logits, found.sites, mask=found.mask)
        counts = edge_count(keypoints, spacing)
        expected = skeleton_loss(keypoints, found.strengths, merger.offsets, found.sites, found.mask, counts=counts)
    assert (counts > 15).all() == (spacing < 0.01)
    torch.testing.assert_close(loss.detach(), expected.total.mean())
    assert logged["train/fidelity"] == pytest.approx(float(expected.fidelity.mean()))
    assert logged["train/coverage"] == pytest.approx(float(expected.coverage.mean()))
    apart = torch.stack([torch.pdist(of_cloud).min() for of_cloud in keypoints])
    assert logged["train/min_distance"] == pytest.approx(float(apart.mean()), rel=1e-5)


@pytest.mark.parametrize("objective", ["soft", "sampling"])
def test_what_is_kept_apart_are_the_expectations(merger, batch, objective):
    # Samples of maps that coincide lie apart by chance: a penalty on them would let the keypoints fall together.
    losses = {
        distance: module(merger.eval(), objective=objective, separation=distance, separation_weight=3.0)[0]
        .training_step(batch, 0)
        .item()
        for distance in (0.0, 2.0)
    }
    distance = 2 * math.sqrt(10 / 3)  # of three keypoints
    with torch.no_grad():
        found = module(merger.eval())[0](batch)
        crowding = separation_penalty(soft_argmax(found.logits, found.sites, mask=found.mask), distance).mean()
    assert losses[2.0] - losses[0.0] == pytest.approx(3 * crowding.item(), rel=1e-4)
    assert crowding > 0.1


def test_validation_is_by_the_soft_argmax_whatever_the_objective(merger, batch):
    losses = []
    for objective in ("soft", "sampling", "soft_dr"):
        made, logged = module(merger.eval(), objective=objective)
        made.validation_step(batch, 0)
        losses.append(logged["val/loss"])
    assert losses[0] == losses[1] == losses[2]


def test_a_step_repeats_and_leaves_the_global_generator_alone(merger, batch):
    made, _ = module(merger.train(), num_samples=2)
    buffers = {name: value.clone() for name, value in merger.named_buffers()}
    values = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        values.append(float(made.training_step(batch, 0).detach()))
        assert torch.equal(torch.get_rng_state(), state)
        for name, value in merger.named_buffers():
            value.copy_(buffers[name])
    assert values[0] == values[1]
    made._trainer.global_step = 6
    assert float(made.training_step(batch, 0).detach()) != values[0]


def test_every_parameter_learns(merger, batch):
    made, _ = module(merger.train())
    merger.zero_grad()
    made.training_step(batch, 0).backward()
    for name, parameter in merger.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert merger.offsets.grad.abs().sum() > 0


def test_samples_of_a_cloud_follow_each_other():
    its = scores()
    settings = DiscoverSettings(num_samples=4)
    drawn = draw_keypoints(its, settings, torch.tensor([0.01, 0.01]), 1.0, torch.Generator().manual_seed(0))
    assert drawn.shape == (8, 3, 3)
    # So sharp a map leaves nothing to draw: all samples of a cloud are its peaks, and those of the two clouds differ.
    sharp = its._replace(logits=1e4 * its.logits)
    drawn = draw_keypoints(sharp, settings, torch.zeros(2), 1.0, torch.Generator().manual_seed(0))
    peak = sharp.logits.masked_fill(~its.mask[:, None], -math.inf).argmax(dim=2)
    expected = torch.stack([site[row] for site, row in zip(its.sites, peak, strict=True)])
    torch.testing.assert_close(drawn, expected.repeat_interleave(4, dim=0))


def test_other_objectives_take_the_expectation():
    its = scores()
    expected = soft_argmax(its.logits, its.sites, mask=its.mask)
    for objective in ("soft", "soft_vr", "soft_dr"):
        assert torch.equal(draw_keypoints(its, DiscoverSettings(objective=objective), torch.ones(2), 1.0), expected)


def test_regularizers_are_weighted_means():
    its, sigma = scores(), torch.tensor([0.1, 0.2])
    assert float(regularization(its, DiscoverSettings(), sigma)) == 0
    for objective, function in (("soft_vr", variance_regularizer), ("soft_dr", distribution_regularizer)):
        settings = DiscoverSettings(objective=objective, regularizer_weight=0.3, target_variance=2.0)
        expected = 0.3 * function(its.logits, its.sites, target_variance=2.0, spacing=sigma, mask=its.mask).mean()
        torch.testing.assert_close(regularization(its, settings, sigma), expected)


def test_optimizers_are_those_of_the_settings(merger):
    optimizer = module(merger, optimizer="adadelta", lr=1.0)[0].configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adadelta)
    assert (optimizer.defaults["lr"], optimizer.defaults["eps"], optimizer.defaults["rho"]) == (1.0, 1e-2, 0.9)
    made = module(merger, lr_schedule="onecycle", lr=0.01)[0].configure_optimizers()
    assert isinstance(made["optimizer"], torch.optim.Adam)
    assert made["lr_scheduler"]["interval"] == "step"


def test_separation_by_hand():
    keypoints = torch.tensor([[[0.0, 0, 0], [0.05, 0, 0], [1, 0, 0]]], requires_grad=True)
    penalty = separation_penalty(keypoints, 0.1)  # one pair of three at half the distance
    assert penalty.tolist() == [pytest.approx(0.25 / 3, rel=1e-3)]
    (slope,) = torch.autograd.grad(penalty.sum(), keypoints)
    assert slope[0, 0, 0] > 0  # downhill they part
    assert slope[0, 1, 0] < 0
    assert slope[0, 2].tolist() == [0, 0, 0]
    together = torch.zeros(1, 4, 3, requires_grad=True)
    penalty = separation_penalty(together, 0.1)
    assert penalty.item() == pytest.approx(1, abs=3e-3)
    assert torch.autograd.grad(penalty.sum(), together)[0].isfinite().all()


def test_separation_is_added_to_the_loss(merger, batch):
    losses = [
        float(module(merger.eval(), objective="soft", separation=s)[0].training_step(batch, 0).detach())
        for s in (0.0, 0.5)
    ]
    weighted = module(merger.eval(), objective="soft", separation=0.5, separation_weight=3.0)[0]
    assert losses[1] > losses[0]
    added = float(weighted.training_step(batch, 0).detach()) - losses[0]
    assert added == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-3)
