"""Skeletons: the segments between all pairs of keypoints as points, and how far they are from a cloud.

The decoder and the losses of Skeleton Merger (Shi et al., CVPR 2021). A skeleton of K keypoints has P = K (K − 1) / 2
edges, numbered as `combinations(range(K), 2)` numbers them, each with a strength from 0 to 1. Lengths are in the frame
of the cloud; the constants below are those of the paper's code, made for clouds in [−1, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.ops.chamfer import CompositeChamfer, composite_chamfer

__all__ = [
    "EDGE_POINTS",
    "EDGE_SPACING",
    "CompositeChamfer",
    "SkeletonLoss",
    "composite_chamfer",
    "decode",
    "decode_cloud",
    "edge_count",
    "edge_pairs",
    "skeleton_loss",
]

#: Rows of offsets an edge has: the most points it can be drawn with.
EDGE_POINTS = 200
#: Distance of neighbouring points of an edge.
EDGE_SPACING = 0.01
#: The fewest points of an edge.
_FEWEST_POINTS = 15
#: Added to the squared length of an edge before its root is taken.
_LENGTH_EPSILON = 1e-3
#: Weight of the sum of the squared offsets.
_OFFSET_WEIGHT = 0.01


class SkeletonLoss(NamedTuple):
    """The loss of each skeleton, and its parts.

    Attributes:
        fidelity: (B,) as in `CompositeChamfer`.
        coverage: (B,) likewise.
        offset_penalty: (B,) 0.01 Σ offset², over all rows of all edges: the same for all skeletons.
        total: (B,) the sum of the three.

    Example:
        >>> import torch
        >>> from pcsargmax import skeleton_loss
        >>> keypoints, clouds = torch.rand(2, 3, 3), torch.rand(2, 100, 3)
        >>> found = skeleton_loss(keypoints, strengths=torch.ones(2, 3), offsets=torch.zeros(3, 200, 3), cloud=clouds)
        >>> found.total.shape, found.offset_penalty
        (torch.Size([2]), tensor([0., 0.]))
    """

    fidelity: Tensor
    coverage: Tensor
    offset_penalty: Tensor
    total: Tensor


def edge_pairs(num_keypoints: int, *, device: torch.device | None = None) -> Tensor:
    """Number the edges: (P, 2) indices of the keypoints that each one joins, the lower first.

    Raises:
        ValueError: fewer than two keypoints.
    """
    if num_keypoints < 2:
        raise ValueError(f"num_keypoints: expected at least 2, the ends of an edge, got {num_keypoints}")
    return torch.combinations(torch.arange(num_keypoints, device=device))


def edge_count(keypoints: Tensor, spacing: float = EDGE_SPACING) -> Tensor:
    """Say with how many points each edge is drawn: one for every 0.01, or `spacing`, of its mean length, 15 to 200.

    The mean is over the batch, so counts depend on what else is in it: pass them on where an item must give what it
    gives alone. A length is sqrt(1e-3 + ‖a − b‖²).

    Args:
        keypoints: (B, K, 3) finite.
        spacing: distance of neighbouring points; those of a cloud of 2048 points in [−1, 1] lie some 0.04 apart.

    Returns:
        (P,) long, without gradient.

    Raises:
        ValueError: a wrong shape, K < 2, keypoints that are not finite, or a spacing that is not positive.
    """
    _check_keypoints(keypoints)
    if not spacing > 0:
        raise ValueError(f"spacing: expected more than 0, got {spacing}")
    first, second = _ends(_full(keypoints.detach()), edge_pairs(keypoints.shape[1], device=keypoints.device))
    length = ((first - second).square().sum(dim=-1) + _LENGTH_EPSILON).sqrt().mean(dim=0)
    if not length.isfinite().all():
        raise ValueError("keypoints: expected finite coordinates, got NaN or infinite ones")
    return (length / spacing).long().clamp(_FEWEST_POINTS, EDGE_POINTS)


def decode(keypoints: Tensor, offsets: Tensor, counts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Draw the edges as points: evenly spaced from the first keypoint to the second, ends included, plus offsets.

    Args:
        keypoints: (B, K, 3).
        offsets: (P, R, 3) what is added to the points, row by row from the first keypoint on; R is 200 in the paper.
        counts: (P,) points of each edge, 2 to R; None takes `edge_count(keypoints)`.

    Returns:
        (B, E, 3) the points of all edges, E = Σ counts, and (E,) the ascending number of each one's edge.

    Raises:
        ValueError: shapes that do not fit, or counts outside 2 to R.

    Example:
        >>> import torch
        >>> from pcsargmax.ops.skeleton import decode
        >>> ends = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # (B, K, 3): two keypoints, one edge
        >>> points, edge = decode(ends, torch.zeros(1, 200, 3), counts=torch.tensor([5]))
        >>> points[0, :, 0], edge
        (tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000]), tensor([0, 0, 0, 0, 0]))
    """
    _check_keypoints(keypoints)
    pairs = edge_pairs(keypoints.shape[1], device=keypoints.device)
    if offsets.dim() != 3 or offsets.shape[0] != len(pairs) or offsets.shape[2] != 3:
        expected = f"(P, R, 3) = ({len(pairs)}, R, 3) for {keypoints.shape[1]} keypoints"
        raise ValueError(f"offsets: expected {expected}, got {tuple(offsets.shape)}")
    counts = edge_count(keypoints) if counts is None else counts
    if counts.shape != (len(pairs),) or counts.is_floating_point():
        raise ValueError(f"counts: expected {len(pairs)} integers, got {counts.dtype} {tuple(counts.shape)}")
    if counts.min() < 2 or counts.max() > offsets.shape[1]:
        got = f"{int(counts.min())} to {int(counts.max())}"
        raise ValueError(f"counts: expected 2 to {offsets.shape[1]} points an edge, the rows of offsets, got {got}")
    keypoints, offsets = _full(keypoints), _full(offsets)
    edge = torch.repeat_interleave(counts)
    row = torch.arange(len(edge), device=edge.device) - (counts.cumsum(0) - counts)[edge]
    share = (row.to(keypoints.dtype) / (counts - 1)[edge]).unsqueeze(-1)
    first, second = _ends(keypoints, pairs[edge])
    return first * (1 - share) + second * share + offsets[edge, row], edge


def decode_cloud(keypoints: Tensor, offsets: Tensor, counts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Draw one skeleton, to be looked at or stored, without gradient.

    Args:
        keypoints: (K, 3).
        offsets: as in `decode`.
        counts: as in `decode`; None counts by the lengths of this skeleton alone.

    Returns:
        (E, 3) points and (E,) the number of each one's edge; `edge_pairs(K)` names its ends.

    Raises:
        ValueError: as `decode`.
    """
    if keypoints.dim() != 2:
        raise ValueError(f"keypoints: expected those of one cloud, (K, 3), got {tuple(keypoints.shape)}")
    with torch.no_grad():
        points, edge = decode(keypoints.unsqueeze(0), offsets, counts)
    return points[0], edge


def skeleton_loss(
    keypoints: Tensor,
    strengths: Tensor,
    offsets: Tensor,
    cloud: Tensor,
    mask: Tensor | None = None,
    *,
    counts: Tensor | None = None,
) -> SkeletonLoss:
    """Measure how far skeletons are from their clouds; the mean over the items is the loss of the paper's code.

    Args:
        keypoints: (B, K, 3), or (B · S, K, 3): S in a row, such as the samples of a map, belong to one cloud.
        strengths: (B, P) or (B · S, P) of each edge, 0 to 1.
        offsets: (P, R, 3) as in `decode`.
        cloud: (B, N, 3), in the frame of the keypoints.
        mask: (B, N) bool, True at real points; None where all are.
        counts: (P,) points of each edge; None takes `edge_count(keypoints)`.

    Returns:
        The loss and its parts, each (B,) or (B · S,), in at least float32.

    Raises:
        ValueError: as `decode` and `composite_chamfer`.

    Example:
        >>> import torch
        >>> from pcsargmax import skeleton_loss
        >>> ends = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # (B, K, 3): two keypoints, one edge
        >>> line = torch.linspace(0, 1, 100).unsqueeze(1) * torch.tensor([1.0, 0.0, 0.0])
        >>> loss = skeleton_loss(ends, torch.ones(1, 1), torch.zeros(1, 200, 3), cloud=line.unsqueeze(0))
        >>> loss.fidelity.round(decimals=2), loss.coverage.round(decimals=2)  # the skeleton covers the cloud
        (tensor([0.0100]), tensor([0.0100]))
    """
    points, edge = decode(keypoints, offsets, counts)
    fidelity, coverage = composite_chamfer(points, edge, strengths, cloud, mask)
    penalty = (_OFFSET_WEIGHT * _full(offsets).square().sum()).expand(len(points))
    return SkeletonLoss(fidelity, coverage, penalty, fidelity + coverage + penalty)


def _check_keypoints(keypoints: Tensor) -> None:
    if keypoints.dim() != 3 or keypoints.shape[2] != 3 or len(keypoints) == 0 or not keypoints.is_floating_point():
        raise ValueError(f"keypoints: expected floating (B, K, 3), got {keypoints.dtype} {tuple(keypoints.shape)}")


def _full(values: Tensor) -> Tensor:
    """Return the values in at least float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _ends(keypoints: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keypoints (B, Q, 3) at the first and at the second of the (Q, 2) indices."""
    return keypoints[:, pairs[:, 0]], keypoints[:, pairs[:, 1]]
