"""The marks on an image: its map, keypoints with their errors and ellipses, surfaces with their bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.images.picture import Picture, SlicePicture, ellipse_axes
from pcsargmax.visualize.overlay import label_place
from pcsargmax.visualize.palette import TRUTH_COLOR, keypoint_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of more keypoints than this the names are left out of the picture, but for that of the chosen one.
MOST_NAMES = 24
#: Of the bands around surfaces.
_BAND = 0.28


def draw_map(ax: Axes, picture: Picture, rgba: np.ndarray) -> None:
    """The map where its cells lie on the image, however the crop was turned."""
    from matplotlib.transforms import Affine2D

    assert picture.placed is not None  # a picture with maps says where they are
    layer = ax.imshow(rgba, interpolation="nearest", origin="upper")
    layer.set_transform(Affine2D(np.vstack([picture.placed, [0, 0, 1]])) + ax.transData)


def draw_keypoints(
    ax: Axes, picture: Picture, chosen: int | None, truth: bool, ellipsoids: int, labels: bool | None
) -> None:
    """Of a chosen keypoint all there is, of the others small discs."""
    shown = picture.shown
    if not len(shown):
        return
    radius = _dot(ax, len(shown))
    rows = shown if chosen is None else shown[shown == chosen]
    if picture.covariance is not None and ellipsoids:
        _draw_ellipses(ax, picture, rows, ellipsoids)
    if truth and picture.truth is not None:
        _draw_errors(ax, picture, rows[np.isfinite(picture.truth[rows]).all(axis=1)], radius)
    sides = np.where(np.isin(shown, rows), radius, 0.6 * radius)
    colors = [keypoint_color(k) for k in shown]
    x, y = picture.position[shown].T
    ax.scatter(x, y, s=sides**2, c=colors, ec="white", lw=0.16 * sides, zorder=5)
    named = labels if labels is not None else len(picture.names) <= MOST_NAMES or chosen is not None
    if named:
        _write_names(ax, picture, rows, radius)


def _draw_errors(ax: Axes, picture: Picture, rows: np.ndarray, radius: float) -> None:
    """Dark lines with white rims from keypoints to their true places, and dots there."""
    from matplotlib.collections import LineCollection

    assert picture.truth is not None
    lines: Any = np.stack([picture.position[rows], picture.truth[rows]], axis=1)
    x, y = picture.truth[rows].T
    for color, width in (("white", 0.28 * radius + min(1.6, 0.3 * radius)), (TRUTH_COLOR, 0.28 * radius)):
        ax.add_collection(LineCollection(lines, colors=color, linewidths=width, zorder=4), autolim=False)
    ax.scatter(x, y, s=(0.75 * radius) ** 2, c=TRUTH_COLOR, ec="white", lw=0.16 * radius, zorder=4)


def _draw_ellipses(ax: Axes, picture: Picture, rows: np.ndarray, sigmas: int) -> None:
    """Outlines in the keypoints' colours; of few keypoints with white rims, and the first σ filled."""
    from matplotlib.collections import EllipseCollection

    assert picture.covariance is not None
    axes, angle = ellipse_axes(picture.covariance[rows])
    colors = [keypoint_color(k) for k in rows]
    places: dict[str, Any] = {"units": "xy", "offsets": picture.position[rows], "offset_transform": ax.transData}
    for sigma in range(1, sigmas + 1):
        long, short = 2 * sigma * axes[:, 1], 2 * sigma * axes[:, 0]
        looks: list[dict[str, Any]] = [{"facecolors": "none", "edgecolors": colors, "linewidths": 1.1}]
        if len(rows) <= MOST_NAMES:
            looks.insert(0, {"facecolors": "none", "edgecolors": "white", "linewidths": 2.2, "alpha": 0.6})
            looks += [{"facecolors": colors, "edgecolors": "none", "alpha": 0.16}] * (sigma == 1)
        for look in looks:
            ax.add_collection(EllipseCollection(long, short, angle, zorder=3, **places, **look), autolim=False)


def draw_surfaces(
    ax: Axes, picture: SlicePicture, chosen: int | None, truth: bool, sigmas: int, labels: bool | None
) -> None:
    """Lines in the surfaces' colours with bands of `sigmas` σ; of others than the chosen one thin lines."""
    from matplotlib.patheffects import withStroke

    columns = np.arange(picture.rows.shape[1])
    halo = [withStroke(linewidth=2.2, foreground="white", alpha=0.7)]
    if truth and picture.truth is not None:
        for row in picture.truth:
            ax.plot(columns, row, color=TRUTH_COLOR, lw=0.9, ls=(0, (4, 2)), path_effects=halo, zorder=4)
    for k in picture.shown:
        color, row, faint = keypoint_color(k), picture.rows[k], chosen not in (None, k)
        if picture.std is not None and not faint:
            for sigma in range(1, sigmas + 1):
                band = sigma * picture.std[k]
                ax.fill_between(columns, row - band, row + band, color=color, alpha=_BAND / sigma, lw=0, zorder=3)
        ax.plot(columns, row, color=color, lw=0.8 if faint else 1.6, zorder=5)
        if labels is not False and not faint and (labels or chosen == k or len(picture.names) <= MOST_NAMES):
            end = np.flatnonzero(np.isfinite(row))[-1]
            look: dict[str, Any] = {"fontsize": 7.5, "color": color, "va": "center", "annotation_clip": False}
            ax.annotate(picture.names[k], (end, row[end]), (4, 0), textcoords="offset points", **look)


def _dot(ax: Axes, count: int) -> float:
    """Diameter of a keypoint in points: smaller in small pictures and among many."""
    box = ax.get_position().get_points()
    width, height = (box[1] - box[0]) * ax.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    return float(np.clip(72 * min(width, height) / (28 + 0.75 * count), 2.4, 10))


def _write_names(ax: Axes, picture: Picture, rows: np.ndarray, radius: float) -> None:
    """Names beside their keypoints, each where it covers least of the others; a line leads to one that is far away."""
    from matplotlib.patheffects import withStroke

    ax.apply_aspect()
    box, points = ax.bbox, 72 / ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    pixels = ax.transData.transform(picture.position)
    at = points * np.stack([pixels[:, 0] - box.x0, box.y1 - pixels[:, 1]], axis=1)  # from the upper left corner
    half = 0.5 * radius + 0.5
    discs = [(x - half, y - half, x + half, y + half) for x, y in at[picture.shown].tolist()]
    taken, size = list(discs), float(np.clip(1.1 * radius, 6, 9))
    for k in rows:
        x, y = at[k].tolist()
        text_box = (0.0, 0.0, 0.54 * size * len(picture.names[k]), size)
        disc = (x - half, y - half, x + half, y + half)
        place = label_place(text_box, disc, taken, (int(points * box.width), int(points * box.height)))
        taken.append(place)
        away = (place[0] + place[2]) / 2 - x, y - (place[1] + place[3]) / 2
        gap = np.hypot(x - np.clip(x, place[0], place[2]), y - np.clip(y, place[1], place[3]))
        line = {"arrowstyle": "-", "color": keypoint_color(k), "lw": 0.8, "shrinkA": 0, "shrinkB": half}
        look: dict[str, Any] = {"fontsize": size, "color": TRUTH_COLOR, "va": "center", "ha": "center", "zorder": 6}
        look |= {"arrowprops": line if gap > radius + 2 else None, "annotation_clip": True}
        middle = float(picture.position[k, 0]), float(picture.position[k, 1])
        text = ax.annotate(picture.names[k], middle, away, textcoords="offset points", **look)
        text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
