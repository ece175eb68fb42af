"""Dual alignment score (DAS) of keypoints found without labels, and what of it is more than chance.

DAS asks whether keypoint k means the same on every shape, whatever it means. It is a mean over pairs of models, and
rewards collapse: ten keypoints in one place all take the id of the annotation next to it, and agree. So a corrected
score stands beside it, and the smallest distance between two keypoints.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.agreement import corrected, pair_agreement
from pcsargmax.metrics.bootstrap import check_num_bootstrap, flat_rows, percentile_interval, resample_weights
from pcsargmax.metrics.spacing import mean_spacing, merge_close, smallest_distance


class Nearest(NamedTuple):
    """What lies nearest: `ids (B, K)` to each keypoint, `keypoints (B, G)` to each annotation; long, −1 for none."""

    ids: Tensor
    keypoints: Tensor


def nearest_labels(predicted: Tensor, target: Tensor, visible: Tensor) -> Nearest:
    """Label each keypoint by its nearest present annotation, and each annotation by its nearest keypoint.

    Args:
        predicted: (B, K, D) keypoints, in the frame that distances are to be measured in.
        target: (B, G, D) annotations by semantic id, same frame; what stands at absent ones is ignored.
        visible: (B, G) bool, True where the model has the annotation.

    Returns:
        The labels, Euclidean, in float64, the lowest index among equals; −1 for an absent annotation, and for all
        keypoints of a model without any.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a position in use that is not finite.
    """
    _check_models(predicted, target, visible)
    offset = predicted.double()[:, :, None] - target.double()[:, None]
    distance = torch.linalg.vector_norm(offset, dim=-1)  # (B, K, G)
    some = visible.any(dim=1, keepdim=True)
    ids = distance.masked_fill(~visible[:, None], torch.inf).argmin(dim=2)
    keypoints = distance.nan_to_num(nan=0.0).argmin(dim=1)
    return Nearest(ids.masked_fill(~some, -1), keypoints.masked_fill(~visible, -1))


def das_from_labels(
    ids: Tensor, keypoints: Tensor, weights: Tensor | None = None, self_pairs: bool = True
) -> dict[str, Tensor]:
    """DAS of the labels that `nearest_labels` gives, also of R weightings of the models at a time.

    Args:
        ids: (M, K) long, the id of the annotation nearest to each keypoint; −1 for none.
        keypoints: (M, G) long, the index of the keypoint nearest to each annotation; −1 for absent ones.
        weights: (M,) or (R, M), how often each model counts, e.g. of `resample_weights`; None: once. A model that is
            drawn twice is paired with the others twice, but not with its own copy; see `pair_agreement`.
        self_pairs: count pairs of a model with itself, as published.

    Returns:
        "das", "das_forward" and "das_backward": (), or (R,) for weights (R, M), float64, 0 to 1; NaN without a pair.

    Raises:
        ValueError: labels not (M, K) and (M, G) long, or weights that do not fit them.
    """
    _check_labels(ids, keypoints)
    forward, backward = (
        pair_agreement(labels, weights, self_pairs=self_pairs).nanmean(dim=-1) for labels in (ids, keypoints)
    )
    return _directions("das", forward, backward)


def corrected_das_from_labels(ids: Tensor, keypoints: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
    """DAS above chance (`corrected`) of labels, as `das_from_labels`.

    Args:
        ids: (M, K) long, those of merged keypoints (`merge_close`) for what `DAS` calls corrected.
        keypoints: (M, G) long, likewise.
        weights: (M,) or (R, M), how often each model counts; None: once.

    Returns:
        "das_corrected", "das_corrected_forward" and "das_corrected_backward": () or (R,) float64, at most 1.
    """
    _check_labels(ids, keypoints)
    return _directions("das_corrected", corrected(ids, weights), corrected(keypoints, weights))


def _directions(name: str, forward: Tensor, backward: Tensor) -> dict[str, Tensor]:
    """A score in both directions and their mean, under its keys."""
    return {name: (forward + backward) / 2, f"{name}_forward": forward, f"{name}_backward": backward}


def _check_labels(ids: Tensor, keypoints: Tensor) -> None:
    if ids.ndim != 2 or keypoints.ndim != 2 or len(ids) != len(keypoints):
        raise ValueError(
            f"ids and keypoints must be (M, K) and (M, G), got {tuple(ids.shape)} and {tuple(keypoints.shape)}"
        )


def _check_models(predicted: Tensor, target: Tensor, visible: Tensor) -> None:
    if predicted.ndim != 3 or target.ndim != 3 or predicted.shape[::2] != target.shape[::2]:
        raise ValueError(
            "predicted and target must be (B, K, D) and (B, G, D), "
            f"got {tuple(predicted.shape)} and {tuple(target.shape)}"
        )
    if not all(predicted.shape[1:]) or not target.shape[1]:
        raise ValueError(
            f"predicted and target must hold at least one keypoint, got {tuple(predicted.shape)} "
            f"and {tuple(target.shape)}"
        )
    if visible.dtype != torch.bool or visible.shape != target.shape[:2]:
        raise ValueError(
            f"visible must be bool of shape {tuple(target.shape[:2])}, "
            f"got {visible.dtype} of shape {tuple(visible.shape)}"
        )
    for name, positions, used in (("predicted", predicted, None), ("target", target, visible)):
        bad = ~positions.isfinite().all(dim=-1)
        broken = int((bad if used is None else bad & used).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} keypoints")


class Labels(NamedTuple):
    """What DAS counts, of M annotated models: long, −1 for none; see `Nearest`.

    Attributes:
        ids: (M, K) id of the annotation nearest to each keypoint.
        keypoints: (M, G) index of the keypoint nearest to each annotation.
        merged_ids: (M, K) the same after `merge_close`.
        merged_keypoints: (M, G) likewise.
        distances: (M, 2) float64, `smallest_distance` of the keypoints and `mean_spacing` of the annotations.
    """

    ids: Tensor
    keypoints: Tensor
    merged_ids: Tensor
    merged_keypoints: Tensor
    distances: Tensor


class DAS(Metric):
    """Dual alignment score (Shi et al., Skeleton Merger, CVPR 2021), with chance correction and collapse check.

    Forward: each keypoint takes the semantic id of its nearest present annotation; the mean over all ordered pairs of
    models of the share of keypoints whose ids agree. Backward: each annotation takes the index of its nearest
    keypoint; per semantic id the mean agreement over the pairs of the models that have it, then the plain mean over
    the ids. DAS is the mean of both. The paper counts a model with itself as a pair; `protocol` says which was used.
    Figures come from counts per keypoint and id, so their cost grows with the models and not with their pairs.

    The corrected score is 0 by chance and 1 for perfect agreement in both directions; see `corrected`. For it,
    keypoints nearer to one another than `resolution` times the mean distance of the model's annotations to their
    nearest other are one place (`merge_close`): where ten keypoints have collapsed, their tiny offsets still tell
    annotations apart by direction, alike on all models. The same limit, averaged over the models, decides "collapsed".
    A tenth is a fifth of what annotators hold apart at the least on a KeypointNet mug, 1.7 times the spacing of its
    2048 points, and far below an even spread of more keypoints than annotations (32 instead of 10 come to half the
    distance). The mean is taken since some models have two annotations in one place. A model with a single annotation
    has no such limit.

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
    - "num_models", "num_unannotated": models counted, models left out.

    Without two models that can be compared the corrected score is NaN, as is DAS without self-pairs; distances are
    NaN where no model has two keypoints.

    Args:
        self_pairs: count pairs of a model with itself, as the paper does.
        resolution: share of the spacing of a model's annotations under which two keypoints are one; 0: never.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_labels: list[Tensor]
    num_keypoints: Tensor
    num_ids: Tensor
    num_unannotated: Tensor

    def __init__(
        self, self_pairs: bool = True, resolution: float = 0.1, num_bootstrap: int = 1000, seed: int = 0
    ) -> None:
        """See the class."""
        super().__init__()
        if not 0 <= resolution < 1:
            raise ValueError(f"resolution must be at least 0 and less than 1, got {resolution}")
        check_num_bootstrap(num_bootstrap)
        self.self_pairs = self_pairs
        self.resolution = resolution
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the numbers of keypoints and ids apart: a process without any model can then still be gathered.
        self.add_state("flat_labels", default=[], dist_reduce_fx="cat")
        self.add_state("num_keypoints", default=torch.tensor(0), dist_reduce_fx="max")
        self.add_state("num_ids", default=torch.tensor(0), dist_reduce_fx="max")
        self.add_state("num_unannotated", default=torch.tensor(0), dist_reduce_fx="sum")

    @property
    def protocol(self) -> str:
        """Which pairs "das" counts: "skeleton-merger" or "without self-pairs"."""
        return "skeleton-merger" if self.self_pairs else "without self-pairs"

    def update(self, predicted: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add models: predicted (B, K, D), target (B, G, D), visible (B, G) bool; see `nearest_labels`."""
        predicted, target, visible = predicted.detach().cpu(), target.detach().cpu(), visible.cpu()
        nearest = nearest_labels(predicted, target, visible)
        sizes = nearest.ids.shape[1], nearest.keypoints.shape[1]
        before = int(self.num_keypoints), int(self.num_ids)
        if before not in ((0, 0), sizes):
            raise ValueError(
                f"predicted and target must have {before[0]} keypoints and {before[1]} ids as before, "
                f"got {sizes[0]} and {sizes[1]}"
            )
        spacing = mean_spacing(target, visible)
        merged = merge_close(predicted, self.resolution * spacing)
        distances = torch.stack([smallest_distance(predicted), spacing], dim=1)
        rows = torch.cat([*nearest, *nearest_labels(merged, target, visible), distances], dim=1)
        self.num_keypoints.fill_(sizes[0])
        self.num_ids.fill_(sizes[1])
        annotated = visible.any(dim=1)
        self.num_unannotated += int((~annotated).sum())
        self.flat_labels.append(rows[annotated].flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model with an annotation was given.
        """
        labels = self.labels
        if not len(labels.ids):
            raise ValueError(f"DAS needs at least one annotated model, got none in {int(self.num_unannotated)} models")
        result = self._scores(labels) | self._intervals(labels)
        result["min_distance"], result["annotation_spacing"] = labels.distances.nanmean(dim=0)
        result["min_distance_worst"] = labels.distances[:, 0].amin()
        result = {key: value.to(self.device, self.dtype) for key, value in result.items()}
        result["collapsed"] = result["min_distance"] < self.resolution * result["annotation_spacing"]
        result["num_models"] = torch.tensor(len(labels.ids), device=self.device)
        return result | {"num_unannotated": self.num_unannotated.long()}

    @property
    def labels(self) -> Labels:
        """The labels of the annotated models given so far, in their order, on the CPU."""
        k, g = int(self.num_keypoints), int(self.num_ids)
        rows = flat_rows(self.flat_labels, 2 * (k + g) + 2)
        ids, keypoints, merged_ids, merged_keypoints = rows[:, :-2].long().split([k, g, k, g], dim=1)
        return Labels(ids, keypoints, merged_ids, merged_keypoints, rows[:, -2:])

    def _scores(self, labels: Labels, weights: Tensor | None = None) -> dict[str, Tensor]:
        scores = das_from_labels(labels.ids, labels.keypoints, weights, self_pairs=self.self_pairs)
        return scores | corrected_das_from_labels(labels.merged_ids, labels.merged_keypoints, weights)

    def _intervals(self, labels: Labels) -> dict[str, Tensor]:
        """Interval ends of the scores, all from the same draw of models."""
        if not self.num_bootstrap:
            return {}
        num_models = len(labels.ids)
        ends: dict[str, Tensor] = {}
        weights = resample_weights(num_models, self.num_bootstrap, seed=self.seed)
        for name, replicates in self._scores(labels, weights).items():
            if num_models < 2:
                replicates = torch.full_like(replicates, torch.nan)
            ends[f"{name}/low"], ends[f"{name}/high"] = percentile_interval(replicates)
        return ends
