"""Draw the jobs of `offscreen` by matplotlib, where Open3D cannot: the same triangles and points, far ones first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

#: Longer edges are cut in half, in the unit frame: what is far is drawn first only as exactly as triangles are small.
_LONGEST = 0.02
#: So many triangles at once are cut no further: a mesh may be far larger than what is looked at.
_MOST = 200_000


def draw(job: dict[str, Any]) -> Iterator[np.ndarray]:
    """Draw the views of a job, see `offscreen.draw`, and yield each, (height, width, 3) uint8 on white.

    Matplotlib knows no depth: triangles and points are painted in the order of their distance. Where they cross one
    another, the edge is ragged by up to `_LONGEST`.
    """
    corners, colors = _cut(job["vertices"][job["triangles"]], job["colors"][job["triangles"]])
    for view in job["views"]:
        yield _draw_view(job, view, corners, colors)


def _draw_view(job: dict[str, Any], view: dict[str, Any], corners: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Draw triangles with corners (T, 3, 3) and their sRGB (T, 3, 3), and the points of the job."""
    pixels, depth = _project(corners, view, job)
    place, point_depth = _project(job["point_positions"], view, job)
    half = job["point_size"] / 2
    square = half * np.array([[[-1, -1], [1, -1], [1, 1]], [[-1, -1], [1, 1], [-1, 1]]])
    squares = (place[:, None, None] + square).reshape(-1, 3, 2)  # two triangles each
    pixels = np.concatenate([pixels, squares])
    depth = np.concatenate([depth, np.repeat(point_depth, 6).reshape(-1, 3)])
    colors = np.concatenate([colors, np.repeat(job["point_colors"], 6, axis=0).reshape(-1, 3, 3)])
    if job["haze"] is not None:
        near, far, share = job["haze"]
        haze = share * np.clip((depth - near) / (far - near), 0, 1)[..., None]
        colors = colors * (1 - haze) + haze
    order = np.argsort(-depth.mean(axis=1), kind="stable")
    return _paint(pixels[order], colors[order], job["size"])


def _paint(pixels: np.ndarray, colors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Paint triangles with corners at pixels (T, 3, 2) in their order, with colours (T, 3, 3) that blend in between."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import TriMesh
    from matplotlib.figure import Figure
    from matplotlib.transforms import Affine2D
    from matplotlib.tri import Triangulation

    figure = Figure(figsize=size, dpi=1, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    if len(pixels):
        x, y = pixels.reshape(-1, 2).T
        mesh = TriMesh(Triangulation(x, y, np.arange(len(x)).reshape(-1, 3)))
        mesh.set_facecolor(np.clip(colors.reshape(-1, 3), 0, 1))
        mesh.set_transform(Affine2D().scale(1, -1).translate(0, size[1]))  # matplotlib's y is up
        figure.add_artist(mesh)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _project(positions: np.ndarray, view: dict[str, Any], job: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (..., 2), y down, and distances along the view (...) of positions (..., 3)."""
    right, up, back = np.moveaxis((positions - view["eye"]) @ view["frame"].T, -1, 0)
    scale = job["focal"] / np.maximum(-back, 1e-9)
    width, height = job["size"]
    return np.stack([width / 2 + right * scale, height / 2 - up * scale], axis=-1), -back


def _cut(corners: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve triangles (T, 3, 3) with colours (T, 3, 3) across their longest edges until all are short, or are many."""
    both = np.concatenate([corners, colors], axis=2)
    short = [both[:0]]
    while len(both):
        edges = np.linalg.norm(both[:, [1, 2, 0], :3] - both[..., :3], axis=2)
        long = (edges.max(axis=1) > _LONGEST) & (len(both) <= _MOST)
        short.append(both[~long])
        both = both[long]
        rows, first = np.arange(len(both))[:, None], edges[long].argmax(axis=1)[:, None]
        a, b, c = np.moveaxis(both[rows, (first + np.arange(3)) % 3], 1, 0)
        middle = (a + b) / 2
        both = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
    whole = np.concatenate(short)
    return whole[..., :3], whole[..., 3:]
