import math
import re

import pytest
import torch

from pcsargmax.core.argmax import SamplingArgmax, kernel_logits, sampling_argmax, soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.losses import expected_error
from pcsargmax.core.relaxation import relaxed_categorical


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def ragged():
    """Two clouds of 6 and 4 sites: each alone, and both padded with garbage."""
    logits = [torch.randn(1, 2, n, generator=seeded(n)) for n in (6, 4)]
    sites = [torch.randn(1, n, 3, generator=seeded(10 + n)) for n in (6, 4)]
    padded_logits, padded_sites = torch.full((2, 2, 6), math.nan), torch.full((2, 6, 3), math.inf)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    for i, n in enumerate((6, 4)):
        padded_logits[i, :, :n], padded_sites[i, :n], mask[i, :n] = logits[i], sites[i], True
    return logits, sites, padded_logits, padded_sites, mask


def test_soft_argmax_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(4.0), 0.0]]])
    sites = torch.tensor([[[0.0, 0.0, 1.0], [4.0, 8.0, 1.0]]])
    expected = torch.tensor([[[3.0, 6.0, 1.0], [0.8, 1.6, 1.0]]])
    torch.testing.assert_close(soft_argmax(logits, sites), expected)
    torch.testing.assert_close(soft_argmax(logits, sites[0]), expected)


def test_sampling_argmax_is_its_plain_form():
    logits, sites = torch.randn(2, 3, 5, generator=seeded()), torch.randn(2, 5, 2, generator=seeded(1))
    found = sampling_argmax(logits, sites, basis=Gaussian(0.2), num_samples=4, temperature=0.5, generator=seeded(2))
    generator = seeded(2)  # of the normals first, then of the weights
    normal = torch.randn(2, 3, 4, 2, generator=generator).transpose(1, 2)
    weights = relaxed_categorical(logits, num_samples=4, temperature=0.5, generator=generator)
    for b in range(2):
        for s in range(4):
            for k in range(3):
                w = weights[b, s, k]
                expected = sum(w[i] * sites[b, i] for i in range(5)) + 0.2 * normal[b, s, k] * w.square().sum().sqrt()
                torch.testing.assert_close(found[b, s, k], expected)


def test_near_zero_temperature_samples_are_draws_of_the_mixture():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[[0.0], [10.0]]])
    samples = sampling_argmax(
        logits, sites, basis=Gaussian(0.1), num_samples=40_000, temperature=1e-6, generator=seeded()
    ).flatten()
    upper = samples > 5
    assert upper.float().mean().item() == pytest.approx(0.75, abs=0.009)  # 4 standard errors
    assert samples[upper].mean().item() == pytest.approx(10, abs=0.0025)
    assert samples[~upper].mean().item() == pytest.approx(0, abs=0.004)
    assert samples[upper].std().item() == pytest.approx(0.1, rel=0.02)
    assert samples[~upper].std().item() == pytest.approx(0.1, rel=0.03)


def test_without_a_basis_sigma_is_automatic():
    logits, sites = torch.randn(1, 2, 5, generator=seeded()), torch.randn(1, 5, 3, generator=seeded(1))
    default = sampling_argmax(logits, sites, generator=seeded(2))
    assert torch.equal(default, sampling_argmax(logits, sites, basis=Gaussian("auto"), generator=seeded(2)))
    assert not torch.equal(default, sampling_argmax(logits, sites, basis=Gaussian(0.0), generator=seeded(2)))


def test_soft_argmax_of_a_cloud_alone_is_that_in_a_padded_batch(ragged):
    logits, sites, padded_logits, padded_sites, mask = ragged
    batched = soft_argmax(padded_logits, padded_sites, mask=mask)
    for i in range(2):
        torch.testing.assert_close(batched[i : i + 1], soft_argmax(logits[i], sites[i]))


def test_samples_of_a_cloud_alone_are_distributed_as_in_a_padded_batch(ragged):
    logits, sites, padded_logits, padded_sites, mask = ragged
    many = {"num_samples": 20_000, "temperature": 0.5}
    batched = sampling_argmax(padded_logits, padded_sites, mask=mask, generator=seeded(1), **many)
    for i in range(2):
        alone = sampling_argmax(logits[i], sites[i], generator=seeded(2), **many)[0]
        error = 2 * alone.std(0) / math.sqrt(20_000)
        assert ((alone.mean(0) - batched[i].mean(0)).abs() < 3 * error).all()
        torch.testing.assert_close(alone.std(0), batched[i].std(0), rtol=0.04, atol=0)


@pytest.mark.parametrize("basis", [Gaussian(0.1), Gaussian("auto"), Gaussian(torch.full((2, 6, 1), 0.1))])
def test_garbage_at_masked_sites_reaches_no_gradient(ragged, basis):
    *_, logits, sites, mask = ragged
    logits.requires_grad_()
    sites.requires_grad_()
    samples = sampling_argmax(logits, sites, basis=basis, num_samples=3, mask=mask, generator=seeded())
    for result in (samples, soft_argmax(logits, sites, mask=mask)):
        assert result.isfinite().all()
        for gradient in torch.autograd.grad(result.square().sum(), (logits, sites)):
            assert gradient.isfinite().all()
        assert (torch.autograd.grad(soft_argmax(logits, sites, mask=mask).sum(), sites)[0][~mask] == 0).all()


def test_the_order_of_the_sites_does_not_matter():
    logits, sites = torch.randn(2, 3, 40, generator=seeded()), torch.randn(2, 40, 3, generator=seeded(1))
    order = torch.randperm(40, generator=seeded(2))
    torch.testing.assert_close(soft_argmax(logits[..., order], sites[:, order]), soft_argmax(logits, sites))


def test_shared_sites_with_a_mask():
    logits, sites = torch.randn(2, 3, 4, generator=seeded()), torch.randn(4, 2, generator=seeded(1))
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    found = soft_argmax(logits, sites, mask=mask)
    torch.testing.assert_close(found[1:], soft_argmax(logits[1:, :, :2], sites[:2]))
    samples = sampling_argmax(logits, sites, mask=mask, basis=Gaussian(0.1), num_samples=2)
    assert samples.shape == (2, 2, 3, 2)


@pytest.mark.parametrize("scale", [1e4, 100.0])
def test_large_logits(scale):
    logits = torch.tensor([[[scale, -scale, -scale]]], requires_grad=True)
    sites = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    samples = sampling_argmax(logits, sites, basis=Gaussian(0.0), num_samples=9, generator=seeded())
    for result in (soft_argmax(logits, sites), samples):
        torch.testing.assert_close(result, torch.tensor([1.0, 2.0]).expand_as(result))
        assert torch.autograd.grad(result.sum(), logits)[0].isfinite().all()


def test_full_precision_under_autocast_and_from_half_logits():
    logits, sites = (
        torch.randn(2, 3, 64, generator=seeded()).bfloat16(),
        torch.rand(2, 64, 3, generator=seeded(1)),
    )
    per_site = Gaussian(torch.full((2, 64, 1), 0.1))
    plain = (
        soft_argmax(logits.float(), sites),
        sampling_argmax(logits.float(), sites, basis=per_site, generator=seeded(2)),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = (
            soft_argmax(logits, sites),
            sampling_argmax(logits, sites, basis=per_site, generator=seeded(2)),
        )
    for a, b in zip(plain, mixed, strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a, b)


def test_far_sites_in_float64_keep_their_digits_with_float32_logits():
    logits = torch.randn(1, 2, 500, generator=seeded())
    sites = torch.rand(1, 500, 3, dtype=torch.float64, generator=seeded(1))
    near, far = soft_argmax(logits, sites), soft_argmax(logits, sites + 1e6)
    torch.testing.assert_close(far - 1e6, near, rtol=0, atol=1e-8)


def test_a_seed_repeats_bit_for_bit():
    logits, sites = torch.randn(2, 3, 40, generator=seeded()), torch.randn(2, 40, 3, generator=seeded(1))
    first, second = (sampling_argmax(logits, sites, num_samples=3, generator=seeded(4)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("sigma", [0.0, 0.3, torch.rand(2, 4, 1, dtype=torch.float64, generator=seeded(3))])
def test_gradient(sigma):
    logits = torch.randn(2, 2, 4, dtype=torch.float64, generator=seeded(), requires_grad=True)
    sites = torch.randn(2, 4, 2, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    mask = torch.tensor([[True, True, True, True], [True, False, True, True]])

    def draw(logits, sites):
        return sampling_argmax(logits, sites, basis=Gaussian(sigma), num_samples=2, mask=mask, generator=seeded(2))

    assert torch.autograd.gradcheck(draw, (logits, sites))
    assert torch.autograd.gradcheck(lambda *a: soft_argmax(*a, mask=mask), (logits, sites))


def test_the_layer_samples_in_training_and_expects_in_evaluation():
    logits, sites = torch.randn(2, 3, 8, generator=seeded()), torch.randn(2, 8, 3, generator=seeded(1))
    layer = SamplingArgmax(Gaussian(0.1), num_samples=5, temperature=2.0)
    layer.temperature = 0.5
    expected = sampling_argmax(logits, sites, basis=Gaussian(0.1), num_samples=5, temperature=0.5, generator=seeded(2))
    assert torch.equal(layer(logits, sites, generator=seeded(2)), expected)
    assert torch.equal(layer.eval()(logits, sites), soft_argmax(logits, sites).unsqueeze(1))
    assert (
        str(layer)
        == "SamplingArgmax(basis=Gaussian(sigma=0.1), num_samples=5, temperature=0.5, relaxation='gumbel_softmax')"
    )
    assert not layer.state_dict()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
def test_the_layer_passes_all_on(relaxation, training, ragged):
    *_, logits, sites, mask = ragged
    layer = SamplingArgmax(Gaussian(0.1), 5, 0.5, relaxation).train(training)
    settings = {"num_samples": 5, "temperature": 0.5, "relaxation": relaxation, "mask": mask}
    for given, basis in (({}, Gaussian(0.1)), ({"basis": Gaussian(0.7)}, Gaussian(0.7))):
        expected = soft_argmax(logits, sites, mask=mask).unsqueeze(1)
        if training:
            expected = sampling_argmax(logits, sites, basis=basis, generator=seeded(2), **settings)
        assert torch.equal(layer(logits, sites, mask=mask, generator=seeded(2), **given), expected)
    assert layer.basis == Gaussian(0.1)


def test_a_learned_sigma_is_given_to_each_call():
    sigma = torch.nn.Parameter(torch.tensor(0.1))
    message = "basis: expected a sigma without gradient, which the layer would not register as a parameter, got one "
    with pytest.raises(ValueError, match=re.escape(message) + r".*layer\(\.\.\., basis=Gaussian\(sigma\)\)"):
        SamplingArgmax(Gaussian(sigma))
    assert SamplingArgmax(Gaussian(sigma.detach())).basis.sigma == 0.1
    samples = SamplingArgmax()(torch.zeros(1, 2, 4), torch.zeros(4, 3), basis=Gaussian(sigma), generator=seeded())
    assert torch.autograd.grad(samples.sum(), sigma)[0].item() != 0


LOGITS, SITES = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3)


@pytest.mark.parametrize("function", [soft_argmax, sampling_argmax])
@pytest.mark.parametrize(
    ("logits", "sites", "mask", "message"),
    [
        (LOGITS[0], SITES, None, "logits: expected shape (B, K, L), got (3, 4)"),
        (LOGITS.int(), SITES, None, "logits: expected a floating type, got torch.int32"),
        (
            LOGITS,
            SITES[:1],
            None,
            "sites: expected shape (B, L, D) or (L, D) = (2, 4, D) or (4, D), got (1, 4, 3)",
        ),
        (LOGITS, SITES[:, :3], None, "got (2, 3, 3)"),
        (LOGITS, SITES[0, :3], None, "got (3, 3)"),
        (LOGITS, SITES[0, 0], None, "got (3,)"),
        (
            LOGITS,
            SITES,
            torch.ones(4, dtype=torch.bool),
            "mask: expected a bool tensor of shape (B, L) = (2, 4)",
        ),
        (
            LOGITS,
            SITES,
            torch.zeros(2, 4, dtype=torch.bool),
            "at least one real site in every cloud, got none",
        ),
    ],
)
def test_errors(function, logits, sites, mask, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(logits, sites, mask=mask)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"temperature": -1.0}, "temperature: expected a temperature, positive and finite, got -1.0"),
        ({"basis": Gaussian(torch.ones(3))}, "sigma: expected shape (), (B,) = (2,)"),
    ],
)
def test_sampling_errors(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sampling_argmax(LOGITS, SITES, **settings)


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
