"""The sparsification curve of confidence and AUSE, with an interval over models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.sparsification import sparsification_curve, sparsification_error


class SparsificationError(BootstrapMetric):
    """The sparsification curve of confidence and its area above the oracle's (AUSE).

    `compute` returns float64 tensors:

    - "kept", "error", "oracle" (num_steps,): as in `sparsification_curve`;
    - "ause": as in `sparsification_error`, the unit of the errors; "ause_relative": divided by the mean error, NaN
      where that is 0; "ause_random": random-ranking baseline, the AUSE of confidence without information;
    - "ause/low", "ause/high": ends of the 95 % bootstrap interval over models (`basic_interval`); NaN for a single one.

    Args:
        num_steps: number of steps of the curve.
        num_bootstrap: number of resamples for the interval; 0 leaves it out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        The most confident half has a mean error of 2, the half with the least error one of 1:

        >>> import torch
        >>> from pcsargmax.metrics import SparsificationError
        >>> metric = SparsificationError(num_steps=2, num_bootstrap=0)
        >>> result = metric(torch.tensor([[0.9, 0.1]]), torch.tensor([[2.0, 1.0]]))
        >>> {name: result[name].tolist() for name in ("kept", "error", "oracle", "ause")}
        {'kept': [0.5, 1.0], 'error': [2.0, 1.5], 'oracle': [1.0, 1.5], 'ause': 0.5}
    """

    higher_is_better = False
    size_names = ("keypoints",)

    def __init__(self, *, num_steps: int = 20, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        self.num_steps = num_steps

    def update(self, confidence: Tensor, errors: Tensor) -> None:
        """Add models: confidence (B, K) in any range, and errors (B, K), NaN where the keypoint is absent."""
        self._append_cases(confidence, errors, "confidence")

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no keypoint was given, or values that are not finite.
        """
        confidences, all_errors = self._cases()
        visible = ~all_errors.isnan()
        confidence, errors = confidences[visible], all_errors[visible]
        result = sparsification_curve(confidence, errors, num_steps=self.num_steps)._asdict()
        area = sparsification_error(confidence, errors)
        result |= {
            "ause": area,
            "ause_relative": area / errors.mean() if errors.any() else area.new_tensor(torch.nan),
            "ause_random": sparsification_error(torch.zeros_like(errors), errors),
        }
        if self.num_bootstrap:
            weights = self._weights(len(all_errors)).long()[:, visible.nonzero()[:, 0]]
            drawn = [
                sparsification_error(confidence.repeat_interleave(often), errors.repeat_interleave(often))
                for often in weights[weights.any(dim=1)]
            ]
            replicates = torch.stack(drawn)[:, None]
            limits = (0.0, torch.inf)
            result |= self._intervals(["ause"], replicates, len(all_errors), around=area[None], limits=limits)
        return {name: value.to(self.device) for name, value in result.items()}
