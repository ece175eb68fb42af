import math
import re

import pytest
import torch
from scipy import integrate

from pcsargmax.argmax import soft_argmax
from pcsargmax.bases import Gaussian
from pcsargmax.losses import distance, error_of_expectation, expected_error, gaussian_expected_distance

KINDS = ("l1", "l2", "squared_l2")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_map(dimension=3, dtype=torch.float64):
    """Logits (2, 2, 5), sites (2, 5, D), targets (2, 2, D), and a mask that takes one site out."""
    logits = torch.randn(2, 2, 5, dtype=dtype, generator=seeded())
    sites = torch.randn(2, 5, dimension, dtype=dtype, generator=seeded(1))
    target = torch.randn(2, 2, dimension, dtype=dtype, generator=seeded(2))
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3] = False
    return logits, sites, target, mask


def by_quadrature(offset, std, kind):
    """E d(0, offset + std ε), integrated along the offset and, for L2, over the distance from its line."""
    length, dimension = math.hypot(*offset), len(offset)
    limits = -12, 12
    if kind == "l1":
        return sum(
            integrate.quad(lambda x, m=m: abs(m + std * x) * normal(x), *limits, points=[-m / std])[0] for m in offset
        )
    power = 2 if kind == "squared_l2" else 1
    if dimension == 1:
        split = [max(-length / std, -12)]
        return integrate.quad(lambda x: abs(length + std * x) ** power * normal(x), *limits, points=split)[0]

    def weighted(r, x):
        across = 2 * normal(r) if dimension == 2 else r * math.exp(-(r**2) / 2)  # chi of D − 1 degrees
        return math.hypot(length + std * x, std * r) ** power * across * normal(x)

    kink = -length / std
    return sum(integrate.dblquad(weighted, *ends, 0, 9)[0] for ends in ((kink - 9, kink), (kink, kink + 18)))


def normal(x):
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def test_distances_by_hand():
    prediction, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 5.0, -1.0]])
    assert [distance(prediction, target, kind).item() for kind in KINDS] == [7.0, 5.0, 25.0]
    assert distance(prediction, target).item() == 7.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_at_distance_0_is_0(kind):
    prediction = torch.zeros(2, 3, requires_grad=True)
    distance(prediction, torch.zeros(2, 3), kind).sum().backward()
    assert (prediction.grad == 0).all()


def test_error_of_expectation_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    sites = torch.tensor([[0.0, 0.0], [4.0, 8.0]])  # the expectation is (3, 6)
    target = torch.tensor([[[0.0, 10.0]]])
    found = [error_of_expectation(logits, sites, target, distance=kind).item() for kind in KINDS]
    assert found == pytest.approx([7.0, 5.0, 25.0])


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_expected_error_of_a_one_site_map_by_hand(kind, closed_form):
    # One site, so w = 1: the error is that of N(0, σ²) around the target, σ = 0.5, D = 3.
    expected = {
        "l1": 3 * 0.5 * math.sqrt(2 / math.pi),
        "l2": 0.5 * math.sqrt(8 / math.pi),
        "squared_l2": 0.75,
    }
    found = expected_error(
        torch.zeros(1, 1, 1),
        torch.ones(1, 1, 3),
        torch.ones(1, 1, 3),
        basis=Gaussian(0.5),
        num_samples=1 if closed_form else 40_000,
        distance=kind,
        closed_form=closed_form,
        generator=seeded(),
    )
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected[kind], rel=1e-6 if closed_form else 0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_agrees_with_sampling_and_varies_less(kind):
    logits, sites, target, mask = random_map()
    settings = {"basis": Gaussian(0.7), "temperature": 0.8, "mask": mask, "distance": kind}
    many = [m.repeat(4000, *[1] * (m.ndim - 1)) for m in (logits, sites, target)]
    settings["mask"] = mask.repeat(4000, 1)

    def draws(closed_form):
        found = expected_error(*many, closed_form=closed_form, generator=seeded(3), **settings)
        return found.reshape(4000, 2, 2)

    sampled, exact = draws(False), draws(True)
    error = (sampled.var(0) + exact.var(0)).sqrt() / math.sqrt(4000)
    assert ((sampled.mean(0) - exact.mean(0)).abs() < 4 * error).all()
    assert (exact.var(0) < sampled.var(0)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.99, 1.01, 3.0, 9.0])
def test_closed_form_against_quadrature(kind, dimension, ratio):
    std = 0.5
    direction = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)[:dimension]
    offset = ratio * std * direction / direction.norm()
    found = gaussian_expected_distance(offset, torch.tensor([std], dtype=torch.float64), kind)
    assert found.item() == pytest.approx(by_quadrature(offset.tolist(), std, kind), rel=2e-7)


@pytest.mark.parametrize("kind", ["l1", "squared_l2"])
def test_closed_form_with_a_std_per_axis(kind):
    offset, std = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.2, 0.7]).double()
    parts = [gaussian_expected_distance(offset[i : i + 1], std[i : i + 1], kind) for i in range(2)]
    torch.testing.assert_close(gaussian_expected_distance(offset, std, kind), sum(parts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_noise_the_closed_form_is_the_distance(kind, dimension, dtype):
    offset = torch.tensor([[0.0] * 3, [1e-30, 0, 0], [1e-3, 2, -3], [1e6, -1e6, 1e6]], dtype=dtype)[:, :dimension]
    offset.requires_grad_()
    expected = distance(offset, torch.zeros_like(offset), kind)
    (slope,) = torch.autograd.grad(expected.sum(), offset)
    for value in (0.0, 1e-40, 1e-20):
        std = torch.full((4, 1), value, dtype=dtype, requires_grad=True)
        found = gaussian_expected_distance(offset, std, kind)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-19)
        gradients = torch.autograd.grad(found.sum(), (offset, std))
        assert all(gradient.isfinite().all() for gradient in gradients)
        torch.testing.assert_close(gradients[0][[0, 2, 3]], slope[[0, 2, 3]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_closed_form_gradient(kind, dimension):
    ratios = torch.tensor([0.05, 0.999, 1.001, 4.0, 30.0, 2000.0], dtype=torch.float64)
    direction = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)[:dimension]
    offset = (0.5 * ratios.unsqueeze(1) * direction / direction.norm()).requires_grad_()
    std = torch.full((6, 1), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: gaussian_expected_distance(*a, kind), (offset, std))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_closed_form_second_derivatives(kind, dimension):
    offset = torch.tensor([[0.1, -0.3, 0.2], [1.0, 2.0, 0.5]], dtype=torch.float64)[:, :dimension].requires_grad_()
    std = torch.tensor([[0.5], [0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *a: gaussian_expected_distance(*a, kind), (offset, std))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_objective_gradients(kind, closed_form, sigma):
    logits, sites, target, mask = random_map()

    def sampled(logits, sites, target):
        return expected_error(
            logits,
            sites,
            target,
            basis=Gaussian(sigma),
            num_samples=2,
            temperature=0.8,
            distance=kind,
            mask=mask,
            generator=seeded(5),
            closed_form=closed_form,
        )

    inputs = [tensor.requires_grad_() for tensor in (logits, sites, target)]
    assert torch.autograd.gradcheck(sampled, inputs)
    assert torch.autograd.gradcheck(lambda *a: error_of_expectation(*a, distance=kind, mask=mask), inputs)


@pytest.mark.parametrize("closed_form", [False, True])
def test_masked_is_removed(closed_form):
    logits, sites, target, mask = random_map()
    real = mask[1]
    whole = error_of_expectation(logits, sites, target, mask=mask)[1:]
    less = error_of_expectation(logits[1:, :, real], sites[1:, real], target[1:])
    torch.testing.assert_close(whole, less)

    def sampled(logits, sites):
        settings = {"basis": Gaussian(0.1), "num_samples": 3, "closed_form": closed_form}
        return expected_error(logits, sites, target, mask=mask, generator=seeded(1), **settings)

    garbage = (
        logits.masked_fill(~mask.unsqueeze(1), math.nan),
        sites.masked_fill(~mask.unsqueeze(2), math.inf),
    )
    assert torch.equal(sampled(*garbage), sampled(logits, sites))


@pytest.mark.parametrize("closed_form", [False, True])
def test_autocast_gives_float32(closed_form):
    logits, sites, target, mask = random_map(dtype=torch.float32)
    settings = {"basis": Gaussian(0.1), "mask": mask, "num_samples": 3, "closed_form": closed_form}
    plain = expected_error(logits.bfloat16(), sites, target, generator=seeded(1), **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = expected_error(logits.bfloat16(), sites, target, generator=seeded(1), **settings)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_and_an_exact_hit_give_finite_gradients(closed_form, kind):
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    sites = torch.randn(1, 3, 3, generator=seeded())
    value = expected_error(logits, sites, sites[:, :1], basis=Gaussian(0.0), distance=kind, closed_form=closed_form)
    assert value.item() == 0
    assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()


def test_a_seed_repeats_bit_for_bit():
    logits, sites, target, _ = random_map()
    first, second = (expected_error(logits, sites, target, num_samples=4, generator=seeded(9)) for _ in range(2))
    assert torch.equal(first, second)


def test_training_on_the_expected_error_concentrates_the_map():
    # The error of the expectation is content with two sites far apart around the target, this one is not.
    sites, target = torch.tensor([[-1.0], [0.0], [1.0]]), torch.zeros(1, 1, 1)
    logits = torch.tensor([[[3.0, 0.0, 3.0]]], requires_grad=True)
    assert soft_argmax(logits, sites).item() == 0
    optimizer, generator = torch.optim.Adam([logits], lr=0.1), seeded()
    for _ in range(150):
        optimizer.zero_grad()
        expected_error(logits, sites, target, basis=Gaussian(0.1), num_samples=10, generator=generator).sum().backward()
        optimizer.step()
    assert logits.softmax(-1)[0, 0, 1].item() > 0.9


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, in dynamo
def test_it_compiles_as_one_graph(closed_form):
    logits, sites, target, mask = random_map(dtype=torch.float32)

    def loss(logits):
        return expected_error(
            logits, sites, target, basis=Gaussian(0.1), distance="l2", mask=mask, closed_form=closed_form
        ).sum()

    value = torch.compile(loss, backend="eager", fullgraph=True)(logits.requires_grad_())
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


LOGITS, SITES, TARGET = torch.zeros(2, 3, 4), torch.zeros(2, 4, 3), torch.zeros(2, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: distance(TARGET, TARGET[..., :1]),
            "target: expected the last axis D of the prediction, got prediction (2, 3, 3) and",
        ),
        (
            lambda: distance(TARGET, TARGET, "l3"),
            "distance: expected 'l1', 'l2' or 'squared_l2', got 'l3'",
        ),
        (
            lambda: error_of_expectation(LOGITS, SITES, TARGET[:1]),
            "target: expected shape (B, K, D) = (2, 3, 3), got (1, 3, 3)",
        ),
        (
            lambda: expected_error(LOGITS, SITES, TARGET[..., :2]),
            "target: expected shape (B, K, D) = (2, 3, 3), got (2, 3, 2)",
        ),
        (lambda: expected_error(LOGITS, SITES, TARGET, distance="l0"), "distance: expected 'l1', 'l2'"),
        (
            lambda: expected_error(LOGITS, SITES, TARGET, distance="l0", closed_form=True),
            "distance: expected 'l1', 'l2'",
        ),
        (lambda: expected_error(LOGITS[0], SITES, TARGET), "logits: expected shape (B, K, L), got (3, 4)"),
        (
            lambda: gaussian_expected_distance(torch.zeros(4), torch.zeros(1), "l2"),
            "offset: the closed form of 'l2' exists up to D = 3, got D = 4",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(3), torch.zeros(3), "l2"),
            "std: 'l2' needs the same std along all axes, (..., 1), got (3,)",
        ),
        (
            lambda: gaussian_expected_distance(torch.zeros(3), torch.zeros(2), "l1"),
            "std: expected a last axis of 1 or D = 3, got shape (2,)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
