"""The chunked forms against the formulas written out, through the functions that use them."""

import math

import pytest
import torch
from reference import argmax as reference
from torch.utils._python_dispatch import TorchDispatchMode

from pcsargmax import moments
from pcsargmax.argmax import sampling_argmax
from pcsargmax.bases import Gaussian
from pcsargmax.losses import expected_error
from pcsargmax.relaxation import draw_log_exponential

B, S, K, L, D = 3, 5, 2, 7, 3
RELAXATIONS = ["gumbel_softmax", "published", "straight_through"]
SIGMAS = {"zero": (), "one": (), "axis": (1, 1, D), "cloud": (B,), "site": (B, L, 1), "site and axis": (B, L, D)}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(sigma="site", dtype=torch.float64, shared=False):
    """Logits, sites and σ, all asking for gradients, and a mask; what is masked is not a number."""
    logits = torch.randn(B, K, L, dtype=dtype, generator=seeded())
    sites = torch.randn(*((L, D) if shared else (B, L, D)), dtype=dtype, generator=seeded(1))
    width = torch.rand(SIGMAS[sigma], dtype=dtype, generator=seeded(2)) * (sigma != "zero")
    mask = torch.ones(B, L, dtype=torch.bool)
    mask[1, 4:] = False
    logits.transpose(1, 2)[~mask] = math.nan
    if not shared:
        sites[~mask] = math.inf
    return logits.requires_grad_(), sites.requires_grad_(), width.requires_grad_(), mask


def plain(logits, sites, sigma, mask, temperature, relaxation, seed):
    """Samples by the formulas, from the noise in its documented order."""
    generator = seeded(seed)
    normal = torch.randn(B, K, S, D, dtype=logits.dtype, generator=generator)
    noise = torch.empty(B, K, S, L, dtype=logits.dtype)
    draw_log_exponential(noise, generator)
    logits = logits.masked_fill(~mask.unsqueeze(1), -1e300 if logits.dtype == torch.float64 else -1e30)
    sites = torch.where(mask.unsqueeze(-1), sites, 0)
    w = reference.weights(logits, -noise.transpose(1, 2), temperature, relaxation)
    sigma = sigma.reshape(-1, 1, 1) if sigma.ndim < 3 else sigma
    return reference.collapsed_samples(w, sites, sigma, normal.transpose(1, 2))


@pytest.fixture(params=[1 << 18, 1, 2 * L, S * L, 2 * S * L, 4 * S * L + 3], ids="chunk{}".format)
def chunk(request, monkeypatch):
    monkeypatch.setitem(moments._CHUNK, "cpu", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("sigma", ["one", "axis", "cloud", "site", "site and axis"])
def test_samples_and_their_gradients_are_those_of_the_formulas(sigma, relaxation):
    logits, sites, width, mask = inputs(sigma)
    found = sampling_argmax(
        logits,
        sites,
        basis=Gaussian(width),
        num_samples=S,
        temperature=0.6,
        relaxation=relaxation,
        mask=mask,
        generator=seeded(3),
    )
    expected = plain(logits, sites, width, mask, 0.6, relaxation, 3)
    torch.testing.assert_close(found, expected)
    towards = torch.randn(found.shape, dtype=found.dtype, generator=seeded(4))
    gradients = [torch.autograd.grad((y * towards).sum(), (logits, sites, width)) for y in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("sigma", ["one", "site", "axis"])
def test_the_fused_loss_is_that_of_the_samples(sigma, relaxation, closed_form):
    logits, sites, width, mask = inputs(sigma)
    target = torch.randn(B, K, D, dtype=torch.float64, generator=seeded(5))

    def loss(sites, width, target):
        return expected_error(
            logits,
            sites,
            target,
            basis=Gaussian(width),
            num_samples=S,
            temperature=0.6,
            relaxation=relaxation,
            mask=mask,
            generator=seeded(3),
            closed_form=closed_form,
        )

    fused = loss(sites.detach(), width.detach(), target)
    sampled = loss(sites, width, target.requires_grad_())  # a gradient by these wants the samples themselves
    torch.testing.assert_close(fused, sampled)
    if not closed_form:
        samples = plain(logits, sites, width, mask, 0.6, relaxation, 3)
        torch.testing.assert_close(fused, reference.expected_error(samples, target))
    towards = torch.randn(fused.shape, dtype=fused.dtype, generator=seeded(4))
    gradients = [
        torch.autograd.grad((value * towards).sum(), logits, retain_graph=True)[0] for value in (fused, sampled)
    ]
    torch.testing.assert_close(*gradients)
    if not closed_form:
        whole = (reference.expected_error(samples, target) * towards).sum()
        torch.testing.assert_close(gradients[0], torch.autograd.grad(whole, logits, retain_graph=True)[0])
        expected = torch.autograd.grad(whole, (sites, width, target))
        found = torch.autograd.grad((sampled * towards).sum(), (sites, width, target))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_shared_sites(relaxation):
    logits, sites, width, mask = inputs("cloud", shared=True)
    samples = sampling_argmax(
        logits,
        sites,
        basis=Gaussian(width),
        num_samples=S,
        temperature=0.6,
        relaxation=relaxation,
        mask=mask,
        generator=seeded(3),
    )
    expected = plain(logits, sites, width, mask, 0.6, relaxation, 3)
    gradients = [torch.autograd.grad(y.square().sum(), (logits, sites, width)) for y in (samples, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sigma", ["zero", "cloud", "site and axis"])
def test_float32_numbers_do_not_depend_on_the_chunk(sigma, monkeypatch):
    logits, sites, width, mask = inputs(sigma, torch.float32)
    found = []
    for size in (1 << 18, 3 * L):
        monkeypatch.setitem(moments._CHUNK, "cpu", size)
        samples = sampling_argmax(logits, sites, basis=Gaussian(width), num_samples=S, mask=mask, generator=seeded(3))
        found.append([samples, *torch.autograd.grad(samples.square().sum(), (logits, sites, width))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert ours.isfinite().all()


def test_both_passes_through_a_given_generator_leave_it_where_the_first_did():
    logits, *_ = inputs()
    generators = [seeded(3), seeded(3)]
    logits = logits.detach().nan_to_num().requires_grad_()
    for generator, backward in zip(generators, (True, False), strict=True):
        samples = sampling_argmax(logits, torch.rand(L, D), num_samples=S, generator=generator)
        if backward:
            samples.sum().backward()
    assert torch.equal(*(generator.get_state() for generator in generators))


class LargestTensor(TorchDispatchMode):
    """Records the elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_memory_does_not_grow_with_the_samples(fused, relaxation, monkeypatch):
    monkeypatch.setitem(moments._CHUNK, "cpu", 4000)
    logits = torch.randn(2, 3, 500, generator=seeded(), requires_grad=True)
    sites = torch.randn(2, 500, 3, generator=seeded(1))
    target = torch.zeros(2, 3, 3, requires_grad=not fused)
    largest = {}
    for samples in (10, 100):
        with LargestTensor() as seen:
            loss = expected_error(
                logits,
                sites,
                target,
                basis=Gaussian(0.1),
                num_samples=samples,
                relaxation=relaxation,
                generator=seeded(2),
            )
            loss.sum().backward()
        largest[samples] = seen.elements
    assert largest[10] == largest[100] == 4000  # a chunk; the weights of all samples would be 30,000 and 300,000


def test_a_second_derivative_is_refused():
    logits = torch.randn(B, K, L, generator=seeded(), requires_grad=True)
    target = torch.zeros(B, K, D)
    for value in (
        sampling_argmax(logits, torch.rand(L, D), basis=Gaussian(0.1), generator=seeded()).square(),
        expected_error(logits, torch.rand(L, D), target, basis=Gaussian(0.1), generator=seeded()).square(),
    ):
        (gradient,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_compiled_without_graph_breaks(relaxation):
    logits = torch.tensor([[[0.0, math.log(3.0)]]], requires_grad=True)
    sites, target = torch.tensor([[0.0], [10.0]]), torch.zeros(1, 1, 1)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def loss(logits):
        samples = sampling_argmax(
            logits, sites, basis=Gaussian(0.1), num_samples=4000, temperature=0.01, relaxation=relaxation
        )
        return samples, expected_error(
            logits,
            sites,
            target,
            basis=Gaussian(0.1),
            num_samples=4000,
            temperature=0.01,
            distance="squared_l2",
            relaxation=relaxation,
        )

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        samples, squared = loss(logits)
        assert torch.autograd.grad(squared.sum(), logits)[0].isfinite().all()
    share = 0.5 if relaxation == "published" else 0.75  # at such a temperature nearly one-hot
    assert samples.mean().item() == pytest.approx(10 * share, abs=0.4)
    assert squared.item() == pytest.approx(100 * share, abs=6)
