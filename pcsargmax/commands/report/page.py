"""What `pcsargmax report` does alike with runs on clouds and on images: measuring them and writing the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer


def write_page(
    runs: Sequence[Any], data: Path | None, out: Path | None, measure: Callable[..., Any], write: Callable[..., Path]
) -> None:
    """Measure one run or two, write the page, and print its path.

    Args:
        runs: one, or two to set side by side.
        data: where their data are now, if they have moved.
        out: the file; None is one in the folder of the first run.
        measure: makes the report of a run, given `progress`.
        write: writes the page, given the first report, the path and, as `against`, the second report or None.
    """
    from pcsargmax.commands.shared.progress import progress_bars

    if data is not None:
        runs = [run.with_data(data) for run in runs]
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)  # what fails here must not fail after the evaluation
    names = [run.folder.resolve().name for run in runs]
    with progress_bars() as bars:
        reports = [
            measure(run, progress=partial(bars.update, f"evaluating {name}"))
            for run, name in zip(runs, names, strict=True)
        ]
    first, *others = reports
    name = "-against-".join([Path(first.metrics["split"]).stem, *names[1:]])
    path = out or runs[0].folder / f"report-{name}.html"
    typer.echo(write(first, path, against=others[0] if others else None))
