"""The tables of a detector's report that have a row a keypoint or a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pcsargmax.visualize.report.clouds.run import Runs
from pcsargmax.visualize.report.differences import common_shapes, keypoint_differences, rows_of, values_of
from pcsargmax.visualize.report.parts import Cell, Kind, Scores, Table, number_cell
from pcsargmax.visualize.report.results import Results, metric_keys, middle_pck, results_of, unit_text
from pcsargmax.visualize.report.rows import (
    difference_note,
    error_rows,
    item_table,
    keypoint_table,
    mean_of,
    worst_cells,
)


def keypoint_errors_of(results: Results) -> dict[str, dict[str, np.ndarray]]:
    """Of each run `error_rows` of its errors."""
    return error_rows({label: values_of(metrics, "errors") for label, metrics in results.items()})


def keypoint_tables(runs: Runs, seed: int = 0) -> list[Table]:
    """A row a keypoint: how often it is there, errors, PCK, confidence; of two runs their difference too."""
    results = results_of(runs)
    rows, first = keypoint_errors_of(results), next(iter(results.values()))
    more: dict[str, Kind] = {"median": "length"}
    if all("lengths" in metrics for metrics in results.values()):
        more[_in_files(first)] = "length"
    for key in [middle_pck(first)] if len(results) > 1 else metric_keys(first, "pck"):
        more[key.upper()] = "share"
    more["mean confidence"] = "share"
    for label, metrics in results.items():
        errors, confidence = values_of(metrics, "errors"), values_of(metrics, "confidence")
        shares = zip(metric_keys(metrics, "pck"), metrics["expectation"]["pck_per_keypoint"], strict=True)
        rows[label] |= {key.upper(): values for key, values in shares}
        rows[label]["mean confidence"] = mean_of(np.where(np.isnan(errors), np.nan, confidence).T)
        if "lengths" in metrics:
            rows[label][_in_files(metrics)] = mean_of(_lengths(metrics).T)
    note = difference_note([*results], "shapes")
    table = keypoint_table(
        first["keypoint_names"],
        rows,
        more,
        _differences(results, seed) if len(results) > 1 else None,
        counted=("on shapes", first["expectation"]["num_models"]),
        error="mean error",
        caption=f"Keypoints; errors in {unit_text(first)}, 95 % intervals over shapes{note}. Headings sort.",
    )
    return [table]


def shape_table(runs: Runs, scores: Scores, picks: Sequence[int | None]) -> Table:
    """A row a shape, worst first, with a way to its picture where it has one."""
    first = next(iter(runs.values()))
    metrics, rows = first.metrics, rows_of(first.metrics, first.item_names)
    errors, confidence = values_of(metrics, "errors", rows), values_of(metrics, "confidence", rows)
    known = "lengths" in metrics
    means = mean_of(_lengths(metrics)[rows]) if known else np.empty(0)

    def cells(number: int) -> list[Cell]:
        found = worst_cells(errors[number], metrics["keypoint_names"], confidence[number])
        return [number_cell(means[number], "length"), *found] if known else found

    return item_table(
        "shape",
        first.item_names,
        scores,
        picks,
        f"Shapes, worst first; errors in {unit_text(metrics)}. Headings sort, names lead to the picture.",
        counts=(~np.isnan(errors)).sum(axis=1),
        more=(*([_in_files(metrics)] if known else []), "largest error", "of keypoint", "mean confidence"),
        cells=cells,
    )


def _in_files(metrics: Mapping[str, Any]) -> str:
    """The heading of mean errors in the unit of the files."""
    return f"mean error ({metrics['lengths']['unit']})"


def _lengths(metrics: Mapping[str, Any]) -> np.ndarray:
    """(M, K) errors in the unit of the files, NaN where absent."""
    scale = np.array(metrics["lengths"]["diagonal"]) / np.array(metrics["shapes"]["diagonal"])
    return values_of(metrics, "errors") * scale[:, None]


def _differences(results: Results, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference of two runs and the ends of its interval, (K,) each, on the shapes that both have."""
    first, second = results.values()
    names = common_shapes(first, second)
    errors = (values_of(one, "errors", rows_of(one, names)) for one in (first, second))
    return keypoint_differences(*errors, seed=seed)
