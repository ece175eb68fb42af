"""What procedural shapes are built of: closed lofts between rings of points, and marks for keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Longest edge of a surface: short enough that a bent shape keeps together.
_LONGEST = 0.2


@dataclass(frozen=True)
class Part:
    """A closed surface: `vertices (V, 3)`, outward `faces (F, 3)`, `color (3,)` in 0 to 255.

    `hides`: surfaces of other parts inside it cannot be seen and are not sampled.
    """

    vertices: Array
    faces: NDArray[np.int64]
    color: tuple[int, ...]
    hides: bool = True

    def holds(self, points: Array) -> NDArray[np.bool_]:
        """Tell which points (P, 3) lie inside: exactly for a convex part, too few for others."""
        low, high = self.vertices.min(0), self.vertices.max(0)
        inside = np.logical_and(points > low, points < high).all(1)
        corners = self.vertices[self.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normal, axis=1)
        normal = normal[length > 1e-12] / length[length > 1e-12, None]
        offset = (normal * corners[length > 1e-12, 0]).sum(1)
        planes = np.unique(np.round(np.column_stack([normal, offset]), 6), axis=0)
        inside[inside] = (points[inside] @ planes[:, :3].T < planes[:, 3] - 1e-4).all(1)
        return inside


@dataclass
class Shape:
    """Parts, and keypoints as vertices of parts, by semantic id.

    Groups of semantic ids: `reflection`, mirror images of each other; `circles`, on one circle of a surface
    of revolution; `turns`, turned by equal steps. A group counts where all its ids are marked. `covers` are
    solids that hide what lies in them without being surfaces, each with the part that they leave alone.
    """

    parts: list[Part] = field(default_factory=list)
    covers: list[tuple[Part, int]] = field(default_factory=list)
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    reflection: Sequence[tuple[int, ...]] = ()
    circles: list[tuple[int, ...]] = field(default_factory=list)
    turns: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, part: Part) -> int:
        """Add a part and return its number."""
        self.parts.append(part)
        return len(self.parts) - 1

    def cover(self, solid: Part, owner: int) -> None:
        """Let `solid`, no surface itself, hide what lies inside it, but nothing of the part `owner`."""
        self.covers.append((solid, owner))

    def mark(self, semantic_id: int, part: int, near: ArrayLike) -> None:
        """Put keypoint `semantic_id` at the vertex of `part` nearest to the place `near` (3,)."""
        distance = np.linalg.norm(self.parts[part].vertices - np.asarray(near, dtype=float), axis=1)
        self.marks[semantic_id] = (part, int(distance.argmin()))


def vec(x: float, y: float, z: float) -> Array:
    """Return the vector (x, y, z)."""
    return np.array([x, y, z], dtype=float)


def ring(center: ArrayLike, u: ArrayLike, v: ArrayLike, *, sides: int = 24, power: float = 2.0) -> Array:
    """Return (sides, 3) points around a superellipse |a|^power + |b|^power = 1 in center + a u + b v.

    `sides=4` is the rectangle with half-axes u and v; `power` 2 is an ellipse, larger ones square it.
    """
    if sides == 4:
        a, b = np.array([1.0, -1.0, -1.0, 1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    else:
        angle = np.arange(sides) * 2 * np.pi / sides
        cos, sin = np.cos(angle), np.sin(angle)
        radius = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power)
        a, b = radius * cos, radius * sin
    center, u, v = (np.asarray(value, dtype=float) for value in (center, u, v))
    return center + a[:, None] * u + b[:, None] * v


def loft(rings: Sequence[Array], color: Sequence[int], *, hides: bool = True) -> Part:
    """Close a surface through rings of equal numbers of points, flat at both ends.

    Long edges are cut, so that the surface can be bent; the points given stay vertices.
    """
    sections = _refine(rings)
    count, sides = len(sections), len(sections[0])
    vertices = np.concatenate([*sections, sections[0].mean(0)[None], sections[-1].mean(0)[None]])
    here = np.arange(sides)
    there = np.roll(here, -1)
    faces = []
    for a in range(0, (count - 1) * sides, sides):
        b = a + sides
        faces.append(np.stack([a + here, a + there, b + there], axis=1))
        faces.append(np.stack([a + here, b + there, b + here], axis=1))
    first, last, end = count * sides, count * sides + 1, (count - 1) * sides
    faces.append(np.stack([there, here, np.full(sides, first)], axis=1))
    faces.append(np.stack([end + here, end + there, np.full(sides, last)], axis=1))
    triangles = np.concatenate(faces)
    p, q, r = (vertices[triangles[:, i]] - vertices.mean(0) for i in range(3))
    if np.einsum("ij,ij->", p, np.cross(q, r)) < 0:  # the rings ran the other way: turn all faces outward
        triangles = triangles[:, ::-1].copy()
    return Part(vertices, triangles, tuple(int(c) for c in color), hides)


def _refine(rings: Sequence[Array]) -> list[Array]:
    """Cut the edges of the rings, the way between them and the ends into pieces of at most `_LONGEST`."""
    corners = np.stack(rings)
    edges = np.roll(corners, -1, axis=1) - corners
    longest = np.linalg.norm(edges, axis=2).max(0)
    points = [corners[:, i] + share * edges[:, i] for i, edge in enumerate(longest) for share in _shares(edge)]
    sections: list[Array] = []
    for a, b in pairwise(np.stack(points, axis=1)):
        sections += [a + share * (b - a) for share in _shares(np.linalg.norm(b - a, axis=1).max())]
    sections.append(b)
    ends = []
    for end in (sections[0], sections[-1]):
        middle = end.mean(0)
        shares = _shares(np.linalg.norm(end - middle, axis=1).max())[1:]
        ends.append([middle + share * (end - middle) for share in shares])
    return [*ends[0], *sections, *ends[1][::-1]]


def _shares(length: float) -> Array:
    """Return where the pieces of a length begin, as shares of it."""
    number = max(1, int(np.ceil(length / _LONGEST - 1e-9)))
    return np.arange(number) / number


def box(low: ArrayLike, high: ArrayLike, color: Sequence[int]) -> Part:
    """Return the axis-aligned box between two corners."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    middle, half = (low + high) / 2, (high - low) / 2
    x, y, z = np.diag(half)
    return loft([ring(middle - y, x, z, sides=4), ring(middle + y, x, z, sides=4)], color)


def bar(
    start: ArrayLike,
    end: ArrayLike,
    width: float,
    depth: float,
    color: Sequence[int],
    *,
    taper: float = 1.0,
    sides: int = 4,
) -> Part:
    """Return a straight bar of half-width and half-depth at `start`, times `taper` at `end`.

    Upright bars end in level sections with width along x and depth along z; others in sections square to
    the bar, width sideways and depth towards up.
    """
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (end - start) / np.linalg.norm(end - start)
    if abs(along[1]) > 0.7:
        u, v = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    else:
        u = np.cross([0, 1.0, 0], along)
        u /= np.linalg.norm(u)
        v = np.cross(along, u)
    rings = [
        ring(center, u * width * scale, v * depth * scale, sides=sides)
        for center, scale in ((start, 1.0), (end, taper))
    ]
    return loft(rings, color)


def tube(path: Array, width: float, thickness: float, color: Sequence[int], *, sides: int = 12) -> Part:
    """Return a tube of half-width along x and half-thickness in the plane of a path (P, 3) of constant x."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([1.0, 0, 0])
    rings = [
        ring(center, side * width, np.cross(along, side) * thickness, sides=sides)
        for center, along in zip(path, tangent, strict=True)
    ]
    return loft(rings, color, hides=False)


def palette(rng: np.random.Generator, number: int) -> list[tuple[int, ...]]:
    """Draw colours for a model: one hue with shades around it."""
    base = rng.uniform(40, 215, 3)
    shades = base + rng.normal(0, 28, (number, 3))
    return [tuple(int(c) for c in shade) for shade in np.clip(shades, 0, 255)]
