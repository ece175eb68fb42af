"""What a report is made of, for runs on clouds and on images: the evaluation of a run, and its predictions."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from pcsargmax.visualize.training_log import log_files


class Traits(NamedTuple):
    """What two runs must have in common to stand beside each other in a report.

    Attributes:
        run: name of the run.
        kind: of the run, such as "detector".
        what: "keypoints" or "surfaces".
        names: of these; None where every run has names of its own.
        unit: of the errors; None where it is not known before the evaluation.
    """

    run: str
    kind: str
    what: str
    names: list[str] | None
    unit: str | None

    def check(self, other: Traits) -> None:
        """Raise ValueError if the other run differs in kind, names or unit."""
        if self.kind != other.kind:
            raise ValueError(f"against: expected a {self.kind} as {self.run} is, got {other.run}, a {other.kind}")
        if self.names != other.names:
            mine, names = (", ".join(one.names or []) for one in (self, other))
            raise ValueError(
                f"against: expected the {self.what} of {self.run}, {mine}; got those of {other.run}, {names}"
            )
        if self.unit != other.unit:
            told = f"expected errors in the unit of {self.run}, {self.unit!r}"
            raise ValueError(f"against: {told}; got {other.unit!r}, that of {other.run}")


@dataclass(frozen=True, eq=False)
class Report:
    """The result of an evaluation, and what was predicted in it.

    Attributes:
        name: of the run.
        metrics: what `evaluate` of the run returned.
        predictions: of the shapes or images of the evaluation.
        logs: CSV logs of the training, in the order in which they were written.
        trained: when the checkpoint was written; None where nobody knows.
    """

    #: What these are called, in the plural.
    items: ClassVar[str]

    name: str
    metrics: Mapping[str, Any]
    predictions: Sequence[Any]
    logs: tuple[Path, ...] = ()
    trained: datetime.datetime | None = None

    @property
    def item_names(self) -> list[str]:
        """Of the shapes or images, in the order of the predictions."""
        raise NotImplementedError

    @property
    def traits(self) -> Traits:
        """What a second run must share."""
        raise NotImplementedError

    def only(self, names: Sequence[str]) -> Self:
        """The report with some of its shapes or images; its figures stay those of all."""
        raise NotImplementedError

    def check_items(self, other: Self) -> None:
        """Raise ValueError if shapes or images of the same names are not the same; nothing is known of them here."""


R = TypeVar("R", bound=Report)


def described(run: Any) -> dict[str, Any]:
    """The fields of a report that do not depend on the evaluation of the run."""
    return {
        "name": run.folder.resolve().name,
        "logs": log_files(run.folder),
        "trained": datetime.datetime.fromtimestamp(run.checkpoint.stat().st_mtime).astimezone(),
    }


def comparable(first: R, second: R) -> tuple[R, R]:
    """The same reports with the shapes or images that both have, in the same order.

    Raises:
        ValueError: runs with different traits, without a common item, or with other items of the same names.
    """
    first.traits.check(second.traits)
    known = set(second.item_names)
    common = [name for name in first.item_names if name in known]
    if not common:
        raise ValueError(
            f"against: expected a run on the same {first.items}, {first.name} and {second.name} have none in common"
        )
    mine, other = first.only(common), second.only(common)
    mine.check_items(other)
    return mine, other
