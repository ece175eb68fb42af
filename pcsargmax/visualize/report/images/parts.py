"""What the reports on keypoints and on surfaces in images share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.visualize.report.images.run import ImageReports
from pcsargmax.visualize.report.shape_charts import keypoint_chart


def mean_of(values: np.ndarray) -> np.ndarray:
    """(M,) mean of what is known in each row of (M, K); NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def error_rows(runs: ImageReports) -> dict[str, dict[str, np.ndarray]]:
    """Of each run, (K,) each: "mean" error, the ends of its interval "low" and "high", "median", "count" of images."""
    found = {}
    for label, run in runs.items():
        errors = run.values("errors")
        known = ~np.isnan(errors)
        total = torch.from_numpy(np.where(known, errors, 0))
        low, high = bootstrap_interval(total, torch.from_numpy(known.astype(np.float64)))
        middle = [np.median(e[k]) if k.any() else np.nan for e, k in zip(errors.T, known.T, strict=True)]
        found[label] = {
            "mean": mean_of(errors.T),
            "low": low.numpy(),
            "high": high.numpy(),
            "median": np.array(middle),
            "count": known.sum(axis=0).astype(np.float64),
        }
    return found


def each_chart(runs: ImageReports, unit: str) -> dict[str, Any]:
    """Mean error of each keypoint or surface with its interval; of many the rows are lower."""
    report = next(iter(runs.values()))
    found = keypoint_chart(error_rows(runs), report.names, unit)
    what = "surface" if report.surfaces else "keypoint"
    found["title"] = f"Error of each {what}"
    found["caption"] = "Mean error with its 95 % interval over images; the table below has the numbers."
    if len(report.names) > 30:
        found["layout"]["height"] = 90 + 14 * len(report.names)
    return found
