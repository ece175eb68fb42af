"""What is minimised on maps of images, by the name on the command line; everything in cells but the regularizers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pcsargmax.core.bases import BASIS_BY_NAME
from pcsargmax.core.distances import distance
from pcsargmax.core.grid import Grid
from pcsargmax.core.grid_argmax import GridArgmax
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.objective import MapObjective, expectation_weight, make_temperature, map_distance

#: logits (B, K, *shape), their grid, target (B, K, D) in its unit, progress in [0, 1], generator -> loss (B, K)
GridObjective = Callable[[Tensor, Grid, Tensor, float, torch.Generator | None], Tensor]


def make_grid_objective(settings: ImageSettings) -> GridObjective:
    """Return the objective that `settings.objective` names, for maps of any dimension in cells.

    The regularizers have the weights that they have where the longest axis of the map measures 1.
    """
    if settings.coordinate_gradient == "sign":
        return _signed(settings)
    objective, basis = MapObjective(settings), BASIS_BY_NAME[settings.basis]
    return lambda logits, grid, target, progress, generator: objective(
        logits, grid, target, basis, progress, generator, extent=max(grid.shape)
    )


def _signed(settings: ImageSettings) -> GridObjective:
    """The error of soft-argmax or of samples with the sign in place of the coordinate's gradient; see `GridArgmax`."""
    temperature, weight = make_temperature(settings), expectation_weight(settings)

    def objective(
        logits: Tensor, grid: Grid, target: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        layer = GridArgmax(
            grid,
            BASIS_BY_NAME[settings.basis],
            settings.num_samples,
            temperature(progress),
            settings.relaxation,
            "sign",
        )

        def error(sampled: bool) -> Tensor:
            found = layer.train(sampled)(logits, generator=generator)  # (B, S, K, D)
            return distance(found, target.unsqueeze(1).to(found), map_distance(settings)).mean(dim=1)

        own = error(settings.objective == "sampling")
        return own + weight * error(False) if weight else own

    return objective
