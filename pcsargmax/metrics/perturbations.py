"""Perturbed copies of clouds, on which a detector should find the same keypoints: see `repeatability`.

copy = rotated(pos, keypoints, degrees=180, generator=generator)
found = detect(copy.pos)                               # in the frame of copy.pos
repeatability(found[None], copy.keypoints[None], (0.05, 0.1))
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Perturbed(NamedTuple):
    """A perturbed copy of a cloud, `pos (n, 3)`, and the original's keypoints moved along, `keypoints (K, 3)`."""

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
    """Rotate a cloud and its keypoints about the centre of its bounding box.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        degrees: the angle is uniform in [−degrees, degrees]; 180 about any axis is uniform over all rotations.
        axis: "x", "y", "z" or "any", an axis uniform on the sphere.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: `pos` or `keypoints` not (N, 3) or not finite, or settings out of range.

    Example:
        The keypoint turns with its point, and distances stay:

        >>> import torch
        >>> from pcsargmax.metrics import rotated
        >>> pos = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> copy = rotated(pos, pos[:1], axis="z", generator=torch.Generator().manual_seed(0))
        >>> torch.equal(copy.keypoints, copy.pos[:1]), round(float(copy.pos.diff(dim=0).norm()), 4)
        (True, 2.0)
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

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import noisy
        >>> pos = torch.zeros(1000, 3)
        >>> copy = noisy(pos, pos[:1], sigma=0.5, generator=torch.Generator().manual_seed(0))
        >>> round(float(copy.pos.std()), 2), copy.keypoints.tolist()
        (0.5, [[0.0, 0.0, 0.0]])
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

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import thinned
        >>> pos = torch.arange(12.0).reshape(4, 3)
        >>> thinned(pos, pos[:1], share=0.5, generator=torch.Generator().manual_seed(0)).keypoints
        tensor([[0., 1., 2.]])
    """
    from pcsargmax.transforms.augment import PointDropout

    _check_cloud(pos, keypoints)
    return _changed(PointDropout(share, generator), pos, keypoints)


def partial_view(
    pos: Tensor, keypoints: Tensor, *, distance: float = 5.0, generator: torch.Generator | None = None
) -> Perturbed:
    """Keep the points that are visible from a random side; the keypoints stay, also those on the far side.

    Args:
        pos: (N, 3) points, any unit.
        keypoints: (K, 3) keypoints found on it, same unit.
        distance: of the viewpoint from the centre of the bounding box, in half diagonals of the box; more than 1.
        generator: the source of randomness, on the CPU.

    Raises:
        ValueError: as in `rotated`.

    Example:
        Of a sphere, less than half is visible:

        >>> import torch
        >>> from pcsargmax.metrics import partial_view
        >>> pos = torch.nn.functional.normalize(torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)))
        >>> copy = partial_view(pos, pos[:1], generator=torch.Generator().manual_seed(0))
        >>> 0.3 < len(copy.pos) / len(pos) < 0.5
        True
    """
    _check_cloud(pos, keypoints)
    if not 1 < distance < float("inf"):
        raise ValueError(f"distance must be more than 1 and finite, got {distance}")
    direction = torch.randn(3, generator=generator, dtype=torch.float64).to(pos.device)
    low, high = pos.double().amin(dim=0), pos.double().amax(dim=0)
    eye = (low + high) / 2 + distance * torch.linalg.vector_norm(high - low) / 2 * direction / direction.norm()
    return Perturbed(pos[seen_from(pos, eye)], keypoints)


def seen_from(pos: Tensor, eye: Tensor, *, factor: float = 30.0) -> Tensor:
    """Return which points of a cloud are visible from a viewpoint outside it, as if the cloud were a surface.

    By spherical flipping: points are mirrored out through a sphere around the eye, and those on the convex hull of
    the mirror images and the eye are seen (Katz, Tal and Basri, Direct visibility of point sets, SIGGRAPH 2007).

    Args:
        pos: (N, 3) points.
        eye: (3,) the viewpoint, same unit.
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
