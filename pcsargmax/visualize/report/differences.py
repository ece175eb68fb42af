"""Two runs on the same shapes: by how much the first differs from the second, with intervals over shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import percentile_interval, ratio_of_sums, resample_weights
from pcsargmax.metrics.paired import PairedDifference, Statistic, paired_bootstrap, ratio_statistic
from pcsargmax.metrics.statistics import correlation_statistic, das_statistic, pck_statistic
from pcsargmax.visualize.report.parts import NONE, Cell, Kind, Table, number_cell, told
from pcsargmax.visualize.report.results import metric_keys

#: Resamples of the shapes.
RESAMPLES = 2000

#: Of fewer shapes nothing is certain, whatever the bootstrap says: of 5, all 5 favour one run by chance in 1 of 16.
MIN_SHAPES = 6


class Compared(NamedTuple):
    """A figure of two runs over the shapes that both have.

    Attributes:
        label: what it is.
        kind: how it is told.
        low_is_best: whether the better run is that of the lower figure.
        first: of the first run.
        second: of the second run.
        found: the difference, first − second.
        num_shapes: that both have.
    """

    label: str
    kind: Kind
    low_is_best: bool
    first: float
    second: float
    found: PairedDifference
    num_shapes: int

    def cells(self, labels: tuple[str, str]) -> list[Cell]:
        """The two figures, their difference with its interval, p, and which run is the better one."""
        difference, low, high, p = self.found
        few = self.num_shapes < MIN_SHAPES
        return [
            Cell(told(self.first, self.kind)),
            Cell(told(self.second, self.kind)),
            number_cell(difference, self.kind, low, high, signed=True),
            Cell(NONE) if few else number_cell(p, "plain"),
            Cell("too few to tell" if few else self._verdict(labels)),
        ]

    def _verdict(self, labels: tuple[str, str]) -> str:
        """Which run is the better one, if the interval leaves no doubt."""
        _, low, high, _ = self.found
        if not math.isfinite(low):
            return NONE
        if low <= 0 <= high:
            return "not certain"
        return f"{labels[0 if (high < 0) == self.low_is_best else 1]} is better"


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
    """PCK, mean error, Brier score and correlation of two evaluations of detectors.

    Not the calibration error: its resamples lie above it, the more so the smaller it is. The last two only where both
    runs were trained up to the same symmetry, so that they are about the same errors.

    Args:
        first: what `Run.evaluate` returned.
        second: the same of another run on the same data.
        seed: of the bootstrap.
    """
    names = common_shapes(first, second)
    both = [(metrics, rows_of(metrics, names)) for metrics in (first, second)]
    errors = [torch.from_numpy(values_of(metrics, "errors", rows)) for metrics, rows in both]
    measured: list[tuple[str, Kind, bool, list[Statistic]]] = [
        (key.upper(), "share", False, [pck_statistic(one, float(key.removeprefix("pck@"))) for one in errors])
        for key in metric_keys(first, "pck")
    ]
    measured.append(("mean error", "length", True, [_mean_of(one) for one in errors]))
    if alike_right(first, second):
        trusts = [_Trust.of(*one) for one in both]
        measured += [
            ("Brier score of confidence", "plain", True, [_mean_of(one.gap()) for one in trusts]),
            ("Pearson's r of confidence and being right", "plain", False, [correlation_statistic(*t) for t in trusts]),
        ]
    return [compared(*each, len(names), seed) for each in measured]


def alike_right(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether the confidence of two detectors is about the same errors: up to one threshold and one symmetry."""
    mine, other = ([one["confidence"][key] for key in ("threshold", "symmetry")] for one in (first, second))
    return mine == other


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
        compared(
            label, "share", False, [statistic(one, corrected=corrected) for one in (first, second)], len(names), seed
        )
        for label, corrected in (("DAS", False), ("DAS above chance", True))
    ]


def difference_table(found: Sequence[Compared], labels: tuple[str, str], shapes: str, more: str = "") -> Table | None:
    """A row a figure; None without any.

    Args:
        found: the figures.
        labels: of the two runs.
        shapes: which these are over, in words.
        more: said after the caption.
    """
    if not found:
        return None
    return Table(
        ["", *labels, " − ".join(labels), "p", ""],
        [[Cell(one.label), *one.cells(labels)] for one in found],
        caption=f"Difference on the {found[0].num_shapes} {shapes} that both have: 95 % interval and p by the paired "
        f"bootstrap over them; pp: percentage points{more}",
        name="differences",
    )


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


class _Trust(NamedTuple):
    """Confidence (M, K), errors (M, K) in diagonals, NaN where absent, and the error that is still right."""

    confidence: Tensor
    errors: Tensor
    threshold: float

    @classmethod
    def of(cls, metrics: Mapping[str, Any], rows: list[int]) -> _Trust:
        """Those of some shapes of a result."""
        diagonal = torch.tensor(metrics["shapes"]["diagonal"], dtype=torch.float64)[rows]
        errors = torch.from_numpy(values_of(metrics, "trust_errors", rows)) / diagonal[:, None]
        confidence = torch.from_numpy(values_of(metrics, "confidence", rows))
        return cls(confidence, errors, float(metrics["confidence"]["threshold"]))

    def gap(self) -> Tensor:
        """(confidence − right)² of each keypoint, whose mean is the Brier score; NaN where absent."""
        right = (self.errors <= self.threshold).double()
        return (self.confidence - right).square().where(~self.errors.isnan(), torch.nan)


def _sums(errors: Tensor) -> tuple[Tensor, Tensor]:
    """Errors with 0 at absent keypoints, and 1 where they are known."""
    return errors.nan_to_num(nan=0.0), (~errors.isnan()).double()


def _mean_of(errors: Tensor) -> Statistic:
    total, known = _sums(errors)
    return ratio_statistic(total.sum(dim=1), known.sum(dim=1))


def compared(
    label: str, kind: Kind, low_is_best: bool, statistics: Sequence[Statistic], num_items: int, seed: int
) -> Compared:
    """A figure of two runs on the same shapes or images, with the interval of their difference."""
    everyone = torch.ones(1, num_items, dtype=torch.float64)
    first, second = (float(statistic(everyone)[0]) for statistic in statistics)
    found = paired_bootstrap(statistics[0], statistics[1], num_items, RESAMPLES, seed)
    return Compared(label, kind, low_is_best, first, second, found, num_items)
