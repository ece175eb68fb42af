"""A number of a table: mean and spread over seeds, interval over shapes, paired test against a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from pcsargmax.benchmark.scores import Score
from pcsargmax.metrics.bootstrap import percentile_interval
from pcsargmax.metrics.paired import PairedDifference, paired_bootstrap

Verdict = Literal["above", "below", "level", ""]


@dataclass(frozen=True)
class Cell:
    """A number of ours, in the unit of its table.

    Attributes:
        mean: over the seeds.
        deviation: standard deviation over the seeds; None of a single one.
        low: end of the 95 % interval over shapes, of the mean over the seeds; None where there is none.
        high: the other end.
        values: by seed.
        num_models: shapes that it was measured on.
        against: how far it lies above the baseline on the same shapes; None where there is nothing to compare with.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    values: dict[int, float]
    num_models: int
    against: PairedDifference | None = None

    def verdict(self, other: float | None) -> Verdict:
        """Where it lies by its interval: above or below another number, or level with it; "" where none can tell."""
        if other is None or self.low is None or self.high is None:
            return ""
        return "above" if self.low > other else "below" if self.high < other else "level"


def make_cell(score: Score, baseline: Score | None, scale: float, num_bootstrap: int, seed: int) -> Cell | None:
    """The number of a score.

    The interval is that of the mean over the seeds when other shapes are drawn, within each data set and the same for
    all seeds. How far training varies is not in it: that is what the deviation over seeds tells.

    Args:
        score: of a method.
        baseline: of the method that it is tested against; None for no test. There is none on other shapes.
        scale: what all is multiplied with.
        num_bootstrap: resamples, at least 1.
        seed: of the resampling.

    Returns:
        The cell; None where the score is not defined.
    """
    mean = score.value()
    if math.isnan(mean):
        return None
    values = {seed_: scale * value for seed_, value in score.values().items()}
    low = high = None
    weights = score.resamples(num_bootstrap, seed)
    if any(len(names) > 1 for names in score.models):
        low, high = (_number(scale * end) for end in percentile_interval(score.overall(weights)))
    against = None
    if baseline is not None and baseline.models == score.models:
        found = paired_bootstrap(score.overall, baseline.overall, score.num_models, weights=weights)
        if not math.isnan(found.p):
            against = PairedDifference(scale * found.difference, scale * found.low, scale * found.high, found.p)
    deviation = stdev(values.values()) if len(values) > 1 else None
    return Cell(scale * mean, deviation, low, high, values, score.num_models, against)


def _number(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]
    return None if math.isnan(number) else number
