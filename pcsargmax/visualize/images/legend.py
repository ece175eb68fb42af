"""What explains a picture: beside it its name, the scale of its map, its keypoints with their confidence and error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.figures.parts import bare
from pcsargmax.visualize.images.picture import Picture, SlicePicture
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.palette import ABSENT_COLOR, ProbabilityColors, keypoint_color, probability_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A row of the list in inches, and its letters in points.
_ROW, _LETTERS = 0.185, 8.5


def draw_legend(
    ax: Axes,
    picture: Picture | SlicePicture,
    colors: ProbabilityColors | None,
    *,
    keypoint: str | int | None = None,
    truth: bool = True,
    ellipsoids: int = 1,
) -> None:
    """Fill a panel: name, colour scale, a row a keypoint or surface, notes.

    Of more keypoints than there is room for, those are listed whose error is largest; where none is known, those of
    the least confidence. The chosen one is always there.
    """
    bare(ax)
    figure = ax.get_figure(root=True)
    assert figure is not None
    height = float(figure.get_size_inches()[1])
    line = _ROW / height  # of the panel's height
    lines = _Lines(ax, line)
    lines.write(shortened(picture.name, 27), fontsize=10.5, fontweight="bold")
    if colors is not None:
        lines.write(shortened(colors.title, 40))
        lines.scale(colors)
    notes = list(_notes(picture, truth, ellipsoids))
    room = int(lines.y / line) - len(notes) - 3
    rows = listed(picture, room, keypoint, truth=truth)
    lines.table(picture, rows, truth=truth)
    if len(rows) < len(picture.names):
        lines.write(f"and {len(picture.names) - len(rows)} more", color=FAINT)
    for note in notes:
        lines.write(note, color=FAINT, fontsize=7.5)


def needed_height(picture: Picture | SlicePicture) -> float:
    """Inches that the legend of few keypoints needs."""
    return _ROW * (min(len(picture.names), 12) + 9)


def listed(picture: Picture | SlicePicture, room: int, keypoint: str | int | None, *, truth: bool = True) -> list[int]:
    """Which keypoints are listed where there is room for so many rows, in the order of their numbers if for all."""
    count = len(picture.names)
    if count <= room:
        return list(range(count))
    error = picture.error if truth else None
    if error is not None and np.isfinite(error).any():
        order = np.argsort(-np.nan_to_num(error, nan=-1.0), kind="stable")
    elif isinstance(picture, Picture) and picture.confidence is not None:
        order = np.argsort(picture.confidence, kind="stable")
    else:
        order = np.arange(count)
    first = [] if keypoint is None else [picture.number(keypoint)]
    return list(dict.fromkeys([*first, *order.tolist()]))[: max(room, 1)]


def draw_scale(ax: Axes, colors: ProbabilityColors, *, fontsize: float = 7.5) -> None:
    """Fill a low panel with the probability scale from left to right, its ticks below."""
    bare(ax)
    ax.imshow(probability_scale()[None], aspect="auto", extent=(0, 1, 0, 1))
    ax.set_xticks([place for place, _ in colors.ticks], labels=[label for _, label in colors.ticks])
    ax.tick_params(labelsize=fontsize, length=2, pad=1.5)
    for label, (place, _) in zip(ax.get_xticklabels(), colors.ticks, strict=True):
        label.set_horizontalalignment("left" if place < 0.02 else "right" if place > 0.98 else "center")


class _Lines:
    """Writes from the top of a panel down, in shares of its width and height."""

    def __init__(self, ax: Axes, line: float) -> None:
        self.ax, self.line, self.y = ax, line, 1.0
        ax.set(xlim=(0, 1), ylim=(0, 1))

    def write(self, text: str, **look: Any) -> None:
        options: dict[str, Any] = {"fontsize": _LETTERS, "color": INK, "va": "top", "ha": "left"} | look
        self.ax.text(0.0, self.y, text, **options)
        self.y -= self.line * max(1.0, options["fontsize"] / _LETTERS)

    def scale(self, colors: ProbabilityColors) -> None:
        """The colours of the map with what they mean."""
        draw_scale(self.ax.inset_axes((0.0, self.y - 0.75 * self.line, 0.96, 0.6 * self.line)), colors)
        self.y -= 2.4 * self.line

    def table(self, picture: Picture | SlicePicture, rows: list[int], *, truth: bool) -> None:
        """A row a keypoint: its colour, its name, how sure it is and how far off."""
        error = picture.error if truth else None
        error = None if error is None or not np.isfinite(error).any() else error
        sure, told = _trust(picture)
        heads = [(0.72 if error is not None else 0.97, told), (0.97, "error (px)" if error is not None else "")]
        for end, text in heads:
            self.ax.text(end, self.y, text, fontsize=7.5, color=FAINT, va="top", ha="right")
        self.y -= self.line if told or error is not None else 0.0
        shown = set(picture.shown.tolist())
        middles = self.y - (np.arange(len(rows)) + 0.45) * self.line
        edges = [keypoint_color(k) if k in shown else ABSENT_COLOR for k in rows]
        fills = [color if k in shown else "none" for k, color in zip(rows, edges, strict=True)]
        self.ax.scatter(np.full(len(rows), 0.03), middles, s=30, c=fills, ec=edges, lw=1, clip_on=False)
        for k, middle in zip(rows, middles, strict=True):
            look: dict[str, Any] = {"fontsize": _LETTERS, "color": INK if k in shown else FAINT, "va": "center"}
            self.ax.text(0.08, middle, shortened(picture.names[k], 18 if error is not None else 26), **look)
            text = "absent" if k not in shown else "" if sure is None else f"{sure[k]:.2f}"
            self.ax.text(heads[0][0], middle, text, ha="right", **look)
            if error is not None and np.isfinite(error[k]):
                self.ax.text(0.97, middle, f"{error[k]:.2f}", ha="right", **look)
            self.y -= self.line


def _trust(picture: Picture | SlicePicture) -> tuple[np.ndarray | None, str]:
    """A number of each keypoint that says how sure it is, and what it is."""
    if isinstance(picture, SlicePicture):
        return (None, "") if picture.std is None else (np.nanmean(picture.std, axis=1), "mean σ (px)")
    return (None, "") if picture.confidence is None else (picture.confidence, "confidence")


def _notes(picture: Picture | SlicePicture, truth: bool, ellipsoids: int) -> list[str]:
    """What else is in the picture."""
    if picture.annotated:
        return ["annotated"]
    mean = picture.mean_error if truth else None
    known = [] if mean is None else [f"mean error {mean:.2f} px; dark: truth"]
    what = "bands" if isinstance(picture, SlicePicture) else "ellipses"
    spread = ["", f"{what}: 1 σ", f"{what}: 1 and 2 σ"][ellipsoids]
    return [*known, *([spread] if spread else [])]


def shortened(text: str, most: int) -> str:
    """The text in so many letters, without its middle if it is longer: names of one set differ at their ends."""
    head = most // 2
    return text if len(text) <= most else f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
