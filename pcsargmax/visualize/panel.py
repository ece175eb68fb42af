"""The part of the viewer's panel that explains the picture: colour scales and the list of keypoints, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.visualize import overlay
from pcsargmax.visualize.legend import Side, draw_scales
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color
from pcsargmax.visualize.picture import notes

if TYPE_CHECKING:
    from PIL import Image

_CHOSEN = "#dfe7f3"
# In ems.
_ROW = 1.7
_NARROWEST = 18


class Row(NamedTuple):
    """Where a keypoint stands in a card.

    Attributes:
        top: pixels from the card's top.
        bottom: pixels from the card's top.
        keypoint: its number in the left view; None: the row that stands for all.
    """

    top: float
    bottom: float
    keypoint: int | None


@dataclass(frozen=True, eq=False)
class Card:
    """A drawn card.

    Attributes:
        image: of the size asked for, RGB.
        rows: of the keypoints that fit.
        first: how many rows stand above those, out of sight.
        below: how many stand below.
    """

    image: Image.Image
    rows: tuple[Row, ...]
    first: int
    below: int

    def row_at(self, y: float) -> Row | None:
        """The row at a height in pixels from the top; None where there is none."""
        return next((row for row in self.rows if row.top <= y < row.bottom), None)


def draw_card(
    sides: Sequence[Side],
    chosen: int | None,
    size: tuple[int, int],
    em: float,
    *,
    first: int | None = None,
    heading: str = "",
) -> Card:
    """Draw scales and keypoints of one or two views.

    Args:
        sides: one or two views.
        chosen: number of the keypoint of the left view that stands out; None: all.
        size: width and height in pixels.
        em: height of the letters in pixels.
        first: how many rows to leave out above, where not all fit; None: as few as show the chosen one.
        heading: written on top.

    Raises:
        ValueError: other than one or two sides.
    """
    if len(sides) not in (1, 2):
        raise ValueError(f"sides: expected one or two, got {len(sides)}")
    from PIL import Image, ImageDraw

    room, size = size, (max(size[0], round(_NARROWEST * em)), size[1])
    image = Image.new("RGB", size, "white")
    pen, text = ImageDraw.Draw(image), round(em)
    left, right, y = 0.7 * em, size[0] - 0.7 * em, 0.5 * em
    if heading:
        y = overlay.write(pen, (left, y), heading, overlay.font(round(1.2 * em), bold=True), INK, right - left)
    y = draw_scales(pen, sides, (left, y, right), text) + 0.2 * em
    details = _detail_lines(sides, chosen)
    bottom = size[1] - (1.25 * len(details) + 0.8) * em
    table = _Table(pen, sides, chosen, (left, y + 0.4 * em, right, bottom), text)
    rows, first, below = table.draw(first)
    y, small = bottom + 0.4 * em, overlay.font(max(8, round(0.85 * em)))
    for line in details:
        y = overlay.write(pen, (left, y), line, small, FAINT, right - left)
    return Card(image.crop((0, 0, *room)), tuple(rows), first, below)


class _Table:
    """The rows of the keypoints within a box (left, top, right, bottom)."""

    def __init__(
        self, pen: Any, sides: Sequence[Side], chosen: int | None, box: tuple[float, float, float, float], em: int
    ) -> None:
        self.pen, self.sides, self.chosen, self.em = pen, sides, chosen, em
        self.left, self.top, self.right, self.bottom = box
        self.font, self.small = overlay.font(em), overlay.font(max(8, round(0.8 * em)))
        errors = any(one.prediction.error is not None for one in sides)
        self.columns = [("confidence", side) for side in sides] + [("error", side) for side in sides if errors]
        alone = len(sides) == 1
        width = {"confidence": (5.6 if alone else 3.0) * em, "error": 4.4 * em}
        taken = np.cumsum([width[name] for name, _ in self.columns[::-1]])[::-1]
        self.edges = [self.right - taken[i] + width[name] for i, (name, _) in enumerate(self.columns)]
        self.room = self.right - taken[0]

    def draw(self, first: int | None) -> tuple[list[Row], int, int]:
        """Draw those that fit; their places, and how many are above and below."""
        entries = [None, *range(self.sides[0].prediction.num_keypoints)]
        height = _ROW * self.em
        top = self._head()
        fits = max(1, int((self.bottom - top) / height))
        if fits < len(entries):  # a line says how many are out of sight
            fits = max(1, int((self.bottom - top - 1.2 * self.em) / height))
        at = 0 if self.chosen is None else self.chosen + 1
        start = max(0, at - fits + 1) if first is None else first
        start = int(np.clip(start, 0, max(0, len(entries) - fits)))
        rows = [
            Row(top + number * height, top + (number + 1) * height, keypoint)
            for number, keypoint in enumerate(entries[start : start + fits])
        ]
        for row in rows:
            self._row(row)
        below = len(entries) - start - len(rows)
        if start or below:
            told = ", ".join([f"{start} above"] * bool(start) + [f"{below} below"] * bool(below))
            self.pen.text((self.right, rows[-1].bottom + 0.2 * self.em), told, font=self.small, fill=FAINT, anchor="ra")
        return rows, start, below

    def _head(self) -> float:
        """The names of the columns; the y below."""
        y = self.top
        for name in dict.fromkeys(name for name, _ in self.columns):
            ends = [edge for edge, (column, _) in zip(self.edges, self.columns, strict=True) if column == name]
            said = "" if name == "confidence" and self.sides[0].prediction.annotated else name
            self.pen.text((ends[-1], y), said, font=self.small, fill=FAINT, anchor="ra")
        y += 1.2 * self.em
        if len(self.sides) == 2:
            for number, edge in enumerate(self.edges):
                side = ("left", "right")[number % 2]
                self.pen.text((edge, y), side, font=self.small, fill=FAINT, anchor="ra")
            y += 1.2 * self.em
        return y

    def _row(self, row: Row) -> None:
        middle, em = (row.top + row.bottom) / 2, self.em
        if row.keypoint == self.chosen:
            box = (self.left - 0.4 * em, row.top, self.right + 0.4 * em, row.bottom - 1)
            self.pen.rounded_rectangle(box, radius=0.3 * em, fill=_CHOSEN)
        start = self.left + 1.3 * em
        if row.keypoint is None:
            self.pen.text((start, middle), "all keypoints", font=self.font, fill=INK, anchor="lm")
            return
        name = self.sides[0].prediction.keypoint_names[row.keypoint]
        there = row.keypoint in self.sides[0].drawing.shown
        radius, color = 0.36 * em, keypoint_color(row.keypoint) if there else ABSENT_COLOR
        disc = (self.left, middle - radius, self.left + 2 * radius, middle + radius)
        self.pen.ellipse(disc, fill=color if there else None, outline=color)
        named = overlay.shorten(self.pen, name, self.font, self.room - start)
        self.pen.text((start, middle), named, font=self.font, fill=INK if there else FAINT, anchor="lm")
        for edge, (column, side) in zip(self.edges, self.columns, strict=True):
            told, faint = _cell(side, column, name, len(self.sides) == 1)
            self.pen.text((edge, middle), told, font=self.font, fill=FAINT if faint else INK, anchor="rm")


def _cell(side: Side, column: str, name: str, alone: bool) -> tuple[str, bool]:
    """What stands in a column of a keypoint, and whether it is faint."""
    prediction = side.prediction
    if name not in prediction.keypoint_names:
        return "–", True
    number = prediction.keypoint_number(name)
    there = number in side.drawing.shown
    if column == "confidence":
        told = "annotated" if prediction.annotated else f"{prediction.confidence[number]:.2f}"
        return (told, False) if there else ("absent" if alone else "–", True)
    error = prediction.error
    return ("", True) if error is None or not np.isfinite(error[number]) else (_length(error[number]), not there)


def _length(error: float) -> str:
    """Two digits of an error, without an exponent where it is small."""
    return f"{error:.2g}" if error >= 1e-4 or error == 0 else "<0.0001"


def _detail_lines(sides: Sequence[Side], chosen: int | None) -> list[str]:
    """What is known of the chosen keypoint, or of all, and what is drawn."""
    lines = []
    for one in sides:
        prediction, before = one.prediction, f"{one.title}: " if one.title and len(sides) == 2 else ""
        number = None
        if chosen is not None:
            name = sides[0].prediction.keypoint_names[chosen]
            number = prediction.keypoint_names.index(name) if name in prediction.keypoint_names else None
        if number is None:
            error = prediction.mean_error(one.drawing.look.min_visibility)
            told = f"{len(one.drawing.shown)} of {prediction.num_keypoints} keypoints here"
            lines.append(before + told + ("" if error is None else f", mean error {error:.3g}"))
            continue
        told = f"here with probability {prediction.visibility[number]:.2f}"
        if prediction.annotated:
            told = "annotated here" if number in one.drawing.shown else "not annotated here"
        if prediction.radius is not None and prediction.radius_coverage is not None:
            told += f", within {prediction.radius[number]:.2g} ({100 * prediction.radius_coverage:g} %)"
        lines.append(before + told)
    return lines + list(dict.fromkeys(note for one in sides for note in notes(one.drawing)))
