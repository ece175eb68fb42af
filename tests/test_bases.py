import math
import re

import pytest
import torch

from pcsargmax.bases import Gaussian, weighted_sum


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def direct_noise(weights, scale, generator):
    """The plain form: one normal per site and axis, Σ w_i σ_i ε_i."""
    normal = torch.randn(*weights.shape, scale.shape[-1], generator=generator, dtype=weights.dtype)
    return (weights.unsqueeze(-1) * scale.unsqueeze(1).unsqueeze(1) * normal).sum(-2)


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


@pytest.mark.parametrize("sigma", [0.1, torch.tensor([0.1, 2.0]), PER_SITE, PER_AXIS])
def test_collapsed_noise_is_distributed_as_one_draw_per_site(weights, sigma):
    many = weights.expand(2, 20_000, 1, 3)
    basis = Gaussian(sigma)
    collapsed = basis.noise(many, SITES, generator=seeded(1))[:, :, 0]  # (2, 20000, 2)
    direct = direct_noise(many, basis.scale(SITES).expand(2, 3, 2), seeded(2))[:, :, 0]
    std = basis.noise_std(weights, SITES).expand(2, 1, 1, 2)[:, 0, 0]
    for noise in (collapsed, direct):
        assert (noise.mean(1).abs() < 4 * std / math.sqrt(20_000)).all()
        torch.testing.assert_close(noise.std(1), std, rtol=0.03, atol=0)
    # Axes are independent, and the fourth moment is a normal one.
    correlation = torch.stack([torch.corrcoef(item.T)[0, 1] for item in collapsed])
    assert (correlation.abs() < 0.03).all()
    torch.testing.assert_close(
        (collapsed / std.unsqueeze(1)).pow(4).mean(1), torch.full((2, 2), 3.0).double(), rtol=0.1, atol=0
    )


def test_gradient_of_the_collapsed_noise_has_the_same_mean_and_no_larger_variance(weights):
    basis = Gaussian(PER_SITE)
    scale = basis.scale(SITES).expand(2, 3, 2)

    def gradients(draw):
        many = weights.expand(2, 20_000, 1, 3).clone().requires_grad_()
        return torch.autograd.grad((draw(many) - 0.3).square().sum(), many)[0][:, :, 0]

    collapsed = gradients(lambda w: basis.noise(w, SITES, generator=seeded(1)))
    direct = gradients(lambda w: direct_noise(w, scale, seeded(2)))
    error = (collapsed.var(1) + direct.var(1)).sqrt() / math.sqrt(20_000)
    assert ((collapsed.mean(1) - direct.mean(1)).abs() <= 4 * error).all()
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
        ("best", "sigma: expected a number, a tensor or 'auto', got 'best'"),
        (-0.1, "sigma: expected a value >= 0 and finite, got -0.1"),
        (math.nan, "sigma: expected a value >= 0 and finite, got nan"),
        (torch.tensor([0.1, -2.0]), "sigma: expected values >= 0 and finite, got -2.0"),
        (torch.tensor(math.inf), "sigma: expected values >= 0 and finite, got inf"),
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
