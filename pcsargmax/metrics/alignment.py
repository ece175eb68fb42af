"""Dual alignment score (DAS) of discovered keypoints, plain and corrected for chance.

DAS measures whether keypoint k marks the same part on every shape, whichever it is. It is a mean over pairs of models,
and rewards collapse: ten keypoints in one place all take the id of the annotation next to it, and agree. So a corrected
score complements it, and the smallest distance between two keypoints.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.metrics.agreement import corrected, pair_agreement


class Nearest(NamedTuple):
    """Nearest annotation of each keypoint, `ids (B, K)`, and nearest keypoint of each annotation, `keypoints (B, G)`.

    Both long, −1 for none.
    """

    ids: Tensor
    keypoints: Tensor


def nearest_labels(preds: Tensor, target: Tensor, visible: Tensor) -> Nearest:
    """Label each keypoint by its nearest present annotation, and each annotation by its nearest keypoint.

    Args:
        preds: (B, K, D) keypoints, in the frame in which distances are measured.
        target: (B, G, D) annotations by semantic id, same frame; what stands at absent ones is ignored.
        visible: (B, G) bool, True where the model has the annotation.

    Returns:
        The labels, Euclidean, in float64, the lowest index among equals; −1 for an absent annotation, and for all
        keypoints of a model without any.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a position in use that is not finite.
    """
    _check_models(preds, target, visible)
    offset = preds.double()[:, :, None] - target.double()[:, None]
    distance = torch.linalg.vector_norm(offset, dim=-1)  # (B, K, G)
    some = visible.any(dim=1, keepdim=True)
    ids = distance.masked_fill(~visible[:, None], torch.inf).argmin(dim=2)
    keypoints = distance.nan_to_num(nan=0.0).argmin(dim=1)
    return Nearest(ids.masked_fill(~some, -1), keypoints.masked_fill(~visible, -1))


def das_from_labels(
    ids: Tensor, keypoints: Tensor, weights: Tensor | None = None, self_pairs: bool = True
) -> dict[str, Tensor]:
    """Return the DAS of the labels of `nearest_labels`, also under R weightings of the models at a time.

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

    Example:
        Of two models, keypoint 0 has the same label on both, keypoint 1 has not:

        >>> import torch
        >>> from pcsargmax.metrics import das_from_labels
        >>> ids, keypoints = torch.tensor([[0, 1], [0, 0]]), torch.tensor([[0, 1], [0, 1]])
        >>> found = das_from_labels(ids, keypoints, self_pairs=False)
        >>> {name: float(value) for name, value in found.items()}
        {'das': 0.75, 'das_forward': 0.5, 'das_backward': 1.0}
    """
    _check_labels(ids, keypoints)
    forward, backward = (
        pair_agreement(labels, weights, self_pairs=self_pairs).nanmean(dim=-1) for labels in (ids, keypoints)
    )
    return _directions("das", forward, backward)


def corrected_das_from_labels(ids: Tensor, keypoints: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
    """Return the DAS above chance (`corrected`) of labels, as `das_from_labels`.

    Args:
        ids: (M, K) long, those of merged keypoints (`merge_close`) for the corrected score of `DAS`.
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


def _check_models(preds: Tensor, target: Tensor, visible: Tensor) -> None:
    if preds.ndim != 3 or target.ndim != 3 or preds.shape[::2] != target.shape[::2]:
        raise ValueError(
            f"preds and target must be (B, K, D) and (B, G, D), got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if not all(preds.shape[1:]) or not target.shape[1]:
        raise ValueError(
            f"preds and target must hold at least one keypoint, got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if visible.dtype != torch.bool or visible.shape != target.shape[:2]:
        raise ValueError(
            f"visible must be bool of shape {tuple(target.shape[:2])}, "
            f"got {visible.dtype} of shape {tuple(visible.shape)}"
        )
    for name, positions, used in (("preds", preds, None), ("target", target, visible)):
        bad = ~positions.isfinite().all(dim=-1)
        broken = int((bad if used is None else bad & used).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} keypoints")


class Labels(NamedTuple):
    """Labels of M annotated models: long, −1 for none; see `Nearest`.

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
