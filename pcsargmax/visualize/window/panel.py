"""The part of the viewer's panel that explains the picture: colour scales and the list of keypoints, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.visualize import overlay
from pcsargmax.visualize.clouds.legend import Side, draw_scales, length_texts
from pcsargmax.visualize.clouds.picture import notes
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color

if TYPE_CHECKING:
    from PIL import Image

#: Of the row of what is chosen.
CHOSEN = "#dfe7f3"
# In ems: the height of a row, that of a line of small letters, and the least width that is drawn and then cut.
_ROW, _LINE = 1.7, 1.25
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

    width, height = max(size[0], round(_NARROWEST * em)), size[1]
    image = Image.new("RGB", (width, height), "white")
    pen, text = ImageDraw.Draw(image), round(em)
    left, right, y = 0.7 * em, width - 0.7 * em, 0.5 * em
    bold = overlay.font(round(1.2 * em), bold=True)
    for line in overlay.wrap(pen, heading, bold, right - left):
        y = overlay.write(pen, (left, y), line, bold, INK, right - left)
    y = draw_scales(pen, sides, (left, y, right), text) + 0.2 * em
    small = overlay.font(max(8, round(0.85 * em)))
    details = [line for told in _details(sides, chosen) for line in overlay.wrap(pen, told, small, right - left)]
    bottom = height - (_LINE * len(details) + 0.8) * em
    table = _Table(pen, sides, chosen, (left, y + 0.4 * em, right, bottom), text)
    rows, first, below = table.draw(first)
    for number, line in enumerate(details):
        at = (left, bottom + (0.4 + _LINE * number) * em)
        overlay.write(pen, at, line, small, FAINT, right - left)
    return Card(image.crop((0, 0, *size)), tuple(rows), first, below)


class _Column(NamedTuple):
    """A column of numbers.

    Attributes:
        title: written on top.
        side: "left" or "right" of two; "" of one.
        cells: for each keypoint of the left view a text, and whether it is faint.
    """

    title: str
    side: str
    cells: list[tuple[str, bool]]


class _Table:
    """The rows of the keypoints within a box (left, top, right, bottom)."""

    def __init__(
        self, pen: Any, sides: Sequence[Side], chosen: int | None, box: tuple[float, float, float, float], em: int
    ) -> None:
        self.pen, self.sides, self.chosen, self.em = pen, sides, chosen, em
        self.left, self.top, self.right, self.bottom = box
        self.font, self.small = overlay.font(em), overlay.font(max(8, round(0.8 * em)))
        self.columns = _columns(sides)
        widths = [self._width(column) for column in self.columns]
        self.edges = [self.right - sum(widths[i + 1 :]) for i in range(len(widths))]
        self.names_end = self.right - sum(widths)

    def _width(self, column: _Column) -> float:
        """Pixels that a column takes, with the gap before it."""
        least = 2.2 * self.em if len(self.sides) == 2 else self.pen.textlength(column.title, font=self.small)
        texts = (self.pen.textlength(text, font=self.font) for text, _ in column.cells)
        return max(least, *texts) + 0.8 * self.em

    def draw(self, first: int | None) -> tuple[list[Row], int, int]:
        """Draw those that fit; their places, and how many are above and below."""
        entries = [None, *range(self.sides[0].prediction.num_keypoints)]
        height = _ROW * self.em
        top = self._head()
        fits = max(1, int((self.bottom - top) / height))
        if fits < len(entries):  # a line says how many are out of sight
            fits = max(1, int((self.bottom - top - 1.2 * self.em) / height))
        chosen = 0 if self.chosen is None else self.chosen + 1
        start = max(0, chosen - fits + 1) if first is None else first
        start = int(np.clip(start, 0, max(0, len(entries) - fits)))
        rows = [
            Row(top + number * height, top + (number + 1) * height, keypoint)
            for number, keypoint in enumerate(entries[start : start + fits])
        ]
        for row in rows:
            self._row(row)
        below = len(entries) - start - len(rows)
        if start or below:
            told, at = out_of_sight(start, below), (self.right, rows[-1].bottom + 0.2 * self.em)
            self.pen.text(at, told, font=self.small, fill=FAINT, anchor="ra")
        return rows, start, below

    def _head(self) -> float:
        """The names of the columns; the y below."""
        y, pair = self.top, len(self.sides) == 2
        for edge, column in zip(self.edges, self.columns, strict=True):
            if pair:
                self.pen.text((edge, y + 1.2 * self.em), column.side, font=self.small, fill=FAINT, anchor="ra")
            if column.side != "left":  # the title of two columns ends with the second
                self.pen.text((edge, y), column.title, font=self.small, fill=FAINT, anchor="ra")
        return y + (2.4 if pair else 1.2) * self.em

    def _row(self, row: Row) -> None:
        middle, em = (row.top + row.bottom) / 2, self.em
        if row.keypoint == self.chosen:
            box = (self.left - 0.4 * em, row.top, self.right + 0.4 * em, row.bottom - 1)
            self.pen.rounded_rectangle(box, radius=0.3 * em, fill=CHOSEN)
        start = self.left + 1.3 * em
        if row.keypoint is None:
            self.pen.text((start, middle), "all keypoints", font=self.font, fill=INK, anchor="lm")
            return
        name = self.sides[0].prediction.keypoint_names[row.keypoint]
        there = row.keypoint in self.sides[0].drawing.shown
        radius, color = 0.36 * em, keypoint_color(row.keypoint) if there else ABSENT_COLOR
        disc = (self.left, middle - radius, self.left + 2 * radius, middle + radius)
        self.pen.ellipse(disc, fill=color if there else None, outline=color)
        named = overlay.shorten(self.pen, name, self.font, self.names_end - start)
        self.pen.text((start, middle), named, font=self.font, fill=INK if there else FAINT, anchor="lm")
        for edge, column in zip(self.edges, self.columns, strict=True):
            told, faint = column.cells[row.keypoint]
            self.pen.text((edge, middle), told, font=self.font, fill=FAINT if faint else INK, anchor="rm")


def out_of_sight(above: int, below: int) -> str:
    """How many rows of a list are not seen."""
    return ", ".join([f"{above} above"] * bool(above) + [f"{below} below"] * bool(below))


def _places(sides: Sequence[Side]) -> tuple[str, ...]:
    """What tells two sides apart; "" for one."""
    return ("",) if len(sides) == 1 else ("left", "right")


def _columns(sides: Sequence[Side]) -> list[_Column]:
    """Confidence of each side, then error of each, where any has a truth."""
    places = _places(sides)
    title = "" if sides[0].prediction.annotated else "confidence"
    tables = [(title, _confidences)] + [("error", _errors)] * any(one.prediction.error is not None for one in sides)
    columns = []
    for title, texts in tables:
        for place, one in zip(places, sides, strict=True):
            numbers = [_counterpart(sides[0], one, k) for k in range(sides[0].prediction.num_keypoints)]
            shown, told = set(one.drawing.shown), texts(one, "–" if place else "absent")
            cells = [("–", True) if k is None else (told[k], k not in shown) for k in numbers]
            columns.append(_Column(title, place, cells))
    return columns


def _counterpart(left: Side, side: Side, number: int) -> int | None:
    """The number in a side of a keypoint of the left one: that of the same name, None if there is none."""
    names, others = left.prediction.keypoint_names, side.prediction.keypoint_names
    if names == others:
        return number
    return others.index(names[number]) if names[number] in others else None


def _confidences(side: Side, absent: str) -> list[str]:
    prediction, shown = side.prediction, set(side.drawing.shown)
    told = ["annotated" if prediction.annotated else f"{confidence:.2f}" for confidence in prediction.confidence]
    return [text if k in shown else absent for k, text in enumerate(told)]


def _errors(side: Side, _: str) -> list[str]:
    error = side.prediction.error
    return [""] * side.prediction.num_keypoints if error is None else length_texts(error)


def _length(length: float) -> str:
    return length_texts(np.array([length]))[0]


def _details(sides: Sequence[Side], chosen: int | None) -> list[str]:
    """What is known of the chosen keypoint, or of all, and what is drawn."""
    lines = []
    for one, place in zip(sides, _places(sides), strict=True):
        prediction, before = one.prediction, f"{one.title or place}: " if place else ""
        number = None if chosen is None else _counterpart(sides[0], one, chosen)
        if number is None:
            error = prediction.mean_error(one.drawing.look.min_visibility)
            told = f"{len(one.drawing.shown)} of {prediction.num_keypoints} keypoints here"
            told += "" if error is None else f", mean error {_length(error)} {prediction.unit_text}"
            lines.append(before + told)
            continue
        told = f"here with probability {prediction.visibility[number]:.2f}"
        if prediction.annotated:
            told = "annotated here" if number in one.drawing.shown else "not annotated here"
        if prediction.radius is not None and prediction.radius_coverage is not None:
            told += f", within {_length(prediction.radius[number])} {prediction.unit_text}"
            told += f" ({100 * prediction.radius_coverage:g} %)"
        lines.append(before + told)
    units = [f"errors in {one.prediction.unit_text}" for one in sides if one.prediction.error is not None]
    return lines + list(dict.fromkeys([*units, *(note for one in sides for note in notes(one.drawing))]))
