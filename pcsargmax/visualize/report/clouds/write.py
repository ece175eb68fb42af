"""The report of a run on clouds."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path

from pcsargmax.settings.common import method_name
from pcsargmax.visualize.page.clouds import CLOUDS
from pcsargmax.visualize.page.shapes import page_data
from pcsargmax.visualize.report.assembly import SHAPES, TITLES, Layout, about_run, assemble
from pcsargmax.visualize.report.clouds import detector, discovery
from pcsargmax.visualize.report.clouds.run import RunReport


def write_report(
    report: RunReport,
    path: str | Path,
    *,
    against: RunReport | None = None,
    shapes: int = SHAPES,
    written: datetime.datetime | None = None,
    seed: int = 0,
) -> Path:
    """Write the report of a run as one HTML file that needs no network, whole or not at all.

    Args:
        report: of the run, see `measure_run`.
        path: the .html file.
        against: of a second run on the same shapes, which stands beside the first everywhere.
        shapes: how many are shown in three dimensions; see `chosen_shapes`.
        written: when; None: now.
        seed: of the bootstrap of differences between runs.

    Raises:
        ValueError: runs that cannot be compared, see `base.comparable`, or `shapes` below 1.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> from pcsargmax.visualize.report import measure_run, write_report
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> write_report(measure_run(run), "report.html", shapes=2).name
        'report.html'
    """
    unit = report.predictions[0].unit_text if report.predictions else "file units"
    layout = Layout(
        parts=discovery if report.is_discovery else detector,
        about=_about,
        method=_method,
        data=partial(page_data, truth_name="annotations" if report.is_discovery else "truth"),
        viewer=CLOUDS,
        note=f"Errors beside the pictures are in {unit}.",
        common="Differences, pictures and the table of shapes are of those; other figures and curves are of each run's "
        "own.",
        titles=TITLES,
    )
    return assemble(path, report, against, layout, count=shapes, written=written, seed=seed)


def _method(run: RunReport) -> str:
    return method_name(run.metrics["objective"], run.metrics["settings"]["num_samples"])


def _about(run: RunReport) -> dict[str, str]:
    metrics, settings = run.metrics, run.metrics["settings"]
    samples = f", {settings['num_samples']} samples" if metrics["objective"] == "sampling" else ""
    network, seconds = f"backbone {settings['backbone']}", metrics["seconds_per_cloud"]
    return about_run(run, f"{metrics['objective']}{samples}", network, f"{1e3 * seconds:.0f} ms a shape")
