import math
import re

import numpy as np
import pytest
import torch
from reference import bases as reference
from scipy import stats
from scipy.interpolate import RegularGridInterpolator

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.grid import Grid

GRIDS = [
    Grid((7,), 0.5, -1.0),
    Grid((4, 3), (0.3, 2.0), (1.0, -2.0)),
    Grid((3, 4, 2), (0.5, 1.0, 0.1), (0.0, 3.0, -1.0)),
]
PERIODIC = Grid((3, 6), (1.0, 0.5), (-2.0, 0.0), (True, False))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_map(grid, seed=0):
    return torch.randn(grid.num_sites, dtype=torch.float64, generator=seeded(seed)).softmax(0)


def around(grid, count=400, seed=1):
    """Random positions (1, count, D) over the grid and up to two cells beyond."""
    share = torch.rand(count, grid.dimension, dtype=torch.float64, generator=seeded(seed))
    cell, first = torch.tensor(grid.cell).double(), torch.tensor(grid.first).double()
    return (first + cell * (share * (torch.tensor(grid.counts) + 3) - 2)).unsqueeze(0)


def lattice(grid, per_cell):
    """The midpoints (1, Q, D) of a fine lattice over the grid, a cell beyond where it has ends; and their volume."""
    axes = []
    for n, c, x, period in zip(grid.counts, grid.cell, grid.first, grid.periods, strict=True):
        extra = 0 if period else 1
        count = (n + 2 * extra) * per_cell
        axes.append(x - (0.5 + extra) * c + (torch.arange(count, dtype=torch.float64) + 0.5) * c / per_cell)
    positions = torch.cartesian_prod(*axes).reshape(1, -1, grid.dimension)
    return positions, math.prod(grid.cell) / per_cell**grid.dimension


@pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])
@pytest.mark.parametrize(("basis", "twin"), [(Uniform(), reference.uniform), (Triangular(), reference.triangular)])
def test_density_is_its_plain_form(grid, basis, twin):
    positions = around(grid, 20)
    found = basis.density(positions, grid)
    sites = grid.positions(torch.float64)
    for q, position in enumerate(positions[0].tolist()):
        expected = [reference.density(twin, position, site, grid.cell) for site in sites.tolist()]
        torch.testing.assert_close(found[0, q], torch.tensor(expected, dtype=torch.float64))
    assert (found > 0).any()


def test_densities_by_hand():
    grid, at = Grid((3,), 2.0, 10.0), torch.tensor([[[10.0], [10.5], [11.0], [13.5], [8.5], [15.5]]])
    expected = [[0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0], [0, 0, 0]]
    torch.testing.assert_close(Uniform().density(at, grid)[0], torch.tensor(expected))
    expected = [[0.5, 0, 0], [0.375, 0.125, 0], [0.25, 0.25, 0], [0, 0.125, 0.375], [0.125, 0, 0], [0, 0, 0.125]]
    torch.testing.assert_close(Triangular().density(at, grid)[0], torch.tensor(expected))


def test_the_triangular_mixture_is_the_linear_interpolation_of_a_1d_map():
    grid = GRIDS[0]
    probabilities, positions = random_map(grid), around(grid)
    mixture = Triangular().density(positions, grid)[0] @ probabilities
    (x,), c = grid.axes(torch.float64), grid.cell[0]
    knots = [x[0].item() - c, *x.tolist(), x[-1].item() + c]
    expected = np.interp(positions[0, :, 0], knots, [0, *probabilities.tolist(), 0], left=0, right=0) / c
    np.testing.assert_allclose(mixture, expected, rtol=1e-12, atol=1e-14)
    assert (expected == 0).sum() > 5


@pytest.mark.parametrize("grid", GRIDS[1:], ids=["2d", "3d"])
def test_the_triangular_mixture_is_the_linear_interpolation_of_the_map(grid):
    probabilities, positions = random_map(grid), around(grid)
    mixture = Triangular().density(positions, grid)[0] @ probabilities
    image = np.pad(probabilities.reshape(grid.shape).numpy(), 1)  # 0 from the sites one cell beyond
    knots = [
        x[0].item() + c * np.arange(-1, len(x) + 1) for x, c in zip(grid.axes(torch.float64), grid.cell, strict=True)
    ]
    interpolate = RegularGridInterpolator(knots[::-1], image, bounds_error=False, fill_value=0)
    expected = interpolate(positions[0].numpy()[:, ::-1]) / math.prod(grid.cell)
    np.testing.assert_allclose(mixture, expected, rtol=1e-11, atol=1e-13)
    assert (expected == 0).sum() > 5


@pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])
def test_the_uniform_mixture_is_the_histogram(grid):
    probabilities, positions = random_map(grid), around(grid)
    mixture = Uniform().density(positions, grid)[0] @ probabilities
    edges = [
        x[0].item() + c * (np.arange(len(x) + 1) - 0.5)
        for x, c in zip(grid.axes(torch.float64), grid.cell, strict=True)
    ]
    index = [np.digitize(positions[0, :, d], edges[d]) for d in range(grid.dimension)]  # 0 and n + 1 are outside
    expected = np.pad(probabilities.reshape(grid.shape).numpy(), 1)[tuple(index[::-1])] / math.prod(grid.cell)
    np.testing.assert_allclose(mixture, expected, rtol=1e-12)
    assert (expected == 0).any()
    assert (expected > 0).sum() > 20


@pytest.mark.parametrize("spacing", [0.1, 1 / 3, 7.7])
def test_uniform_cells_tile_also_at_their_borders(spacing):
    grid = Grid((50,), spacing, 0.123)
    borders = 0.123 + spacing * (torch.arange(1, 49) + 0.5)
    positions = torch.cat([borders, borders.nextafter(torch.tensor(0.0)), borders.nextafter(torch.tensor(99.0))])
    density = Uniform().density(positions.reshape(1, -1, 1), grid)[0]
    torch.testing.assert_close(density.sum(-1), torch.full((144,), 1 / spacing))
    assert ((density > 0).sum(-1) == 1).all()


@pytest.mark.parametrize("grid", [*GRIDS[:2], PERIODIC], ids=["1d", "2d", "cylinder"])
@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_densities_integrate_to_1_and_have_the_variance(grid, basis):
    positions, volume = lattice(grid, 40)
    density = basis.density(positions, grid)[0]  # (Q, L)
    # The midpoint rule is exact for densities that are linear between the lattice's corners.
    torch.testing.assert_close(density.sum(0) * volume, torch.ones(grid.num_sites).double(), rtol=1e-12, atol=0)
    sites = grid.positions(torch.float64)
    away = grid.difference(positions[0].unsqueeze(1), sites)
    torch.testing.assert_close(
        (density.unsqueeze(-1) * away).sum(0) * volume, torch.zeros_like(sites), rtol=0, atol=1e-10
    )
    if any(grid.periods):
        at, mean = grid.embed(positions[0]), 0
        mean = (density.unsqueeze(-1) * at.unsqueeze(1)).sum(0) * volume
        away = at.unsqueeze(1) - mean
    variance = (density.unsqueeze(-1) * away.square()).sum(0) * volume
    found = basis.variance(grid, dtype=torch.float64)
    assert found.shape == ((1, grid.num_sites, 3) if any(grid.periods) else (1, 1, grid.dimension))
    # The midpoint rule leaves out h²/12 of each small interval h = c/40: 1/1600 of the smaller variance c²/12.
    torch.testing.assert_close(found[0].expand_as(variance), variance, rtol=1.5e-3, atol=1e-5)


def test_variances_by_hand():
    grid = Grid((5, 5), (3.0, 0.6))
    torch.testing.assert_close(Uniform().variance(grid), torch.tensor([[[0.75, 0.03]]]))
    torch.testing.assert_close(Triangular().variance(grid), torch.tensor([[[1.5, 0.06]]]))
    # A circle of many cells is nearly straight: along it all the variance, across it none.
    circle = Uniform().variance(Grid((360,), periodic=True), dtype=torch.float64)[0]
    torch.testing.assert_close(circle.sum(-1), torch.full((360,), 1 / 12).double(), rtol=1e-4, atol=0)
    assert circle[90, 0].item() == pytest.approx(1 / 12, rel=1e-4)
    assert circle[90, 1].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_site_noise_follows_the_density(basis):
    grid = GRIDS[1]
    noise = basis.site_noise((2, 500), grid, generator=seeded(3), dtype=torch.float64)
    assert noise.shape == (2, 500, 12, 2)
    noise = noise.reshape(-1, 2).numpy()
    for d, c in enumerate(grid.cell):
        law = stats.uniform(-c / 2, c) if basis == Uniform() else stats.triang(0.5, -c, 2 * c)
        assert stats.kstest(noise[:, d], law.cdf).pvalue > 1e-3
        variance = basis.variance(grid)[0, 0, d].item()
        assert variance == pytest.approx(law.var())
        error = variance * math.sqrt((law.stats("k") + 2) / len(noise))
        assert abs(noise[:, d].var() - variance) < 4 * error
        assert abs(noise[:, d].mean()) < 4 * math.sqrt(variance / len(noise))
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / math.sqrt(len(noise))


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_noise_of_neighbouring_cells_and_of_items_is_independent(basis):
    noise = basis.site_noise((4000, 2), Grid((2,)), generator=seeded())[..., 0].flatten(1)  # (4000, 2 · 2)
    off = torch.corrcoef(noise.T) - torch.eye(4)
    assert (off.abs() < 4 / math.sqrt(4000)).all()


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
@pytest.mark.parametrize("periodic", [False, True])
def test_draws_at_sites_of_the_map_follow_the_mixture(basis, periodic):
    grid = Grid((6,), 0.5, -1.0, periodic)
    probabilities = random_map(grid)
    index = torch.multinomial(probabilities, 8000, replacement=True, generator=seeded(4)).reshape(2, 4000)
    drawn = basis.draw(index, grid, generator=seeded(5), dtype=torch.float64)
    assert drawn.shape == (2, 4000, 1)
    if periodic:
        assert drawn.min() >= -1.25
        assert drawn.max() < 1.75
    at, volume = lattice(grid, 200)
    # The cumulated mixture is that at the upper end of each small interval.
    cumulated = (basis.density(at, grid)[0] @ probabilities).cumsum(0) * volume
    ends = at[0, :, 0] + volume / 2
    result = stats.kstest(drawn.flatten().numpy(), lambda y: np.interp(y, ends, cumulated))
    assert result.pvalue > 1e-3


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_draws_stay_at_their_sites(basis):
    grid = GRIDS[2]
    index = torch.arange(24).reshape(2, 12)
    away = basis.draw(index, grid, generator=seeded()) - grid.positions()[index]
    reach = torch.tensor(grid.cell) * (0.5 if basis == Uniform() else 1)
    assert (away.abs() <= reach * (1 + 1e-5)).all()
    assert basis.draw(index, grid).dtype == torch.float32
    assert basis.draw(index, grid, device="cpu", dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
@pytest.mark.parametrize("grid", [GRIDS[1], PERIODIC], ids=["2d", "cylinder"])
def test_noise_is_one_draw_per_cell(basis, grid):
    weights = torch.randn(2, 4, 3, grid.num_sites, dtype=torch.float64, generator=seeded()).softmax(-1)
    found = basis.noise(weights, grid, generator=seeded(1))
    noise = basis.site_noise((2, 4, 3), grid, generator=seeded(1), dtype=torch.float64)
    positions = grid.positions(torch.float64)
    expected = (weights.unsqueeze(-1) * (grid.embed(positions + noise) - grid.embed(positions))).sum(-2)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 4, 3, grid.embedded_dimension)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_one_hot_weights_give_draws_of_the_cell(basis):
    grid = Grid((3,), 2.0)
    weights = torch.zeros(1, 5000, 1, 3)
    weights[..., 1] = 1
    noise = basis.noise(weights, grid, generator=seeded()).flatten()
    law = stats.uniform(-1, 2) if basis == Uniform() else stats.triang(0.5, -2, 4)
    assert stats.kstest(noise.numpy(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
@pytest.mark.parametrize("grid", [Grid((2, 3), 0.5), PERIODIC], ids=["2d", "cylinder"])
def test_gradient(basis, grid):
    weights = torch.rand(1, 2, 1, grid.num_sites, dtype=torch.float64, generator=seeded()).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: basis.noise(w, grid, generator=seeded(1)), weights)
    positions = around(grid, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: basis.density(x, grid), positions)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_masked_cells_have_no_density(basis):
    grid = Grid((2, 2))
    mask = torch.tensor([[True, True, False, True], [False, True, True, True]])
    positions = grid.positions().expand(2, -1, -1)
    expected = torch.eye(4).expand(2, 4, 4) * mask.unsqueeze(1)
    assert torch.equal(basis.density(positions, grid, mask), expected)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_full_precision_under_autocast_and_for_half_positions(basis):
    grid = Grid((4, 8))
    weights = torch.rand(2, 3, 4, 32, generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = basis.noise(weights, grid, generator=seeded(1))
        density = basis.density(grid.positions().half().unsqueeze(0), grid)
    assert mixed.dtype == density.dtype == torch.float32
    assert torch.equal(mixed, basis.noise(weights, grid, generator=seeded(1)))
    assert torch.equal(density[0], torch.eye(32))


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_a_single_cell(basis):
    grid = Grid((1,), 2.0, 5.0)
    assert basis.density(torch.tensor([[[5.0]]]), grid).tolist() == [[[0.5]]]
    assert basis.noise(torch.ones(1, 2, 3, 1), grid).shape == (1, 2, 3, 1)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_a_circle_of_two_cells(basis):
    grid = Grid((2,), periodic=True)
    positions = torch.linspace(-2, 3, 41).reshape(1, -1, 1)
    torch.testing.assert_close(basis.density(positions, grid).sum(-1), torch.ones(1, 41))


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
def test_a_seed_repeats_bit_for_bit(basis):
    weights = torch.rand(1, 2, 3, 7)
    first, second = (basis.noise(weights, GRIDS[0], generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("basis", [Uniform(), Triangular()])
@pytest.mark.parametrize(
    "call",
    [
        lambda basis, cloud: basis.variance(cloud),
        lambda basis, cloud: basis.density(torch.zeros(2, 1, 3), cloud),
        lambda basis, cloud: basis.site_noise((2,), cloud),
        lambda basis, cloud: basis.noise(torch.ones(2, 1, 1, 5), cloud),
        lambda basis, cloud: basis.draw(torch.zeros(2, 1).long(), cloud),
    ],
)
def test_a_cloud_has_no_cells(basis, call):
    message = (
        f"sites: {basis} needs the cells of a Grid, got a tensor of shape (2, 5, 3): a cloud has no cells, its points "
        "no common distance in each direction, so these densities do not tile the space; use Gaussian, or give the "
        "sites as a Grid"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        call(basis, torch.zeros(2, 5, 3))


@pytest.mark.parametrize("basis", [Uniform(), Triangular(), Gaussian()])
@pytest.mark.parametrize("shape", [(3, 2), (1, 3, 3)])
def test_positions_that_do_not_fit(basis, shape):
    message = f"positions: expected shape (B, Q, D = 2), got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        basis.density(torch.zeros(shape), Grid((4, 4)))


def test_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=re.escape("weights: expected L = 16 cells, got shape (1, 2, 3, 9)")):
        Uniform().noise(torch.zeros(1, 2, 3, 9), Grid((4, 4)))
