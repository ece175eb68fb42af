"""The stages in which a detector places the keypoints of a cloud: map, prior, look, prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.models.keypoint_detector import KeypointDetector, Scores
from pcsargmax.models.second_look import DensePoints
from pcsargmax.models.shape_noise import with_noise
from pcsargmax.models.shape_prior import ShapePrior
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Measure
from pcsargmax.runs.prepare import dense_sigma

StageName: TypeAlias = Literal["map", "prior", "look", "template"]
"""What places the keypoints in a stage: maps over the sites, the shape prior, the second look, or the template."""


class Stage(NamedTuple):
    """Where the keypoints of B clouds are after a stage, in the unit frame.

    Attributes:
        name: of the stage.
        mean: (B, K, 3).
        covariance: (B, K, 3, 3).
    """

    name: StageName
    mean: Tensor
    covariance: Tensor

    def to(self, device: torch.device | str) -> Stage:
        """Return the stage with its tensors on a device."""
        return Stage(self.name, self.mean.to(device), self.covariance.to(device))


class View(NamedTuple):
    """What a detector sees in the first look at B clouds.

    Attributes:
        maps: over the sites.
        scores: they are made of.
        sigma: (B,) width of the basis around the sites.
        dense: points for the second look; None: the sites.
    """

    maps: KeypointDistribution
    scores: Scores
    sigma: Tensor
    dense: DensePoints | None


@dataclass(frozen=True, eq=False, kw_only=True)
class PriorUse:
    """The shape prior of a run, and how far its detector is trusted beside it.

    Attributes:
        prior: of the annotated keypoints.
        map_noise: (K,) standard deviation per axis of the error of the maps, unit frame; None: the prior does not
            follow the maps.
        look_noise: (K,) that of the second look; None: the prior does not follow it.
    """

    prior: ShapePrior
    map_noise: Tensor | None
    look_noise: Tensor | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for checkpoints; `from_dict` gives the same back, bit for bit."""
        noises = {"map_noise": self.map_noise, "look_noise": self.look_noise}
        return {"prior": self.prior.to_dict()} | {
            name: None if noise is None else noise.tolist() for name, noise in noises.items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote.

        Raises:
            ValueError: keys that are missing or unknown, noise that is not of the prior's keypoints or no standard
                deviation, or as `ShapePrior.from_dict`.
        """
        if set(values) != {"prior", "map_noise", "look_noise"}:
            raise ValueError(
                f"the use of a shape prior must have the keys prior, map_noise and look_noise, got {sorted(values)}"
            )
        prior = ShapePrior.from_dict(values["prior"])

        def noise(name: str) -> Tensor | None:
            if values[name] is None:
                return None
            found = torch.tensor(values[name], dtype=torch.float64)
            if found.shape != prior.num_seen.shape or not (found.isfinite() & (found >= 0)).all():
                raise ValueError(
                    f"{name}: expected {len(prior.num_seen)} finite numbers of at least 0, one per keypoint of the "
                    f"shape prior, got {values[name]}"
                )
            return found

        return cls(prior=prior, map_noise=noise("map_noise"), look_noise=noise("look_noise"))


def view_of(scores: Scores, sigma: Tensor, dense: DensePoints | None = None) -> View:
    """Return what a detector saw that gave these scores, with a basis of width sigma (B,)."""
    mask = None if scores.mask.all() else scores.mask
    maps = KeypointDistribution(scores.logits, scores.sites, mask, Gaussian(sigma), scores.presence.sigmoid())
    return View(maps, scores, sigma, dense)


def measure_of(detector: KeypointDetector) -> Measure:
    """Return the measure of confidence that suits a detector.

    After a second look the spread of the first maps tells right from wrong better than their probability near the
    result: Pearson's r with an error of at most 2 % is .22 .27 .36 .34 against .20 .19 .25 .31 (validation shapes of
    two runs on mugs and two on teeth), and the spread of the second maps has .14 .21 .35 .41.
    """
    return "threshold_mass" if detector.second_look is None else "spread"


def map_stage(views: Sequence[View]) -> Stage:
    """The expectations and covariances of the maps, of several views of the same clouds those of their mixture."""
    return _mixture([Stage("map", view.maps.mean, view.maps.covariance) for view in views])


def look_stage(detector: KeypointDetector, views: Sequence[View], center: Tensor) -> Stage:
    """Where a second look around each center (B, K, 3) finds the keypoints, of several views their mixture.

    It is taken twice, the second time around what the first time found: on validation mugs PCK@0.01 then rises from
    45.9 to 51.8, and from 55.9 to 60.0 after the shape prior.
    """
    for _ in range(2):
        stage = _mixture([_look(detector, view, center) for view in views])
        center = stage.mean
    return stage


def prior_stage(prior: ShapePrior, noise: Tensor, before: Stage, measured: Tensor | None = None) -> Stage:
    """The keypoints of a stage combined with the shape prior.

    Args:
        prior: of the shapes.
        noise: (K,) of the stage.
        before: that stage.
        measured: (B, K) bool, the keypoints that it found at all; the others are estimated from them.
    """
    found = prior.posterior(before.mean, with_noise(before.covariance, noise), measured)
    # What the measured keypoints do not determine stays where it was.
    known = found.covariance.isfinite().flatten(2).all(dim=2)
    mean = torch.where(known[..., None], found.mean, before.mean.double())
    covariance = torch.where(known[..., None, None], found.covariance, before.covariance.double())
    return Stage("prior", mean.to(before.mean), covariance.to(before.covariance))


def template_stage(template: Template, deviation: Tensor, clouds: Sequence[Tensor]) -> Stage:
    """The template on clouds (N, 3) each, where a detector does not beat it.

    Args:
        template: of the training shapes.
        deviation: (K,) standard deviation per axis of its error, in the unit of the clouds.
        clouds: one or several.
    """
    mean = torch.stack([template.predict(pos) for pos in clouds])
    covariance = torch.diag_embed(deviation.double().square()[:, None].expand(-1, 3))
    return Stage("template", mean.float(), covariance.float().expand(len(clouds), -1, -1, -1))


def locate(
    detector: KeypointDetector, views: Sequence[View], use: PriorUse | None = None, measured: Tensor | None = None
) -> list[Stage]:
    """Place the keypoints, stage by stage.

    Args:
        detector: with or without a second look.
        views: one or several of the same clouds, all in the same frame.
        use: of the shape prior; None: there is none.
        measured: (B, K) bool, the keypoints that exist as the detector sees it; None: all.

    Returns:
        The stages in their order; the last one is the result.
    """
    stages = [map_stage(views)]
    if use is not None and use.map_noise is not None:
        stages.append(prior_stage(use.prior, use.map_noise, stages[-1], measured))
    if detector.second_look is not None:
        stages.append(look_stage(detector, views, stages[-1].mean))
        if use is not None and use.look_noise is not None:
            stages.append(prior_stage(use.prior, use.look_noise, stages[-1], measured))
    return stages


def _look(detector: KeypointDetector, view: View, center: Tensor) -> Stage:
    logits, sites, mask = detector.look_again(view.scores, center.to(view.scores.sites), view.dense).maps()
    width = dense_sigma(view.sigma, view.scores, view.dense).repeat_interleave(center.shape[1])
    maps = KeypointDistribution(logits, sites, mask, Gaussian(width))
    shape = center.shape[:2]
    return Stage("look", maps.mean[:, 0].unflatten(0, shape), maps.covariance[:, 0].unflatten(0, shape))


def _mixture(parts: list[Stage]) -> Stage:
    """Mean and covariance of the mixture of several estimates of the same keypoints."""
    if len(parts) == 1:
        return parts[0]
    means = torch.stack([part.mean for part in parts])
    mean = means.mean(dim=0)
    away = means - mean
    between = torch.einsum("nbki,nbkj->bkij", away, away) / len(parts)
    return Stage(parts[0].name, mean, torch.stack([part.covariance for part in parts]).mean(dim=0) + between)
