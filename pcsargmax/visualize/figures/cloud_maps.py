"""Probability maps of one keypoint on a cloud by several methods, as a figure by matplotlib (Figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.geometry import Camera, fit_camera
from pcsargmax.visualize.figures.parts import bare, check_figure_path, color_bar, cross, folded, panels, save_figure
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.palette import TRUTH_COLOR, faded, keypoint_color, probability_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Side of a panel in inches and in the camera's pixels.
_SIDE, _PIXELS = 1.75, 400
#: How many letters of a colour scale's title, and of a method's name, are as long as a panel is high.
_OF_TITLE, _OF_NAME = 22, 20
#: Clouds of more points are drawn as pixels in a vector file too, which would be slow to open else.
_MANY = 10_000


def probability_figure(
    predictions: Mapping[str, Prediction],
    *,
    keypoint: str | int,
    log_scale: bool = False,
    same_scale: bool = False,
    views: Sequence[tuple[float, float]] = ((35, 20), (125, 20), (35, 75)),
    closeup: float | None = 0.12,
    path: str | Path | None = None,
) -> Figure:
    """Compare the maps of one keypoint on one cloud, a row a method, a column a view (as Figure 4 of the paper).

    The ring is the expectation, the open cross the annotated position. Points on the far side are paler.

    Args:
        predictions: the method's name, such as "soft-argmax", to its prediction.
        keypoint: name or number.
        log_scale: colour by the logarithm, over three decades.
        same_scale: one scale for all methods, up to the largest probability of any; else each up to its own.
        views: (azimuth, elevation) in degrees, see `geometry.fit_camera`.
        closeup: a last column shows this much of the first view around the most probable points, a share of the
            bounding-box diagonal; None for none. Its frame is drawn in the first view.
        path: where to save the figure as well.

    Raises:
        ValueError: no prediction, no such keypoint, no view, or a close-up outside (0, 1].

    Example:
        >>> from pcsargmax import KeypointNet, make_procedural
        >>> from pcsargmax.visualize import annotated_shapes, probability_figure
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=64)
        >>> mug = annotated_shapes(KeypointNet("data", "mug", "all"))[0]
        >>> figure = probability_figure({"annotation": mug}, keypoint=0, closeup=None, path="map.png")
        >>> len(figure.axes)
        4
    """
    check_figure_path(path)
    if not predictions:
        raise ValueError("predictions: expected at least one, got none")
    if not views:
        raise ValueError("views: expected at least one, got none")
    if closeup is not None and not 0 < closeup <= 1:
        raise ValueError(f"closeup: expected a share within (0, 1], got {closeup}")
    peaks = [float(probability_map(one, keypoint).max()) for one in predictions.values()]
    columns = len(views) + (closeup is not None)
    figure, axes = panels(len(predictions) * columns, columns=columns, width=_SIDE, height=_SIDE)
    figure.set_layout_engine("compressed")  # for panels of fixed shape
    figure.set_figwidth(columns * _SIDE + 0.9)
    peak = (max(peaks) or None) if same_scale else None
    shapes = [_Shape(one, keypoint, log_scale=log_scale, peak=peak) for one in predictions.values()]
    for row, (name, shape) in enumerate(zip(predictions, shapes, strict=True)):
        line = axes[row * columns : (row + 1) * columns]
        for ax, (azimuth, elevation) in zip(line, views, strict=False):
            shape.draw(ax, azimuth, elevation, plain=closeup is not None)
        if closeup is not None:
            shape.draw(line[-1], *views[0], closeup=closeup, frame_in=line[0])
        line[0].set_ylabel(folded(name, _OF_NAME), fontsize=11)
        if not same_scale:
            color_bar(figure, line, _folded_title(shape.colors.title), shape.colors.ticks, aspect=12)
    if same_scale:  # the scale says of the last shape what it does of all
        title = _folded_title(shapes[-1].colors.title, len(shapes))
        color_bar(figure, axes, title, shapes[-1].colors.ticks, aspect=12 * len(shapes))
    _explain(figure, shapes)
    return save_figure(figure, path)


class _Shape:
    """A cloud in the unit frame with the colours of a map and the place of a keypoint."""

    def __init__(self, prediction: Prediction, keypoint: str | int, *, log_scale: bool, peak: float | None) -> None:
        self.number = int(prediction.keypoint_number(keypoint))
        look = Look(self.number, log_scale, skeleton=False, surface=False, symmetries=False, min_visibility=0.0)
        drawing = build_drawing(prediction, look, peak=peak)
        self.points, self.colors, self.position = drawing.points, drawing.colors, drawing.position[self.number]
        truth = drawing.truth[self.number]
        self.truth = truth if np.isfinite(truth).all() else None
        self.probability = probability_map(prediction, self.number)

    def draw(
        self,
        ax: Any,
        azimuth: float,
        elevation: float,
        *,
        closeup: float | None = None,
        frame_in: Any = None,
        plain: bool = False,
    ) -> None:
        """Draw it as seen from one side; of a close-up only what lies around the map's centre, framed in `frame_in`.

        A `plain` one has no annotation, which would hide the rest in a small picture.
        """
        camera = fit_camera(self.points, azimuth=azimuth, elevation=elevation, size=(_PIXELS, _PIXELS), margin=0.03)
        pixels, depth = camera.project(self.points)
        low, high = np.zeros(2), np.full(2, float(_PIXELS))
        size = float(np.clip(6500 / len(pixels), 0.4, 12))
        if closeup is not None:
            low, high = self._window(camera, closeup)
            size *= min((_PIXELS / float(high[0] - low[0])), 4.0) ** 2 / 2
        colors = faded(self.colors.rgb, depth)
        order = np.lexsort((-depth, self.probability > 0.01 * self.probability.max()))  # what counts lies on top
        ax.scatter(*pixels[order].T, c=colors[order], s=size, lw=0, rasterized=len(pixels) > _MANY)
        self._mark(ax, camera, plain=plain, large=closeup is not None)
        ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
        bare(ax)
        if frame_in is not None:
            _frame(ax, frame_in, low, high)

    def _window(self, camera: Camera, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the square that shows a share of the diagonal around expectation, annotation and peak."""
        places = [self.position, self.points[self.probability.argmax()]]
        places += [] if self.truth is None else [self.truth]
        seen, depth = camera.project(np.stack(places))
        low, high = seen.min(axis=0), seen.max(axis=0)
        half = max(share / 2 * float(camera.pixels_per_unit(depth.mean())), 0.6 * float((high - low).max()))
        return (low + high) / 2 - half, (low + high) / 2 + half

    def _mark(self, ax: Any, camera: Camera, *, plain: bool, large: bool) -> None:
        """The expectation as a ring, the annotated position as a cross; with a white rim where they are small."""
        size, inks = (150, [("", 1.4)]) if large else (40, [("white", 2.4), ("", 1.2)])
        places = [(self.position, "o", keypoint_color(self.number))]
        if self.truth is not None and not plain:
            places.insert(0, (self.truth, cross(), TRUTH_COLOR))
        for place, marker, color in places:
            at = camera.project(place[None])[0]
            for ink, width in inks:
                ax.scatter(*at.T, marker=marker, s=size, lw=width, facecolor="none", edgecolor=ink or color)


def _folded_title(title: str, rows: int = 1) -> str:
    """What a scale shows, in lines that are no longer than so many rows of panels are high."""
    lines = [title] if len(title) <= _OF_TITLE * rows else title.replace(", log scale", ",\nlog scale").split("\n")
    return "\n".join(folded(line, _OF_TITLE * rows) for line in lines)


def _frame(ax: Any, whole: Any, low: np.ndarray, high: np.ndarray) -> None:
    """Draw the frame of a close-up around it and, small, in the panel of the whole."""
    from matplotlib.patches import Rectangle

    whole.add_patch(Rectangle(tuple(low), *(high - low), fill=False, lw=0.7, edgecolor=TRUTH_COLOR, clip_on=False))
    for side in ax.spines.values():
        side.set(visible=True, lw=0.7, color=TRUTH_COLOR)


def _explain(figure: Figure, shapes: Sequence[_Shape]) -> None:
    """Say below the panels what ring and cross are."""
    from matplotlib.lines import Line2D

    ring = keypoint_color(shapes[0].number)
    look: dict[str, Any] = {"ls": "", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.2}
    marks = [Line2D([], [], marker="o", markeredgecolor=ring, label="expectation", **look)]
    if any(shape.truth is not None for shape in shapes):
        marks.append(Line2D([], [], marker=cross(), markeredgecolor=TRUTH_COLOR, label="annotation", **look))
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
