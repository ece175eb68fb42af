"""The CSV logs that a training leaves, as curves; a figure and a report draw them, each in its own way."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, TypeAlias

#: Of each column its (counter, value) pairs.
Curves: TypeAlias = dict[str, list[tuple[float, float]]]

_COUNTERS = ("epoch", "step")
_PARTS = ("train", "val", "valid", "validation", "test")


def log_files(folder: Path) -> tuple[Path, ...]:
    """The CSV logs of a run folder, in the order in which they were written: each resumption leaves one."""
    found = folder.glob("log/version_*/metrics.csv")
    return tuple(sorted(found, key=lambda path: (len(path.parent.name), path.parent.name)))


def read_log(path: Path, counter: str = "") -> tuple[Curves, str]:
    """Each column of a log over a counter, and the counter's name.

    Args:
        path: a CSV file with a header line; empty cells are skipped.
        counter: the column to count by; rows without it are skipped. If empty: step, else epoch, else the row.

    Raises:
        ValueError: a cell that is no number; the message names file and line.
    """
    curves: Curves = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        counter = counter or next((name for name in ("step", "epoch") if name in (rows.fieldnames or ())), "row")
        for number, row in enumerate(rows):
            at = _number(row.get(counter), path, rows.line_num) if counter != "row" else number
            for column, cell in row.items():
                value = None if column is None or column in _COUNTERS else _number(cell, path, rows.line_num)
                if value is not None and at is not None:
                    curves.setdefault(column, []).append((at, value))
    return curves, counter


def measured(column: str) -> str:
    """What a column measures, without the part of the data and the threshold: `val/pck@0.01` is pck."""
    words = [word for word in re.split(r"[/_]", column.split("@")[0]) if word not in (*_PARTS, *_COUNTERS)]
    return "_".join(words) or column


def _number(cell: Any, path: Path, line: int) -> float | None:
    if cell in ("", None):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{path}:{line}: expected a number, got {cell!r}") from None
