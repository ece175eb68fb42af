"""Distances between the keypoints of a model, and merging of those that lie in one place."""

import torch
from torch import Tensor


def smallest_distance(keypoints: Tensor, present: Tensor | None = None) -> Tensor:
    """Return the smallest distance between two keypoints of a model.

    Args:
        keypoints: (B, K, D) positions.
        present: (B, K) bool, the keypoints that count; None: all.

    Returns:
        (B,) float64, the unit of the positions; NaN with fewer than two keypoints.
    """
    smallest = _to_nearest_other(keypoints, present).amin(dim=1)
    return smallest.masked_fill(smallest.isinf(), torch.nan)


def mean_spacing(keypoints: Tensor, present: Tensor | None = None) -> Tensor:
    """Return the mean distance of the keypoints of a model to the nearest other one; as `smallest_distance`."""
    distance = _to_nearest_other(keypoints, present)
    return distance.masked_fill(distance.isinf(), torch.nan).nanmean(dim=1)


def merge_close(keypoints: Tensor, resolution: Tensor) -> Tensor:
    """Move all keypoints that are connected by steps shorter than the resolution to the first of them.

    Args:
        keypoints: (B, K, D) positions.
        resolution: (B,) upper limit of a step, same unit; 0 and NaN move nothing.

    Returns:
        (B, K, D) float64.
    """
    count = keypoints.shape[1]
    linked = _pair_distance(keypoints) < resolution.double()[:, None, None]
    linked |= torch.eye(count, dtype=torch.bool, device=keypoints.device)
    for _ in range(max(count - 2, 0).bit_length()):  # each turn doubles the number of steps, up to K − 1
        linked = linked.float() @ linked.float() > 0
    first = linked.int().argmax(dim=2)  # the first True of a row
    return keypoints.double().gather(1, first[..., None].expand(-1, -1, keypoints.shape[2]))


def _pair_distance(keypoints: Tensor) -> Tensor:
    """Distances (B, K, K) between keypoints (B, K, D), float64."""
    keypoints = keypoints.double()
    return torch.linalg.vector_norm(keypoints[:, :, None] - keypoints[:, None], dim=-1)


def _to_nearest_other(keypoints: Tensor, present: Tensor | None) -> Tensor:
    """Distance (B, K), float64, of each keypoint to the nearest other of its model; infinite where there is none."""
    distance = _pair_distance(keypoints)
    same = torch.eye(keypoints.shape[1], dtype=torch.bool, device=keypoints.device)
    if present is not None:
        same = same | ~present[:, None] | ~present[:, :, None]
    return distance.masked_fill(same, torch.inf).amin(dim=2)
