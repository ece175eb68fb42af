"""mIoU of keypoints without order, with intervals over models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import ratio_of_sums
from pcsargmax.metrics.iou import IouProtocol, checked_protocol, iou_terms, pairwise_distances
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.pck import checked_thresholds, threshold_name


class KeypointIoU(BootstrapMetric):
    """mIoU of keypoints without order, with 95 % bootstrap intervals over models.

    `compute` returns, per threshold, "iou@0.1" and the ends of its interval "iou@0.1/low" and "iou@0.1/high"
    (NaN for a single model), and "num_models"; models with neither predictions nor annotations do not count.

    Args:
        thresholds: raw units, positive and ascending; 0.1 is what published tables use.
        protocol: "hungarian", "skeleton-merger" or "keypointnet"; see `keypoint_iou`.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        One of two predictions lies at one of two annotations: 1 true pair of 3 different keypoints.

        >>> import torch
        >>> from pcsargmax.metrics import KeypointIoU
        >>> preds = torch.tensor([[[0.0, 0.0, 0.05], [5.0, 0.0, 0.0]]])
        >>> target = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
        >>> KeypointIoU(num_bootstrap=0)(preds, target)
        {'iou@0.1': tensor(0.3333), 'num_models': tensor(1)}
    """

    higher_is_better = True

    def __init__(
        self,
        thresholds: Sequence[float] = (0.1,),
        *,
        protocol: IouProtocol = "hungarian",
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.thresholds = checked_thresholds(thresholds)
        self.protocol: IouProtocol = checked_protocol(protocol)

    def update(
        self, preds: Tensor, target: Tensor, visible: Tensor | None = None, present: Tensor | None = None
    ) -> None:
        """Add models, compared by Euclidean distance; the arguments are those of `pairwise_distances`.

        The protocols "skeleton-merger" and "keypointnet" compare points of the cloud: snap the predictions first.
        """
        self._append(self._terms(pairwise_distances(preds, target, visible, present)))

    def update_distances(self, distances: Sequence[Tensor]) -> None:
        """Add models by distances (P, G) of their keypoints, e.g. along the cloud; see `keypoint_iou`."""
        self._count_update()
        self._append(self._terms(distances))

    def _terms(self, distances: Sequence[Tensor]) -> Tensor:
        terms = [iou_terms(distance, self.thresholds, self.protocol) for distance in distances]
        return torch.stack(terms) if terms else torch.empty(0)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no model with a keypoint was given.
        """
        terms = self._rows(len(self.thresholds), 2)  # (M, T, 2)
        numerator, denominator = terms[terms.any(dim=2).any(dim=1)].unbind(dim=2)
        if not len(numerator):
            raise ValueError("KeypointIoU needs at least one model with keypoints, got none")
        names = [f"iou@{threshold_name(t)}" for t in self.thresholds]
        result = dict(zip(names, numerator.sum(dim=0) / denominator.sum(dim=0), strict=True))
        if self.num_bootstrap:
            replicates = ratio_of_sums(self._weights(len(numerator)), numerator, denominator)  # (R, T)
            for name, column in zip(names, replicates.T, strict=True):
                result |= self._intervals([name], column[:, None], len(numerator))
        return self._results(result, num_models=len(numerator))
