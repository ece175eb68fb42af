"""Calibration of confidence and its correlation with errors, with intervals over models."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pcsargmax.metrics.calibration import (
    BINS_SUFFIX,
    brier_score,
    case_weights,
    expected_calibration_error,
    pearson,
    reliability_curve,
    spearman,
)
from pcsargmax.metrics.modules.base import BootstrapMetric


class ConfidenceCalibration(BootstrapMetric):
    """How well calibrated confidence is and how it correlates with correctness, with 95 % bootstrap intervals.

    Whole models are resampled: the keypoints of one model err together. `compute` returns float tensors under these
    keys:

    - "ece", "ece_equal_count": expected calibration error in bins of equal width, and of equal count;
    - "brier": the Brier score;
    - "pearson", "spearman_correct": correlation of confidence with correctness;
    - "pearson_error", "spearman": correlation with the negated error, so that higher is better everywhere;
    - each of these with "/low" and "/high", the ends of its interval (NaN for a single model, which has no spread),
      of the first two by `basic_interval`, since their resamples are biased upwards;
    - "mean_confidence", "share_correct": equal if confidence is calibrated on average;
    - "reliability_confidence", "reliability_correct", "reliability_number", (num_bins,): the curve in bins of equal
      width; the same with "_equal_count" at the end.

    A correlation is NaN where either variable is constant.

    Args:
        threshold: error up to which a keypoint is correct, in the unit of the errors.
        num_bins: number of bins of the curve and of the calibration error.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Mean confidence 75 %, accuracy 50 %:

        >>> import torch
        >>> from pcsargmax.metrics import ConfidenceCalibration
        >>> metric = ConfidenceCalibration(0.1, num_bootstrap=0)
        >>> result = metric(torch.tensor([[0.75, 0.75]]), torch.tensor([[0.0, 0.5]]))
        >>> {name: float(result[name]) for name in ("mean_confidence", "share_correct", "ece", "brier")}
        {'mean_confidence': 0.75, 'share_correct': 0.5, 'ece': 0.25, 'brier': 0.3125}
    """

    size_names = ("keypoints",)

    def __init__(
        self, threshold: float, *, num_bins: int = 10, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if not 0 < threshold < float("inf"):
            raise ValueError(f"threshold must be positive and finite, got {threshold}")
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        self.threshold, self.num_bins = threshold, num_bins

    def update(self, confidence: Tensor, errors: Tensor) -> None:
        """Add models: confidence (B, K) in [0, 1], errors (B, K), NaN where the keypoint is absent."""
        self._append_cases(confidence, errors, "confidence")

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no visible keypoint was given, or a confidence outside [0, 1].
        """
        confidence, errors = self._cases()
        num_models, visible = len(errors), ~errors.isnan()
        if not visible.any():
            raise ValueError(f"ConfidenceCalibration needs at least one visible keypoint, got {num_models} models")
        confidence, errors = confidence[visible], errors[visible]
        correct = errors.to(self.dtype) <= self.threshold  # a float32 0.05 is above a float64 one
        result = self._scores(confidence, errors, correct)
        if self.num_bootstrap:
            weights = case_weights(visible.nonzero()[:, 0], num_models, self.num_bootstrap, seed=self.seed)
            for name, drawn in self._scores(confidence, errors, correct, weights).items():
                around = result[name][None] if name.startswith("ece") else None
                result |= self._intervals([name], drawn[:, None], num_models, around=around)
        result |= {"mean_confidence": confidence.mean(), "share_correct": correct.double().mean()}
        for bins, suffix in BINS_SUFFIX.items():
            curve = reliability_curve(confidence, correct, num_bins=self.num_bins, bins=bins)
            result |= {
                f"reliability_{name}{suffix}": getattr(curve, name) for name in ("confidence", "correct", "number")
            }
        return {name: value.to(self.device) for name, value in result.items()}

    def _scores(
        self, confidence: Tensor, errors: Tensor, correct: Tensor, weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Each score of all cases, or (R,) under weights (R, n)."""
        eces = {
            f"ece{suffix}": expected_calibration_error(
                confidence, correct, num_bins=self.num_bins, bins=bins, weights=weights
            )
            for bins, suffix in BINS_SUFFIX.items()
        }
        return eces | {
            "brier": brier_score(confidence, correct, weights=weights),
            "pearson": pearson(confidence, correct, weights=weights),
            "spearman": spearman(confidence, -errors, weights=weights),
            "pearson_error": pearson(confidence, -errors, weights=weights),
            "spearman_correct": spearman(confidence, correct, weights=weights),
        }
