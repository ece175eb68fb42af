"""What explains a picture: a panel with the scale of its colours, its keypoints, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.clouds.drawing import Drawing
from pcsargmax.visualize.overlay import FAINT, INK, SMALLEST, color_bar, font, shorten, wrap, write
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color


class Side(NamedTuple):
    """What one of the views shows.

    Attributes:
        title: such as the name of a run; "" for none.
        prediction: as it came.
        drawing: made of it.
    """

    title: str
    prediction: Prediction
    drawing: Drawing


def panel_width(size: tuple[int, int], sides: int = 1) -> int:
    """How many pixels of a picture (width, height) the panel at its right takes, for one or two views."""
    if sides == 1:
        return round(min(0.42 * size[0], max(0.36 * size[1], 200)))
    return round(min(0.42 * size[0], max(0.5 * size[1], 270)))


def add_panel(image: Image.Image, width: int, sides: Sequence[Side], notes: Sequence[str]) -> Image.Image:
    """The picture with a panel of `width` pixels at its right: name, colour scales, keypoints, notes."""
    height = image.height
    joined = Image.new("RGB", (image.width + width, height), "white")
    joined.paste(image, (0, 0))
    pen = ImageDraw.Draw(joined)
    em = max(SMALLEST, min(height // 46, width // (18 if len(sides) == 1 else 24)))
    left, right, y = image.width + em, joined.width - 1.3 * em, 1.3 * em
    y = write(pen, (left, y), sides[0].prediction.name, font(round(1.2 * em), bold=True), INK, right - left)
    y = draw_scales(pen, sides, (left, y + 0.4 * em, right), em) + em
    small = font(max(SMALLEST, round(0.85 * em)))
    lines = [line for note in notes for line in wrap(pen, note, small, right - left)]
    bottom = height - 0.8 * em - 1.35 * small.size * len(lines)
    alike = len({side.prediction.keypoint_names for side in sides}) == 1
    tables = [list(sides)] if alike else [[side] for side in sides]
    for number, table in enumerate(tables):
        room = (bottom - y) / (len(tables) - number)
        y = draw_keypoints(pen, table, (left, y, right, y + room), em) + 0.6 * em
    y = min(y, bottom)
    for line in lines:
        pen.text((left, y), line, font=small, fill=FAINT)
        y += 1.35 * small.size
    return joined


def draw_scales(pen: Any, sides: Sequence[Side], box: tuple[float, float, float], em: int) -> float:
    """What the colours mean, from (left, top, right) down: once, if it is the same for all; the y below."""
    left, y, right = box
    shared = len({(side.drawing.colors.title, side.drawing.colors.ticks) for side in sides}) == 1
    for side in sides[:1] if shared else sides:
        told = f"{side.title}: " if side.title and not shared else ""
        told += side.drawing.colors.title
        for line in wrap(pen, told, font(em), right - left):
            y = write(pen, (left, y), line, font(em), INK, right - left)
        y = color_bar(pen, (left, y + 0.3 * em, right, y + 1.3 * em), side.drawing.colors.ticks, _small(em)) + 0.5 * em
    return y - 0.5 * em


def draw_keypoints(pen: Any, sides: Sequence[Side], box: tuple[float, float, float, float], em: int) -> float:
    """A row for each keypoint, the same in all sides: colour, name, and of each side confidence and error; the y below.

    Rows are as high as the box (left, top, right, bottom) leaves them; what does not fit is counted. Below stands what
    the errors are in.
    """
    left, top, right, bottom = box
    names = sides[0].prediction.keypoint_names
    titled = any(side.title for side in sides)
    heads, foot = 1 + titled, any(len(_errors(side)) for side in sides)
    row = max(min(1.7 * em, (bottom - top) / (len(names) + heads + foot)), 1.25 * SMALLEST)
    fit = max(int((bottom - top) / row) - heads - foot, 1)
    letters = font(max(SMALLEST, min(em, round(row / 1.25))))
    names_end = left + 1.22 * letters.size + 0.5 * em + max(pen.textlength(name, font=letters) for name in names)
    for less in range(3):  # names come first: where they have no room, the columns get narrower
        columns = [_Column(side, pen, letters, em, less) for side in sides]
        if right - sum(column.width for column in columns) >= min(names_end, left + 5 * em):
            break
    spare = right - sum(column.width for column in columns) - names_end
    for column in columns:
        column.widen(spare / len(columns))
    ends = [right - sum(later.width for later in columns[i + 1 :]) for i in range(len(columns))]
    for column, end in zip(columns, ends, strict=True):
        column.head(end, top, row, titled)
    room = right - sum(column.width for column in columns) - left
    for k, name in enumerate(names):
        y = top + (k + heads + 0.5) * row
        if len(names) > fit and k == fit - 1:
            pen.text((left, y), f"and {len(names) - k} more", font=letters, fill=FAINT, anchor="lm")
            break
        seen, radius = any(k in side.drawing.shown for side in sides), 0.36 * letters.size
        color = keypoint_color(k) if seen else ABSENT_COLOR
        pen.ellipse((left, y - radius, left + 2 * radius, y + radius), fill=color if seen else None, outline=color)
        start = left + 2 * radius + 0.5 * em
        text = shorten(pen, name, letters, room - (start - left) - 0.3 * em)
        pen.text((start, y), text, font=letters, fill=INK if seen else FAINT, anchor="lm")
        for column, end in zip(columns, ends, strict=True):
            column.write(k, end, y)
    if not any(any(column.errors) for column in columns):
        return y + row / 2
    pen.text((right, y + row), f"errors in {sides[0].prediction.unit_text}", font=_small(em), fill=FAINT, anchor="rm")
    return y + 1.5 * row


class _Column:
    """Confidence and, where there is a truth, error of one side, their right end at the `end` given.

    With `less` 1 the head is shorter, with 2 there is no error. An annotation has no confidence.
    """

    def __init__(self, side: Side, pen: Any, letters: Any, em: int, less: int) -> None:
        self.side, self.pen, self.letters, self.small = side, pen, letters, _small(em)
        self.name = "" if side.prediction.annotated else "conf." if less else "confidence"
        self.errors = _errors(side) if less < 2 else []
        self.of_error = 0.0
        if any(self.errors):
            widest = max(pen.textlength(text, font=letters) for text in self.errors)
            self.of_error = max(widest, pen.textlength("error", font=self.small)) + 0.8 * em
        told = [pen.textlength(self.told(k), font=letters) for k in range(side.prediction.num_keypoints)]
        self.width = self.of_error + max(*told, pen.textlength(self.name, font=self.small)) + 0.8 * em

    def widen(self, most: float) -> None:
        """Make room for the title, by `most` pixels at most."""
        wanted = self.pen.textlength(self.side.title, font=self.letters) + 0.8 * self.letters.size
        self.width += min(max(wanted - self.width, 0.0), max(most, 0.0))

    def told(self, k: int) -> str:
        """The confidence of keypoint k as it is written, or what there is in its place."""
        if k not in self.side.drawing.shown:
            return "absent"
        return "annotated" if self.side.prediction.annotated else f"{self.side.prediction.confidence[k]:.2f}"

    def head(self, end: float, top: float, row: float, titled: bool) -> None:
        """Write what the columns are."""
        y = top + (titled + 0.5) * row
        if titled:
            room = self.width - 0.4 * self.letters.size
            fits = self.pen.textlength(self.side.title, font=self.letters) <= room
            letters = self.letters if fits else min(self.letters, self.small, key=lambda each: each.size)
            text = shorten(self.pen, self.side.title, letters, room)
            self.pen.text((end, top + row / 2), text, font=letters, fill=INK, anchor="rm")
        self.pen.text((end - self.of_error, y), self.name, font=self.small, fill=FAINT, anchor="rm")
        if any(self.errors):
            self.pen.text((end, y), "error", font=self.small, fill=FAINT, anchor="rm")

    def write(self, k: int, end: float, y: float) -> None:
        """Write the numbers of keypoint k."""
        seen = k in self.side.drawing.shown
        ink = INK if seen else FAINT
        self.pen.text((end - self.of_error, y), self.told(k), font=self.letters, fill=ink, anchor="rm")
        if self.errors and self.errors[k]:
            self.pen.text((end, y), self.errors[k], font=self.letters, fill=ink, anchor="rm")


def _errors(side: Side) -> list[str]:
    """The errors of a side as they are written, (K,); none where there is no truth, or it is not to be shown."""
    error = side.prediction.error if side.drawing.look.truth else None
    return [] if error is None else length_texts(error)


def length_texts(lengths: np.ndarray) -> list[str]:
    """Lengths (K,) as they are written, "" for those that are not known.

    All to the same place, that of the third digit of the largest: so they can be compared.
    """
    known = lengths[np.isfinite(lengths)]
    largest = float(known.max()) if len(known) else 0.0
    places = min(max(2 - int(np.floor(np.log10(largest))), 0), 9) if largest > 0 else 2
    return [f"{length:.{places}f}" if np.isfinite(length) else "" for length in lengths]


def _small(em: int) -> Any:
    return font(max(SMALLEST, round(0.85 * em)))
