"""What is fitted to shapes held out once a detector has been trained: use of the shape prior, and calibration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.shape_noise import FittedNoise, fit_noise, fold_priors
from pcsargmax.models.shape_prior import ShapePrior
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration, RadiusForm
from pcsargmax.predictions.calibration_samples import CalibrationSamples
from pcsargmax.runs.prepare import basis_sigma
from pcsargmax.runs.stages import PriorUse, Stage, View, look_stage, map_stage, measure_of, view_of
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedClouds


class HeldOut(NamedTuple):
    """A shape that a detector was not trained on, as it sees it, in the unit frame.

    Attributes:
        detector: that sees it.
        view: of the shape.
        template: (K, 3) where the template of the training shapes is on it.
        truth: (1, K, 3).
        visible: (1, K) bool.
        length: of one unit of the unit frame, in the unit of the results of the run.
    """

    detector: KeypointDetector
    view: View
    template: Tensor
    truth: Tensor
    visible: Tensor
    length: float


class Fitted(NamedTuple):
    """What was fitted to M shapes held out.

    Attributes:
        use: of the shape prior; None where it does not help.
        calibration: of confidence and radius of the last stage.
        mean_error: of that stage, each shape with a prior of other shapes, in the unit of the results of the run.
        template_mean_error: of the template.
        template_deviation: (K,) of the template's error per axis, unit frame, where the last stage does not beat it
            and it takes its place; else None.
    """

    use: PriorUse | None
    calibration: Calibration
    mean_error: float
    template_mean_error: float
    template_deviation: Tensor | None


@torch.inference_mode()
def see_held_out(
    detector: KeypointDetector, settings: TrainSettings, clouds: PreparedClouds, template: Template, unit: str
) -> Iterator[HeldOut]:
    """Look at prepared clouds that the detector was not trained on, one by one.

    Args:
        detector: and the template of the shapes that it was trained on.
        settings: of the run.
        clouds: prepared.
        template: see above.
        unit: "raw" or "diagonal", of the results of the run.
    """
    detector = detector.eval()
    for number in range(len(clouds)):
        batch = clouds.collate([clouds[number]])
        scores = detector(batch.clouds.pos, None, None, batch.neighborhoods)
        sigma = basis_sigma(settings, batch.clouds.sigma, batch.clouds.frame_scale)
        yield HeldOut(
            detector,
            view_of(scores, sigma, batch.dense),
            template.predict(batch.clouds.pos),
            batch.clouds.keypoint_pos,
            batch.clouds.keypoint_visible,
            float(batch.clouds.frame_scale) if unit == "raw" else 1.0,
        )


@torch.inference_mode()
def fit_held_out(held: Sequence[HeldOut], others: tuple[Tensor, Tensor], *, use_prior: bool) -> Fitted:
    """Choose where the shape prior is used, how far the detector is trusted beside it, and calibrate the result.

    The prior may follow the maps, the second look, both or neither: taken is what errs least on the shapes held out,
    each given a prior of other shapes.

    Args:
        held: the shapes.
        others: keypoints (N, K, 3) and visible (N, K) of further shapes for the prior.
        use_prior: whether it is tried at all.

    Warns:
        UserWarning: no shape prior can be fitted to the shapes; and as `ShapePrior.fit`.
    """
    truth, visible = torch.cat([one.truth for one in held]), torch.cat([one.visible for one in held])
    use, last = None, None
    if use_prior:
        try:
            use, last = _with_prior(held, truth, visible, others)
        except ValueError as reason:  # the training is not to be lost for it
            warnings.warn(f"the shape prior is not used: {reason}", stacklevel=2)
    if last is None:
        last = _tried(held, truth, visible, None)[0][2]
    template = torch.stack([one.template for one in held])
    lengths = torch.tensor([one.length for one in held])[:, None]

    def mean_error(guess: Tensor) -> float:
        return float(((guess - truth).norm(dim=-1) * lengths)[visible].mean())

    error, template_error = mean_error(last.mean), mean_error(template)
    if error < template_error:
        return Fitted(use, _calibrated(held, last.mean, "scaled"), error, template_error, None)
    deviation = (template - truth).square().mean(dim=-1)[visible].mean().sqrt().expand(truth.shape[1])
    # The maps say nothing of how far the template is off.
    return Fitted(use, _calibrated(held, template, "plain"), error, template_error, deviation)


#: The noise of maps and second look, None where no prior follows, and the stage that comes of it.
_Trial: TypeAlias = tuple[Tensor | None, Tensor | None, Stage]


def _with_prior(
    held: Sequence[HeldOut], truth: Tensor, visible: Tensor, others: tuple[Tensor, Tensor]
) -> tuple[PriorUse | None, Stage]:
    """The use of the prior that errs least, None if that is none, and the last stage with it."""
    tried = _tried(held, truth, visible, fold_priors(truth, visible, others=others))
    map_noise, look_noise, last = min(tried, key=lambda one: float((one[2].mean - truth).norm(dim=-1)[visible].mean()))
    if map_noise is None and look_noise is None:
        return None, last
    shapes = [torch.cat(parts) for parts in zip((truth, visible), others, strict=True)]
    return PriorUse(prior=ShapePrior.fit(*shapes), map_noise=map_noise, look_noise=look_noise), last


def _tried(
    held: Sequence[HeldOut], truth: Tensor, visible: Tensor, priors: Sequence[ShapePrior] | None
) -> list[_Trial]:
    """Each use of the prior that is worth a try, that without any first."""

    def fitted(stage: Stage) -> FittedNoise | None:
        return None if priors is None else fit_noise(stage.mean, stage.covariance, truth, visible, priors=priors)

    maps = _joined(held, lambda one, _: map_stage([one.view]))
    noise = fitted(maps)
    starts = [(None, maps)] if noise is None else [(None, maps), (noise.noise, _held_out_stage(noise))]
    if held[0].detector.second_look is None:
        return [(map_noise, None, start) for map_noise, start in starts]
    tried: list[_Trial] = []
    for map_noise, start in starts:
        look = _looked(held, start)
        tried.append((map_noise, None, look))
        noise = fitted(look)
        if noise is not None:
            tried.append((map_noise, noise.noise, _held_out_stage(noise)))
    return tried


def _held_out_stage(noise: FittedNoise) -> Stage:
    return Stage("prior", noise.mean, noise.covariance)


def _looked(held: Sequence[HeldOut], start: Stage) -> Stage:
    return _joined(held, lambda one, row: look_stage(one.detector, [one.view], start.mean[row][None]))


def _joined(held: Sequence[HeldOut], stage: Callable[[HeldOut, int], Stage]) -> Stage:
    """The stage of each shape, joined."""
    stages = [stage(one, row) for row, one in enumerate(held)]
    mean, covariance = torch.cat([one.mean for one in stages]), torch.cat([one.covariance for one in stages])
    return Stage(stages[0].name, mean, covariance)


def _calibrated(held: Sequence[HeldOut], mean: Tensor, form: RadiusForm) -> Calibration:
    """Fit confidence and radius to positions (M, K, 3)."""
    # Other processes of the training do not come here.
    samples = CalibrationSamples(measure_of(held[0].detector), sync_on_compute=False)
    for row, one in enumerate(held):
        samples.update(one.view.maps, one.truth, one.visible, mean=mean[row][None].to(one.truth))
    return samples.fit(form)
