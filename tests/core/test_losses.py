import functools
import itertools
import math
import re

import pytest
import torch
from reference import argmax as reference
from reference.pairwise import pairwise

from pcsargmax.core.argmax import kernel_logits, sampling_argmax, soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.distances import SmoothL1, distance
from pcsargmax.core.grid import Grid
from pcsargmax.core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.core.regularizers import distribution_regularizer, variance_regularizer

KINDS = ("l1", "l2", "squared_l2", SmoothL1(0.4))

REGULARIZED = {"weight": 0.3, "target_variance": 0.8, "spacing": 0.9}
TARGET_VARIANCE = 0.8 * 0.9**2  # in the unit of the sites
EXACT = {
    "soft": error_of_expectation,
    "discrete": discrete_expected_error,
    "soft_vr": functools.partial(variance_regularized_error, **REGULARIZED),
    "soft_dr": functools.partial(distribution_regularized_error, **REGULARIZED),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_map(dimension=3, dtype=torch.float64):
    """Logits (2, 2, 5), sites (2, 5, D), targets (2, 2, D), and a mask that takes one site out."""
    logits = torch.randn(2, 2, 5, dtype=dtype, generator=seeded())
    sites = torch.randn(2, 5, dimension, dtype=dtype, generator=seeded(1))
    target = torch.randn(2, 2, dimension, dtype=dtype, generator=seeded(2))
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3] = False
    return logits, sites, target, mask


def test_error_of_expectation_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[0.0, 0.0], [4.0, 8.0]])  # the expectation is (3, 6)
    target = torch.tensor([[[0.0, 10.0]]])
    kinds = (*KINDS[:3], SmoothL1(4.0))
    found = [error_of_expectation(logits, sites, target, distance=kind).item() for kind in kinds]
    assert found == pytest.approx([7.0, 5.0, 25.0, 9 / 8 + 2])


def test_discrete_expected_error_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[0.0, 7.0], [4.0, 7.0]])
    target = torch.tensor([[[0.0, 10.0]]])  # 3 and 5 away, or 3 and 4 + 3 axis by axis
    kinds = (*KINDS[:3], SmoothL1(4.0))
    found = [discrete_expected_error(logits, sites, target, distance=kind).item() for kind in kinds]
    assert found == pytest.approx([(3 + 3 * 7) / 4, (3 + 3 * 5) / 4, (9 + 3 * 25) / 4, 9 / 8 + 3 * 2 / 4])


@pytest.mark.parametrize("kind", KINDS)
def test_discrete_expected_error_against_the_plain_formula(kind):
    logits, sites, target, _ = random_map()
    found = discrete_expected_error(logits, sites, target, distance=kind)
    assert found.shape == (2, 2)
    if kind == "l1":
        torch.testing.assert_close(found, reference.discrete_expected_error(logits, sites, target))
    for b, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weights = logits[b, k].softmax(-1)
        expected = sum(weights[i] * distance(target[b, k], sites[b, i], kind) for i in range(5))
        torch.testing.assert_close(found[b, k], expected)


@pytest.mark.parametrize(
    ("regularized", "regularizer"),
    [
        (variance_regularized_error, variance_regularizer),
        (distribution_regularized_error, distribution_regularizer),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_regularized_error_is_the_sum(regularized, regularizer, kind):
    logits, sites, target, mask = random_map()
    error = error_of_expectation(logits, sites, target, distance=kind, mask=mask)
    term = regularizer(logits, sites, target_variance=2.0, spacing=0.3, mask=mask)
    settings = {"weight": 0.7, "target_variance": 2.0, "spacing": 0.3, "distance": kind, "mask": mask}
    torch.testing.assert_close(regularized(logits, sites, target, **settings), error + 0.7 * term)
    torch.testing.assert_close(regularized(logits, sites, target, **settings | {"weight": 0.0}), error)


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_expected_error_of_a_one_site_map_by_hand(kind, closed_form):
    # One site, so w = 1: the error is that of N(0, σ²) around the target, σ = 0.5, D = 3.
    expected = {
        "l1": 3 * 0.5 * math.sqrt(2 / math.pi),
        "l2": 0.5 * math.sqrt(8 / math.pi),
        "squared_l2": 0.75,
    }
    if isinstance(kind, SmoothL1):  # E h(σ ε) per axis, as a Riemann sum
        noise = torch.linspace(-10, 10, 200_001, dtype=torch.float64).unsqueeze(1)
        density = torch.exp(-noise.square() / 2) / math.sqrt(2 * math.pi) * 1e-4
        expected[kind] = 3 * (density.squeeze(1) * distance(0.5 * noise, torch.zeros(1), kind)).sum().item()
    found = expected_error(
        torch.zeros(1, 1, 1),
        torch.ones(1, 1, 3),
        torch.ones(1, 1, 3),
        basis=Gaussian(0.5),
        num_samples=1 if closed_form else 40_000,
        distance=kind,
        closed_form=closed_form,
        generator=seeded(),
    )
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected[kind], rel=1e-6 if closed_form else 0.02)


def many_errors(logits, sites, target, mask, **settings):
    """4000 draws of the expected error (4000, B, K)."""
    many = [m.repeat(4000, *[1] * (m.ndim - 1)) for m in (logits, sites, target)]
    settings = {"basis": Gaussian(0.7), "temperature": 0.8, "generator": seeded(3)} | settings
    mask = None if mask is None else mask.repeat(4000, 1)
    return expected_error(*many, mask=mask, **settings).reshape(4000, *logits.shape[:2])


def assert_same_mean(a, b):
    """The means of two independent sets of draws are within 4 standard errors."""
    error = (a.var(0) + b.var(0)).sqrt() / math.sqrt(len(a))
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()


@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_agrees_with_sampling_and_varies_less(kind):
    parts = random_map()
    sampled = many_errors(*parts, distance=kind)
    exact = many_errors(*parts, distance=kind, closed_form=True)
    assert_same_mean(sampled, exact)
    assert (exact.var(0) < sampled.var(0)).all()


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
def test_expected_error_is_the_mean_over_samples_of_sampling_argmax(relaxation):
    logits, sites, target, mask = random_map()
    settings = {"basis": Gaussian(0.3), "temperature": 0.5, "relaxation": relaxation, "mask": mask, "num_samples": 20}
    samples = sampling_argmax(logits, sites, generator=seeded(4), **settings)
    for kind in KINDS:
        found = expected_error(logits, sites, target, generator=seeded(4), distance=kind, **settings)
        torch.testing.assert_close(found, distance(samples, target.unsqueeze(1), kind).mean(1))


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "straight_through"])
def test_a_cold_sample_without_basis_has_the_discrete_expected_error(relaxation):
    logits, sites, target, mask = random_map()
    settings = {"basis": Gaussian(0.0), "temperature": 1e-6, "relaxation": relaxation, "distance": "l2"}
    found = many_errors(logits, sites, target, mask, **settings)
    expected = discrete_expected_error(logits, sites, target, distance="l2", mask=mask)
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / math.sqrt(4000)).all()


def test_a_hot_sample_of_equal_scores_has_the_error_of_the_expectation():
    _, sites, target, mask = random_map()
    logits = torch.zeros(2, 2, 5, dtype=torch.float64)
    found = expected_error(logits, sites, target, basis=Gaussian(0.0), temperature=1e9, mask=mask, generator=seeded())
    torch.testing.assert_close(found, error_of_expectation(logits, sites, target, mask=mask))


# straight-through has another slope on purpose
@pytest.mark.parametrize(
    ("kind", "closed_form", "sigma", "relaxation"),
    pairwise(KINDS, [False, True], [0.0, 0.3], ["gumbel_softmax", "published"]),
)
def test_gradients_of_the_expected_error(kind, closed_form, sigma, relaxation):
    logits, sites, target, mask = random_map()

    def sampled(logits, sites, target):
        return expected_error(
            logits,
            sites,
            target,
            basis=Gaussian(sigma),
            num_samples=2,
            temperature=0.8,
            relaxation=relaxation,
            distance=kind,
            mask=mask,
            generator=seeded(5),
            closed_form=closed_form,
        )

    assert torch.autograd.gradcheck(sampled, [tensor.requires_grad_() for tensor in (logits, sites, target)])
    # with no other gradient wanted, the slope is accumulated on the way forward
    assert torch.autograd.gradcheck(lambda x: sampled(x, sites.detach(), target.detach()), logits)


def test_straight_through_has_the_relaxed_slope_at_the_drawn_site():
    logits, sites, target, _ = random_map()
    logits.requires_grad_()
    settings = {"basis": Gaussian(0.0), "temperature": 0.8}
    drawn = {"relaxation": "straight_through", "generator": seeded(6)}
    error = expected_error(logits, sites, target, distance="squared_l2", **settings, **drawn)
    hard = sampling_argmax(logits, sites, **settings, **drawn | {"generator": seeded(6)})[:, 0]
    soft = sampling_argmax(logits, sites, **settings, generator=seeded(6))[:, 0]
    assert (torch.cdist(hard, sites).amin(-1) < 1e-6).all()
    torch.testing.assert_close(error, distance(hard, target, "squared_l2"))
    # One sample: ∂d/∂logits = 2 (ŷ − y_t) · ∂ŷ/∂logits, ŷ the drawn site and ∂ŷ that of the relaxed sample.
    (found,) = torch.autograd.grad(error.sum(), logits)
    (expected,) = torch.autograd.grad((2 * (hard - target).detach() * soft).sum(), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(name, kind):
    logits, sites, target, mask = random_map()
    inputs = [tensor.requires_grad_() for tensor in (logits, sites, target)]
    assert torch.autograd.gradcheck(lambda *a: EXACT[name](*a, distance=kind, mask=mask), inputs)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("kind", KINDS)
def test_order_is_free_and_masked_is_removed(name, kind):
    logits, sites, target, mask = random_map()
    whole = EXACT[name](logits, sites, target, distance=kind, mask=mask)
    order = torch.randperm(5, generator=seeded(4))
    permuted = EXACT[name](logits[..., order], sites[:, order], target, distance=kind, mask=mask[:, order])
    torch.testing.assert_close(permuted, whole)
    real = mask[1]
    less = EXACT[name](logits[1:, :, real], sites[1:, real], target[1:], distance=kind)
    torch.testing.assert_close(whole[1:], less)
    garbage = (
        logits.masked_fill(~mask.unsqueeze(1), math.nan).requires_grad_(),
        sites.masked_fill(~mask.unsqueeze(2), math.inf).requires_grad_(),
    )
    found = EXACT[name](*garbage, target, distance=kind, mask=mask)
    assert torch.equal(found, whole)
    slopes = torch.autograd.grad(found.sum(), garbage)
    assert all(slope.isfinite().all() for slope in slopes)
    assert (slopes[0][1, :, 3] == 0).all()


@pytest.mark.parametrize("closed_form", [False, True])
def test_order_is_free_and_masked_is_removed_from_samples_in_the_mean(closed_form):
    logits, sites, target, mask = random_map()
    whole = many_errors(logits, sites, target, mask, closed_form=closed_form)
    order = torch.randperm(5, generator=seeded(4))
    moved = logits[..., order], sites[:, order], target, mask[:, order]
    assert_same_mean(whole, many_errors(*moved, closed_form=closed_form, generator=seeded(8)))
    real = mask[1]
    less = logits[1:, :, real], sites[1:, real], target[1:], None
    assert_same_mean(whole[:, 1:], many_errors(*less, closed_form=closed_form, generator=seeded(9)))

    def sampled(logits, sites):
        settings = {"basis": Gaussian(0.1), "num_samples": 3, "closed_form": closed_form}
        return expected_error(logits, sites, target, mask=mask, generator=seeded(1), **settings)

    garbage = (
        logits.masked_fill(~mask.unsqueeze(1), math.nan),
        sites.masked_fill(~mask.unsqueeze(2), math.inf),
    )
    assert torch.equal(sampled(*garbage), sampled(logits, sites))


SAMPLED = {
    "sampling": functools.partial(expected_error, basis=Gaussian(0.1), num_samples=3),
    "published": functools.partial(expected_error, basis=Gaussian(0.1), num_samples=3, relaxation="published"),
    "closed_form": functools.partial(expected_error, basis=Gaussian(0.1), num_samples=3, closed_form=True),
}
STRAIGHT = {"straight_through": functools.partial(SAMPLED["sampling"], relaxation="straight_through")}
ALL = EXACT | SAMPLED | STRAIGHT


def seeded_call(name, *arguments, seed=1, **settings):
    """An objective by its name, its noise seeded where it has some."""
    if name not in EXACT:
        settings["generator"] = seeded(seed)
    return ALL[name](*arguments, **settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_half_precision_and_autocast_give_float32(name, dtype):
    logits, sites, target, mask = random_map(dtype=torch.float32)
    half = (1000 * logits).to(dtype).requires_grad_()
    plain = seeded_call(name, half, sites, target, mask=mask)
    assert plain.dtype == torch.float32
    assert plain.isfinite().all()
    assert torch.autograd.grad(plain.sum(), half)[0].isfinite().all()
    assert torch.equal(plain, seeded_call(name, half.float(), sites, target, mask=mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = seeded_call(name, half, sites, target, mask=mask)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)
    whole = seeded_call(name, half, sites.to(dtype), target.to(dtype), mask=mask)
    assert whole.dtype == torch.float32
    assert whole.isfinite().all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_and_an_exact_hit_give_finite_gradients(name, kind):
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    sites = torch.randn(1, 3, 3, generator=seeded()).requires_grad_()
    settings = {"basis": Gaussian(0.0)} if name not in EXACT else {}
    value = seeded_call(name, logits, sites, sites[:, :1].detach(), distance=kind, **settings)
    # All is at the target: of the regularizers is left (0 − σ_t²)², and the divergence of a single site.
    low, high = {"soft_vr": (TARGET_VARIANCE**2,) * 2, "soft_dr": (0.01, math.log(2))}.get(name, (0, 0))
    assert 0.3 * low - 1e-6 <= value.item() <= 0.3 * high + 1e-6
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), (logits, sites)))


@pytest.mark.parametrize("name", ALL)
def test_one_site(name):
    logits, sites = torch.zeros(2, 3, 1, requires_grad=True), torch.tensor([[1.0, 2.0, 3.0]])
    target = torch.tensor([1.0, 5.0, -1.0]).expand(2, 3, 3)
    settings = {"basis": Gaussian(0.0)} if name not in EXACT else {}
    found = seeded_call(name, logits, sites, target, distance="l2", **settings)
    torch.testing.assert_close(found, torch.full((2, 3), 5.0 + (0.3 * TARGET_VARIANCE**2 if name == "soft_vr" else 0)))
    assert (torch.autograd.grad(found.sum(), logits)[0] == 0).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_a_seed_repeats_bit_for_bit(name):
    parts = random_map()[:3]
    first, second, other = (seeded_call(name, *parts, seed=seed) for seed in (9, 9, 10))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_training_on_the_expected_error_concentrates_the_map():
    # The error of the expectation is content with two sites far apart around the target, this one is not.
    sites, target = torch.tensor([[-1.0], [0.0], [1.0]]), torch.zeros(1, 1, 1)
    logits = torch.tensor([[[3.0, 0.0, 3.0]]], requires_grad=True)
    assert soft_argmax(logits, sites).item() == 0
    optimizer, generator = torch.optim.Adam([logits], lr=0.1), seeded()
    for _ in range(150):
        optimizer.zero_grad()
        expected_error(logits, sites, target, basis=Gaussian(0.1), num_samples=10, generator=generator).sum().backward()
        optimizer.step()
    assert logits.softmax(-1)[0, 0, 1].item() > 0.9


@pytest.mark.parametrize(
    ("name", "kind"), [*zip(ALL, itertools.cycle(["l2", SmoothL1(0.4)])), ("closed_form", SmoothL1(0.4))]
)
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, in dynamo
def test_it_compiles_as_one_graph(name, kind):
    logits, sites, target, mask = random_map(dtype=torch.float32)

    torch.compiler.reset()  # each case is a graph of its own

    def loss(logits):
        return ALL[name](logits, sites, target, distance=kind, mask=mask).sum()

    value = torch.compile(loss, backend="eager", fullgraph=True)(logits.requires_grad_())
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


# Grids.


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 2, 3)])
@pytest.mark.parametrize("name", ALL)
def test_a_grid_is_the_cloud_of_its_cells(name, shape):
    grid = Grid(shape, spacing=0.5, origin=-1.0)
    logits = torch.randn(2, 3, *shape, generator=seeded(), dtype=torch.float64)
    target = torch.randn(2, 3, len(shape), generator=seeded(1), dtype=torch.float64)
    for kind in KINDS:
        found = seeded_call(name, logits, grid, target, distance=kind)
        cells = grid.positions(torch.float64)
        torch.testing.assert_close(found, seeded_call(name, logits.flatten(2), cells, target, distance=kind))
        assert torch.equal(found, seeded_call(name, logits.flatten(2), grid, target, distance=kind))


@pytest.mark.parametrize("name", ALL)
def test_a_periodic_grid_measures_chords(name):
    # A cylinder: x goes round in 8 cells, y does not. All but the noise is free of where the circle begins.
    grid = Grid((3, 8), periodic=(True, False))
    logits = torch.randn(1, 2, 3, 8, generator=seeded(), dtype=torch.float64)
    target = torch.tensor([[[7.6, 1.0], [3.0, 0.2]]], dtype=torch.float64)
    moved = Grid((3, 8), periodic=(True, False), origin=(-5.0, 0.0))
    shift = torch.tensor([-5.0, 0.0])
    for kind in KINDS:
        found = seeded_call(name, logits, grid, target, distance=kind)
        around = seeded_call(name, logits, grid, target + torch.tensor([8.0, 0.0]), distance=kind)
        torch.testing.assert_close(around, found)
        cells = grid.embed(grid.positions(torch.float64))
        embedded = seeded_call(name, logits.flatten(2), cells, grid.embed(target), distance=kind)
        torch.testing.assert_close(embedded, found)
        if kind in ("l2", "squared_l2") and name in EXACT:  # chords turn, coordinates of the circle do not
            torch.testing.assert_close(seeded_call(name, logits, moved, target + shift, distance=kind), found)


@pytest.mark.parametrize("name", EXACT | SAMPLED)  # straight-through has another slope on purpose
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_on_a_periodic_grid(name, kind):
    grid = Grid((2, 5), (0.5, 2.0), periodic=(True, False))
    logits = torch.randn(2, 2, 2, 5, dtype=torch.float64, generator=seeded()).requires_grad_()
    target = torch.rand(2, 2, 2, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: seeded_call(name, x, grid, y, distance=kind), (logits, target))


@pytest.mark.parametrize("name", EXACT | SAMPLED)
def test_gradients_through_the_kernel_window(name):
    logits, sites, target, mask = random_map()
    leaves = [tensor.requires_grad_() for tensor in (logits, sites, target)]

    def windowed(logits, sites, target):
        return seeded_call(name, kernel_logits(logits, sites, 0.9, mask=mask), sites, target, mask=mask)

    assert torch.autograd.gradcheck(windowed, leaves)


@pytest.mark.parametrize("sigma", [0.6, torch.rand(1, 5, 1, dtype=torch.float64, generator=seeded(7)) + 0.2])
def test_the_collapsed_gradient_has_the_mean_of_the_direct_one_and_no_more_variance(sigma):
    # L1 under noise per site (Eq. 12 as it is written) and under one normal a sample, by the logits.
    count = 20_000
    logits, sites, target, _ = random_map()
    logits = logits[:1].repeat(count, 1, 1).requires_grad_()
    sites, target = sites[:1], target[:1]
    width = torch.as_tensor(sigma).expand(1, 5, 1)

    def gradient(loss):
        return torch.autograd.grad(loss.sum(), logits)[0]

    how = {"basis": Gaussian(sigma), "temperature": 0.8}
    samples = sampling_argmax(logits, sites[0], generator=seeded(1), **how)
    fused = expected_error(logits, sites[0], target.expand(count, -1, -1), generator=seeded(2), **how)
    exact = expected_error(logits, sites[0], target.expand(count, -1, -1), generator=seeded(4), closed_form=True, **how)
    w = reference.weights(logits, reference.gumbel((count, 1, 2, 5), seeded(3), torch.float64), 0.8)
    noise = width * torch.randn(count, 1, 2, 5, 3, dtype=torch.float64, generator=seeded(5))
    direct = gradient(reference.expected_error(reference.samples(w, sites, noise), target))
    for loss in (reference.expected_error(samples, target), fused, exact):
        found = gradient(loss)
        assert_same_mean(found, direct)
        assert (found.var(0) < 1.03 * direct.var(0)).all()  # a variance is known to about 1 %
        assert found.var(0).sum() < direct.var(0).sum()


def test_near_the_seam_the_error_is_small():
    grid = Grid((8,), periodic=True)
    logits = torch.full((1, 1, 8), -100.0)
    logits[..., 0] = 0
    target = torch.tensor([[[7.9]]])  # 0.1 before cell 0
    for loss in (error_of_expectation, discrete_expected_error):
        found = loss(logits, grid, target, distance="l2").item()
        assert found == pytest.approx(2 * 8 / (2 * math.pi) * math.sin(math.pi * 0.1 / 8), rel=1e-4)  # the chord


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_the_basis_of_a_grid_is_in_the_expected_error(basis):
    # One cell, so the error is that of the basis around it: E x² = c²/12 and c²/6 per axis.
    grid = Grid((1, 1), spacing=(2.0, 3.0))
    settings = {"basis": basis, "num_samples": 40_000, "distance": "squared_l2", "generator": seeded()}
    found = expected_error(torch.zeros(1, 1, 1), grid, torch.zeros(1, 1, 2), **settings)
    expected = (4 + 9) / (12 if isinstance(basis, Uniform) else 6)
    assert found.item() == pytest.approx(expected, rel=0.02)  # 4 standard errors of 40 000 draws
    with pytest.raises(ValueError, match=re.escape(f"basis: the closed form exists for Gaussian alone, got {basis}")):
        expected_error(torch.zeros(1, 1, 1), grid, torch.zeros(1, 1, 2), basis=basis, closed_form=True)


@pytest.mark.parametrize("name", ALL)
def test_the_kernel_soft_argmax_goes_with_every_objective(name):
    logits, sites, target, mask = random_map()
    narrow = kernel_logits(logits.requires_grad_(), sites, 0.5, mask=mask)
    found = seeded_call(name, narrow, sites, target, mask=mask)
    assert found.shape == (2, 2)
    assert torch.autograd.grad(found.sum(), logits)[0].isfinite().all()
    # a window much wider than the cloud changes nothing
    wide = seeded_call(name, kernel_logits(logits, sites, 1e6, mask=mask), sites, target, mask=mask)
    torch.testing.assert_close(wide, seeded_call(name, logits, sites, target, mask=mask))


LOGITS, SITES, TARGET = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3), torch.zeros(2, 3, 3)


# those that check their own arguments; the rest call them
@pytest.mark.parametrize("name", ["soft", "discrete", "sampling"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": TARGET[:1]}, "target: expected shape (B, K, D) = (2, 3, 3), got (1, 3, 3)"),
        ({"target": TARGET[..., :2]}, "target: expected shape (B, K, D) = (2, 3, 3), got (2, 3, 2)"),
        ({"distance": "l0"}, "distance: expected 'l1', 'l2', 'squared_l2' or SmoothL1(beta), got 'l0'"),
        ({"logits": LOGITS[0]}, "logits: expected shape (B, K, L), got (3, 4)"),
        ({"sites": SITES[:, :3]}, "sites: expected shape (B, L, D) or (L, D)"),
        (
            {"mask": torch.tensor([[True] * 4, [False] * 4])},
            "mask: expected at least one real site in every cloud, got none in clouds [1]",
        ),
        ({"sites": Grid((2, 2))}, "target: expected shape (B, K, D) = (2, 3, 2), got (2, 3, 3)"),
        ({"sites": Grid((2, 3))}, "logits: expected shape"),
    ],
)
def test_errors(name, change, message):
    arguments = {"logits": LOGITS, "sites": SITES, "target": TARGET} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        ALL[name](**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: expected_error(LOGITS, SITES, TARGET, relaxation="hard"),
            "relaxation: expected one of 'gumbel_softmax', 'published', 'straight_through', got 'hard'",
        ),
        (
            lambda: expected_error(LOGITS, SITES, TARGET, closed_form=True, relaxation="hard"),
            "relaxation: expected one of 'gumbel_softmax', 'published', 'straight_through', got 'hard'",
        ),
        (lambda: expected_error(LOGITS, SITES, TARGET, num_samples=0), "num_samples: expected at least 1, got 0"),
        (
            lambda: variance_regularized_error(LOGITS, SITES, TARGET, weight=-1.0),
            "weight: expected a value >= 0 and finite, got -1.0",
        ),
        (
            lambda: distribution_regularized_error(LOGITS, SITES, TARGET, weight=math.nan),
            "weight: expected a value >= 0 and finite, got nan",
        ),
        (
            lambda: distribution_regularized_error(LOGITS, SITES, TARGET, target_variance=0.0),
            "target_variance: expected a value, positive and finite, got 0.0",
        ),
        (lambda: expected_error(LOGITS, SITES, TARGET, basis=Uniform()), "Uniform"),
    ],
)
def test_errors_of_one_objective(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
