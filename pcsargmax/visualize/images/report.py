"""One self-contained HTML file that says how good a run on images is: figures, curves, keypoints, images to look at."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcsargmax.visualize.images import report_keypoints, report_surfaces
from pcsargmax.visualize.images.page import IMAGES
from pcsargmax.visualize.images.page_images import images_data
from pcsargmax.visualize.images.report_runs import (
    ImageReport,
    ImageReports,
    check_alike,
    comparable,
    labels_of,
    measure_image_run,
    method_of,
)
from pcsargmax.visualize.page import save_page
from pcsargmax.visualize.page_shapes import PageScores
from pcsargmax.visualize.report.parts import Scores, chart_boxes, facts, navigation, section, table, warning
from pcsargmax.visualize.report.shape_charts import shape_chart
from pcsargmax.visualize.report.training import training_charts
from pcsargmax.visualize.report.write import SHAPES, chosen_shapes, settings_list, version_text

__all__ = ["ImageReport", "check_alike", "measure_image_run", "method_of", "write_image_report"]

_TITLES = {
    "metrics": "Figures",
    "shapes": "Images",
    "curves": "Curves",
    "every-keypoint": "Every keypoint",
    "every-shape": "Every image",
    "training": "Training",
    "settings": "Settings",
}


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
    runs: ImageReports = {"": report}
    unlike = ""
    if against is not None:
        evaluated = len(report.image_names), len(against.image_names)
        report, against = comparable(report, against)
        unlike = _unlike(evaluated, len(report.image_names))
        runs = dict(zip(labels_of(report, against), (report, against), strict=True))
    parts: Any = report_surfaces if report.surfaces else report_keypoints
    scores = parts.shape_scores(runs)
    first, *_ = scores.values.values()
    shown = chosen_shapes(first, images, low_is_best=scores.low_is_best)
    place = {number: row for row, number in enumerate(shown)}
    picks = [place.get(number) for number in range(len(first))]
    charts = {
        "curves": parts.curves(runs),
        "every-shape": shape_chart(scores, report.image_names, picks),
        "training": training_charts({label: run.logs for label, run in runs.items()}),
    }
    boxes = {name: chart_boxes(some) for name, some in charts.items()}
    differences = "" if against is None else parts.difference_table(runs, seed)
    inside = {
        "metrics": f'<div class="tables">{differences}{parts.metric_tables(runs)}</div>\n',
        "curves": boxes["curves"],
        "every-keypoint": parts.keypoint_tables(runs, seed),
        "every-shape": boxes["every-shape"] + parts.shape_table(runs, scores, picks),
        "training": boxes["training"],
        "settings": settings_list(runs),  # type: ignore[arg-type]  # they have their settings at the same place
    }
    titles = {name: _title_of(name, report) for name in _TITLES if inside.get(name, "shapes")}
    sections = {name: section(name, _title_of(name, report), text) for name, text in inside.items()}
    now = written or datetime.datetime.now().astimezone()
    return save_page(
        path,
        _title(runs),
        _data(runs, scores, shown),
        head=_head(runs, now) + unlike + parts.summary(runs) + navigation(titles),
        before=sections.pop("metrics") + _images_heading(len(shown), scores, _title_of("shapes", report)),
        after="".join(sections.values()),
        charts=[chart for some in charts.values() for chart in some],
        viewer=IMAGES,
    )


def _title_of(name: str, report: ImageReport) -> str:
    return _TITLES[name].replace("keypoint", "surface") if report.surfaces else _TITLES[name]


def _data(runs: ImageReports, scores: Scores, shown: Sequence[int]) -> dict[str, Any]:
    """What the viewer of images shows."""
    report, *others = runs.values()
    labels = list(runs)
    values = scores.values[labels[0]]
    return images_data(
        [report.predictions[i] for i in shown],
        others=[others[0].predictions[i] for i in shown] if others else None,
        titles=(labels[0], labels[1]) if others else ("", ""),
        scores=PageScores(
            scores.name, [values[i] for i in shown], low_is_best=scores.low_is_best, share=scores.kind == "share"
        ),
    )


def _title(runs: ImageReports) -> str:
    first = next(iter(runs.values()))
    data = Path(first.metrics["data"]).name
    return f"{data}: {' against '.join(runs) if len(runs) > 1 else first.name}"


def _head(runs: ImageReports, written: datetime.datetime) -> str:
    """Which runs, which data, when."""
    first = next(iter(runs.values()))
    data = f"{first.metrics['data']}, split {first.metrics['split']!r}"
    when = f"{written:%Y-%m-%d %H:%M}{version_text()}"
    if len(runs) == 1:
        return facts({"Data": data, **_told(first), "Report": when})
    columns = [_told(run) for run in runs.values()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return facts({"Data": data, "Report": when}) + table(["", *runs], rows, caption="The two runs", name="runs")


def _told(run: ImageReport) -> dict[str, str]:
    """What a reader must know of a run."""
    metrics, settings = run.metrics, run.metrics["settings"]
    network = f"U-Net {settings['channels']}" if run.surfaces else f"{settings['trunk']}, input {settings['size']}"
    return {
        "Run": run.name,
        "Training": f"{method_of(settings)}, {network}, {settings['epochs']} epochs, seed {settings['seed']}",
        "Checkpoint": metrics["checkpoint"] + (f", {run.trained:%Y-%m-%d %H:%M}" if run.trained else ""),
        "Time": f"{1e3 * metrics['seconds_per_image']:.0f} ms an image",
    }


def _images_heading(shown: int, scores: Scores, title: str) -> str:
    label, values = next(iter(scores.values.items()))
    total = len(values)
    text = f"All {total} images" if shown == total else f"{shown} of {total} images: worst half, best quarter, others"
    by = f"{scores.name}{f' of {label}' if label else ''}"
    beside = "Errors beside the pictures are in pixels."
    return f'<h2>{title}</h2>\n<p class="note">{text}, by their {html.escape(by)}. {beside}</p>\n'


def _unlike(evaluated: tuple[int, int], common: int) -> str:
    """A warning where two runs were not measured on the same images."""
    if evaluated == (common, common):
        return ""
    return warning(
        f"the runs were evaluated on {evaluated[0]} and {evaluated[1]} images, {common} of which both have. "
        "Differences, pictures, curves and the table of images are of those; other figures are of each run's own."
    )
