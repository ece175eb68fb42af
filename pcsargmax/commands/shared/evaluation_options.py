"""The options of the commands that open a run, so that they are worded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Split = Annotated[
    str, typer.Option(help="Split of the run's data set; of a detector 'test', of a discovery 'all' if not given.")
]
Data = Annotated[Path | None, typer.Option(help="Where the data are now, if they have moved since.")]
Thresholds = Annotated[
    str,
    typer.Option(help="In the run's unit: of PCK, 0.01,0.02,0.05 if not given; of a discovery of mIoU, 0.02,0.05,0.1."),
]
Symmetry = Annotated[
    str, typer.Option(help="Measure a detector up to annotated symmetries too: reflection, rotation or all; none.")
]
Copies = Annotated[
    int,
    typer.Option(
        help="Samples of each cloud that a detector looks at and averages; more are more precise, and slower."
    ),
]
Checkpoint = Annotated[str, typer.Option(help="best or last.")]
BootstrapSeed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read "0.01,0.05" as (0.01, 0.05)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"thresholds must be numbers with commas between, got {text!r}") from None


def check_copies(copies: int) -> None:
    """Raise ValueError for less than one copy."""
    if copies < 1:
        raise ValueError(f"--copies {copies}: expected a whole number of at least 1")


def check_once(runs: Sequence[Any]) -> None:
    """Raise ValueError where two opened runs are one checkpoint, which would stand beside itself or count twice."""
    files = [run.checkpoint.resolve() for run in runs]
    if twice := {str(run.folder) for run, file in zip(runs, files, strict=True) if files.count(file) > 1}:
        raise ValueError(f"runs named twice: {', '.join(sorted(twice))}")
