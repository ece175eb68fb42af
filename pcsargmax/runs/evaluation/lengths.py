"""Errors and radius in the unit of length of the files, beside those in shares of the bounding-box diagonal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsargmax.metrics import PCK
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.runs.evaluation.plain import computed, diagonal, rounded

#: What is kept of the values of `PCK.compute`: the others do not depend on the unit, or are of single keypoints.
_KEPT = ("mean_error", "median_error")


class LengthScorer:
    """Mean and median error of each estimate, and the mean radius, as lengths.

    Args:
        unit: of the lengths, such as "mm".
        pck: makes a metric of errors that counts by the protocol of the evaluation.
    """

    def __init__(self, unit: str, pck: Callable[[], PCK]) -> None:
        self.unit = unit
        self.scorers = {name: pck() for name in ESTIMATES}
        self.radius: list[np.ndarray] = []
        self.diagonal: list[float | None] = []

    def update(self, errors: Mapping[str, Tensor], found: Prediction) -> None:
        """Add a shape: errors (K,) of each estimate in the unit of the files, NaN where absent, and what was found."""
        self.diagonal += rounded(torch.tensor([diagonal(torch.from_numpy(found.points))], dtype=torch.float64))
        for name, scorer in self.scorers.items():
            scorer.update_errors(errors[name][None])
        if found.radius is not None:
            self.radius.append(found.radius[~errors["expectation"].isnan().numpy()])

    def compute(self) -> dict[str, Any]:
        """Return the values, JSON-able.

        "unit"; of each estimate "mean_error" with the ends of its 95 % interval, "mean_error/low" and
        "mean_error/high", and "median_error"; "radius", its mean over the annotated keypoints, None of a run that
        gives none; "diagonal" of the bounding box of each of the M shapes. An error in "shapes" over the diagonal
        there, times the one here, is the error in this unit.
        """
        radii = np.concatenate([*self.radius, np.empty(0)])
        errors = {name: computed(scorer) for name, scorer in self.scorers.items()}
        return {
            "unit": self.unit,
            **{name: {key: one[key] for key in one if key.split("/")[0] in _KEPT} for name, one in errors.items()},
            "radius": float(radii.mean()) if len(radii) else None,
            "diagonal": self.diagonal,
        }
