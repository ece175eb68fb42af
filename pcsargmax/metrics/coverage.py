"""Coverage and inclusivity: whether keypoints span the shape and lie on its surface, without annotations.

As in SC3K (Zohaib and Del Bue, ICCV 2023), which took them from Fernandez-Labrador et al. (CVPR 2020). Lengths are
in shares of the cloud's radius, the largest distance of a point from the mean of all: the unit of SC3K in any frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcsargmax.metrics.pck import checked_thresholds
from pcsargmax.metrics.spacing import smallest_distance


def box_coverage(preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return how close the bounding box of the keypoints is in size to that of the cloud, as SC3K defines coverage.

    1 − |d − d′| / d with d and d′ the diagonals of the boxes of cloud and keypoints, at least 0. Where the boxes lie
    plays no part; see `box_iou`.

    Args:
        preds: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud, False for padding; None: all.

    Returns:
        (B,) float64, 0 to 1.

    Raises:
        ValueError: shapes that do not agree, positions that are not finite, or a cloud without extent.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import box_coverage
        >>> cloud = torch.tensor([[[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]])  # a diagonal of 5
        >>> box_coverage(torch.tensor([[[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]]]), cloud)
        tensor([0.8000], dtype=torch.float64)
    """
    mask = checked_cloud_mask(preds, cloud, mask)
    low, high = _boxes(cloud, mask)
    diagonal = torch.linalg.vector_norm(high - low, dim=-1)
    preds = preds.double()
    own = torch.linalg.vector_norm(preds.amax(dim=1) - preds.amin(dim=1), dim=-1)
    return (1 - (diagonal - own).abs() / diagonal).clamp_min(0)


def box_iou(preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the intersection over union of the bounding boxes of keypoints and cloud.

    An axis along which the cloud has no extent does not count.

    Args:
        preds: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud; None: all.

    Returns:
        (B,) float64, 0 to 1.

    Raises:
        ValueError: as in `box_coverage`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import box_iou
        >>> cloud = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]])
        >>> box_iou(torch.tensor([[[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]]]), cloud)  # half of the box
        tensor([0.5000], dtype=torch.float64)
    """
    mask = checked_cloud_mask(preds, cloud, mask)
    low, high = _boxes(cloud, mask)
    preds = preds.double()
    own_low, own_high = preds.amin(dim=1), preds.amax(dim=1)
    shared = (torch.minimum(high, own_high) - torch.maximum(low, own_low)).clamp_min(0)
    flat = high == low
    shared, whole, own = (side.masked_fill(flat, 1).prod(dim=1) for side in (shared, high - low, own_high - own_low))
    return shared / (whole + own - shared)


def surface_distance(preds: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the distance of each keypoint to the nearest point of the cloud, in shares of the cloud's radius.

    Args:
        preds: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud; None: all.

    Returns:
        (B, K) float64.

    Raises:
        ValueError: as in `box_coverage`.
    """
    mask = checked_cloud_mask(preds, cloud, mask)
    rows = []
    for own, points, keep in zip(preds.double(), cloud.double(), mask, strict=True):
        offset = own[:, None] - points[keep]
        rows.append(torch.linalg.vector_norm(offset, dim=-1).amin(dim=1))
    distance = torch.stack(rows) if rows else preds.new_empty(preds.shape[:2], dtype=torch.float64)
    return distance / cloud_radius(cloud, mask)[:, None]


def inclusivity(
    preds: Tensor, cloud: Tensor, mask: Tensor | None = None, *, thresholds: Sequence[float] = (0.03,)
) -> Tensor:
    """Return the share of the keypoints that lie nearer to the cloud than a threshold (strictly, as in SC3K).

    Args:
        preds: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud; None: all.
        thresholds: T distances in shares of the cloud's radius, positive and ascending; SC3K's is 0.03.

    Returns:
        (B, T) float64.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import inclusivity
        >>> cloud = torch.tensor([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # a radius of 1
        >>> keypoints = torch.tensor([[[1.02, 0.0, 0.0], [0.0, 0.0, 0.0]]])
        >>> inclusivity(keypoints, cloud)  # 0.02 and 1 away
        tensor([[0.5000]], dtype=torch.float64)
    """
    limits = torch.tensor(checked_thresholds(thresholds), dtype=torch.float64, device=preds.device)
    return (surface_distance(preds, cloud, mask)[..., None] < limits).double().mean(dim=1)


def coverage_values(
    preds: Tensor, cloud: Tensor, mask: Tensor | None = None, *, thresholds: Sequence[float] = (0.03,)
) -> Tensor:
    """Return all of these metrics of each model; arguments as of `inclusivity`.

    Returns:
        (B, 4 + T) float64: coverage, IoU of the boxes, inclusivity at each threshold, mean distance to the surface,
        smallest distance between two keypoints, the last two in shares of the radius.
    """
    mask = checked_cloud_mask(preds, cloud, mask)
    distance = surface_distance(preds, cloud, mask)
    limits = torch.tensor(thresholds, dtype=torch.float64)
    columns = [
        box_coverage(preds, cloud, mask)[:, None],
        box_iou(preds, cloud, mask)[:, None],
        (distance[..., None] < limits).double().mean(dim=1),
        distance.mean(dim=1, keepdim=True),
        (smallest_distance(preds) / cloud_radius(cloud, mask))[:, None],
    ]
    return torch.cat(columns, dim=1)


def cloud_radius(cloud: Tensor, mask: Tensor) -> Tensor:
    """Largest distance of a point from the mean of all: cloud (B, N, 3), mask (B, N) bool -> (B,) float64."""
    points = cloud.double().masked_fill(~mask[..., None], 0)
    mean = points.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]
    return torch.linalg.vector_norm(points - mean, dim=-1).masked_fill(~mask, 0).amax(dim=1)


def _boxes(cloud: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high corner (B, 3) of each cloud, float64."""
    points, padding = cloud.double(), ~mask[..., None]
    return points.masked_fill(padding, torch.inf).amin(dim=1), points.masked_fill(padding, -torch.inf).amax(dim=1)


def checked_cloud_mask(preds: Tensor, cloud: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, all True for None, after checking everything."""
    shapes_fit = preds.ndim == cloud.ndim == 3 and preds.shape[::2] == cloud.shape[::2]
    if not shapes_fit or cloud.shape[2] != 3 or not preds.shape[1] or not cloud.shape[1]:
        raise ValueError(
            "preds and cloud must be (B, K, 3) and (B, N, 3), K and N at least 1, "
            f"got {tuple(preds.shape)} and {tuple(cloud.shape)}"
        )
    if mask is None:
        mask = torch.ones(cloud.shape[:2], dtype=torch.bool, device=cloud.device)
    if mask.dtype != torch.bool or mask.shape != cloud.shape[:2]:
        raise ValueError(
            f"mask must be bool of shape {tuple(cloud.shape[:2])}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    everything = torch.ones(preds.shape[:2], dtype=torch.bool, device=preds.device)
    for name, positions, used in (("preds", preds, everything), ("cloud", cloud, mask)):
        broken = int((used & ~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} of {int(used.sum())}")
    low, high = _boxes(cloud, mask)
    without = int((~(high > low).any(dim=1)).sum())
    if without:
        raise ValueError(f"cloud must have extent, got all points in one place or none in {without} of {len(cloud)}")
    return mask
