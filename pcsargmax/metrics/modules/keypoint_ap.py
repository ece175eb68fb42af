"""Mean average precision of scored keypoints, with intervals over models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pcsargmax.metrics.average_precision import (
    Interpolation,
    checked_interpolation,
    keypoint_average_precision,
)
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.pck import checked_thresholds, keypoint_errors, threshold_name


class KeypointAP(BootstrapMetric):
    """Mean average precision of scored keypoints within distances, with 95 % bootstrap intervals over models.

    `compute` returns tensors, 0 to 1:

    - "map@0.01" and so on per threshold: mean over the keypoint ids of their average precision;
    - the same with "/low" and "/high", the ends of the interval (`basic_interval`); NaN for a single model;
    - "ap_per_keypoint" (T, K): NaN for an id that no model has;
    - "num_models", "num_keypoints": number of models, and of annotated keypoints among them.

    Args:
        thresholds: raw units, positive and ascending.
        interpolation: "all" or "11" points, or "none"; see `average_precision`.
        strict: a keypoint is a hit if its error is < instead of ≤ the threshold.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        The more confident of two detections is correct, so all of the recall has a precision of 1:

        >>> import torch
        >>> from pcsargmax.metrics import KeypointAP
        >>> metric = KeypointAP((0.1,), num_bootstrap=0)
        >>> preds, target = torch.tensor([[[0.0, 0.0]], [[5.0, 0.0]]]), torch.zeros(2, 1, 2)
        >>> visible, scores = torch.tensor([[True], [False]]), torch.tensor([[0.9], [0.4]])
        >>> metric(preds, target, visible, scores)["map@0.1"]
        tensor(1.)
    """

    higher_is_better = True
    size_names = ("keypoints",)

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        *,
        interpolation: Interpolation = "all",
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)
        self.interpolation: Interpolation = checked_interpolation(interpolation)
        self.strict = strict

    def update(self, preds: Tensor, target: Tensor, visible: Tensor, scores: Tensor) -> None:
        """Add models: preds and target (B, K, D), raw units, visible (B, K) bool, scores (B, K)."""
        self._append_cases(scores, keypoint_errors(preds, target, visible))

    def update_errors(self, errors: Tensor, scores: Tensor) -> None:
        """Add models by errors and scores (B, K); see `keypoint_average_precision`."""
        self._count_update()
        self._append_cases(scores, errors)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no annotated keypoint was given.
        """
        # In the dtype of the errors: a float32 0.05 is above a float64 one, yet within a threshold of 0.05.
        scores, errors = (values.to(self.dtype) for values in self._cases())
        if errors.isnan().all():
            raise ValueError(f"KeypointAP needs at least one visible keypoint, got none in {len(errors)} models")
        precision = self._precision(errors, scores)
        mean = precision.nanmean(dim=-1)
        names = [f"map@{threshold_name(t)}" for t in self.thresholds]
        result = dict(zip(names, mean, strict=True))
        if self.num_bootstrap:
            replicates = self._precision(errors, scores, self._weights(len(errors))).nanmean(dim=-1)
            result |= self._intervals(names, replicates, len(errors), around=mean)
        result["ap_per_keypoint"] = precision
        return self._results(result, num_models=len(errors), num_keypoints=(~errors.isnan()).sum())

    def _precision(self, errors: Tensor, scores: Tensor, weights: Tensor | None = None) -> Tensor:
        return keypoint_average_precision(
            errors, scores, self.thresholds, interpolation=self.interpolation, strict=self.strict, weights=weights
        )
