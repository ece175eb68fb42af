"""Landmark files, read and written: 3D Slicer markups (.mrk.json, .fcsv), CSV tables, KeypointNet's JSON.

Markups are converted to the frame of the mesh, see `pcsargmax.io.markups`; CSV and KeypointNet's JSON
name no frame, and their numbers are taken as they are.

A landmark that a file does not have, or marks as not defined or not visible, is absent from what is returned.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcsargmax.io.markups import (
    Frame,
    Landmarks,
    add_landmark,
    check_frame,
    markups_unit,
    parse_position,
    read_fcsv,
    read_json,
    read_markups,
    read_text,
    write_markups,
)

__all__ = [
    "LANDMARK_SUFFIXES",
    "is_landmark_table",
    "read_landmark_table",
    "read_landmarks",
    "read_length_unit",
    "stem_of",
    "write_markups",
]

_NO = ("0", "false", "no")
LANDMARK_SUFFIXES = (".mrk.json", ".json", ".fcsv", ".csv")


def read_landmarks(path: str | Path, *, mesh_frame: Frame = "LPS") -> Landmarks:
    r"""Read the landmarks of one mesh: .mrk.json, .fcsv, or a .csv with the columns name, x, y, z.

    Args:
        path: the file. The markups of several nodes in it are put together.
        mesh_frame: frame of the mesh file, "LPS" or "RAS", see above.

    Returns:
        name -> (3,) float64 position, in the file's order. A markup's name is its label, else its id.

    Raises:
        ValueError: naming file and line (for markups, the control point), for malformed content, positions
            that are not three finite numbers, a name that comes twice, an unknown coordinate system or kind
            of file.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.io import read_landmarks
        >>> _ = Path("B03.csv").write_text("name,x,y,z\ncusp,1.5,2,3\n")
        >>> read_landmarks("B03.csv")
        {'cusp': array([1.5, 2. , 3. ])}
    """
    path = Path(path)
    check_frame("mesh_frame", mesh_frame)
    lower = path.name.lower()
    if lower.endswith(".json"):
        return read_markups(path, mesh_frame)
    if lower.endswith(".fcsv"):
        return read_fcsv(path, mesh_frame)
    if lower.endswith(".csv"):
        table = _read_csv(path)
        if list(table) != [""]:
            raise ValueError(f"{path}: landmarks of several files (a column file): use read_landmark_table")
        return table[""]
    raise ValueError(f"{path}: unknown kind of landmark file, expected one of {' '.join(LANDMARK_SUFFIXES)}")


def read_landmark_table(path: str | Path) -> dict[str, Landmarks]:
    r"""Read the landmarks of many meshes from one file.

    `.csv`: the columns file, name, x, y, z, a row a landmark; or file, <name>_x, <name>_y, <name>_z, ..., a
    row a file. A column `visible` (long form) may say 0 or false; empty coordinates are absent; other
    columns are left out. `.json`: KeypointNet's annotations, a list of {model_id, keypoints: [{semantic_id,
    xyz}]}; names are the ids.

    Returns:
        stem -> name -> (3,) float64 position. The stem is the file's name without folders and known suffix.

    Raises:
        ValueError: naming file and line (JSON: the entry), for malformed content or a landmark that occurs twice.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.io import read_landmark_table
        >>> _ = Path("teeth.csv").write_text("file,cusp_x,cusp_y,cusp_z\nB03.ply,1.5,2,3\nB04.ply,,,\n")
        >>> read_landmark_table("teeth.csv")  # B04 lacks the cusp
        {'B03': {'cusp': array([1.5, 2. , 3. ])}, 'B04': {}}
    """
    path = Path(path)
    if path.name.lower().endswith(".json"):
        return _read_annotations(path, read_json(path))
    table = _read_csv(path)
    if "" in table:
        raise ValueError(f"{path}: expected a column file that names the mesh of each row")
    return table


def read_length_unit(path: str | Path) -> str | None:
    r"""Return the unit of length of a landmark file; None where its format has none (CSV, KeypointNet's JSON).

    3D Slicer's files are in mm by definition, unless a .mrk.json names another unit. This is what the format says:
    shapes that were scaled to unit size and then saved by Slicer claim mm as well.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.io import read_length_unit, write_markups
        >>> write_markups("B03.mrk.json", ["cusp"], [[1.5, 2, 3]])
        >>> _ = Path("B04.csv").write_text("name,x,y,z\ncusp,1.5,2,3\n")
        >>> read_length_unit("B03.mrk.json"), read_length_unit("B04.csv")
        ('mm', None)
    """
    path = Path(path)
    lower = path.name.lower()
    if lower.endswith(".fcsv"):
        return "mm"
    return markups_unit(path) if lower.endswith(".json") and is_landmark_table(path) is False else None


def is_landmark_table(path: str | Path) -> bool | None:
    """Whether a landmark file is of many meshes (True) or one (False); None where it holds no landmarks."""
    path = Path(path)
    lower = path.name.lower()
    if lower.endswith((".mrk.json", ".fcsv")):
        return False
    if lower.endswith(".json"):
        content = read_json(path)
        if isinstance(content, dict):
            return False if "markups" in content else None
        entries = isinstance(content, list) and content and isinstance(content[0], dict)
        return True if entries and {"model_id", "keypoints"} <= content[0].keys() else None
    if lower.endswith(".csv"):
        columns = _csv_header(path)
        return "file" in columns if _csv_form(columns) else None
    return None


def stem_of(name: str) -> str:
    """A file's name without folders and without a landmark's or cloud's suffix: `a/B03.mrk.json` -> `B03`."""
    from pcsargmax.io.clouds import CLOUD_SUFFIXES

    base = name.replace("\\", "/").rsplit("/", 1)[-1].strip()
    known = (suffix for suffix in (*LANDMARK_SUFFIXES, *CLOUD_SUFFIXES) if base.lower().endswith(suffix))
    suffix = next(known, "")
    return base[: len(base) - len(suffix)]


def _read_annotations(path: Path, content: Any) -> dict[str, Landmarks]:
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected KeypointNet's annotations, a list of objects")
    table: dict[str, Landmarks] = {}
    for number, entry in enumerate(content, 1):
        where = f"{path}: entry {number}"
        keypoints = entry.get("keypoints") if isinstance(entry, dict) else None
        if not isinstance(keypoints, list) or not isinstance(entry.get("model_id"), str):
            raise ValueError(f"{where}: expected an object with model_id and a list of keypoints")
        stem = stem_of(entry["model_id"])
        if stem in table:
            raise ValueError(f"{where}: {stem!r} comes a second time")
        landmarks = table[stem] = {}
        where = f"{where} ({stem})"
        for keypoint in keypoints:
            if not isinstance(keypoint, dict) or "semantic_id" not in keypoint:
                raise ValueError(f"{where}: expected keypoints with semantic_id and xyz, got {keypoint!r}")
            name = str(keypoint["semantic_id"])
            add_landmark(landmarks, name, parse_position(keypoint.get("xyz") or (), f"{where}, {name}"), where)
    return table


def _csv_dialect(line: str) -> str:
    return max(",;\t", key=line.count)


def _csv_header(path: Path) -> list[str]:
    first = next(iter(read_text(path).splitlines()), "")
    return [column.strip() for column in next(csv.reader([first], delimiter=_csv_dialect(first)), [])]


def _csv_form(columns: Sequence[str]) -> dict[str, tuple[str, str, str]] | None:
    """Landmark name -> its three columns; the name "" stands for the long form; None where there are none."""
    if {"name", "x", "y", "z"} <= set(columns):
        return {"": ("x", "y", "z")}
    triples = {c[:-2]: (c, c[:-2] + "_y", c[:-2] + "_z") for c in columns if c.endswith("_x") and len(c) > 2}
    complete = {name: triple for name, triple in triples.items() if set(triple) <= set(columns)}
    return complete if complete and "file" in columns else None


def _read_csv(path: Path) -> dict[str, Landmarks]:
    """Stem -> landmarks; the stem "" where there is no column file."""
    columns = _csv_header(path)
    form = _csv_form(columns)
    if form is None or len(set(columns)) != len(columns):
        raise ValueError(
            f"{path}:1: expected the columns file, name, x, y, z, or file, <name>_x, <name>_y, <name>_z, "
            f"..., each once, got {columns}"
        )
    lines = read_text(path).splitlines()
    reader = csv.reader(lines[1:], delimiter=_csv_dialect(lines[0]))
    table: dict[str, Landmarks] = {} if "file" in columns else {"": {}}
    for values in reader:
        where = f"{path}:{reader.line_num + 1}"
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            raise ValueError(f"{where}: expected {len(columns)} values, got {len(values)}")
        row = dict(zip(columns, (value.strip() for value in values), strict=True))
        stem = stem_of(row["file"]) if "file" in row else ""
        if "file" in row and not stem:
            raise ValueError(f"{where}: the column file is empty")
        landmarks = table.setdefault(stem, {})
        for name, triple in form.items():
            name = name or row["name"]
            texts = [row[column] for column in triple]
            absent = all(text.lower() in ("", "nan") for text in texts)
            if not absent and row.get("visible", "").lower() not in _NO:
                add_landmark(landmarks, name, parse_position(texts, f"{where} ({name})"), where)
    return table
