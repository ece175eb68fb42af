"""The tables of a detector's report that have a row a keypoint or a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.visualize.report.clouds.run import Runs
from pcsargmax.visualize.report.differences import common_shapes, keypoint_differences, rows_of, values_of
from pcsargmax.visualize.report.parts import Cell, Scores, heading, keypoint_cell, number_cell, shape_cell, table
from pcsargmax.visualize.report.results import Results, metric_keys, middle_pck, results_of, unit_text


def keypoint_errors_of(results: Results) -> dict[str, dict[str, np.ndarray]]:
    """Of each run, (K,) each: "mean" error, the ends of its interval "low" and "high", "median", "count", "sure".

    The last are the number of shapes that have the keypoint, and its mean confidence on these; NaN where unknown.
    """
    found = {}
    for run, metrics in results.items():
        errors, confidence = values_of(metrics, "errors"), values_of(metrics, "confidence")
        known = ~np.isnan(errors)
        count = known.sum(axis=0).astype(np.float64)
        total = torch.from_numpy(np.where(known, errors, 0))
        low, high = bootstrap_interval(total, torch.from_numpy(known.astype(np.float64)))
        per = np.where(count > 0, count, np.nan)
        found[run] = {
            "mean": total.sum(dim=0).numpy() / per,
            "low": low.numpy(),
            "high": high.numpy(),
            "median": np.array(
                [np.median(e[k]) if k.any() else np.nan for e, k in zip(errors.T, known.T, strict=True)]
            ),
            "count": count,
            "sure": np.where(known, confidence, 0).sum(axis=0) / per,
        }
    return found


def keypoint_tables(runs: Runs, seed: int = 0) -> str:
    """A row a keypoint: how often it is there, errors, PCK, confidence; of two runs their difference too."""
    results = results_of(runs)
    rows, labels, first = keypoint_errors_of(results), list(results), next(iter(results.values()))
    shown = [middle_pck(first)] if len(labels) > 1 else metric_keys(first, "pck")
    difference = _differences(results, seed) if len(labels) > 1 else None
    columns = ["keypoint", "on shapes", *(heading("mean error", label) for label in labels)]
    columns += [*(["difference"] if difference else []), *(heading("median", label) for label in labels)]
    columns += [heading(key.upper(), label) for key in shown for label in labels]
    columns += [heading("mean confidence", label) for label in labels]
    lines = []
    for k, name in enumerate(first["keypoint_names"]):
        line = [keypoint_cell(k, name), _count_cell(rows[labels[0]]["count"][k], first["expectation"]["num_models"])]
        line += [number_cell(row["mean"][k], "length", row["low"][k], row["high"][k]) for row in rows.values()]
        if difference is not None:
            apart, low, high = (one[k] for one in difference)
            line.append(number_cell(apart, "length", low, high, signed=True))
        line += [number_cell(row["median"][k], "length") for row in rows.values()]
        line += [number_cell(_pck(results[label], key, k), "share") for key in shown for label in labels]
        lines.append([*line, *(number_cell(row["sure"][k], "share") for row in rows.values())])
    note = f"; difference: {labels[0]} − {labels[1]} on the same shapes" if difference else ""
    caption = f"Keypoints; errors in {unit_text(first)}, 95 % intervals over shapes{note}. Headings sort."
    return table(columns, lines, caption=caption, name="per-keypoint", sortable=True)


def shape_table(runs: Runs, scores: Scores, picks: Sequence[int | None]) -> str:
    """A row a shape, worst first, with a way to its picture where it has one."""
    labels, first = list(runs), next(iter(runs.values()))
    place = {name: row for row, name in enumerate(first.metrics["shapes"]["model_id"])}
    errors, confidence = values_of(first.metrics, "errors"), values_of(first.metrics, "confidence")
    columns = ["shape", "keypoints", *(heading("mean error", label) for label in labels)]
    columns += ["difference"] if len(labels) > 1 else []
    columns += [heading(text, labels[0]) for text in ("largest error", "of keypoint", "mean confidence")]
    lines = []
    for number, one in enumerate(first.predictions):
        mine = errors[place[one.name]]
        known = ~np.isnan(mine)
        means = [scores.values[label][number] for label in labels]
        line = [shape_cell(one.name, picks[number]), Cell(str(known.sum()), sort=int(known.sum()))]
        line += [number_cell(mean, "length") for mean in means]
        if len(means) == 2:
            apart = None if means[0] is None or means[1] is None else means[0] - means[1]
            line.append(number_cell(apart, "length", signed=True))
        lines.append([*line, *_worst_cells(mine, confidence[place[one.name]], first.metrics["keypoint_names"])])
    lines.sort(key=lambda line: 1.0 if line[2].sort is None else -float(line[2].sort))
    caption = f"Shapes, worst first; errors in {unit_text(first.metrics)}. Headings sort, names lead to the picture."
    return table(columns, lines, caption=caption, name="per-shape", sortable=True)


def _worst_cells(errors: np.ndarray, confidence: np.ndarray, names: Sequence[str]) -> list[Cell]:
    """The largest error of a shape, the keypoint that it is of, and the mean confidence."""
    known = ~np.isnan(errors)
    if not known.any():
        return [Cell("–")] * 3
    worst = int(np.nanargmax(errors))
    sure = number_cell(float(confidence[known].mean()), "share")
    return [number_cell(errors[worst], "length"), Cell(names[worst], sort=names[worst]), sure]


def _count_cell(count: float, total: int) -> Cell:
    return Cell(f"{count:.0f} of {total}", sort=count)


def _pck(metrics: Mapping[str, Any], key: str, k: int) -> float | None:
    """PCK of one keypoint."""
    row = metric_keys(metrics, "pck").index(key)
    value: float | None = metrics["expectation"]["pck_per_keypoint"][row][k]
    return value


def _differences(results: Results, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference of two runs and the ends of its interval, (K,) each, on the shapes that both have."""
    first, second = results.values()
    names = common_shapes(first, second)
    errors = (values_of(one, "errors", rows_of(one, names)) for one in (first, second))
    return keypoint_differences(*errors, seed=seed)
