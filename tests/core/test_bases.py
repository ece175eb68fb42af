import math
import re

import numpy as np
import pytest
import torch
from reference import bases as reference
from scipy import stats
from scipy.spatial.distance import mahalanobis

from pcsargmax.core.bases import Basis, Gaussian, Triangular, Uniform, weighted_sum
from pcsargmax.core.grid import Grid


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def direct_noise(basis, weights, sites, generator):
    """The plain form: one normal per site and axis, Σ w_i σ_i ε_i."""
    noise = basis.site_noise(weights.shape[:-1], sites, generator=generator, dtype=weights.dtype)
    return (weights.unsqueeze(-1) * noise).sum(-2)


@pytest.fixture
def weights():
    return torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)[:, None, None]  # (2, 1, 1, 3)


SITES = torch.zeros(2, 3, 2, dtype=torch.float64)
PER_SITE = torch.tensor([[[1.0], [2.0], [0.0]], [[0.5], [0.0], [0.1]]], dtype=torch.float64)
PER_AXIS = torch.tensor([[[1.0, 0.1], [2.0, 0.2], [0.0, 0.3]]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("sigma", "std"),
    [
        (0.1, [0.1 * math.sqrt(0.38), 0.1 * math.sqrt(0.66)]),
        (torch.tensor(0.1), [0.1 * math.sqrt(0.38), 0.1 * math.sqrt(0.66)]),
        (torch.tensor([0.1, 2.0]), [0.1 * math.sqrt(0.38), 2 * math.sqrt(0.66)]),
        (PER_SITE, [math.sqrt(0.25 + 0.36), math.sqrt(0.0025 + 0.0064)]),
        (0.0, [0.0, 0.0]),
    ],
)
def test_noise_std_by_hand(weights, sigma, std):
    found = Gaussian(sigma).noise_std(weights, SITES)
    torch.testing.assert_close(found, torch.tensor(std, dtype=torch.float64).reshape(2, 1, 1, 1))


def test_noise_std_per_axis_by_hand(weights):
    found = Gaussian(PER_AXIS).noise_std(weights, SITES)
    expected = [0.25 + 0.36, 0.0025 + 0.0036 + 0.0036], [0.01 + 0.04, 0.0001 + 0.0004 + 0.0576]
    torch.testing.assert_close(found.square()[:, 0, 0], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("sigma", [0.1, (0.1, 0.4), torch.tensor([0.1, 2.0]), PER_SITE, PER_AXIS])
def test_collapsed_noise_is_distributed_as_one_draw_per_site(weights, sigma):
    count = 20_000
    many = weights.expand(2, count, 1, 3)
    basis = Gaussian(sigma)
    collapsed = basis.noise(many, SITES, generator=seeded(1))[:, :, 0]  # (2, count, 2)
    direct = direct_noise(basis, many, SITES, seeded(2))[:, :, 0]
    std = basis.noise_std(weights, SITES).expand(2, 1, 1, 2)[:, 0, 0]
    for noise in (collapsed, direct):
        assert (noise.mean(1).abs() < 4 * std / math.sqrt(count)).all()
        # Four standard errors of a variance, σ² √(2/n), and of a correlation of independent axes, 1/√n.
        assert ((noise.var(1) / std.square() - 1).abs() < 4 * math.sqrt(2 / count)).all()
        correlation = torch.stack([torch.corrcoef(item.T)[0, 1] for item in noise])
        assert (correlation.abs() < 4 / math.sqrt(count)).all()
    for a, b, scale in zip(collapsed.numpy(), direct.numpy(), std.numpy(), strict=True):
        for d in range(2):
            assert stats.ks_2samp(a[:, d], b[:, d]).pvalue > 1e-3
        inverse = np.diag(1 / scale**2)
        away = [[mahalanobis(row, [0, 0], inverse) for row in noise[:2000]] for noise in (a, b)]
        assert stats.ks_2samp(*away).pvalue > 1e-3
        assert stats.kstest(np.square(away[0]), stats.chi2(2).cdf).pvalue > 1e-3
        assert stats.kstest(a[:, 0] / scale[0], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("sigma", [0.8, PER_SITE, PER_AXIS])
def test_gradient_of_the_collapsed_noise_has_the_same_mean_and_no_larger_variance(weights, sigma):
    basis, count = Gaussian(sigma), 20_000

    def gradients(draw):
        many = weights.expand(2, count, 1, 3).clone().requires_grad_()
        return torch.autograd.grad((draw(many) - 0.3).square().sum(), many)[0][:, :, 0]

    collapsed = gradients(lambda w: basis.noise(w, SITES, generator=seeded(1)))
    direct = gradients(lambda w: direct_noise(basis, w, SITES, seeded(2)))
    error = (collapsed.var(1) + direct.var(1)).sqrt() / math.sqrt(count)
    assert ((collapsed.mean(1) - direct.mean(1)).abs() <= 4 * error).all()
    # Of a squared distance the expected gradient is that of Σ w_i² σ_i² over both axes.
    expected = 2 * weights[:, 0] * basis.scale(SITES).square().expand(2, 3, 2).sum(-1).unsqueeze(1)
    assert ((collapsed.mean(1) - expected[:, 0]).abs() <= 4 * collapsed.std(1) / math.sqrt(count)).all()
    # A variance is known to within its standard error, √(2/n) for a normal and more for the heavier tails here.
    assert (collapsed.var(1) <= 1.05 * direct.var(1)).all()
    assert collapsed.var(1).sum() < 0.8 * direct.var(1).sum()


@pytest.mark.parametrize("sigma", [0.0, torch.zeros(2), torch.zeros(2, 3, 1), torch.zeros(1, 3, 2)])
def test_sigma_zero_gives_no_noise_and_finite_gradients(weights, sigma):
    weights.requires_grad_()
    noise = Gaussian(sigma).noise(weights, SITES, generator=seeded())
    assert noise.shape == (2, 1, 1, 2)
    assert (noise == 0).all()
    assert torch.autograd.grad(noise.sum(), weights)[0].isfinite().all()


@pytest.mark.parametrize("shape", [(), (2,), (2, 3, 1), (1, 3, 2), (2, 1, 1)])
def test_gradient(shape, weights):
    sigma = torch.rand(shape, dtype=torch.float64, generator=seeded()).add(0.5).requires_grad_()
    weights.requires_grad_()

    def noise(weights, sigma):
        return Gaussian(sigma).noise(weights, SITES, generator=seeded(1))

    assert torch.autograd.gradcheck(noise, (weights, sigma))


def test_masked_sites_add_no_noise(weights):
    mask = torch.tensor([[True, True, False], [True, True, True]])
    alone = torch.tensor([[[[0.6, 0.4]]]], dtype=torch.float64)
    padded = torch.cat([torch.nn.functional.pad(alone, (0, 1)), weights[1:]])
    std = Gaussian(PER_SITE + 1).noise_std(padded, SITES, mask)
    torch.testing.assert_close(std[:1], Gaussian(PER_SITE[:1, :2] + 1).noise_std(alone, SITES[:1, :2]))


def test_auto_is_the_mean_distance_to_the_nearest_neighbour():
    sites = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], [[5.0, 5, 5], [5, 5, 5.5], [math.nan] * 3]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    scale = Gaussian("auto").scale(sites.requires_grad_(), mask)
    torch.testing.assert_close(scale, torch.tensor([4 / 3, 0.5]).reshape(2, 1, 1))
    assert not scale.requires_grad


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_auto_for_shared_sites_of_any_dimension(dimension):
    sites = torch.zeros(1, 3, dimension)
    sites[0, :, 0] = torch.tensor([0.0, 1.0, 3.0])
    assert Gaussian().scale(sites).flatten().tolist() == pytest.approx([4 / 3])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert Gaussian().scale(sites, mask).flatten().tolist() == pytest.approx([4 / 3, 1.0])


def test_a_cloud_of_one_site_has_no_noise():
    assert (Gaussian("auto").noise(torch.ones(1, 2, 1, 1), torch.ones(1, 1, 3)) == 0).all()


def test_a_sigma_per_cloud_beside_shared_sites(weights):
    std = Gaussian(torch.tensor([1.0, 2.0])).noise_std(weights, SITES[:1])
    expected = torch.tensor([math.sqrt(0.38), 2 * math.sqrt(0.66)], dtype=torch.float64)
    torch.testing.assert_close(std.flatten(), expected)


def test_a_seed_repeats_bit_for_bit(weights):
    first, second = (Gaussian(0.1).noise(weights, SITES, generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_weighted_sum_keeps_its_precision_under_autocast():
    weights, values = torch.rand(2, 3, 4, 50, generator=seeded()), torch.rand(2, 50, 3, generator=seeded(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = weighted_sum(weights, values)
    torch.testing.assert_close(found, torch.einsum("bskl,bld->bskd", weights, values))


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        ("best", "sigma: expected a number, a tuple of numbers, a tensor or 'auto', got 'best'"),
        (-0.1, "sigma: expected a value >= 0 and finite, got -0.1"),
        (math.nan, "sigma: expected a value >= 0 and finite, got nan"),
        (torch.tensor([0.1, -2.0]), "sigma: expected values >= 0 and finite, got -2.0"),
        (torch.tensor(math.inf), "sigma: expected values >= 0 and finite, got inf"),
        ((), "sigma: expected numbers >= 0 and finite, got ()"),
        ((0.1, -1.0), "sigma: expected numbers >= 0 and finite, got (0.1, -1.0)"),
        ((0.1, "auto"), "sigma: expected numbers >= 0 and finite, got (0.1, 'auto')"),
        (None, "sigma: expected a number, a tuple of numbers, a tensor or 'auto', got None"),
        ([0.1, 0.2], "sigma: expected a number, a tuple of numbers, a tensor or 'auto', got [0.1, 0.2]"),
    ],
)
def test_errors(sigma, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Gaussian(sigma)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 1), (3, 1, 1), (2, 3, 3)])
def test_a_sigma_that_does_not_fit_the_sites(shape):
    expected = f"sigma: expected shape (), (B,) = (2,) or one that broadcasts to (B, L, D) = (2, 3, 2), got {shape}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        Gaussian(torch.ones(shape)).scale(SITES)


def test_sigma_per_axis_as_numbers(weights):
    basis = Gaussian((0.1, 0.5))
    torch.testing.assert_close(basis.scale(SITES), torch.tensor([[[0.1, 0.5]]], dtype=torch.float64))
    root = torch.tensor([0.38, 0.66], dtype=torch.float64).sqrt().reshape(2, 1, 1, 1)
    expected = root * torch.tensor([0.1, 0.5], dtype=torch.float64)
    torch.testing.assert_close(basis.noise_std(weights, SITES), expected)
    assert Gaussian((0.3, 0.3)).scale(SITES).shape == (1, 1, 1)  # known to be the same along all axes
    assert Gaussian(np.float32(0.5)).scale(SITES).item() == 0.5


def test_auto_on_a_grid_is_the_width_of_its_cells():
    assert Gaussian().scale(Grid((4, 8), 0.25)).tolist() == [[[0.25]]]
    assert Gaussian().scale(Grid((4, 8), 0.25)).dtype == torch.float32
    assert Gaussian().scale(Grid((4, 8), (0.25, 2.0))).tolist() == [[[0.25, 2.0]]]
    cylinder = Grid((4, 8), (0.25, 2.0), periodic=(True, False))
    assert Gaussian().scale(cylinder).tolist() == [[[0.25, 0.25, 2.0]]]
    assert Gaussian((3.0, 4.0)).scale(cylinder).tolist() == [[[3.0, 3.0, 4.0]]]
    assert Gaussian((3.0, 4.0)).variance(cylinder).tolist() == [[[9.0, 9.0, 16.0]]]


@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 1), (2, 6, 1), (1, 6, 2), (1, 1, 2)])
@pytest.mark.parametrize("periodic", [False, (True, False)])
def test_a_tensor_sigma_on_a_grid(shape, periodic):
    grid = Grid((2, 3), periodic=periodic)
    sigma = torch.rand(shape, dtype=torch.float64, generator=seeded()) + 0.1
    scale = Gaussian(sigma).scale(grid, dtype=torch.float64)
    whole = sigma if sigma.ndim == 3 else sigma.reshape(-1, 1, 1)
    expected = whole.expand(-1, -1, 2)[..., list(grid.embedding)]
    torch.testing.assert_close(scale.expand_as(expected), expected)
    weights = torch.rand(2, 3, 1, 6, dtype=torch.float64, generator=seeded(1))
    std = Gaussian(sigma).noise_std(weights, grid)
    plain = (weights.square().unsqueeze(-1) * scale.expand(-1, 6, -1)[:, None, None].square()).sum(-2).sqrt()
    torch.testing.assert_close(std, plain if std.shape == plain.shape else plain[..., :1])
    assert Gaussian(sigma).noise(weights, grid).shape == (2, 3, 1, grid.embedded_dimension)
    assert Gaussian(sigma).site_noise((2, 5), grid).shape == (2, 5, 6, grid.embedded_dimension)
    assert Gaussian(sigma).draw(torch.zeros(2, 7).long(), grid).shape == (2, 7, grid.embedded_dimension)
    assert Gaussian(sigma).density(torch.zeros(2, 4, 2), grid).shape == (2, 4, 6)


def test_a_grid_and_its_cells_as_a_cloud_are_the_same():
    grid = Grid((3, 4), (0.5, 2.0), (1.0, -1.0))
    cloud, basis = grid.positions(torch.float64).unsqueeze(0), Gaussian((0.2, 0.3))
    weights = torch.rand(2, 3, 1, 12, dtype=torch.float64, generator=seeded())
    at = torch.rand(2, 5, 2, dtype=torch.float64, generator=seeded(1))
    index = torch.randint(12, (2, 5), generator=seeded(2))
    for call in (
        lambda sites: basis.variance(sites, dtype=torch.float64),
        lambda sites: basis.noise_std(weights, sites),
        lambda sites: basis.noise(weights, sites, generator=seeded(3)),
        lambda sites: basis.density(at, sites),
        lambda sites: basis.site_noise((2, 3), sites, generator=seeded(3), dtype=torch.float64),
        lambda sites: basis.draw(index, sites, generator=seeded(3), dtype=torch.float64),
    ):
        torch.testing.assert_close(call(grid), call(cloud))


@pytest.mark.parametrize("sigma", [0.7, (0.7, 0.2), torch.tensor([0.3, 2.0]), PER_SITE + 0.1, PER_AXIS + 0.1])
def test_density_is_its_plain_form(sigma):
    sites = torch.randn(2, 3, 2, dtype=torch.float64, generator=seeded())
    at = torch.randn(2, 4, 2, dtype=torch.float64, generator=seeded(1))
    found = Gaussian(sigma).density(at, sites)
    scale = Gaussian(sigma).scale(sites).expand(2, 3, 2)
    assert found.shape == (2, 4, 3)
    for b, q, i in np.ndindex(2, 4, 3):
        expected = reference.density(reference.gaussian, at[b, q].tolist(), sites[b, i].tolist(), scale[b, i].tolist())
        assert found[b, q, i].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("sites", "sigma"),
    [
        (torch.tensor([[[0.0], [0.7]]]), torch.tensor([[[0.5], [0.1]]])),
        (torch.tensor([[[0.0, 1.0], [0.7, 0.3]]]), torch.tensor([[[0.5, 0.1], [0.2, 0.2]]])),
    ],
)
def test_density_integrates_to_1_and_has_the_variance(sites, sigma):
    sites, dimension = sites.double(), sites.shape[-1]
    axis = torch.linspace(-4, 5, 901 if dimension == 1 else 301, dtype=torch.float64)
    at = torch.cartesian_prod(*[axis] * dimension).reshape(1, -1, dimension)
    volume = (axis[1] - axis[0]).item() ** dimension
    basis = Gaussian(sigma.double())
    density = basis.density(at, sites)[0]
    torch.testing.assert_close(density.sum(0) * volume, torch.ones(2).double(), rtol=1e-9, atol=0)
    away = at[0].unsqueeze(1) - sites[0]
    variance = (density.unsqueeze(-1) * away.square()).sum(0) * volume
    torch.testing.assert_close(basis.variance(sites)[0].expand_as(variance), variance, rtol=1e-6, atol=0)


def test_draws_at_sites_of_the_map_follow_the_mixture():
    sites, basis = torch.tensor([[[0.0], [1.0], [5.0]]]).double(), Gaussian(PER_SITE[:1] + 0.5)
    probabilities = torch.tensor([0.5, 0.2, 0.3])
    index = torch.multinomial(probabilities, 6000, replacement=True, generator=seeded()).unsqueeze(0)
    drawn = basis.draw(index, sites, generator=seeded(1)).flatten()
    parts = [stats.norm(x, s) for x, s in zip((0, 1, 5), (1.5, 2.5, 0.5), strict=True)]
    mixture = lambda y: sum(p * part.cdf(y) for p, part in zip(probabilities.tolist(), parts, strict=True))  # noqa: E731
    assert stats.kstest(drawn.numpy(), mixture).pvalue > 1e-3
    at = torch.linspace(-12, 14, 2601, dtype=torch.float64)
    cumulated = (basis.density(at.reshape(1, -1, 1), sites)[0] @ probabilities.double()).cumsum(0) * 0.01
    np.testing.assert_allclose(cumulated, mixture(at.numpy() + 0.005), atol=1e-5)


def test_site_noise_has_the_variance_of_each_site():
    basis, count = Gaussian(PER_AXIS), 10_000
    noise = basis.site_noise((2, count), SITES, generator=seeded())
    assert noise.shape == (2, count, 3, 2)
    ratio = noise.var(1) - basis.variance(SITES)
    assert (ratio.abs() <= 4 * math.sqrt(2 / count) * basis.variance(SITES)).all()
    off = torch.corrcoef(noise[0].flatten(1).T[[0, 1, 2, 3, 5]]) - torch.eye(5)  # one of them has σ = 0
    assert (off.abs() < 4 / math.sqrt(count)).all()


@pytest.mark.parametrize("sigma", [0.02, 0.3, 3.0])
def test_density_on_a_circle_is_that_of_the_recovered_draws(sigma):
    grid, basis = Grid((6,), 0.5, -1.0, periodic=True), Gaussian(sigma)
    at = torch.linspace(-1.25, 1.75, 3001, dtype=torch.float64)
    density = basis.density(at.reshape(1, -1, 1), grid)[0]  # (3001, 6)
    # Over a whole period the sum of equal steps is exact but for what is smaller than a step.
    torch.testing.assert_close(density[:-1].sum(0) * 0.001, torch.ones(6).double(), rtol=1e-9, atol=0)
    drawn = basis.draw(torch.full((1, 5000), 5), grid, generator=seeded(), dtype=torch.float64)
    assert drawn.shape == (1, 5000, 2)
    cumulated = torch.cat([torch.zeros(1), ((density[1:, 5] + density[:-1, 5]) / 2).cumsum(0) * 0.001])
    recovered = grid.recover(drawn).flatten().numpy()
    assert stats.kstest(recovered, lambda y: np.interp(y, at, cumulated)).pvalue > 1e-3


def test_a_narrow_density_on_a_circle_is_a_normal_one():
    circle, line = Grid((100,), periodic=True), Grid((100,))
    at = 50 + torch.linspace(-2, 2, 41, dtype=torch.float64).reshape(1, -1, 1)
    found, expected = (Gaussian(0.5).density(at, grid)[..., 50] for grid in (circle, line))
    # They differ by the curvature, (σ/R)² = (0.5 / 15.9)² = 0.001 of the peak, 0.8.
    torch.testing.assert_close(found, expected, rtol=0, atol=8e-4)


def test_density_gradient():
    sites = torch.randn(1, 3, 2, dtype=torch.float64, generator=seeded(), requires_grad=True)
    at = torch.randn(2, 4, 2, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    sigma = (PER_SITE + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y, s: Gaussian(s).density(x, y), (at, sites, sigma))
    grid = Grid((1, 3), periodic=(True, False))
    assert torch.autograd.gradcheck(lambda x, s: Gaussian(s).density(x, grid), (at, sigma))


def test_garbage_at_masked_sites_has_no_density_and_no_gradient():
    sites = torch.tensor([[[0.0], [math.nan]]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    sigma = torch.tensor([[[1.0], [0.0]]], requires_grad=True)
    density = Gaussian(sigma).density(torch.zeros(1, 1, 1), sites, mask)
    torch.testing.assert_close(density, torch.tensor([[[1 / math.sqrt(2 * math.pi), 0.0]]]))
    for gradient in torch.autograd.grad(density.sum(), (sites, sigma)):
        assert gradient.isfinite().all()


def test_the_order_of_the_sites_does_not_matter():
    sites, at = torch.randn(1, 9, 3, generator=seeded()), torch.randn(1, 5, 3, generator=seeded(1))
    sigma, order = torch.rand(1, 9, 1, generator=seeded(2)) + 0.1, torch.randperm(9, generator=seeded(3))
    permuted = Gaussian(sigma[:, order]).density(at, sites[:, order])
    assert torch.equal(permuted, Gaussian(sigma).density(at, sites)[..., order])


def test_far_positions_and_half_precision():
    density = Gaussian(0.1).density(torch.full((1, 1, 2), 1e4).half(), torch.zeros(1, 1, 2))
    assert density.dtype == torch.float32
    assert density.item() == 0


@pytest.mark.parametrize("basis", [Uniform(), Triangular(), Gaussian(0.5), Gaussian("auto")])
def test_each_basis_has_the_same_methods(basis):
    assert isinstance(basis, Basis)
    grid = Grid((2, 3), periodic=(True, False))
    weights = torch.rand(2, 4, 5, 6).softmax(-1)
    assert basis.noise(weights, grid, None, seeded()).shape == (2, 4, 5, 3)
    assert basis.variance(grid, None).expand(2, 6, 3).shape == (2, 6, 3)
    assert basis.density(torch.zeros(2, 4, 2), grid, None).shape == (2, 4, 6)
    coordinates = 3 if isinstance(basis, Gaussian) else 2
    assert basis.site_noise((2, 4), grid, None, seeded(), dtype=torch.float64, device="cpu").shape == (
        2,
        4,
        6,
        coordinates,
    )
    assert basis.draw(torch.ones(2, 4).long(), grid, None, seeded(), dtype=torch.float64).shape == (2, 4, coordinates)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gaussian((0.1,)).scale(SITES), "sigma: expected 2 numbers, one per axis, got 1: (0.1,)"),
        (lambda: Gaussian((0.1,)).scale(Grid((2, 3))), "sigma: expected 2 numbers, one per axis, got 1: (0.1,)"),
        (
            lambda: Gaussian(torch.ones(1, 4, 1)).scale(Grid((2, 3))),
            "sigma: expected shape (), (B,) = (B,) or one that broadcasts to (B, L, D) = (B, 6, 2), got (1, 4, 1)",
        ),
        (
            lambda: Gaussian(torch.ones(3)).noise_std(torch.ones(2, 1, 1, 6), Grid((2, 3))),
            "sigma: expected shape (), (B,) = (2,) or one that broadcasts to (B, L, D) = (2, 6, 2), got (3,)",
        ),
        (
            lambda: Gaussian(torch.ones(2)).site_noise((3, 2), SITES[:1]),
            "shape: expected to start with B = 2, as sigma does, got (3, 2)",
        ),
        (
            lambda: Gaussian(0.0).density(torch.zeros(2, 1, 2), SITES),
            "sigma: expected values > 0, for a density, got 0",
        ),
        (
            lambda: Gaussian(torch.tensor([[[1.0], [0.0], [1.0]]])).density(torch.zeros(2, 1, 2), SITES),
            "sigma: expected values > 0, for a density, got 0",
        ),
        (
            lambda: Gaussian(1.0).density(torch.zeros(2, 1, 3), SITES),
            "positions: expected shape (B, Q, D = 2), got (2, 1, 3)",
        ),
    ],
)
def test_errors_of_use(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("basis", [Uniform(), Triangular(), Gaussian(0.5), Gaussian("auto"), Gaussian((0.1, 0.2))])
def test_all_is_made_on_the_device_of_the_arguments(basis):
    """On the device "meta", which takes part in no operation with another."""
    grid = Grid((2, 3), periodic=(True, False))
    index = torch.empty(2, 4, dtype=torch.long, device="meta")
    results = (
        basis.density(torch.empty(2, 4, 2, device="meta"), grid) if basis in (Uniform(), Triangular()) else index,
        basis.variance(grid, device="meta"),
        basis.site_noise((2, 4), grid, device="meta"),
        basis.draw(index, grid),
    )
    assert {result.device.type for result in results} == {"meta"}


@pytest.mark.parametrize("sigma", [np.float64(0.5), np.float32(0.5), np.int64(1), (np.float32(0.5), 0.5)])
def test_a_number_of_numpy_is_a_number(sigma):
    plain = tuple(map(float, sigma)) if isinstance(sigma, tuple) else float(sigma)
    assert torch.equal(Gaussian(sigma).scale(SITES), Gaussian(plain).scale(SITES))


@pytest.mark.parametrize("sigma", [np.array([0.1, 0.2]), np.array(0.1), np.array("auto")])
def test_an_array_is_no_sigma(sigma):
    with pytest.raises(ValueError, match="sigma: expected a number, a tuple of numbers, a tensor or 'auto', got array"):
        Gaussian(sigma)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 6, 1)])
@pytest.mark.parametrize("sites", [Grid((2, 3)), torch.zeros(1, 6, 2)])
def test_the_batch_size_is_checked_where_it_is_given(sites, shape):
    basis = Gaussian(torch.ones(shape))
    assert len(basis.scale(sites)) == len(basis.scale(sites, batch_size=3)) == 3
    with pytest.raises(ValueError, match=re.escape("broadcasts to (B, L, D) = (2, 6, 2), got")):
        basis.scale(sites, batch_size=2)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1.0])
def test_a_sigma_at_a_masked_site_has_no_effect(weights, garbage):
    mask = torch.tensor([[True, True, True], [True, True, False]])
    weights = torch.where(mask[:, None, None], weights, 0)
    kept, other = PER_SITE.clone(), PER_SITE.clone().requires_grad_()
    kept[~mask] = 0.3
    with torch.no_grad():
        other[~mask] = garbage

    def results(sigma):
        basis = Gaussian(sigma)
        return (
            basis.scale(SITES, mask),
            basis.variance(SITES, mask),
            basis.noise(weights, SITES, mask, seeded()),
            basis.site_noise((2, 5), SITES, mask, seeded()),
            basis.draw(torch.tensor([[0, 2], [0, 1]]), SITES, mask, seeded()),
        )

    found = results(other)
    for a, b in zip(found, results(kept), strict=True):
        assert torch.equal(a, b)
    assert all(torch.autograd.grad(part.sum(), other, retain_graph=True)[0].isfinite().all() for part in found)
    with pytest.raises(ValueError, match=f"sigma: expected values >= 0 and finite, got {garbage}"):
        Gaussian(other).scale(SITES)


def test_density_on_a_circle_is_the_same_after_many_turns():
    grid, basis = Grid((6,), 0.5, periodic=True), Gaussian(0.05)
    positions = torch.tensor([[[0.0625], [1.0], [2.9375]]])  # and so many turns on, exact in float32
    torch.testing.assert_close(
        basis.density(positions + 3 * 2.0**14, grid), basis.density(positions, grid), rtol=1e-5, atol=1e-6
    )
