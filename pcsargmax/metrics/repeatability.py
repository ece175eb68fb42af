"""Repeatability: does a detector find the same keypoints on a turned, noisy, thinned or half-seen copy of a cloud?

    copy = rotated(pos, keypoints, degrees=180, generator=generator)
    found = detect(copy.pos)                               # in the frame of copy.pos
    repeatability(copy.keypoints[None], found[None], (0.05, 0.1))

A collapsed detector repeats itself as well as any, so read it beside the spacing of the keypoints (`Coverage`, `DAS`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import check_num_bootstrap, flat_rows, mean_with_interval
from pcsargmax.metrics.pck import checked_thresholds, threshold_name


class Perturbed(NamedTuple):
    """A changed copy of a cloud, `pos (n, 3)`, and where the original's keypoints are on it, `keypoints (K, 3)`."""

    pos: Tensor
    keypoints: Tensor


def rotated(
    pos: Tensor,
    keypoints: Tensor,
    *,
    degrees: float = 180.0,
    axis: str = "any",
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Turn a cloud and its keypoints about the middle of its bounding box.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        degrees: the angle is uniform in [−degrees, degrees]; 180 about any axis is uniform over all rotations.
        axis: "x", "y", "z" or "any", an axis uniform on the sphere.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: `pos` or `keypoints` not (N, 3) or not finite, or settings out of range.
    """
    from pcsargmax.transforms.augment import RandomRotation

    _check_cloud(pos, keypoints)
    middle = (pos.amin(dim=0) + pos.amax(dim=0)) / 2
    turned = _changed(RandomRotation(degrees, axis, generator), pos - middle, keypoints - middle)
    return Perturbed(turned.pos + middle, turned.keypoints + middle)


def noisy(
    pos: Tensor,
    keypoints: Tensor,
    *,
    sigma: float,
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Add Gaussian noise to each coordinate of the points; the keypoints stay.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        sigma: standard deviation, same unit.
        clip: the largest shift along an axis; None for no limit.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: as in `rotated`.
    """
    from pcsargmax.transforms.augment import RandomJitter

    _check_cloud(pos, keypoints)
    return _changed(RandomJitter(sigma, clip, generator), pos, keypoints)


def thinned(
    pos: Tensor, keypoints: Tensor, *, share: float = 0.5, generator: torch.Generator | None = None
) -> Perturbed:
    """Drop a share of the points at random; the others keep their order, and one at least stays.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        share: the share to drop, 0 ≤ share < 1.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: as in `rotated`.
    """
    from pcsargmax.transforms.augment import PointDropout

    _check_cloud(pos, keypoints)
    return _changed(PointDropout(share, generator), pos, keypoints)


def partial_view(
    pos: Tensor, keypoints: Tensor, *, distance: float = 5.0, generator: torch.Generator | None = None
) -> Perturbed:
    """Keep the points that are seen from a random side; the keypoints stay, also those on the far side.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        distance: of the eye from the middle of the bounding box, in shares of its half diagonal; more than 1.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: as in `rotated`.
    """
    _check_cloud(pos, keypoints)
    if not 1 < distance < float("inf"):
        raise ValueError(f"distance must be more than 1 and finite, got {distance}")
    direction = torch.randn(3, generator=generator, dtype=torch.float64).to(pos.device)
    low, high = pos.double().amin(dim=0), pos.double().amax(dim=0)
    eye = (low + high) / 2 + distance * torch.linalg.vector_norm(high - low) / 2 * direction / direction.norm()
    return Perturbed(pos[seen_from(pos, eye)], keypoints)


def seen_from(pos: Tensor, eye: Tensor, *, factor: float = 30.0) -> Tensor:
    """Which points of a cloud can be seen from a place outside it, were the cloud a surface.

    By spherical flipping: points are mirrored out through a sphere around the eye, and those on the convex hull of
    the mirror images and the eye are seen (Katz, Tal and Basri, Direct visibility of point sets, SIGGRAPH 2007).

    Args:
        pos: (N, 3) points.
        eye: (3,) the place, same unit.
        factor: radius of the sphere, in shares of the largest distance from the eye; larger sees more points, also
            through the gaps of a sparse cloud.

    Returns:
        (N,) bool; all of a cloud with fewer than four points.

    Raises:
        ValueError: shapes other than these, or a point lies where the eye is.
    """
    from scipy.spatial import ConvexHull

    if pos.ndim != 2 or pos.shape[1] != 3 or eye.shape != (3,):
        raise ValueError(f"pos and eye must be (N, 3) and (3,), got {tuple(pos.shape)} and {tuple(eye.shape)}")
    seen = torch.ones(len(pos), dtype=torch.bool)
    if len(pos) < 4:
        return seen.to(pos.device)
    ray = (pos.double() - eye.double()).cpu()
    length = torch.linalg.vector_norm(ray, dim=1, keepdim=True)
    if not length.all():
        raise ValueError(f"eye must lie apart from every point, got {tuple(eye.tolist())}, which is one")
    flipped = ray * (2 * factor * length.max() / length - 1)
    scaled = torch.cat([flipped / (2 * factor * length.max()), torch.zeros(1, 3, dtype=torch.float64)])
    corners = ConvexHull(scaled.numpy(), qhull_options="QJ").vertices  # QJ: points in one plane are no error
    seen = torch.zeros(len(pos) + 1, dtype=torch.bool)
    seen[torch.from_numpy(corners).long()] = True
    return seen[:-1].to(pos.device)


def movement(expected: Tensor, found: Tensor, *, ordered: bool = True) -> Tensor:
    """Distance of each keypoint found on a copy to where the original has it.

    Args:
        expected: (B, K, 3) keypoints of the originals, moved along with the copies.
        found: (B, K, 3) keypoints found on the copies.
        ordered: to the keypoint of the same index, not to the nearest of any index.

    Returns:
        (B, K) float64, the unit of the positions.

    Raises:
        ValueError: shapes that do not agree, or positions that are not finite.
    """
    if expected.ndim != 3 or expected.shape != found.shape or expected.shape[2] != 3 or not expected.shape[1]:
        raise ValueError(
            "expected and found must both be (B, K, 3), K at least 1, "
            f"got {tuple(expected.shape)} and {tuple(found.shape)}"
        )
    for name, positions in (("expected", expected), ("found", found)):
        broken = int((~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} keypoints")
    expected, found = expected.double(), found.double()
    if ordered:
        return torch.linalg.vector_norm(found - expected, dim=-1)
    return torch.linalg.vector_norm(found[:, :, None] - expected[:, None], dim=-1).amin(dim=2)


def repeatability(
    expected: Tensor, found: Tensor, thresholds: Sequence[float] = (0.05, 0.1), *, ordered: bool = True
) -> Tensor:
    """Share of the keypoints found on a copy that lie within a threshold (≤) of where the original has them.

    Args:
        expected: (B, K, 3) keypoints of the originals, moved along with the copies.
        found: (B, K, 3) keypoints found on the copies.
        thresholds: T distances, the unit of the positions, positive and ascending.
        ordered: keypoint k of the copy must lie at keypoint k of the original. False, as for detectors of points
            without order (USIP, Li and Lee, ICCV 2019): at any keypoint of the original.

    Returns:
        (B, T) float64.
    """
    limits = torch.tensor(checked_thresholds(thresholds), dtype=torch.float64, device=expected.device)
    return (movement(expected, found, ordered=ordered)[..., None] <= limits).double().mean(dim=1)


class Repeatability(Metric):
    """Mean repeatability over copies, with 95 % bootstrap intervals: one metric for each kind of change.

    `compute` returns "repeatability@0.05" and so on per threshold, "repeatability_any@0.05" for keypoints without
    order, "movement" (mean distance of equal indices, the unit of the positions), the same with "/low" and "/high",
    and "num_models".

    Args:
        thresholds: the unit of the positions, positive and ascending.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_values: list[Tensor]

    def __init__(self, thresholds: Sequence[float] = (0.05, 0.1), num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = checked_thresholds(thresholds)
        check_num_bootstrap(num_bootstrap)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, so that a process without any model can still be gathered.
        self.add_state("flat_values", default=[], dist_reduce_fx="cat")

    def update(self, expected: Tensor, found: Tensor) -> None:
        """Add copies: expected and found (B, K, 3), see `repeatability`."""
        expected, found = expected.detach().cpu(), found.detach().cpu()
        columns = [repeatability(expected, found, self.thresholds, ordered=ordered) for ordered in (True, False)]
        columns.append(movement(expected, found).mean(dim=1, keepdim=True))
        self.flat_values.append(torch.cat(columns, dim=1).flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no copy was given.
        """
        limits = [threshold_name(t) for t in self.thresholds]
        names = [f"{kind}@{limit}" for kind in ("repeatability", "repeatability_any") for limit in limits]
        names.append("movement")
        values = flat_rows(self.flat_values, len(names))
        if not len(values):
            raise ValueError("Repeatability needs at least one model, got none")
        return mean_with_interval(self, names, values, self.num_bootstrap, self.seed)


def _changed(transform: Any, pos: Tensor, keypoints: Tensor) -> Perturbed:
    from torch_geometric.data import Data

    item = transform(Data(pos=pos, keypoint_pos=keypoints[None]))
    return Perturbed(item.pos, item.keypoint_pos[0])


def _check_cloud(pos: Tensor, keypoints: Tensor) -> None:
    for name, positions in (("pos", pos), ("keypoints", keypoints)):
        if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions):
            raise ValueError(f"{name} must be (N, 3) with at least one point, got {tuple(positions.shape)}")
        broken = int((~positions.isfinite().all(dim=1)).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} of {len(positions)} points")
