"""The curves of a training in a report, of the logs that it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.visualize.palette import keypoint_color
from pcsargmax.visualize.report.charts import chart, line
from pcsargmax.visualize.training_log import Curves, measured, read_log


def training_charts(logs: Mapping[str, Sequence[Path]]) -> list[dict[str, Any]]:
    """What training logged, over the epochs; columns that differ in train/val or in a threshold share a chart.

    Args:
        logs: the name of a run to its CSV logs, in the order in which they were written.
    """
    found = {name: read_logs(files) for name, files in logs.items()}
    panels: dict[str, dict[str, None]] = {}
    for curves in found.values():
        for column in curves:
            panels.setdefault(measured(column), {})[column] = None
    return [
        _training_chart(f"chart-training-{number}", title, [*columns], found)
        for number, (title, columns) in enumerate(sorted(panels.items(), key=lambda item: item[0] != "loss"))
    ]


def _training_chart(
    name: str, title: str, columns: list[str], found: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    ends, every = [], []
    for place, (run, curves) in enumerate(found.items()):
        for number, column in enumerate(columns):
            if column not in curves:
                continue
            epochs, values = np.array(curves[column]).T
            label = ", ".join(part for part in (run, column if len(columns) > 1 else "") if part)
            color = keypoint_color(place if len(found) > 1 else number)
            look = {"color": color, "dash": ("solid", "dash", "dot", "dashdot")[number % 4], "width": 2}
            mode = "lines" if len(epochs) > 30 else "lines+markers"
            traces.append(
                line(label or column, 0, epochs, values, line=look, mode=mode, hovertemplate="epoch %{x}: %{y:.4g}")
            )
            values = values[np.isfinite(values)]
            if len(values):
                ends.append(f"{label or column} from {values[0]:.3g} to {values[-1]:.3g}")
            every += values.tolist()
    words = title.replace("_", " ")
    logarithmic = bool(every) and min(every) > 0 and max(every) > 30 * min(every)
    axis = {"title": words, "type": "log", "exponentformat": "power", "dtick": 1} if logarithmic else {"title": words}
    return chart(
        name,
        words,
        "By epoch of the training" + ("; logarithmic scale." if logarithmic else "."),
        f"{words} over the training: {'; '.join(ends) or 'no finite number'}.",
        traces,
        x="epoch",
        y=axis,
    )


def read_logs(files: Sequence[Path]) -> Curves:
    """(epoch, value) pairs of each column of Lightning's CSV logs; of a resumed run the later log wins.

    Raises:
        ValueError: a cell that is no number; the message names file and line.
    """
    curves: dict[str, dict[float, float]] = {}
    for file in files:
        for column, points in read_log(file, "epoch")[0].items():
            curves.setdefault(column, {}).update(points)
    return {column: sorted(values.items()) for column, values in curves.items()}
