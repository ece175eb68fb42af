"""Pieces of HTML that a report is made of: numbers with intervals, tables, cards, places for charts."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pcsargmax.visualize.palette import keypoint_color

#: How a number is told: a share in per cent, a length with three digits, a plain number with three decimals.
Kind = Literal["share", "length", "plain"]

#: What stands where there is no number.
NONE = "–"

#: Classes of the two runs of a report, which colour them.
_RUNS = ("first", "second")


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: plain.
        interval: plain, in a line of its own below the text.
        sort: what the column is sorted by; None comes last.
        html: stands in place of the text, which is then only for reading.
        note: words that a pointer on the cell shows.
    """

    text: str
    interval: str = ""
    sort: float | str | None = None
    html: str = ""
    note: str = ""


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
    dot = f'<span class="dot" style="background:{keypoint_color(k)}"></span>'
    return Cell(name, sort=name, html=dot + html.escape(name))


def shape_cell(name: str, pick: int | None) -> Cell:
    """The name of a shape, which leads to its picture where it has one."""
    button = f'<button type="button" class="plain link" data-shape="{pick}">{html.escape(name)}</button>'
    return Cell(name, sort=name, html="" if pick is None else button, note=name)


def heading(text: str, label: str) -> str:
    """The heading of a column that there is one of for each run."""
    return f"{text}\n{label}" if label else text


def run_name(text: str, label: str, number: int) -> str:
    """HTML of a text with the label of run `number` in its colour, if it has one."""
    beside = f', <span class="{_RUNS[number]}">{html.escape(label)}</span>' if label else ""
    return html.escape(text) + beside


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell | str]],
    *,
    caption: str,
    name: str = "",
    sortable: bool = False,
    marked: Sequence[bool] | None = None,
) -> str:
    """An HTML table whose first column names the rows.

    Args:
        columns: headings, plain text; what comes after a line end stands below.
        rows: as many cells as there are columns, each.
        caption: what the table shows, plain text.
        name: its id.
        sortable: whether a click on a heading sorts the rows, see report.js.
        marked: rows that are to stand out; None: none.
    """
    marks = marked or [False] * len(rows)
    body = "".join(_row(row, mark) for row, mark in zip(rows, marks, strict=True))
    attributes = f' aria-label="{_quoted(caption)}"' + (f' id="{_quoted(name)}"' if name else "")
    attributes += ' class="sortable"' if sortable else ""
    head = "".join(_heading(column, sortable) for column in columns)
    inside = f"<table{attributes}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # The caption is no part of the table, which may be wider than a phone. In focus, arrow keys scroll its box.
    above = f'<p class="caption" aria-hidden="true">{html.escape(caption)}</p>'
    kind = "wide scroll" if sortable else "wide"
    box = f'<div class="{kind}" tabindex="0" role="group" aria-label="table">{inside}</div>'
    return f'<div class="table">{above}{box}</div>\n'


def _heading(column: str, sortable: bool) -> str:
    text, _, below = column.partition("\n")
    inside = html.escape(text) + (f'<span class="interval">{html.escape(below)}</span>' if below else "")
    return f'<th scope="col">{f"<button type=button class=plain>{inside}</button>" if sortable else inside}</th>'


def _row(row: Sequence[Cell | str], marked: bool) -> str:
    first, *others = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
    inside = f'<th scope="row"{_attributes(first)}>{_inside(first)}</th>'
    inside += "".join(f"<td{_attributes(cell)}>{_inside(cell)}</td>" for cell in others)
    return f'<tr class="differs">{inside}</tr>' if marked else f"<tr>{inside}</tr>"


def _attributes(cell: Cell) -> str:
    sort = "" if cell.sort is None else f' data-sort="{_quoted(str(cell.sort))}"'
    return sort + (f' title="{_quoted(cell.note)}"' if cell.note else "")


def _inside(cell: Cell) -> str:
    below = f'<span class="interval">{html.escape(cell.interval)}</span>' if cell.interval else ""
    return (cell.html or html.escape(cell.text)) + below


def card(title: str, labels: Sequence[str], figures: Sequence[Cell], beside: str = "") -> str:
    """A figure that is seen at first sight, of one run or of two by their labels."""
    parts = []
    for number, (label, cell) in enumerate(zip(labels, figures, strict=True)):
        above = f'<div class="interval {_RUNS[number]}">{html.escape(label)}</div>' if label else ""
        below = f'<div class="interval">{html.escape(cell.interval)}</div>' if cell.interval else ""
        parts.append(f'<div>{above}<div class="big">{html.escape(cell.text)}</div>{below}</div>')
    note = f'<div class="note">{html.escape(beside)}</div>' if beside else ""
    return f'<li><div class="note">{html.escape(title)}</div><div class="two">{"".join(parts)}</div>{note}</li>\n'


def cards(items: Sequence[str]) -> str:
    """Cards side by side."""
    return f'<ul class="cards">\n{"".join(items)}</ul>\n' if items else ""


def facts(pairs: Mapping[str, str]) -> str:
    """A list of names and texts, without those that have none."""
    listed = [(html.escape(name), html.escape(text)) for name, text in pairs.items() if text]
    return f'<dl class="facts">{"".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in listed)}</dl>\n'


def paragraph(text: str) -> str:
    """A paragraph that never parts a number from its sign of per cent."""
    return f"<p>{html.escape(text.replace(' %', chr(0xA0) + '%'))}</p>"


def warning(text: str) -> str:
    """A sentence that must not be overlooked."""
    return f'<p class="warning"><strong>Note:</strong> {html.escape(text)}</p>\n'


def seen_warnings(results: Mapping[str, Mapping[str, Any]], items: str) -> str:
    """That runs knew some of the items already, of the results of evaluations by the labels of their runs."""
    return "".join(
        warning(
            f"{label + ': ' if label else ''}{metrics['seen_in_training']} of these {items} were trained on or chose "
            "the checkpoint: the figures flatter the run."
        )
        for label, metrics in results.items()
        if metrics["seen_in_training"]
    )


def section(name: str, title: str, inside: str) -> str:
    """A part of the page with a heading that the navigation leads to; nothing where it holds nothing."""
    return f'<section id="{name}"><h2>{html.escape(title)}</h2>\n{inside}</section>\n' if inside else ""


def navigation(titles: Mapping[str, str]) -> str:
    """Links to the sections, by their names."""
    links = "".join(f'<a href="#{name}">{html.escape(title)}</a>\n' for name, title in titles.items())
    return f'<nav aria-label="sections">\n{links}</nav>\n'


def chart_box(chart: Mapping[str, Any]) -> str:
    """Where report.js draws a chart: its title, what it shows in words for those who do not see it, a caption."""
    return (
        f"<figure><h3>{html.escape(chart['title'])}</h3>"
        f'<div class="draw" id="{chart["id"]}" role="img" aria-label="{_quoted(chart["alt"])}"></div>'
        f'<figcaption class="note">{html.escape(chart["caption"])}</figcaption></figure>\n'
    )


def chart_boxes(charts: Sequence[Mapping[str, Any]]) -> str:
    """Charts in a grid."""
    inside = "".join(chart_box(chart) for chart in charts)
    return f'<div class="charts{" one" if len(charts) == 1 else ""}">\n{inside}</div>\n' if charts else ""


def _quoted(text: str) -> str:
    return html.escape(text, quote=True)
