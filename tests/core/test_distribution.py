import math
import re

import numpy as np
import pytest
import torch
from reference import mixture
from scipy import stats

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.core.grid import Grid

ANSWERS = ("probabilities", "mean", "mode", "mode_site", "peak", "entropy", "covariance", "spread")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def by_hand():
    """π = (1/4, 3/4) at (0, 0) and (4, 8), σ = 0.5."""
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    return KeypointDistribution(logits, torch.tensor([[[0.0, 0.0], [4.0, 8.0]]]), basis=Gaussian(0.5))


@pytest.fixture
def ragged():
    """Two clouds, the second with 4 real sites of 6 and garbage at the others, a σ and a presence each."""
    logits = torch.randn(2, 3, 6, generator=seeded())
    sites = torch.randn(2, 6, 3, generator=seeded(1))
    logits[1, :, 4:], sites[1, 4:] = math.nan, math.inf
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    presence = torch.rand(2, 3, generator=seeded(2))
    return KeypointDistribution(logits, sites, mask, Gaussian(torch.tensor([0.1, 0.2])), presence=presence)


def test_answers_by_hand(by_hand):
    torch.testing.assert_close(by_hand.probabilities, torch.tensor([[[0.25, 0.75]]]))
    torch.testing.assert_close(by_hand.mean, torch.tensor([[[3.0, 6.0]]]))
    assert by_hand.mode_site.tolist() == [[1]]
    assert by_hand.mode.tolist() == [[[4.0, 8.0]]]
    assert by_hand.peak.item() == pytest.approx(0.75)
    assert by_hand.entropy.item() == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
    # p (1 − p) times the outer product of the sites' difference, plus σ² I
    torch.testing.assert_close(by_hand.covariance, torch.tensor([[[[3.25, 6.0], [6.0, 12.25]]]]))
    assert by_hand.spread.item() == pytest.approx(math.sqrt(15.5))


def test_mass_within_by_hand(by_hand):
    # The mean (3, 6) is √5 from the heavier site and √45 from the other.
    masses = [by_hand.mass_within(radius).item() for radius in (2.2, 2.3, 6.6, 6.8)]
    assert masses == pytest.approx([0.0, 0.75, 0.75, 1.0])
    assert by_hand.mass_within(0.0, center=by_hand.mode).item() == pytest.approx(0.75)
    assert by_hand.mass_within(1.0, center=torch.zeros(1, 1, 2)).item() == pytest.approx(0.25)


def test_mass_within_keeps_the_digits_of_small_distances():
    line = torch.tensor([1000.0, 1000.25, 1000.5, 1000.75]).reshape(4, 1).expand(4, 3)
    distribution = KeypointDistribution(torch.zeros(1, 1, 4), line)
    found = [distribution.mass_within(radius, distribution.mode).item() for radius in (0.43, 0.44)]
    assert found == [0.25, 0.5]  # the next site is 0.433 away


def test_a_map_of_one_site_is_certain():
    one = KeypointDistribution(torch.zeros(1, 2, 1, requires_grad=True), torch.ones(1, 1, 3))
    assert one.peak.tolist() == [[1.0, 1.0]]
    assert one.entropy.tolist() == [[0.0, 0.0]]
    assert (one.covariance == 0).all()


def test_a_uniform_map_has_the_greatest_entropy():
    uniform = KeypointDistribution(torch.zeros(1, 1, 8), torch.randn(8, 3, generator=seeded()))
    assert uniform.entropy.item() == pytest.approx(math.log(8))
    assert uniform.peak.item() == pytest.approx(1 / 8)


def test_large_logits_give_finite_answers_and_gradients():
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    distribution = KeypointDistribution(logits, torch.randn(3, 3, generator=seeded()), basis=Gaussian(0.1))
    for name in set(ANSWERS) - {"mode", "mode_site"}:
        answer = getattr(distribution, name)
        assert answer.isfinite().all()
        assert torch.autograd.grad(answer.sum(), logits, retain_graph=True)[0].isfinite().all()


def test_garbage_at_masked_sites_reaches_no_gradient(ragged):
    logits = ragged.logits.requires_grad_()
    distribution = KeypointDistribution(logits, ragged.sites, ragged.mask, ragged.basis)
    for name in ("mean", "entropy", "covariance", "spread"):
        answer = getattr(distribution, name)
        (gradient,) = torch.autograd.grad(answer.sum(), logits, retain_graph=True)
        assert answer.isfinite().all()
        assert gradient.isfinite().all()
        assert (gradient[1, :, 4:] == 0).all()


def test_gradient():
    logits = torch.randn(2, 2, 4, dtype=torch.float64, generator=seeded(), requires_grad=True)
    sites = torch.randn(2, 4, 3, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    mask = torch.tensor([[True, True, True, True], [True, False, True, True]])

    def answers(logits, sites):
        distribution = KeypointDistribution(logits, sites, mask, Gaussian(0.1))
        return distribution.mean, distribution.entropy, distribution.covariance, distribution.spread

    assert torch.autograd.gradcheck(answers, (logits, sites))


@pytest.mark.parametrize("cloud", [0, 1, -1])
def test_a_cloud_alone_answers_as_in_the_batch(ragged, cloud):
    alone = ragged[cloud]
    assert alone.mask is None
    assert alone.logits.shape == (1, 3, 6 if cloud == 0 else 4)
    assert len(alone) == 1
    for name in ANSWERS:
        batched = getattr(ragged, name)[cloud].unsqueeze(0)
        if name == "probabilities":
            batched = batched[..., : alone.logits.shape[-1]]
        torch.testing.assert_close(getattr(alone, name), batched)
    assert torch.equal(alone.presence[0], ragged.presence[cloud])
    torch.testing.assert_close(alone.mass_within(1.0)[0], ragged.mass_within(1.0)[cloud])


@pytest.mark.parametrize(
    "sigma", [0.1, "auto", torch.tensor(0.1), torch.rand(2, 6, 1, generator=seeded(4)), torch.rand(1, 6, 3)]
)
def test_a_cloud_alone_keeps_its_sigma(ragged, sigma):
    whole = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, Gaussian(sigma))
    for cloud in range(2):
        torch.testing.assert_close(whole[cloud].covariance[0], whole.covariance[cloud])


def test_a_cloud_of_shared_sites():
    logits, sites = torch.randn(2, 1, 4, generator=seeded()), torch.randn(4, 2, generator=seeded(1))
    whole = KeypointDistribution(logits, sites)
    torch.testing.assert_close(whole[1].mean[0], whole.mean[1])
    torch.testing.assert_close(whole.mean, soft_argmax(logits, sites))


def test_samples_have_the_mean_and_covariance_of_the_density(ragged):
    samples = ragged.sample(40_000, generator=seeded(3))
    assert samples.shape == (2, 40_000, 3, 3)
    for b in range(2):
        for k in range(3):
            drawn = samples[b, :, k]
            error = ragged.covariance[b, k].diagonal().sqrt() / 200
            assert ((drawn.mean(0) - ragged.mean[b, k]).abs() < 4 * error).all()
            torch.testing.assert_close(drawn.T.cov(), ragged.covariance[b, k], rtol=0.05, atol=0.03)


def test_samples_without_noise_are_sites_as_often_as_probable(ragged):
    exact = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask)
    samples = exact.sample(20_000, generator=seeded(3))
    hits = (samples[1, :, 0, None] == exact.sites[1, :4]).all(-1)  # (n, 4)
    assert hits.any(1).all()
    torch.testing.assert_close(hits.float().mean(0), exact.probabilities[1, 0, :4], rtol=0, atol=0.015)
    assert not samples.requires_grad


def test_a_seed_repeats_bit_for_bit(ragged):
    assert torch.equal(ragged.sample(9, generator=seeded(5)), ragged.sample(9, generator=seeded(5)))


def test_covariance_far_from_the_origin():
    logits, sites = torch.randn(1, 2, 50, generator=seeded()), torch.rand(1, 50, 3, generator=seeded(1))
    near = KeypointDistribution(logits, sites.double(), basis=Gaussian(0.01))
    far = KeypointDistribution(logits, sites.double() + 1e6, basis=Gaussian(0.01))
    torch.testing.assert_close(far.covariance, near.covariance, rtol=1e-6, atol=1e-9)


def test_autocast_changes_nothing(ragged):
    plain = {name: getattr(ragged, name) for name in ANSWERS}
    again = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, ragged.basis)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ANSWERS:
            assert torch.equal(getattr(again, name), plain[name])


def test_to_moves_every_part(ragged):
    moved = ragged.to("cpu")
    assert moved is not ragged
    assert torch.equal(moved.mean, ragged.mean)
    assert torch.equal(moved.presence, ragged.presence)
    assert torch.equal(moved.basis.sigma, ragged.basis.sigma)


def test_answers_are_computed_once(ragged):
    assert ragged.covariance is ragged.covariance


BASES = {
    "uniform": Uniform(),
    "triangular": Triangular(),
    "gaussian": Gaussian(),
}


def grid_map(basis, shape, periodic=False, spacing=(0.5, 0.8)):
    """A random map over a grid of unequal cells, in float64."""
    logits = torch.randn(1, 2, *shape, dtype=torch.float64, generator=seeded())
    grid = Grid(shape, spacing[: len(shape)], origin=(1.0, -2.0)[: len(shape)], periodic=periodic)
    return KeypointDistribution(logits, grid, basis=basis)


def lattice(distribution, cells):
    """The midpoints of a fine lattice over all the mass, its axes (n,) in order x, y, and the volume of its cells."""
    grid, axes = distribution.sites, []
    for n, c, first, period in zip(grid.counts, grid.cell, grid.first, grid.periods, strict=True):
        margin = 0 if period is not None else 6 * c
        low, high = first - c / 2 - margin, first + (n - 0.5) * c + margin
        axes.append(low + (high - low) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells)
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    return points[None], axes, math.prod(float(axis[1] - axis[0]) for axis in axes)


def test_density_by_hand(by_hand):
    # 1/4 and 3/4 of 1 / (2π 0.5²), each seen from the site itself: the other is farther than √80, or 17 σ.
    found = by_hand.density(torch.tensor([[[0.0, 0.0], [4.0, 8.0], [4.5, 8.0]]]))
    at = 1 / (2 * math.pi * 0.25)
    torch.testing.assert_close(found, torch.tensor([[[0.25 * at, 0.75 * at, 0.75 * at * math.exp(-0.5)]]]))


# Around a circle a Gaussian is no plain normal density: see the tests of the basis, and of integral and samples below.
@pytest.mark.parametrize(
    ("kind", "periodic"),
    [(kind, circles) for kind in ("uniform", "triangular") for circles in (False, True, (True, False))]
    + [("gaussian", False)],
)
def test_density_is_the_plain_sum_on_a_grid(kind, periodic):
    distribution = grid_map(BASES[kind], (3, 4), periodic)
    grid = distribution.sites
    positions = torch.rand(1, 25, 2, dtype=torch.float64, generator=seeded(1)) * 4 - torch.tensor([0.0, 3.0])
    found = distribution.density(positions)
    for k in range(2):
        for q, position in enumerate(positions[0].tolist()):
            expected = mixture.density(
                position,
                distribution.probabilities[0, k].tolist(),
                grid.positions(torch.float64).tolist(),
                kind,
                grid.cell,
                grid.periods,
            )
            assert found[0, k, q].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.3, (0.3, 0.2, 0.5), torch.tensor([0.3, 0.4])])
def test_density_is_the_plain_sum_on_clouds(ragged, sigma):
    distribution = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, Gaussian(sigma))
    positions = torch.randn(2, 7, 3, generator=seeded(5))
    found = distribution.density(positions)
    for b, real in enumerate((6, 4)):
        width = sigma if isinstance(sigma, tuple) else [sigma if isinstance(sigma, float) else sigma[b].item()] * 3
        for k in range(3):
            for q in range(7):
                probabilities, sites = distribution.probabilities[b, k, :real], ragged.sites[b, :real]
                expected = mixture.density(
                    positions[b, q].tolist(), probabilities.tolist(), sites.tolist(), "gaussian", width
                )
                assert found[b, k, q].item() == pytest.approx(expected, rel=2e-5, abs=1e-9)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(5,), (3, 4)])
@pytest.mark.parametrize("kind", BASES)
def test_density_integrates_to_one(kind, shape, periodic):
    distribution = grid_map(BASES[kind], shape, periodic)
    points, _, volume = lattice(distribution, 600 if len(shape) == 1 else 180)
    # The midpoint rule: exact but for the cells of the lattice that an edge of the density cuts.
    torch.testing.assert_close(
        distribution.density(points).sum(-1) * volume, torch.ones(1, 2).double(), rtol=0, atol=0.01
    )


def test_density_has_a_gradient():
    logits = torch.randn(1, 2, 4, dtype=torch.float64, generator=seeded(), requires_grad=True)
    sites = torch.randn(1, 4, 2, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    positions = torch.randn(1, 3, 2, dtype=torch.float64, generator=seeded(2), requires_grad=True)

    def densities(logits, sites, positions):
        distribution = KeypointDistribution(logits, sites, basis=Gaussian(0.7))
        return distribution.density(positions), distribution.log_density(positions)

    assert torch.autograd.gradcheck(densities, (logits, sites, positions))


def test_density_by_chunks_is_that_of_all_at_once(ragged, monkeypatch):
    positions = torch.randn(2, 11, 3, generator=seeded(5))
    whole = ragged.density(positions), ragged.log_density(positions)
    monkeypatch.setattr("pcsargmax.core.distribution._CHUNK", 2 * 6 * 3)  # three positions at a time
    torch.testing.assert_close((ragged.density(positions), ragged.log_density(positions)), whole)


def test_log_density_is_the_logarithm(ragged):
    positions = torch.cat([ragged.mean, ragged.sample(20, seeded(1))[:, :, 0]], dim=1)
    torch.testing.assert_close(ragged.log_density(positions), ragged.density(positions).log(), rtol=1e-4, atol=1e-4)
    cells = grid_map(Triangular(), (3, 4))
    positions = torch.tensor([[[1.2, -1.9], [50.0, 0.0]]])
    torch.testing.assert_close(cells.log_density(positions), cells.density(positions).log())
    assert (cells.log_density(positions)[..., 1] == -math.inf).all()


def test_log_density_far_away_by_hand():
    line = KeypointDistribution(torch.tensor([[[0.0, -1e4]]]), torch.tensor([[0.0], [1.0]]), basis=Gaussian(0.01))
    found = line.log_density(torch.tensor([[[-10.0], [1.0]]]))
    constant = -math.log(0.01 * math.sqrt(2 * math.pi))
    # 1000 σ from the first site, which has all the mass; at the second the nearer one weighs exp(−10⁴) < exp(−5000)
    expected = torch.tensor([[[constant - 1000**2 / 2, constant - 100**2 / 2]]])
    torch.testing.assert_close(found, expected)


CIRCLES = {"straight": False, "circular": True}


@pytest.mark.parametrize("periodic", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("kind", BASES)
def test_samples_on_a_line_follow_the_density(kind, periodic):
    distribution = grid_map(BASES[kind], (5,), periodic)
    points, (axis,), step = lattice(distribution, 4000)
    cumulative = distribution.density(points)[0].cumsum(-1).numpy() * step
    edge = axis.numpy() + step / 2
    samples = distribution.sample(4000, seeded(3))[0, :, :, 0].numpy()
    for k in range(2):
        test = stats.kstest(samples[:, k], lambda x, k=k: np.interp(x, edge, cumulative[k], left=0))
        assert test.pvalue > 0.01


@pytest.mark.parametrize("periodic", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("kind", BASES)
def test_samples_on_a_plane_follow_the_density(kind, periodic):
    distribution = grid_map(BASES[kind], (3, 4), periodic)
    points, axes, volume = lattice(distribution, 180)
    # Twelve bins an axis, each of 15 cells of the lattice.
    bins = [np.append(axis[::15], 2 * axis[-1] - axis[-2]) - float(axis[1] - axis[0]) / 2 for axis in axes]
    samples = distribution.sample(8000, seeded(3))[0].numpy()
    for k in range(2):
        share = (distribution.density(points)[0, k] * volume).reshape(12, 15, 12, 15).sum((1, 3)).numpy().ravel()
        counts = np.histogram2d(*samples[:, k].T, bins=bins)[0].ravel()
        assert counts.sum() == 8000
        often = share * 8000 > 5  # the others in one
        observed = [*counts[often], counts[~often].sum() + 1e-9]
        expected = np.array([*share[often], share[~often].sum() + 1e-12])
        assert stats.chisquare(observed, expected * sum(observed) / expected.sum()).pvalue > 0.01


@pytest.mark.parametrize("kind", BASES)
def test_covariance_is_that_of_the_samples_for_every_basis(kind):
    distribution = grid_map(BASES[kind], (3, 4))
    samples = distribution.sample(40_000, seeded(3))[0]
    for k in range(2):
        away = samples[:, k] - distribution.mean[0, k]
        products = away.unsqueeze(-1) * away.unsqueeze(-2)  # (n, 2, 2)
        error = products.std(dim=0) / math.sqrt(40_000)
        assert ((products.mean(dim=0) - distribution.covariance[0, k]).abs() < 4 * error).all()


def test_variance_of_each_basis_by_hand():
    # One cell holds all the mass: what is left is c²/12, c²/6 and σ² = c² along each axis.
    logits = torch.full((1, 1, 12), -1e4)
    logits[..., 5] = 0
    for basis, share in ((Uniform(), 1 / 12), (Triangular(), 1 / 6), (Gaussian(), 1.0)):
        alone = KeypointDistribution(logits, Grid((3, 4), (0.5, 0.8)), basis=basis)
        torch.testing.assert_close(alone.covariance[0, 0], share * torch.tensor([0.25, 0.64]).diag())
        assert alone.basis_width.item() == pytest.approx(math.sqrt(share * (0.25 + 0.64) / 2))


def test_the_width_of_the_basis_is_that_of_real_sites(ragged):
    sigma = torch.rand(2, 6, 3, generator=seeded(4))
    distribution = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, Gaussian(sigma))
    expected = [sigma[0].square().mean().sqrt(), sigma[1, :4].square().mean().sqrt()]
    torch.testing.assert_close(distribution.basis_width, torch.stack(expected))
    torch.testing.assert_close(ragged.basis_width, torch.tensor([0.1, 0.2]))


def test_positions_on_a_circle_go_the_shortest_way():
    # Eight cells of 45°, mass 1/4, 1/2, 1/4 at 315°, 0°, 45°: the mean is 0°, not the average of the three numbers.
    logits = torch.full((1, 1, 8), -1e4)
    logits[0, 0, [7, 0, 1]] = torch.tensor([0.25, 0.5, 0.25]).log()
    circle = KeypointDistribution(logits, Grid((8,), 45.0, periodic=True), basis=Uniform())
    assert circle.mean.item() == pytest.approx(0, abs=1e-4)
    assert circle.mode.item() == 0
    # E[offset²] = 45²/2, and the cells' own 45²/12
    assert circle.covariance.item() == pytest.approx(45**2 * (1 / 2 + 1 / 12), rel=1e-5)
    assert circle.mass_within(44.0).item() == pytest.approx(0.5)
    assert circle.mass_within(46.0, center=torch.tensor([[[350.0]]])).item() == pytest.approx(0.75)
    found = circle.density(torch.tensor([[[-20.0], [340.0], [180.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.5 / 45, 0.5 / 45, 0.0]]]))


def test_a_map_may_have_the_shape_of_its_grid():
    logits, grid = torch.randn(2, 3, 4, 5, generator=seeded()), Grid((4, 5))
    shaped = KeypointDistribution(logits, grid, basis=Triangular())
    flat = KeypointDistribution(logits.flatten(2), grid, basis=Triangular())
    cloud = KeypointDistribution(logits.flatten(2), grid.positions())
    for name in ANSWERS:
        assert torch.equal(getattr(shaped, name), getattr(flat, name))
        if name not in ("covariance", "spread"):
            torch.testing.assert_close(getattr(shaped, name), getattr(cloud, name))
    torch.testing.assert_close(shaped.mass_within(1.5), cloud.mass_within(1.5))
    assert torch.equal(shaped[1].mean[0], shaped.mean[1])


def test_a_grid_alone_keeps_its_mask_and_answers_as_in_the_batch():
    logits, grid = torch.randn(2, 3, 20, generator=seeded()), Grid((4, 5))
    mask = torch.rand(2, 20, generator=seeded(1)) < 0.7
    sigma = torch.rand(2, 20, 1, generator=seeded(2)) + 0.1
    positions = torch.rand(2, 4, 2, generator=seeded(3)) * 4
    for basis in (*BASES.values(), Gaussian(sigma)):
        whole = KeypointDistribution(logits, grid, mask, basis)
        for b in range(2):
            alone = whole[b]
            torch.testing.assert_close(alone.covariance[0], whole.covariance[b])
            torch.testing.assert_close(alone.density(positions[b : b + 1])[0], whole.density(positions)[b])
            assert (alone.probabilities[0, :, ~mask[b]] == 0).all()


@pytest.mark.parametrize("cloud", [0, 1])
def test_masked_sites_are_as_removed_in_densities(ragged, cloud):
    alone, positions = ragged[cloud], ragged.sample(9, seeded(1))[:, :, 0]
    one = positions[cloud : cloud + 1]
    torch.testing.assert_close(alone.density(one)[0], ragged.density(positions)[cloud])
    torch.testing.assert_close(alone.log_density(one)[0], ragged.log_density(positions)[cloud])
    torch.testing.assert_close(alone.basis_width[0], ragged.basis_width[cloud])


def test_the_order_of_the_sites_does_not_matter(ragged):
    order = torch.randperm(6, generator=seeded(5))
    shuffled = KeypointDistribution(
        ragged.logits[..., order], ragged.sites[:, order], ragged.mask[:, order], ragged.basis
    )
    positions = ragged.sample(5, seeded(1))[:, :, 0]
    torch.testing.assert_close(shuffled.density(positions), ragged.density(positions))
    torch.testing.assert_close(shuffled.log_density(positions), ragged.log_density(positions))


def test_extreme_logits_and_half_precision_have_a_density():
    sites = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        sure = KeypointDistribution(torch.tensor([[[1e4, -1e4, 0.0]]], dtype=dtype), sites, basis=Gaussian(0.5))
        at = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]], dtype=dtype)
        expected = torch.tensor([[[1.0, math.exp(-2)]]]) / (2 * math.pi * 0.25)
        torch.testing.assert_close(sure.density(at), expected)
        torch.testing.assert_close(sure.log_density(at), expected.log())


def test_a_radius_for_each_keypoint(ragged):
    radius = torch.rand(2, 3, generator=seeded(6))
    found = ragged.mass_within(radius)
    for b in range(2):
        for k in range(3):
            assert found[b, k] == ragged.mass_within(radius[b, k].item())[b, k]
    assert torch.equal(ragged.mass_within(radius[:, :1])[:, 2], ragged.mass_within(radius[:, :1].expand(2, 3))[:, 2])


LOGITS, SITES = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KeypointDistribution(LOGITS[0], SITES), "logits: expected shape (B, K, L), got (3, 4)"),
        (lambda: KeypointDistribution(LOGITS, SITES[:, :2]), "sites: expected shape (B, L, D) or (L, D)"),
        (lambda: KeypointDistribution(LOGITS, SITES, basis=Gaussian(-1.0)), "sigma: expected a value >= 0 and finite"),
        (
            lambda: KeypointDistribution(LOGITS, SITES, basis=Gaussian(torch.ones(3))),
            "sigma: expected shape (), (B,) = (2,)",
        ),
        (
            lambda: KeypointDistribution(LOGITS, SITES, presence=torch.ones(2, 4)),
            "presence: expected shape (B, K) = (2, 3), got (2, 4)",
        ),
        (
            lambda: KeypointDistribution(LOGITS, SITES).mass_within(-1.0),
            "radius: expected a distance >= 0, got -1.0",
        ),
        (
            lambda: KeypointDistribution(LOGITS, SITES).mass_within(1.0, torch.zeros(3, 3)),
            "center: expected shape (B, K, D) = (2, 3, 3), got (3, 3)",
        ),
        (
            lambda: KeypointDistribution(LOGITS, SITES).mass_within(torch.ones(4)),
            "radius: expected a shape that broadcasts to (2, 3), got (4,)",
        ),
        (
            lambda: KeypointDistribution(LOGITS, SITES).mass_within(torch.tensor([1.0, -2.0, 0.0])),
            "radius: expected a distance >= 0, got -2.0",
        ),
        (lambda: KeypointDistribution(LOGITS, SITES, basis=Uniform()), "needs the cells of a Grid"),
        (lambda: KeypointDistribution(LOGITS, Grid((5,))), "logits: expected shape (B, K, 5)"),
        (
            lambda: KeypointDistribution(LOGITS, SITES, basis=Gaussian(1.0)).density(torch.zeros(1, 5, 3)),
            "positions: expected shape (B, Q, D) = (2, Q, 3), got (1, 5, 3)",
        ),
        (lambda: KeypointDistribution(LOGITS, SITES).density(torch.zeros(2, 5, 3)), "sigma: expected values > 0"),
        (lambda: KeypointDistribution(LOGITS, SITES).log_density(torch.zeros(2, 5, 3)), "sigma: expected values > 0"),
        (lambda: KeypointDistribution(LOGITS, SITES).sample(0), "n: expected at least 1 sample, got 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("cloud", [2, -3])
def test_a_cloud_that_does_not_exist(ragged, cloud):
    with pytest.raises(IndexError, match=f"expected an index into 2 clouds, got {cloud}"):
        ragged[cloud]
