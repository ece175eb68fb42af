"""The annotator's panel as a picture: the list of landmarks and what is said of each, buttons, what the keys do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.annotate.actions import ACTIONS
from pcsargmax.annotate.session import Session
from pcsargmax.visualize import overlay
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color
from pcsargmax.visualize.window.panel import CHOSEN, out_of_sight

if TYPE_CHECKING:
    from PIL import Image

GOOD, BAD, BUTTON = "#1b6b3a", "#b3261e", "#eceef2"
_ROW, _BUTTON, _LINE = 1.6, 1.9, 1.2  # heights in ems
_COLUMNS = 3
_FEWEST = 4  # rows of the list that the help must leave
_FINE = 3  # circles are drawn so many times larger and averaged down: the pen draws them jagged


class Area(NamedTuple):
    """A place of the panel that a click means something at.

    Attributes:
        box: left, top, right and bottom, in pixels.
        means: the number of a landmark, or the name of a key.
    """

    box: tuple[float, float, float, float]
    means: int | str


@dataclass(frozen=True, eq=False)
class Card:
    """A drawn panel.

    Attributes:
        image: of the size asked for, RGB.
        areas: what can be clicked.
        first: number of the landmark in the first row.
    """

    image: Image.Image
    areas: tuple[Area, ...]
    first: int

    def at(self, x: float, y: float) -> int | str | None:
        """What a click at a pixel means; None where it means nothing."""
        found = (a.means for a in self.areas if a.box[0] <= x < a.box[2] and a.box[1] <= y < a.box[3])
        return next(found, None)


def draw_card(
    session: Session,
    size: tuple[int, int],
    em: float,
    *,
    status: str = "",
    proposals: bool = False,
    help: bool = True,
    first: int | None = None,
) -> Card:
    """Draw the panel of a session.

    Args:
        session: whose landmarks on the scan that is shown are listed.
        size: width and height in pixels.
        em: height of the letters in pixels.
        status: said below the buttons, unless work could not be saved: that is said in its place, in red.
        proposals: whether there can be any; else their buttons and keys are left out.
        help: say what mouse and keys do, where that leaves room for the list.
        first: number of the landmark in the first row, where not all fit; None: so that the current one is seen.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, "white")
    panel = _Panel(image, ImageDraw.Draw(image), session, em)
    top = panel.heading()
    buttons = panel.button_rows(proposals)
    lines = help_lines(proposals) if help else [("H", "what mouse and keys do")]
    rest = 0.6 + _BUTTON * len(buttons) + 1.7  # of buttons and status, in ems
    if help and size[1] - top < (rest + _LINE * len(lines) + 0.8 + _ROW * _FEWEST) * em:
        lines = []
    bottom = size[1] - (rest + _LINE * len(lines) + (0.8 if lines else 0)) * em
    first = panel.rows(top, bottom, first)
    y = panel.buttons(bottom + 0.6 * em, buttons)
    y = panel.say(y + 0.1 * em, status)
    panel.lines(y + 0.2 * em, lines)
    return Card(image, tuple(panel.areas), first)


def help_lines(proposals: bool) -> list[tuple[str, str]]:
    """What mouse and keys do: (which, what)."""
    mouse = [("click", "put the marked landmark"), ("drag one", "move it"), ("drag", "turn; right button: shift")]
    keys = [(one.shown, one.text) for one in ACTIONS if proposals or "proposal" not in one.text]
    return [*mouse, ("1 to 9", "choose a landmark"), *keys, ("R", "see all of it again"), ("H", "this help")]


class _Panel:
    """The parts of the panel, drawn from the top; `areas` grows with what can be clicked."""

    def __init__(self, image: Any, pen: Any, session: Session, em: float) -> None:
        self.image, self.pen, self.session, self.em = image, pen, session, em
        self.left, self.right = 0.8 * em, image.size[0] - 0.8 * em
        self.font, self.small = overlay.font(round(em)), overlay.font(max(8, round(0.82 * em)))
        self.areas: list[Area] = []

    def heading(self) -> float:
        """The file and how far it is; the y below."""
        session, room = self.session, self.right - self.left
        bold = overlay.font(round(1.15 * self.em), bold=True)
        y = overlay.write(self.pen, (self.left, 0.5 * self.em), session.path.name, bold, INK, room)
        counts = session.counts()
        told = f"file {session.scan + 1} of {len(session.scans)}, "
        told += f"{counts['placed'] + counts['absent']} of {len(session.names)} landmarks set"
        ink = GOOD if session.complete(session.scan) else FAINT
        return overlay.write(self.pen, (self.left, y), told, self.small, ink, room) + 0.3 * self.em

    def rows(self, top: float, bottom: float, first: int | None) -> int:
        """The landmarks that fit; the number of the first of them."""
        names, height = self.session.names, _ROW * self.em
        if not names:
            told = "no landmarks yet: type a name below"
            overlay.write(self.pen, (self.left, top), told, self.small, FAINT, self.right - self.left)
        fits = max(1, int((bottom - top) / height))
        if fits < len(names):  # a line says how many are out of sight
            fits = max(1, int((bottom - top - 1.1 * self.em) / height))
        start = max(0, (self.session.slot or 0) - fits + 1) if first is None else first
        start = int(np.clip(start, 0, max(0, len(names) - fits)))
        for row, number in enumerate(range(start, min(start + fits, len(names)))):
            box = (0.0, top + row * height, float(self.image.size[0]), top + (row + 1) * height)
            self._row(number, box)
            self.areas.append(Area(box, number))
        below = max(0, len(names) - start - fits)
        if start or below:
            told = out_of_sight(start, below)
            self.pen.text((self.right, top + fits * height), told, font=self.small, fill=FAINT, anchor="ra")
        return start

    def _row(self, number: int, box: tuple[float, float, float, float]) -> None:
        em, middle, name = self.em, (box[1] + box[3]) / 2, self.session.names[number]
        state = self.session.state(name)
        chosen = number == self.session.slot
        if chosen:
            around = (0.35 * em, box[1], self.image.size[0] - 0.35 * em, box[3] - 1)
            self.pen.rounded_rectangle(around, radius=0.3 * em, fill=CHOSEN)
        self._disc(middle, number, state, CHOSEN if chosen else "white")
        told = {"placed": "set", "absent": "absent", "unset": ""}.get(state) or self._proposed(name)
        start = self.left + 1.3 * em
        room = self.right - start - self.pen.textlength(told, font=self.small) - 0.5 * em
        named, ink = overlay.shorten(self.pen, name, self.font, room), FAINT if state == "absent" else INK
        self.pen.text((start, middle), named, font=self.font, fill=ink, anchor="lm")
        ink = {"placed": GOOD, "proposed": INK}.get(state, FAINT)
        self.pen.text((self.right, middle), told, font=self.small, fill=ink, anchor="rm")

    def _disc(self, middle: float, number: int, state: str, ground: str) -> None:
        """Full for what is placed, a ring for what is not, crossed out in grey for what is absent."""
        from PIL import Image, ImageDraw

        side = round(0.85 * self.em)
        large, line = _FINE * side, round(0.13 * _FINE * self.em)
        disc = Image.new("RGB", (large, large), ground)
        pen, color = ImageDraw.Draw(disc), ABSENT_COLOR if state == "absent" else keypoint_color(number)
        box = (1, 1, large - 2, large - 2)
        pen.ellipse(box, fill=color if state == "placed" else None, outline=color, width=line)
        if state == "absent":
            pen.line((0.2 * large, 0.8 * large, 0.8 * large, 0.2 * large), fill=color, width=line)
        self.image.paste(disc.resize((side, side), Image.Resampling.BOX), (round(self.left), round(middle - side / 2)))

    def _proposed(self, name: str) -> str:
        """What a model says of a landmark that is unset; "" where it says nothing."""
        proposal = self.session.proposals.get(name)
        if proposal is None:
            return ""
        return f"{'absent' if proposal.mark.position is None else 'proposed'} {proposal.confidence:.2f}?"

    def button_rows(self, proposals: bool) -> list[list[tuple[str, str]]]:
        """Text and key of the buttons, row by row."""
        wanted = [(a.button, a.key) for a in ACTIONS if a.button and (proposals or "proposal" not in a.text)]
        rows = [wanted[i : i + _COLUMNS] for i in range(0, len(wanted), _COLUMNS)]
        if len(self.session.scans) > 1:
            rows.append([("‹ file", "PAGE_UP"), ("file ›", "PAGE_DOWN"), ("to do ››", "I")])
        return rows

    def buttons(self, y: float, rows: list[list[tuple[str, str]]]) -> float:
        """The buttons; the y below."""
        gap = 0.3 * self.em
        width = (self.right - self.left - gap * (_COLUMNS - 1)) / _COLUMNS
        for row in rows:
            for column, (text, key) in enumerate(row):
                x = self.left + column * (width + gap)
                box = (x, y, x + width, y + _BUTTON * self.em - gap)
                self.pen.rounded_rectangle(box, radius=0.3 * self.em, fill=BUTTON)
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                self.pen.text(middle, text, font=self.small, fill=INK, anchor="mm")
                self.areas.append(Area(box, key))
            y += _BUTTON * self.em
        return y

    def say(self, y: float, text: str) -> float:
        """The status, or that work could not be saved; the y below."""
        failure = self.session.failure
        text, ink = (f"not saved: {failure}", BAD) if failure else (text, INK)
        overlay.write(self.pen, (self.left, y), text, self.small, ink, self.right - self.left)
        return y + 1.5 * self.em

    def lines(self, y: float, lines: list[tuple[str, str]]) -> None:
        """What mouse and keys do."""
        bold = overlay.font(max(8, round(0.82 * self.em)), bold=True)
        aside = self.left + 5.6 * self.em
        for shown, text in lines:
            self.pen.text((self.left, y), shown, font=bold, fill=FAINT)
            overlay.write(self.pen, (aside, y), text, self.small, FAINT, self.right - aside)
            y += _LINE * self.em
