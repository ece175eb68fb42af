"""Bases whose noise is drawn at each site, and grids, through sampling-argmax."""

import math
import re

import pytest
import torch
from reference import argmax as reference
from reference.pairwise import pairwise

from pcsargmax.core.argmax import kernel_logits, sampling_argmax, soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.engine import chunks
from pcsargmax.core.grid import Grid
from pcsargmax.core.grid_argmax import GridArgmax
from pcsargmax.core.losses import error_of_expectation, expected_error
from pcsargmax.core.relaxation import draw_log_exponential

RELAXATIONS = ["gumbel_softmax", "published", "straight_through"]
GRIDS = [
    Grid((5,), spacing=0.5),
    Grid((3, 4), spacing=(0.5, 2.0), origin=(1.0, -1.0)),
    Grid((2, 3, 2)),
    Grid((3, 4), periodic=(True, False)),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def maps(grid, dtype=torch.float64):
    return torch.randn(2, 3, *grid.shape, dtype=dtype, generator=seeded(), requires_grad=True)


@pytest.mark.parametrize(("basis", "grid", "relaxation"), pairwise([Uniform(), Triangular()], GRIDS, RELAXATIONS))
def test_a_draw_at_each_cell_is_that_of_the_formula(basis, grid, relaxation):
    logits = maps(grid)
    found = sampling_argmax(
        logits, grid, basis=basis, num_samples=4, temperature=0.6, relaxation=relaxation, generator=seeded(1)
    )
    generator = seeded(1)
    noise = draw_log_exponential(torch.empty(2, 3, 4, grid.num_sites, dtype=torch.float64), generator)
    w = reference.weights(logits.flatten(2), -noise.transpose(1, 2), 0.6, relaxation)
    moved = basis.site_noise((2, 3, 4), grid, generator=generator, dtype=torch.float64).transpose(1, 2)
    positions = grid.embed(grid.positions(torch.float64) + moved)
    expected = grid.recover((w.unsqueeze(-1) * positions).sum(-2))
    torch.testing.assert_close(found, expected)
    towards = torch.randn(found.shape, dtype=found.dtype, generator=seeded(2))
    gradients = [torch.autograd.grad((y * towards).sum(), logits)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("basis", "grid", "relaxation"),
    pairwise([Uniform(), Triangular(), Gaussian()], GRIDS[1:], ["gumbel_softmax", "published"]),
)
def test_gradients_of_samples_and_of_the_fused_loss(basis, grid, relaxation, monkeypatch):
    monkeypatch.setitem(chunks._CHUNK, "cpu", 100)  # several chunks
    logits = maps(grid)[:, :1].detach().requires_grad_()
    target = torch.rand(2, 1, grid.dimension, dtype=torch.float64, generator=seeded(3))
    how = {"basis": basis, "num_samples": 3, "temperature": 0.8, "relaxation": relaxation}
    assert torch.autograd.gradcheck(lambda x: sampling_argmax(x, grid, generator=seeded(1), **how), logits)
    assert torch.autograd.gradcheck(
        lambda x: expected_error(x, grid, target, distance="l2", generator=seeded(1), **how), logits
    )


def test_a_map_and_its_flattened_form_are_the_same():
    grid = Grid((3, 4))
    logits = maps(grid)
    assert torch.equal(soft_argmax(logits, grid), soft_argmax(logits.flatten(2), grid))
    torch.testing.assert_close(soft_argmax(logits, grid), soft_argmax(logits.flatten(2), grid.positions(torch.float64)))


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (2, 3, 11), (2, 3), (3, 4)])
def test_a_map_that_does_not_fit_its_grid(shape):
    with pytest.raises(ValueError, match=r"logits: expected shape \(B, K, 3, 4\) or \(B, K, 12\) for this grid"):
        soft_argmax(torch.zeros(shape), Grid((3, 4)))


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_a_cloud_has_no_cells(basis):
    with pytest.raises(ValueError, match="cloud"):
        sampling_argmax(torch.zeros(1, 1, 4), torch.zeros(4, 3), basis=basis)


def test_the_mean_of_angles_goes_the_short_way():
    # Cells at 0°, 10°, …, 350°: half the map at 350°, half at 10°.
    grid = Grid((36,), spacing=10.0, periodic=True)
    logits = torch.full((1, 1, 36), -math.inf)
    logits[..., [1, 35]] = 0.0
    direction = soft_argmax(logits, grid)
    assert grid.difference(direction, torch.zeros(1)).abs().item() < 1e-3
    samples = sampling_argmax(logits, grid, basis=Triangular(), num_samples=500, generator=seeded())
    assert grid.difference(samples, torch.zeros(1)).abs().max() <= 20.0
    # The error is measured on the circle too: 359° is 1° off, not 359°.
    target = torch.tensor([[[359.0]]])
    error = expected_error(
        logits, grid, target, basis=Gaussian(1.0), num_samples=500, distance="l2", generator=seeded()
    )
    assert error.item() < 20


def test_one_sample_of_a_mixture_as_the_temperature_falls():
    # Kolmogorov-Smirnov in 1-D: τ → 0 gives draws of f(y) = Σ π_i f_i(y), whatever the basis.
    from scipy import stats

    grid = Grid((4,), spacing=0.5, origin=-1.0)
    logits = torch.tensor([[[0.3, -1.0, 1.2, 0.0]]])
    for basis in (Uniform(), Triangular(), Gaussian(0.2)):
        for relaxation in ("gumbel_softmax", "straight_through"):
            temperature = 1e-6 if relaxation == "gumbel_softmax" else 3.0  # this one is exact at any
            samples = sampling_argmax(
                logits,
                grid,
                basis=basis,
                num_samples=20_000,
                temperature=temperature,
                relaxation=relaxation,
                generator=seeded(),
            )

            def distribution(y, basis=basis):
                lattice = torch.linspace(-3, 3, 6001)
                density = basis.density(lattice[None, :, None], grid)[0] @ logits.softmax(-1)[0, 0]
                return torch.cumsum(density * 1e-3, 0)[((torch.as_tensor(y) + 3) * 1000).long()].numpy()

            assert stats.kstest(samples.flatten().numpy(), distribution).pvalue > 1e-3


BASES = [Gaussian(0.3), Gaussian(torch.rand(2, 12, 1, generator=seeded(8))), Triangular()]


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 12, 1), (3, 12, 2)])
@pytest.mark.parametrize("mask", [None, torch.ones(2, 3, 4, dtype=torch.bool)])
def test_a_sigma_of_another_batch_on_a_grid(shape, mask):
    with pytest.raises(ValueError, match=re.escape("(2, 12, 2), got ")):
        sampling_argmax(maps(Grid((3, 4))), Grid((3, 4)), basis=Gaussian(torch.ones(shape)), mask=mask)


@pytest.mark.parametrize("sigma", [(), (2,), (2, 1, 1), (2, 12, 1), (1, 12, 1), (1, 1, 2)])
def test_sigmas_that_fit_a_grid_or_shared_sites(sigma):
    basis, grid = Gaussian(torch.full(sigma, 0.3)), Grid((3, 4))
    logits, number = maps(grid), {"num_samples": 3}
    plain = sampling_argmax(logits, grid, basis=Gaussian(0.3), generator=seeded(1), **number)
    for sites in (grid, grid.positions()):
        x = logits if isinstance(sites, Grid) else logits.flatten(2)
        found = sampling_argmax(x, sites, basis=basis, generator=seeded(1), **number)
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6)


def test_a_learned_sigma_at_padding_has_no_effect():
    logits, sites = torch.randn(2, 3, 5, generator=seeded()), torch.randn(2, 5, 2, generator=seeded(1))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    sigma = torch.rand(2, 5, 1, generator=seeded(2))
    sigma[~mask] = math.nan
    sigma.requires_grad_()
    found = sampling_argmax(logits, sites, basis=Gaussian(sigma), mask=mask, generator=seeded(3))
    clean = sampling_argmax(
        logits, sites, basis=Gaussian(sigma.detach().nan_to_num(7.0)), mask=mask, generator=seeded(3)
    )
    assert torch.equal(found, clean)
    (gradient,) = torch.autograd.grad(found.sum(), sigma)
    assert gradient.isfinite().all()
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("basis", BASES)
def test_a_mask_of_the_shape_of_the_map(basis):
    grid = Grid((3, 4))
    logits = maps(grid, torch.float32)
    mask = torch.rand(2, 3, 4, generator=seeded(5)) > 0.4
    target = torch.zeros(2, 3, 2)

    def results(logits, mask):
        yield soft_argmax(logits, grid, mask=mask)
        yield sampling_argmax(logits, grid, basis=basis, num_samples=2, mask=mask, generator=seeded(1))
        yield expected_error(logits, grid, target, basis=basis, num_samples=2, mask=mask, generator=seeded(1))
        yield kernel_logits(logits, grid, 1.0, mask=mask).flatten(2)

    for found, flat in zip(results(logits, mask), results(logits.flatten(2), mask.flatten(1)), strict=True):
        assert torch.equal(found, flat)


def test_kernel_logits_keep_the_shape_of_the_map():
    grid = Grid((3, 4))
    windowed = kernel_logits(maps(grid), grid, 1.0)
    assert windowed.shape == (2, 3, 3, 4)
    assert kernel_logits(maps(grid).flatten(2), grid, 1.0).shape == (2, 3, 12)
    assert torch.equal(GridArgmax(grid).eval()(windowed)[:, 0], soft_argmax(windowed, grid))


def test_far_from_the_origin_the_digits_of_float32_are_kept():
    num_sites, offset = 131_072, 1000.0
    logits = torch.randn(1, 2, num_sites, generator=seeded())
    sites = torch.rand(1, num_sites, 3, generator=seeded(1)) + offset
    exact = soft_argmax(logits.double(), sites.double())
    # At 1000 a float32 is known to 3e-5.
    torch.testing.assert_close(soft_argmax(logits, sites).double(), exact, rtol=0, atol=1e-4)
    how = {"basis": Gaussian(0.01), "num_samples": 2, "temperature": 0.7}
    near = sampling_argmax(logits, sites - offset, generator=seeded(2), **how)
    far = sampling_argmax(logits, sites, generator=seeded(2), **how)
    torch.testing.assert_close(far - offset, near, rtol=0, atol=1e-4)
    target = sites[:, :2] + 0.25
    errors = [
        expected_error(logits, x, y, generator=seeded(2), distance="l2", **how)
        for x, y in ((sites - offset, target - offset), (sites, target))
    ]
    torch.testing.assert_close(*errors, rtol=1e-5, atol=0)
    far, near = (error_of_expectation(logits, x, y) for x, y in ((sites, target), (sites - offset, target - offset)))
    torch.testing.assert_close(far, near, rtol=1e-5, atol=0)


def test_a_far_cell_keeps_its_digits():
    far, near = Grid((50, 60), 0.01, 1000.0), Grid((50, 60), 0.01)
    logits = torch.randn(2, 3, 50, 60, generator=seeded())
    for basis in (Triangular(), Gaussian()):
        samples = [sampling_argmax(logits, grid, basis=basis, generator=seeded(1)) for grid in (far, near)]
        torch.testing.assert_close(samples[0] - 1000, samples[1], rtol=0, atol=2e-4)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_half_precision_and_large_logits(basis, relaxation, scale):
    grid = Grid((3, 4))
    logits = torch.zeros(2, 3, 3, 4, dtype=torch.float16)
    logits[..., 1, 2] = scale
    logits.requires_grad_()
    how = {"basis": basis, "num_samples": 4, "temperature": 0.5, "relaxation": relaxation}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        samples = sampling_argmax(logits, grid, generator=seeded(1), **how)
        loss = expected_error(logits, grid, torch.zeros(2, 3, 2), generator=seeded(1), **how)
        for found in (samples, loss):
            assert found.dtype == torch.float32
            assert found.isfinite().all()
            # The backward pass too stands under autocast.
            assert torch.autograd.grad(found.sum(), logits)[0].isfinite().all()
    whole = sampling_argmax(logits.float(), grid, generator=seeded(1), **how)
    assert torch.equal(samples, whole)
    if scale > 0:
        away = (samples - torch.tensor([2.0, 1.0])).abs()
        assert (away <= (1 if basis == Triangular() else 6 * 1.0)).all()


def test_a_gradient_under_autocast_is_that_without():
    logits, sites = torch.randn(2, 3, 40, generator=seeded()), torch.randn(2, 40, 3, generator=seeded(1))
    leaves = logits.requires_grad_(), sites.requires_grad_(), torch.rand(2, 40, 1, generator=seeded(2)).requires_grad_()
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            samples = sampling_argmax(*leaves[:2], basis=Gaussian(leaves[2]), num_samples=5, generator=seeded(3))
            found.append(torch.autograd.grad(samples.square().sum(), leaves))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_no_work_is_done_for_them(context, monkeypatch):
    logits, sites = torch.randn(2, 3, 5, generator=seeded(), requires_grad=True), torch.randn(5, 2, generator=seeded(1))
    how = {"basis": Gaussian(0.3), "num_samples": 4}
    expected = expected_error(logits, sites, torch.zeros(2, 3, 2), generator=seeded(2), **how).detach()
    calls = []
    gradient = chunks.Chunk.gradient
    monkeypatch.setattr(chunks.Chunk, "gradient", lambda *a: calls.append(1) or gradient(*a))
    with context():
        found = expected_error(logits, sites, torch.zeros(2, 3, 2), generator=seeded(2), **how)
        again = sampling_argmax(logits, sites, generator=seeded(2), **how)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert not again.requires_grad
    assert not calls
    expected_error(logits, sites, torch.zeros(2, 3, 2), generator=seeded(2), **how)
    assert calls  # with them, it is


@pytest.mark.parametrize("basis", BASES)
def test_no_keypoint_and_no_item(basis):
    grid = Grid((3, 4))
    for batch_size, keypoints in ((2, 0), (0, 3)):
        here = basis if batch_size else Gaussian(0.3)
        logits = torch.zeros(batch_size, keypoints, 3, 4, requires_grad=True)
        target = torch.zeros(batch_size, keypoints, 2)
        samples = sampling_argmax(logits, grid, basis=here, num_samples=5)
        loss = expected_error(logits, grid, target, basis=here, num_samples=5)
        assert samples.shape == (batch_size, 5, keypoints, 2)
        assert loss.shape == (batch_size, keypoints)
        assert torch.autograd.grad(samples.sum() + loss.sum(), logits)[0].shape == logits.shape


def test_torch_func_takes_the_gradient():
    logits, sites = torch.randn(2, 3, 5, generator=seeded()), torch.randn(5, 2, generator=seeded(1))
    target, how = torch.zeros(2, 3, 2), {"basis": Gaussian(0.3), "num_samples": 4}
    for function in (
        lambda x: sampling_argmax(x, sites, generator=seeded(2), **how).square().sum(),
        lambda x: expected_error(x, sites, target, generator=seeded(2), **how).sum(),
    ):
        x = logits.clone().requires_grad_()
        (expected,) = torch.autograd.grad(function(x), x)
        torch.testing.assert_close(torch.func.grad(function)(logits), expected)
