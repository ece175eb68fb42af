import dataclasses

import pytest
import torch

from pcsargmax import Gaussian, Grid, SmoothL1, Triangular, Uniform
from pcsargmax.core import losses as core
from pcsargmax.core.grid_argmax import GridArgmax
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.objective import make_grid_objective
from pcsargmax.training.objective import make_temperature

GRID = Grid((5, 4))
LOGITS = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
TARGET = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(1)) * 3
BASES = {"uniform": Uniform(), "triangular": Triangular(), "gaussian": Gaussian(1.0)}


def loss(progress=0.0, grid=GRID, logits=LOGITS, target=TARGET, **changes):
    objective = make_grid_objective(ImageSettings(**changes))
    return objective(logits, grid, target, progress, torch.Generator().manual_seed(7))


def test_soft_is_the_error_of_the_expectation_in_cells():
    weights = LOGITS.flatten(2).softmax(dim=-1)
    expectation = torch.einsum("bkl,ld->bkd", weights, GRID.positions())
    torch.testing.assert_close(loss(objective="soft"), (expectation - TARGET).abs().sum(dim=-1))
    torch.testing.assert_close(loss(objective="soft", distance="l2"), (expectation - TARGET).norm(dim=-1))


@pytest.mark.parametrize("basis", BASES)
def test_sampling_is_the_core_s_with_each_basis(basis):
    found = loss(objective="sampling", basis=basis, num_samples=4, temperature_schedule="constant")
    expected = core.expected_error(
        LOGITS,
        GRID,
        TARGET,
        basis=BASES[basis],
        num_samples=4,
        temperature=2.0,
        generator=torch.Generator().manual_seed(7),
    )
    torch.testing.assert_close(found, expected)


def test_the_other_objectives_are_the_core_s():
    torch.testing.assert_close(loss(objective="discrete"), core.discrete_expected_error(LOGITS, GRID, TARGET))


@pytest.mark.parametrize(("distance", "power"), [("l1", 1), ("squared_l2", 2)])
def test_regularizers_are_those_of_a_map_that_measures_one(distance, power):
    settings = {"regularizer_weight": 0.5, "target_variance": 2.0, "distance": distance}
    small = Grid(GRID.shape, spacing=1 / 5)
    options = {"weight": 0.5, "target_variance": 2.0, "distance": distance}
    for name in ("variance", "distribution"):
        expected = getattr(core, f"{name}_regularized_error")(LOGITS, small, TARGET / 5, **options)
        found = loss(objective=f"soft_{name[0]}r", **settings)
        torch.testing.assert_close(found / 5**power, expected)
        assert not torch.allclose(found, loss(objective="soft", distance=distance), rtol=1e-3, atol=0)


def test_the_closed_form_has_the_same_expectation():
    options = {"basis": "gaussian", "num_samples": 8000, "temperature_schedule": "constant"}
    drawn = loss(objective="sampling", **options)
    torch.testing.assert_close(drawn, loss(objective="closed_form", **options), rtol=0.03, atol=0)


@pytest.mark.parametrize("objective", ["discrete", "sampling"])
@pytest.mark.parametrize(("weight", "where"), [(0.0, (1.0, 2.0)), (1.0, (1.3, 2.4))])
def test_the_expectation_s_error_lets_keypoints_lie_between_cells(objective, weight, where):
    # A map that is learnt by itself: the best one of samples alone has its mass on the cell next to the keypoint.
    options = {"temperature_start": 0.1, "temperature_schedule": "constant", "num_samples": 64}
    settings = ImageSettings(objective=objective, expectation_weight=weight, **options)
    learnt, generator = make_grid_objective(settings), torch.Generator().manual_seed(3)
    logits = torch.zeros(1, 1, 5, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        learnt(logits, GRID, torch.tensor([[[1.3, 2.4]]]), 0.5, generator).sum().backward()
        optimizer.step()
    found = GridArgmax(GRID).eval()(logits).flatten()
    torch.testing.assert_close(found, torch.tensor(where), atol=0.05, rtol=0)


def test_the_distances_and_the_beta_in_cells():
    smooth = loss(objective="soft", distance="smooth_l1", smooth_l1_beta=0.5)
    torch.testing.assert_close(smooth, core.error_of_expectation(LOGITS, GRID, TARGET, distance=SmoothL1(0.5)))


def test_maps_with_one_and_three_axes_are_taken_too():
    line = loss(objective="soft", grid=Grid((5,)), logits=LOGITS[..., 0], target=TARGET[..., :1])
    assert line.shape == (2, 3)
    maps = LOGITS.unsqueeze(2).expand(-1, -1, 2, -1, -1)
    cube = loss(grid=Grid((2, 5, 4)), logits=maps, target=TARGET[..., [0, 1, 1]])
    assert cube.shape == (2, 3)
    assert cube.isfinite().all()


@pytest.mark.parametrize("objective", ["soft", "sampling"])
def test_the_sign_changes_the_gradient_and_not_the_value(objective):
    options = {"objective": objective, "num_samples": 3, "temperature_schedule": "constant"}
    gradients, values = [], []
    for kind in ("exact", "sign"):
        logits = LOGITS.clone().requires_grad_()
        value = loss(logits=logits, coordinate_gradient=kind, **options)
        value.sum().backward()
        values.append(value.detach())
        gradients.append(logits.grad)
    if objective == "soft":  # samples are drawn in another order
        torch.testing.assert_close(*values)
    assert not torch.allclose(*gradients)
    layer = GridArgmax(GRID, Triangular(), 3, 2.0, coordinate_gradient="sign").train(objective == "sampling")
    logits = LOGITS.clone().requires_grad_()
    samples = layer(logits, generator=torch.Generator().manual_seed(7))
    (samples - TARGET.unsqueeze(1)).abs().sum(dim=-1).mean(dim=1).sum().backward()
    torch.testing.assert_close(gradients[1], logits.grad)


def test_the_sign_goes_with_the_expectation_s_error_too():
    logits = LOGITS.clone().requires_grad_()
    options = {"coordinate_gradient": "sign", "num_samples": 3}
    both = loss(logits=logits, expectation_weight=0.5, **options)
    parts = loss(logits=logits, **options), loss(logits=logits, objective="soft", coordinate_gradient="sign")
    torch.testing.assert_close(both, parts[0] + 0.5 * parts[1])
    gradients = [torch.autograd.grad(value.sum(), logits)[0] for value in (both, *parts)]
    torch.testing.assert_close(gradients[0], gradients[1] + 0.5 * gradients[2])


def test_the_temperature_follows_the_schedule():
    published = make_temperature(ImageSettings(epochs=100, temperature_schedule="published"))
    assert [published(p) for p in (0.0, 0.1, 0.5)] == [2.0, 2 - 3 * 10 / 50, 0.5]
    settings = ImageSettings(temperature_schedule="linear", temperature_start=3.0, temperature_end=1.0)
    assert make_temperature(settings)(0.25) == 2.0
    warm = loss(0.0, num_samples=1)
    assert not torch.equal(warm, loss(0.9, num_samples=1))
    assert torch.equal(loss(0.0, objective="soft"), loss(0.9, objective="soft"))
    assert dataclasses.replace(settings, temperature_end=0.5) != settings
