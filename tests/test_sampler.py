"""Bases whose noise is drawn at each site, and grids, through sampling-argmax."""

import math

import pytest
import torch
from reference import argmax as reference

from pcsargmax import moments
from pcsargmax.argmax import kernel_logits, sampling_argmax, soft_argmax
from pcsargmax.bases import Gaussian
from pcsargmax.cells import Triangular, Uniform
from pcsargmax.grid import Grid
from pcsargmax.losses import expected_error
from pcsargmax.relaxation import draw_log_exponential

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


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("relaxation", RELAXATIONS)
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


@pytest.mark.parametrize("basis", [Uniform(), Triangular(), Gaussian()])
@pytest.mark.parametrize("grid", GRIDS[1:])
@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published"])
def test_gradients_of_samples_and_of_the_fused_loss(basis, grid, relaxation, monkeypatch):
    monkeypatch.setitem(moments._CHUNK, "cpu", 100)  # several chunks
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


def test_kernel_logits_by_hand():
    # Peak at 1; the window exp(−d²/2) takes exp(−½) off the site at 0 and exp(−4½) off the one at 4.
    logits = torch.tensor([[[0.0, 1.0, 0.5]]])
    sites = torch.tensor([[0.0], [1.0], [4.0]])
    torch.testing.assert_close(kernel_logits(logits, sites, 1.0), torch.tensor([[[-0.5, 1.0, -4.0]]]))
    torch.testing.assert_close(kernel_logits(logits, sites, 1e6), logits)
    narrow = kernel_logits(logits, sites, 1e-3)
    torch.testing.assert_close(soft_argmax(narrow, sites), torch.tensor([[[1.0]]]))


def test_kernel_logits_leave_out_a_far_mode_under_every_objective():
    sites = torch.tensor([[0.0], [1.0], [100.0]])
    logits = torch.tensor([[[1.0, 2.0, 1.9]]], requires_grad=True)
    target = torch.full((1, 1, 1), 0.7)
    windowed = kernel_logits(logits, sites, 1.0)
    assert soft_argmax(windowed, sites).item() < 1 < 30 < soft_argmax(logits, sites).item()
    loss = expected_error(windowed, sites, target, basis=Gaussian(0.1), num_samples=50, generator=seeded())
    assert loss.item() < 1
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_kernel_logits_with_padding_and_its_error():
    logits, sites = torch.tensor([[[0.0, 1.0, math.nan]]]), torch.tensor([[[0.0], [1.0], [math.inf]]])
    mask = torch.tensor([[True, True, False]])
    windowed = kernel_logits(logits, sites, 1.0, mask=mask)
    torch.testing.assert_close(windowed, torch.tensor([[[-0.5, 1.0, -math.inf]]]))
    with pytest.raises(ValueError, match=r"width: expected a length, positive and finite, got 0\.0"):
        kernel_logits(logits, sites, 0.0)


def test_kernel_logits_gradient():
    logits = torch.randn(2, 2, 6, dtype=torch.float64, generator=seeded(), requires_grad=True)
    sites = torch.randn(2, 6, 3, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, s: soft_argmax(kernel_logits(x, s, 0.7), s), (logits, sites))
