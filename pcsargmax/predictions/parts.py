"""What a prediction may carry beside its keypoints: a skeleton, the surface of a mesh, marks of symmetries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

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
