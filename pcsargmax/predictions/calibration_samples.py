"""A metric that collects what calibration is fitted to, over batches and processes."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.predictions.calibration import (
    COVERAGE,
    THRESHOLD,
    Calibration,
    Measure,
    RadiusForm,
    check_choice,
    check_threshold,
    confidence_measure,
)


class CalibrationSamples(Metric):
    """Collects what a calibration is fitted to, from every visible keypoint, over batches and processes.

    A keypoint that several processes measured counts once, as they all go through the whole validation split.

    Args:
        measure: see `confidence_measure`.
        threshold: the error up to which a keypoint is correct, in the unit frame.
        kwargs: keyword arguments of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    samples: list[Tensor]

    def __init__(self, measure: Measure = "threshold_mass", threshold: float = THRESHOLD, **kwargs: Any) -> None:
        """See the class."""
        super().__init__(**kwargs)
        check_choice("measure", measure, get_args(Measure))
        check_threshold(threshold)
        self.measure: Measure = measure
        self.threshold = threshold
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    def update(
        self,
        maps: KeypointDistribution,
        target: Tensor,
        visible: Tensor,
        *,
        mean: Tensor | None = None,
    ) -> None:
        """Add clouds.

        Args:
            maps: of the clouds, in the unit frame.
            target: (B, K, D).
            visible: (B, K) bool.
            mean: (B, K, D) what was made of the maps; None: their mean.
        """
        error = torch.linalg.vector_norm((maps.mean if mean is None else mean) - target, dim=-1)
        measured = confidence_measure(maps, self.measure, self.threshold, center=mean)
        # Flat, so that a process without any can still be gathered.
        self.samples.append(torch.stack([measured, maps.spread, error], dim=-1)[visible].detach().flatten())

    def compute(self) -> Tensor:
        """Return (n, 3): measure, spread and error of each keypoint."""
        collected = dim_zero_cat(self.samples) if len(self.samples) else torch.empty(0)
        return collected.reshape(-1, 3).unique(dim=0)

    def fit(self, form: RadiusForm = "scaled", coverage: float = COVERAGE) -> Calibration:
        """Return the calibration by what was collected; errors as of `Calibration.fit`."""
        measured, spread, error = self.compute().unbind(dim=-1)
        return Calibration.fit(
            measured,
            spread,
            error,
            measure=self.measure,
            threshold=self.threshold,
            form=form,
            coverage=coverage,
        )
