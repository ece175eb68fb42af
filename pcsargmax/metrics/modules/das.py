"""Dual alignment score, with intervals over models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.alignment import Labels, corrected_das_from_labels, das_from_labels, nearest_labels
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.spacing import mean_spacing, merge_close, smallest_distance


class DAS(BootstrapMetric):
    """Dual alignment score (Shi et al., Skeleton Merger, CVPR 2021), with chance correction and collapse check.

    Forward: each keypoint takes the semantic id of its nearest present annotation; the mean over all ordered pairs of
    models of the share of keypoints whose ids agree. Backward: each annotation takes the index of its nearest
    keypoint; per semantic id the mean agreement over the pairs of the models that have it, then the plain mean over
    the ids. DAS is the mean of both. The paper counts a model with itself as a pair; `protocol` says which was used.
    The scores come from counts per keypoint and id, so their cost grows with the models and not with their pairs.

    The corrected score is 0 by chance and 1 for perfect agreement in both directions; see `corrected`. For it,
    keypoints nearer to one another than `resolution` times the mean distance of the model's annotations to their
    nearest other are one place (`merge_close`): where ten keypoints have collapsed, their tiny offsets still
    separate annotations by direction, in the same way on all models. The same limit, averaged over the
    models, decides "collapsed".
    A tenth is a fifth of the smallest distance between annotations on a KeypointNet mug, 1.7 times the spacing of its
    2048 points, and far below an even spread of more keypoints than annotations (half the distance for 32 instead of
    10). The mean is taken since some models have two annotations in one place. A model with a single annotation has no
    such limit.

    `update` takes keypoints and annotations in one frame: that of the paper is `NormalizeMinMax`. Models without any
    annotation are counted and left out. `compute` returns tensors, scores from 0 to 1 (the corrected ones at most 1,
    below 0 where models agree less than by chance):

    - "das", "das_forward", "das_backward";
    - "das_corrected", "das_corrected_forward", "das_corrected_backward": over pairs of two models;
    - the same six with "/low" and "/high": ends of the 95 % bootstrap interval over models, all from the same draw;
      a model drawn twice is never paired with its own copy (`das_from_labels`); NaN for a single model;
    - "min_distance", "min_distance_worst": smallest distance between two keypoints of a model, mean and minimum
      over the models; "annotation_spacing": distance of an annotation to the nearest other, mean over the models of
      their means; all in units of the frame;
    - "collapsed": bool, min_distance < resolution · annotation_spacing;
    - "num_models", "num_unannotated": number of models counted, and of models left out.

    Without two models that can be compared the corrected score is NaN, as is DAS without self-pairs; distances are
    NaN where no model has two keypoints.

    Args:
        self_pairs: count pairs of a model with itself, as the paper does.
        resolution: share of the spacing of a model's annotations below which two keypoints are one; 0: never.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Keypoint 0 lies at annotation 0 on both models, keypoint 1 on the first only:

        >>> import torch
        >>> from pcsargmax.metrics import DAS
        >>> target = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]).expand(2, 2, 2)
        >>> preds = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[0.1, 0.0], [0.3, 0.0]]])
        >>> metric = DAS(self_pairs=False, num_bootstrap=0)
        >>> result = metric(preds, target, torch.ones(2, 2, dtype=torch.bool))
        >>> {name: float(result[name]) for name in ("das_forward", "das_backward", "das")}
        {'das_forward': 0.5, 'das_backward': 1.0, 'das': 0.75}
    """

    higher_is_better = True
    size_names = ("keypoints", "ids")
    num_unannotated: Tensor

    def __init__(
        self,
        *,
        self_pairs: bool = True,
        resolution: float = 0.1,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if not 0 <= resolution < 1:
            raise ValueError(f"resolution must be at least 0 and less than 1, got {resolution}")
        self.self_pairs = self_pairs
        self.resolution = resolution
        self.add_state("num_unannotated", default=torch.tensor(0), dist_reduce_fx="sum")

    @property
    def protocol(self) -> str:
        """Which pairs "das" counts: "skeleton-merger" or "without self-pairs"."""
        return "skeleton-merger" if self.self_pairs else "without self-pairs"

    def update(self, preds: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add models: preds (B, K, D), target (B, G, D), visible (B, G) bool; see `nearest_labels`."""
        preds, target, visible = preds.detach().cpu(), target.detach().cpu(), visible.cpu()
        nearest = nearest_labels(preds, target, visible)
        sizes = nearest.ids.shape[1], nearest.keypoints.shape[1]
        self._check_sizes(*sizes, name="preds and target")
        spacing = mean_spacing(target, visible)
        merged = merge_close(preds, self.resolution * spacing)
        distances = torch.stack([smallest_distance(preds), spacing], dim=1)
        rows = torch.cat([*nearest, *nearest_labels(merged, target, visible), distances], dim=1)
        annotated = visible.any(dim=1)
        self.num_unannotated += int((~annotated).sum())
        self._append(rows[annotated], *sizes)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no model with an annotation was given.
        """
        labels = self.labels
        num_models = len(labels.ids)
        if not num_models:
            raise ValueError(f"DAS needs at least one annotated model, got none in {int(self.num_unannotated)} models")
        result = self._scores(labels)
        if self.num_bootstrap:
            for name, replicates in self._scores(labels, self._weights(num_models)).items():
                result |= self._intervals([name], replicates[:, None], num_models)
        result["min_distance"], result["annotation_spacing"] = labels.distances.nanmean(dim=0)
        result["min_distance_worst"] = labels.distances[:, 0].amin()
        result = self._results(result)
        result["collapsed"] = result["min_distance"] < self.resolution * result["annotation_spacing"]
        return result | self._results({}, num_models=num_models, num_unannotated=self.num_unannotated.long())

    @property
    def labels(self) -> Labels:
        """The labels of the annotated models given so far, in their order, on the CPU."""
        k, g = (int(size) for size in self.sizes)
        rows = self._rows(2 * (k + g) + 2)
        ids, keypoints, merged_ids, merged_keypoints = rows[:, :-2].long().split([k, g, k, g], dim=1)
        return Labels(ids, keypoints, merged_ids, merged_keypoints, rows[:, -2:])

    def _scores(self, labels: Labels, weights: Tensor | None = None) -> dict[str, Tensor]:
        scores = das_from_labels(labels.ids, labels.keypoints, weights, self_pairs=self.self_pairs)
        return scores | corrected_das_from_labels(labels.merged_ids, labels.merged_keypoints, weights)
