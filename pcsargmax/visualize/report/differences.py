"""Two runs on the same shapes: by how much the first differs from the second, with intervals over shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcsargmax.benchmark.scores import correlation_statistic, das_statistic, pck_statistic
from pcsargmax.metrics.bootstrap import percentile_interval, ratio_of_sums, resample_weights
from pcsargmax.metrics.calibration import brier_score, expected_calibration_error
from pcsargmax.metrics.paired import PairedDifference, Statistic, paired_bootstrap, ratio_statistic
from pcsargmax.visualize.report.parts import NONE, Cell, Kind, number_cell, told

#: Resamples of the shapes.
RESAMPLES = 2000


class Compared(NamedTuple):
    """A figure of two runs over the shapes that both have.

    Attributes:
        label: what it is.
        kind: how it is told.
        low_is_best: whether the better run is that of the lower figure.
        first: of the first run.
        second: of the second run.
        found: the difference, first − second.
    """

    label: str
    kind: Kind
    low_is_best: bool
    first: float
    second: float
    found: PairedDifference

    def cells(self, labels: tuple[str, str]) -> list[Cell]:
        """The two figures, their difference with its interval, p, and which run is the better one."""
        difference, low, high, p = self.found
        verdict = "not certain"
        if low > 0 or high < 0:
            verdict = f"{labels[0 if (high < 0) == self.low_is_best else 1]} is better"
        return [
            Cell(told(self.first, self.kind)),
            Cell(told(self.second, self.kind)),
            number_cell(difference, self.kind, low, high, signed=True),
            number_cell(p, "plain"),
            Cell(verdict if math.isfinite(low) else NONE),
        ]


def rows_of(metrics: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    """Where the shapes of those names stand in a result."""
    place = {name: row for row, name in enumerate(metrics["shapes"]["model_id"])}
    return [place[name] for name in names]


def common_shapes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of the shapes that two results have, in the order of the first."""
    known = set(second["shapes"]["model_id"])
    return [name for name in first["shapes"]["model_id"] if name in known]


def values_of(metrics: Mapping[str, Any], key: str, rows: Sequence[int] | None = None) -> np.ndarray:
    """(M, K) float64 of a list in a result's "shapes", NaN for None; "errors" are those of the expectation."""
    shapes = metrics["shapes"]
    found = shapes["errors"]["expectation"] if key == "errors" else shapes[key]
    if key == "trust_errors" and found is None:
        found = shapes["errors"]["expectation"]
    array = np.array(found, dtype=np.float64)
    return array if rows is None else array[rows]


def detector_differences(first: Mapping[str, Any], second: Mapping[str, Any], *, seed: int = 0) -> list[Compared]:
    """PCK, mean error, Brier score, calibration error and correlation of two evaluations of detectors.

    Args:
        first: what `Run.evaluate` returned.
        second: the same of another run on the same data.
        seed: of the bootstrap.
    """
    names = common_shapes(first, second)
    tables = [_Table(metrics, rows_of(metrics, names)) for metrics in (first, second)]
    thresholds = [key.removeprefix("pck@") for key in first["expectation"] if key.startswith("pck@") and "/" not in key]
    measured: list[tuple[str, Kind, bool, list[Statistic]]] = [
        (f"PCK@{at}", "share", False, [pck_statistic(one.errors, float(at)) for one in tables]) for at in thresholds
    ]
    measured += [
        ("mean error", "length", True, [_mean_of(one.errors) for one in tables]),
        ("Brier score of confidence", "plain", True, [one.brier() for one in tables]),
        ("calibration error (ECE)", "share", True, [one.ece() for one in tables]),
        ("Pearson's r of confidence and being right", "plain", False, [one.correlation() for one in tables]),
    ]
    return [_compared(*each, len(names), seed) for each in measured]


def discovery_differences(first: Mapping[str, Any], second: Mapping[str, Any], *, seed: int = 0) -> list[Compared]:
    """DAS and DAS above chance of two evaluations of discoveries; nothing where there are no annotations."""
    if first["shapes"] is None or second["shapes"] is None:
        return []
    names = common_shapes(first, second)
    if not names:
        return []

    def statistic(metrics: Mapping[str, Any], *, corrected: bool) -> Statistic:
        rows, prefix = rows_of(metrics, names), "merged_" if corrected else ""
        ids, keypoints = (torch.tensor(metrics["shapes"][prefix + key])[rows] for key in ("ids", "keypoints"))
        return das_statistic(ids, keypoints, corrected=corrected)

    return [
        _compared(
            label, "share", False, [statistic(one, corrected=corrected) for one in (first, second)], len(names), seed
        )
        for label, corrected in (("DAS", False), ("DAS above chance", True))
    ]


def keypoint_differences(
    first: np.ndarray, second: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference of the mean error of each keypoint, and the ends of its interval: (K,) each.

    Args:
        first: (M, K) errors, NaN where absent.
        second: the same of the second run.
        seed: of the bootstrap.
    """
    drawn = resample_weights(len(first), RESAMPLES, seed=seed)
    everyone = torch.ones(1, len(first), dtype=torch.float64)
    means = []
    for weights in (everyone, drawn):
        mine, other = (ratio_of_sums(weights, *_sums(torch.from_numpy(one))) for one in (first, second))
        means.append(mine - other)
    low, high = percentile_interval(means[1])
    single = np.full(len(low), np.nan)
    ends = (single, single) if len(first) < 2 else (low.numpy(), high.numpy())
    return means[0][0].numpy(), *ends


class _Table:
    """Errors and confidences (M, K) of one result, of some of its shapes."""

    def __init__(self, metrics: Mapping[str, Any], rows: list[int]) -> None:
        self.errors = torch.from_numpy(values_of(metrics, "errors", rows))
        diagonal = torch.tensor(metrics["shapes"]["diagonal"], dtype=torch.float64)[rows]
        self.relative = torch.from_numpy(values_of(metrics, "trust_errors", rows)) / diagonal[:, None]
        self.confidence = torch.from_numpy(values_of(metrics, "confidence", rows)).nan_to_num(nan=0.0)
        self.threshold = float(metrics["confidence"]["threshold"])

    def correlation(self) -> Statistic:
        return correlation_statistic(self.confidence, self.relative, self.threshold)

    def brier(self) -> Statistic:
        return self._per_case(brier_score)

    def ece(self) -> Statistic:
        return self._per_case(expected_calibration_error)

    def _per_case(self, score: Any) -> Statistic:
        """A score of all visible keypoints, resampled by shapes."""
        known = ~self.relative.isnan()
        model = known.nonzero()[:, 0]
        confidence, right = self.confidence[known], self.relative[known] <= self.threshold

        def statistic(weights: Tensor) -> Tensor:
            parts = weights.split(100)  # a weight for each resample and keypoint takes much memory
            return torch.cat([score(confidence, right, weights=part[:, model]) for part in parts])

        return statistic


def _sums(errors: Tensor) -> tuple[Tensor, Tensor]:
    """Errors with 0 at absent keypoints, and 1 where they are known."""
    return errors.nan_to_num(nan=0.0), (~errors.isnan()).double()


def _mean_of(errors: Tensor) -> Statistic:
    total, known = _sums(errors)
    return ratio_statistic(total.sum(dim=1), known.sum(dim=1))


def _compared(
    label: str, kind: Kind, low_is_best: bool, statistics: list[Statistic], num_models: int, seed: int
) -> Compared:
    everyone = torch.ones(1, num_models, dtype=torch.float64)
    first, second = (float(statistic(everyone)[0]) for statistic in statistics)
    found = paired_bootstrap(statistics[0], statistics[1], num_models, RESAMPLES, seed)
    return Compared(label, kind, low_is_best, first, second, found)
