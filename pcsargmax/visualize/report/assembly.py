"""The page of a report, put together from its parts: the same for runs on clouds and on images."""

from __future__ import annotations

import datetime
import html
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcsargmax.settings.texts import as_texts
from pcsargmax.visualize.page.clouds import Viewer, save_page
from pcsargmax.visualize.page.shapes import PageScores
from pcsargmax.visualize.report.parts import Scores, chart_boxes, facts, navigation, section, table, warning
from pcsargmax.visualize.report.shape_charts import shape_chart
from pcsargmax.visualize.report.training import training_charts

#: Shapes or images that a report shows, if not told otherwise.
SHAPES = 200

#: The sections of a page in their order, of runs on clouds.
TITLES = {
    "metrics": "Figures",
    "shapes": "Shapes",
    "curves": "Curves",
    "every-keypoint": "Every keypoint",
    "every-shape": "Every shape",
    "training": "Training",
    "settings": "Settings",
}


class Layout(NamedTuple):
    """In what the report of one kind of runs differs from that of another.

    Attributes:
        parts: module with `summary`, `metric_tables`, `difference_table`, `curves`, `keypoint_tables`,
            `shape_scores` and `shape_table`, all of reports by their labels.
        items: what is looked at, in the plural: "shapes".
        names: of the items, in the order of the scores.
        about: what a reader must know of a report.
        method: of a report, in a word.
        data: what the viewer shows: of predictions, `others`, `titles` and `scores`.
        viewer: of the items.
        note: what errors beside the pictures are in.
        common: which parts of a page on two runs are of the items that both have, which are not.
        titles: of the sections, by the keys of `TITLES`.
    """

    parts: Any
    items: str
    names: Sequence[str]
    about: Callable[[Any], dict[str, str]]
    method: Callable[[Any], str]
    data: Callable[..., dict[str, Any]]
    viewer: Viewer
    note: str
    common: str
    titles: Mapping[str, str]


def assemble(
    path: str | Path,
    reports: Sequence[Any],
    layout: Layout,
    *,
    evaluated: Sequence[int],
    count: int,
    written: datetime.datetime | None,
    seed: int,
) -> Path:
    """Write the page of one report or of two on the same items, whole or not at all.

    Args:
        path: the .html file.
        reports: one, or two of the same items in the same order.
        layout: of their kind.
        evaluated: on how many items each was.
        count: how many items are shown; see `chosen_shapes`.
        written: when; None: now.
        seed: of the bootstrap of differences between runs.

    Raises:
        ValueError: `count` below 1.
    """
    labels = [""] if len(reports) == 1 else labels_of(reports, layout.method)
    runs = dict(zip(labels, reports, strict=True))
    parts = layout.parts
    scores: Scores = parts.shape_scores(runs)
    first, *_ = scores.values.values()
    shown = chosen_shapes(first, count, low_is_best=scores.low_is_best)
    place = {number: row for row, number in enumerate(shown)}
    picks = [place.get(number) for number in range(len(first))]
    charts = {
        "curves": parts.curves(runs),
        "every-shape": shape_chart(scores, layout.names, picks, layout.items),
        "training": training_charts({label: run.logs for label, run in runs.items()}),
    }
    boxes = {name: chart_boxes(some) for name, some in charts.items()}
    differences = parts.difference_table(runs, seed) if len(runs) > 1 else ""
    inside = {
        "metrics": f'<div class="tables">{differences}{parts.metric_tables(runs)}</div>\n',
        "curves": boxes["curves"],
        "every-keypoint": parts.keypoint_tables(runs, seed),
        "every-shape": boxes["every-shape"] + parts.shape_table(runs, scores, picks),
        "training": boxes["training"],
        "settings": _settings(runs),
    }
    titles = {name: title for name, title in layout.titles.items() if inside.get(name, "shapes")}
    sections = {name: section(name, layout.titles[name], text) for name, text in inside.items()}
    unlike = _unlike(evaluated, len(first), layout)
    return save_page(
        path,
        _title(runs),
        _data(runs, scores, shown, layout),
        head=_head(runs, written, layout) + unlike + parts.summary(runs) + navigation(titles),
        before=sections.pop("metrics") + _heading(len(shown), scores, layout),
        after="".join(sections.values()),
        charts=[chart for some in charts.values() for chart in some],
        viewer=layout.viewer,
    )


def labels_of(reports: Sequence[Any], method: Callable[[Any], str]) -> list[str]:
    """What two runs are called beside one another: by what they differ in, as briefly as can be."""
    names = [one.name for one in reports]
    for pair in ([method(one) for one in reports], names):
        if pair[0] != pair[1]:
            return pair
    return [f"{names[0]} (first)", f"{names[1]} (second)"]


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


def _data(runs: Mapping[str, Any], scores: Scores, shown: Sequence[int], layout: Layout) -> dict[str, Any]:
    """What the viewer shows."""
    report, *others = runs.values()
    label, *other_labels = runs
    values = scores.values[label]
    return layout.data(
        [report.predictions[i] for i in shown],
        others=[others[0].predictions[i] for i in shown] if others else None,
        titles=(label, *other_labels) if other_labels else ("", ""),
        scores=PageScores(
            scores.name, [values[i] for i in shown], low_is_best=scores.low_is_best, share=scores.kind == "share"
        ),
    )


def _title(runs: Mapping[str, Any]) -> str:
    first = next(iter(runs.values()))
    data = Path(first.metrics["data"]).name
    return f"{data}: {' against '.join(runs) if len(runs) > 1 else first.name}"


def _head(runs: Mapping[str, Any], written: datetime.datetime | None, layout: Layout) -> str:
    """Which runs, which data, when."""
    first = next(iter(runs.values()))
    data = f"{first.metrics['data']}, split {first.metrics['split']!r}"
    when = f"{written or datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}{_version()}"
    if len(runs) == 1:
        return facts({"Data": data, **layout.about(first), "Report": when})
    columns = [layout.about(run) for run in runs.values()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return facts({"Data": data, "Report": when}) + table(["", *runs], rows, caption="The two runs", name="runs")


def about_run(run: Any, method: str, network: str, time: str) -> dict[str, str]:
    """What a reader must know of a report: `Layout.about`, of its method, network and time in words."""
    settings = run.metrics["settings"]
    return {
        "Run": run.name,
        "Training": f"{method}, {network}, {settings['epochs']} epochs, seed {settings['seed']}",
        "Checkpoint": run.metrics["checkpoint"] + (f", {run.trained:%Y-%m-%d %H:%M}" if run.trained else ""),
        "Time": time,
    }


def _version() -> str:
    """That of the package, nothing where it is used without being installed."""
    try:
        return f", pcsargmax {version('pcsargmax')}"
    except PackageNotFoundError:
        return ""


def _heading(shown: int, scores: Scores, layout: Layout) -> str:
    label, values = next(iter(scores.values.items()))
    total, items = len(values), layout.items
    text = f"All {total} {items}" if shown == total else f"{shown} of {total} {items}: worst half, best quarter, others"
    by = html.escape(f"{scores.name}{f' of {label}' if label else ''}")
    return f'<h2>{layout.titles["shapes"]}</h2>\n<p class="note">{text}, by their {by}. {layout.note}</p>\n'


def _unlike(evaluated: Sequence[int], common: int, layout: Layout) -> str:
    """A warning where two runs were not measured on the same items."""
    if all(number == common for number in evaluated):
        return ""
    first, second = evaluated
    return warning(
        f"the runs were evaluated on {first} and {second} {layout.items}, {common} of which both have. {layout.common}"
    )


def _settings(runs: Mapping[str, Any]) -> str:
    """Every setting of the training; of two runs, those that differ stand out and come first."""
    listed = [as_texts(run.metrics["settings"]) for run in runs.values()]
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
