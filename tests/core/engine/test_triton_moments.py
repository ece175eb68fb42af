"""The kernels on a GPU where there is one, else in Triton's interpreter, else skipped.

The interpreter must be chosen before Triton is imported, and another test of the same process may have imported it. So
without a GPU this file runs once more in a process of its own, and there the tests of the kernels are not skipped.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys

import pytest
import torch

from pcsargmax.core.argmax import sampling_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.engine import moments, sampler, triton_kernels, triton_moments
from pcsargmax.core.engine.triton_moments import available, log_exponential, relaxed_moments
from pcsargmax.core.losses import expected_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INSTALLED = triton_moments.triton is not None
HERE = available(DEVICE)
INTERPRETED = INSTALLED and os.environ.get("TRITON_INTERPRET") == "1"
tl = getattr(triton_kernels, "tl", None)  # for the kernel below

# In the interpreter NumPy says so where a score less the lowest float32 becomes inf, or no weight at all NaN: as meant.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{what} encountered:RuntimeWarning")
    for what in ("overflow", "divide by zero", "invalid value")
]


@pytest.fixture
def device():
    if not INSTALLED:
        pytest.skip("Triton is not installed")
    if not HERE:
        pytest.skip("no GPU: the interpreter runs this test in the process of test_in_the_interpreter")
    return DEVICE


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of sites in small maps."""
    monkeypatch.setattr(triton_moments, "_BLOCK", 16)
    monkeypatch.setattr(triton_moments, "_GRADIENT_BLOCK", 16)


def random(device, *shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def key(device, value=2**40 + 7):
    return torch.tensor([value], device=device)


def plain(logits, positions, variance, noise, temperature, relaxation):
    """The moments written out, in float64, for given log E (B, K, S, L)."""
    logits, positions, noise = logits.double().unsqueeze(2), positions.double().unsqueeze(1), noise.double()
    if relaxation == "published":
        weights = torch.softmax(logits - noise / temperature, dim=-1)
    else:
        weights = torch.softmax((logits - noise) / temperature, dim=-1)
    if relaxation == "straight_through":
        hard = torch.zeros_like(weights).scatter(-1, (logits - noise).argmax(-1, keepdim=True), 1)
        weights = hard + weights - weights.detach()
    squares = weights.square()
    if variance is None:
        return weights @ positions, squares.sum(-1, keepdim=True)
    return weights @ positions, squares @ variance.double().unsqueeze(1)


def assert_is_plain(logits, positions, variance, num_samples, temperature, relaxation, tolerance=2e-6):
    """Compare values and all gradients; the tolerance is relative to the largest number of each tensor."""
    settings = {"num_samples": num_samples, "temperature": temperature, "relaxation": relaxation}
    leaves = [leaf.requires_grad_() for leaf in (logits, positions, variance) if leaf is not None]
    seed = key(logits.device)
    found = relaxed_moments(logits, positions, variance, **settings, seed=seed)
    noise = log_exponential(seed, *logits.shape[:2], num_samples, logits.shape[2])
    expected = plain(logits, positions, variance, noise, temperature, relaxation)
    slopes = [random(logits.device, *moment.shape, seed=5) for moment in found]
    by_found = torch.autograd.grad(found, leaves, slopes)
    by_expected = torch.autograd.grad(expected, leaves, [slope.double() for slope in slopes])
    for a, b in zip((*found, *by_found), (*expected, *by_expected), strict=True):
        assert a.dtype == torch.float32
        assert a.shape == b.shape
        assert torch.allclose(a.double(), b.double(), rtol=0, atol=tolerance * b.abs().max().item() + 1e-30)


@pytest.mark.parametrize(
    ("relaxation", "clouds", "spread"),
    [
        ("gumbel_softmax", (2, 2), None),
        ("gumbel_softmax", (1, 2), 1),
        ("gumbel_softmax", (2, 1), 3),
        ("gumbel_softmax", (1, 1), 3),
        ("published", (2, 2), None),
        ("published", (1, 1), 3),
        ("straight_through", (1, 2), None),
        ("straight_through", (2, 1), 1),
        ("straight_through", (2, 2), 3),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_form(device, small_blocks, relaxation, clouds, spread):
    logits = 2 * random(device, 2, 2, 21)
    logits[1, :, 14:] = -math.inf  # masked, a whole block among them
    logits[0, :, :3] = -math.inf
    positions = random(device, clouds[0], 21, 3, seed=1)
    variance = None if spread is None else random(device, clouds[1], 21, spread, seed=2).square()
    assert_is_plain(logits, positions, variance, 5, 0.6, relaxation)


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
@pytest.mark.parametrize(("samples", "sites", "dimension"), [(1, 1, 1), (2, 5, 2), (3, 16, 6)])
def test_small_shapes(device, relaxation, samples, sites, dimension):
    logits, positions = random(device, 1, 3, sites), random(device, 1, sites, dimension, seed=1)
    variance = random(device, 1, sites, dimension, seed=2).square()
    assert_is_plain(logits, positions, variance, samples, 1.3, relaxation)


def test_blocks_of_the_usual_size(device):
    logits, positions = random(device, 1, 1, 300), random(device, 1, 300, 3, seed=1)
    assert_is_plain(logits, positions, None, 4, 0.5, "gumbel_softmax")


def test_layouts_that_are_not_contiguous(device):
    logits, positions = random(device, 9, 3, 2).permute(2, 1, 0), random(device, 3, 9, 1).permute(2, 1, 0)
    assert_is_plain(logits, positions, None, 2, 0.7, "gumbel_softmax")


def test_only_the_gradients_that_are_wanted(device):
    logits, positions, variance = random(device, 1, 1, 5), random(device, 1, 5, 2), torch.ones(1, 5, 1, device=device)
    settings = {"num_samples": 2, "temperature": 0.7, "relaxation": "gumbel_softmax", "seed": key(device)}
    for leaf in (logits, positions, variance):
        leaf.requires_grad_()
        _, squares = relaxed_moments(logits, positions, variance, **settings)
        squares.sum().backward()
        assert leaf.grad is not None
        assert [other.grad is None for other in (logits, positions, variance)].count(True) == 2
        leaf.requires_grad_(False)
        leaf.grad = None
    assert not relaxed_moments(logits, positions, variance, **settings)[0].requires_grad


def test_no_maps_at_all(device):
    positions = torch.ones(2, 5, 3, device=device, requires_grad=True)
    mean, squares = relaxed_moments(
        torch.zeros(2, 0, 5, device=device),
        positions,
        None,
        num_samples=3,
        temperature=1.0,
        relaxation="published",
        seed=key(device),
    )
    assert mean.shape == (2, 0, 3, 3)
    assert squares.shape == (2, 0, 3, 1)
    assert (torch.autograd.grad(mean.sum(), positions)[0] == 0).all()


@pytest.mark.parametrize(
    ("relaxation", "temperature"),
    [  # not "published" at a small temperature: there the noise decides, not the logits
        ("gumbel_softmax", 1.0),
        ("gumbel_softmax", 1e-6),
        ("gumbel_softmax", 1e-30),
        ("published", 1.0),
        ("straight_through", 1e-6),
        ("straight_through", 1e-30),
    ],
)
def test_extreme_logits_give_one_site_and_no_gradient(device, relaxation, temperature):
    logits = torch.tensor([[[-1e4, -math.inf, 1e4, 0.0]]], device=device, requires_grad=True)
    positions = torch.tensor([[[1.0], [2.0], [0.3], [4.0]]], device=device)
    variance = torch.tensor([[[0.1], [0.2], [0.7], [0.4]]], device=device)
    mean, squares = relaxed_moments(
        logits, positions, variance, num_samples=6, temperature=temperature, relaxation=relaxation, seed=key(device)
    )
    assert (mean == 0.3).all()
    assert (squares == 0.7).all()
    (gradient,) = torch.autograd.grad((mean.sum(), squares.sum()), logits)
    assert (gradient == 0).all()


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "straight_through"])
def test_a_map_that_is_not_one_gives_nan(device, relaxation):
    for logits in ([0.0, math.nan, 1.0], [-math.inf] * 3):
        mean, squares = relaxed_moments(
            torch.tensor([[logits]], device=device),
            torch.ones(1, 3, 2, device=device),
            None,
            num_samples=1,
            temperature=1.0,
            relaxation=relaxation,
            seed=key(device),
        )
        assert mean.isnan().all()
        assert squares.isnan().all()


def test_masked_is_removed(device, small_blocks):
    logits, positions = random(device, 2, 2, 37), random(device, 2, 37, 3, seed=1)
    masked = torch.where(torch.arange(37, device=device) < 20, logits, -math.inf)
    settings = {"num_samples": 3, "temperature": 0.5, "relaxation": "gumbel_softmax", "seed": key(device)}
    for a, b in zip(
        relaxed_moments(masked, positions, None, **settings),
        relaxed_moments(logits[..., :20], positions[:, :20], None, **settings),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6)


def test_a_seed_repeats_bit_for_bit_and_another_differs(device, small_blocks):
    def draw(seed):
        logits, positions = random(device, 2, 2, 20).requires_grad_(), random(device, 1, 20, 3, seed=1).requires_grad_()
        moments = relaxed_moments(
            logits, positions, None, num_samples=3, temperature=0.5, relaxation="gumbel_softmax", seed=key(device, seed)
        )
        return *moments, *torch.autograd.grad(moments[0].square().sum(), (logits, positions))

    first, again, other = draw(-3), draw(-3), draw(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_noise_is_minus_gumbel(device):
    from scipy.stats import kstest

    noise = log_exponential(key(device), 2, 2, 5, 1000).cpu()
    assert kstest(-noise.flatten().numpy(), "gumbel_r").pvalue > 0.01  # the seed is fixed
    for axis in range(3):  # also in each stream, and at each site over the streams
        parts = noise.movedim(axis, 0).flatten(1).numpy()
        assert all(kstest(-part, "gumbel_r").pvalue > 0.001 for part in parts)


def test_streams_are_their_own_and_uncorrelated(device):
    sites = 2000
    noise = log_exponential(key(device), 2, 2, 6, sites).cpu()
    streams = torch.cat((noise.flatten(0, 2), log_exponential(key(device, 8), 1, 1, 5, sites).cpu().flatten(0, 2)))
    # And each against itself some sites on.
    shifted = [streams[0].roll(step) for step in (1, 4, 128, 256)]
    correlation = torch.corrcoef(torch.cat((streams, torch.stack(shifted))))
    assert (correlation - torch.eye(len(correlation))).abs().max() < 5 / math.sqrt(sites)  # 5 standard errors
    assert len(noise.unique()) > 0.99 * noise.numel()


def test_a_draw_does_not_depend_on_the_shapes_around_it(device, small_blocks):
    whole = log_exponential(key(device), 2, 3, 6, 40)
    assert torch.equal(log_exponential(key(device), 2, 1, 2, 23), whole[:, :1, :2, :23])
    high = log_exponential(key(device, 7), 2, 3, 6, 40)  # as above in its lower 32 bits alone
    assert not torch.equal(high, whole)


@triton_kernels._jit
def _transform(words, found, SIZE: tl.constexpr):
    place = tl.arange(0, SIZE)
    word = tl.load(words + place).to(tl.uint32, bitcast=True)
    tl.store(found + place, triton_kernels._log_exponential_of(word))


def test_every_word_gives_a_finite_draw_of_full_precision(device):
    edges = [0, 1, 2, 3, 1000, 2**24, 2**24 + 1, 2**28 - 1, 2**28, 2**28 + 1, 2**31 - 1, 2**31, 2**32 - 2**20]
    low = [int(2 ** (32 * i / 115)) for i in range(115)]
    words = torch.tensor([*edges, *low])
    found = torch.empty(128, device=device)
    signed = torch.where(words < 2**31, words, words - 2**32).int().to(device)
    _transform[(1,)](signed, found, SIZE=128)
    u = (words.double() + 0.5) / 2**32
    # log E to an ulp of 23, the largest; near u = 1 a step of 2^-25 in u weighs as much as 2^-12 of the rest.
    torch.testing.assert_close(found.cpu().double(), (-torch.log1p(-u)).log(), rtol=0, atol=2e-6)
    assert found[0].item() == pytest.approx(math.log(2**-33), rel=1e-6)
    _transform[(1,)](torch.full((128,), -1, dtype=torch.int32, device=device), found, SIZE=128)
    assert found[0].item() == pytest.approx(math.log(26 * math.log(2)), rel=1e-6)


LOGITS, POSITIONS, SEED = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3), torch.tensor([1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": LOGITS[0]}, "logits: expected torch.float32 of shape (B, K, L), got torch.float32 of shape (3, 4)"),
        ({"logits": LOGITS.double()}, "logits: expected torch.float32 of shape (B, K, L), got torch.float64"),
        ({"logits": LOGITS[..., :0]}, "logits: expected at least one site, got shape (2, 3, 0)"),
        ({"positions": POSITIONS[0]}, "positions: expected torch.float32 of shape (B or 1, L, D), got torch.float32"),
        ({"positions": torch.zeros(3, 4, 3)}, "positions: expected shape (2 or 1, 4, D), got (3, 4, 3)"),
        ({"positions": torch.zeros(2, 5, 3)}, "positions: expected shape (2 or 1, 4, D), got (2, 5, 3)"),
        ({"positions": torch.zeros(2, 4, 0)}, "positions: expected shape (2 or 1, 4, D), got (2, 4, 0)"),
        ({"positions": POSITIONS.to("meta")}, "positions: expected a tensor on cpu, got meta"),
        ({"variance": torch.ones(2, 4, 2)}, "variance: expected shape (2 or 1, 4, 1 or 3), got (2, 4, 2)"),
        ({"variance": torch.ones(2, 4)}, "variance: expected torch.float32 of shape (B or 1, L, V), got torch.float32"),
        ({"seed": SEED.int()}, "seed: expected torch.int64 of shape (1,), got torch.int32 of shape (1,)"),
        ({"seed": SEED[0]}, "seed: expected torch.int64 of shape (1,), got torch.int64 of shape ()"),
        ({"seed": SEED.to("meta")}, "seed: expected a tensor on cpu, got meta"),
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"temperature": 0.0}, "temperature: expected a temperature, positive and finite, got 0.0"),
        ({"relaxation": "soft"}, "relaxation: expected one of 'gumbel_softmax', 'published', 'straight_through', got"),
    ],
)
def test_errors(changes, message):
    arguments = {"logits": LOGITS, "positions": POSITIONS, "variance": None, "seed": SEED, "num_samples": 2}
    arguments |= {"temperature": 1.0, "relaxation": "gumbel_softmax"} | changes
    with pytest.raises(ValueError, match=re.escape(message)):
        relaxed_moments(**arguments)


def test_without_triton(monkeypatch):
    monkeypatch.setattr(triton_moments, "triton", None)
    assert not available("cuda")
    message = "device: expected one on which the kernels can run (Triton, and a GPU or TRITON_INTERPRET=1"
    with pytest.raises(ValueError, match=re.escape(message)):
        log_exponential(SEED, 1, 1, 1, 1)
    with pytest.raises(ValueError, match=re.escape(message)):
        relaxed_moments(LOGITS, POSITIONS, None, num_samples=1, temperature=1.0, relaxation="gumbel_softmax", seed=SEED)


@pytest.mark.skipif(INTERPRETED, reason="in the interpreter every device will do")
def test_devices_without_the_interpreter():
    assert not available("cpu")
    assert available("cuda:0") == (INSTALLED and torch.cuda.is_available())


def child(arguments, **environment):
    """Run Python anew; return what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.skipif(HERE or not INSTALLED, reason="the tests run in this process, or Triton is not installed")
def test_in_the_interpreter():
    printed = child(["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__], TRITON_INTERPRET="1")
    assert "test_in_the_interpreter" not in printed
    assert re.search(r"\d\d passed", printed)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pcsargmax.core.engine import triton_moments

types = {"seed": "*i64", "winner": "*i32", "noise_scale": "fp32", "slope": "fp32"}
integers = ("samples", "groups", "keypoints", "sites", "blocks", "position_stride", "variance_stride")
for hard, absent, ones in ((False, ("winner",), ()), (True, (), ("samples", "groups", "sites"))):
    sizes = {"D": 3, "V": 3, "HARD": hard, "GROUP": 4, "BLOCK": 128}
    for name in ("moments_kernel", "gradient_kernel", "noise_kernel"):
        kernel = getattr(triton_moments, name)
        given = sizes | dict.fromkeys(absent) | dict.fromkeys(ones, 1)
        constants = {(i,): given[arg] for i, arg in enumerate(kernel.arg_names) if arg in given}
        signature = {
            arg: "constexpr" if arg in given else types.get(arg, "i32" if arg in integers else "*fp32")
            for arg in kernel.arg_names
        }
        if name == "moments_kernel" and not hard:
            signature["soft_mean"], constants[(kernel.arg_names.index("soft_mean"),)] = "constexpr", None
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        found = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=triton_moments._OPTIONS)
        assert "ld.global" in found.asm["ptx"] and found.asm["cubin"]
        print("compiled", name)
"""


@pytest.mark.skipif(INTERPRETED or not INSTALLED, reason="the interpreter has no compiler, or Triton is not installed")
def test_the_kernels_compile_for_a_gpu(tmp_path):
    printed = child(["-W", "ignore", "-c", COMPILE], TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert printed.count("compiled") == 6


@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
def test_sampling_argmax_and_its_losses_take_the_kernels(device, relaxation, monkeypatch):
    for module in (moments, sampler):
        monkeypatch.setattr(module, "has_kernel", lambda logits, sites, draws: True)
    logits = random(device, 2, 3, 40).requires_grad_()
    sites, sigma = random(device, 2, 40, 3, seed=1), random(device, 2, 40, 1, seed=2).abs()
    how = {"num_samples": 5, "temperature": 0.7, "relaxation": relaxation}
    generator = torch.Generator(device).manual_seed(3)
    found = sampling_argmax(logits, sites, basis=Gaussian(sigma), generator=generator, **how)
    generator.manual_seed(3)
    normal = torch.randn(2, 3, 5, 3, generator=generator, device=device)
    seed = torch.randint(2**62, (1,), generator=generator, device=device)
    mean, squares = relaxed_moments(logits, sites, sigma.square(), seed=seed, **how)
    torch.testing.assert_close(found, (mean + squares.sqrt() * normal).transpose(1, 2))
    generator.manual_seed(3)
    target = torch.zeros(2, 3, 3, device=device)
    loss = expected_error(logits, sites, target, basis=Gaussian(sigma), generator=generator, **how)
    expected = found.abs().sum(-1).mean(1)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value.sum(), logits)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)
