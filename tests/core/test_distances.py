import itertools
import math
import re

import numpy as np
import pytest
import torch
from reference.pairwise import pairwise
from scipy import integrate
from torch.nn import functional

from pcsargmax.core.distances import SmoothL1, distance, gaussian_expected_distance, pairwise_distance

KINDS = ("l1", "l2", "squared_l2", SmoothL1(0.4))


def by_quadrature(offset, std, kind):
    """E d(0, offset + std ε), integrated along the offset and, for L2, over the distance from its line."""
    length, dimension = math.hypot(*offset), len(offset)
    if isinstance(kind, SmoothL1):
        return sum(smooth_l1_by_quadrature(m, std, kind.beta)[0] for m in offset)
    limits = -12, 12
    if kind == "l1":
        return sum(
            integrate.quad(lambda x, m=m: abs(m + std * x) * normal(x), *limits, points=[-m / std])[0] for m in offset
        )
    power = 2 if kind == "squared_l2" else 1
    if dimension == 1:
        split = [max(-length / std, -12)]
        return integrate.quad(lambda x: abs(length + std * x) ** power * normal(x), *limits, points=split)[0]

    def weighted(r, x):
        across = 2 * normal(r) if dimension == 2 else r * math.exp(-(r**2) / 2)  # chi of D − 1 degrees
        return math.hypot(length + std * x, std * r) ** power * across * normal(x)

    kink = -length / std
    return sum(integrate.dblquad(weighted, *ends, 0, 9)[0] for ends in ((kink - 9, kink), (kink, kink + 18)))


def smooth_l1_by_quadrature(mean, std, beta):
    """E h(m + std ε) and its derivatives E h′(m + std ε) and E ε h′(m + std ε): Gauss-Legendre between the kinks."""
    kinks = np.clip([(-beta - mean) / std, (beta - mean) / std], -12, 12)
    nodes, weights = np.polynomial.legendre.leggauss(100)
    total = np.zeros(3)
    for low, high in itertools.pairwise([-12, *kinks, 12]):
        e = (low + high) / 2 + (high - low) / 2 * nodes
        x = mean + std * e
        value = np.where(abs(x) < beta, x**2 / (2 * beta), abs(x) - beta / 2)
        slope = np.clip(x / beta, -1, 1)
        density = weights * (high - low) / 2 * np.exp(-(e**2) / 2) / math.sqrt(2 * math.pi)
        total += (density * value).sum(), (density * slope).sum(), (density * slope * e).sum()
    return total.tolist()


def normal(x):
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def test_distances_by_hand():
    prediction, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 5.0, -1.0]])
    assert [distance(prediction, target, kind).item() for kind in KINDS[:3]] == [7.0, 5.0, 25.0]
    assert distance(prediction, target).item() == 7.0
    # 0, 3 − 3.5/2 and 4 − 3.5/2; with β = 8 all are on the parabola: (9 + 16) / 16
    assert distance(prediction, target, SmoothL1(3.5)).item() == pytest.approx(9 / 7 + 2.25)
    assert distance(prediction, target, SmoothL1(8.0)).item() == pytest.approx(25 / 16)


def test_smooth_l1_is_torchs():
    prediction = torch.linspace(-3, 3, 13, dtype=torch.float64).reshape(-1, 1)
    for beta in (0.1, 1.0, 2.5):
        expected = functional.smooth_l1_loss(prediction, torch.zeros_like(prediction), reduction="none", beta=beta)
        assert torch.equal(distance(prediction, torch.zeros(1), SmoothL1(beta)), expected.squeeze(1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_at_distance_0_is_0(kind):
    prediction = torch.zeros(2, 3, requires_grad=True)
    distance(prediction, torch.zeros(2, 3), kind).sum().backward()
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_pairwise_distances_are_those_of_each_pair(kind, shared):
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator).requires_grad_()
    sites = torch.randn(1 if shared else 2, 4, 2, dtype=torch.float64, generator=generator).requires_grad_()
    found = pairwise_distance(positions, sites, kind)
    torch.testing.assert_close(found, distance(positions.unsqueeze(2), sites.unsqueeze(1), kind))
    assert torch.autograd.gradcheck(lambda *a: pairwise_distance(*a, kind), (positions, sites))


@pytest.mark.parametrize("kind", KINDS)
def test_pairwise_distances_of_a_position_that_is_a_site(kind):
    positions = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    sites = torch.tensor([[[1.0, 2.0], [1.0, 3.0]]], requires_grad=True)
    found = pairwise_distance(positions, sites, kind)
    assert found[0, 0, 0].item() == 0
    slopes = torch.autograd.grad(found[0, 0, 0], (positions, sites))
    assert all((slope == 0).all() for slope in slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_pairwise_distances_far_from_the_origin_keep_their_digits(kind):
    # Their differences are exact; by products no digit would be left. torch chooses by the number of sites: take many.
    positions, sites = torch.full((1, 30, 3), 1024.0), 1024 + torch.arange(90.0).reshape(1, 30, 3) / 128
    expected = distance(positions.unsqueeze(2), sites.unsqueeze(1), kind)
    torch.testing.assert_close(pairwise_distance(positions, sites, kind), expected)


RATIOS = [0.0, 0.3, 0.99, 1.01, 3.0, 9.0]


# "l2" has a form for each dimension, the others sum one over the axes
@pytest.mark.parametrize(
    ("kind", "dimension", "ratio"),
    [*itertools.product(["l2"], [1, 2, 3], RATIOS), *pairwise(["l1", "squared_l2", SmoothL1(0.4)], [1, 2, 3], RATIOS)],
)
def test_closed_form_against_quadrature(kind, dimension, ratio):
    std = 0.5
    direction = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)[:dimension]
    offset = ratio * std * direction / direction.norm()
    expected = by_quadrature(offset.tolist(), std, kind)
    found = gaussian_expected_distance(offset, torch.tensor([std], dtype=torch.float64), kind)
    assert found.item() == pytest.approx(expected, rel=2e-7)  # of the quadrature in two dimensions
    single = gaussian_expected_distance(offset.float(), torch.tensor([std]), kind)
    assert single.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("std", [0.003, 0.1, 0.5, 0.97, 1.0, 1.03, 2.0, 20.0, 1000.0])
def test_closed_form_of_smooth_l1_against_quadrature(std):
    # mean and std in units of β, on both sides of each change of form (mean = 1, std = 1)
    beta = 0.3
    means = [0.0, 1e-4, 0.02, 0.5, 0.99, 1.0, 1.01, 1.7, 4.0, 40.0, 3000.0]
    expected = torch.tensor([smooth_l1_by_quadrature(beta * m, beta * std, beta) for m in means], dtype=torch.float64)
    for dtype in (torch.float64, torch.float32):
        offset = beta * torch.tensor(means, dtype=dtype).unsqueeze(1).requires_grad_()
        width = torch.full_like(offset, beta * std).detach().requires_grad_()
        value = gaussian_expected_distance(offset, width, SmoothL1(beta))
        slopes = torch.autograd.grad(value.sum(), (offset, width))
        # float32: a few roundings of numbers up to 1, the slopes', or up to the value's size
        relative, absolute = (1e-12, 1e-13) if dtype == torch.float64 else (2e-6, 1e-6)
        torch.testing.assert_close(value.double(), expected[:, 0], rtol=relative, atol=0)
        for slope, true in zip(slopes, expected[:, 1:].T, strict=True):
            torch.testing.assert_close(slope.squeeze(1).double(), true, rtol=0, atol=absolute)


def test_smooth_l1_is_symmetric_and_between_its_limits():
    offset = torch.linspace(-3, 3, 25, dtype=torch.float64).unsqueeze(1)
    std = torch.tensor([0.5], dtype=torch.float64)
    found = gaussian_expected_distance(offset, std, SmoothL1(0.4))
    torch.testing.assert_close(found, found.flip(0))
    plain, squared = (gaussian_expected_distance(offset, std, kind) for kind in ("l1", "squared_l2"))
    assert (found < plain).all()
    assert (found > plain - 0.2).all()
    # a small β is L1, a large one the square by 2β
    torch.testing.assert_close(gaussian_expected_distance(offset, std, SmoothL1(1e-9)), plain, rtol=1e-8, atol=0)
    torch.testing.assert_close(2e3 * gaussian_expected_distance(offset, std, SmoothL1(1e3)), squared)


@pytest.mark.parametrize("kind", ["l1", "squared_l2", SmoothL1(0.4)])
def test_closed_form_with_a_std_per_axis(kind):
    offset, std = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.2, 0.7]).double()
    parts = [gaussian_expected_distance(offset[i : i + 1], std[i : i + 1], kind) for i in range(2)]
    torch.testing.assert_close(gaussian_expected_distance(offset, std, kind), sum(parts))


@pytest.mark.parametrize(("kind", "dimension", "dtype"), pairwise(KINDS, [1, 2, 3], [torch.float32, torch.float64]))
def test_without_noise_the_closed_form_is_the_distance(kind, dimension, dtype):
    offset = torch.tensor([[0.0] * 3, [1e-30, 0, 0], [1e-3, 2, -3], [1e6, -1e6, 1e6]], dtype=dtype)[:, :dimension]
    offset.requires_grad_()
    expected = distance(offset, torch.zeros_like(offset), kind)
    (slope,) = torch.autograd.grad(expected.sum(), offset)
    for value in (0.0, 1e-40, 1e-20):
        std = torch.full((4, 1), value, dtype=dtype, requires_grad=True)
        found = gaussian_expected_distance(offset, std, kind)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-19)
        gradients = torch.autograd.grad(found.sum(), (offset, std))
        assert all(gradient.isfinite().all() for gradient in gradients)
        torch.testing.assert_close(gradients[0][[0, 2, 3]], slope[[0, 2, 3]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_closed_form_gradient(kind, dimension):
    ratios = torch.tensor([0.05, 0.999, 1.001, 4.0, 30.0, 2000.0], dtype=torch.float64)
    direction = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)[:dimension]
    offset = (0.5 * ratios.unsqueeze(1) * direction / direction.norm()).requires_grad_()
    std = torch.full((6, 1), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: gaussian_expected_distance(*a, kind), (offset, std))


@pytest.mark.parametrize("kind", [*KINDS, SmoothL1(2.0)])  # its two closed forms, std / β above and below 1
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_closed_form_second_derivatives(kind, dimension):
    offset = torch.tensor([[0.1, -0.3, 0.2], [1.0, 2.0, 2.5]], dtype=torch.float64)[:, :dimension].requires_grad_()
    std = torch.tensor([[0.5], [0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *a: gaussian_expected_distance(*a, kind), (offset, std))


@pytest.mark.parametrize("kind", KINDS)
def test_extremes_are_finite(kind):
    # the square of the largest is within float32
    offset = torch.tensor([[0.0], [1e-18], [1.0], [1e18]], requires_grad=True)
    std = torch.tensor([0.0, 1e-18, 1.0, 1e18], requires_grad=True)
    value = gaussian_expected_distance(offset.unsqueeze(1), std.unsqueeze(1), kind)
    assert value.isfinite().all()
    assert (value >= 0).all()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), (offset, std)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: distance(torch.zeros(2, 3), torch.zeros(2, 1)),
            "target: expected the last axis D of the prediction, got prediction (2, 3) and target (2, 1)",
        ),
        (
            lambda: distance(torch.zeros(3), torch.zeros(3), "l3"),
            "distance: expected 'l1', 'l2', 'squared_l2' or SmoothL1(beta), got 'l3'",
        ),
        (
            lambda: pairwise_distance(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), "l3"),
            "distance: expected 'l1', 'l2', 'squared_l2' or SmoothL1(beta), got 'l3'",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(3), torch.zeros(1), "smooth_l1"),
            "distance: expected 'l1', 'l2', 'squared_l2' or SmoothL1(beta), got 'smooth_l1'",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(4), torch.zeros(1), "l2"),
            "offset: the closed form of 'l2' exists up to D = 3, got D = 4",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(3), torch.zeros(3), "l2"),
            "std: 'l2' needs the same std along all axes, (..., 1), got (3,)",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(3), torch.zeros(2), "l1"),
            "std: expected a last axis of 1 or D = 3, got shape (2,)",
        ),
        (lambda: SmoothL1(0.0), "beta: expected a length, positive and finite, got 0.0"),
        (lambda: SmoothL1(math.inf), "beta: expected a length, positive and finite, got inf"),
        (lambda: SmoothL1(math.nan), "beta: expected a length, positive and finite, got nan"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_in_half_precision_is_that_in_single(kind):
    offset, std = torch.tensor([[3.0, -0.5], [300.0, 200.0]]).half(), torch.tensor([[0.5], [100.0]]).half()
    found = gaussian_expected_distance(offset, std, kind)
    assert found.dtype == torch.float32
    assert torch.equal(found, gaussian_expected_distance(offset.float(), std.float(), kind))
