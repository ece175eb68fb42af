"""Paired comparison of two methods over the same models, so that differences between models cancel.

A method trained with several seeds is averaged per model first: seeds are not models, and counting the models of each
run separately would make every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import percentile_interval, ratio_of_sums, resample_weights

#: weights (R, M), how often each model counts -> the metric (R,) of each resample
Statistic = Callable[[Tensor], Tensor]


class PairedDifference(NamedTuple):
    """Difference between two methods.

    Attributes:
        difference: a − b.
        low: end of the interval of the difference.
        high: its other end.
        p: two-sided p-value.
    """

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    statistic_a: Statistic,
    statistic_b: Statistic,
    num_models: int,
    num: int = 10000,
    seed: int = 0,
    *,
    weights: Tensor | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """Bootstrap the difference of a metric between two methods over the same models (Efron, Tibshirani 1993, ch. 16).

    Args:
        statistic_a: the metric of method a, such as a `ratio_statistic`, over the same models as that of b.
        statistic_b: the metric of method b.
        num_models: M, in the same order for both.
        num: number of resamples.
        seed: seed of the resampling.
        weights: (R, M) of given resamples, such as stratified ones; None: draw `num`.
        level: level of the interval.

    Returns:
        The difference, its percentile interval, and p = 2 · min(P(d ≤ 0), P(d ≥ 0)) over the resamples and one more,
        the given models; at most 1. NaN for a single model, and where a metric is NaN. Resamples where it is
        NaN are left out.

    Raises:
        ValueError: no models, a statistic that does not return (R,), or `num` or `level` out of range.

    Example:
        Method a is correct on 80 of 100 keypoints, method b on 50 of the same:

        >>> import torch
        >>> from pcsargmax.metrics import paired_bootstrap
        >>> from pcsargmax.metrics.paired import ratio_statistic
        >>> hits, keypoints = (torch.arange(100) < 80).double(), torch.ones(100)
        >>> a, b = ratio_statistic(hits, keypoints), ratio_statistic(hits * (torch.arange(100) < 50), keypoints)
        >>> found = paired_bootstrap(a, b, 100, num=1000)
        >>> round(found.difference, 4), 0.15 < found.low < 0.3 < found.high < 0.45, found.p < 0.01
        (0.3, True, True)
    """
    if weights is None:
        weights = resample_weights(num_models, num, seed=seed)
    everyone = torch.ones(1, num_models, dtype=torch.float64)
    difference = float((_called(statistic_a, everyone) - _called(statistic_b, everyone))[0])
    drawn = _called(statistic_a, weights) - _called(statistic_b, weights)
    low, high = percentile_interval(drawn, level)
    drawn = drawn[~drawn.isnan()]
    if num_models < 2 or np.isnan(difference) or not len(drawn):
        return PairedDifference(difference, np.nan, np.nan, np.nan)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return PairedDifference(difference, float(low), float(high), min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)))


def ratio_statistic(numerator: Tensor, denominator: Tensor) -> Statistic:
    """Return the statistic Σ numerator / Σ denominator over models, such as correct over visible keypoints.

    Args:
        numerator: (M,), or (S, M) of S seeds.
        denominator: the same shape.

    Raises:
        ValueError: NaN, with which two methods might not be compared over the same models: leave such models out of
            both; or as `mean_over_seeds`.
    """
    for name, values in (("numerator", numerator), ("denominator", denominator)):
        if values.isnan().any():
            raise ValueError(f"{name} must not be NaN, got {int(values.isnan().sum())} that are")
    above, below = mean_over_seeds(numerator), mean_over_seeds(denominator)

    def statistic(weights: Tensor) -> Tensor:
        return ratio_of_sums(weights, above, below)

    return statistic


def mean_over_seeds(values: Tensor) -> Tensor:
    """Return the value of each model, (M,) float64: values (S, M) are averaged over their S seeds, NaN left out.

    Raises:
        ValueError: another shape, or no model.
    """
    if values.ndim not in (1, 2) or not values.numel():
        raise ValueError(f"values must be (M,), or (S, M) of S seeds, M at least 1, got {tuple(values.shape)}")
    values = values.detach().cpu().double()
    return values if values.ndim == 1 else values.nanmean(dim=0)


def _called(statistic: Statistic, weights: Tensor) -> Tensor:
    found = statistic(weights)
    if found.shape != weights.shape[:1]:
        raise ValueError(
            f"a statistic must return ({len(weights)},) of {len(weights)} resamples, got {tuple(found.shape)}"
        )
    return found.detach().cpu().double()
