"""What the files of predictions on clouds and on images share: whole writing, JSON text, arrays in .npz."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
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


def check_number(count: int, format: str, alone: Sequence[str]) -> None:
    """Raise ValueError for no prediction, or several for one of the formats that hold a single one."""
    if not count or (format in alone and count != 1):
        wanted = "one" if format in alone else "at least one"
        raise ValueError(f"predictions: expected {wanted} for a {format} file, got {count}")


def json_bytes(predictions: Sequence[Any], *, alone: bool) -> bytes:
    """What `to_dict` of a prediction gives, of several {"predictions": [...]}, as a JSON file."""
    content = predictions[0].to_dict() if alone else {"predictions": [one.to_dict() for one in predictions]}
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def npz_bytes(content: Mapping[str, Any]) -> bytes:
    """A .npz file of arrays by name, those that are None left out."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {key: np.asarray(value) for key, value in content.items() if value is not None}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


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
