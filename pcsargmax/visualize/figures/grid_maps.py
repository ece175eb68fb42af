"""Probability maps over 1-D, 2-D and 3-D grids by several methods, as a figure by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.visualize.figures.parts import (
    check_figure_path,
    color_bar,
    cross,
    dress,
    empty_figure,
    panels,
    save_figure,
)
from pcsargmax.visualize.palette import TRUTH_COLOR, color_values, keypoint_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pcsargmax.core.distribution import KeypointDistribution

#: The two coordinates that each panel of a 3-D map shows; the third is summed over.
_PLANES = ((0, 1), (0, 2), (2, 1))
_AXES = "xyz"
#: Of expectation and deviation: the probability scale, on which they lie, has no such blue.
_MEAN_COLOR = keypoint_color(0)
_DENSITY_COLOR, _BAR_COLOR = keypoint_color(5), "#b9c0cf"
#: The longest side of a plane, in inches.
_SIDE = 2.1


class GridMap(NamedTuple):
    """One keypoint's map over a grid, as arrays.

    Attributes:
        probability: (*shape) in array order.
        lower: (D,) coordinates of the lower ends of the first cells, (x, y, z).
        cell: (D,) widths of the cells.
        mean: (D,) the expectation.
        covariance: (D, D).
        line: (2, Q) positions and density of a 1-D map that has one; else None.
    """

    probability: np.ndarray
    lower: np.ndarray
    cell: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    line: np.ndarray | None

    @property
    def upper(self) -> np.ndarray:
        """(D,) coordinates of the upper ends of the last cells."""
        return self.lower + self.cell * self.probability.shape[::-1]

    @property
    def highest(self) -> float:
        """The largest probability, or density per cell."""
        density = 0.0 if self.line is None else float(self.cell[0] * self.line[1].max())
        return max(float(self.probability.max()), density)

    def plane(self, across: int, up: int) -> np.ndarray:
        """(rows of coordinate `up`, columns of `across`): the map, summed over any other coordinate."""
        size = self.probability.ndim
        other = tuple(size - 1 - d for d in range(size) if d not in (across, up))
        summed = self.probability.sum(axis=other)
        return summed if up > across else summed.T  # of the axes left, the higher coordinate comes first


def map_figure(
    maps: Mapping[str, KeypointDistribution | np.ndarray],
    *,
    keypoint: int = 0,
    item: int = 0,
    truth: Sequence[float] | float | np.ndarray | None = None,
    log_scale: bool = False,
    same_scale: bool = False,
    path: str | Path | None = None,
) -> Figure:
    """Compare the maps of one keypoint over a grid, a method beside the other (as Figure 4 of the paper, on grids).

    A 1-D map is drawn as bars, over them the density of its basis (per cell, so that both have one scale). A 2-D map
    is drawn as colours, of a 3-D one the sums along each axis, a row a method. The ring or line is the expectation,
    around it one standard deviation, the open cross or dotted line the true position. Axes run as in images.

    Args:
        maps: a name, such as "soft-argmax", to a distribution over a Grid; or to an array of probabilities, (W,),
            (H, W) or (D, H, W), whose coordinates are the numbers of the cells. All of one dimension.
        keypoint: number of the keypoint of a distribution.
        item: number of the map in its batch.
        truth: (D,) the true position, in coordinates (x, y, z); None if not known.
        log_scale: colour by the logarithm, over three decades; of 1-D maps the axis of the probability.
        same_scale: one scale for all methods, up to the largest probability of any; else each up to its own.
        path: where to save the figure as well.

    Raises:
        ValueError: no map, one that is not over a grid, maps of unlike dimension, no such keypoint or item, an array
            that is not of probabilities, or a truth of another shape.

    Example:
        >>> import torch
        >>> from pcsargmax import Grid, KeypointDistribution
        >>> from pcsargmax.visualize.figures import map_figure
        >>> maps = KeypointDistribution(torch.randn(1, 1, 16, 12), Grid((16, 12)))
        >>> figure = map_figure({"soft-argmax": maps}, truth=(6, 8), path="map.png")
        >>> len(figure.axes)  # the map and its colour bar
        2
    """
    check_figure_path(path)
    if not isinstance(maps, Mapping) or not maps:
        got = "none" if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"maps: expected the name of at least one method to its map, got {got}")
    read = {name: read_map(name, one, keypoint, item) for name, one in maps.items()}
    sizes = {name: one.probability.ndim for name, one in read.items()}
    size = next(iter(sizes.values()))
    if len(set(sizes.values())) > 1:
        raise ValueError(f"maps: expected maps of one dimension, got {sizes}")
    at = None if truth is None else np.atleast_1d(np.asarray(truth, dtype=np.float64))
    if at is not None and at.shape != (size,):
        raise ValueError(f"truth: expected shape ({size},), got {at.shape}")
    draw = _draw_lines if size == 1 else _draw_planes
    return save_figure(draw(read, at, log_scale, same_scale), path)


def read_map(name: str, given: Any, keypoint: int = 0, item: int = 0) -> GridMap:
    """One keypoint's map of a distribution over a grid, or of an array of probabilities.

    Raises:
        ValueError: as of `map_figure`.
    """
    import torch

    from pcsargmax.core.distribution import KeypointDistribution
    from pcsargmax.core.grid import Grid

    if not isinstance(given, KeypointDistribution):
        array = _probabilities(name, given)
        logits = torch.from_numpy(array).clamp_min(1e-300).log()[None, None]
        return read_map(name, KeypointDistribution(logits, Grid(array.shape)))
    if not isinstance(given.sites, Grid):
        raise ValueError(f"maps {name!r}: expected a map over a Grid; those of clouds are for probability_figure")
    for what, number, count in (("keypoint", keypoint, given.logits.shape[1]), ("item", item, len(given))):
        if not 0 <= number < count:
            raise ValueError(f"{what}: expected 0 to {count - 1}, got {number}")
    grid = given.sites
    with torch.no_grad():
        one = given[item].to("cpu")
        covariance = one.covariance[0, keypoint]
        lower = np.array(grid.first) - np.array(grid.cell) / 2
        line = None
        if grid.dimension == 1 and bool(one.basis_width > 0):
            steps = np.linspace(0, grid.num_sites, min(40 * grid.num_sites, 8000) + 1)
            y = lower[0] + grid.cell[0] * steps
            density = one.density(torch.from_numpy(y).to(one.mean)[None, :, None])[0, keypoint]
            line = np.stack([y, density.double().numpy()])
        return GridMap(
            one.probabilities[0, keypoint].double().reshape(grid.shape).numpy(),
            lower,
            np.array(grid.cell),
            one.mean[0, keypoint].double().numpy(),
            covariance.double().numpy(),
            line,
        )


def _probabilities(name: str, given: Any) -> np.ndarray:
    array = np.asarray(given, dtype=np.float64)
    if not 1 <= array.ndim <= 3 or not array.size:
        raise ValueError(f"maps {name!r}: expected shape (W,), (H, W) or (D, H, W), got {array.shape}")
    if not (np.isfinite(array).all() and array.min() >= 0 and abs(array.sum() - 1) < 1e-3):
        told = f"values from {array.min():.4g} to {array.max():.4g} with the sum {array.sum():.4g}"
        raise ValueError(f"maps {name!r}: expected probabilities, which add up to 1, got {told}")
    return array


def _draw_lines(maps: Mapping[str, GridMap], truth: np.ndarray | None, log_scale: bool, same_scale: bool) -> Figure:
    """1-D maps, one above the other."""
    figure, axes = panels(len(maps), columns=1, width=4.8, height=1.6)
    figure.set_figheight(1.6 * len(maps) + 0.6)
    peak = max(one.highest for one in maps.values())
    for ax, (name, one) in zip(axes, maps.items(), strict=True):
        width, deviation = float(one.cell[0]), float(np.sqrt(one.covariance[0, 0]))
        low, high = one.mean[0] - deviation, one.mean[0] + deviation
        ax.axvspan(low, high, color=_MEAN_COLOR, alpha=0.14, lw=0, label="1 σ", zorder=0)
        left = one.lower[0] + width * np.arange(len(one.probability))
        ax.bar(left, one.probability, width=0.9 * width, align="edge", color=_BAR_COLOR, label="probability of a cell")
        if one.line is not None:
            ax.plot(one.line[0], width * one.line[1], color=_DENSITY_COLOR, lw=1.4, label="density, per cell")
        ax.axvline(one.mean[0], color=_MEAN_COLOR, lw=1.6, label="expectation")
        if truth is not None:
            ax.axvline(truth[0], color=TRUTH_COLOR, lw=1.4, ls=":", label="annotation")
        dress(ax, "", "x" if ax is axes[-1] else "", "probability")
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlim(one.lower[0], one.upper[0])
        top = peak if same_scale else one.highest
        if log_scale:
            ax.set_yscale("log")
        ax.set_ylim(*((1e-3 * top, 2 * top) if log_scale else (0, 1.05 * top)))
    most = max(axes, key=lambda ax: len(ax.get_legend_handles_labels()[0]))
    figure.legend(*most.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_planes(maps: Mapping[str, GridMap], truth: np.ndarray | None, log_scale: bool, same_scale: bool) -> Figure:
    """2-D maps beside each other; of 3-D ones the sums along each axis, a row a map."""
    flat = next(iter(maps.values())).probability.ndim == 2
    planes = _PLANES[:1] if flat else _PLANES
    figure, rows, bars = _plane_panels(list(maps.values()), planes, same_scale)
    what = "probability of a cell" if flat else "probability of a line of cells"
    peaks = [max(float(one.plane(*plane).max()) for plane in planes) for one in maps.values()]
    for number, (name, one) in enumerate(maps.items()):
        peak = max(peaks) if same_scale else peaks[number]
        for ax, plane in zip(rows[number], planes, strict=True):
            colors = color_values(one.plane(*plane), what, log_scale=log_scale, peak=peak)
            _draw_plane(ax, colors.rgb, one, plane, truth)
        rows[number][0].set_title(name, loc="left", fontsize=10)
        if number < len(bars):
            title = what if number == len(bars) - 1 else ""
            color_bar(figure, [], title, colors.ticks, fontsize=8, within=bars[number])
    figure.legend(handles=_plane_marks(truth is not None), loc="lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _plane_panels(
    maps: Sequence[GridMap], planes: Sequence[tuple[int, int]], one_bar: bool
) -> tuple[Figure, list[list[Any]], list[Any]]:
    """A figure of the size that its maps need, the panels of each, and those of its colour bars, one or one a map.

    All lengths are in inches. The panels have fixed shapes, which no layout of matplotlib's keeps close together.
    """
    left, above, below, bar = 0.6, 0.3, 0.48, 1.1
    sides = np.max([one.upper - one.lower for one in maps], axis=0)
    sides = np.maximum(sides * _SIDE / sides.max(), 0.4)
    across, up = [[float(sides[plane[axis]]) for plane in planes] for axis in (0, 1)]
    in_row = min(len(maps), 4) if len(planes) == 1 else 1
    each = sum(across) + left * len(planes) + (0 if one_bar else bar)
    high = max(up) + above + below
    width = max(in_row * each + (bar if one_bar else 0), 3.6)
    height = -(-len(maps) // in_row) * high + 0.3
    figure = empty_figure(width, height)
    figure.set_layout_engine("none")

    def panel(x: float, y: float, w: float, h: float) -> Any:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    rows: list[list[Any]] = []
    bars = []
    for number in range(len(maps)):
        x, y = number % in_row * each, height - (number // in_row + 1) * high + below
        rows.append([])
        for w, h in zip(across, up, strict=True):
            rows[-1].append(panel(x + left, y + max(up) - h, w, h))
            x += left + w
        if not one_bar or number == in_row - 1:
            bars.append(panel(x + 0.12, y + 0.1 * max(up), 0.1, 0.8 * max(up)))
    return figure, rows, bars


def _draw_plane(ax: Any, rgb: np.ndarray, one: GridMap, plane: tuple[int, int], truth: np.ndarray | None) -> None:
    """The colours of a plane, y down as in images, with expectation, one standard deviation and truth."""
    from matplotlib.patches import Ellipse

    across, up = plane
    extent = (one.lower[across], one.upper[across], one.upper[up], one.lower[up])
    ax.imshow(rgb, extent=extent, interpolation="nearest", aspect="equal")
    spread, axes = np.linalg.eigh(one.covariance[np.ix_(plane, plane)])
    width, height = 2 * np.sqrt(spread.clip(0))
    angle = float(np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
    at, look = one.mean[list(plane)], {"fill": False, "angle": angle}
    marks = [(at, "o", 60, _MEAN_COLOR)]
    if truth is not None:
        marks.append((truth[list(plane)], cross(), 70, TRUTH_COLOR))
    for rim in (True, False):  # white below all, so that no mark is lost on a dark map
        ink, wider = "white" if rim else _MEAN_COLOR, 1.2 if rim else 0.0
        ax.add_patch(
            Ellipse(tuple(at), width, height, edgecolor=ink, lw=1.0 + wider, ls="-" if rim else (0, (4, 2)), **look)
        )
        for place, marker, size, color in marks:
            ink = "white" if rim else color
            ax.scatter(*place, marker=marker, s=size, lw=1.5 + wider, facecolor="none", edgecolor=ink)
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.set_xlabel(_AXES[across], fontsize=9)
    ax.set_ylabel(_AXES[up], fontsize=9)
    ax.tick_params(labelsize=8)


def _plane_marks(truth: bool) -> list[Any]:
    """What a legend says of the marks on a plane."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"ls": "", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.4}
    marks = [
        Line2D([], [], marker="o", markeredgecolor=_MEAN_COLOR, label="expectation", **look),
        Line2D([], [], color=_MEAN_COLOR, lw=1.0, ls=(0, (4, 2)), label="1 σ"),
    ]
    if truth:
        marks.append(Line2D([], [], marker=cross(), markeredgecolor=TRUTH_COLOR, label="annotation", **look))
    return marks
