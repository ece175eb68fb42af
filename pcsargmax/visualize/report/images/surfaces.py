"""What a report says of surfaces found in slices, by one run or by two on the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.visualize.report.differences import compared, keypoint_differences
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.images.charts import image_error_chart, share_chart
from pcsargmax.visualize.report.images.parts import each_chart, mean_of
from pcsargmax.visualize.report.images.run import ImageReports
from pcsargmax.visualize.report.parts import (
    NONE,
    Cell,
    Kind,
    Scores,
    card,
    cards,
    figure_cell,
    heading,
    keypoint_cell,
    number_cell,
    paragraph,
    run_name,
    seen_warnings,
    shape_cell,
    table,
    told,
)
from pcsargmax.visualize.report.results import results_of

__all__ = [
    "curves",
    "difference_table",
    "keypoint_tables",
    "metric_tables",
    "shape_scores",
    "shape_table",
    "summary",
]


def shape_scores(runs: ImageReports) -> Scores:
    """The mean error of each slice; None where nothing is annotated."""
    means = {label: mean_of(run.values("errors")) for label, run in runs.items()}
    values = {label: [None if np.isnan(x) else float(x) for x in mean] for label, mean in means.items()}
    unit = next(iter(runs.values())).metrics["unit"]
    return Scores(f"mean error in {unit}", "length", True, values)


def summary(runs: ImageReports) -> str:
    """The first lines of the page: what was found, in a sentence, what is to be kept in mind, and cards."""
    first = next(iter(runs.values()))
    found, unit = first.metrics["surfaces"], first.metrics["unit"]
    each = [
        f"{told(run.metrics['surfaces']['mad'], 'length')}{f' ({label})' if label else ''}"
        for label, run in runs.items()
    ]
    text = (
        f"On {found['num_slices']:.0f} slices of {found['num_subjects']:.0f} subjects, the mean absolute distance of "
        f"{len(first.names)} surfaces is {' and '.join(each)} {unit}. Figures have 95 % intervals over subjects."
    )
    labels, every = list(runs), [run.metrics["surfaces"] for run in runs.values()]

    def of(key: str, kind: Kind = "length") -> list[Cell]:
        return [figure_cell(one, key, kind) for one in every]

    items = [
        card("MAD", labels, of("mad"), unit),
        card("its deviation", labels, of("std"), f"{unit}, over subjects"),
    ]
    if all(run.within for run in runs.values()):
        held = [number_cell(run.within[0], "share") for run in runs.values()]
        items.append(card("true row within 1 σ", labels, held, "of the columns; 68.3 % if the error is Gaussian"))
    return f"{paragraph(text)}\n{seen_warnings(results_of(runs), 'images')}{cards(items)}"


def metric_tables(runs: ImageReports) -> str:
    """MAD and its deviation, and how far the deviation of the maps can be trusted."""
    first = next(iter(runs.values()))
    rows = []
    for number, (label, run) in enumerate(runs.items()):
        name = "" if label else "this run"
        cells = [figure_cell(run.metrics["surfaces"], key, "length") for key in ("mad", "std")]
        cells += [number_cell(share, "share") for share in run.within or (None, None)]
        rows.append([Cell(label or name, html=run_name(name, label, number).removeprefix(", ")), *cells])
    columns = ["", "MAD", "deviation over subjects", "true row within 1 σ", "within 2 σ"]
    return table(columns, rows, caption=f"Mean absolute distance (MAD), {first.metrics['unit']}")


def difference_table(runs: ImageReports, seed: int = 0) -> str:
    """How far the first run is from the second on the same slices."""
    labels, reports = list(runs), list(runs.values())
    means = [torch.from_numpy(mean_of(one.values("errors"))) for one in reports]
    statistics: list[Statistic] = [
        ratio_statistic(mean.nan_to_num(nan=0.0), (~mean.isnan()).double()) for mean in means
    ]
    found = [compared("mean error of a slice", "length", True, statistics, len(means[0]), seed)]
    note = ". Slices of one subject err together, so that the interval is too narrow"
    return differences_told(found, (labels[0], labels[1]), "slices", note)


def keypoint_tables(runs: ImageReports, seed: int = 0) -> str:
    """A row a surface: MAD and its deviation, bias, root mean square; of two runs their difference too."""
    labels, first = list(runs), next(iter(runs.values()))
    apart = None
    if len(labels) > 1:
        apart = keypoint_differences(*(run.values("errors") for run in runs.values()), seed=seed)
    keys = {"mad": "MAD", "std": "deviation", "bias": "bias", "rmse": "RMSE"}
    columns = ["surface", *(heading(text, label) for text in keys.values() for label in labels)]
    columns += ["difference"] if apart else []
    lines = []
    for s, name in enumerate(first.names):
        line = [keypoint_cell(s, name)]
        line += [
            number_cell(run.metrics["surfaces"][f"{key}_per_surface"][s], "length", signed=key == "bias")
            for key in keys
            for run in runs.values()
        ]
        if apart is not None:
            difference, low, high = (one[s] for one in apart)
            line.append(number_cell(difference, "length", low, high, signed=True))
        lines.append(line)
    note = f"; difference: {labels[0]} − {labels[1]} on the same slices" if apart else ""
    caption = f"Surfaces, {first.metrics['unit']}; bias: positive is too far down{note}. Headings sort."
    return table(columns, lines, caption=caption, name="per-keypoint", sortable=True)


def shape_table(runs: ImageReports, scores: Scores, picks: Sequence[int | None]) -> str:
    """A row a slice, worst first, with a way to its picture where it has one."""
    labels, first = list(runs), next(iter(runs.values()))
    errors = first.values("errors")
    columns = ["slice", *(heading("mean error", label) for label in labels)]
    columns += ["difference"] if len(labels) > 1 else []
    columns += [heading(text, labels[0]) for text in ("largest error", "of surface")]
    lines = []
    for number, name in enumerate(first.image_names):
        means = [scores.values[label][number] for label in labels]
        line = [shape_cell(name, picks[number]), *(number_cell(mean, "length") for mean in means)]
        if len(means) == 2:
            apart = None if means[0] is None or means[1] is None else means[0] - means[1]
            line.append(number_cell(apart, "length", signed=True))
        if np.isfinite(errors[number]).any():
            worst = int(np.nanargmax(errors[number]))
            line += [number_cell(errors[number, worst], "length"), Cell(first.names[worst], sort=first.names[worst])]
        else:
            line += [Cell(NONE)] * 2
        lines.append(line)
    lines.sort(key=lambda line: 1.0 if line[1].sort is None else -float(line[1].sort))
    caption = f"Slices, worst first; {first.metrics['unit']}. Headings sort, names lead to the picture."
    return table(columns, lines, caption=caption, name="per-shape", sortable=True)


def curves(runs: ImageReports) -> list[dict[str, Any]]:
    """Errors of surfaces and of slices."""
    first = next(iter(runs.values()))
    unit = first.metrics["unit"]
    every = {label: run.values("errors") for label, run in runs.items()}
    largest = max((float(np.nanquantile(values, 0.98)) for values in every.values()), default=1.0)
    at = np.linspace(0, 1.05 * largest, 61)
    return [
        share_chart("chart-pck", "Errors of the surfaces", "surfaces of slices", every, at, unit, factor=1.0),
        image_error_chart({label: mean_of(values) for label, values in every.items()}, "mean error", unit),
        each_chart(runs, unit),
    ]
