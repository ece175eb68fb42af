"""Coverage and inclusivity: do keypoints span the shape, and do they lie on its surface? No annotation is needed.

As in SC3K (Zohaib and Del Bue, ICCV 2023), which took them from Fernandez-Labrador et al. (CVPR 2020). Lengths are
in shares of the cloud's radius, the largest distance of a point from the mean of all: the unit of SC3K, whatever the
frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import check_num_bootstrap, flat_rows, mean_with_interval
from pcsargmax.metrics.pck import checked_thresholds, threshold_name
from pcsargmax.metrics.spacing import smallest_distance


def box_coverage(keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """How near the bounding box of the keypoints comes to that of the cloud in size, as SC3K publishes it.

    1 − |d − d′| / d with d and d′ the diagonals of the boxes of cloud and keypoints, at least 0. Where the boxes lie
    plays no part; see `box_iou`.

    Args:
        keypoints: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud, False for padding; None: all.

    Returns:
        (B,) float64, 0 to 1.

    Raises:
        ValueError: shapes that do not agree, positions that are not finite, or a cloud without extent.
    """
    mask = checked_cloud_mask(keypoints, cloud, mask)
    low, high = _boxes(cloud, mask)
    diagonal = torch.linalg.vector_norm(high - low, dim=-1)
    keypoints = keypoints.double()
    own = torch.linalg.vector_norm(keypoints.amax(dim=1) - keypoints.amin(dim=1), dim=-1)
    return (1 - (diagonal - own).abs() / diagonal).clamp_min(0)


def box_iou(keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Volume that the bounding boxes of keypoints and cloud share, over the volume that either has.

    An axis along which the cloud has no extent does not count.

    Args:
        keypoints: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud; None: all.

    Returns:
        (B,) float64, 0 to 1.

    Raises:
        ValueError: as in `box_coverage`.
    """
    mask = checked_cloud_mask(keypoints, cloud, mask)
    low, high = _boxes(cloud, mask)
    keypoints = keypoints.double()
    own_low, own_high = keypoints.amin(dim=1), keypoints.amax(dim=1)
    shared = (torch.minimum(high, own_high) - torch.maximum(low, own_low)).clamp_min(0)
    flat = high == low
    shared, whole, own = (side.masked_fill(flat, 1).prod(dim=1) for side in (shared, high - low, own_high - own_low))
    return shared / (whole + own - shared)


def surface_distance(keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Distance of each keypoint to the nearest point of the cloud, in shares of the cloud's radius.

    Args:
        keypoints: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud; None: all.

    Returns:
        (B, K) float64.

    Raises:
        ValueError: as in `box_coverage`.
    """
    mask = checked_cloud_mask(keypoints, cloud, mask)
    rows = []
    for own, points, keep in zip(keypoints.double(), cloud.double(), mask, strict=True):
        offset = own[:, None] - points[keep]
        rows.append(torch.linalg.vector_norm(offset, dim=-1).amin(dim=1))
    distance = torch.stack(rows) if rows else keypoints.new_empty(keypoints.shape[:2], dtype=torch.float64)
    return distance / cloud_radius(cloud, mask)[:, None]


def inclusivity(
    keypoints: Tensor, cloud: Tensor, thresholds: Sequence[float] = (0.03,), *, mask: Tensor | None = None
) -> Tensor:
    """Share of the keypoints that lie nearer to the cloud than a threshold (strictly, as in SC3K).

    Args:
        keypoints: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        thresholds: T distances in shares of the cloud's radius, positive and ascending; SC3K's is 0.03.
        mask: (B, N) bool, True for the points of the cloud; None: all.

    Returns:
        (B, T) float64.
    """
    limits = torch.tensor(checked_thresholds(thresholds), dtype=torch.float64, device=keypoints.device)
    return (surface_distance(keypoints, cloud, mask)[..., None] < limits).double().mean(dim=1)


def cloud_radius(cloud: Tensor, mask: Tensor) -> Tensor:
    """Largest distance of a point from the mean of all: cloud (B, N, 3), mask (B, N) bool -> (B,) float64."""
    points = cloud.double().masked_fill(~mask[..., None], 0)
    mean = points.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]
    return torch.linalg.vector_norm(points - mean, dim=-1).masked_fill(~mask, 0).amax(dim=1)


def _boxes(cloud: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high corner (B, 3) of each cloud, float64."""
    points, padding = cloud.double(), ~mask[..., None]
    return points.masked_fill(padding, torch.inf).amin(dim=1), points.masked_fill(padding, -torch.inf).amax(dim=1)


def checked_cloud_mask(keypoints: Tensor, cloud: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, all True for None, after checking everything."""
    shapes_fit = keypoints.ndim == cloud.ndim == 3 and keypoints.shape[::2] == cloud.shape[::2]
    if not shapes_fit or cloud.shape[2] != 3 or not keypoints.shape[1] or not cloud.shape[1]:
        raise ValueError(
            "keypoints and cloud must be (B, K, 3) and (B, N, 3), K and N at least 1, "
            f"got {tuple(keypoints.shape)} and {tuple(cloud.shape)}"
        )
    if mask is None:
        mask = torch.ones(cloud.shape[:2], dtype=torch.bool, device=cloud.device)
    if mask.dtype != torch.bool or mask.shape != cloud.shape[:2]:
        raise ValueError(
            f"mask must be bool of shape {tuple(cloud.shape[:2])}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    everything = torch.ones(keypoints.shape[:2], dtype=torch.bool, device=keypoints.device)
    for name, positions, used in (("keypoints", keypoints, everything), ("cloud", cloud, mask)):
        broken = int((used & ~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} of {int(used.sum())}")
    low, high = _boxes(cloud, mask)
    without = int((~(high > low).any(dim=1)).sum())
    if without:
        raise ValueError(f"cloud must have extent, got all points in one place or none in {without} of {len(cloud)}")
    return mask


class Coverage(Metric):
    """Coverage, inclusivity and spacing of keypoints, means over models with 95 % bootstrap intervals.

    `compute` returns, lengths in shares of the cloud's radius:

    - "coverage": `box_coverage`; "box_iou"; "inclusivity@0.03" and so on per threshold;
    - "surface_distance": mean over the keypoints; "spacing": smallest distance between two keypoints, NaN for one;
    - the same with "/low" and "/high": ends of the interval; NaN for a single model;
    - "num_models".

    Args:
        thresholds: of inclusivity, shares of the radius, positive and ascending.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_values: list[Tensor]

    def __init__(self, thresholds: Sequence[float] = (0.03,), num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = checked_thresholds(thresholds)
        check_num_bootstrap(num_bootstrap)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, so that a process without any model can still be gathered.
        self.add_state("flat_values", default=[], dist_reduce_fx="cat")

    def update(self, keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> None:
        """Add models: keypoints (B, K, 3), cloud (B, N, 3), same unit, and mask (B, N) bool or None."""
        keypoints, cloud = keypoints.detach().cpu(), cloud.detach().cpu()
        mask = checked_cloud_mask(keypoints, cloud, None if mask is None else mask.cpu())
        distance = surface_distance(keypoints, cloud, mask)
        limits = torch.tensor(self.thresholds, dtype=torch.float64)
        columns = [
            box_coverage(keypoints, cloud, mask)[:, None],
            box_iou(keypoints, cloud, mask)[:, None],
            (distance[..., None] < limits).double().mean(dim=1),
            distance.mean(dim=1, keepdim=True),
            (smallest_distance(keypoints) / cloud_radius(cloud, mask))[:, None],
        ]
        self.flat_values.append(torch.cat(columns, dim=1).flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model was given.
        """
        shares = [f"inclusivity@{threshold_name(t)}" for t in self.thresholds]
        names = ["coverage", "box_iou", *shares, "surface_distance", "spacing"]
        values = flat_rows(self.flat_values, len(names))
        if not len(values):
            raise ValueError("Coverage needs at least one model, got none")
        return mean_with_interval(self, names, values, self.num_bootstrap, self.seed)
