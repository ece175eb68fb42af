"""The curves of a report as Plotly's dictionaries, which report.js draws: readable on a phone and in print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.visualize.page.shapes import short
from pcsargmax.visualize.palette import ABSENT_COLOR, keypoint_color
from pcsargmax.visualize.report.differences import values_of
from pcsargmax.visualize.report.parts import told
from pcsargmax.visualize.report.results import metric_keys, up_to

#: Lines of two runs differ in colour and dash.
_DASHES = ("solid", "dash")


def chart(
    name: str,
    title: str,
    caption: str,
    alt: str,
    traces: list[dict[str, Any]],
    *,
    x: Mapping[str, Any] | str,
    y: Mapping[str, Any] | str,
    **layout: Any,
) -> dict[str, Any]:
    """What report.js needs to draw a chart, and the macro `chart` of parts.html.j2 to make room for it.

    Args:
        name: its id.
        title: above it.
        caption: below it: how to read it.
        alt: what it shows, in words, for those who do not see it.
        traces: as Plotly takes them.
        x: its axis, or the title of that.
        y: its axis, or the title of that.
        layout: more of Plotly's layout.
    """
    axes = {
        f"{axis}axis": _axis({"title": value} if isinstance(value, str) else value)
        for axis, value in zip("xy", (x, y), strict=True)
    }
    return {"id": name, "title": title, "caption": caption, "alt": alt, "traces": traces, "layout": {**axes, **layout}}


def _axis(axis: Mapping[str, Any]) -> dict[str, Any]:
    return {**axis, "title": {"text": axis["title"]}} if "title" in axis else dict(axis)


def line(name: str, number: int, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """A line of run `number` in its colour."""
    look = {"color": keypoint_color(number), "dash": _DASHES[number % 2], "width": 2.5}
    return {"type": "scatter", "mode": "lines", "name": name, "x": short(x), "y": short(y), "line": look} | more


def band(number: int, x: Any, low: Any, high: Any) -> dict[str, Any]:
    """The interval around the line of run `number`."""
    color = keypoint_color(number)
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": short([*x, *x[::-1]]),
        "y": short([*high, *low[::-1]]),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.15)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def pck_chart(results: Mapping[str, Mapping[str, Any]], unit: str) -> dict[str, Any]:
    """PCK by threshold of each run, with intervals, and of the template.

    Args:
        results: the name of a run to what `Run.evaluate` returned.
        unit: of the errors, in words.
    """
    first = next(iter(results.values()))
    largest = max(float(key.removeprefix("pck@")) for key in metric_keys(first, "pck"))
    at = np.linspace(0, 2 * largest, 61)
    traces, told_parts = [], []
    for number, (name, metrics) in enumerate(results.items()):
        share, low, high = share_within(values_of(metrics, "errors"), at)
        traces += [band(number, at, low, high)] if np.isfinite(low).all() else []
        traces.append(line(name or "this run", number, at, share, hovertemplate="%{y:.1f} % within %{x:.3g}"))
        told_parts.append(f"{name or 'this run'} {np.interp(largest, at, share):.0f} %")
    share, _, _ = share_within(np.array(first["shapes"]["errors"]["template"], dtype=np.float64), at)
    gray = {"color": ABSENT_COLOR, "dash": "dot", "width": 2}
    traces.append(line("template", 0, at, share, line=gray, hovertemplate="%{y:.1f} % within %{x:.3g}"))
    told_parts.append(f"template {np.interp(largest, at, share):.0f} %")
    return chart(
        "chart-pck",
        "PCK curve",
        "Share of keypoints whose error is at most the threshold; bands are 95 % intervals over shapes. The template "
        "is the mean of the training shapes' keypoints.",
        f"Share of keypoints within a threshold, rising with it. Within {largest:g}: {', '.join(told_parts)}.",
        traces,
        x={"title": f"threshold ({unit})", "range": [0, 2 * largest]},
        y={"title": "keypoints within it (%)", "range": [0, 101]},
    )


def share_within(errors: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share (T,) in per cent of errors (M, K) within each threshold, and the ends of its interval over shapes."""
    known = ~np.isnan(errors)
    hits = (np.where(known, errors, np.inf)[..., None] <= at).sum(axis=1).astype(np.float64)  # (M, T)
    count = np.broadcast_to(known.sum(axis=1, dtype=np.float64)[:, None], hits.shape)
    low, high = bootstrap_interval(torch.from_numpy(hits), torch.from_numpy(count.copy()))
    return 100 * hits.sum(axis=0) / count.sum(axis=0), 100 * low.numpy(), 100 * high.numpy()


def reliability_chart(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What confidence said and what came true, of the runs that have it."""
    known = {name: metrics["calibration"] for name, metrics in results.items() if metrics["calibration"] is not None}
    if not known:
        return []
    diagonal = {"color": ABSENT_COLOR, "dash": "dot", "width": 2}
    traces = [line("perfect calibration", 0, [0, 100], [0, 100], line=diagonal, hoverinfo="skip")]
    for number, (name, found) in enumerate(known.items()):
        traces += _reliability_traces(number, name, found, alone=len(known) == 1)
    threshold = next(iter(known.values()))["threshold"]
    alt = "; ".join(
        f"{name or 'this run'}: calibration error {told(found['ece'], 'share')}, mean "
        f"confidence {told(found['mean_confidence'], 'share')}, accuracy {told(found['share_correct'], 'share')}"
        for name, found in known.items()
    )
    return [
        chart(
            "chart-reliability",
            "Reliability",
            f"Accuracy of keypoints binned by confidence; correct is an error of at most {100 * threshold:g} % of "
            f"the bounding-box diagonal{up_to(known.values())}. On the dotted line confidence is perfectly calibrated; "
            "above it, underconfident. Bars show the share of keypoints in each bin.",
            f"Share of right keypoints against confidence. {alt}.",
            traces,
            x={"title": "confidence (%)", "range": [0, 101]},
            y={"title": "right (%)", "range": [0, 101]},
            bargap=0.08,
            barmode="overlay",
        )
    ]


def _reliability_traces(number: int, name: str, found: Mapping[str, Any], *, alone: bool) -> list[dict[str, Any]]:
    """The curve of a run, and in bars behind it how its keypoints are spread over the bins."""
    said, was = (100 * np.array(found[f"reliability_{key}"], dtype=np.float64) for key in ("confidence", "correct"))
    count = np.array(found["reliability_number"])
    some = count > 0
    bars = {
        "type": "bar",
        "name": f"{name}: share of keypoints" if name else "share of keypoints",
        "x": short((np.arange(len(count)) + 0.5) * 100 / len(count)),
        "y": short(100 * count / count.sum()),
        "marker": {"color": keypoint_color(number), "opacity": 0.22},
        "hovertemplate": "%{y:.1f} % of the keypoints",
        "showlegend": alone,
    }
    curve = line(
        name or "this run",
        number,
        said[some],
        was[some],
        mode="lines+markers",
        marker={"size": 7},
        customdata=count[some].tolist(),
        hovertemplate="confidence %{x:.0f} %, accuracy %{y:.0f} %, %{customdata} keypoints",
    )
    return [bars, curve]


def sparsification_chart(results: Mapping[str, Mapping[str, Any]], unit: str) -> list[dict[str, Any]]:
    """How the mean error falls when the least sure keypoints are left out."""
    known = {
        name: metrics["sparsification"] for name, metrics in results.items() if metrics["sparsification"] is not None
    }
    if not known:
        return []
    curves = {name: (100 * np.array(one["kept"]), one["error"], one["oracle"]) for name, one in known.items()}
    return [kept_chart(curves, f"Mean error{up_to(known.values())},", f"mean error ({unit})", ".4f")]


def kept_chart(
    curves: Mapping[str, tuple[Any, Any, Any]], what: str, axis: str, form: str, sign: str = ""
) -> dict[str, Any]:
    """How an error falls when the least sure keypoints are left out.

    Args:
        curves: of each run the share kept in per cent, its error, and its error at best.
        what: falls, the first words of the caption.
        axis: title of the axis of the error.
        form: of the numbers, ".4f".
        sign: behind them.
    """
    traces, alt = [], []
    for number, (name, (kept, error, oracle)) in enumerate(curves.items()):
        hover = f"%{{y:{form}}}{sign} of the most confident %{{x:.0f}} %"
        traces.append(line(name or "by confidence", number, kept, error, hovertemplate=hover))
        pale = {"color": keypoint_color(number), "dash": "dot", "width": 1.5}
        best, hover = f"{name}: at best" if name else "at best", f"at best %{{y:{form}}}{sign}"
        traces.append(line(best, number, kept, oracle, line=pale, hovertemplate=hover))
        every, half = (f"{float(error[row]):{form}}{sign}" for row in (-1, int(np.abs(kept - 50).argmin())))
        alt.append(f"{name or 'this run'}: all {every}, the most confident half {half}")
    return chart(
        "chart-sparsification",
        "Sparsification",
        f"{what} of the keypoints that are kept when the least confident are left out. Dotted: left out by their true "
        "error. A line that falls to the left means that confidence ranks errors well.",
        f"Mean error by the share of keypoints kept. {'; '.join(alt)}.",
        traces,
        x={"title": "surest keypoints kept (%)", "range": [0, 101]},
        y={"title": axis, "rangemode": "tozero"},
    )
