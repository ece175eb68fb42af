"""What is minimised, by the name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from pcsargmax.bases import Gaussian
from pcsargmax.losses import Distance, error_of_expectation, expected_error
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.relaxation import make_schedule
from pcsargmax.training.settings import TrainSettings

#: scores, target (B, K, 3), sigma (B,), progress in [0, 1], generator -> loss of each item and keypoint (B, K)
Objective = Callable[[Scores, Tensor, Tensor, float, torch.Generator | None], Tensor]


def make_objective(settings: TrainSettings) -> Objective:
    """Return the objective that `settings.objective` names, everything in the unit frame."""
    return {"soft": _soft, "sampling": _sampling}[settings.objective](settings)


def _soft(settings: TrainSettings) -> Objective:
    def objective(
        scores: Scores, target: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        return error_of_expectation(
            scores.logits, scores.sites, target, distance=cast(Distance, settings.distance), mask=scores.mask
        )

    return objective


def _sampling(settings: TrainSettings) -> Objective:
    schedule = make_schedule(
        settings.temperature_schedule,
        settings.temperature_start,
        settings.temperature_end,
        settings.temperature_share,
    )

    def objective(
        scores: Scores, target: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        return expected_error(
            scores.logits,
            scores.sites,
            target,
            basis=Gaussian(sigma),
            num_samples=settings.num_samples,
            temperature=schedule(progress),
            distance=cast(Distance, settings.distance),
            mask=scores.mask,
            generator=generator,
            closed_form=settings.closed_form,
        )

    return objective


def basis_sigma(settings: TrainSettings, neighbor_distance: Tensor, frame_scale: Tensor) -> Tensor:
    """Width of the basis in the unit frame, (B,).

    Args:
        settings: `sigma` is "auto", the mean neighbour distance, or a length in raw units.
        neighbor_distance: (B,) mean distance of neighbours, unit frame.
        frame_scale: (B, 1) raw length of one unit.
    """
    if settings.sigma == "auto":
        return neighbor_distance
    return (float(settings.sigma) / frame_scale.squeeze(1)).to(neighbor_distance.dtype)
