"""Where processed data is kept: one cache folder, never beside the source, and nothing half-written in it."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pcsargmax.io.atomic import atomic_path


def cache_folder() -> Path:
    """The folder of processed files: `$PCSARGMAX_CACHE`, else `pcsargmax` in the user's cache folder.

    The user's cache folder is `$XDG_CACHE_HOME` where that is set, else `~/.cache`. Nothing is made here.

    Example:
        >>> import os
        >>> from pcsargmax.datasets import cache_folder
        >>> os.environ["PCSARGMAX_CACHE"] = "scratch"
        >>> cache_folder().name
        'scratch'
    """
    if own := os.environ.get("PCSARGMAX_CACHE"):
        return Path(own).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "pcsargmax"


def source_stamp(path: str | Path) -> tuple[str, int, int]:
    """What tells that a source file changed: (name, size in bytes, modification time in ns)."""
    status = os.stat(path)
    return Path(path).name, status.st_size, status.st_mtime_ns


def cache_key(*parts: Any) -> str:
    """A 16-digit hexadecimal name for `parts` (numbers, texts, paths and lists, tuples or dicts of them).

    Equal parts give equal names in every process; parts that JSON cannot hold are a TypeError.
    """

    def plain(part: Any) -> str:
        if isinstance(part, Path):
            return str(part)
        raise TypeError(f"cache_key: expected numbers, texts, paths and lists or dicts of them, got {type(part)}")

    text = json.dumps(parts, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached(path: str | Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the file `path` holds, or `make()`, which is then saved there.

    Holds tensors, numbers, texts and lists, tuples or dicts of them: it is loaded with `weights_only=True`,
    so a cache file can execute nothing. An unreadable file (cut off, of another version) is made anew.
    """
    path = Path(path)
    if path.is_file():
        try:
            return torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            pass
    made = make()
    with atomic_path(path) as temporary:
        torch.save(made, temporary)
    return made
