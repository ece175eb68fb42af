import math
import re

import pytest
import torch

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.circular import difference, embed, recover, wrap
from pcsargmax.core.grid import Grid

TURN = 2 * math.pi


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_embed_by_hand():
    positions = torch.tensor([[90.0, 7.0], [180.0, -1.0], [-30.0, 0.0]])
    radius = 360 / TURN
    root = math.sqrt(3) / 2
    expected = [[0, radius, 7], [-radius, 0, -1], [radius * root, -radius / 2, 0]]
    torch.testing.assert_close(embed(positions, (360.0, None)), torch.tensor(expected), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("periods", [(360.0, None, 2.0), (None, 1.0, None), (None, None, None), (TURN, TURN, TURN)])
def test_recover_undoes_embed(periods):
    positions = torch.rand(5, 4, 3, dtype=torch.float64, generator=seeded()) * torch.tensor([360.0, 1.0, 2.0])
    lower = [0.0, 0.0, 0.0]
    embedded = embed(positions, periods)
    assert embedded.shape == (5, 4, 3 + sum(period is not None for period in periods))
    found = recover(embedded, periods, lower)
    torch.testing.assert_close(difference(found, positions, periods), torch.zeros_like(positions))
    for d, period in enumerate(periods):
        if period is not None:
            assert (found[..., d] >= 0).all()
            assert (found[..., d] < period * (1 + 1e-15)).all()


def test_small_distances_keep_their_length():
    a, b = torch.tensor([359.9], dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)
    chord = torch.linalg.vector_norm(embed(a, (360.0,)) - embed(b, (360.0,))).item()
    assert chord == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize(
    ("angles", "weights", "mean"),
    [
        ([359.0, 1.0], [0.5, 0.5], 0.0),
        ([350.0, 20.0], [0.5, 0.5], 5.0),
        ([90.0, 270.0], [0.75, 0.25], 90.0),
        ([0.0, 90.0], [0.5, 0.5], 45.0),
        # (√3/2 + 0, 1/2 + 1) / 2: 60°, as the bisector of 30° and 90° must be
        ([30.0, 90.0], [0.5, 0.5], 60.0),
    ],
)
def test_the_mean_of_angles_across_the_seam_by_hand(angles, weights, mean):
    embedded = embed(torch.tensor(angles, dtype=torch.float64).unsqueeze(-1), (360.0,))
    average = torch.tensor(weights, dtype=torch.float64) @ embedded
    found = recover(average, (360.0,), -180.0)
    assert found.item() == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize(("lower", "expected"), [(0.0, 350.0), (-180.0, -10.0), (-10.0, -10.0), (360.0, 710.0)])
def test_the_range_begins_at_lower(lower, expected):
    embedded = embed(torch.tensor([-10.0], dtype=torch.float64), (360.0,))
    assert recover(embedded, (360.0,), lower).item() == pytest.approx(expected, abs=1e-11)


def test_wrap_never_reaches_the_upper_end():
    column = torch.tensor([-1e-20, -1e-9, 0.0, 2.5, -0.5, 5.0])
    found = wrap(column, 1.0)
    assert (found >= 0).all()
    assert (found < 1).all()
    torch.testing.assert_close(found[2:], torch.tensor([0.0, 0.5, 0.5, 0.0]), rtol=0, atol=0)


def test_differences_go_the_shortest_way():
    a, b = (
        torch.tensor([[350.0, 350.0], [10.0, 10.0], [0.0, 5.0]]),
        torch.tensor([[10.0, 10.0], [350.0, 350.0], [720.0, 0]]),
    )
    expected = torch.tensor([[-20.0, 340.0], [20.0, -340.0], [0.0, 5.0]])
    torch.testing.assert_close(difference(a, b, (360.0, None)), expected)


def test_gradient():
    positions = torch.rand(3, 2, dtype=torch.float64, generator=seeded()).requires_grad_()
    embedded = torch.rand(3, 3, dtype=torch.float64, generator=seeded(1)).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: embed(x, (2.0, None)), positions)
    assert torch.autograd.gradcheck(lambda x: recover(x, (2.0, None), -1.0), embedded)
    assert torch.autograd.gradcheck(lambda x: difference(x, embedded[:, :2], (2.0, None)), positions)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-22, 0.1])
def test_at_the_centre_the_gradient_is_0(scale, dtype):
    radius = 10.0  # `scale` counts in the rounding error of the radius, or less
    rounding = torch.finfo(dtype).eps * radius * scale
    embedded = torch.full((1, 2), rounding, dtype=dtype, requires_grad=True)
    found = recover(embedded, (TURN * radius,))
    assert found.item() == 0
    assert (torch.autograd.grad(found.sum(), embedded)[0] == 0).all()


def test_off_the_centre_the_gradient_is_the_radius_by_the_distance():
    embedded = torch.tensor([[0.0, 1e-3]], requires_grad=True)
    found = recover(embedded, (TURN * 10,))
    assert found.item() == pytest.approx(TURN * 10 / 4)
    (gradient,) = torch.autograd.grad(found.sum(), embedded)
    torch.testing.assert_close(gradient, torch.tensor([[-10 / 1e-3, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cells", [3, 36, 1000])
def test_a_uniform_map_has_no_direction_and_no_gradient(cells, dtype):
    logits = torch.zeros(1, 1, cells, dtype=dtype, requires_grad=True)
    for noise in (0.0, torch.finfo(dtype).eps):
        found = soft_argmax(logits + noise * (torch.arange(cells) % 2), Grid((cells,), 10.0, periodic=True))
        assert torch.autograd.grad(found.sum(), logits)[0].abs().max() < 1e-3


def test_they_are_reached_as_the_readme_says():
    import pcsargmax

    assert pcsargmax.core.circular.embed is embed
    assert pcsargmax.core.circular.recover is recover


def test_half_precision_is_widened():
    angle = torch.tensor([[100.0]], dtype=torch.bfloat16)
    embedded = embed(angle, (360.0,))
    assert embedded.dtype == torch.float32
    assert recover(embedded.half(), (360.0,)).dtype == torch.float32
    torch.testing.assert_close(recover(embedded, (360.0,)), angle.float())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: embed(torch.zeros(4, 2), (1.0,)), "positions: expected a last axis of 1, got shape (4, 2)"),
        (lambda: embed(torch.tensor(1.0), (1.0,)), "positions: expected a last axis of 1, got shape ()"),
        (lambda: embed(torch.zeros(4, 1).long(), (1.0,)), "positions: expected a floating type, got torch.int64"),
        (lambda: embed(torch.zeros(1), (0.0,)), "periods: expected positive finite numbers or None, got (0.0,)"),
        (lambda: embed(torch.zeros(1), (math.inf,)), "periods: expected positive finite numbers or None, got (inf,)"),
        (lambda: recover(torch.zeros(4, 2), (1.0, None)), "embedded: expected a last axis of 3, got shape (4, 2)"),
        (
            lambda: recover(torch.zeros(2), (1.0,), (0.0, 1.0)),
            "lower: expected a number or 1 of them, got 2: (0.0, 1.0)",
        ),
        (
            lambda: difference(torch.zeros(2), torch.zeros(1), (1.0, None)),
            "b: expected a last axis of 2, got shape (1,)",
        ),
        (
            lambda: difference(torch.zeros(1), torch.zeros(1), (1.0, None)),
            "a: expected a last axis of 2, got shape (1,)",
        ),
    ],
)
def test_errors(function, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function()
