"""What a report says of surfaces found in slices, by one run or by two on the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.visualize.report.differences import compared, keypoint_differences
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.images.charts import each_chart, image_error_chart, share_chart
from pcsargmax.visualize.report.images.run import ImageReports
from pcsargmax.visualize.report.parts import (
    Card,
    Scores,
    Summary,
    Table,
    heading,
    keypoint_cell,
    number_cell,
    seen_warnings,
    told,
)
from pcsargmax.visualize.report.results import results_of
from pcsargmax.visualize.report.rows import (
    difference_note,
    figure_card,
    item_table,
    mean_of,
    optional,
    run_rows,
    worst_cells,
)


def shape_scores(runs: ImageReports) -> Scores:
    """The mean error of each slice; None where nothing is annotated."""
    values = {label: optional(mean_of(run.values("errors"))) for label, run in runs.items()}
    unit = next(iter(runs.values())).metrics["unit"]
    return Scores(f"mean error in {unit}", "length", True, values)


def summary(runs: ImageReports) -> Summary:
    """What was found, in one sentence, what is to be kept in mind, and cards."""
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
    results = results_of(runs)
    cards = [
        figure_card("MAD", results, "surfaces", "mad", "length", unit),
        figure_card("its deviation", results, "surfaces", "std", "length", f"{unit}, over subjects"),
    ]
    if all(run.within for run in runs.values()):
        held = [number_cell(run.within[0], "share") for run in runs.values()]
        note = "of the columns; 68.3 % if the error is Gaussian"
        cards.append(Card("true row within 1 σ", list(runs), held, note))
    return Summary(text, seen_warnings(results, "images"), cards)


def metric_tables(runs: ImageReports) -> list[Table]:
    """MAD and its deviation, and how far the deviation of the maps can be trusted."""
    unit = next(iter(runs.values())).metrics["unit"]
    rows = [
        [*row, *(number_cell(share, "share") for share in run.within or (None, None))]
        for row, run in zip(
            run_rows(results_of(runs), [("surfaces", key, "length") for key in ("mad", "std")]),
            runs.values(),
            strict=True,
        )
    ]
    columns = ["", "MAD", "deviation over subjects", "true row within 1 σ", "within 2 σ"]
    return [Table(columns, rows, f"Mean absolute distance (MAD), {unit}")]


def difference_table(runs: ImageReports, seed: int = 0) -> Table | None:
    """How far the first run is from the second on the same slices."""
    labels, reports = list(runs), list(runs.values())
    means = [torch.from_numpy(mean_of(one.values("errors"))) for one in reports]
    statistics: list[Statistic] = [
        ratio_statistic(mean.nan_to_num(nan=0.0), (~mean.isnan()).double()) for mean in means
    ]
    found = [compared("mean error of a slice", "length", True, statistics, len(means[0]), seed)]
    note = ". Slices of one subject err together, so that the interval is too narrow"
    return differences_told(found, (labels[0], labels[1]), "slices", note)


def keypoint_tables(runs: ImageReports, seed: int = 0) -> list[Table]:
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
    note = difference_note(labels, "slices")
    caption = f"Surfaces, {first.metrics['unit']}; bias: positive is too far down{note}. Headings sort."
    return [Table(columns, lines, caption, "per-keypoint", sortable=True)]


def shape_table(runs: ImageReports, scores: Scores, picks: Sequence[int | None]) -> Table:
    """A row a slice, worst first, with a way to its picture where it has one."""
    first = next(iter(runs.values()))
    errors = first.values("errors")
    return item_table(
        "slice",
        first.item_names,
        scores,
        picks,
        f"Slices, worst first; {first.metrics['unit']}. Headings sort, names lead to the picture.",
        score="mean error",
        more=("largest error", "of surface"),
        cells=lambda n: worst_cells(errors[n], first.names),
    )


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
