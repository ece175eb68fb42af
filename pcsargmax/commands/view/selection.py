"""What `pcsargmax view` does alike with shapes and images: choosing them, checking options, titles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: How many shapes or images one file can hold.
_MOST = {"html": 400, "sheet": 100}


def chosen(items: Sequence[T], first: int, count: int, what: str) -> Sequence[T]:
    """Return the items from number `first` on, `count` or, if that is 0, all; `what` is their name in the plural."""
    if not 1 <= first <= len(items):
        raise ValueError(f"first must be 1 to {len(items)}, the number of {what}, got {first}")
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    return items[first - 1 : first - 1 + count] if count else items[first - 1 :]


def check_counts(outputs: Iterable[str], count: int, what: str) -> None:
    """Raise ValueError for more items than an output can hold; `what` is their name in the plural."""
    for kind in outputs:
        if count > (most := _MOST.get(kind, count)):
            raise ValueError(f"--{kind} holds {most} {what} at most, got {count}: choose with --first and --count")


def check_keypoint(keypoint: str | int | None, names: Sequence[str], whose: str = "") -> None:
    """Raise ValueError for a keypoint that is none of the names; `whose` follows them in the message."""
    if keypoint is not None and keypoint not in names:
        raise ValueError(f"keypoint must be one of {', '.join(names)}{whose}, got {keypoint!r}")


def whose_names(run: Any, runs: Sequence[Any]) -> str:
    """Return what `check_keypoint` says of the names of a run, if there are several runs."""
    return f" of {run.folder}" if len(runs) > 1 else ""


def print_seen(run: Any, names: Iterable[str], what: str) -> None:
    """Say how many of the items a run was trained on: it looks better on them than it is."""
    from pcsargmax.commands.shared.progress import console

    seen = [name in run.trained_on for name in names] if run.supervised else []
    if any(seen):
        said = f"{run.folder}: {sum(seen)} of {len(seen)} {what} were seen in training"
        console.print(said, highlight=False, soft_wrap=True)


def run_titles(runs: Sequence[Any], data: str, method: Callable[[Any], str]) -> tuple[str, str]:
    """Return what is shown, or the first of these that tells two runs apart: method, folder, checkpoint."""
    if not runs:
        return data, ""
    if len(runs) == 1:
        return runs[0].folder.resolve().name, ""
    ways = [(method(run), run.folder.resolve().name, str(run.checkpoint)) for run in runs]
    return next((pair for pair in zip(*ways, strict=True) if pair[0] != pair[1]), (ways[0][-1], ways[1][-1]))
