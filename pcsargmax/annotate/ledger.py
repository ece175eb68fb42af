"""What is said of the landmarks of several scans, and how every change of it reaches the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pcsargmax.annotate.marks import Mark

Marks = dict[str, Mark]
#: A landmark's new mark, or None where nothing is to be said of it any more.
Changes = Mapping[str, Mark | None]


class Store(Protocol):
    """The interface of a store of landmarks.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.annotate import Mark, SlicerStore, Store
        >>> store: Store = SlicerStore()
        >>> store.load(Path("B03.ply")) is None  # nothing was saved of this scan
        True
    """

    def names(self, scans: Sequence[Path]) -> list[str]:
        """The landmarks that it knows of these scans, in their order."""
        ...

    def load(self, scan: Path) -> Marks | None:
        """What is kept of a scan, without the names that nothing was said of; None where it was never saved."""
        ...

    def save(self, scan: Path, names: Sequence[str], marks: Mapping[str, Mark]) -> Path | None:
        """Save what is said of a scan, whole or not at all; None where there is nothing to save yet."""
        ...


class Ledger:
    """The marks of every scan, the same as in the store but for what could not be saved.

    Args:
        scans: the files.
        store: read now, and written with each change.
        begin: for some scans the marks to begin with where nothing was saved before; saved by the first `save`.

    Attributes:
        marks: of each scan.
        failure: why the last save failed; "" where everything is saved.
    """

    def __init__(self, scans: Sequence[Path], store: Store, begin: Mapping[Path, Mapping[str, Mark]]) -> None:
        self.scans, self._store = tuple(scans), store
        self.marks: list[Marks] = []
        self.failure = ""
        self._pending: dict[int, dict[str, Mark | None]] = {}
        for number, scan in enumerate(self.scans):
            known = store.load(scan)
            self.marks.append(dict(begin.get(scan, {}) if known is None else known))
            if known is None and self.marks[number]:
                self._pending[number] = dict(self.marks[number])

    @property
    def unsaved(self) -> int:
        """How many scans have changes that could not be saved."""
        return len(self._pending)

    def change(self, scan: int, changes: Changes, names: Sequence[str]) -> None:
        """Change the marks of a scan, and save."""
        _apply(self.marks[scan], changes)
        self._pending.setdefault(scan, {}).update(changes)
        self.save(names)

    def save(self, names: Sequence[str]) -> None:
        """Save all changes that are not saved yet, onto what the store has by now: others may write to it too.

        A scan that cannot be saved keeps its changes for the next time.
        """
        self.failure = ""
        for scan in sorted(self._pending):
            try:
                known = self._store.load(self.scans[scan])
                marks = dict(self.marks[scan] if known is None else known)
                _apply(marks, self._pending[scan])
                self._store.save(self.scans[scan], names, marks)
            except (OSError, ValueError) as error:
                self.failure = str(error)
            else:
                self.marks[scan] = marks
                del self._pending[scan]


def _apply(marks: Marks, changes: Changes) -> None:
    for name, mark in changes.items():
        if mark is None:
            marks.pop(name, None)
        else:
            marks[name] = mark
