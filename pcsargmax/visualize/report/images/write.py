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
from pcsargmax.visualize.report.images.run import ImageReport, check_alike, measure_image_run, method_of

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
    r"""Write the report of a run on images as one HTML file that needs no network, whole or not at all.

    Args:
        report: of the run, see `measure_image_run`.
        path: the .html file.
        against: of a second run on the same images, which stands beside the first everywhere.
        images: how many are shown: of more, the worst half, the best quarter and others.
        written: when; None: now.
        seed: of the bootstrap of differences between runs.

    Raises:
        ValueError: runs that cannot be compared, see `base.comparable`, or `images` below 1.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax import ImageSettings, train_images
        >>> from pcsargmax.visualize import measure_image_run, write_image_report
        >>> Path("dots").mkdir()
        >>> table = ["file,left_x,left_y,right_x,right_y"]
        >>> for number in range(10):
        ...     Image.new("RGB", (32, 32)).save(f"dots/{number}.png")
        ...     table.append(f"{number}.png,{5 + number},16,{15 + number},16")
        >>> _ = Path("dots/points.csv").write_text("\n".join(table))
        >>> settings = ImageSettings(data="./dots", trunk="tiny", deconv_channels=8, num_samples=2, epochs=1)
        >>> report = measure_image_run(train_images(settings, "runs/dots"))
        >>> write_image_report(report, "report.html", images=2).name
        'report.html'
    """
    layout = Layout(
        parts=report_surfaces if report.surfaces else report_keypoints,
        about=_about,
        method=lambda one: method_of(one.metrics["settings"]),
        data=images_data,
        viewer=IMAGES,
        note="Errors beside the pictures are in pixels.",
        common="Differences, pictures, curves and the table of images are of those; other figures are of each run's "
        "own.",
        titles=_TITLES | ({"every-keypoint": "Every surface"} if report.surfaces else {}),
    )
    return assemble(path, report, against, layout, count=images, written=written, seed=seed)


def _about(run: ImageReport) -> dict[str, str]:
    metrics, settings = run.metrics, as_texts(run.metrics["settings"])
    network = f"U-Net {settings['channels']}" if run.surfaces else f"{settings['trunk']}, input {settings['size']}"
    return about_run(run, method_of(settings), network, f"{1e3 * metrics['seconds_per_image']:.0f} ms an image")
