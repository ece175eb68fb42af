"""The tables that reports of several kinds share: a row a figure, a row a run, a row a keypoint, a row an item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.visualize.report.parts import (
    NONE,
    Card,
    Cell,
    Kind,
    Scores,
    Table,
    figure_cell,
    heading,
    keypoint_cell,
    number_cell,
    run_cell,
    shape_cell,
)

#: Blocks of figures by the labels of their runs.
Blocks = Mapping[str, Mapping[str, Any]]


def figure_card(title: str, blocks: Blocks, block: str, key: str, kind: Kind, beside: str = "") -> Card:
    """A card of one figure of each run."""
    return Card(title, list(blocks), [figure_cell(one[block], key, kind) for one in blocks.values()], beside)


def figure_table(blocks: Blocks, wanted: Sequence[tuple[str, str, str, Kind]], caption: str) -> Table:
    """A row a figure that a run has, a column a run.

    Args:
        blocks: of the runs.
        wanted: name, block, key and kind of each figure.
        caption: of the table.
    """
    rows = [
        [Cell(name), *(figure_cell(one[block], key, kind) for one in blocks.values())]
        for name, block, key, kind in wanted
    ]
    shown = [row for row in rows if any(cell.text != NONE for cell in row[1:])]
    return Table(["", *(label or "value" for label in blocks)], shown, caption)


def run_rows(blocks: Blocks, columns: Sequence[tuple[str, str, Kind]]) -> list[list[Cell]]:
    """A row a run, a column a figure: block, key and kind."""
    return [
        [
            run_cell("" if label else "this run", label, number),
            *(figure_cell(values[block], key, kind) for block, key, kind in columns),
        ]
        for number, (label, values) in enumerate(blocks.items())
    ]


def mean_of(values: np.ndarray) -> np.ndarray:
    """(M,) mean of what is known in each row of (M, K); NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def optional(values: np.ndarray) -> list[float | None]:
    """The numbers of a row, None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]


def error_rows(errors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Of each run, (K,) each: "mean" error, the ends of its interval "low" and "high", "median", "count".

    Args:
        errors: (M, K) of each run, NaN where unknown. The count is the number of rows that have the keypoint.
    """
    found = {}
    for label, values in errors.items():
        known = ~np.isnan(values)
        total = torch.from_numpy(np.where(known, values, 0))
        low, high = bootstrap_interval(total, torch.from_numpy(known.astype(np.float64)))
        middle = [np.median(e[k]) if k.any() else np.nan for e, k in zip(values.T, known.T, strict=True)]
        found[label] = {
            "mean": mean_of(values.T),
            "low": low.numpy(),
            "high": high.numpy(),
            "median": np.array(middle),
            "count": known.sum(axis=0).astype(np.float64),
        }
    return found


def keypoint_table(
    names: Sequence[str],
    rows: Mapping[str, Mapping[str, Any]],
    more: Mapping[str, Kind],
    apart: Sequence[np.ndarray] | None,
    *,
    counted: tuple[str, int],
    error: str,
    caption: str,
) -> Table:
    """A row a keypoint: how often it is there, its mean error, of two runs their difference, and more.

    Args:
        names: K keypoint names.
        rows: of each run `error_rows`, and (K,) values under the headings in `more`.
        more: headings of further columns, one for each run, with their kinds.
        apart: difference of two runs and the ends of its interval, (K,) each; None of a single run.
        counted: heading of the count, and how many items there are.
        error: heading of the error.
        caption: of the table.
    """
    labels = list(rows)
    columns = ["keypoint", counted[0], *(heading(error, label) for label in labels)]
    columns += [*(["difference"] if apart else []), *(heading(text, label) for text in more for label in labels)]
    lines = []
    for k, name in enumerate(names):
        count = rows[labels[0]]["count"][k]
        line = [keypoint_cell(k, name), Cell(f"{count:.0f} of {counted[1]}", sort=count)]
        line += [number_cell(row["mean"][k], "length", row["low"][k], row["high"][k]) for row in rows.values()]
        if apart:
            difference, low, high = (one[k] for one in apart)
            line.append(number_cell(difference, "length", low, high, signed=True))
        line += [number_cell(row[text][k], kind) for text, kind in more.items() for row in rows.values()]
        lines.append(line)
    return Table(columns, lines, caption, "per-keypoint", sortable=True)


def difference_note(labels: Sequence[str], items: str) -> str:
    """What the column of differences is, for the caption of a table; nothing of a single run."""
    return f"; difference: {labels[0]} − {labels[1]} on the same {items}" if len(labels) > 1 else ""


def item_table(
    what: str,
    names: Sequence[str],
    scores: Scores,
    picks: Sequence[int | None],
    caption: str,
    *,
    score: str = "",
    counts: np.ndarray | None = None,
    more: Sequence[str] = (),
    cells: Callable[[int], list[Cell]] = lambda _: [],
    differences: bool = True,
) -> Table:
    """A row a shape or image, worst first, with a way to its picture where it has one.

    Args:
        what: an item is.
        names: of the items.
        scores: of the items, by the labels of the runs.
        picks: number of the picture of each item; None where it has none.
        caption: said after "worst first".
        score: heading of the score, if not its name.
        counts: how many keypoints each item has.
        more: headings of further columns, of the first run.
        cells: makes these of the number of an item.
        differences: whether two runs have a column of their difference.
    """
    labels, values = list(scores.values), list(scores.values.values())
    compared = differences and len(labels) > 1
    columns = [what, *(["keypoints"] if counts is not None else [])]
    columns += [*(heading(score or scores.name, label) for label in labels), *(["difference"] if compared else [])]
    lines = []
    for number, name in enumerate(names):
        line = [shape_cell(name, picks[number])]
        line += [] if counts is None else [Cell(str(counts[number]), sort=int(counts[number]))]
        found = [one[number] for one in values]
        line += [number_cell(value, scores.kind) for value in found]
        if compared:
            apart = None if found[0] is None or found[1] is None else found[0] - found[1]
            line.append(number_cell(apart, scores.kind, signed=True))
        lines.append([*line, *cells(number)])
    sign = -1 if scores.low_is_best else 1
    badness = [np.inf if value is None else sign * value for value in values[0]]
    order = sorted(range(len(lines)), key=badness.__getitem__)
    columns += [heading(text, labels[0]) for text in more]
    return Table(columns, [lines[row] for row in order], caption, "per-shape", sortable=True)


def worst_cells(errors: np.ndarray, names: Sequence[str], confidence: np.ndarray | None = None) -> list[Cell]:
    """The largest error of an item, the keypoint that it is of, and, if there is a confidence, its mean."""
    known = ~np.isnan(errors)
    if not known.any():
        return [Cell(NONE)] * (2 if confidence is None else 3)
    worst = int(np.nanargmax(errors))
    found = [number_cell(errors[worst], "length"), Cell(names[worst], sort=names[worst])]
    return found if confidence is None else [*found, number_cell(float(confidence[known].mean()), "share")]
