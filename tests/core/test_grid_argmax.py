import copy
import math
import re

import pytest
import torch

from pcsargmax.core.argmax import sampling_argmax, soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.core.grid import Grid
from pcsargmax.core.grid_argmax import GridArgmax, _SignGradient
from pcsargmax.core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.core.relaxation import relaxed_categorical

GRID = Grid((3, 4), (0.5, 2.0), (1.0, -1.0))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_logits(shape=(3, 4), dtype=torch.float32):
    return torch.randn(2, 5, *shape, dtype=dtype, generator=seeded())


@pytest.mark.parametrize("basis", [None, Uniform(), Gaussian("auto")])
@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "straight_through"])
def test_the_layer_samples_in_training_and_expects_in_evaluation(basis, relaxation):
    logits = random_logits()
    layer = GridArgmax(GRID, basis, num_samples=3, temperature=2.0, relaxation=relaxation)
    layer.temperature = 0.5
    settings = {"num_samples": 3, "temperature": 0.5, "relaxation": relaxation}
    expected = sampling_argmax(logits, GRID, basis=basis or Triangular(), generator=seeded(1), **settings)
    assert torch.equal(layer(logits, generator=seeded(1)), expected)
    assert expected.shape == (2, 3, 5, 2)
    assert torch.equal(layer.eval()(logits), soft_argmax(logits, GRID).unsqueeze(1))
    assert not layer.state_dict()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("relaxation", ["gumbel_softmax", "published", "straight_through"])
@pytest.mark.parametrize("given", [None, Gaussian(0.7)])
def test_the_layer_passes_all_on(relaxation, training, given):
    logits, mask = random_logits(), torch.rand(2, 3, 4, generator=seeded(3)) > 0.3
    layer = GridArgmax(GRID, Uniform(), 3, 0.5, relaxation).train(training)
    found = layer(logits, basis=given, mask=mask, generator=seeded(1))
    settings = {"num_samples": 3, "temperature": 0.5, "relaxation": relaxation, "mask": mask}
    expected = soft_argmax(logits, GRID, mask=mask).unsqueeze(1)
    if training:
        expected = sampling_argmax(logits, GRID, basis=given or Uniform(), generator=seeded(1), **settings)
    assert torch.equal(found, expected)
    signed = GridArgmax(GRID, Uniform(), 3, 0.5, relaxation, "sign").train(training)
    values = signed(logits, basis=given, mask=mask, generator=seeded(1))
    weights = relaxed_categorical(
        logits.flatten(2), generator=(generator := seeded(1)), **settings | {"mask": mask.flatten(1)}
    )
    noise = (given or Uniform()).noise(weights, GRID, mask.flatten(1), generator)
    torch.testing.assert_close(values, weights @ GRID.positions() + noise if training else expected)


@pytest.mark.parametrize("gradient", ["exact", "sign"])
@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_one_hot_maps_give_the_coordinates_of_their_cell(shape, gradient):
    layer = GridArgmax(shape, coordinate_gradient=gradient).eval()
    cells = math.prod(shape)
    logits = (torch.eye(cells) * 1e4).reshape(1, cells, *shape)
    expected = [list(reversed(divmod_all(i, shape))) for i in range(cells)]
    torch.testing.assert_close(layer(logits), torch.tensor(expected, dtype=torch.float32).reshape(1, 1, cells, -1))


def divmod_all(number, shape):
    """The index of the cell with this number, in array order."""
    index = []
    for n in reversed(shape):
        number, rest = divmod(number, n)
        index.insert(0, rest)
    return index


def test_sign_gradient_by_hand():
    # Four cells at 0, 0.5, 1, 1.5: the mean is 0.75, and 2c = 1.
    layer = GridArgmax(Grid((4,), 0.5), coordinate_gradient="sign").eval()
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    value = layer(logits)
    assert value.item() == 0.75
    # π_j (v_j − Σ π v) with v = −1, −1, 1, 1 in place of π_j (x_j − 0.75).
    gradient = torch.autograd.grad(value.sum(), logits)[0]
    torch.testing.assert_close(gradient, torch.tensor([[[-0.25, -0.25, 0.25, 0.25]]]))
    layer.coordinate_gradient = "exact"
    gradient = torch.autograd.grad(layer(logits).sum(), logits)[0]
    torch.testing.assert_close(gradient, torch.tensor([[[-0.1875, -0.0625, 0.0625, 0.1875]]]))


def test_sign_gradient_by_the_weights_by_hand():
    weights = torch.tensor([[[[0.25, 0.5, 0.25]]]], requires_grad=True)
    value = _SignGradient.apply(weights, torch.zeros(1, 1, 1, 1), Grid((3,)))
    assert value.item() == 1
    # Two cell widths; where site and coordinate are equal it is the positive ones, as published.
    assert torch.autograd.grad(value.sum(), weights)[0].tolist() == [[[[-2.0, 2.0, 2.0]]]]
    noise = torch.tensor([[[[0.25]]]], requires_grad=True)
    gradients = torch.autograd.grad(3 * _SignGradient.apply(weights, noise, Grid((3,))).sum(), (weights, noise))
    assert gradients[0].tolist() == [[[[-6.0, -6.0, 6.0]]]]
    assert gradients[1].item() == 3


def test_sign_gradient_of_a_2d_map_by_hand():
    # x = 0, 1 by y = 0, 10 with 2c = 2 and 20; the mean is (0.5, 5).
    weights = torch.full((1, 1, 1, 4), 0.25, requires_grad=True)
    value = _SignGradient.apply(weights, torch.zeros(1, 1, 1, 2), Grid((2, 2), (1.0, 10.0)))
    assert value.flatten().tolist() == [0.5, 5]
    towards = torch.tensor([1.0, 0.1])
    gradient = torch.autograd.grad((value * towards).sum(), weights)[0]
    assert gradient.flatten().tolist() == pytest.approx([-2 - 2, 2 - 2, -2 + 2, 2 + 2])


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4)])
def test_sign_gradient_is_that_of_the_published_code(shape):
    """There it is taken of each marginal, in cells: ±2, then divided by the length of the axis."""
    dimension = len(shape)
    weights = torch.randn(2, 3, 5, *shape, dtype=torch.float64, generator=seeded()).flatten(3).softmax(-1)
    weights.requires_grad_()
    towards = torch.randn(2, 3, 5, dimension, dtype=torch.float64, generator=seeded(1))
    value = _SignGradient.apply(weights, torch.zeros(2, 3, 5, dimension).double(), Grid.normalized(shape))
    expected = torch.zeros(2, 3, 5, *shape).double()
    for d in range(dimension):
        axis = 3 + dimension - 1 - d  # of the map
        n = shape[dimension - 1 - d]
        marginal = weights.detach().reshape(2, 3, 5, *shape).movedim(axis, 3).reshape(2, 3, 5, n, -1).sum(-1)
        bins = torch.arange(n).double()
        coordinate = (marginal * bins).sum(-1, keepdim=True)
        torch.testing.assert_close(value[..., d : d + 1], coordinate / n - 0.5)
        sign = torch.where(bins < coordinate, -2.0, 2.0) * towards[..., d : d + 1] / n
        others = [1] * dimension
        others[axis - 3] = n
        expected += sign.reshape(2, 3, 5, *others)
    gradient = torch.autograd.grad((value * towards).sum(), weights)[0]
    torch.testing.assert_close(gradient, expected.flatten(3))


@pytest.mark.parametrize("basis", [None, Uniform(), Gaussian(0.3)])
def test_sign_gradient_leaves_the_values(basis):
    logits = random_logits()
    layer = GridArgmax(GRID, basis, num_samples=3, temperature=0.7, coordinate_gradient="sign")
    found = layer(logits, generator=seeded(1))
    generator = seeded(1)
    weights = relaxed_categorical(logits.flatten(2), num_samples=3, temperature=0.7, generator=generator)
    noise = (basis or Triangular()).noise(weights, GRID, generator=generator)
    torch.testing.assert_close(found, weights @ GRID.positions() + noise)
    torch.testing.assert_close(layer.eval()(logits), soft_argmax(logits, GRID).unsqueeze(1))


@pytest.mark.parametrize("basis", [Triangular(), Gaussian(0.4)])
def test_sign_gradient_by_the_logits_stands_for_the_noise_too(basis):
    logits = random_logits(dtype=torch.float64).requires_grad_()
    samples = GridArgmax(GRID, basis, num_samples=3, coordinate_gradient="sign")(logits, generator=seeded(1))
    found = torch.autograd.grad(samples.sum(), logits)[0]
    weights = relaxed_categorical(logits.flatten(2), num_samples=3, generator=seeded(1))
    before = GRID.positions(torch.float64) < samples.detach().unsqueeze(-2)  # (B, S, K, L, D)
    slope = torch.where(before, -2.0, 2.0) * torch.tensor(GRID.cell)
    torch.testing.assert_close(found, torch.autograd.grad((weights * slope.sum(-1)).sum(), logits)[0])


def test_a_learned_sigma_keeps_its_own_gradient():
    sigma = torch.tensor(0.5, requires_grad=True)
    logits = random_logits().requires_grad_()
    with pytest.raises(ValueError, match="basis: expected a sigma without gradient"):
        GridArgmax(GRID, Gaussian(sigma))
    layer = GridArgmax(GRID, num_samples=2, coordinate_gradient="sign")
    samples = layer(logits, basis=Gaussian(sigma), generator=seeded(1))
    found = torch.autograd.grad(samples.square().sum(), sigma)[0]
    generator = seeded(1)
    weights = relaxed_categorical(logits.flatten(2), num_samples=2, generator=generator).detach()
    expected = weights @ GRID.positions() + Gaussian(sigma).noise(weights, GRID, generator=generator)
    torch.testing.assert_close(found, torch.autograd.grad(expected.square().sum(), sigma)[0])


@pytest.mark.parametrize("gradient", ["exact", "sign"])
@pytest.mark.parametrize("training", [True, False])
def test_what_stands_at_masked_cells_has_no_effect(gradient, training):
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, :, 2:] = False
    logits = random_logits()
    garbage = torch.where(mask.unsqueeze(1), logits, math.nan).requires_grad_()
    zeros = torch.where(mask.unsqueeze(1), logits, 0.0).requires_grad_()
    layer = GridArgmax(GRID, num_samples=2, coordinate_gradient=gradient).train(training)
    results = [layer(x, mask=mask, generator=seeded(1)) for x in (garbage, zeros)]
    assert torch.equal(*results)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y, x in zip(results, (garbage, zeros), strict=True)]
    assert torch.equal(*gradients)
    assert (gradients[0].masked_select(~mask.unsqueeze(1)) == 0).all()
    if not training:
        cut = soft_argmax(logits[:1, :, :, :2], Grid((3, 2), GRID.spacing, GRID.origin))
        torch.testing.assert_close(results[0][:1, 0], cut)


@pytest.mark.parametrize("gradient", ["exact", "sign"])
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_logits_of_half_precision(gradient, scale):
    logits = torch.zeros(1, 1, 3, 4, dtype=torch.float16)
    logits[..., 1, 2] = scale
    logits.requires_grad_()
    layer = GridArgmax(GRID, num_samples=4, coordinate_gradient=gradient)
    for mode in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            samples = layer.train(mode)(logits, generator=seeded(1))
        assert samples.dtype == torch.float32
        assert samples.isfinite().all()
        assert torch.autograd.grad(samples.sum(), logits)[0].isfinite().all()


def test_a_cylinder():
    grid = Grid((2, 8), (45.0, 1.0), periodic=(True, False))
    logits = torch.full((1, 1, 2, 8), -1e4)
    logits[..., 0, 7] = logits[..., 0, 0] = 0  # 315° and 0°
    layer = GridArgmax(grid, num_samples=500, temperature=0.1)
    mean = layer.eval()(logits)
    torch.testing.assert_close(mean.flatten(), torch.tensor([337.5, 0.0]) - torch.tensor([360.0, 0.0]))
    samples = layer.train()(logits, generator=seeded())
    angle = (samples[..., 0] + 180) % 360 - 180
    assert ((angle > -90.01) & (angle < 45.01)).all()  # within a cell beyond the two
    assert angle.min() < -45
    assert angle.max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_the_distribution_says_what_else_the_maps_say(training):
    logits, mask = random_logits(), torch.rand(2, 3, 4, generator=seeded(3)) > 0.3
    layer = GridArgmax(GRID, Uniform(), num_samples=3).train(training)
    found = layer.distribution(logits, mask=mask)
    assert isinstance(found, KeypointDistribution)
    assert (found.basis, found.sites) == (Uniform(), GRID)
    torch.testing.assert_close(found.mean, soft_argmax(logits, GRID, mask=mask))
    torch.testing.assert_close(layer.eval()(logits, mask=mask)[:, 0], found.mean)
    maps = logits.masked_fill(~mask.unsqueeze(1), -math.inf).flatten(2).softmax(-1)
    torch.testing.assert_close(found.peak, maps.amax(-1))
    away = GRID.positions() - found.mean.unsqueeze(2)
    between = torch.einsum("bkl,bkld,bkle->bkde", maps, away, away)
    # and the width of a cell, c²/12 along each axis
    torch.testing.assert_close(found.covariance, between + torch.diag(torch.tensor([0.25, 4.0]) / 12))
    x = maps.unflatten(2, (3, 4)).sum(2)
    torch.testing.assert_close(found.marginal(0).probabilities, x)
    assert layer.distribution(logits, basis=Gaussian(0.5)).basis == Gaussian(0.5)


@pytest.mark.parametrize(
    ("convention", "expected"),
    # cell 2 of 4 along x and cell 1 of 5 along y
    [("paper", (0.0, -0.3)), ("corners", (1 / 3, -0.5)), ("centers", (0.25, -0.4))],
)
def test_coordinates_by_convention(convention, expected):
    logits = torch.full((1, 1, 5, 4), -1e4)
    logits[..., 1, 2] = 0
    layer = GridArgmax(Grid.normalized((5, 4), convention)).eval()
    torch.testing.assert_close(layer(logits).flatten(), torch.tensor(expected))
    assert GridArgmax(Grid((5, 4), spacing=4)).eval()(logits).flatten().tolist() == [8, 4]


@pytest.mark.parametrize("gradient", ["exact", "sign"])
def test_squeeze_returns_what_a_soft_argmax_layer_does(gradient):
    logits = random_logits()
    plain, layer = (GridArgmax(GRID, coordinate_gradient=gradient, squeeze=squeeze) for squeeze in (False, True))
    for training in (True, False):
        found = layer.train(training)(logits, generator=seeded(1))
        assert found.shape == (2, 5, 2)
        assert torch.equal(found, plain.train(training)(logits, generator=seeded(1))[:, 0])
    # of a map that is normalised already, the logarithm; −inf is a score
    probabilities = torch.tensor([[0.0, 0.25, 0.75, 0]])
    line = GridArgmax((4,), squeeze=True)
    assert line.eval()(probabilities.log().unsqueeze(0)).item() == 1.75
    assert line.train()(probabilities.log().unsqueeze(0), generator=seeded()).isfinite().all()


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_every_objective_takes_the_maps_of_the_layer(shape):
    layer = GridArgmax(shape, Gaussian("auto"), num_samples=4, temperature=0.7)
    logits = random_logits(shape, torch.float64).requires_grad_()
    target = torch.rand(2, 5, len(shape), dtype=torch.float64, generator=seeded(2)) * 2
    settings = {"basis": layer.basis, "num_samples": 4, "temperature": 0.7}
    losses = {
        "sampling": expected_error(logits, layer.grid, target, generator=seeded(1), **settings),
        "closed_form": expected_error(logits, layer.grid, target, generator=seeded(1), closed_form=True, **settings),
        "soft": error_of_expectation(logits, layer.grid, target),
        "soft_vr": variance_regularized_error(logits, layer.grid, target),
        "soft_dr": distribution_regularized_error(logits, layer.grid, target),
        "discrete": discrete_expected_error(logits, layer.grid, target),
    }
    for name, loss in losses.items():
        assert loss.shape == (2, 5), name
        gradient = torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0]
        assert gradient.isfinite().all(), name
        assert gradient.abs().sum() > 0, name
    drawn = (layer(logits, generator=seeded(1)) - target.unsqueeze(1)).abs().sum(-1).mean(1)
    torch.testing.assert_close(losses["sampling"], drawn)
    mean = (layer.eval()(logits)[:, 0] - target).abs().sum(-1)
    torch.testing.assert_close(losses["soft"], mean)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradient", ["exact", "sign"])
def test_maps_without_any_probability_are_refused(gradient, training):
    logits = random_logits()
    logits[0, 1, :, 1:] = -math.inf  # some cells are left
    layer = GridArgmax(GRID, num_samples=2, coordinate_gradient=gradient).train(training)
    assert layer(logits).isfinite().all()
    assert layer.distribution(logits).mean.isfinite().all()
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, :, 0] = False  # but not among the real ones
    told = "logits: expected a score above -inf in every map, got none in 1 of 10, the first of item 0, keypoint 1"
    for call in (layer, layer.distribution):
        with pytest.raises(ValueError, match=re.escape(told)):
            call(logits, mask=mask)
    logits[1, 4] = -math.inf
    told = "got none in 1 of 10, the first of item 1, keypoint 4"
    with pytest.raises(ValueError, match=re.escape(told)):
        layer(logits)
    with pytest.raises(ValueError, match=re.escape("mask: expected at least one real site in every cloud")):
        layer(logits, mask=torch.zeros_like(mask))
    assert layer(torch.zeros(0, 5, 3, 4)).shape[0] == 0


def test_nan_stays_nan():
    logits = random_logits()
    logits[1, 2, 0, 0] = math.nan
    wrong = GridArgmax(GRID).eval()(logits).isnan().any(-1)
    assert wrong.nonzero().tolist() == [[1, 0, 2]]


def test_it_can_be_copied_and_printed():
    layer = GridArgmax((3, 4), Gaussian(0.1), 5, coordinate_gradient="sign")
    assert str(copy.deepcopy(layer)) == (
        "GridArgmax(Grid(shape=(3, 4), spacing=(1.0, 1.0), origin=(0.0, 0.0), periodic=(False, False)), "
        "basis=Gaussian(sigma=0.1), num_samples=5, temperature=1.0, relaxation='gumbel_softmax', "
        "coordinate_gradient='sign')"
    )


@pytest.mark.parametrize("gradient", ["exact", "sign"])
def test_a_seed_repeats_bit_for_bit(gradient):
    layer = GridArgmax(GRID, num_samples=3, coordinate_gradient=gradient)
    first, second = (layer(random_logits(), generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GridArgmax((3, 4), coordinate_gradient="signs"),
            "coordinate_gradient: expected 'exact' or 'sign', got 'signs'",
        ),
        (
            lambda: GridArgmax(Grid((4,), periodic=True), coordinate_gradient="sign"),
            "coordinate_gradient: 'sign' needs a grid without circular axes, where no site lies before or after "
            "another, got Grid(shape=(4,)",
        ),
        (
            lambda: GridArgmax((3, 4), num_samples=2, squeeze=True),
            "squeeze: expected num_samples 1, got 2",
        ),
        (lambda: GridArgmax((0, 4)), "shape: expected 1 to 3 positive integers, got (0, 4)"),
        (
            lambda: GridArgmax((3, 4))(torch.zeros(2, 5, 0, 4)),
            "logits: expected shape (B, K, *shape) with shape (3, 4), got (2, 5, 0, 4)",
        ),
        (lambda: GridArgmax((3, 4)).distribution(torch.zeros(2, 5, 3, 0)), "got (2, 5, 3, 0)"),
        (lambda: GridArgmax(()), "shape: expected 1 to 3 positive integers, got ()"),
        (
            lambda: GridArgmax((3, 4))(torch.zeros(2, 5, 4, 3)),
            "logits: expected shape (B, K, *shape) with shape (3, 4), got (2, 5, 4, 3)",
        ),
        (lambda: GridArgmax((3, 4))(torch.zeros(5, 3, 4)), "with shape (3, 4), got (5, 3, 4)"),
        (
            lambda: GridArgmax((3, 4))(torch.zeros(2, 5, 3, 4), mask=torch.ones(2, 12).bool()),
            "mask: expected shape (B, *shape) = (2, 3, 4), got (2, 12)",
        ),
        (
            lambda: GridArgmax((3, 4))(torch.zeros(2, 5, 3, 4), mask=torch.ones(2, 3, 4)),
            "mask: expected a bool tensor of shape (B, L) = (2, 12), got torch.float32",
        ),
        (
            lambda: GridArgmax((4,), num_samples=0, coordinate_gradient="sign")(torch.zeros(2, 5, 4)),
            "num_samples: expected at least 1, got 0",
        ),
        (
            lambda: GridArgmax((4,), temperature=0.0)(torch.zeros(2, 5, 4)),
            "temperature: expected a temperature, positive and finite, got 0.0",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# torch itself makes such an instance while it traces an autograd function
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("gradient", ["exact", "sign"])
def test_it_compiles_without_a_graph_break(gradient):
    layer = GridArgmax(GRID, num_samples=2, coordinate_gradient=gradient)
    logits = random_logits().requires_grad_()
    for mode in (True, False):
        compiled = torch.compile(layer.train(mode), fullgraph=True, backend="aot_eager")
        samples = compiled(logits)
        assert torch.autograd.grad(samples.sum(), logits)[0].isfinite().all()
    torch.testing.assert_close(samples, layer(logits))
