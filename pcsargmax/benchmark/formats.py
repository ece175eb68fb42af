"""Tables as text, CSV, JSON, LaTeX and Markdown."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from pcsargmax.benchmark.cells import Cell
from pcsargmax.benchmark.tables import Row, Table

_SIGNS = {"above": " ▲", "below": " ▼", "level": " ≈", "": ""}
_LEGEND = "By its interval, ours is above the paper's (▲), below it (▼), or neither (≈)."

#: What has a meaning in LaTeX or is not among its characters.
_LATEX = {char: f"\\{char}" for char in "%&#_{}$"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "≈": r"$\approx$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
}


class _Line(NamedTuple):
    """A line of a row: its label, a text a column, and whether they are ours, the paper's, or the paper's alone, …."""

    kind: str
    label: str
    texts: list[str]


def as_text(tables: Sequence[Table], width: int = 100) -> str:
    """Tables for a terminal of so many characters; the columns that find no room go on below."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    for table in tables:
        lines = [line for row in table.rows for line in _lines(table, row)]
        console.print(table.title)
        for part in _parts(table, lines, width):
            shown = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            shown.add_column("", overflow="fold")  # where there is too little room, labels break and figures stay
            for heading in table.columns[part]:
                shown.add_column(heading, justify="right", no_wrap=True)
            for line in lines:
                if line.kind == "ours" or any(line.texts[part]):
                    shown.add_row(line.label, *line.texts[part])
            console.print(shown)
        for note in _notes(table):
            console.print(note)
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _parts(table: Table, lines: list[_Line], width: int) -> list[slice]:
    """The columns that fit beside each other, and the labels; at least one at a time."""
    room = width - max(len(line.label) for line in lines) - 3  # rich puts two blanks after each, one before all
    parts, start, taken = [], 0, 0
    for place, heading in enumerate(table.columns):
        wide = 2 + max(len(text) for text in (heading, *(line.texts[place] for line in lines)))
        if taken and taken + wide > room:
            parts.append(slice(start, place))
            start, taken = place, 0
        taken += wide
    return [*parts, slice(start, None)]


def as_markdown(tables: Sequence[Table]) -> str:
    """Tables for a README: the best of ours in bold, intervals small below the numbers, the paper in italics."""
    texts = []
    for table in tables:
        lines = [
            f"**{table.title}**",
            "",
            f"| | {' | '.join(table.columns)} |",
            "|---" * (len(table.columns) + 1) + "|",
        ]
        for row in table.rows:
            cells = _markdown_row(_lines(table, row, "**"))
            lines += [f"| {' | '.join(line)} |" for line in cells]
        texts.append("\n".join([*lines, "", " ".join(_notes(table)).replace("*", r"\*")]))
    return "\n\n".join(texts) + "\n"


def _markdown_row(lines: list[_Line]) -> list[list[str]]:
    interval = next((line.texts for line in lines if line.kind == "interval"), [])
    made = []
    for line in lines:
        if line.kind == "ours":
            small = [f"<br><sub>{text}</sub>" if text else "" for text in interval] or [""] * len(line.texts)
            made.append([line.label, *(a + b for a, b in zip(line.texts, small, strict=True))])
        elif line.kind in ("paper", "alone"):
            label = f"*{line.label.strip()}*" if line.label else ""
            made.append([label, *(f"*{text}*" if text else "" for text in line.texts)])
        elif line.kind == "against":
            made.append([line.label.strip(), *(text.replace("*", r"\*") for text in line.texts)])
    return made


def as_latex(tables: Sequence[Table]) -> str:
    r"""Tables for `\usepackage{booktabs}`; those of many columns are `table*`, across both columns of a page."""
    return "\n\n".join(map(_latex_table, tables)) + "\n"


def _latex_table(table: Table) -> str:
    wide = len(table.columns) > 4
    place, size = ("table*", r"\scriptsize") if wide else ("table", r"\small")
    lines = [
        rf"\begin{{{place}}}[t]",
        r"\centering",
        rf"\caption{{{_escaped(table.title)}}}",
        size,
        r"\setlength{\tabcolsep}{3pt}" if wide else "",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf" & {' & '.join(map(_escaped, table.columns))} \\",
        r"\midrule",
    ]
    for number, row in enumerate(table.rows):
        lines += [r"\addlinespace"] if number else []
        lines += [_latex_line(line) for line in _lines(table, row, "@")]
    notes = " ".join(map(_escaped, _notes(table)))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\par\smallskip{{\footnotesize {notes}}}", rf"\end{{{place}}}"]
    return "\n".join(line for line in lines if line)


def _latex_line(line: _Line) -> str:
    label = _escaped(line.label.strip())
    indent = "" if line.kind in ("ours", "alone") or not label else r"\quad "
    texts = [_escaped(text) for text in line.texts]
    texts = [re.sub("@(.*?)@", r"\\textbf{\1}", text) for text in texts]
    if line.kind in ("interval", "against"):
        texts = [rf"{{\scriptsize {text}}}" if text else "" for text in texts]
    return rf"{indent}{label} & {' & '.join(texts)} \\"


def _escaped(text: str) -> str:
    escaped = "".join(_LATEX.get(char, char) for char in text)
    return re.sub(r"N\\_s( = (\d+))?", lambda found: f"$N_s{found[1] or ''}$", escaped)


def as_csv(tables: Sequence[Table]) -> str:
    """One line a number, in the unit of the table, empty where something is not known."""
    stream = io.StringIO()
    names = ("table", "title", "row", "column", "mean", "deviation", "low", "high", "seeds", "shapes")
    tested = ("against", "difference", "difference_low", "difference_high", "p")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, "paper", "verdict", *tested])
    for table in tables:
        for row in table.rows:
            for column, cell, number in zip(table.columns, row.cells, row.paper, strict=True):
                if cell is None and number is None:
                    continue
                writer.writerow([table.name, table.title, row.label, column, *_csv_cell(table, cell, number)])
    return stream.getvalue()


def _csv_cell(table: Table, cell: Cell | None, number: float | None) -> list[str]:
    def text(value: float | None) -> str:
        return "" if value is None else f"{value:.6g}"

    if cell is None:
        return ["", "", "", "", "", "", text(number), "", "", "", "", "", ""]
    seeds = " ".join(map(str, cell.values))
    ours = [text(cell.mean), text(cell.deviation), text(cell.low), text(cell.high), seeds, str(cell.num_models)]
    tested = ["", *map(text, cell.against)] if cell.against else [""] * 5
    if cell.against:
        tested[0] = table.against
    return [*ours, text(number), cell.verdict(number), *tested]


def as_json(tables: Sequence[Table]) -> str:
    """All that the tables hold: a list of objects, a row's cells in the order of the columns."""

    def cell_json(cell: Cell | None, number: float | None) -> dict[str, Any] | None:
        if cell is None:
            return None
        tested = None if cell.against is None else cell.against._asdict()
        return asdict(cell) | {"against": tested, "verdict": cell.verdict(number) or None}

    content = []
    for table in tables:
        rows = [
            {
                "label": row.label,
                "cells": [cell_json(cell, number) for cell, number in zip(row.cells, row.paper, strict=True)],
                "paper": list(row.paper),
                "reference": row.reference,
            }
            for row in table.rows
        ]
        content.append(vars(table) | {"rows": rows})
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


#: The formats by name.
FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": as_text,
    "csv": as_csv,
    "json": as_json,
    "latex": as_latex,
    "markdown": as_markdown,
}


def _notes(table: Table) -> list[str]:
    """The notes, and what the signs mean if there are any."""
    compared = (cell.verdict(number) for row in table.rows for cell, number in _pairs(row) if cell is not None)
    return [_LEGEND, *table.notes] if any(compared) else list(table.notes)


def _pairs(row: Row) -> zip[tuple[Cell | None, float | None]]:
    return zip(row.cells, row.paper, strict=True)


def _lines(table: Table, row: Row, bold: str = "") -> list[_Line]:
    """The lines of a row that say anything; `bold` is put around the best number."""
    digits = table.digits
    best = [_is_best(table, row, place) for place in range(len(table.columns))]
    ours, interval, against, theirs = [], [], [], []
    for (cell, number), strongest in zip(_pairs(row), best, strict=True):
        mark = bold if strongest else ""
        ours.append("" if cell is None else f"{mark}{_number(cell.mean, digits)}{mark}{_spread(cell, number, digits)}")
        interval.append("" if cell is None else _interval(cell.low, cell.high, digits))
        against.append("" if cell is None else _difference(cell, digits))
        theirs.append("" if number is None else _number(number, digits))
    lines = [
        _Line("ours", row.label, ours),
        _Line("interval", "", interval),
        _Line("against", f"  minus {table.against}", against),
        _Line("paper", "  paper", theirs),
    ]
    if row.reference:
        return [_Line("alone", row.label, theirs)]
    return [line for line in lines if line.kind == "ours" or any(line.texts)]


def _is_best(table: Table, row: Row, place: int) -> bool:
    """Whether the number is the best of several of ours along its row or column, as printed, on the same shapes."""
    if {row.label, table.columns[place]} & set(table.mixed):
        return False
    others = row.cells if table.best == "row" else [other.cells[place] for other in table.rows]
    printed = [round(cell.mean, table.digits) for cell in others if cell is not None]
    cell = row.cells[place]
    best = min if table.lower_is_better else max
    return cell is not None and len(printed) > 1 and round(cell.mean, table.digits) == best(printed)


def _number(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def _spread(cell: Cell, number: float | None, digits: int) -> str:
    deviation = "" if cell.deviation is None else f" ± {_number(cell.deviation, digits)}"
    return deviation + _SIGNS[cell.verdict(number)]


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else f"[{_number(low, digits)}, {_number(high, digits)}]"


def _difference(cell: Cell, digits: int) -> str:
    found = cell.against
    if found is None:
        return ""
    star = "*" if found.low > 0 or found.high < 0 else ""
    return f"{_number(found.difference, digits, '+')}{star} {_interval(found.low, found.high, digits)}"
