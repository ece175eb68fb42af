"""A cloud or mesh that landmarks are put on: which of its points a ray of sight meets, exactly."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.marks import ABSENT, Mark, Proposal, Triple
from pcsargmax.io.clouds import Cloud, read_cloud
from pcsargmax.predictions.cloud import Prediction

#: Gaps between the points of a surface that are no holes, as multiples of the usual distance of neighbours.
_GAP = 3.0


class Scan:
    """A scan in two frames: that of its file, and the unit frame that is drawn (bounding-box centre 0, diagonal 1).

    Args:
        cloud: what the file holds.
        path: of the file.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.annotate import Scan
        >>> from pcsargmax.io import Cloud
        >>> scan = Scan(Cloud(np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 6.0, 0.0]])))
        >>> scan.scale, scan.to_unit([8.0, 6.0, 0.0])  # the diagonal, and a corner of the bounding box
        (10.0, array([0.4, 0.3, 0. ]))
        >>> scan.snap([0.5, 5.0, 0.0]).position
        (0.0, 6.0, 0.0)
    """

    def __init__(self, cloud: Cloud, path: str | Path = "cloud") -> None:
        self.cloud, self.path = cloud, Path(path)
        low, high = cloud.points.min(axis=0), cloud.points.max(axis=0)
        self.center: np.ndarray = (low + high) / 2
        self.scale: float = float(np.linalg.norm(high - low)) or 1.0

    @classmethod
    def read(cls, path: str | Path) -> Scan:
        """Read a file; errors are those of `read_cloud`."""
        return cls(read_cloud(path), path)

    def to_unit(self, positions: Any) -> np.ndarray:
        """(..., 3) positions of the file in the unit frame."""
        return (np.asarray(positions, dtype=np.float64) - self.center) / self.scale

    @cached_property
    def points(self) -> np.ndarray:
        """(N, 3) the file's points in the unit frame."""
        return self.to_unit(self.cloud.points)

    @cached_property
    def spacing(self) -> float:
        """The usual distance of neighbouring points, in the unit frame."""
        from scipy.spatial import cKDTree

        if len(self.points) < 2:
            return 0.0
        some = self.points[:: max(1, len(self.points) // 1000)]
        return float(np.median(cKDTree(self.points).query(some, k=2)[0][:, 1]))

    def pick(self, origin: np.ndarray, direction: np.ndarray, slope: float) -> Mark | None:
        """The place that a ray of sight meets first.

        Args:
            origin: (3,) of the ray, unit frame.
            direction: (3,) of any length.
            slope: half the width of what counts as hit, for each unit of distance from the origin: the pixels
                that a click may be off a point of a cloud. Of a mesh the very ray counts.

        Returns:
            Of a mesh the point of the surface, with its triangle; of a cloud the nearest of its points among
            the foremost within reach. None where the ray meets nothing.
        """
        direction = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
        if self.cloud.faces is None:
            row = self._foremost(np.asarray(origin, dtype=np.float64), direction, slope)
            return None if row is None else self.mark_of_point(row)
        hit = self._surface.cast_rays(_tensor([*origin, *direction]))
        if not np.isfinite(hit["t_hit"].item()):
            return None
        return self._mark_of_face(hit)

    def snap(self, position: Any) -> Mark:
        """The place of the scan nearest to a position (3,) of the file: on the surface, or a point of a cloud."""
        place = self.to_unit(position)
        if self.cloud.faces is None:
            return self.mark_of_point(int(np.square(self.points - place).sum(axis=1).argmin()))
        return self._mark_of_face(self._surface.compute_closest_points(_tensor(place)))

    def mark_of_point(self, row: int) -> Mark:
        """The mark at a point of the file."""
        return Mark(_triple(self.cloud.points[row]), point_index=int(row))

    def proposals(self, prediction: Prediction, min_visibility: float = 0.5) -> dict[str, Proposal]:
        """What a run's prediction for this file says of each keypoint, put onto the scan; unlikely ones as absent."""
        found = {}
        for k, name in enumerate(prediction.keypoint_names):
            visibility = float(prediction.visibility[k])
            there = visibility >= min_visibility
            found[name] = Proposal(
                self.snap(prediction.position[k]) if there else ABSENT,
                float(prediction.confidence[k]) if there else 1 - visibility,
            )
        return found

    def _foremost(self, origin: np.ndarray, direction: np.ndarray, slope: float) -> int | None:
        """The point that a ray hits, or that is nearest to it where it goes through a gap of a surface in front."""
        relative = self.points - origin
        along = relative @ direction
        offset = relative - along[:, None] * direction
        aside, ahead = np.linalg.norm(offset, axis=1), along > 0
        hit = _nearest(along, aside, ahead & (aside <= np.maximum(slope * along, self.spacing)), self.spacing)
        around = ahead & (aside <= _GAP * self.spacing)
        if hit is not None:
            around &= along < along[hit] - 2 * _GAP * self.spacing
        return _nearest(along, aside, around, self.spacing) if _encloses(offset[around], direction) else hit

    @cached_property
    def _surface(self) -> Any:
        """The triangles in the unit frame, where the 32-bit numbers of the ray caster are exact enough."""
        import open3d as o3d

        assert self.cloud.faces is not None
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(_tensor(self.points), _tensor(self.cloud.faces, np.uint32))
        return scene

    def _mark_of_face(self, hit: dict[str, Any]) -> Mark:
        """The mark of a triangle and its coordinates, computed in 64 bits from the corners in the file."""
        assert self.cloud.faces is not None
        face = int(hit["primitive_ids"].item())
        u, v = hit["primitive_uvs"].numpy().reshape(2).astype(np.float64)
        weights = np.clip([1 - u - v, u, v], 0, 1)
        weights /= weights.sum()
        position = weights @ self.cloud.points[self.cloud.faces[face]]
        return Mark(_triple(position), face_index=face, face_uv=_triple(weights))


def _nearest(along: np.ndarray, aside: np.ndarray, chosen: np.ndarray, spacing: float) -> int | None:
    """Of the foremost of the chosen points the one nearest to the ray; None where none is chosen."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return None
    rows = rows[along[rows] <= along[rows].min() + 2 * _GAP * spacing]
    return int(rows[aside[rows].argmin()])


def _encloses(offset: np.ndarray, direction: np.ndarray) -> bool:
    """Whether points at these offsets (M, 3) from a ray are on all sides of it: the ray goes through their surface."""
    if len(offset) < 3:
        return False
    u = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    angle = np.sort(np.arctan2(offset @ np.cross(direction, u), offset @ u))
    return bool(max(np.diff(angle).max(), angle[0] + 2 * np.pi - angle[-1]) < np.pi)


def _triple(values: Any) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _tensor(values: Any, dtype: Any = np.float32) -> Any:
    """(M, ...) in 32 bits; one ray or one position is a row."""
    import open3d as o3d

    return o3d.core.Tensor.from_numpy(np.atleast_2d(np.ascontiguousarray(values, dtype=dtype)))
