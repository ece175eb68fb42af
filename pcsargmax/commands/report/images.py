"""What `pcsargmax report` does with runs on images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pcsargmax.commands.shared.evaluation_options import parse_thresholds

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyImageRun


def are_images(runs: Sequence[Any]) -> bool:
    """Whether runs are of images.

    Raises:
        ValueError: one of images and one of clouds.
    """
    modalities = {run.modality for run in runs}
    if len(modalities) > 1:
        raise ValueError("--against needs a run of the same kind: one is on images, the other on clouds")
    return modalities == {"image"}


def report_images(
    runs: Sequence[AnyImageRun],
    split: str,
    out: Path | None,
    *,
    images: int,
    data: Path | None,
    thresholds: str,
    symmetry: str,
    seed: int,
) -> None:
    """Measure one run or two, write the page, and print its path; the arguments are options of `report`."""
    from pcsargmax.commands.shared.progress import progress_bars
    from pcsargmax.visualize.report.images.write import check_alike, measure_image_run, write_image_report

    if symmetry != "none":
        raise ValueError("--symmetry only applies to detectors on clouds, got a run on images; leave it out")
    check_alike(*runs)
    if thresholds and runs[0].target == "surface":
        raise ValueError("--thresholds only applies to keypoints, got a run on slices; leave it out")
    options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
    opened = runs if data is None else [run.with_data(data) for run in runs]
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)  # what fails here must not fail after the evaluation
    names = [run.folder.resolve().name for run in opened]
    with progress_bars() as bars:
        found = [
            measure_image_run(run, split, seed=seed, progress=partial(bars.update, f"evaluating {name}"), **options)
            for run, name in zip(opened, names, strict=True)
        ]
    first, *others = found
    name = "-against-".join([first.metrics["split"], *names[1:]])
    path = out or opened[0].folder / f"report-{name}.html"
    against = others[0] if others else None
    typer.echo(write_image_report(first, path, against=against, images=images, seed=seed))
