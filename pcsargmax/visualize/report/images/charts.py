"""The curves of a report on images, as report.js draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.sparsification import sparsification_curve
from pcsargmax.visualize.palette import keypoint_color
from pcsargmax.visualize.report.charts import band, chart, kept_chart, line, share_within
from pcsargmax.visualize.report.images.run import ImageReports
from pcsargmax.visualize.report.parts import told
from pcsargmax.visualize.report.rows import error_rows
from pcsargmax.visualize.report.shape_charts import keypoint_chart


def share_chart(
    name: str,
    title: str,
    what: str,
    errors: Mapping[str, np.ndarray],
    at: np.ndarray,
    unit: str,
    *,
    factor: float = 100.0,
) -> dict[str, Any]:
    """The share of errors within each threshold, with intervals over images.

    Args:
        name: id of the chart.
        title: of the chart.
        what: the errors are of, in words.
        errors: of each run (M, K), NaN where unknown.
        at: (T,) thresholds.
        unit: of the thresholds as they are written.
        factor: by which they are multiplied for that.
    """
    traces, said = [], []
    for number, (label, values) in enumerate(errors.items()):
        share, low, high = share_within(values, at)
        traces += [band(number, factor * at, low, high)] if np.isfinite(low).all() else []
        hover = f"%{{y:.1f}} % within %{{x:.3g}} {unit}"
        traces.append(line(label or "this run", number, factor * at, share, hovertemplate=hover))
        said.append(f"{label or 'this run'} {share[len(at) // 2]:.0f} %")
    middle = f"{factor * at[len(at) // 2]:.3g} {unit}"
    return chart(
        name,
        title,
        f"Share of {what} whose error is at most the threshold; bands are 95 % intervals over images.",
        f"Share of {what} within a threshold, rising with it. Within {middle}: {', '.join(said)}.",
        traces,
        x={"title": f"threshold ({unit})", "range": [0, float(factor * at[-1])]},
        y={"title": f"{what} within it (%)", "range": [0, 101]},
    )


def image_error_chart(errors: Mapping[str, np.ndarray], name: str, unit: str, factor: float = 1.0) -> dict[str, Any]:
    """The share of images within each error, up to the largest of them: the distribution of the errors.

    Args:
        errors: of each run (M,), NaN where unknown.
        name: of the error.
        unit: as it is written.
        factor: by which it is multiplied for that.
    """
    known = {label: np.sort(factor * values[np.isfinite(values)]) for label, values in errors.items()}
    traces, said = [], []
    for number, (label, values) in enumerate(known.items()):
        x = np.concatenate([[0.0], values])
        y = 100 * np.arange(len(x)) / max(len(values), 1)
        hover = f"%{{y:.0f}} % of the images up to %{{x:.3g}} {unit}"
        step = {"color": keypoint_color(number), "dash": ("solid", "dash")[number % 2], "width": 2.5, "shape": "hv"}
        traces.append(line(label or "this run", number, x, y, line=step, hovertemplate=hover))
        middle = np.median(values) if len(values) else float("nan")
        said.append(f"{label or 'this run'}: half of the images up to {middle:.3g} {unit}")
    # The few worst images would squeeze all others: they are told by the caption.
    ends = [np.quantile(values, 0.98) for values in known.values() if len(values)]
    return chart(
        "chart-errors",
        "Errors of the images",
        f"Share of the images whose {name} is at most so large; the worst 2 % lie beyond the right edge.",
        f"Distribution of the {name} over the images. {'; '.join(said)}.",
        traces,
        x={"title": f"{name} ({unit})", "range": [0, float(max(ends, default=1.0)) * 1.05]},
        y={"title": "images (%)", "range": [0, 101]},
    )


def trust_charts(runs: ImageReports, shares: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """What came true at each confidence, and how the mean error falls when the least sure keypoints are left out.

    Args:
        runs: that have a confidence.
        shares: of each (M, K) errors over the length of the image, NaN where unknown.
    """
    found = {label: run.metrics["confidence"] for label, run in runs.items() if run.metrics["confidence"]}
    if not found:
        return []
    curves = {}
    for label in found:
        known = np.isfinite(shares[label])
        sure = torch.from_numpy(runs[label].values("confidence")[known])
        curve = sparsification_curve(sure, torch.from_numpy(100 * shares[label][known]))
        curves[label] = (100 * curve.kept.numpy(), curve.error.numpy(), curve.oracle.numpy())
    return [
        _right_chart(found),
        kept_chart(curves, "Mean error", "mean error (% of the length)", ".2f", " %"),
    ]


def _right_chart(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The share that was right by confidence, in bins of equal count, as peaks are small and close together."""
    traces, said = [], []
    for number, (label, one) in enumerate(found.items()):
        sure, right = (
            100 * np.array(one[f"reliability_{key}_equal_count"], dtype=np.float64) for key in ("confidence", "correct")
        )
        count = np.array(one["reliability_number_equal_count"])
        some = count > 0
        traces.append(
            line(
                label or "this run",
                number,
                sure[some],
                right[some],
                mode="lines+markers",
                marker={"size": 7},
                customdata=count[some].tolist(),
                hovertemplate="peak %{x:.1f} %, right %{y:.0f} % of %{customdata} keypoints",
            )
        )
        said.append(f"{label or 'this run'}: Pearson's r {told(one['pearson'], 'plain')}")
    at = told(next(iter(found.values()))["threshold"], "share")
    return chart(
        "chart-reliability",
        "Confidence and being right",
        f"Of tenths of the keypoints by confidence, the share that was right: an error of at most {at} of the length. "
        "The steeper, the more the peak of a map tells. A peak is no probability of being right: it also falls with "
        "the size of a cell.",
        f"Share of right keypoints against confidence. {'; '.join(said)}.",
        traces,
        x={"title": "confidence: peak of the map (%)", "rangemode": "tozero"},
        y={"title": "right (%)", "range": [0, 101]},
    )


def each_chart(runs: ImageReports, unit: str) -> dict[str, Any]:
    """Mean error of each keypoint or surface with its interval; of many the rows are lower."""
    report = next(iter(runs.values()))
    found = keypoint_chart(error_rows({label: run.values("errors") for label, run in runs.items()}), report.names, unit)
    what = "surface" if report.surfaces else "keypoint"
    found["title"] = f"Error of each {what}"
    found["caption"] = "Mean error with its 95 % interval over images; the table below has the numbers."
    if len(report.names) > 30:
        found["layout"]["height"] = 90 + 14 * len(report.names)
    return found
