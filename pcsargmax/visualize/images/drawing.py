"""An image with what was found in it, drawn by matplotlib: into a file, or into a panel of a figure of your own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcsargmax.visualize.figures.parts import DPI, bare, check_figure_path, empty_figure, save_figure
from pcsargmax.visualize.images.legend import draw_legend, needed_height
from pcsargmax.visualize.images.marks import draw_keypoints, draw_map, draw_surfaces
from pcsargmax.visualize.images.picture import (
    Drawable,
    Picture,
    SlicePicture,
    map_colors,
    map_values,
    pale,
    picture_of,
)
from pcsargmax.visualize.palette import ProbabilityColors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Pictures wider than this many times their height, as slices are, are stretched upwards.
WIDEST = 3.0
#: Height of a picture in a file, in inches, if nothing is said; the longest width it may have; width of the legend.
_HEIGHT, _WIDTH, _PANEL = 5.6, 8.0, 2.5
#: Inches that picture and legend need side by side: where a file has fewer pixels, all letters are smaller.
_NARROWEST = 6.25
#: Margins, and the room for the name of a method, in inches; colours of these names, as on a page.
_GAP, _HEAD, _TITLES = 0.12, 0.34, ("#0072b2", "#b35c00")


def draw_image(
    prediction: Drawable,
    target: str | Path | Axes,
    *,
    keypoint: str | int | None = None,
    truth: bool = True,
    ellipsoids: int = 1,
    log_scale: bool = False,
    map: bool = True,
    labels: bool | None = None,
    peak: float | None = None,
    size: tuple[int, int] | None = None,
) -> Figure:
    """Draw an image with its keypoints and a probability map, or with its surfaces.

    Keypoints have the same colours everywhere; a dark line leads from each to its true place. Under a map the image is
    grey and pale, so that the colours are those of the map's scale. Surfaces are lines with bands of their deviation.

    Args:
        prediction: of keypoints or of surfaces, or an item of a data set as it is annotated (see `picture_of`).
        target: a file (.png, .pdf, .svg, …), which gets a legend beside the picture, or axes, which get the picture
            alone.
        keypoint: name or number of the keypoint (or surface) whose map and ellipses (or band) are drawn; None: the
            largest of all maps, and the ellipses of all.
        truth: draw the true places, and lines to them.
        ellipsoids: draw the ellipses (of surfaces: the bands) of 1 … n σ: 0, 1 or 2.
        log_scale: colour the map by the logarithm of the probability, over three decades.
        map: draw the map; without it the image has its own colours.
        labels: write names beside the keypoints; None: if there are at most `marks.MOST_NAMES`.
        peak: the probability at the end of the colour scale; None: the largest of the map.
        size: width and height of the file in pixels; None: by the image's proportions.

    Returns:
        The figure.

    Raises:
        ValueError: no such keypoint, a number of ellipses or a size that is none, or an ending that is no format.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize.images import draw_image
        >>> figure = draw_image(ProceduralFaces("test")[0], "face.png", labels=False)
        >>> len(figure.axes)  # the picture and its legend
        2
    """
    from matplotlib.axes import Axes

    check_ellipsoids(ellipsoids)
    picture = _without_maps(picture_of(prediction)) if not map else picture_of(prediction)
    options: dict[str, Any] = {"keypoint": keypoint, "truth": truth, "ellipsoids": ellipsoids, "labels": labels}
    options |= {"log_scale": log_scale, "map": map, "peak": peak}
    if isinstance(target, Axes):
        draw_on(target, picture, **options)
        return target.get_figure(root=True)  # type: ignore[return-value]
    check_figure_path(target)
    if isinstance(picture, SlicePicture) and labels is None:
        options["labels"] = False  # the legend names the surfaces from the first to the last
    figure, ax, side = _page(picture, size)
    colors = draw_on(ax, picture, **options)
    draw_legend(side, picture, colors, keypoint=keypoint, truth=truth, ellipsoids=ellipsoids)
    return save_figure(figure, target)


def draw_pair(
    first: Drawable,
    second: Drawable,
    path: str | Path,
    *,
    names: tuple[str, str] = ("", ""),
    same_scale: bool = True,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Figure:
    """Draw what two methods found in one image beside each other, each with its legend.

    Args:
        first: of the first method.
        second: of the second.
        path: the file.
        names: of the methods, above the pictures.
        same_scale: the colours mean the same probabilities in both.
        size: width and height of the file in pixels; None: by the image's proportions.
        options: keypoint, truth, ellipsoids, log_scale, map and labels of `draw_image`.

    Raises:
        ValueError: see `draw_image`.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralSlices
        >>> from pcsargmax.visualize.images import draw_pair
        >>> slices = ProceduralSlices("test")
        >>> figure = draw_pair(slices[0], slices[1], "pair.png", names=("first slice", "second slice"))
        >>> len(figure.axes)  # two pictures, two legends
        4
    """
    check_ellipsoids(options.get("ellipsoids", 1))
    check_figure_path(path)
    pictures = [picture_of(first), picture_of(second)]
    options.setdefault("labels", False if isinstance(pictures[0], SlicePicture) else None)
    peak = options.pop("peak", None)
    if same_scale and peak is None and options.get("map", True):
        peak = common_peak(pictures, options.get("keypoint"))
    half = None if size is None else (size[0] // 2, size[1])
    wide, high, dpi = _measures(pictures[0], half, head=_HEAD)
    figure = empty_figure(2 * wide, high, dpi)
    figure.set_layout_engine("none")
    told = {name: options[name] for name in ("keypoint", "truth", "ellipsoids") if name in options}
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        x = number * wide
        ax, side = _place(figure, (x, 0.0, wide, high - _HEAD))
        colors = draw_on(ax, picture, peak=peak, **options)
        draw_legend(side, picture, colors, **told)
        at = (x + _GAP) / (2 * wide), 1 - 0.55 * _HEAD / high
        figure.text(*at, name, fontsize=11, fontweight="bold", color=_TITLES[number], va="center")
    return save_figure(figure, path)


def draw_on(
    ax: Axes,
    picture: Picture | SlicePicture,
    *,
    keypoint: str | int | None = None,
    truth: bool = True,
    ellipsoids: int = 1,
    log_scale: bool = False,
    map: bool = True,
    labels: bool | None = None,
    peak: float | None = None,
) -> ProbabilityColors | None:
    """Draw into axes; the arguments are those of `draw_image`.

    Returns:
        The colours of the map, for a legend; None where none is drawn.
    """
    chosen = None if keypoint is None else picture.number(keypoint)
    picture = picture if map else _without_maps(picture)
    bare(ax)
    colors = None
    left, top, right, bottom = picture.edges
    if isinstance(picture, SlicePicture):
        ax.imshow(picture.image, interpolation="nearest", aspect=stretch(picture))
        draw_surfaces(ax, picture, chosen, truth, ellipsoids, labels)
    else:
        layer = map_colors(picture, chosen, log_scale=log_scale, peak=peak)
        ax.imshow(picture.image if layer is None else pale(picture.image), interpolation="bilinear")
        if layer is not None:
            colors = layer[0]
            draw_map(ax, picture, layer[1])
        ax.set(xlim=(left, right), ylim=(bottom, top))  # names are placed by them
        draw_keypoints(ax, picture, chosen, truth, ellipsoids, labels)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    return colors


def _without_maps(picture: Picture | SlicePicture) -> Picture | SlicePicture:
    return picture if isinstance(picture, SlicePicture) else replace(picture, maps=None)


def check_ellipsoids(ellipsoids: int) -> None:
    """Raise ValueError unless it is 0, 1 or 2."""
    if isinstance(ellipsoids, bool) or ellipsoids not in (0, 1, 2):
        raise ValueError(f"ellipsoids: expected 0, 1 or 2, got {ellipsoids!r}")


def stretch(picture: Picture | SlicePicture) -> float:
    """How many times higher than wide a pixel is drawn: 1, but of slices that are very wide or very high."""
    if isinstance(picture, Picture):
        return 1.0
    height, width = picture.image.shape[:2]
    return max(1.0, width / (WIDEST * height)) if width > height else min(1.0, WIDEST * width / height)


def common_peak(pictures: Sequence[Picture | SlicePicture], keypoint: str | int | None) -> float | None:
    """The largest probability of the maps shown; None where there are none, or all are 0."""
    maps = [map_values(one, keypoint) for one in pictures if isinstance(one, Picture)]
    return max((float(values.max()) for values in maps if values is not None), default=0.0) or None


def _page(picture: Picture | SlicePicture, size: tuple[int, int] | None) -> tuple[Figure, Axes, Axes]:
    """A figure with room for the picture and, at its right, for the legend."""
    width, height, dpi = _measures(picture, size)
    figure = empty_figure(width, height, dpi)
    figure.set_layout_engine("none")
    return figure, *_place(figure, (0.0, 0.0, width, height))


def proportion(picture: Picture | SlicePicture) -> float:
    """Width of what is drawn over its height."""
    left, top, right, bottom = picture.edges
    return (right - left) / (stretch(picture) * (bottom - top))


def _measures(
    picture: Picture | SlicePicture, size: tuple[int, int] | None, head: float = 0.0
) -> tuple[float, float, float]:
    """Width and height in inches of a picture with its legend, below a head of that height, and dots an inch."""
    if size is not None:
        if min(size) < 200:
            raise ValueError(f"size: expected a width and a height of 200 pixels or more, got {size[0]}x{size[1]}")
        dpi = min(DPI, size[0] / _NARROWEST)
        return size[0] / dpi, size[1] / dpi, dpi
    ratio = proportion(picture)
    high = min(_HEIGHT, _WIDTH / ratio)
    return high * ratio + _PANEL + 3 * _GAP, max(high + 2 * _GAP, needed_height(picture)) + head, DPI


def _place(figure: Figure, box: tuple[float, float, float, float]) -> tuple[Axes, Axes]:
    """Axes for a picture and for its legend in a box: inches from the left and the bottom, width, height."""
    (left, bottom, width, height), whole = box, figure.get_size_inches()
    panel = min(_PANEL, 0.4 * width)
    room = width - panel - 3 * _GAP

    def share(x: float, wide: float) -> tuple[float, float, float, float]:
        return x / whole[0], (bottom + _GAP) / whole[1], wide / whole[0], (height - 2 * _GAP) / whole[1]

    ax = figure.add_axes(share(left + _GAP, room), anchor="N")
    return ax, figure.add_axes(share(left + 2 * _GAP + room, panel))
