"""Many images on one picture, with one legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.visualize.clouds.sheet import check_sheet
from pcsargmax.visualize.figures.parts import DPI, bare, check_figure_path, empty_figure, save_figure
from pcsargmax.visualize.images.drawing import check_ellipsoids, common_peak, draw_on, proportion
from pcsargmax.visualize.images.legend import draw_scale, shortened
from pcsargmax.visualize.images.picture import Drawable, Picture, SlicePicture, picture_of
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.palette import ProbabilityColors, keypoint_color

#: Inches of a caption, and of the margins.
_CAPTION, _GAP = 0.24, 0.1
#: Letters of captions and names, in points.
_LETTERS = 8.0
#: Of more keypoints than this the legend counts the rest.
_MOST_NAMES = 40


def image_sheet(
    predictions: Sequence[Drawable],
    path: str | Path,
    columns: int = 5,
    *,
    keypoint: str | int | None = None,
    truth: bool = True,
    ellipsoids: int = 0,
    log_scale: bool = False,
    map: bool = True,
    labels: bool = False,
    same_scale: bool = True,
    size: tuple[int, int] | None = None,
    captions: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw many images into one file, each above its caption, with one legend below all.

    Args:
        predictions: or items, see `draw_image`; a lazy sequence is asked for each of them once.
        path: the file: .png, .pdf, .svg, …
        columns: images in a row, where there are as many.
        keypoint: see `draw_image`, as the five that follow.
        truth: see there.
        ellipsoids: see there.
        log_scale: see there.
        map: see there.
        labels: write the names beside the keypoints; the legend tells them by their colours.
        same_scale: the colours mean the same probabilities in all images; else each has a scale to its own largest.
        size: width and height in pixels of each; None: by the proportions of the images.
        captions: one for each; None: its name, and the mean error of its keypoints where they are annotated.
        progress: called with (done, total).

    Returns:
        The path.

    Raises:
        ValueError: no image, another number of captions, too few columns, a size too small, or no such keypoint.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> from pcsargmax.visualize.images import image_sheet
        >>> faces = ProceduralFaces("test", num_items=3, size=64)
        >>> image_sheet([faces[i] for i in range(3)], "faces.png", columns=3).name
        'faces.png'
    """
    check_sheet(predictions, columns, captions)
    if size is not None and min(size) < 80:
        raise ValueError(f"size: expected a width and a height of 80 pixels or more, got {size[0]}x{size[1]}")
    check_figure_path(path)
    check_ellipsoids(ellipsoids)
    pictures = [picture_of(predictions[number]) for number in range(len(predictions))]
    peak = common_peak(pictures, keypoint) if map and same_scale else None
    options: dict[str, Any] = {"keypoint": keypoint, "truth": truth, "ellipsoids": ellipsoids, "labels": labels}
    options |= {"log_scale": log_scale, "map": map, "peak": peak}
    sheet = _Sheet(len(pictures), columns, size or _usual_size(pictures))
    names: dict[int, str] = {}
    colors = None
    for number, picture in enumerate(pictures):
        told = _caption(picture, truth) if captions is None else captions[number]
        found = draw_on(sheet.cell(number, told), picture, **options)
        colors = colors or found
        for k in picture.shown.tolist():
            names[k] = picture.names[k] if names.get(k, picture.names[k]) == picture.names[k] else f"#{k}"
        if progress is not None:
            progress(number + 1, len(pictures))
    if colors is not None and not same_scale:
        ends = ((0.0, "a thousandth" if log_scale else "0"), (1.0, "largest of each image"))
        colors = ProbabilityColors(colors.title, colors.rgb, ends)
    dark = truth and any(one.truth is not None for one in pictures)
    sheet.legend(colors, names, "dark: truth" if dark else "")
    save_figure(sheet.figure, path)
    return Path(path)


class _Sheet:
    """White paper with cells in rows, and room for a legend below them."""

    def __init__(self, count: int, columns: int, size: tuple[int, int]) -> None:
        self.columns = min(columns, count)
        self.side = np.array(size) / DPI
        self.rows = -(-count // self.columns)
        self.width = max(self.columns * (self.side[0] + _GAP) + _GAP, 3.4)
        self.bottom = 0.0
        self.cells = self.rows * (self.side[1] + _CAPTION + _GAP) + _GAP  # inches that they take
        self.figure = empty_figure(self.width, self.cells)
        self.figure.set_layout_engine("none")
        self.placed: list[tuple[Any, tuple[float, float, float, float]]] = []

    def place(self, x: float, y: float, width: float, height: float) -> Any:
        """Axes at inches from the left and the top."""
        ax = self.figure.add_axes(self._share(x, y, width, height, self.cells))
        self.placed.append((ax, (x, y, width, height)))
        bare(ax)
        return ax

    def _share(
        self, x: float, y: float, width: float, height: float, whole: float
    ) -> tuple[float, float, float, float]:
        return x / self.width, 1 - (y + height) / whole, width / self.width, height / whole

    def cell(self, number: int, caption: str) -> Any:
        """Axes for an image, above its caption."""
        x = _GAP + number % self.columns * (self.side[0] + _GAP)
        y = _GAP + number // self.columns * (self.side[1] + _CAPTION + _GAP)
        below = self.place(x, y + self.side[1], self.side[0], _CAPTION)
        below.set(xlim=(0, 1), ylim=(0, 1))
        most = int(self.side[0] * 72 / (0.56 * _LETTERS))
        below.text(0.5, 0.75, shortened(caption, most), fontsize=_LETTERS, color=INK, ha="center", va="top")
        return self.place(x, y, *self.side)

    def legend(self, colors: ProbabilityColors | None, names: dict[int, str], note: str) -> None:
        """Write the scale and the names, and make the paper as long as they need."""
        y = self.cells + 0.1
        room = self.width - 2 * _GAP
        if colors is not None:
            bar = min(2.6, room)
            above = self.place(_GAP, y, room, 0.18)
            above.set(xlim=(0, room), ylim=(0, 1))
            above.text(0, 0.5, colors.title, fontsize=_LETTERS, color=INK, va="center")
            draw_scale(self.place(_GAP, y + 0.2, bar, 0.11), colors, fontsize=7)
            y += 0.55
        y = self._names(names, y, room)
        if note:
            ax = self.place(_GAP, y, room, 0.18)
            ax.set(xlim=(0, room), ylim=(0, 1))
            ax.text(0, 0.5, note, fontsize=0.9 * _LETTERS, color=FAINT, va="center")
            y += 0.2
        whole = y + _GAP
        self.figure.set_size_inches(self.width, whole)
        for ax, box in self.placed:
            ax.set_position(self._share(*box, whole))

    def _names(self, names: dict[int, str], y: float, room: float) -> float:
        """Swatches with names in lines; the y below."""
        listed = sorted(names)[:_MOST_NAMES]
        texts = [shortened(names[k], 24) for k in listed]
        wide = [0.26 + 0.62 * _LETTERS / 72 * len(text) for text in texts]
        x, lines = 0.0, [[]]  # type: ignore[var-annotated]
        for k, text, width in zip(listed, texts, wide, strict=True):
            if x and x + width > room:
                x = 0.0
                lines.append([])
            lines[-1].append((x, k, text))
            x += width
        for line in lines if listed else []:
            ax = self.place(_GAP, y, room, 0.19)
            ax.set(xlim=(0, room), ylim=(0, 1))
            at, colors = [one[0] + 0.06 for one in line], [keypoint_color(one[1]) for one in line]
            ax.scatter(at, [0.5] * len(at), s=26, c=colors, lw=0, clip_on=False)
            for start, _, text in line:
                ax.text(start + 0.14, 0.48, text, fontsize=_LETTERS, color=INK, va="center")
            y += 0.19
        if len(names) > len(listed):
            ax = self.place(_GAP, y, room, 0.19)
            ax.set(xlim=(0, room), ylim=(0, 1))
            ax.text(0, 0.5, f"and {len(names) - len(listed)} more", fontsize=_LETTERS, color=FAINT, va="center")
            y += 0.19
        return y


def _usual_size(pictures: Sequence[Picture | SlicePicture]) -> tuple[int, int]:
    """Pixels in which the highest of the pictures just fits."""
    wide = max(480 if isinstance(one, SlicePicture) else 320 for one in pictures)
    high = max(wide / proportion(one) for one in pictures)
    return wide, round(min(max(high, 0.3 * wide), 1.5 * wide))


def _caption(picture: Picture | SlicePicture, truth: bool) -> str:
    """The name of an image, and its mean error; a name that is too long is cut so that the error stays."""
    error = picture.mean_error if truth else None
    return picture.name if error is None else f"{shortened(picture.name, 20)}   {error:.2f} px"
