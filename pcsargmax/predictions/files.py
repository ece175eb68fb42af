"""What the files of predictions on clouds and on images share: whole writing, JSON text, arrays in .npz."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pcsargmax.io.atomic import atomic_path

T = TypeVar("T")


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all, and return its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_as(
    predictions: T | Sequence[T],
    path: str | Path,
    format: str,
    writers: Mapping[str, Callable[[Path, list[Any]], object]],
    *,
    alone: bool,
    single: Collection[str],
) -> Path:
    """Write predictions to one file, whole or not at all, and return its path.

    Args:
        predictions: one or several.
        path: of the file.
        format: "json" for what `to_dict` gives, of several {"predictions": [...]}, or one of `writers`.
        writers: of a file of predictions, by format.
        alone: whether `predictions` is one.
        single: the formats that hold one prediction only.

    Raises:
        ValueError: an unknown format, no prediction, or several where the format holds one.
    """
    if format not in ("json", *writers):
        raise ValueError(f"format: expected one of {', '.join(('json', *writers))}, got {format!r}")
    listed: list[Any] = [predictions] if alone else list(predictions)  # type: ignore[arg-type]
    if not listed or (format in single and len(listed) != 1):
        wanted = "one" if format in single else "at least one"
        raise ValueError(f"predictions: expected {wanted} for a {format} file, got {len(listed)}")
    if format == "json":
        content = listed[0].to_dict() if alone else {"predictions": [one.to_dict() for one in listed]}
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        return write_whole(path, (text + "\n").encode())
    writers[format](Path(path), listed)
    return Path(path)


def write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write the rows of a table as a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(path, text.getvalue().encode())


def write_npz(path: Path, content: Mapping[str, Any]) -> None:
    """Write a .npz file of arrays by name, those that are None left out."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {key: np.asarray(value) for key, value in content.items() if value is not None}
    np.savez_compressed(stream, **arrays)
    write_whole(path, stream.getvalue())


def read_npz(path: str | Path, what: str, make: Callable[[dict[str, Any]], T]) -> T:
    """Make something of the arrays of a .npz file; nothing in it is executed.

    Args:
        path: of the file.
        what: it holds, in an error.
        make: of the arrays by name, "name" as a text.

    Raises:
        ValueError: the file is none that `make` can use.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            content: dict[str, Any] = {key: stored[key] for key in stored.files}
        content["name"] = str(content["name"])
        return make(content)
    except OSError as error:
        if not Path(path).is_file():
            raise
        raise ValueError(f"{path}: not {what} (.npz): {error}") from error
    except Exception as error:  # zipfile, numpy and the dataclasses each raise their own
        raise ValueError(f"{path}: not {what} (.npz): {error}") from error
