"""What is minimised on maps of images, by the name on the command line; everything in cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from pcsargmax.bases import Basis, Gaussian
from pcsargmax.cells import Triangular, Uniform
from pcsargmax.distances import Distance, SmoothL1, distance
from pcsargmax.grid import Grid
from pcsargmax.grid_argmax import GridArgmax
from pcsargmax.losses import (
    discrete_expected_error,
    distribution_regularized_error,
    error_of_expectation,
    expected_error,
    variance_regularized_error,
)
from pcsargmax.relaxation import Relaxation
from pcsargmax.training.images.settings import ImageSettings
from pcsargmax.training.objective import make_temperature

#: logits (B, K, *shape), their grid, target (B, K, D) in its unit, progress in [0, 1], generator -> loss (B, K)
MapObjective = Callable[[Tensor, Grid, Tensor, float, torch.Generator | None], Tensor]

#: The bases by name; the width of each is that of a cell.
BASES: dict[str, Basis] = {"uniform": Uniform(), "triangular": Triangular(), "gaussian": Gaussian("auto")}


def make_map_objective(settings: ImageSettings) -> MapObjective:
    """Return the objective that `settings.objective` names, for maps of any dimension in cells."""
    if settings.coordinate_gradient == "sign":
        return _signed(settings)
    makers = {
        "sampling": _sampling,
        "closed_form": _sampling,
        "soft": _plain,
        "discrete": _plain,
        "soft_vr": _regularized,
        "soft_dr": _regularized,
    }
    return makers[settings.objective](settings)


def _sampling(settings: ImageSettings) -> MapObjective:
    temperature = make_temperature(settings)

    def objective(
        logits: Tensor, grid: Grid, target: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        return expected_error(
            logits,
            grid,
            target,
            basis=BASES[settings.basis],
            num_samples=settings.num_samples,
            temperature=temperature(progress),
            relaxation=cast(Relaxation, settings.relaxation),
            distance=_distance(settings),
            generator=generator,
            closed_form=settings.objective == "closed_form",
        )

    return objective


def _plain(settings: ImageSettings) -> MapObjective:
    error = {"soft": error_of_expectation, "discrete": discrete_expected_error}[settings.objective]

    def objective(
        logits: Tensor, grid: Grid, target: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        return error(logits, grid, target, distance=_distance(settings))

    return objective


def _regularized(settings: ImageSettings) -> MapObjective:
    errors = {"soft_vr": variance_regularized_error, "soft_dr": distribution_regularized_error}
    error = errors[settings.objective]

    def objective(
        logits: Tensor, grid: Grid, target: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        return error(
            logits,
            grid,
            target,
            weight=settings.regularizer_weight,
            target_variance=settings.target_variance,
            distance=_distance(settings),
        )

    return objective


def _signed(settings: ImageSettings) -> MapObjective:
    """The error of soft-argmax or of samples with the sign in place of the coordinate's gradient; see `GridArgmax`."""
    temperature, sampled = make_temperature(settings), settings.objective == "sampling"

    def objective(
        logits: Tensor, grid: Grid, target: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        layer = GridArgmax(
            grid,
            BASES[settings.basis],
            settings.num_samples,
            temperature(progress),
            cast(Relaxation, settings.relaxation),
            "sign",
        ).train(sampled)
        samples = layer(logits, generator=generator)  # (B, S, K, D)
        return distance(samples, target.unsqueeze(1).to(samples), _distance(settings)).mean(dim=1)

    return objective


def _distance(settings: ImageSettings) -> Distance:
    if settings.distance == "smooth_l1":
        return SmoothL1(settings.smooth_l1_beta)
    return cast(Distance, settings.distance)
