"""Where a ray first meets a triangle mesh, and which of its points is nearest to a position, by a tree of boxes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Triangles in a leaf, and children of a node.
_WIDTH = 8
#: How far outside a triangle a ray may pass and still hit it, in barycentric coordinates: none slips through an edge.
_RIM = 1e-9


class SurfacePoint(NamedTuple):
    """A point of a mesh.

    Attributes:
        face: number of its triangle.
        weights: (3,) barycentric coordinates: nonnegative, their sum is 1.
        distance: from the origin of the ray, or from the position.
    """

    face: int
    weights: np.ndarray
    distance: float


class TriangleTree:
    """A bounding volume hierarchy over the triangles of a mesh, for one query at a time.

    The triangles are sorted along a Morton curve (Lauterbach et al. 2009, "Fast BVH construction on GPUs"); every eight
    in a row share a box, every eight boxes in a row the next larger one, and so on. A query descends level by level
    with all boxes that may matter at once, so its cost is a few numpy calls for each level. Triangles without area
    count as the segment or the point that they are for `closest`; no ray meets them.

    Args:
        vertices: (V, 3) finite positions.
        triangles: (T, 3) their numbers, T at least 1.
    """

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        if not len(triangles):
            raise ValueError("triangles: expected at least one, got none")
        self._vertices = np.asarray(vertices, dtype=np.float64)
        a, b, c = (self._vertices[corner] for corner in np.asarray(triangles).T)
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        self._order = np.argsort(_morton((low + high) / 2), kind="stable")
        self._triangles = np.asarray(triangles)[self._order]
        # Rounding must not separate a box from what it holds.
        pad = 1e-12 * float(np.abs(self._vertices).max())
        low, high = low[self._order] - pad, high[self._order] + pad
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []  # from the root down to the leaves
        while not self._levels or len(low) > 1:
            starts = np.arange(0, len(low), _WIDTH)
            low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            self._levels.insert(0, (low, high))

    def first_hit(self, origin: np.ndarray, direction: np.ndarray) -> SurfacePoint | None:
        """Return the nearest point that a ray meets in front of its origin, from either side; None for a miss.

        Args:
            origin: (3,).
            direction: (3,) of any length.

        Source: Möller and Trumbore 1997, "Fast, minimum storage ray/triangle intersection".
        """
        origin = np.asarray(origin, dtype=np.float64)
        direction = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
        # A slab parallel to the ray is entered at -inf and left at inf, if the origin lies within it.
        inverse = 1 / np.where(np.abs(direction) < 1e-200, 1e-200, direction)
        nodes = np.zeros(1, dtype=np.int64)
        for depth, (low, high) in enumerate(self._levels):
            first, second = (low[nodes] - origin) * inverse, (high[nodes] - origin) * inverse
            enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
            nodes = self._children(nodes[(enter <= leave) & (leave >= 0)], depth)
        corners = self._vertices[self._triangles[nodes]]
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        across, offset = _cross(direction, second), origin - corners[:, 0]
        volume = _dot(first, across)
        flat = np.abs(volume) <= 1e-14 * np.sqrt(_dot(first, first) * _dot(second, second))
        turned = _cross(offset, first)
        scaled = np.stack([_dot(offset, across), turned @ direction, _dot(second, turned)])
        u, v, distance = scaled / np.where(flat, np.inf, volume)
        hit = np.flatnonzero(~flat & (np.minimum(np.minimum(u, v), 1 - u - v) >= -_RIM) & (distance > 0))
        if not len(hit):
            return None
        best = hit[distance[hit].argmin()]
        weights = np.clip([1 - u[best] - v[best], u[best], v[best]], 0, 1)
        return SurfacePoint(int(self._order[nodes[best]]), weights / weights.sum(), float(distance[best]))

    def closest(self, position: np.ndarray) -> SurfacePoint:
        """Return the point of the mesh nearest to a position (3,)."""
        position = np.asarray(position, dtype=np.float64)
        # A narrow descent gives a distance that a second one has not to look beyond.
        _, _, near = self._nearest(position, np.inf, beam=_WIDTH)
        face, weights, squared = self._nearest(position, near * (1 + 1e-9), beam=None)
        return SurfacePoint(face, weights, float(np.sqrt(squared)))

    def _nearest(self, position: np.ndarray, most: float, beam: int | None) -> tuple[int, np.ndarray, float]:
        """The triangle, the coordinates on it and the squared distance, at most `most`, of the `beam` nearest boxes."""
        nodes = np.zeros(1, dtype=np.int64)
        for depth, (low, high) in enumerate(self._levels):
            apart = np.maximum(np.maximum(low[nodes] - position, position - high[nodes]), 0)
            squared = _dot(apart, apart)
            kept = squared <= most if beam is None else np.argsort(squared, kind="stable")[:beam]
            nodes = self._children(nodes[kept], depth)
        weights, squared = _closest_on_triangles(self._vertices[self._triangles[nodes]], position)
        best = int(squared.argmin())
        return int(self._order[nodes[best]]), weights[best], float(squared[best])

    def _children(self, nodes: np.ndarray, depth: int) -> np.ndarray:
        """The nodes one level down; of leaves their triangles."""
        below = len(self._levels[depth + 1][0]) if depth + 1 < len(self._levels) else len(self._triangles)
        children = (nodes[:, None] * _WIDTH + np.arange(_WIDTH)).ravel()
        return children[children < below]


def _closest_on_triangles(corners: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric coordinates (M, 3) of the nearest points of triangles (M, 3, 3), and squared distances (M,)."""
    count = len(corners)
    candidates = np.zeros((4, count, 3))  # on each of the edges, and inside
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, j] - corners[:, i]
        length = _dot(edge, edge)
        share = _dot(position - corners[:, i], edge) / np.where(length > 0, length, np.inf)
        candidates[i, :, j] = np.clip(share, 0, 1)
        candidates[i, :, i] = 1 - candidates[i, :, j]
    first, second, offset = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], position - corners[:, 0]
    a, b, c = _dot(first, first), _dot(first, second), _dot(second, second)
    d, e = _dot(offset, first), _dot(offset, second)
    area = a * c - b * b
    area = np.where(area > 0, area, np.inf)
    u, v = (c * d - b * e) / area, (a * e - b * d) / area
    inside = (u > 0) & (v > 0) & (u + v < 1)
    candidates[3] = np.where(inside[:, None], np.stack([1 - u - v, u, v], axis=1), candidates[0])
    away = (candidates[..., None] * corners).sum(axis=2) - position
    squared = np.square(away).sum(axis=-1)
    best, rows = squared.argmin(axis=0), np.arange(count)
    return candidates[best, rows], squared[best, rows]


def _morton(positions: np.ndarray) -> np.ndarray:
    """(M,) places of positions (M, 3) along a curve that fills their box, 21 bits for each axis."""
    low = positions.min(axis=0)
    extent = max(float((positions.max(axis=0) - low).max()), 1e-300)
    cells = ((positions - low) / extent * ((1 << 21) - 1)).astype(np.uint64)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cells = (cells | cells << np.uint64(shift)) & np.uint64(mask)
    return cells[:, 0] << np.uint64(2) | cells[:, 1] << np.uint64(1) | cells[:, 2]


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cross product, without the checks that take np.cross longer than the product itself."""
    a, b, c = first[..., 0], first[..., 1], first[..., 2]
    x, y, z = second[..., 0], second[..., 1], second[..., 2]
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", first, second)
