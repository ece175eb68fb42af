"""What is minimised, by the name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis
from pcsargmax.core.distances import Distance, SmoothL1
from pcsargmax.core.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.core.maps import Sites
from pcsargmax.core.regularizers import Spacing
from pcsargmax.core.relaxation import Schedule, make_schedule
from pcsargmax.settings.common import SAMPLED, SINGLE_SITE, RunSettings
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.settings.images import ImageSettings

#: Settings of a training on annotated keypoints or surfaces.
SupervisedSettings: TypeAlias = TrainSettings | ImageSettings


PLAIN: dict[str, Callable[..., Tensor]] = {"soft": error_of_expectation, "discrete": discrete_expected_error}
_REGULARIZED: dict[str, Callable[..., Tensor]] = {
    "soft_vr": variance_regularized_error,
    "soft_dr": distribution_regularized_error,
}


def expectation_weight(settings: SupervisedSettings) -> float:
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

    def __init__(self, settings: SupervisedSettings) -> None:
        """See the class."""
        self.settings = settings
        self.arguments, self.distance = sampling_arguments(settings), map_distance(settings)

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
        elif name in PLAIN:
            error = PLAIN[name](logits, sites, target, **about)
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


def sampling_arguments(settings: SupervisedSettings) -> Callable[[Basis | None, float], dict[str, Any]]:
    """What sampling takes besides logits, sites and mask, of basis and progress."""
    schedule = make_temperature(settings)
    return lambda basis, progress: {
        "basis": basis,
        "num_samples": settings.num_samples,
        "temperature": schedule(progress),
        "relaxation": settings.relaxation,
    }


def map_distance(settings: SupervisedSettings) -> Distance:
    """The distance that the settings name."""
    if settings.distance == "smooth_l1":
        return SmoothL1(settings.smooth_l1_beta)
    return settings.distance
