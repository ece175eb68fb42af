"""Coverage, inclusivity and spacing of keypoints, with intervals over models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pcsargmax.metrics.coverage import coverage_values
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.pck import checked_thresholds, threshold_name


class Coverage(BootstrapMetric):
    """Coverage, inclusivity and spacing of keypoints, means over models with 95 % bootstrap intervals.

    `compute` returns, lengths in shares of the cloud's radius:

    - "coverage": `box_coverage`; "box_iou"; "inclusivity@0.03" and so on per threshold;
    - "surface_distance": mean over the keypoints; "spacing": smallest distance between two keypoints, NaN for one;
    - the same with "/low" and "/high": ends of the interval; NaN for a single model;
    - "num_models".

    Args:
        thresholds: of inclusivity, shares of the radius, positive and ascending.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Two keypoints span half the diagonal of a unit cube; one of them lies on a point of it:

        >>> import torch
        >>> from pcsargmax.metrics import Coverage
        >>> cube = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        >>> result = Coverage(num_bootstrap=0)(cube[None, [0, 7]] / 2, cube[None])
        >>> {name: round(float(result[name]), 4) for name in ("coverage", "box_iou", "inclusivity@0.03")}
        {'coverage': 0.5, 'box_iou': 0.125, 'inclusivity@0.03': 0.5}
    """

    higher_is_better = True

    def __init__(
        self, thresholds: Sequence[float] = (0.03,), *, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)

    def update(self, preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> None:
        """Add models: preds (B, K, 3), cloud (B, N, 3), same unit, and mask (B, N) bool or None."""
        preds, cloud = preds.detach().cpu(), cloud.detach().cpu()
        self._append(coverage_values(preds, cloud, None if mask is None else mask.cpu(), thresholds=self.thresholds))

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no model was given.
        """
        shares = [f"inclusivity@{threshold_name(t)}" for t in self.thresholds]
        names = ["coverage", "box_iou", *shares, "surface_distance", "spacing"]
        values = self._rows(len(names))
        if not len(values):
            raise ValueError("Coverage needs at least one model, got none")
        return self._results(self._means(names, values), num_models=len(values))
