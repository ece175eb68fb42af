"""Coloured triangle meshes of balls, rods and ellipsoids, and the camera that looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices with unit normals and sRGB colours in [0, 1], all (V, 3), and (T, 3) triangles."""

    vertices: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    triangles: np.ndarray


#: No vertex at all.
EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


@cache
def unit_ball(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (20·4^subdivisions, 3) of an icosahedron refined towards the unit ball."""
    from trimesh.creation import icosphere

    ball = icosphere(subdivisions)
    return np.asarray(ball.vertices), np.asarray(ball.faces)


def balls(
    centers: np.ndarray, radius: float, colors: np.ndarray, *, subdivisions: int, axes: np.ndarray | None = None
) -> Mesh:
    """One ball a centre (M, 3), coloured (M, 3) or (3,); with `axes` (M, 3, 3) the ellipsoids {center + axes·u}."""
    ball, triangles = unit_ball(subdivisions)
    m, v = len(centers), len(ball)
    if axes is None:
        offsets = np.broadcast_to(ball * radius, (m, v, 3))
        normals = np.broadcast_to(ball, (m, v, 3))
    else:
        offsets = radius * ball @ axes.transpose(0, 2, 1)
        normals = ball @ np.linalg.pinv(axes)  # normals go with the inverse transpose
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    colors = np.broadcast_to(colors, (m, 3))
    return Mesh(
        (centers[:, None] + offsets).reshape(-1, 3),
        normals.reshape(-1, 3),
        np.repeat(colors, v, axis=0),
        (triangles + v * np.arange(m)[:, None, None]).reshape(-1, 3),
    )


def rods(starts: np.ndarray, ends: np.ndarray, radius: float, color: np.ndarray, *, sides: int = 8) -> Mesh:
    """One rod from each start (M, 3) to its end (M, 3), coloured (3,)."""
    along = ends - starts
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    aside = np.eye(3)[np.abs(along).argmin(axis=1)]
    u = np.cross(along, aside)
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-12)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.cos(angle)[:, None] * u[:, None] + np.sin(angle)[:, None] * np.cross(along, u)[:, None]
    vertices = np.concatenate([starts[:, None] + radius * ring, ends[:, None] + radius * ring], axis=1)
    i, j = np.arange(sides), (np.arange(sides) + 1) % sides
    quads = np.concatenate([np.stack([i, j, i + sides], 1), np.stack([j, j + sides, i + sides], 1)])
    triangles = (quads + 2 * sides * np.arange(len(starts))[:, None, None]).reshape(-1, 3)
    normals = np.concatenate([ring, ring], axis=1).reshape(-1, 3)
    vertices = vertices.reshape(-1, 3)
    return Mesh(vertices, normals, np.broadcast_to(color, vertices.shape), triangles)


def ring(
    center: np.ndarray, normal: np.ndarray, radius: float, thickness: float, color: np.ndarray, *, parts: int = 96
) -> Mesh:
    """A circle about `center` (3,), across `normal` (3,), as rods of radius `thickness`, coloured (3,)."""
    frame = np.linalg.svd(np.asarray(normal, dtype=np.float64).reshape(1, 3))[2]  # the last two rows are across it
    angle = 2 * np.pi * np.arange(parts) / parts
    around = center + radius * (np.cos(angle)[:, None] * frame[1] + np.sin(angle)[:, None] * frame[2])
    return rods(around, np.roll(around, -1, axis=0), thickness, color)


def triangles(vertices: np.ndarray, corners: np.ndarray, color: np.ndarray) -> Mesh:
    """The triangles `corners` (T, 3) of vertices (V, 3) with a normal each, coloured (3,); those of no area are out."""
    soup = vertices[corners]
    normal = np.cross(soup[:, 1] - soup[:, 0], soup[:, 2] - soup[:, 0])
    length = np.linalg.norm(normal, axis=1)
    soup, normal = soup[length > 0], (normal[length > 0] / length[length > 0, None])
    flat = soup.reshape(-1, 3)
    number = np.arange(len(flat)).reshape(-1, 3)
    return Mesh(flat, np.repeat(normal, 3, axis=0), np.broadcast_to(color, flat.shape), number)


def estimated_normals(points: np.ndarray, neighbors: int = 12) -> np.ndarray:
    """(N, 3) unit normals of the planes through each point's neighbours, to either side."""
    from scipy.spatial import cKDTree

    near = points[cKDTree(points).query(points, k=min(neighbors, len(points)))[1].reshape(len(points), -1)]
    offset = near - near.mean(axis=1, keepdims=True)
    return np.linalg.eigh(offset.transpose(0, 2, 1) @ offset)[1][..., 0]  # of the least spread


def thinned(vertices: np.ndarray, corners: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """A mesh of triangles `corners` (T, 3) of vertices (V, 3) with at most `most` triangles, of about the same form.

    Vertices in a cell of a grid become one, their mean (Rossignac and Borrel 1993); the grid is as fine as it may be.
    """
    thin, cells = (vertices, corners), 1024.0
    while len(thin[1]) > most:
        extent = max(float(np.ptp(vertices, axis=0).max()), 1e-12)
        keys = np.floor((vertices - vertices.min(axis=0)) / extent * cells).astype(np.int64) @ [1 << 22, 1 << 11, 1]
        _, cell, count = np.unique(keys, return_inverse=True, return_counts=True)
        means = np.stack([np.bincount(cell, weights=axis) for axis in vertices.T], axis=1) / count[:, None]
        moved = cell[corners]
        moved = moved[(moved != np.roll(moved, 1, axis=1)).all(axis=1)]  # the others are lines and points now
        low, middle, high = np.sort(moved, axis=1).T
        first = np.unique((low * len(means) + middle) * len(means) + high, return_index=True)[1]
        thin = means, moved[np.sort(first)]
        cells /= max(1.2, (len(first) / most) ** 0.5)
    return thin


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.colors for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]),
    )


def covariance_axes(covariance: np.ndarray) -> np.ndarray:
    """(..., 3, 3): a matrix A with A·Aᵀ = covariance, so that {mean + A·u, |u| = 1} is the 1 σ ellipsoid.

    What is not finite counts as 0, as does a negative eigenvalue.
    """
    values, vectors = np.linalg.eigh(np.nan_to_num(covariance, nan=0.0, posinf=0.0, neginf=0.0))
    return vectors * np.sqrt(np.clip(values, 0, None))[..., None, :]


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that looks from `eye` to `center`, y up; `field_of_view` in degrees, vertical."""

    eye: np.ndarray
    center: np.ndarray
    field_of_view: float
    size: tuple[int, int]

    def frame(self) -> np.ndarray:
        """(3, 3): rows are the picture's right, its up, and the direction towards the viewer."""
        return _view_frame(self.eye - self.center)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (M, 2), x to the right and y down, and distances (M,) along the view of points (M, 3)."""
        right, up, back = ((points - self.eye) @ self.frame().T).T
        depth = np.maximum(-back, 1e-9)
        scale = self.pixels_per_unit(depth)
        width, height = self.size
        return np.stack([width / 2 + right * scale, height / 2 - up * scale], axis=1), depth

    def pixels_per_unit(self, depth: np.ndarray | float) -> np.ndarray:
        """How many pixels a unit length across the view takes at a distance."""
        return np.asarray(self.size[1] / 2 / np.tan(np.radians(self.field_of_view / 2)) / depth)


def fit_camera(
    points: np.ndarray,
    *,
    azimuth: float,
    elevation: float,
    size: tuple[int, int],
    field_of_view: float = 30.0,
    margin: float = 0.07,
) -> Camera:
    """Place the camera so that the points (M, 3) just fill the picture, less `margin` of it on each side.

    `azimuth` turns about y from +z (0°) towards +x (90°), `elevation` rises from the horizon, in degrees.
    """
    around, above = np.radians(azimuth), np.radians(np.clip(elevation, -89.9, 89.9))
    direction = np.array([np.sin(around) * np.cos(above), np.sin(above), np.cos(around) * np.cos(above)])
    frame = _view_frame(direction)
    center, distance = points.mean(axis=0), 1.0
    slope_up = np.tan(np.radians(field_of_view / 2)) * (1 - 2 * margin)
    slopes = np.array([slope_up * size[0] / size[1], slope_up])
    for _ in range(10):  # perspective moves the middle of the outline with the distance: settle both in turn
        view = (points - center) @ frame.T
        # A point at (u, w) is inside while |u| <= slope · (distance - w).
        distance = max(float((np.abs(view[:, :2]) / slopes + view[:, 2:]).max()), 1e-3)
        seen = view[:, :2] / (distance - view[:, 2:]).clip(1e-9)
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
        center = center + distance * middle @ frame[:2]
    return Camera(center + distance * direction, center, field_of_view, size)


def _view_frame(back: np.ndarray) -> np.ndarray:
    back = back / np.linalg.norm(back)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])
