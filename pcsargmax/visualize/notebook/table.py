"""What a notebook shows of a prediction of any kind: one picture and one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pcsargmax.visualize.palette import probability_scale, rgb_to_hex
from pcsargmax.visualize.templates import render

#: Rows of a table; more are counted.
MOST_ROWS = 40


class Row(NamedTuple):
    """A keypoint or surface: its name with a dot of its colour, and the texts of its cells."""

    name: str
    color: str
    cells: Sequence[str]


class Shown(NamedTuple):
    """A picture as text, its size on the screen, and its caption; with a peak, the colour scale up to that."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""
    peak: float | None = None


def page(title: str, about: str, picture: Shown | None, header: Sequence[str], rows: Sequence[Row], count: int) -> str:
    """Picture and table beside each other, of `count` rows those that are given."""
    scale = [rgb_to_hex(color) for color in probability_scale()[::51]]
    values = {"title": title, "about": about, "picture": picture, "header": header, "rows": rows, "count": count}
    return render("notebook/prediction.html.j2", scale=scale, **values)


def decimals_text(value: float) -> str:
    """A number with two decimals, nothing where it is not finite."""
    return f"{value:.2f}" if math.isfinite(value) else ""
