"""Correlation of confidence with object keypoint similarity, with intervals over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.calibration import case_weights, pearson, spearman
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.similarity import COCO_SIGMAS, checked_sigmas, keypoint_similarity


class OksCorrelation(BootstrapMetric):
    """Correlation of the confidence of a pose with its OKS (Li et al. 2021, Table 3).

    `compute` returns tensors:

    - "pearson", "spearman": of each visible keypoint's confidence with its `keypoint_similarity`;
    - "pearson_item", "spearman_item": of an item's mean confidence over its visible keypoints with its OKS;
    - each with "/low" and "/high", the ends of its 95 % bootstrap interval over items; NaN for a single one;
    - "mean_oks", "mean_confidence": over items; "num_items", "num_keypoints": number of items with a visible keypoint,
      and of these keypoints.

    The paper says no more than "correctness, e.g. OKS", so both the correlation of keypoints and that of items are
    given.

    Args:
        sigmas: K widths, see `keypoint_similarity`.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        The least confident keypoint is the most similar:

        >>> import torch
        >>> from pcsargmax.metrics import OksCorrelation
        >>> metric = OksCorrelation(sigmas=(0.5, 0.5), num_bootstrap=0)
        >>> target, visible = torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool)
        >>> preds = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> result = metric(preds, target, visible, torch.tensor([1.0]), torch.tensor([[0.2, 0.9]]))
        >>> round(float(result["pearson"]), 4), round(float(result["mean_oks"]), 4)  # (1 + exp(-1 / 2)) / 2
        (-1.0, 0.8033)
    """

    def __init__(
        self, *, sigmas: Sequence[float] = COCO_SIGMAS, num_bootstrap: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.sigmas = checked_sigmas(sigmas, len(tuple(sigmas)))

    def update(self, preds: Tensor, target: Tensor, visible: Tensor, area: Tensor, confidence: Tensor) -> None:
        """Add items: confidence (B, K), mostly the map's peak; the others as of `keypoint_similarity`."""
        similarity = keypoint_similarity(preds, target, visible, area, self.sigmas)
        if confidence.shape != similarity.shape:
            raise ValueError(f"confidence must be {tuple(similarity.shape)}, got {tuple(confidence.shape)}")
        if not confidence[visible].isfinite().all():
            raise ValueError("confidence must be finite at visible keypoints, got NaN or infinity")
        self._append(torch.stack([confidence.to(similarity), similarity], dim=-1))

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no visible keypoint was given.
        """
        confidence, similarity = self._rows(len(self.sigmas), 2).unbind(dim=-1)
        seen = ~similarity.isnan()
        some = seen.any(dim=1)
        if not some.any():
            raise ValueError(f"OksCorrelation needs at least one visible keypoint, got none in {len(seen)} items")
        confidence, similarity, seen = confidence[some], similarity[some], seen[some]
        means = confidence.masked_fill(~seen, torch.nan).nanmean(dim=1), similarity.nanmean(dim=1)
        item = seen.nonzero()[:, 0]
        result = self._scores("", confidence[seen], similarity[seen], item, len(seen))
        result |= self._scores("_item", *means, torch.arange(len(seen)), len(seen))
        result |= {"mean_confidence": means[0].mean(), "mean_oks": means[1].mean()}
        return self._results(result, num_items=len(seen), num_keypoints=seen.sum())

    def _scores(self, suffix: str, a: Tensor, b: Tensor, item: Tensor, num_items: int) -> dict[str, Tensor]:
        """Correlations of a and b (n,), each of the items `item (n,)`, with their intervals."""
        result = {f"pearson{suffix}": pearson(a, b), f"spearman{suffix}": spearman(a, b)}
        if not self.num_bootstrap:
            return result
        weights = case_weights(item, num_items, self.num_bootstrap, seed=self.seed)
        parts = weights.split(max(1, 4_000_000 // len(item)))  # the ranks of all at once would fill the memory
        for name, measure in ((f"pearson{suffix}", pearson), (f"spearman{suffix}", spearman)):
            replicates = torch.cat([measure(a, b, weights=part) for part in parts])
            result |= self._intervals([name], replicates[:, None], num_items)
        return result
