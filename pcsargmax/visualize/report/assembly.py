"""The page of a report, put together from its parts: the same for runs on clouds and on images."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcsargmax.settings.texts import as_texts
from pcsargmax.visualize.page.clouds import Viewer, save_page
from pcsargmax.visualize.page.shapes import PageScores
from pcsargmax.visualize.report.base import Report, comparable
from pcsargmax.visualize.report.parts import RUNS, Cell, Scores, Section, Table
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
        about: what a reader must know of a report.
        method: of a report, in a word.
        data: what the viewer shows: of predictions, `others`, `titles` and `scores`.
        viewer: of the items.
        note: what errors beside the pictures are in.
        common: which parts of a page on two runs are of the items that both have, which are not.
        titles: of the sections, by the keys of `TITLES`.
    """

    parts: Any
    about: Callable[[Any], dict[str, str]]
    method: Callable[[Any], str]
    data: Callable[..., dict[str, Any]]
    viewer: Viewer
    note: str
    common: str
    titles: Mapping[str, str]


def assemble(
    path: str | Path,
    report: Report,
    against: Report | None,
    layout: Layout,
    *,
    count: int,
    written: datetime.datetime | None,
    seed: int,
) -> Path:
    """Write the page of one report, or of two beside each other, whole or not at all.

    Args:
        path: the .html file.
        report: of a run.
        against: of a second run on the same shapes or images; None: there is none.
        layout: of their kind.
        count: how many shapes or images are shown; see `chosen_shapes`.
        written: when; None: now.
        seed: of the bootstrap of differences between runs.

    Raises:
        ValueError: reports that cannot be compared, see `base.comparable`, or `count` below 1.
    """
    reports = [report] if against is None else list(comparable(report, against))
    evaluated = [len(one.item_names) for one in (report, against) if one is not None]
    names = reports[0].item_names
    labels = [""] if len(reports) == 1 else labels_of(reports, layout.method)
    runs = dict(zip(labels, reports, strict=True))
    parts = layout.parts
    scores: Scores = parts.shape_scores(runs)
    first, *_ = scores.values.values()
    shown = chosen_shapes(first, count, low_is_best=scores.low_is_best)
    place = {number: row for row, number in enumerate(shown)}
    picks = [place.get(number) for number in range(len(first))]
    differences = [parts.difference_table(runs, seed)] if len(runs) > 1 else []
    sections = {
        "metrics": Section(tables=[*filter(None, differences), *parts.metric_tables(runs)]),
        "curves": Section(parts.curves(runs)),
        "every-keypoint": Section(tables=parts.keypoint_tables(runs, seed)),
        "every-shape": Section(
            shape_chart(scores, names, picks, report.items), [parts.shape_table(runs, scores, picks)]
        ),
        "training": Section(training_charts({label: run.logs for label, run in runs.items()})),
        "settings": Section(tables=[_settings(runs)]),
    }
    sections = {name: part for name, part in sections.items() if part.charts or part.tables}
    return save_page(
        path,
        _title(runs),
        _data(runs, scores, shown, layout),
        template="report/templates/report.html.j2",
        charts=[chart for part in sections.values() for chart in part.charts],
        viewer=layout.viewer,
        **_head(runs, written, layout),
        unlike=_unlike(evaluated, len(names), report.items, layout),
        summary=parts.summary(runs),
        titles={name: title for name, title in layout.titles.items() if name in sections or name == "shapes"},
        sections=sections,
        shown=_shown(len(shown), scores, report.items, layout),
        classes=RUNS,
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

    Example:
        >>> from pcsargmax.visualize.report import chosen_shapes
        >>> chosen_shapes([0.1, 0.5, 0.2, 0.4, 0.3, 0.9], count=4)  # the worst two, one between, the best
        [5, 1, 4, 0]
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


def _head(runs: Mapping[str, Any], written: datetime.datetime | None, layout: Layout) -> dict[str, Any]:
    """Which runs, which data, when: facts, and of two runs a table."""
    first = next(iter(runs.values()))
    data = f"{first.metrics['data']}, split {first.metrics['split']!r}"
    when = f"{written or datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}{_version()}"
    if len(runs) == 1:
        return {"facts": {"Data": data, **layout.about(first), "Report": when}, "about": None}
    columns = [layout.about(run) for run in runs.values()]
    rows = [[Cell(name), *(Cell(column[name]) for column in columns)] for name in columns[0]]
    return {"facts": {"Data": data, "Report": when}, "about": Table(["", *runs], rows, "The two runs", "runs")}


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


def _shown(shown: int, scores: Scores, items: str, layout: Layout) -> str:
    """Which items the viewer shows."""
    label, values = next(iter(scores.values.items()))
    total = len(values)
    text = f"All {total} {items}" if shown == total else f"{shown} of {total} {items}: worst half, best quarter, others"
    return f"{text}, by their {scores.name}{f' of {label}' if label else ''}. {layout.note}"


def _unlike(evaluated: Sequence[int], common: int, items: str, layout: Layout) -> str:
    """A warning where two runs were not measured on the same items."""
    if all(number == common for number in evaluated):
        return ""
    first, second = evaluated
    return f"the runs were evaluated on {first} and {second} {items}, {common} of which both have. {layout.common}"


def _settings(runs: Mapping[str, Any]) -> Table:
    """Every setting of the training; of two runs, those that differ stand out and come first."""
    listed = [as_texts(run.metrics["settings"]) for run in runs.values()]
    names = list(dict.fromkeys(name for settings in listed for name in settings))
    differs = {name: len({str(settings.get(name)) for settings in listed}) > 1 for name in names}
    names.sort(key=lambda name: not differs[name])
    return Table(
        ["setting", *(label or "value" for label in runs)],
        [[Cell(name), *(Cell(str(settings.get(name, "–")) or "–") for settings in listed)] for name in names],
        caption="Settings of the training" + (f"; {sum(differs.values())} differ" if len(runs) > 1 else ""),
        marked=range(sum(differs.values())),
    )
