"""What a report is made of, as plain data: numbers with intervals, tables, cards. The markup stands in templates/."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pcsargmax.visualize.palette import keypoint_color

#: How a number is told: a share in per cent, a length with three digits, a plain number with three decimals.
Kind = Literal["share", "length", "plain"]

#: What stands where there is no number.
NONE = "–"

#: Classes of the two runs of a report, which colour them.
RUNS = ("first", "second")


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: what it says.
        interval: in a line of its own below the text.
        sort: what the column is sorted by; None comes last.
        note: words that a pointer on the cell shows.
        color: of a dot before the text, "#rrggbb".
        pick: number of the picture that the text leads to; None: it leads nowhere.
        run: class and label of the run that the cell is of, which stands after the text.
    """

    text: str
    interval: str = ""
    sort: float | str | None = None
    note: str = ""
    color: str = ""
    pick: int | None = None
    run: tuple[str, str] | None = None


class Table(NamedTuple):
    """A table whose first column names the rows.

    Attributes:
        columns: headings; what comes after a line end stands below.
        rows: as many cells as there are columns, each.
        caption: what the table shows.
        name: its id.
        sortable: whether a click on a heading sorts the rows, see report.js.
        marked: numbers of the rows that are to stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    name: str = ""
    sortable: bool = False
    marked: Sequence[int] = ()


class Card(NamedTuple):
    """A figure that is seen at first sight, of one run or of two by their labels."""

    title: str
    labels: Sequence[str]
    figures: Sequence[Cell]
    beside: str = ""


class Summary(NamedTuple):
    """The first lines of a page: what was found, in one sentence, what is to be kept in mind, and cards."""

    text: str
    warnings: Sequence[str]
    cards: Sequence[Card] = ()


class Section(NamedTuple):
    """What stands under one heading of a page: charts, as `charts.chart` makes them, and tables below them."""

    charts: Sequence[Mapping[str, Any]] = ()
    tables: Sequence[Table] = ()


class Scores(NamedTuple):
    """One number a shape and run, by which shapes are put in order.

    Attributes:
        name: what it is, in words.
        kind: how it is told.
        low_is_best: whether a low score is a good one.
        values: of each run by its label, as many as it has predictions; None where a shape has none.
    """

    name: str
    kind: Kind
    low_is_best: bool
    values: Mapping[str, Sequence[float | None]]


def told(value: float | None, kind: Kind, *, signed: bool = False) -> str:
    """A number as a report tells it, a dash where there is none; signed ones are differences."""
    if value is None or not math.isfinite(value):
        return NONE
    if kind == "share":
        text = f"{100 * value:.1f}"
    elif kind == "length":
        text = f"{value:.4f}" if 0.01 <= abs(value) < 1 else f"{float(f'{value:.3g}'):.5f}".rstrip("0").rstrip(".")
        text = f"{value:.2g}" if value and abs(value) < 1e-5 else text
    else:
        text = f"{value:.3f}"
    text = text.lstrip("-") if float(text) == 0 else text
    sign = "+" if signed and float(text) > 0 else ""
    unit = {True: " pp", False: " %"}[signed] if kind == "share" else ""
    return sign + text.replace("-", "−") + unit


def interval_text(low: float | None, high: float | None, kind: Kind, *, signed: bool = False) -> str:
    """The two ends of an interval without their unit, or nothing where there is none."""
    ends = [told(end, kind, signed=signed).split(" ")[0] for end in (low, high)]
    return "" if NONE in ends else f"{ends[0]} to {ends[1]}"


def figure_cell(values: Mapping[str, Any] | None, key: str, kind: Kind) -> Cell:
    """A figure of a result with its interval, which stands there as "key/low" and "key/high"."""
    found = values or {}
    return number_cell(found.get(key), kind, found.get(f"{key}/low"), found.get(f"{key}/high"))


def number_cell(
    value: float | None,
    kind: Kind,
    low: float | None = None,
    high: float | None = None,
    *,
    signed: bool = False,
) -> Cell:
    """A number with the ends of its interval, where it has one."""
    text = told(value, kind, signed=signed)
    interval = "" if text == NONE else interval_text(low, high, kind, signed=signed)
    return Cell(text, interval, None if text == NONE or value is None else float(value))


def keypoint_cell(k: int, name: str) -> Cell:
    """The name of keypoint k with its colour."""
    return Cell(name, sort=name, color=keypoint_color(k))


def shape_cell(name: str, pick: int | None) -> Cell:
    """The name of a shape, which leads to its picture where it has one."""
    return Cell(name, sort=name, note=name, pick=pick)


def run_cell(text: str, label: str, number: int, note: str = "") -> Cell:
    """A text with the label of run `number` in its colour, if it has one."""
    return Cell(text, note=note, run=(RUNS[number], label) if label else None)


def heading(text: str, label: str) -> str:
    """The heading of a column that there is one of for each run."""
    return f"{text}\n{label}" if label else text


def seen_warnings(results: Mapping[str, Mapping[str, Any]], items: str) -> list[str]:
    """That runs knew some of the items already, of the results of evaluations by the labels of their runs."""
    return [
        f"{label + ': ' if label else ''}{metrics['seen_in_training']} of these {items} were trained on or chose "
        "the checkpoint: the figures flatter the run."
        for label, metrics in results.items()
        if metrics["seen_in_training"]
    ]
