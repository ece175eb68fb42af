"""The page of a report, put together from its parts."""

from __future__ import annotations

import datetime
import html
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from pcsargmax.visualize.page import save_page
from pcsargmax.visualize.page_shapes import PageScores, page_data
from pcsargmax.visualize.report import detector, discovery
from pcsargmax.visualize.report.parts import Scores, chart_boxes, facts, navigation, section, table, warning
from pcsargmax.visualize.report.run import RunReport, Runs, comparable, labels_of
from pcsargmax.visualize.report.shape_charts import shape_chart
from pcsargmax.visualize.report.training import training_charts

#: Shapes that a report shows in three dimensions, if not told otherwise.
SHAPES = 200

_TITLES = {
    "metrics": "Figures",
    "shapes": "Shapes",
    "curves": "Curves",
    "every-keypoint": "Every keypoint",
    "every-shape": "Every shape",
    "training": "Training",
    "settings": "Settings",
}


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
        ValueError: runs that cannot be compared, see `run.comparable`, or `shapes` below 1.
    """
    runs: Runs = {"": report}
    unlike = ""
    if against is not None:
        evaluated = len(report.predictions), len(against.predictions)
        report, against = comparable(report, against)
        unlike = _unlike(evaluated, len(report.predictions))
        runs = dict(zip(labels_of(report, against), (report, against), strict=True))
    parts = discovery if report.is_discovery else detector
    scores = parts.shape_scores(runs)
    first, *_ = scores.values.values()
    shown = chosen_shapes(first, shapes, low_is_best=scores.low_is_best)
    place = {number: row for row, number in enumerate(shown)}
    picks = [place.get(number) for number in range(len(first))]
    charts = {
        "curves": parts.curves(runs),
        "every-shape": shape_chart(scores, [one.name for one in report.predictions], picks),
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
        "settings": settings_list(runs),
    }
    titles = {name: title for name, title in _TITLES.items() if inside.get(name, "shapes")}
    sections = {name: section(name, _TITLES[name], text) for name, text in inside.items()}
    now = written or datetime.datetime.now().astimezone()
    return save_page(
        path,
        _title(runs),
        _data(runs, scores, shown),
        head=_head(runs, now) + unlike + parts.summary(runs) + navigation(titles),
        before=sections.pop("metrics") + _shapes_heading(len(shown), scores),
        after="".join(sections.values()),
        charts=[chart for some in charts.values() for chart in some],
    )


def chosen_shapes(scores: Sequence[float | None], count: int, *, low_is_best: bool = True) -> list[int]:
    """Which shapes are shown where there are more than can be: the worst half, the best quarter, others between.

    Args:
        scores: one a shape; those without any count as the best.
        count: how many, at least 1.
        low_is_best: whether a low score is a good one.

    Returns:
        Numbers of shapes, worst first.

    Raises:
        ValueError: `count` below 1.
    """
    if count < 1:
        raise ValueError(f"shapes must be at least 1, got {count}")
    sign = -1.0 if low_is_best else 1.0
    rank = [np.inf if score is None else sign * score for score in scores]
    order = sorted(range(len(rank)), key=rank.__getitem__)
    if len(order) <= count:
        return order
    worst = (count + 1) // 2
    best = min(count - worst, max(count // 4, 1))
    rest, others = len(order) - worst - best, count - worst - best
    between = [worst + (2 * i + 1) * rest // (2 * others) for i in range(others)]
    return [order[i] for i in [*range(worst), *between, *range(len(order) - best, len(order))]]


def _data(runs: Runs, scores: Scores, shown: Sequence[int]) -> dict[str, object]:
    """What page.js draws."""
    report, *others = runs.values()
    label, *other_labels = runs
    values = scores.values[label]
    return page_data(
        [report.predictions[i] for i in shown],
        others=[others[0].predictions[i] for i in shown] if others else None,
        titles=(label, *other_labels) if other_labels else ("", ""),  # type: ignore[arg-type]
        scores=PageScores(
            scores.name, [values[i] for i in shown], low_is_best=scores.low_is_best, share=scores.kind == "share"
        ),
        truth_name="annotations" if report.is_discovery else "truth",
    )


def _title(runs: Runs) -> str:
    first = next(iter(runs.values()))
    data = Path(first.metrics["data"]).name
    return f"{data}: {' against '.join(runs) if len(runs) > 1 else first.name}"


def _head(runs: Runs, written: datetime.datetime) -> str:
    """Which runs, which data, when."""
    first = next(iter(runs.values()))
    data = f"{first.metrics['data']}, split {first.metrics['split']!r}"
    when = f"{written:%Y-%m-%d %H:%M}{version_text()}"
    if len(runs) == 1:
        return facts({"Data": data, **_told(first), "Report": when})
    columns = [_told(run) for run in runs.values()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return facts({"Data": data, "Report": when}) + table(["", *runs], rows, caption="The two runs", name="runs")


def _told(run: RunReport) -> dict[str, str]:
    """What a reader must know of a run."""
    metrics, settings = run.metrics, run.metrics["settings"]
    samples = f", {settings['num_samples']} samples" if metrics["objective"] == "sampling" else ""
    return {
        "Run": run.name,
        "Training": f"{metrics['objective']}{samples}, backbone {settings['backbone']}, {settings['epochs']} epochs, "
        f"seed {settings['seed']}",
        "Checkpoint": metrics["checkpoint"] + (f", {run.trained:%Y-%m-%d %H:%M}" if run.trained else ""),
        "Time": f"{1e3 * metrics['seconds_per_cloud']:.0f} ms a shape",
    }


def version_text() -> str:
    """That of the package, nothing where it is used without being installed."""
    try:
        return f", pcsargmax {version('pcsargmax')}"
    except PackageNotFoundError:
        return ""


def _shapes_heading(shown: int, scores: Scores) -> str:
    label, values = next(iter(scores.values.items()))
    total = len(values)
    text = f"All {total} shapes" if shown == total else f"{shown} of {total} shapes: worst half, best quarter, others"
    by = f"{scores.name}{f' of {label}' if label else ''}"
    return (
        f'<h2>{_TITLES["shapes"]}</h2>\n<p class="note">{text}, by their {html.escape(by)}. Errors beside the pictures '
        "are in the units of the files.</p>\n"
    )


def _unlike(evaluated: tuple[int, int], common: int) -> str:
    """A warning where two runs were not measured on the same shapes."""
    if evaluated == (common, common):
        return ""
    return warning(
        f"the runs were evaluated on {evaluated[0]} and {evaluated[1]} shapes, {common} of which both have. "
        "Differences, pictures and the table of shapes are of those; other figures and curves are of each run's own."
    )


def settings_list(runs: Mapping[str, RunReport]) -> str:
    """Every setting of the training; of two runs, those that differ stand out and come first."""
    listed = [run.metrics["settings"] for run in runs.values()]
    names = list(dict.fromkeys(name for settings in listed for name in settings))
    differs = {name: len({str(settings.get(name)) for settings in listed}) > 1 for name in names}
    names.sort(key=lambda name: not differs[name])
    inside = table(
        ["setting", *(label or "value" for label in runs)],
        [[name, *(str(settings.get(name, "–")) or "–" for settings in listed)] for name in names],
        caption="Settings of the training" + (f"; {sum(differs.values())} differ" if len(runs) > 1 else ""),
        marked=[differs[name] for name in names],
    )
    return f"<details><summary>All {len(names)} settings</summary>{inside}</details>\n"
