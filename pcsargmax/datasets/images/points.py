"""Tables of points in images: CSV files with a row for each image, or for each object in it."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcsargmax.io.markups import read_text
from pcsargmax.transforms.crop import check_box

_BOX = ("x", "y", "width", "height")


@dataclass(frozen=True, eq=False)
class PointRow:
    """A row of a table.

    Args:
        file: the image, as the table names it, with forward slashes.
        points: (K, 2) float64 pixels, NaN where absent.
        box: (4,) x, y, width, height, or None.
        extra: further columns, as text.
        where: path and line, for messages.
    """

    file: str
    points: np.ndarray
    box: np.ndarray | None
    extra: Mapping[str, str | int]
    where: str


@dataclass(frozen=True, eq=False)
class PointTable:
    """A table of points.

    Args:
        path: its file.
        names: K keypoint names.
        rows: in the file's order.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[PointRow]


def read_points(path: str | Path) -> PointTable:
    """Read a CSV table of points.

    The columns are `file, x0, y0, x1, y1, ...` (keypoints "0", "1", ...) or `file, NAME_x, NAME_y, ...`, in any order,
    with a comma, semicolon or tab between them; optionally `x, y, width, height`, a box. A point is in pixels, the
    centre of the first pixel at (0, 0), and absent where both cells are empty. Further columns are kept as text.

    Raises:
        ValueError: naming path and line, for columns that are missing, incomplete or come twice, rows of another
            length, cells that are no finite numbers, half a point, an empty box, a file that comes twice without
            boxes, or points that all lie within 0 to 1 and so are not in pixels.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    if not lines:
        raise ValueError(f"{path}:1: expected the columns file, x0, y0, ..., got an empty file")
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count))
    columns = [column.strip() for column in next(reader)]
    points = point_columns(columns)
    if points is None:
        raise ValueError(
            f"{path}:1: expected the columns file, x0, y0, x1, y1, ... or file, NAME_x, NAME_y, ..., each once, got "
            f"{', '.join(columns[:8])}{', ...' if len(columns) > 8 else ''}"
        )
    _check_columns(columns, points, path)
    filled = (values for values in reader if any(value.strip() for value in values))
    rows = [_read_row(columns, points, values, f"{path}:{reader.line_num}") for values in filled]
    _check_rows(rows, path)
    return PointTable(path, tuple(points), rows)


def is_point_table(path: str | Path) -> bool:
    """Whether the first line of a CSV file names the columns of a table of points."""
    first = next(iter(read_text(Path(path)).splitlines()), "")
    columns = next(csv.reader([first], delimiter=max(",;\t", key=first.count)), [])
    return point_columns([column.strip() for column in columns]) is not None


def point_columns(columns: list[str]) -> dict[str, tuple[str, str]] | None:
    """Keypoint name -> its two columns, in the order of the first of them; None where it is no table of points."""
    if "file" not in columns:
        return None
    found: dict[str, tuple[str, str]] = {}
    for column in columns:
        if match := re.fullmatch(r"[xy](\d+)", column):
            found.setdefault(match[1], (f"x{match[1]}", f"y{match[1]}"))
        elif match := re.fullmatch(r"(.+)_[xy]", column):
            found.setdefault(match[1], (f"{match[1]}_x", f"{match[1]}_y"))
    return found or None


def _check_columns(columns: list[str], points: dict[str, tuple[str, str]], path: Path) -> None:
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"{path}:1: the column {twice[0]!r} comes twice")
    for name, pair in points.items():
        if lacking := [column for column in pair if column not in columns]:
            raise ValueError(f"{path}:1: keypoint {name!r} has no column {lacking[0]}")
        if f"{name}_z" in columns or f"z{name}" in columns:
            raise ValueError(f"{path}:1: keypoint {name!r} has a third coordinate; points of images have two")
    box = [column for column in _BOX if column in columns]
    if 0 < len(box) < 4:
        raise ValueError(f"{path}:1: expected all columns of a box, x, y, width, height, got {', '.join(box)}")


def _read_row(columns: list[str], points: dict[str, tuple[str, str]], values: list[str], where: str) -> PointRow:
    if len(values) != len(columns):
        raise ValueError(f"{where}: expected {len(columns)} values, got {len(values)}")
    row = dict(zip(columns, (value.strip() for value in values), strict=True))
    file = row.pop("file").replace("\\", "/")
    if not file:
        raise ValueError(f"{where}: the column file is empty")
    texts = [row.pop(column) for pair in points.values() for column in pair]
    try:
        places = np.array(texts, dtype=np.float64).reshape(len(points), 2)
    except ValueError:
        places = np.full((len(points), 2), np.nan)
    if not np.isfinite(places).all():
        places = np.array(
            [
                _read_point(texts[2 * number : 2 * number + 2], pair, where)
                for number, pair in enumerate(points.values())
            ]
        )
    box = None
    if "width" in row:
        box = np.array([_number(row.pop(column), f"{where}: {column}") for column in _BOX])
        check_box(box, None, f"{where}: box")
    return PointRow(file, places, box, row, where)


def _read_point(texts: list[str], pair: tuple[str, str], where: str) -> list[float]:
    empty = [text.lower() in ("", "nan") for text in texts]
    if all(empty):
        return [math.nan, math.nan]
    if any(empty):
        raise ValueError(f"{where}: {pair[empty.index(False)]} has a number and {pair[empty.index(True)]} has none")
    return [_number(text, f"{where}: {column}") for text, column in zip(texts, pair, strict=True)]


def _check_rows(rows: list[PointRow], path: Path) -> None:
    if not rows:
        raise ValueError(f"{path}: expected a row for each image, got none")
    seen: dict[str, str] = {}
    for row in rows:
        if row.box is None and row.file in seen:
            raise ValueError(f"{row.where}: {row.file!r} is in {seen[row.file]} already (several objects need boxes)")
        seen.setdefault(row.file, row.where)
    largest = max((np.nanmax(row.points) for row in rows if np.isfinite(row.points).any()), default=math.inf)
    if largest <= 1 and len(rows) > 1:
        raise ValueError(f"{path}: expected points in pixels, got none beyond 1 (are they shares of the image's size?)")


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {text!r}")
    return value
