import math
import re

import pytest
import torch
from reference import argmax as reference
from scipy import stats

from pcsargmax.core.relaxation import (
    Constant,
    Exponential,
    Linear,
    Published,
    draw_log_exponential,
    make_schedule,
    mask_logits,
    relax,
    relaxed_categorical,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def log_exponential(shape, seed, dtype=torch.float32):
    return draw_log_exponential(torch.empty(shape, dtype=dtype), seeded(seed))


def test_weights_by_hand():
    # g = log 2 at the second site. Eq. 11 squares π·e^g at τ = ½: (1/4)² : (3/4 · 2)² = 1 : 36.
    # The published form squares only e^g: 1/4 : 3/4 · 2² = 1 : 12.
    logits, noise = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, -math.log(2)])
    for relaxation, odds in {"gumbel_softmax": 36, "published": 12}.items():
        weights = relax(logits, noise, 0.5, relaxation)
        torch.testing.assert_close(weights, torch.tensor([1 / (1 + odds), odds / (1 + odds)]))
    # With g = log 4 at the first site instead, it wins: 4 against 3.
    hard = relax(logits, torch.tensor([-math.log(4), 0.0]), 0.5, "straight_through")
    assert hard.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
def test_weights_are_those_of_the_formula(relaxation):
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=seeded(), requires_grad=True)
    found = relaxed_categorical(logits, num_samples=4, temperature=0.7, relaxation=relaxation, generator=seeded(3))
    g = -log_exponential((2, 3, 4, 5), 3, torch.float64).transpose(1, 2)
    expected = reference.weights(logits, g, 0.7, relaxation)
    torch.testing.assert_close(found, expected)
    towards = torch.randn(found.shape, dtype=torch.float64, generator=seeded(1))
    gradients = [torch.autograd.grad((w * towards).sum(), logits)[0] for w in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_published_form_forgets_the_map_as_the_temperature_falls():
    # Unlike Eq. 11, its limit at τ = 0 is a uniform draw, whatever the logits.
    logits = torch.tensor([[[0.0, 3.0]]])
    weights = relaxed_categorical(
        logits, num_samples=10_000, temperature=1e-4, relaxation="published", generator=seeded()
    )
    assert weights[..., 1].mean().item() == pytest.approx(0.5, abs=0.02)  # 4 standard errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_is_exponential(dtype):
    drawn = log_exponential((200_000,), 0, dtype).double().exp()
    # KS at the 1e-3 level; the tail that decides who wins is the one near 0.
    assert stats.kstest(drawn, "expon").pvalue > 1e-3
    for level in (1e-4, 1e-3, 0.01, 10.0):
        share, expected = (drawn < level).double().mean().item(), -math.expm1(-level)
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 200_000))


def test_the_noise_is_finite_at_the_ends_of_its_bits(monkeypatch):
    for bits in (0, 2**31 - 1):
        monkeypatch.setattr(torch.Tensor, "random_", lambda self, generator=None, bits=bits: self.fill_(bits))
        assert draw_log_exponential(torch.empty(3)).isfinite().all()


def test_the_noise_is_as_fine_as_its_bits(monkeypatch):
    # E decides who wins where it is small: there each of the 31-bit numbers has an E of its own, true to 6 digits.
    first = torch.arange(1000, dtype=torch.int32)
    monkeypatch.setattr(torch.Tensor, "random_", lambda self, generator=None: self.copy_(first))
    found = draw_log_exponential(torch.empty(1000)).double().exp()
    expected = -torch.log1p(-(first.double() + 0.5) * 2.0**-31)
    torch.testing.assert_close(found, expected, rtol=3e-6, atol=0)  # log E is near −21, in float32
    assert found[0].item() == pytest.approx(2.0**-32, rel=3e-6)
    assert (found.diff()[:100] > 0).all()


def test_noise_filled_in_parts_is_noise_filled_at_once():
    for dtype, size in ((torch.float32, 600_000), (torch.float64, 1000)):
        generator = seeded(5)
        parts = [draw_log_exponential(torch.empty(n, dtype=dtype), generator) for n in (7, size - 10, 3)]
        assert torch.equal(torch.cat(parts), log_exponential((size,), 5, dtype))


@pytest.mark.parametrize("temperature", [1e-6, 0.1, 2.0])
def test_the_heaviest_site_is_a_draw_from_the_map(temperature):
    logits = torch.tensor([[[0.0, 1.0, -1.0, 2.0]]])
    weights = relaxed_categorical(logits, num_samples=40_000, temperature=temperature, generator=seeded())
    share = torch.bincount(weights.argmax(-1).flatten(), minlength=4) / 40_000
    torch.testing.assert_close(share, logits.softmax(-1)[0, 0], atol=0.01, rtol=0)  # 4 standard errors
    if temperature == 1e-6:
        assert weights.amax(-1).min() > 0.99


def test_masked_sites_weigh_exactly_nothing_whatever_they_hold():
    logits = torch.tensor([[[1.0, math.nan, 0.0, math.inf]]], requires_grad=True)
    mask = torch.tensor([[True, False, True, False]])
    weights = relaxed_categorical(logits, num_samples=50, mask=mask, generator=seeded())
    assert (weights[..., [1, 3]] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 50, 1))
    (gradient,) = torch.autograd.grad(weights[..., 0].sum(), logits)
    assert gradient.isfinite().all()
    assert (gradient[..., [1, 3]] == 0).all()


def test_a_noise_draw_of_zero_does_no_harm(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, generator=None: self.zero_())
    logits = torch.tensor([[[1e4, 1e4, -1e4]]], dtype=torch.float64, requires_grad=True)
    weights = relaxed_categorical(logits, temperature=0.01)
    torch.testing.assert_close(weights, torch.tensor([[[[0.5, 0.5, 0.0]]]], dtype=torch.float64))
    assert torch.autograd.grad(weights[..., 0].sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [1e-30, 1e-3, 2.0])
def test_large_logits(temperature):
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    weights = relaxed_categorical(logits, num_samples=20, temperature=temperature, generator=seeded())
    assert (weights == torch.tensor([1.0, 0.0, 0.0])).all()
    assert torch.autograd.grad(weights.square().sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_precision(given, returned):
    logits = torch.randn(2, 3, 5, generator=seeded()).to(given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = relaxed_categorical(logits, num_samples=4, generator=seeded())
    assert weights.dtype == returned
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 3, dtype=returned))


def test_a_seed_repeats_bit_for_bit():
    logits = torch.randn(2, 3, 50, generator=seeded())
    first, second = (relaxed_categorical(logits, num_samples=3, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, relaxed_categorical(logits, num_samples=3, generator=seeded(8)))


def test_gradient():
    logits = torch.randn(2, 2, 4, dtype=torch.float64, generator=seeded(), requires_grad=True)
    mask = torch.tensor([[True, True, True, True], [True, True, False, True]])

    def draw(logits):
        return relaxed_categorical(logits, num_samples=2, temperature=0.8, mask=mask, generator=seeded(1)).square()

    assert torch.autograd.gradcheck(draw, logits)


LOGITS = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.zeros(3, 4)}, "logits: expected shape (B, K, L), got (3, 4)"),
        ({"logits": LOGITS.long()}, "logits: expected a floating type, got torch.int64"),
        ({"logits": LOGITS[..., :0]}, "logits: expected at least one site, got shape (2, 3, 0)"),
        (
            {"mask": torch.ones(2, 4)},
            "mask: expected a bool tensor of shape (B, L) = (2, 4), got torch.float32",
        ),
        ({"mask": torch.ones(2, 5, dtype=torch.bool)}, "(2, 4), got torch.bool of shape (2, 5)"),
        (
            {"mask": torch.tensor([[True] * 4, [False] * 4])},
            "at least one real site in every cloud, got none in",
        ),
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"temperature": 0.0}, "temperature: expected a temperature, positive and finite, got 0.0"),
        ({"temperature": math.nan}, "positive and finite, got nan"),
        ({"temperature": math.inf}, "positive and finite, got inf"),
        ({"temperature": 1e-31}, "temperature: expected a temperature of at least 1e-30, got 1e-31"),
        (
            {"temperature": torch.tensor(1.0, requires_grad=True)},
            "temperature: expected a number, got a tensor that requires grad, which it would not get",
        ),
        ({"relaxation": "hard"}, "relaxation: expected one of 'gumbel_softmax', 'published', 'straight_through', got"),
    ],
)
def test_errors(arguments, message):
    arguments = {"logits": LOGITS} | arguments
    with pytest.raises(ValueError, match=re.escape(message)):
        relaxed_categorical(arguments.pop("logits"), **arguments)


def test_the_empty_clouds_are_named():
    mask = torch.tensor([[False, False], [True, False], [False, False]])
    with pytest.raises(ValueError, match=re.escape("clouds [0, 2]")):
        mask_logits(torch.zeros(3, 1, 2), mask)


@pytest.mark.parametrize(
    ("schedule", "temperatures"),
    [
        (Constant(0.7), [0.7, 0.7, 0.7, 0.7, 0.7]),
        (Linear(2.0, 1.0), [2.0, 1.75, 1.5, 1.25, 1.0]),
        (Linear(2.0, 1.0, share=0.5), [2.0, 1.5, 1.0, 1.0, 1.0]),
        (Exponential(4.0, 0.25), [4.0, 2.0, 1.0, 0.5, 0.25]),
        (Exponential(4.0, 1.0, share=0.5), [4.0, 2.0, 1.0, 1.0, 1.0]),
    ],
)
def test_schedules(schedule, temperatures):
    assert [schedule(p) for p in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(temperatures, rel=1e-12)
    assert schedule(1.2) == pytest.approx(temperatures[-1])


def test_the_published_schedule():
    # max(0.5, 2 − 3e/50): 2, 1.94, …, 0.5 from epoch 25 on; constant within an epoch.
    schedule = Published(epochs=140)
    for epoch, temperature in ((0, 2.0), (1, 1.94), (10, 1.4), (24, 0.56), (25, 0.5), (139, 0.5)):
        assert schedule(epoch / 140) == pytest.approx(temperature, rel=1e-12)
        assert schedule((epoch + 0.9) / 140) == pytest.approx(temperature, rel=1e-12)


def test_the_published_schedule_knows_an_epoch_whatever_the_rounding():
    for epochs in (3, 7, 25, 49, 93, 140, 200, 1000):
        schedule = Published(epochs)
        for epoch in range(epochs):
            expected = max(0.5, 2 - 3 * epoch / 50)
            assert schedule(epoch / epochs) == expected
            assert schedule((epoch * 37) / (epochs * 37)) == expected
            assert schedule((epoch * 37 + 36) / (epochs * 37)) == expected  # its last step


def test_make_schedule():
    assert make_schedule("published", 9.0, 9.0, epochs=20) == Published(20)
    assert make_schedule("constant", 0.5, 0.1) == Constant(0.5)
    assert make_schedule("linear", 2.0, 0.5, 0.3) == Linear(2.0, 0.5, 0.3)
    assert make_schedule("exponential", 2.0, 0.5) == Exponential(2.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: make_schedule("cosine", 1, 1),
            "schedule: expected one of 'constant', 'linear', 'exponential', 'published', got 'cosine'",
        ),
        (lambda: Constant(-1.0), "value: expected a temperature, positive and finite, got -1.0"),
        (lambda: Published(0), "epochs: expected at least 1, got 0"),
        (lambda: Linear(0.0, 1.0), "start: expected a temperature"),
        (lambda: Exponential(1.0, 0.0), "end: expected a temperature"),
        (
            lambda: Linear(1.0, 1.0, share=0.0),
            "share: expected a share of the training within (0, 1], got 0.0",
        ),
        (lambda: Linear(1.0, 1.0)(-0.1), "progress: expected 0 at the start to 1 at the end"),
        (lambda: Constant(1.0)(math.nan), "progress: expected 0 at the start to 1 at the end"),
    ],
)
def test_schedule_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
