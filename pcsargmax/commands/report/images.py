"""What `pcsargmax report` does with runs on images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from pcsargmax.commands.report.page import write_page
    from pcsargmax.visualize.report.images.write import check_alike, measure_image_run, write_image_report

    if symmetry != "none":
        raise ValueError("--symmetry only applies to detectors on clouds, got a run on images; leave it out")
    check_alike(*runs)
    if thresholds and runs[0].target == "surface":
        raise ValueError("--thresholds only applies to keypoints, got a run on slices; leave it out")
    options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
    measure = partial(measure_image_run, split=split, seed=seed, **options)
    write_page(runs, data, out, measure, partial(write_image_report, images=images, seed=seed))
