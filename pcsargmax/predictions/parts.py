"""What a prediction may carry beside its keypoints: a skeleton, a mesh and its points nearest to them, symmetries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from pcsargmax.ops.triangle_tree import TriangleTree

SymmetryKind = Literal["reflection", "rotation"]

#: Type and shape of arrays by the name of their field.
ArrayShapes = Mapping[str, tuple[Any, tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The skeleton by which Skeleton Merger reconstructs a cloud: P edges between keypoints, drawn as M points.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong shape, points
    that are not finite, or an edge number outside 0 to P − 1.

    Example:
        >>> from pcsargmax import Skeleton
        >>> skeleton = Skeleton(edges=[[0, 1]], strength=[0.9], points=[[0, 0, 0], [1, 0, 0]], edge=[0, 0])
        >>> skeleton.to_dict(["left", "right"])["edges"][0]["keypoints"]
        ['left', 'right']
    """

    edges: np.ndarray
    """(P, 2) int64: the keypoints that each edge joins."""
    strength: np.ndarray
    """(P,) float64, in [0, 1]: how far each edge takes part."""
    points: np.ndarray
    """(M, 3) float64, units of the file."""
    edge: np.ndarray
    """(M,) int64: the edge that each point belongs to."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        p, m = len(self.edges), len(self.points)
        shapes: ArrayShapes = {
            "edges": (np.int64, (p, 2)),
            "strength": (np.float64, (p,)),
            "points": (np.float64, (m, 3)),
            "edge": (np.int64, (m,)),
        }
        take_arrays(self, "Skeleton", shapes, finite=["points"])
        _check_numbers("Skeleton: edge", self.edge, p)

    def to_dict(self, keypoint_names: Sequence[str]) -> dict[str, Any]:
        """As plain numbers: a list of edges, each with the names of its ends, its strength and its points."""
        return {
            "edges": [
                {
                    "keypoints": [keypoint_names[end] for end in ends],
                    "strength": plain(self.strength[number]),
                    "points": plain(self.points[self.edge == number]),
                }
                for number, ends in enumerate(self.edges.tolist())
            ]
        }


class SurfacePoints(NamedTuple):
    """Points of a mesh, each the nearest to one of K positions; `Surface.closest` finds them. All numbers are finite.

    Faces are numbered as `pcsargmax.io.read_cloud` returns them. In a file of triangles that is the file's own order.
    Larger polygons are split into triangles, in place in an .obj, after all triangles in a .ply or .off; there a face
    number differs from the file's. Vertices always keep the file's order, so `vertices` and `barycentric` identify the
    point in any program.

    Attributes:
        face: (K,) int64 triangle that each lies on: row of `Surface.triangles`, 0-based, all of them counted.
        vertices: (K, 3) int64 corners of that triangle: rows of `Surface.vertices`, 0-based.
        barycentric: (K, 3) float64 weights of the corners, nonnegative; their sum is 1.
        position: (K, 3) float64, units of the file: the weighted mean of the corners.
        distance: (K,) float64, units of the file: to the position that was given.

    Example:
        >>> import numpy as np
        >>> from pcsargmax import Surface
        >>> surface = Surface(vertices=[[0, 0, 0], [4, 0, 0], [0, 4, 0]], triangles=[[0, 1, 2]])
        >>> found = surface.closest([[1, 2, 0.5]])
        >>> found.face, found.barycentric, found.distance
        (array([0]), array([[0.25, 0.25, 0.5 ]]), array([0.5]))
        >>> np.einsum("kc,kcd->kd", found.barycentric, surface.vertices[found.vertices])
        array([[1., 2., 0.]])
    """

    face: np.ndarray
    vertices: np.ndarray
    barycentric: np.ndarray
    position: np.ndarray
    distance: np.ndarray

    def to_dict(self, k: int) -> dict[str, Any]:
        """Row k as plain numbers."""
        return {name: rows[k].tolist() for name, rows in self._asdict().items()}


@dataclass(frozen=True, eq=False)
class Surface:
    """The V vertices and T triangles of a mesh.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong shape, vertices
    that are not finite, or a triangle of other vertices than 0 to V − 1.

    Example:
        >>> from pcsargmax import Surface
        >>> surface = Surface(vertices=[[0, 0, 0], [1, 0, 0], [0, 1, 0]], triangles=[[0, 1, 2]])
        >>> surface.vertices.dtype, surface.triangles.shape
        (dtype('float64'), (1, 3))
    """

    vertices: np.ndarray
    """(V, 3) float64, units of the file."""
    triangles: np.ndarray
    """(T, 3) int64: the vertices of each."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check them."""
        v, t = len(self.vertices), len(self.triangles)
        shapes: ArrayShapes = {"vertices": (np.float64, (v, 3)), "triangles": (np.int64, (t, 3))}
        take_arrays(self, "Surface", shapes, finite=["vertices"])
        _check_numbers("Surface: triangles", self.triangles, v)

    @cached_property
    def has_area(self) -> np.ndarray:
        """(T,) bool: whether each triangle has an area: its corners are not on a line, up to rounding."""
        corners = self.vertices[self.triangles]
        edges = corners - np.roll(corners, 1, axis=1)
        size = np.abs(edges).max(axis=(1, 2), keepdims=True)
        edges /= np.maximum(size, np.finfo(np.float64).tiny)
        return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) > 1e-12

    def closest(self, positions: Any) -> SurfacePoints:
        """Return the points of the surface that are nearest to some positions.

        Only triangles that have an area, and so a normal, are considered. Where several are equally near, as at an
        edge, the result is one of them. The first call builds a tree of the triangles, which later calls use.

        Args:
            positions: (K, 3) finite, units of the file.

        Raises:
            ValueError: positions of another shape or not finite, or no triangle has an area.
        """
        positions = np.asarray(positions, dtype=np.float64)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise ValueError(f"positions: expected shape (K, 3), got {positions.shape}")
        if not np.isfinite(positions).all():
            raise ValueError("positions: expected finite numbers, got NaN or infinity")
        if not self.has_area.any():
            told = f"got {len(self.triangles)} without; repair the mesh, or use its vertices as a cloud"
            raise ValueError(f"Surface: triangles: expected at least one with an area, {told}")
        tree, center, scale = self._tree
        found = [tree.closest(row) for row in (positions - center) / scale]
        face = np.flatnonzero(self.has_area)[np.array([one.face for one in found], dtype=np.int64)]
        weights = np.array([one.weights for one in found]).reshape(-1, 3)
        vertices = self.triangles[face]
        places = np.einsum("kc,kcd->kd", weights, self.vertices[vertices])
        distance = scale * np.linalg.norm((positions - places) / scale, axis=1)
        return SurfacePoints(face, vertices, weights, places, distance)

    @cached_property
    def _tree(self) -> tuple[TriangleTree, np.ndarray, float]:
        """The triangles that have an area in the frame of their corners, with its center (3,) and scale.

        There the squares of lengths neither vanish nor overflow. Vertices of no such triangle do not count.
        """
        triangles = self.triangles[self.has_area]
        used = np.zeros(len(self.vertices), dtype=bool)
        used[triangles] = True
        corners = self.vertices[used]
        low, high = corners.min(axis=0), corners.max(axis=0)
        center, scale = (low + high) / 2, float((high - low).max())
        return TriangleTree((corners - center) / scale, (np.cumsum(used) - 1)[triangles]), center, scale


@dataclass(frozen=True, eq=False)
class SymmetryMark:
    """Keypoints that a symmetry exchanges: the pair of a reflection, or those that a rotation turns into each other.

    Sequences are turned into tuples and arrays. Raises ValueError, naming the field, for an unknown kind, no keypoint
    or one twice, a circle of a reflection, or a circle that is not whole.
    """

    kind: SymmetryKind
    keypoints: tuple[int, ...]
    """Their numbers, 0-based; of a rotation in their order around it."""
    center: np.ndarray | None = None
    """(3,) float64, units of the file: of the circle that they lie on; None where they lie on none."""
    normal: np.ndarray | None = None
    """(3,) float64, of length 1: the axis of the circle."""
    radius: float | None = None
    """Of the circle, units of the file."""

    def __post_init__(self) -> None:
        """Turn the fields into their types and check them."""
        if self.kind not in get_args(SymmetryKind):
            told = f"expected one of {', '.join(get_args(SymmetryKind))}, got {self.kind!r}"
            raise ValueError(f"SymmetryMark: kind: {told}")
        keypoints = tuple(int(k) for k in self.keypoints)
        object.__setattr__(self, "keypoints", keypoints)
        if not keypoints or min(keypoints) < 0 or len(set(keypoints)) < len(keypoints):
            raise ValueError(f"SymmetryMark: keypoints: expected distinct numbers from 0, got {list(keypoints)}")
        circle = [self.center is not None, self.normal is not None, self.radius is not None]
        if any(circle) and (not all(circle) or self.kind == "reflection"):
            raise ValueError("SymmetryMark: expected center, normal and radius together, and only of a rotation")
        if self.center is None or self.normal is None or self.radius is None:
            return
        center, normal = (np.asarray(part, dtype=np.float64) for part in (self.center, self.normal))
        for name, part in (("center", center), ("normal", normal)):
            if part.shape != (3,):
                raise ValueError(f"SymmetryMark: {name}: expected shape (3,), got {part.shape}")
        if not (np.isfinite(center).all() and np.isfinite(normal).all() and normal.any()):
            raise ValueError("SymmetryMark: expected a finite center, and a finite normal that is not 0")
        if not (np.isfinite(self.radius) and self.radius >= 0):
            raise ValueError(f"SymmetryMark: radius: expected a length >= 0, got {self.radius}")
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "normal", normal / np.linalg.norm(normal))
        object.__setattr__(self, "radius", float(self.radius))


def take_arrays(owner: Any, what: str, shapes: ArrayShapes, *, finite: Collection[str] = ()) -> None:
    """Turn fields of a frozen dataclass into arrays of a type, and check them; None stays where it is the default.

    Args:
        owner: the dataclass.
        what: it is called in an error, before the name of the field.
        shapes: type and shape of each field.
        finite: the fields that must not hold NaN or infinity.

    Raises:
        ValueError: a wrong shape, or numbers that are not finite.
    """
    optional = {field.name for field in fields(owner) if field.default is None}
    for name, (dtype, shape) in shapes.items():
        value = getattr(owner, name)
        if value is None and name in optional:
            continue
        array = np.asarray(value, dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"{what}: {name}: expected shape {shape}, got {array.shape}")
        if name in finite and not np.isfinite(array).all():
            raise ValueError(f"{what}: {name}: expected finite numbers, got NaN or infinity")
        object.__setattr__(owner, name, array)


def chosen_number(chosen: str | int, names: Sequence[str], what: str = "keypoint") -> int:
    """Row of a keypoint or surface given by its name, or by its number as int.

    Raises:
        ValueError: no such one.
    """
    if isinstance(chosen, str):
        if chosen in names:
            return list(names).index(chosen)
    elif not isinstance(chosen, bool) and 0 <= chosen < len(names):
        return int(chosen)
    raise ValueError(f"{what}: expected one of {', '.join(names)} or 0 to {len(names) - 1}, got {chosen!r}")


def mean_known(error: np.ndarray | None) -> float | None:
    """Mean of the errors that are finite; None where there are none."""
    known = np.zeros(0) if error is None else error[np.isfinite(error)]
    return float(known.mean()) if len(known) else None


def _check_numbers(what: str, numbers: np.ndarray, count: int) -> None:
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < count):
        raise ValueError(f"{what}: expected 0 to {count - 1}, got {numbers.min()} to {numbers.max()}")


def plain(array: np.ndarray) -> Any:
    """Nested lists of numbers, None where not finite: JSON has no NaN."""
    numbers = np.asarray(array, dtype=object)
    numbers[~np.isfinite(array)] = None
    return numbers.tolist()
