import copy
import re

import pytest
import torch
from torch import nn

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.cells import Triangular
from pcsargmax.core.grid import Grid
from pcsargmax.core.losses import expected_error
from pcsargmax.models.simple_pose import SimplePose

pytest.importorskip("transformers", reason="the extra `image` is not installed")


def images(count=2, size=(64, 32)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


def tiny(**arguments) -> SimplePose:
    torch.manual_seed(0)
    return SimplePose(5, "tiny", **{"size": (64, 32), "deconv_channels": 8} | arguments)


@pytest.mark.parametrize("bins", [None, 6, 1])
def test_maps_are_at_a_quarter_of_the_image(bins):
    model = tiny(depth_bins=bins)
    shape = (16, 8) if bins is None else (bins, 16, 8)
    assert model.grid == Grid(shape)
    assert model.stride == 4
    logits = model(images())
    assert logits.shape == (2, 5, *shape)
    assert soft_argmax(logits, model.grid).shape == (2, 5, len(shape))


def test_the_published_sizes_and_weights():
    with torch.device("meta"):
        coco = SimplePose(17, "resnet50")
        human = SimplePose(18, "resnet50", size=(256, 256), depth_bins=32)
        assert coco(torch.zeros(1, 3, 256, 192)).shape == (1, 17, 64, 48)
        assert human(torch.zeros(1, 3, 256, 256)).shape == (1, 18, 32, 64, 64)
    # the trunk; three deconvolutions of 4 x 4 with two numbers per channel to normalise; 1 x 1 with bias
    trunk = 25_557_032 - 2_049_000
    deconvolutions = 16 * 256 * (2048 + 256 + 256) + 3 * 2 * 256
    assert sum(p.numel() for p in coco.parameters()) == trunk + deconvolutions + 257 * 17
    assert sum(p.numel() for p in human.parameters()) == trunk + deconvolutions + 257 * 18 * 32


def test_it_begins_with_flat_maps_and_every_keypoint_in_the_middle():
    model = tiny(size=(64, 64), deconv_channels=64, depth_bins=4)
    logits = model(images(4, (64, 64)))
    maps = logits.flatten(2).softmax(dim=-1)
    assert maps.max() < 1.1 / (4 * 16 * 16)
    middle = torch.tensor([7.5, 7.5, 1.5])
    torch.testing.assert_close(soft_argmax(logits, model.grid), middle.expand(4, 5, 3), atol=0.05, rtol=0)
    for layer in model.deconvolutions:
        assert layer[0].weight.std().item() == pytest.approx(0.001, rel=0.05)
        assert layer[0].bias is None
    assert not model.scores.bias.any()


def test_a_keypoint_has_its_own_depths():
    """Channel k · depth_bins + z of the scores is depth z of keypoint k."""
    model = tiny(depth_bins=3).eval()
    with torch.no_grad():
        model.scores.bias.copy_(torch.arange(15.0) * 100)
        nn.init.zeros_(model.scores.weight)
    logits = model(images(1))
    expected = torch.arange(15.0).reshape(1, 5, 3, 1, 1).expand_as(logits) * 100
    assert torch.equal(logits, expected)


def test_it_learns_where_a_dot_is():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = SimplePose(1, "tiny", size=(32, 32), deconv_channels=16)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        place = torch.randint(4, 28, (16, 2), generator=generator)
        dots = torch.zeros(16, 3, 32, 32)
        for number, (x, y) in enumerate(place.tolist()):
            dots[number, :, y - 2 : y + 3, x - 2 : x + 3] = 1
        target = (place / model.stride).unsqueeze(1)
        settings = {"basis": Triangular(), "num_samples": 5, "generator": generator}
        loss = expected_error(model(dots), model.grid, target, **settings).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])  # half of it; how sums are rounded differs with the threads


def test_every_weight_gets_a_gradient_and_a_copy_works_alike():
    model = tiny(size=(64, 64))
    model(images(2, (64, 64))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    twin = copy.deepcopy(model).eval()
    other = SimplePose(5, "tiny", size=(64, 64), deconv_channels=8).eval()
    other.load_state_dict(model.state_dict())
    expected = model.eval()(images(2, (64, 64)))
    assert torch.equal(twin(images(2, (64, 64))), expected)
    assert torch.equal(other(images(2, (64, 64))), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_keypoints": 0}, "num_keypoints: expected at least 1, got 0"),
        ({"depth_bins": 0}, "depth_bins: expected at least 1, got 0"),
        ({"deconv_channels": -1}, "deconv_channels: expected at least 1, got -1"),
        ({"size": (100, 96)}, "size: expected a height and width that are multiples of 32, got (100, 96)"),
        ({"size": (0, 96)}, "multiples of 32, got (0, 96)"),
        ({"size": (96,)}, "multiples of 32, got (96,)"),
        ({"trunk": "resnet"}, "trunk: expected one of resnet18, resnet50, tiny, got 'resnet'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SimplePose(**{"num_keypoints": 3, "trunk": "tiny"} | arguments)


@pytest.mark.parametrize("shape", [(1, 3, 32, 64), (1, 1, 64, 32), (3, 64, 32), (1, 3, 64, 33)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=re.escape(f"images: expected shape (B, 3, 64, 32), got {shape}")):
        tiny()(torch.zeros(shape))
