"""The report of a run on images."""

from __future__ import annotations

import datetime
from pathlib import Path

from pcsargmax.settings.texts import as_texts
from pcsargmax.visualize.page.images import IMAGES
from pcsargmax.visualize.page.pictures import images_data
from pcsargmax.visualize.report.assembly import SHAPES, TITLES, Layout, about_run, assemble
from pcsargmax.visualize.report.images import keypoints as report_keypoints
from pcsargmax.visualize.report.images import surfaces as report_surfaces
from pcsargmax.visualize.report.images.run import ImageReport, check_alike, comparable, measure_image_run, method_of

__all__ = ["ImageReport", "check_alike", "measure_image_run", "method_of", "write_image_report"]

_TITLES = TITLES | {"shapes": "Images", "every-shape": "Every image"}


def write_image_report(
    report: ImageReport,
    path: str | Path,
    *,
    against: ImageReport | None = None,
    images: int = SHAPES,
    written: datetime.datetime | None = None,
    seed: int = 0,
) -> Path:
    """Write the report of a run on images as one HTML file that needs no network, whole or not at all.

    Args:
        report: of the run, see `measure_image_run`.
        path: the .html file.
        against: of a second run on the same images, which stands beside the first everywhere.
        images: how many are shown: of more, the worst half, the best quarter and others.
        written: when; None: now.
        seed: of the bootstrap of differences between runs.

    Raises:
        ValueError: runs that cannot be compared, see `comparable`, or `images` below 1.
    """
    reports = [report] if against is None else [report, against]
    evaluated = [len(one.image_names) for one in reports]
    if against is not None:
        reports = list(comparable(report, against))
    layout = Layout(
        parts=report_surfaces if report.surfaces else report_keypoints,
        items="images",
        names=reports[0].image_names,
        about=_about,
        method=lambda one: method_of(one.metrics["settings"]),
        data=images_data,
        viewer=IMAGES,
        note="Errors beside the pictures are in pixels.",
        common="Differences, pictures, curves and the table of images are of those; other figures are of each run's "
        "own.",
        titles=_TITLES | ({"every-keypoint": "Every surface"} if report.surfaces else {}),
    )
    return assemble(path, reports, layout, evaluated=evaluated, count=images, written=written, seed=seed)


def _about(run: ImageReport) -> dict[str, str]:
    metrics, settings = run.metrics, as_texts(run.metrics["settings"])
    network = f"U-Net {settings['channels']}" if run.surfaces else f"{settings['trunk']}, input {settings['size']}"
    return about_run(run, method_of(settings), network, f"{1e3 * metrics['seconds_per_image']:.0f} ms an image")
