"""SC3K's DAS, with intervals over models."""

from __future__ import annotations

import torch
from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric, named_ends
from pcsargmax.metrics.self_alignment import index_agreement, into_unit_ball, mean_over_pairs


class SelfAlignment(BootstrapMetric):
    """SC3K's DAS, with 95 % bootstrap intervals over models.

    The published code takes the keypoints of the first model as a reference, finds the nearest keypoint of every other
    model to each, and counts how often it has the same index. The result depends on which model is first, so the mean
    over all references is given beside it.

    `compute` returns tensors, 0 to 1, NaN for a single model:

    - "das_sc3k": as published, the first model given being the reference; over processes the first of the first;
    - "das_sc3k_all": mean over the ordered pairs of two models;
    - the same with "/low" and "/high"; of "das_sc3k" over the other models, with the reference fixed. Of
      "das_sc3k_all" a model drawn twice is paired with the others twice, never with its own copy;
    - "num_models".

    Args:
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        The second model has both keypoints next to keypoint 0 of the first:

        >>> import torch
        >>> from pcsargmax.metrics import SelfAlignment
        >>> cloud = torch.tensor([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]).expand(2, 2, 3)
        >>> keypoints = torch.tensor([[[-1.0, 0, 0], [1.0, 0, 0]], [[-0.9, 0, 0], [-0.8, 0, 0]]])
        >>> SelfAlignment(num_bootstrap=0)(keypoints, cloud)
        {'das_sc3k': tensor(1.), 'das_sc3k_all': tensor(0.7500), 'num_models': tensor(2)}
    """

    higher_is_better = True
    size_names = ("keypoints",)

    def update(self, preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> None:
        """Add models: preds (B, K, 3), cloud (B, N, 3), same unit, and mask (B, N) bool or None."""
        preds, cloud = preds.detach().cpu(), cloud.detach().cpu()
        placed = into_unit_ball(preds, cloud, None if mask is None else mask.cpu())
        self._append(placed, placed.shape[1])

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no model was given.
        """
        keypoints = self._rows(*self._known_sizes(), 3)
        num_models = len(keypoints)
        if not num_models:
            raise ValueError("SelfAlignment needs at least one model, got none")
        agreement = index_agreement(keypoints)
        result = {
            "das_sc3k": agreement[0, 1:].mean(),
            "das_sc3k_all": mean_over_pairs(agreement, torch.ones(num_models, dtype=torch.float64)),
        }
        if num_models > 2 and self.num_bootstrap:
            result |= self._ratio_intervals(["das_sc3k"], agreement[0, 1:])
            replicates = mean_over_pairs(agreement, self._weights(num_models))[:, None]
            result |= self._intervals(["das_sc3k_all"], replicates, num_models)
        elif self.num_bootstrap:
            for name in [*result]:
                result |= named_ends([name], *torch.full((2, 1), torch.nan))
        return self._results(result, num_models=num_models)
