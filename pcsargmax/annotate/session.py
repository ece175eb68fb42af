"""An annotator's session over several scans: what was put where, and every step there and back. No window here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pcsargmax.annotate.ledger import Changes, Ledger, Store
from pcsargmax.annotate.marks import ABSENT, Mark, Proposal

State = Literal["placed", "absent", "proposed", "unset"]


@dataclass(frozen=True)
class Edit:
    """One step that can be taken back: names of one scan, with what was said of each before and after."""

    scan: int
    before: Changes
    after: Changes


class Session:
    """Landmarks of several scans, edited one scan and one landmark at a time.

    Of each scan and name the session knows a mark, that the landmark is absent, or nothing yet (unset). Every
    change is saved at once, can be undone, and undoing goes to where the change was. What a model proposes is
    not a mark until it is confirmed, and never saved.

    Args:
        scans: the files, at least one.
        names: the landmarks in their order; those that the store and `begin` know are added if `open_names`.
        store: what was saved before is read from it, and changes are saved in it.
        begin: for some scans the marks to begin with where nothing was saved before; saved at once.
        open_names: landmarks may be added as one goes.

    Attributes:
        names: the landmarks in their order.
        others: landmarks that store and `begin` know besides; they stay as they are.
        scan: number of the scan that is shown; the first that is not complete to begin with.
        slot: number of the landmark that is put next; None where there are no landmarks yet.
        message: what happened last, in words.

    Raises:
        ValueError: no scans, a name that is empty or comes twice, or no names where none can be added.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.annotate import Mark, Session, SlicerStore
        >>> scans = [Path("B03.ply"), Path("B04.ply")]
        >>> session = Session(scans, ["cusp", "root"], SlicerStore())
        >>> session.place(Mark((1, 2, 3)))  # saved at once, in B03.mrk.json
        >>> session.name, session.counts()
        ('root', {'placed': 1, 'absent': 0, 'proposed': 0, 'unset': 1})
        >>> session.undo(), session.name
        (True, 'cusp')
    """

    def __init__(
        self,
        scans: Sequence[Path],
        names: Sequence[str],
        store: Store,
        *,
        begin: Mapping[Path, Mapping[str, Mark]] | None = None,
        open_names: bool = False,
    ) -> None:
        if not scans:
            raise ValueError("scans: expected at least one file, got none")
        begin = begin or {}
        self.scans, self.open_names = tuple(scans), open_names
        self._ledger = Ledger(self.scans, store, begin)
        known = dict.fromkeys([*store.names(self.scans), *(name for marks in begin.values() for name in marks)])
        further = [name for name in known if name not in names]
        self.names: list[str] = []
        for name in [*names, *(further if open_names else [])]:
            self._append(name)
        if not self.names and not open_names:
            raise ValueError("names: expected at least one landmark, got none")
        self.others = () if open_names else tuple(further)
        self._proposals: list[dict[str, Proposal]] = [{} for _ in self.scans]
        self._undo: list[Edit] = []
        self._redo: list[Edit] = []
        self.message = ""
        self.scan = next((i for i in range(len(self.scans)) if not self.complete(i)), 0)
        self.slot: int | None = 0 if self.names else None
        self._settle()
        self.save()

    @property
    def path(self) -> Path:
        """The file that is shown."""
        return self.scans[self.scan]

    @property
    def name(self) -> str | None:
        """The landmark that is put next; None where there are none."""
        return None if self.slot is None else self.names[self.slot]

    @property
    def marks(self) -> Mapping[str, Mark]:
        """What is said of the scan that is shown."""
        return self._ledger.marks[self.scan]

    @property
    def proposals(self) -> Mapping[str, Proposal]:
        """What a model says of the landmarks of this scan that nothing else is said of."""
        return {
            name: proposal
            for name, proposal in self._proposals[self.scan].items()
            if name in self.names and name not in self.marks
        }

    def state(self, name: str, scan: int | None = None) -> State:
        """How things stand with a landmark on a scan (None: the one that is shown)."""
        number = self.scan if scan is None else scan
        mark = self._ledger.marks[number].get(name)
        if mark is not None:
            return "absent" if mark.position is None else "placed"
        return "proposed" if name in self._proposals[number] else "unset"

    def complete(self, scan: int) -> bool:
        """Whether something is said of every landmark of a scan."""
        return bool(self.names) and all(name in self._ledger.marks[scan] for name in self.names)

    def untouched(self, scan: int) -> bool:
        """Whether nothing is said of any landmark of a scan."""
        return not any(name in self._ledger.marks[scan] for name in self.names)

    def counts(self, scan: int | None = None) -> dict[State, int]:
        """How many landmarks of a scan are in each state."""
        counts: dict[State, int] = {"placed": 0, "absent": 0, "proposed": 0, "unset": 0}
        for name in self.names:
            counts[self.state(name, scan)] += 1
        return counts

    # Where one stands

    def select(self, landmark: int | str) -> None:
        """Go to a landmark by its number or name."""
        number = self.names.index(landmark) if isinstance(landmark, str) and landmark in self.names else landmark
        if not isinstance(number, int) or not 0 <= number < len(self.names):
            known = ", ".join(self.names) or "none"
            raise ValueError(f"landmark: expected one of {known} or a number below {len(self.names)}, got {landmark!r}")
        self.slot = number

    def step(self, by: int) -> None:
        """Go to another landmark, round and round."""
        if self.slot is not None:
            self.slot = (self.slot + by) % len(self.names)

    def next_unset(self) -> bool:
        """Go to the next landmark of this scan that nothing is said of; whether there is one."""
        start = -1 if self.slot is None else self.slot
        turn = [(start + 1 + i) % len(self.names) for i in range(len(self.names))]
        found = next((i for i in turn if self.names[i] not in self.marks), None)
        if found is None:
            self.message = "every landmark of this scan is set"
            return False
        self.slot = found
        return True

    def step_scan(self, by: int) -> None:
        """Go to another file, as far as there are any, and to its first landmark that is unset."""
        self.show(min(max(self.scan + by, 0), len(self.scans) - 1))

    def next_incomplete(self) -> bool:
        """Go to the next file with unset landmarks; whether there is one."""
        turn = [(self.scan + 1 + i) % len(self.scans) for i in range(len(self.scans))]
        found = next((i for i in turn if not self.complete(i)), None)
        if found is None:
            self.message = "every file is complete"
            return False
        self.show(found)
        return True

    def show(self, scan: int) -> None:
        """Go to a file by its number, and to its first landmark that is unset."""
        if not 0 <= scan < len(self.scans):
            raise ValueError(f"scan: expected 0 to {len(self.scans) - 1}, got {scan}")
        if scan != self.scan:
            self.scan, self.message, self.slot = scan, "", (0 if self.names else None)
            self._settle()

    # What is said

    def add_name(self, name: str) -> None:
        """Add a landmark at the end and go to it.

        Raises:
            ValueError: names are fixed, or the name is empty or there already.
        """
        if not self.open_names:
            raise ValueError(f"name: the landmarks are fixed ({', '.join(self.names)}), got {name!r}")
        self._append(name)
        self.slot = len(self.names) - 1
        self.message = f"{self.names[-1]} added"

    def place(self, mark: Mark, landmark: str | None = None) -> None:
        """Put a landmark, or move it. Without a name it is the current one, and the next unset one becomes current.

        Raises:
            ValueError: an unknown name, or there is no landmark yet.
        """
        name = self._current(landmark)
        told = "absent" if mark.position is None else ("moved" if self.state(name) == "placed" else "placed")
        self._change({name: mark}, f"{name} {told}")
        if landmark is None:
            self._go_on()

    def absent(self) -> None:
        """Say that the scan does not have the current landmark, and go on to the next unset one."""
        self.place(ABSENT)

    def clear(self) -> None:
        """Take back what is said of the current landmark."""
        name = self._current(None)
        self._change({name: None}, f"{name} cleared")

    def clear_all(self) -> None:
        """Take back what is said of every landmark of this scan."""
        self._change(dict.fromkeys(self.names), "all cleared")

    def offer(self, scan: int, proposals: Mapping[str, Proposal]) -> None:
        """Take a model's proposals for a scan; names that the session does not have are passed over."""
        self._proposals[scan] = dict(proposals)

    def confirm(self) -> None:
        """Take the proposal for the current landmark as its mark, and go on to the next unset one."""
        name = self._current(None)
        if name not in self.proposals:
            self.message = f"nothing is proposed for {name}"
            return
        self._change({name: self.proposals[name].mark}, f"{name} confirmed")
        self._go_on()

    def confirm_all(self) -> None:
        """Take every proposal of this scan whose landmark is unset, as one step."""
        taken = {name: one.mark for name, one in self.proposals.items()}
        self.message = "nothing is proposed"
        self._change(taken, f"{len(taken)} confirmed")
        self._settle()

    def undo(self) -> bool:
        """Take back the last change, wherever it was, and go there; whether there was one."""
        return self._travel(self._undo, self._redo, back=True)

    def redo(self) -> bool:
        """Make the last change that was taken back again, and go there; whether there was one."""
        return self._travel(self._redo, self._undo, back=False)

    def save(self) -> None:
        """Save what a failed save has left over."""
        self._ledger.save(self.names)

    @property
    def unsaved(self) -> int:
        """How many files have changes that could not be saved."""
        return self._ledger.unsaved

    @property
    def failure(self) -> str:
        """Why they could not be saved; "" where everything is."""
        return self._ledger.failure

    def _append(self, name: str) -> None:
        name = str(name).strip()
        if not name or name in self.names:
            raise ValueError(f"name: expected a landmark that is not yet among {self.names}, got {name!r}")
        self.names.append(name)

    def _current(self, landmark: str | None) -> str:
        name = self.name if landmark is None else landmark
        if name is None:
            raise ValueError("landmark: there is none yet; add a name first")
        if name not in self.names:
            raise ValueError(f"landmark: expected one of {', '.join(self.names)}, got {name!r}")
        return name

    def _settle(self) -> None:
        """Stay on an unset landmark, or go to the first of this scan, if there is one."""
        unset = [i for i, name in enumerate(self.names) if name not in self.marks]
        if unset and self.slot not in unset:
            self.slot = unset[0]

    def _go_on(self) -> None:
        told = self.message
        if self.next_unset():
            self.message = told

    def _change(self, after: Changes, told: str) -> None:
        edit = Edit(self.scan, {name: self.marks.get(name) for name in after}, dict(after))
        if edit.before != edit.after:
            self._undo.append(edit)
            self._redo.clear()
            self.message = told
            self._ledger.change(edit.scan, edit.after, self.names)

    def _travel(self, taken: list[Edit], given: list[Edit], *, back: bool) -> bool:
        if not taken:
            self.message = f"nothing to {'undo' if back else 'redo'}"
            return False
        edit = taken.pop()
        given.append(edit)
        self.scan = edit.scan
        self.select(next(iter(edit.after)))
        self.message = f"{'undone' if back else 'redone'}: {', '.join(edit.after)}"
        self._ledger.change(edit.scan, edit.before if back else edit.after, self.names)
        return True
