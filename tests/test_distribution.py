import math
import re

import pytest
import torch

from pcsargmax.argmax import soft_argmax
from pcsargmax.distribution import KeypointDistribution

ANSWERS = ("probabilities", "mean", "mode", "mode_site", "peak", "entropy", "covariance", "spread")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def by_hand():
    """π = (1/4, 3/4) at (0, 0) and (4, 8), σ = 0.5."""
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    return KeypointDistribution(logits, torch.tensor([[[0.0, 0.0], [4.0, 8.0]]]), sigma=0.5)


@pytest.fixture
def ragged():
    """Two clouds, the second with 4 real sites of 6 and garbage at the others, a σ and a presence each."""
    logits = torch.randn(2, 3, 6, generator=seeded())
    sites = torch.randn(2, 6, 3, generator=seeded(1))
    logits[1, :, 4:], sites[1, 4:] = math.nan, math.inf
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    presence = torch.rand(2, 3, generator=seeded(2))
    return KeypointDistribution(logits, sites, mask, sigma=torch.tensor([0.1, 0.2]), presence=presence)


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
    distribution = KeypointDistribution(logits, torch.randn(3, 3, generator=seeded()), sigma=0.1)
    for name in set(ANSWERS) - {"mode", "mode_site"}:
        answer = getattr(distribution, name)
        assert answer.isfinite().all()
        assert torch.autograd.grad(answer.sum(), logits, retain_graph=True)[0].isfinite().all()


def test_garbage_at_masked_sites_reaches_no_gradient(ragged):
    logits = ragged.logits.requires_grad_()
    distribution = KeypointDistribution(logits, ragged.sites, ragged.mask, sigma=ragged.sigma)
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
        distribution = KeypointDistribution(logits, sites, mask, sigma=0.1)
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
    whole = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, sigma=sigma)
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
    near = KeypointDistribution(logits, sites.double(), sigma=0.01)
    far = KeypointDistribution(logits, sites.double() + 1e6, sigma=0.01)
    torch.testing.assert_close(far.covariance, near.covariance, rtol=1e-6, atol=1e-9)


def test_autocast_changes_nothing(ragged):
    plain = {name: getattr(ragged, name) for name in ANSWERS}
    again = KeypointDistribution(ragged.logits, ragged.sites, ragged.mask, sigma=ragged.sigma)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ANSWERS:
            assert torch.equal(getattr(again, name), plain[name])


def test_to_moves_every_part(ragged):
    moved = ragged.to("cpu")
    assert moved is not ragged
    assert torch.equal(moved.mean, ragged.mean)
    assert torch.equal(moved.presence, ragged.presence)
    assert torch.equal(moved.sigma, ragged.sigma)


def test_answers_are_computed_once(ragged):
    assert ragged.covariance is ragged.covariance


LOGITS, SITES = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KeypointDistribution(LOGITS[0], SITES), "logits: expected shape (B, K, L), got (3, 4)"),
        (lambda: KeypointDistribution(LOGITS, SITES[:, :2]), "sites: expected shape (B, L, D) or (L, D)"),
        (lambda: KeypointDistribution(LOGITS, SITES, sigma=-1.0), "sigma: expected a value >= 0 and finite"),
        (
            lambda: KeypointDistribution(LOGITS, SITES, sigma=torch.ones(3)),
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
