"""Presence of keypoints: ranking, accuracy and PCK of claims, with intervals over models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.calibration import brier_score, expected_calibration_error
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.pck import checked_thresholds, threshold_name
from pcsargmax.metrics.presence import (
    chance_precision,
    checked_presence,
    claimed_counts,
    presence_average_precision,
)


class KeypointPresence(BootstrapMetric):
    """Presence of keypoints: average precision, accuracy, and PCK of claims, with 95 % intervals over models.

    `compute` returns float64 tensors under these keys; shares run from 0 to 1:

    - "average_precision_per_keypoint" (K,), as in `presence_average_precision`, and "prevalence_per_keypoint" (K,), the
      share of the models that have it;
    - "average_precision", "prevalence", "chance" (`chance_precision`): means over the "num_varying" ids that some
      models have and others lack, the only ones that tell detectors apart; NaN where there are none;
    - "average_precision_absent", "chance_absent": the same for finding the models that lack the keypoint, mostly fewer;
    - "average_precision_pooled": of all ids together, with one threshold for all;
    - "accuracy" of claims at 0.5; "balanced_accuracy": the mean of the recall of present and of absent keypoints, NaN
      where either is missing; "brier" and "ece": of the score as a probability, all ids together;
    - "precision@0.01", "recall@0.01" and "f1@0.01" and so on, of `claimed_counts` over all models, NaN without any
      claim or without anything to find;
    - "accuracy", "precision@…", "recall@…", "f1@…", "average_precision" and "average_precision_absent" with "/low" and
      "/high", the ends of the interval, of the last two by `basic_interval`.

    Args:
        thresholds: of the PCK of claims, in the unit of the errors.
        strict: within means < instead of ≤.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Two of three claims are true, one of which is too far off; one absent keypoint is recognised:

        >>> import torch
        >>> from pcsargmax.metrics import KeypointPresence
        >>> scores = torch.tensor([[0.9, 0.8], [0.7, 0.2]])
        >>> errors = torch.tensor([[0.0, 0.5], [torch.nan, torch.nan]])
        >>> result = KeypointPresence((0.1,), num_bootstrap=0)(scores, errors)
        >>> {name: round(float(result[name]), 4) for name in ("accuracy", "precision@0.1", "recall@0.1")}
        {'accuracy': 0.75, 'precision@0.1': 0.3333, 'recall@0.1': 0.5}
    """

    higher_is_better = True
    size_names = ("keypoints",)

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        *,
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)
        self.strict = strict

    def update(self, scores: Tensor, errors: Tensor) -> None:
        """Add models: scores (B, K), probabilities of presence, and errors (B, K), NaN where the keypoint is absent."""
        checked_presence(scores, ~errors.isnan())
        if outside := scores[(scores < 0) | (scores > 1)].tolist():
            raise ValueError(f"scores must lie within [0, 1], got {outside[0]}")
        self._append_cases(scores, errors)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no model was given.
        """
        scores, errors = self._cases()
        if not len(scores):
            raise ValueError("KeypointPresence needs at least one model, got none")
        result = self._ranking(scores, ~errors.isnan()) | self._claims(scores, errors)
        return {name: value.to(self.device) for name, value in result.items()}

    def _ranking(self, scores: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Metrics that do not depend on the threshold of a claim, and the balanced accuracy."""
        precision, share = presence_average_precision(scores, visible), visible.double().mean(dim=0)
        varying = (share > 0) & (share < 1)
        absent = presence_average_precision(-scores, ~visible)
        count, models = visible.sum(dim=0), len(visible)
        right = ((scores >= 0.5) == visible).double()
        return {
            "average_precision_per_keypoint": precision,
            "prevalence_per_keypoint": share,
            "average_precision": precision[varying].mean(),
            "prevalence": share[varying].mean(),
            "chance": chance_precision(count, models)[varying].mean(),
            "average_precision_absent": absent[varying].mean(),
            "chance_absent": chance_precision(models - count, models)[varying].mean(),
            "average_precision_pooled": presence_average_precision(scores.reshape(-1, 1), visible.reshape(-1, 1))[0],
            "num_varying": varying.sum(),
            "balanced_accuracy": (right[visible].mean() + right[~visible].mean()) / 2,
            "brier": brier_score(scores.flatten(), visible.flatten()),
            "ece": expected_calibration_error(scores.flatten(), visible.flatten()),
        } | self._ranking_intervals(scores[:, varying], visible[:, varying])

    def _ranking_intervals(self, scores: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Intervals of the average precision of the ids that vary, which are fewer in some resamples."""
        if not self.num_bootstrap:
            return {}
        weights = self._weights(len(scores))
        share = weights @ visible.double() / len(scores)
        varying = (share > 0) & (share < 1)
        result: dict[str, Tensor] = {}
        for name, sure, has in (("", scores, visible), ("_absent", -scores, ~visible)):
            mean = torch.tensor([torch.nan], dtype=torch.float64)
            replicates = mean[:, None]
            if varying.any():
                mean = presence_average_precision(sure, has).mean()[None]
                drawn = presence_average_precision(sure, has, weights=weights).where(varying, torch.nan)
                replicates = drawn.nanmean(dim=1, keepdim=True)
            result |= self._intervals([f"average_precision{name}"], replicates, len(scores), around=mean)
        return result

    def _claims(self, scores: Tensor, errors: Tensor) -> dict[str, Tensor]:
        """Accuracy, and precision, recall and F1 of the claims, each with its interval."""
        claimed = scores >= 0.5
        right = (claimed == ~errors.isnan()).double().mean(dim=1)
        counts = claimed_counts(errors.to(self.dtype), claimed, self.thresholds, strict=self.strict)
        pairs = {"accuracy": (right, torch.ones_like(right))}
        for number, threshold in enumerate(self.thresholds):
            true, claims, there = counts[:, number].unbind(dim=-1)
            name = threshold_name(threshold)
            pairs |= {
                f"precision@{name}": (true, claims),
                f"recall@{name}": (true, there),
                f"f1@{name}": (2 * true, claims + there),
            }
        above, below = (torch.stack(parts, dim=1) for parts in zip(*pairs.values(), strict=True))
        result = dict(zip(pairs, above.sum(dim=0) / below.sum(dim=0), strict=True))
        return result | self._ratio_intervals([*pairs], above, below)
