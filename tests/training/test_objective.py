import pytest
import torch

from pcsargmax.argmax import soft_argmax
from pcsargmax.bases import Gaussian
from pcsargmax.losses import distance, expected_error
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.training.objective import basis_sigma, make_objective
from pcsargmax.training.settings import TrainSettings


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


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["l1", "l2", "squared_l2"])
def test_soft_is_the_error_of_the_soft_argmax(scores, kind):
    found = make_objective(TrainSettings(objective="soft", distance=kind))(scores, TARGET, SIGMA, 0.3, None)
    expectation = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    torch.testing.assert_close(found, distance(expectation, TARGET, kind))
    assert found.shape == (2, 2)


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize(
    ("schedule", "progress", "temperature"),
    [
        ("constant", 0.9, 2.0),
        ("linear", 0.2, 1.4),
        ("linear", 0.7, 0.5),
        ("exponential", 0.25, 1.0),
        ("linear", 0.0, 2.0),
    ],
)
def test_sampling_is_the_core_with_the_schedules_temperature(scores, schedule, progress, temperature, closed_form):
    settings = TrainSettings(num_samples=3, distance="l2", temperature_schedule=schedule, closed_form=closed_form)
    found = make_objective(settings)(scores, TARGET, SIGMA, progress, seeded())
    direct = expected_error(
        scores.logits,
        scores.sites,
        TARGET,
        basis=Gaussian(SIGMA),
        num_samples=3,
        temperature=temperature,
        distance="l2",
        mask=scores.mask,
        generator=seeded(),
        closed_form=closed_form,
    )
    torch.testing.assert_close(found, direct)
    assert torch.equal(found, make_objective(settings)(scores, TARGET, SIGMA, progress, seeded()))
    assert not torch.equal(found, make_objective(settings)(scores, TARGET, SIGMA, progress, seeded(1)))


def test_the_closed_form_is_the_mean_over_the_basis_noise(scores):
    # One relaxed draw has one value of the closed form; many samples agree in the mean whichever way it is taken.
    means = []
    for closed_form in (False, True):
        settings = TrainSettings(num_samples=4000, closed_form=closed_form)
        means.append(make_objective(settings)(scores, TARGET, SIGMA, 0.5, seeded()).detach())
    torch.testing.assert_close(*means, rtol=0.03, atol=0)


def test_padding_has_no_effect(scores):
    objective = make_objective(TrainSettings(objective="soft"))
    found = objective(scores, TARGET, SIGMA, 0.0, None)
    found.sum().backward()
    assert torch.equal(scores.logits.grad[1, :, 6:], torch.zeros(2, 3))
    changed = scores._replace(sites=scores.sites.masked_fill(~scores.mask[..., None], 1e6))
    torch.testing.assert_close(objective(changed, TARGET, SIGMA, 0.0, None), found)


def test_sigma_is_the_neighbour_distance_or_a_raw_length():
    neighbors, scale = torch.tensor([0.01, 0.02]), torch.tensor([[2.0], [500.0]], dtype=torch.float64)
    assert basis_sigma(TrainSettings(), neighbors, scale) is neighbors
    raw = basis_sigma(TrainSettings(sigma="5"), neighbors, scale)
    assert raw.dtype == torch.float32
    assert raw.tolist() == pytest.approx([2.5, 0.01])
    assert basis_sigma(TrainSettings(sigma="0"), neighbors, scale).tolist() == [0, 0]
