import pytest
import torch
from reference.pairwise import pairwise

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distances import SmoothL1, distance
from pcsargmax.core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.models.second_look import LocalScores
from pcsargmax.settings.common import OBJECTIVES
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.detector.objective import make_comparison, make_look_objective, make_objective


@pytest.fixture
def scores() -> Scores:
    """Two clouds of 9 and 6 points, two keypoints."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    return Scores(
        logits=torch.randn(2, 2, 9, generator=generator, requires_grad=True),
        sites=torch.rand(2, 9, 3, generator=generator),
        mask=mask,
        presence=torch.zeros(2, 2),
    )


TARGET = torch.tensor([[[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]], [[0.9, 0.1, 0.4], [0.0, 0.0, 0.0]]])
SIGMA = torch.tensor([0.02, 0.05])
RELAXATIONS = ("gumbel_softmax", "published", "straight_through")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["l1", "l2", "squared_l2", "smooth_l1"])
def test_soft_is_the_error_of_the_soft_argmax(scores, kind):
    settings = TrainSettings(objective="soft", distance=kind, smooth_l1_beta=0.3)
    found = make_objective(settings)(scores, TARGET, SIGMA, 0.3, None)
    expectation = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    torch.testing.assert_close(found, distance(expectation, TARGET, SmoothL1(0.3) if kind == "smooth_l1" else kind))
    assert found.shape == (2, 2)


@pytest.mark.parametrize("kind", ["l1", "smooth_l1"])
def test_discrete_is_that_of_the_core(scores, kind):
    settings = TrainSettings(objective="discrete", distance=kind, smooth_l1_beta=0.3)
    found = make_objective(settings)(scores, TARGET, SIGMA, 0.3, None)
    distance = SmoothL1(0.3) if kind == "smooth_l1" else kind
    direct = discrete_expected_error(scores.logits, scores.sites, TARGET, distance=distance, mask=scores.mask)
    assert torch.equal(found, direct)


@pytest.mark.parametrize(
    ("name", "error"), [("soft_vr", variance_regularized_error), ("soft_dr", distribution_regularized_error)]
)
def test_regularizers_count_in_widths_of_the_basis(scores, name, error):
    settings = TrainSettings(objective=name, regularizer_weight=0.2, target_variance=3.0, distance="l2")
    found = make_objective(settings)(scores, TARGET, SIGMA, 0.3, None)
    changes = {"weight": 0.2, "target_variance": 3.0, "spacing": SIGMA, "distance": "l2", "mask": scores.mask}
    assert torch.equal(found, error(scores.logits, scores.sites, TARGET, **changes))
    assert not torch.equal(found, make_objective(settings)(scores, TARGET, 2 * SIGMA, 0.3, None))


#: Schedule, progress, and the temperature there.
TEMPERATURES = [
    ("constant", 0.9, 2.0),
    ("linear", 0.2, 1.4),
    ("linear", 0.7, 0.5),
    ("exponential", 0.25, 1.0),
    ("linear", 0.0, 2.0),
    ("published", 0.1, 1.4),  # epoch 10 of 100: 2 − 30/50
    ("published", 0.3, 0.5),
]


@pytest.mark.parametrize(
    ("objective", "relaxation", "at"),
    [(("sampling", "closed_form")[i % 2], RELAXATIONS[i % 3], at) for i, at in enumerate(TEMPERATURES)],
)
def test_sampling_is_the_core_with_the_schedules_temperature(scores, objective, relaxation, at):
    schedule, progress, temperature = at
    settings = TrainSettings(
        objective=objective, num_samples=3, distance="l2", temperature_schedule=schedule, relaxation=relaxation
    )
    found = make_objective(settings)(scores, TARGET, SIGMA, progress, seeded())
    direct = expected_error(
        scores.logits,
        scores.sites,
        TARGET,
        basis=Gaussian(SIGMA),
        num_samples=3,
        temperature=temperature,
        relaxation=relaxation,
        distance="l2",
        mask=scores.mask,
        generator=seeded(),
        closed_form=objective == "closed_form",
    )
    torch.testing.assert_close(found, direct)
    assert torch.equal(found, make_objective(settings)(scores, TARGET, SIGMA, progress, seeded()))
    assert not torch.equal(found, make_objective(settings)(scores, TARGET, SIGMA, progress, seeded(1)))


@pytest.mark.parametrize("kind", ["l1", "smooth_l1"])
def test_the_closed_form_is_the_mean_over_the_basis_noise(scores, kind):
    # One relaxed draw has one value of the closed form; many samples agree in the mean whichever way it is taken.
    means = []
    for objective in ("sampling", "closed_form"):
        settings = TrainSettings(objective=objective, num_samples=4000, distance=kind, smooth_l1_beta=0.3)
        means.append(make_objective(settings)(scores, TARGET, SIGMA, 0.5, seeded()).detach())
    torch.testing.assert_close(*means, rtol=0.03, atol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_expectation_s_error_stands_beside_that_of_samples_and_sites(scores, name):
    plain, with_it = (
        make_objective(TrainSettings(objective=name, expectation_weight=weight))(scores, TARGET, SIGMA, 0.3, seeded())
        for weight in (0.0, 0.5)
    )
    own = error_of_expectation(scores.logits, scores.sites, TARGET, mask=scores.mask)
    torch.testing.assert_close(with_it, plain if name.startswith("soft") else plain + 0.5 * own)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_padding_has_no_effect(scores, name):
    objective = make_objective(TrainSettings(objective=name, expectation_weight=0.5))
    found = objective(scores, TARGET, SIGMA, 0.0, seeded())
    assert found.shape == (2, 2)
    found.sum().backward()
    assert torch.equal(scores.logits.grad[1, :, 6:], torch.zeros(2, 3))
    assert (scores.logits.grad[1, :, :6] != 0).all()
    changed = scores._replace(sites=scores.sites.masked_fill(~scores.mask[..., None], 1e6))
    torch.testing.assert_close(objective(changed, TARGET, SIGMA, 0.0, seeded()), found)


@pytest.fixture(params=[False, True], ids=["whole", "masked"])
def look(request) -> LocalScores:
    """Two clouds, two keypoints, seven local sites, the last three of the second keypoint masked where asked for."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(7) < torch.tensor([[7], [4]])).expand(2, 2, 7) if request.param else None
    logits, sites = torch.randn(2, 2, 7, generator=generator), torch.rand(2, 2, 7, 3, generator=generator)
    return LocalScores(logits.requires_grad_(), sites, 0.1 * torch.randn(2, 2, 3, generator=generator), mask)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in ("sampling", "closed_form")])
def test_the_objective_of_a_second_look_is_that_of_each_keypoint(look, name):
    settings = TrainSettings(objective=name, expectation_weight=0.5)
    found = make_look_objective(settings)(look, TARGET, SIGMA, 0.3, None)
    for b in range(2):
        for k in range(2):
            real = slice(None) if look.mask is None else look.mask[b, k]
            alone = Scores(
                look.logits[b, k, real][None, None],
                (look.sites[b, k, real] + look.offset[b, k])[None],
                torch.ones(1, len(look.logits[b, k, real]), dtype=torch.bool),
                torch.zeros(1, 1),
            )
            expected = make_objective(settings)(alone, TARGET[b, k][None, None], SIGMA[b : b + 1], 0.3, None)
            torch.testing.assert_close(found[b, k], expected[0, 0])


@pytest.mark.parametrize("name", ["sampling", "closed_form"])
def test_a_second_look_can_be_sampled(look, name):
    settings = TrainSettings(objective=name, num_samples=3, distance="l2", temperature_schedule="constant")
    found = make_look_objective(settings)(look, TARGET, SIGMA, 0.3, seeded())
    logits, sites, mask = look.maps()
    direct = expected_error(
        logits,
        sites,
        TARGET.flatten(0, 1)[:, None],
        basis=Gaussian(SIGMA.repeat_interleave(2)),
        num_samples=3,
        temperature=2.0,
        distance="l2",
        mask=mask,
        generator=seeded(),
        closed_form=name == "closed_form",
    )
    torch.testing.assert_close(found, direct[:, 0].unflatten(0, (2, 2)))
    found.sum().backward()
    assert (look.logits.grad.abs().sum(dim=-1) > 0).all()


def test_a_second_look_may_have_an_objective_of_its_own(look):
    own = TrainSettings(objective="sampling", look_objective="soft")
    same = TrainSettings(objective="soft")
    assert own.look_objective != same.look_objective == "same"
    found, expected = (make_look_objective(one)(look, TARGET, SIGMA, 0.3, None) for one in (own, same))
    assert torch.equal(found, expected)


TARGETS = torch.stack([TARGET, TARGET.flip(1), TARGET + 0.1], dim=1)


@pytest.mark.parametrize(("name", "relaxation", "weight"), pairwise(OBJECTIVES, RELAXATIONS, [0.0, 0.7]))
def test_targets_are_compared_by_the_objective_itself(scores, name, relaxation, weight):
    kind = "l1" if name == "closed_form" else "smooth_l1"
    changes = {"distance": kind, "smooth_l1_beta": 0.3, "num_samples": 4, "expectation_weight": weight}
    settings = TrainSettings(objective=name, relaxation=relaxation, **changes)
    found = make_comparison(settings)(scores, TARGETS, SIGMA, 0.3, seeded())
    objective = make_objective(settings)
    each = torch.stack([objective(scores, target, SIGMA, 0.3, seeded()) for target in TARGETS.unbind(1)], dim=1)
    same = each[:, :1] - found[:, :1]  # the regularizer, which tells no target from another
    torch.testing.assert_close(found + same, each)
    assert bool((same.abs() > 1e-5).any()) == name.startswith("soft_")
    assert not found.requires_grad
