"""SC3K's DAS: whether keypoint k lies at the position of keypoint k on other shapes, without annotations.

SC3K's published code (Zohaib and Del Bue, ICCV 2023) calls this DAS; it shares the name of Skeleton Merger's score, but
measures something else, and values of the two cannot be compared. Keypoints of one model are compared with those of
another in one frame, so the shapes must be aligned and similar. Keypoints in the same positions on every shape get 1;
K of them in one place get about 1 / K.
"""

import torch
from torch import Tensor

from pcsargmax.metrics.coverage import checked_cloud_mask, cloud_radius


def index_agreement(keypoints: Tensor) -> Tensor:
    """Return the share of the keypoints of one model whose nearest keypoint on another has the same index.

    Args:
        keypoints: (M, K, D) of M models in one frame.

    Returns:
        (M, M) float64: row a, column b is the share of a's keypoints whose nearest on b has their own index; the lowest
        index among equally near ones is taken.

    Raises:
        ValueError: keypoints not (M, K, D), K at least 1, or not finite.
    """
    if keypoints.ndim != 3 or not all(keypoints.shape[1:]):
        raise ValueError(f"keypoints must be (M, K, D), K at least 1, got {tuple(keypoints.shape)}")
    broken = int((~keypoints.isfinite().all(dim=-1)).sum())
    if broken:
        raise ValueError(f"keypoints must be finite, got NaN or infinity at {broken} of them")
    keypoints = keypoints.double()
    own = torch.arange(keypoints.shape[1], device=keypoints.device)
    rows = []
    for reference in keypoints:  # one at a time: all pairs at once would take M² K² numbers
        offset = reference[None, :, None] - keypoints[:, None]  # (M, K, K, D)
        nearest = torch.linalg.vector_norm(offset, dim=-1).argmin(dim=2)
        rows.append((nearest == own).double().mean(dim=1))
    return torch.stack(rows) if rows else keypoints.new_empty(0, 0)


def into_unit_ball(preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Move keypoints to SC3K's frame: the mean of the cloud's points at the origin, the farthest at distance 1.

    Args:
        preds: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud, False for padding; None: all.

    Returns:
        (B, K, 3) float64.

    Raises:
        ValueError: shapes that do not agree, positions that are not finite, or a cloud without extent.
    """
    mask = checked_cloud_mask(preds, cloud, mask)
    total = cloud.double().masked_fill(~mask[..., None], 0).sum(dim=1, keepdim=True)
    mean = total / mask.sum(dim=1)[:, None, None]
    return (preds.double() - mean) / cloud_radius(cloud, mask)[:, None, None]


def mean_over_pairs(agreement: Tensor, weights: Tensor) -> Tensor:
    """Mean of agreement (M, M) over the ordered pairs of two models under weights (M,) or (R, M): () or (R,)."""
    apart = agreement - torch.diag(agreement.diagonal())
    pairs = weights.sum(dim=-1).square() - weights.square().sum(dim=-1)
    return ((weights @ apart) * weights).sum(dim=-1) / pairs
