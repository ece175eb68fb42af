"""PCK and error of keypoints, with intervals over models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.pck import (
    Average,
    average_visible,
    checked_average,
    checked_thresholds,
    correct,
    grouped,
    keypoint_errors,
    threshold_name,
)


class PCK(BootstrapMetric):
    """Percentage of correct keypoints at several thresholds and error of keypoints, with 95 % bootstrap intervals.

    Positions are in raw units; absent keypoints do not count. `update` takes what `keypoint_errors` takes,
    `update_errors` takes errors that were measured in another way. The published protocol of KeypointNet is
    `PCK(average="model", strict=True)` of geodesic errors.

    `compute` returns tensors under these keys; shares run from 0 to 1:

    - "pck@0.01" and so on per threshold, "mean_error": averaged as `average` says (see `average_visible`);
    - the same with "/low" and "/high": ends of the interval; NaN for a single model, which has no spread;
    - "median_error": over all visible keypoints;
    - "num_unreached": visible keypoints of infinite error, which geodesic errors may have. They count as wrong, and
      make the mean error infinite and its interval NaN;
    - "pck_per_keypoint" (T, K), "error_per_keypoint" (K,): NaN for an id that no model has;
    - "num_models", "num_keypoints": number of models, and of visible keypoints among them.

    Args:
        thresholds: raw units, positive and ascending.
        average: "pooled", "model" or "id".
        strict: a keypoint is correct if its error is < instead of ≤ the threshold.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import PCK
        >>> metric = PCK((0.1, 0.5), num_bootstrap=0)
        >>> preds = torch.tensor([[[0.0, 0.0, 0.25], [1.0, 0.0, 0.0]]])
        >>> target = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
        >>> metric.update(preds, target, torch.tensor([[True, True]]))
        >>> {name: float(metric.compute()[name]) for name in ("pck@0.1", "pck@0.5", "mean_error")}
        {'pck@0.1': 0.5, 'pck@0.5': 1.0, 'mean_error': 0.125}
    """

    higher_is_better = True
    size_names = ("keypoints",)

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        *,
        average: Average = "pooled",
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)
        self.average: Average = checked_average(average)
        self.strict = strict

    def update(self, preds: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add models: preds and target (B, K, D), raw units, visible (B, K) bool."""
        errors = keypoint_errors(preds, target, visible)
        self._append(errors, errors.shape[1])

    def update_errors(self, errors: Tensor) -> None:
        """Add models by their errors (B, K), raw units: NaN where absent, infinite where nothing was reached.

        Raises:
            ValueError: errors not (B, K) of a floating type, of another K than before, or negative.
        """
        if errors.ndim != 2 or not errors.is_floating_point():
            raise ValueError(f"errors must be (B, K) floating, got {errors.dtype} of shape {tuple(errors.shape)}")
        if (errors < 0).any():
            raise ValueError(f"errors must not be negative, got {int((errors < 0).sum())} that are")
        self._count_update()
        self._append(errors, errors.shape[1], name="errors")

    @property
    def errors(self) -> Tensor:
        """(M, K) errors of the models given so far, raw units, NaN where absent."""
        return self._rows(*self._known_sizes()).to(self.device, self.dtype)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no visible keypoint was given.
        """
        errors = self._rows(*self._known_sizes())
        visible = ~errors.isnan()
        if not visible.any():
            raise ValueError(f"PCK needs at least one visible keypoint, got none in {len(errors)} models")
        # In the dtype of the errors: a float32 0.05 is above a float64 one, yet within a threshold of 0.05.
        hits = correct(errors.to(self.dtype), self.thresholds, strict=self.strict).double()
        values = torch.cat([hits, errors[..., None]], dim=-1)  # (M, K, T + 1)
        names = [f"pck@{threshold_name(t)}" for t in self.thresholds] + ["mean_error"]
        result = dict(zip(names, average_visible(values, self.average), strict=True))
        unbounded = values.isinf().flatten(0, 1).any(dim=0)  # (T + 1,)
        groups = grouped(values.masked_fill(unbounded, torch.nan), self.average)
        result |= self._ratio_intervals(names, *groups, mean_over=0)
        result["median_error"] = _median(errors[visible])
        result["pck_per_keypoint"] = hits.nanmean(dim=0).T
        result["error_per_keypoint"] = errors.nanmean(dim=0)
        return self._results(
            result, num_models=len(errors), num_keypoints=visible.sum(), num_unreached=errors.isinf().sum()
        )


def _median(values: Tensor) -> Tensor:
    """Median of values (n,), the mean of the middle two, any of which may be infinite."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
