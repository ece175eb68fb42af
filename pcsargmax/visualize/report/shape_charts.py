"""Charts of keypoints and of shapes in a report; a click on a shape leads to its picture."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pcsargmax.visualize.page.shapes import short
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color, probability_scale, rgb_to_hex
from pcsargmax.visualize.report.charts import chart, line
from pcsargmax.visualize.report.parts import Scores


def keypoint_chart(rows: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str], unit: str) -> dict[str, Any]:
    """Mean error of each keypoint with its interval.

    Args:
        rows: the name of a run to its "mean", "low" and "high", (K,) each, NaN where unknown.
        names: K keypoint names.
        unit: of the errors, in words.
    """
    traces = [
        _keypoint_trace(number if len(rows) > 1 else None, name, values, names)
        for number, (name, values) in enumerate(rows.items())
    ]
    shown = next(iter(rows.values()))["mean"]
    extremes = "none is known"
    if np.isfinite(shown).any():
        worst, best = int(np.nanargmax(shown)), int(np.nanargmin(shown))
        extremes = f"largest {shown[worst]:.4f} of {names[worst]}, smallest {shown[best]:.4f} of {names[best]}"
    return chart(
        "chart-keypoints",
        "Error of each keypoint",
        "Mean error with its 95 % interval over shapes; the table below has the numbers.",
        f"Mean error of {len(names)} keypoints: {extremes}.",
        traces,
        x={"title": f"mean error ({unit})", "rangemode": "tozero"},
        y={"type": "category", "autorange": "reversed", "automargin": True, "dtick": 1},
        height=max(300, 90 + 22 * len(names)),
    )


def _keypoint_trace(
    number: int | None, name: str, values: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, Any]:
    """The errors of run `number`, in its colour; of a single run (None) in those of the keypoints."""
    mean, low, high = values["mean"], values["low"], values["high"]
    each = [keypoint_color(k) for k in range(len(names))]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name or "mean error",
        "y": list(names),
        "x": short(mean),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "thickness": 1.5,
            "width": 3,
            "array": short(np.nan_to_num(high - mean)),
            "arrayminus": short(np.nan_to_num(mean - low)),
            "color": "#5b5b66" if number is None else keypoint_color(number),
        },
        "marker": {
            "color": each if number is None else keypoint_color(number),
            "size": 9,
            "symbol": "diamond" if number else "circle",
        },
        "hovertemplate": "%{y}: %{x:.4f}",
    }


def shape_chart(
    scores: Scores, names: Sequence[str], picks: Sequence[int | None], items: str = "shapes"
) -> list[dict[str, Any]]:
    """The score of each shape: in order, of one run; of two runs, one against the other. A click shows the shape.

    Args:
        scores: of the shapes.
        names: of the shapes.
        picks: where each shape stands among those with a picture; None where it has none.
        items: what they are called, in the plural.
    """
    share = scores.kind == "share"
    values = [np.array(one, dtype=np.float64) * (100 if share else 1) for one in scores.values.values()]
    some = np.isfinite(np.stack(values)).all(axis=0)
    if some.sum() < 2:
        return []
    order = np.flatnonzero(some)[np.argsort(values[0][some], kind="stable")]
    points = {
        "type": "scatter",
        "mode": "markers",
        "customdata": [[picks[i], names[i]] for i in order],
        "marker": {"color": keypoint_color(0), "size": 7, "opacity": 0.75},
        "showlegend": False,
    }
    what = f"{scores.name} (%)" if share else scores.name
    draw = _one_run if len(values) == 1 else _two_runs
    return [draw(points, [one[order] for one in values], list(scores.values), what, ".1f" if share else ".4f", items)]


def _one_run(
    points: dict[str, Any], values: list[np.ndarray], labels: list[str], what: str, digits: str, items: str
) -> dict[str, Any]:
    (score,), item = values, items.removesuffix("s")
    hover = f"%{{customdata[1]}}<br>%{{y:{digits}}}<extra></extra>"
    low, middle, high = (format(score[i], digits) for i in (0, len(score) // 2, -1))
    return chart(
        "chart-shapes",
        f"Score of every {item}",
        f"A point for each {item}, in the order of the {what}. A click shows the {item}.",
        f"{what} of {len(score)} {items}, from {low} over {middle} in the middle to {high}.",
        [points | {"x": list(range(1, len(score) + 1)), "y": short(score), "hovertemplate": hover}],
        x=f"{items} in order",
        y={"title": what, "rangemode": "tozero"},
    )


def _two_runs(
    points: dict[str, Any], values: list[np.ndarray], labels: list[str], what: str, digits: str, items: str
) -> dict[str, Any]:
    (first, second), (mine, other), item = labels, values, items.removesuffix("s")
    low, high = float(min(mine.min(), other.min())), float(max(mine.max(), other.max()))
    low, high = (0.0 if low < high / 2 else low - 0.05 * (high - low)), (high + 0.05 * (high - low) or 1.0)
    gray = {"color": ABSENT_COLOR, "dash": "dot", "width": 2}
    equal = line("equal", 0, [low, high], [low, high], line=gray, hoverinfo="skip", showlegend=False)
    mine_told, other_told = (html.escape(label) for label in labels)
    hover = f"%{{customdata[1]}}<br>{mine_told} %{{y:{digits}}}, {other_told} %{{x:{digits}}}<extra></extra>"
    return chart(
        "chart-shapes",
        f"Score of every {item}",
        f"A point for each {item}: the {what} by both runs, equal on the dotted line. A click shows the {item}.",
        f"{what} of {len(mine)} {items} by both runs; that of {first} is the larger one on "
        f"{int((mine > other).sum())}, that of {second} on {int((mine < other).sum())}.",
        [equal, points | {"x": short(other), "y": short(mine), "hovertemplate": hover}],
        x={"title": f"{what}, {second}", "range": [low, high]},
        y={"title": f"{what}, {first}", "range": [low, high]},
    )


def agreement_chart(
    name: str, title: str, share: np.ndarray, keypoints: Sequence[str], annotations: Sequence[str]
) -> dict[str, Any]:
    """Which annotation each discovered keypoint lies nearest to: share (K, G) of the shapes, 0 to 1."""
    scale = probability_scale()[::17]
    colors = [[i / (len(scale) - 1), rgb_to_hex(color)] for i, color in enumerate(scale)]
    best = share.argmax(axis=1)
    alt = ", ".join(
        f"{keypoint} {100 * share[k, best[k]]:.0f} % {annotations[best[k]]}" for k, keypoint in enumerate(keypoints)
    )
    heat = {
        "type": "heatmap",
        "z": short(100 * share),
        "x": list(annotations),
        "y": list(keypoints),
        "zmin": 0,
        "zmax": 100,
        "colorscale": colors,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"thickness": 12, "ticksuffix": " %"},
        "hovertemplate": "%{y} is nearest to %{x} on %{z:.0f} % of the shapes<extra></extra>",
    }
    return chart(
        name,
        title,
        "On which share of the shapes a discovered keypoint (row) lies nearest to an annotation (column). One dark "
        "cell a row: the keypoint means the same everywhere.",
        f"Nearest annotation of each keypoint, most often: {alt}.",
        [heat],
        x={"title": "annotation", "type": "category", "dtick": 1},
        y={"title": "keypoint", "type": "category", "autorange": "reversed", "dtick": 1},
        height=max(300, 110 + 22 * len(keypoints)),
    )
