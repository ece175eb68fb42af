"""The chunked forms against the formulas written out, through the functions that use them."""

import math

import pytest
import torch
from reference import argmax as reference
from reference.pairwise import pairwise
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from pcsargmax.core.argmax import sampling_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.engine import chunks, moments, triton_moments
from pcsargmax.core.engine.sampler import Sampler
from pcsargmax.core.grid import Grid
from pcsargmax.core.losses import expected_error
from pcsargmax.core.relaxation import draw_log_exponential

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


#: The whole; one sample of one keypoint of one cloud; two samples; one keypoint; one cloud; two clouds of three.
CHUNKS = [1 << 18, 1, 2 * L, S * L, 2 * S * L, 4 * S * L + 3]


@pytest.mark.parametrize(
    ("chunk", "sigma", "relaxation"),
    pairwise(CHUNKS, ["one", "axis", "cloud", "site", "site and axis"], RELAXATIONS),
)
def test_samples_and_their_gradients_are_those_of_the_formulas(chunk, sigma, relaxation, monkeypatch):
    monkeypatch.setitem(chunks._CHUNK, "cpu", chunk)
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


@pytest.mark.parametrize(
    ("chunk", "sigma", "relaxation", "closed_form"),
    pairwise(CHUNKS, ["one", "cloud", "site", "axis"], RELAXATIONS, [False, True]),
)
def test_the_fused_loss_is_that_of_the_samples(chunk, sigma, relaxation, closed_form, monkeypatch):
    monkeypatch.setitem(chunks._CHUNK, "cpu", chunk)
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


@pytest.mark.parametrize("sigma", ["one", "cloud", "site"])
def test_a_gradient_by_sigma_and_logits_alone(sigma):
    logits, sites, width, mask = inputs(sigma)
    sites, target = sites.detach(), torch.randn(B, K, D, dtype=torch.float64, generator=seeded(5))
    how = {"basis": Gaussian(width), "num_samples": S, "temperature": 0.6, "mask": mask}
    found = expected_error(logits, sites, target, generator=seeded(3), **how)
    expected = reference.expected_error(plain(logits, sites, width, mask, 0.6, "gumbel_softmax", 3), target)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.square().sum(), (logits, width)) for value in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "basis", [Gaussian(0.3), Gaussian(torch.rand(2, 12, 1, generator=seeded(8))), Triangular(), Uniform()]
)
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_the_form_for_a_compiler_has_the_same_numbers(relaxation, basis):
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, generator=seeded(), requires_grad=True)
    mask = torch.rand(2, 12, generator=seeded(5)) > 0.3
    settings = {"num_samples": 5, "temperature": 0.6, "relaxation": relaxation, "mask": mask}
    sampler = Sampler.of(logits, Grid((3, 4)), basis=basis, **settings)
    arguments = sampler.logits, sampler.sites, sampler.variance, sampler.draws
    results = [form(*arguments, seeded(1)) for form in (moments.relaxed_moments, moments._whole)]
    towards = [torch.randn(part.shape, dtype=torch.float64, generator=seeded(2)) for part in results[0]]
    if isinstance(basis, Triangular | Uniform):
        towards[1] = torch.zeros_like(towards[1])  # of no use there, and so not differentiated
    gradients = [torch.autograd.grad(parts, logits, towards, retain_graph=True)[0] for parts in results]
    for a, b in zip((*results[0], gradients[0]), (*results[1], gradients[1]), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("basis", "relaxation", "flaw"),
    pairwise([Gaussian(0.3), Gaussian(torch.full((1, 4, 1), 0.3)), Triangular()], RELAXATIONS, [math.nan, math.inf]),
)
def test_a_map_that_is_not_one_gives_nan(basis, relaxation, flaw):
    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 1] = flaw
    how = {"basis": basis, "num_samples": 3, "relaxation": relaxation}
    for found in (
        sampling_argmax(logits, Grid((4,)), generator=seeded(), **how)[0].transpose(0, 1),
        expected_error(logits, Grid((4,)), torch.zeros(1, 2, 1), generator=seeded(), **how)[0].unsqueeze(-1),
    ):
        assert found[0].isnan().all()
        assert found[1].isfinite().all()


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


def test_sites_shared_by_clouds_without_padding():
    logits, sites, width, mask = inputs("one", shared=True)
    logits = logits.detach().nan_to_num().requires_grad_()
    how = {"basis": Gaussian(width), "num_samples": S, "temperature": 0.6}
    samples = sampling_argmax(logits, sites, generator=seeded(3), **how)
    expected = plain(logits, sites, width, torch.ones_like(mask), 0.6, "gumbel_softmax", 3)
    gradients = [torch.autograd.grad(y.square().sum(), (logits, sites, width)) for y in (samples, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sigma", ["zero", "cloud", "site and axis"])
def test_float32_numbers_do_not_depend_on_the_chunk(sigma, monkeypatch):
    logits, sites, width, mask = inputs(sigma, torch.float32)
    found = []
    for size in (1 << 18, 3 * L):
        monkeypatch.setitem(chunks._CHUNK, "cpu", size)
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


class LiveMemory(TorchDispatchMode):
    """Keeps the most bytes that the results of operations held at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, torch.Tensor):
                storage = part.untyped_storage()
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: kept for key, kept in self.alive.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def test_live_memory_is_what_is_held_at_once():
    with LiveMemory() as seen:
        kept = torch.zeros(1000)
        for _ in range(3):
            other = torch.zeros(500)
            del other
        kept = (kept + 1)[:10]
    assert seen.peak == 8000
    assert kept.shape == (10,)


BY_SAMPLES = {
    "fused": lambda logits, grid, **how: expected_error(logits, grid, torch.zeros(2, 3, 2), basis=Gaussian(0.1), **how),
    "loss": lambda logits, grid, **how: expected_error(
        logits, grid, torch.zeros(2, 3, 2, requires_grad=True), basis=Gaussian(0.1), **how
    ),
    "samples": lambda logits, grid, **how: sampling_argmax(logits, grid, basis=Gaussian(0.1), **how).square(),
    "triangular": lambda logits, grid, **how: sampling_argmax(logits, grid, basis=Triangular(), **how).square(),
    "triangular fused": lambda logits, grid, **how: expected_error(
        logits, grid, torch.zeros(2, 3, 2), basis=Triangular(), **how
    ),
}


@pytest.mark.parametrize("name", BY_SAMPLES)
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_memory_does_not_grow_with_the_samples(name, relaxation, monkeypatch):
    monkeypatch.setitem(chunks._CHUNK, "cpu", 40_000)
    logits = torch.randn(2, 3, 40, 50, generator=seeded(), requires_grad=True)
    peak = {}
    for samples in (10, 40):
        with LiveMemory() as seen:
            value = BY_SAMPLES[name](
                logits, Grid((40, 50)), num_samples=samples, relaxation=relaxation, generator=seeded(2)
            )
            value.sum().backward()
        peak[samples] = seen.peak
    weights = 2 * 3 * 2000 * 4 * (40 - 10)  # bytes that the weights would grow by; the samples themselves are few
    assert peak[40] - peak[10] < 0.05 * weights


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


# torch's own, while it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_an_automatic_sigma_of_a_cloud_compiles_with_a_break():
    logits, sites = (
        torch.randn(2, 3, 9, generator=seeded(), requires_grad=True),
        torch.randn(2, 9, 3, generator=seeded(1)),
    )
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    scales = []

    def draw(logits, sites):
        scales.append(Gaussian("auto").scale(sites, mask))
        return sampling_argmax(logits, sites, num_samples=4, mask=mask)

    torch.compiler.reset()
    samples = torch.compile(draw, backend="aot_eager")(logits, sites)
    assert samples.shape == (2, 4, 3, 3)
    torch.testing.assert_close(scales[0], Gaussian("auto").scale(sites, mask))
    assert torch.autograd.grad(samples.sum(), logits)[0].isfinite().all()


def test_many_coordinates_do_not_take_the_kernel(monkeypatch):
    class OnGPU:
        is_cuda, dtype, device = True, torch.float32, torch.device("cuda")

    monkeypatch.setattr(triton_moments, "available", lambda device: True)
    draws = chunks.Draws(3, 1.0, "gumbel_softmax")
    assert [moments.has_kernel(OnGPU(), torch.zeros(1, 4, size), draws) for size in (1, 8, 9)] == [True, True, False]
