"""What is minimised, by the name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis, Gaussian
from pcsargmax.core.distances import Distance, SmoothL1, distance, gaussian_expected_distance
from pcsargmax.core.engine.sampler import Sampler
from pcsargmax.core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.core.maps import Sites
from pcsargmax.core.regularizers import Spacing
from pcsargmax.core.relaxation import Relaxation, Schedule, make_schedule
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.settings.common import SAMPLED, SINGLE_SITE, RunSettings
from pcsargmax.settings.detector import TrainSettings

if TYPE_CHECKING:
    from pcsargmax.settings.images import ImageSettings

#: scores, target (B, K, 3), sigma (B,), progress in [0, 1], generator -> loss of each item and keypoint (B, K)
Objective = Callable[[Scores, Tensor, Tensor, float, torch.Generator | None], Tensor]


_PLAIN: dict[str, Callable[..., Tensor]] = {"soft": error_of_expectation, "discrete": discrete_expected_error}
_REGULARIZED: dict[str, Callable[..., Tensor]] = {
    "soft_vr": variance_regularized_error,
    "soft_dr": distribution_regularized_error,
}

#: The same as `Objective` of several targets (B, P, K, 3) -> (B, P, K), of one and the same samples, without gradient.
Comparison = Callable[[Scores, Tensor, Tensor, float, torch.Generator | None], Tensor]


def make_objective(settings: TrainSettings) -> Objective:
    """Return the objective that `settings.objective` names, everything in the unit frame."""
    objective, sampled = MapObjective(settings), settings.objective in SAMPLED

    def of_scores(
        scores: Scores, target: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        basis = Gaussian(sigma) if sampled else None  # it looks at the values of sigma
        maps = scores.logits, scores.sites
        return objective(*maps, target, basis, progress, generator, mask=scores.mask, spacing=sigma)

    return of_scores


def make_comparison(settings: TrainSettings) -> Comparison:
    """Return what tells which of several targets has the least loss by the objective that the settings name.

    With a generator in the same state it draws the same samples as the objective, once for all targets. What is the
    same for all of them, a regularizer, is left out.
    """
    drawn = _samples_compared(settings) if settings.objective in SAMPLED else None
    plain, weight = _PLAIN.get(settings.objective, error_of_expectation), expectation_weight(settings)
    kind = map_distance(settings)

    @torch.no_grad()
    def compare(
        scores: Scores, targets: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        def each(error: Callable[..., Tensor]) -> Tensor:
            of = [error(scores.logits, scores.sites, t, distance=kind, mask=scores.mask) for t in targets.unbind(1)]
            return torch.stack(of, dim=1)

        errors = each(plain) if drawn is None else drawn(scores, targets, sigma, progress, generator)
        return errors + weight * each(error_of_expectation) if weight else errors

    return compare


def _samples_compared(settings: TrainSettings) -> Comparison:
    arguments, kind = _sampling_arguments(settings), map_distance(settings)
    closed_form = settings.objective == "closed_form"

    def compare(
        scores: Scores, targets: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        sampler = Sampler.of(scores.logits, scores.sites, mask=scores.mask, **arguments(Gaussian(sigma), progress))
        normal = None if closed_form else sampler.normal(generator)
        mean, squares = sampler.moments(generator)  # (B, K, S, 3)
        std = sampler.std(squares)
        if normal is not None:
            mean = mean + std * normal
        each = []
        for target in targets.unbind(1):
            offset = mean - (target - sampler.center).unsqueeze(2)
            nothing = torch.zeros_like(offset)
            away = gaussian_expected_distance(offset, std, kind) if closed_form else distance(offset, nothing, kind)
            each.append(away.mean(dim=2))
        return torch.stack(each, dim=1)

    return compare


def expectation_weight(settings: TrainSettings | ImageSettings) -> float:
    """Weight of the expectation's error beside the objective (see `losses`); 0 of one that has no single best site."""
    return settings.expectation_weight if settings.objective in SINGLE_SITE else 0.0


def make_temperature(settings: RunSettings) -> Schedule:
    """The temperature of the relaxation by the progress of a training."""
    return make_schedule(
        settings.temperature_schedule,
        settings.temperature_start,
        settings.temperature_end,
        settings.temperature_share,
        epochs=settings.epochs,
    )


class MapObjective:
    """The objective that `settings.objective` names, of maps over any sites: those of clouds and of images.

    Args:
        settings: of the training.
    """

    def __init__(self, settings: TrainSettings | ImageSettings) -> None:
        """See the class."""
        self.settings = settings
        self.arguments, self.distance = _sampling_arguments(settings), map_distance(settings)

    def __call__(
        self,
        logits: Tensor,
        sites: Sites,
        target: Tensor,
        basis: Basis | None,
        progress: float,
        generator: torch.Generator | None,
        *,
        mask: Tensor | None = None,
        spacing: Spacing = "auto",
        extent: float = 1.0,
    ) -> Tensor:
        """The loss of each item and keypoint.

        What an objective has no use for it passes over.

        Args:
            logits: (B, K, L) or (B, K, *shape).
            sites: of the maps.
            target: (B, K, D) in their unit.
            basis: of the samples.
            progress: of the training, in [0, 1].
            generator: of the samples.
            mask: as in `losses.variance_regularized_error`.
            spacing: as there.
            extent: what the object or image measures, in the unit of the sites: the weights of the regularizers are
                those for 1, as in the paper.

        Returns:
            (B, K).
        """
        settings, name = self.settings, self.settings.objective
        about: dict[str, Any] = {"distance": self.distance, "mask": mask}
        if name in SAMPLED:
            drawn = self.arguments(basis, progress) | {"closed_form": name == "closed_form"}
            error = expected_error(logits, sites, target, generator=generator, **about, **drawn)
        elif name in _PLAIN:
            error = _PLAIN[name](logits, sites, target, **about)
        else:
            about |= {"weight": self._regularizer_weight(extent), "spacing": spacing}
            return _REGULARIZED[name](logits, sites, target, target_variance=settings.target_variance, **about)
        if weight := expectation_weight(settings):
            error = error + weight * error_of_expectation(logits, sites, target, **about)
        return error

    def _regularizer_weight(self, extent: float) -> float:
        # V.R. is a length to the fourth power, D.R. none at all: this brings them to the unit of the error.
        power = (2 if self.distance == "squared_l2" else 1) - (4 if self.settings.objective == "soft_vr" else 0)
        return self.settings.regularizer_weight * extent**power


def _sampling_arguments(
    settings: TrainSettings | ImageSettings,
) -> Callable[[Basis | None, float], dict[str, Any]]:
    """What sampling takes besides logits, sites and mask, of basis and progress."""
    schedule = make_temperature(settings)
    return lambda basis, progress: {
        "basis": basis,
        "num_samples": settings.num_samples,
        "temperature": schedule(progress),
        "relaxation": cast(Relaxation, settings.relaxation),
    }


def map_distance(settings: TrainSettings | ImageSettings) -> Distance:
    """The distance that the settings name."""
    if settings.distance == "smooth_l1":
        return SmoothL1(settings.smooth_l1_beta)
    return cast(Distance, settings.distance)


def basis_sigma(settings: RunSettings, neighbor_distance: Tensor, frame_scale: Tensor) -> Tensor:
    """Width of the basis in the frame of the points, (B,).

    Args:
        settings: `sigma` is "auto", the mean neighbour distance, or a length in raw units.
        neighbor_distance: (B,) mean distance of neighbours, in that frame.
        frame_scale: (B, 1) raw length of one unit.
    """
    if settings.sigma == "auto":
        return neighbor_distance
    return (float(settings.sigma) / frame_scale.squeeze(1)).to(neighbor_distance.dtype)
