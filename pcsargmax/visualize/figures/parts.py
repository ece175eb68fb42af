"""What all figures share: panels made without a screen or pyplot's state, their dress, and how they are saved."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.palette import keypoint_color, probability_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a figure is written as, by the ending of its file.
FORMATS = ("pdf", "svg", "eps", "png", "jpg", "jpeg", "tif", "tiff", "webp")

#: Dots an inch of a figure's file.
DPI = 150

#: Beside its colour, so that lines are told apart in print and by every eye.
_MARKERS = "osD^vPX*"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))

#: Text stays text: fonts that journals take in a PDF, letters in place of outlines in an SVG. Nothing tells the time,
#: so that the same figure is the same file.
_SAVED: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "pcsargmax"}
_UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def empty_figure(width: float, height: float, dpi: float = DPI) -> Figure:
    """A figure of that size in inches, its panels laid out by constraints; made by hand, since pyplot would keep it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, *, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure with `count` panels of that size in inches, row by row."""
    rows = math.ceil(count / columns)
    figure = empty_figure(width * columns, height * rows)
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def dress(ax: Any, title: str, x_label: str, y_label: str = "") -> None:
    """Title, labels, a faint grid, and no frame at the top and right."""
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(alpha=0.3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def bare(ax: Any) -> None:
    """No ticks and no frame."""
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


def method_line(number: int, *, marker: bool = False) -> dict[str, Any]:
    """How the line of method `number` is drawn: its colour, and a dash or a marker of its own."""
    if marker:
        return {"color": keypoint_color(number), "marker": _MARKERS[number % len(_MARKERS)]}
    return {"color": keypoint_color(number), "ls": _DASHES[number % len(_DASHES)]}


def folded(text: str, most: int) -> str:
    """The text in lines of `most` letters if it can be: broken after spaces and signs, never within a formula."""
    lines = [""]
    for part in re.findall(r"\$[^$]*\$|[^\s_/,$-]+[\s_/,-]*|.", text):
        if lines[-1] and len((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def cross() -> Any:
    """A marker: a cross that is open in the middle, to show what lies there."""
    from matplotlib.path import Path as Outline

    ends = np.array([[x * y, x] for x in (-1, 1) for y in (-1, 1)])
    corners = np.stack([0.35 * ends, ends], axis=1).reshape(-1, 2)
    return Outline(corners, [Outline.MOVETO, Outline.LINETO] * 4)


def color_bar(
    figure: Figure,
    axes: Sequence[Any],
    title: str,
    ticks: Sequence[tuple[float, str]],
    *,
    fontsize: float = 10,
    aspect: float = 15,
    within: Any = None,
) -> None:
    """The probability scale beside some panels, ticks as in `ProbabilityColors`; `aspect` is its length by its width.

    With `within` it fills that panel.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    mappable = ScalarMappable(cmap=ListedColormap(probability_scale()))
    place: dict[str, Any] = {"ax": list(axes), "shrink": 0.8, "aspect": aspect}
    bar = figure.colorbar(mappable, **(place if within is None else {"cax": within}))
    bar.set_ticks([place for place, _ in ticks], labels=[label for _, label in ticks])
    bar.ax.tick_params(labelsize=fontsize)
    bar.set_label(title, fontsize=fontsize)
    bar.outline.set_visible(False)


def check_figure_path(path: str | Path | None) -> None:
    """Raise ValueError where no figure can be written to such a name, before anything is computed.

    Raises:
        ValueError: an ending that is no format.

    Example:
        >>> from pcsargmax.visualize.figures import check_figure_path
        >>> check_figure_path("pck.pdf")
        >>> check_figure_path("pck.doc")
        Traceback (most recent call last):
        ValueError: ...
    """
    if path is not None and Path(path).suffix[1:].lower() not in FORMATS:
        ending = Path(path).suffix or "none"
        raise ValueError(f"path: expected a file name that ends in one of .{', .'.join(FORMATS)}; got {ending}")


def save_figure(figure: Figure, path: str | Path | None) -> Figure:
    """Save the figure, whole or not at all, if a path is given, and return it.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.visualize.figures import pck_curve, save_figure
        >>> figure = pck_curve([0.01, 0.02, 0.05])
        >>> _ = figure.axes[0].set_title("Mugs")
        >>> _ = save_figure(figure, "pck.svg")
        >>> Path("pck.svg").is_file()
        True
    """
    if path is None:
        return figure
    from matplotlib import rc_context

    from pcsargmax.io.atomic import atomic_path

    check_figure_path(path)
    form = Path(path).suffix[1:].lower()
    with atomic_path(path) as temporary, rc_context(_SAVED):
        figure.savefig(temporary, format=form, metadata=_UNDATED.get(form))
    return figure
