from types import SimpleNamespace

import pytest
import torch
from fixtures.shapes import everywhere, randn, truly_similar

from pcsargmax.models.keypoint_detector import KeypointDetector, Scores
from pcsargmax.models.second_look import LocalScores
from pcsargmax.models.shape_noise import fit_noise
from pcsargmax.models.shape_prior import ShapePrior
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.runs.prepare import basis_sigma, prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.runs.stages import locate, map_stage, view_of
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.detector.held_out import HeldOut, fit_held_out, see_held_out

K, SIGMA = 7, 0.02


class Looking:
    """A detector whose second look at a shape puts keypoint k where `where` says, given center (1, K, 3)."""

    def __init__(self, where) -> None:
        self.second_look = self.where = where

    def look_again(self, scores, center, dense) -> LocalScores:
        return LocalScores(torch.zeros(1, K, 1), self.where(center).float()[:, :, None], torch.zeros(1, K, 3))


def alike(count: int = 12) -> torch.Tensor:
    """Shapes that vary in three ways only, of about one size."""
    return torch.stack([shape / shape.std() / 10 for shape in truly_similar(count, num_keypoints=K)])


def held_out(truth, predicted, visible=None, second_look=None, template=None) -> list[HeldOut]:
    """Shapes whose maps have all their mass on the site of each keypoint; the template is far off, if none is given."""
    template = truth.mean(dim=0) + 1 if template is None else template
    visible = everywhere(truth) if visible is None else visible
    held = []
    for row in range(len(truth)):
        sites = predicted[row : row + 1].float()
        scores = Scores(1e3 * torch.eye(K)[None], sites, torch.ones(1, K, dtype=torch.bool), torch.zeros(1, K))
        detector = SimpleNamespace(second_look=None) if second_look is None else Looking(second_look(row))
        own = (truth[row : row + 1].float(), visible[row : row + 1], 2.0)
        held.append(HeldOut(detector, view_of(scores, torch.tensor([SIGMA])), template, *own))
    return held


def nothing(truth) -> tuple[torch.Tensor, torch.Tensor]:
    return truth[:0].float(), everywhere(truth)[:0]


def mean_error(found, truth) -> float:
    return float((found - truth).norm(dim=-1).mean())


def test_a_prior_is_chosen_where_shapes_are_alike():
    truth = alike()
    predicted = truth + 0.02 * randn(12, K, 3, seed=1)
    others = truth[:5] + 0.001, everywhere(truth[:5])
    fitted = fit_held_out(held_out(truth, predicted, template=truth.mean(dim=0)), others, use_prior=True)
    assert fitted.use.look_noise is None
    identity = SIGMA**2 * torch.eye(3).expand(12, K, 3, 3)
    direct = fit_noise(predicted.float(), identity, truth.float(), everywhere(truth), others=others)
    torch.testing.assert_close(fitted.use.map_noise, direct.noise, rtol=1e-4, atol=0)
    prior = ShapePrior.fit(torch.cat([truth, others[0]]), torch.ones(17, K, dtype=torch.bool))
    torch.testing.assert_close(fitted.use.prior.mean, prior.mean, rtol=0, atol=1e-6)
    assert fitted.mean_error == pytest.approx(2 * mean_error(direct.mean, truth), rel=1e-4)  # 2 is the length
    assert fitted.mean_error < 0.9 * 2 * mean_error(predicted, truth)
    assert fitted.template_mean_error == pytest.approx(2 * mean_error(truth.mean(dim=0), truth), rel=1e-5)


def test_no_prior_is_chosen_where_keypoints_have_no_shape():
    truth = randn(12, K, 3) / 10
    predicted = truth + 0.002 * randn(12, K, 3, seed=1)
    fitted = fit_held_out(held_out(truth, predicted), nothing(truth), use_prior=True)
    assert fitted.use is None
    assert fitted.mean_error == pytest.approx(2 * mean_error(predicted, truth), rel=1e-4)


def test_no_prior_is_tried_where_none_is_wanted():
    truth = alike()
    predicted = truth + 0.02 * randn(12, K, 3, seed=1)
    fitted = fit_held_out(held_out(truth, predicted), nothing(truth), use_prior=False)
    assert fitted.use is None
    assert fitted.mean_error == pytest.approx(2 * mean_error(predicted, truth), rel=1e-4)


def test_the_prior_follows_the_second_look_where_that_helps():
    truth = alike()
    predicted, off = truth + 0.02 * randn(12, K, 3, seed=1), 0.02 * randn(12, K, 3, seed=2)
    # However good its center, the look errs by as much.
    held = held_out(truth, predicted, second_look=lambda row: lambda center: truth[row : row + 1] + off[row])
    fitted = fit_held_out(held, nothing(truth), use_prior=True)
    assert (fitted.use.map_noise, fitted.use.look_noise.shape) == (None, (K,))
    assert fitted.mean_error < 0.9 * 2 * mean_error(truth + off, truth)


def test_the_prior_follows_the_maps_where_the_look_needs_it():
    truth = alike()
    predicted = truth + 0.03 * randn(12, K, 3, seed=1)
    posterior = fit_noise(predicted, SIGMA**2 * torch.eye(3).expand(12, K, 3, 3), truth, everywhere(truth)).mean
    # It finds what lies near its center, within the largest error of the prior, and else gives the center back.
    reach = (posterior - truth).norm(dim=-1).max() + 1e-3
    assert ((predicted - truth).norm(dim=-1) > reach).any()

    def second_look(row):
        def where(center):
            near = (center - truth[row]).norm(dim=-1, keepdim=True) < reach
            return torch.where(near, truth[row : row + 1].float(), center)

        return where

    fitted = fit_held_out(held_out(truth, predicted, second_look=second_look), nothing(truth), use_prior=True)
    assert (fitted.use.map_noise.shape, fitted.use.look_noise) == ((K,), None)
    assert fitted.mean_error < 1e-5


def test_no_prior_is_chosen_where_the_look_is_right_without():
    truth = alike()
    predicted = truth + 0.02 * randn(12, K, 3, seed=1)
    held = held_out(truth, predicted, second_look=lambda row: lambda center: truth[row : row + 1])
    fitted = fit_held_out(held, nothing(truth), use_prior=True)
    assert fitted.use is None
    assert fitted.mean_error < 1e-5


def calibration(held, mean, visible, measure="threshold_mass") -> Calibration:
    """Fitted to where the keypoints are after the last stage, by what the maps say."""
    maps = [one.view.maps for one in held]
    measured = torch.cat(
        [confidence_measure(one, measure, center=at[None]) for one, at in zip(maps, mean, strict=True)]
    )
    error = (mean - torch.cat([one.truth for one in held])).norm(dim=-1)
    spread = torch.cat([one.spread for one in maps])
    return Calibration.fit(measured[visible], spread[visible], error[visible], measure=measure)


def test_the_last_stage_is_calibrated():
    truth = alike()
    predicted, visible = (truth + 0.02 * randn(12, K, 3, seed=1)).float(), everywhere(truth)
    visible[2, 1:] = False
    held, covariance = held_out(truth, predicted, visible), SIGMA**2 * torch.eye(3).expand(12, K, 3, 3)
    fitted = fit_held_out(held, nothing(truth), use_prior=False)
    assert fitted.calibration.num_keypoints == 12 * K - (K - 1)
    assert fitted.calibration == calibration(held, predicted, visible)
    with pytest.warns(UserWarning, match="1 of 12 shapes have too few visible keypoints"):
        fitted = fit_held_out(held, nothing(truth), use_prior=True)
    last = fit_noise(predicted, covariance, truth.float(), visible, others=nothing(truth)).mean.float()
    expected = calibration(held, last, visible)
    assert fitted.calibration.quantile == pytest.approx(expected.quantile, rel=1e-4)
    assert fitted.calibration.quantile < 0.9 * calibration(held, predicted, visible).quantile


def test_after_a_second_look_confidence_is_by_the_spread():
    truth = alike()
    off = 0.02 * randn(12, K, 3, seed=2)
    held = held_out(truth, truth, second_look=lambda row: lambda center: truth[row : row + 1] + off[row])
    fitted = fit_held_out(held, nothing(truth), use_prior=False)
    assert fitted.calibration.measure == "spread"
    expected = calibration(held, (truth + off).float(), everywhere(truth), "spread")
    assert fitted.calibration.quantile == pytest.approx(expected.quantile, rel=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_shapes_have_a_calibration_and_no_prior(count):
    truth = alike(count)
    predicted = truth + 0.02 * randn(count, K, 3, seed=1)
    fitted = fit_held_out(held_out(truth, predicted), (alike(), everywhere(alike())), use_prior=True)
    assert fitted.use is None
    assert fitted.calibration.num_keypoints == count * K
    assert fitted.mean_error == pytest.approx(2 * mean_error(predicted, truth), rel=1e-4)


def test_shapes_that_are_none_are_said_and_cost_no_more_than_the_prior():
    truth = alike()
    truth[3] = truth[3, 0]
    with pytest.warns(UserWarning, match="the shape prior is not used: keypoints: the 7 of shape . lie in one place"):
        fitted = fit_held_out(held_out(truth, truth + 0.02 * randn(12, K, 3)), nothing(truth), use_prior=True)
    assert fitted.use is None
    assert fitted.calibration.num_keypoints == 12 * K


@pytest.mark.parametrize("unit", ["raw", "diagonal"])
def test_shapes_are_seen_as_in_validation(look_settings, unit):
    settings = look_settings(sigma=0.7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = KeypointDetector(3, "light", look_points=16)
    raw = open_dataset(settings, "trainval")
    template = Template.fit(raw)
    clouds = PreparedClouds([prepare(item, detector.backbone) for item in raw], detector.backbone, dense_points=60)
    held = list(see_held_out(detector, settings, clouds, template, unit))
    assert len(held) == len(clouds)
    for number, one in enumerate(held):
        item, neighborhoods = clouds[number]
        with torch.no_grad():
            scores = one.detector(item.pos, None, None, neighborhoods)
            expected = locate(detector, [view_of(scores, basis_sigma(settings, item.sigma, item.frame_scale))])
            assert torch.equal(map_stage([one.view]).mean, expected[0].mean)
        assert torch.equal(one.view.dense.pos[0], item.dense_pos)
        torch.testing.assert_close(one.view.maps.basis.sigma, (0.7 / item.frame_scale[0]).float())
        assert torch.equal(one.truth, item.keypoint_pos)
        assert torch.equal(one.visible, item.keypoint_visible)
        torch.testing.assert_close(one.template, template.predict(item.pos))
        assert one.length == pytest.approx(item.frame_scale.item() if unit == "raw" else 1)
    assert not detector.training


def test_the_template_takes_the_place_of_a_detector_that_does_not_beat_it():
    truth = alike()
    mean = truth.mean(dim=0)
    worse = truth + 3 * (truth - mean).abs().max() * randn(12, K, 3, seed=1)
    fitted = fit_held_out(held_out(truth, worse, template=mean), nothing(truth), use_prior=False)
    squares = (truth - mean).square().mean()
    torch.testing.assert_close(fitted.template_deviation, squares.sqrt().expand(K), rtol=1e-4, atol=0)
    assert fitted.mean_error >= fitted.template_mean_error
    assert fitted.calibration.form == "plain"
    errors = (truth - mean).norm(dim=-1)
    assert errors.quantile(0.85) < fitted.calibration.radius(torch.tensor(1.0)) <= errors.max() + 1e-6
    better = fit_held_out(held_out(truth, truth, template=mean), nothing(truth), use_prior=False)
    assert better.template_deviation is None
