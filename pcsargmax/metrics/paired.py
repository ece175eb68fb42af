"""Two methods compared over the same models: what differs between models drops out of the difference.

A method trained with several seeds is averaged per model first: seeds are not models, and counting each run's models
as more models would make every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import percentile_interval, ratio_of_sums, resample_weights

#: weights (R, M), how often each model counts -> the figure (R,) of each resample
Statistic = Callable[[Tensor], Tensor]


class PairedDifference(NamedTuple):
    """How far method a is above method b.

    Attributes:
        difference: a − b.
        low: end of the interval of the difference.
        high: its other end.
        p: two-sided; how likely so large a difference is where there is none.
    """

    difference: float
    low: float
    high: float
    p: float


class PairedTest(NamedTuple):
    """What a test of per-model differences came to.

    Attributes:
        difference: mean of a − b over the models.
        p: two-sided.
        num_models: that both have a value of.
    """

    difference: float
    p: float
    num_models: int


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
    """Difference of two figures over resampled models, the same models for both (Efron and Tibshirani 1993, ch. 16).

    Args:
        statistic_a: the figure of method a, such as a `ratio_statistic`; it is to count the same models as b's.
        statistic_b: of method b.
        num_models: M, in the same order for both.
        num: of resamples.
        seed: of the resampling.
        weights: (R, M) of resamples that are drawn already, such as within parts of the models; None draws `num`.
        level: of the interval.

    Returns:
        The difference, its percentile interval, and p = 2 · min(P(d ≤ 0), P(d ≥ 0)) over the resamples and one more,
        the given models; at most 1. NaN for a single model, and where a figure is NaN. Resamples whose figure is NaN
        are left out.

    Raises:
        ValueError: no models, a statistic that does not return (R,), or `num` or `level` out of range.
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
    """Σ numerator / Σ denominator over models, as of correct and visible keypoints: (M,) each, or (S, M) of S seeds.

    Raises:
        ValueError: NaN, of which one method might have more than the other, so that they would not be over the same
            models: leave such models out of both; or as `mean_over_seeds`.
    """
    for name, values in (("numerator", numerator), ("denominator", denominator)):
        if values.isnan().any():
            raise ValueError(f"{name} must not be NaN, got {int(values.isnan().sum())} that are")
    above, below = mean_over_seeds(numerator), mean_over_seeds(denominator)

    def statistic(weights: Tensor) -> Tensor:
        return ratio_of_sums(weights, above, below)

    return statistic


def mean_over_seeds(values: Tensor) -> Tensor:
    """The value of each model, (M,) float64: values (S, M) are averaged over their S seeds, NaN left out.

    Raises:
        ValueError: another shape, or no model.
    """
    if values.ndim not in (1, 2) or not values.numel():
        raise ValueError(f"values must be (M,), or (S, M) of S seeds, M at least 1, got {tuple(values.shape)}")
    values = values.detach().cpu().double()
    return values if values.ndim == 1 else values.nanmean(dim=0)


def paired_permutation(values_a: Tensor, values_b: Tensor, seed: int = 0, *, num: int = 10000) -> PairedTest:
    """Fisher's sign-flip test of the mean difference: without an effect, each model's difference has either sign.

    Args:
        values_a: (M,) a value a model, or (S, M) of S seeds, which are averaged first; a model of which either method
            has NaN is left out.
        values_b: the same of method b; its number of seeds may be another.
        seed: of the flips.
        num: of random flips; where there are no more than that in all, every one is taken and p is exact.

    Returns:
        The mean difference a − b, and p, the share of flips with a mean as far from 0 or farther; the given one counts.

    Raises:
        ValueError: sets of unequal length, no common model, or `num` below 1.
    """
    from scipy.stats import permutation_test

    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    difference = _differences(values_a, values_b)
    mean = float(difference.mean())
    if len(difference) < 2 or not difference.any():
        return PairedTest(mean, 1.0, len(difference))

    def distance(flipped: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(flipped.mean(axis=axis))

    # Of the mean's distance, one-sided: the two tails of few models need not be alike.
    found = permutation_test(
        (difference,),
        distance,
        permutation_type="samples",
        n_resamples=num,
        batch=max(1, 10**6 // len(difference)),
        alternative="greater",
        vectorized=True,
        random_state=np.random.default_rng(seed),
    )
    return PairedTest(mean, float(found.pvalue), len(difference))


def paired_wilcoxon(values_a: Tensor, values_b: Tensor) -> PairedTest:
    """Wilcoxon's signed-rank test of per-model differences, by SciPy; arguments and errors as of `paired_permutation`.

    Models without any difference are left out of the ranks; p is 1 where all are.
    """
    from scipy.stats import wilcoxon

    difference = _differences(values_a, values_b)
    if not difference.any():
        return PairedTest(0.0, 1.0, len(difference))
    moved = difference[difference != 0]
    tied = len(np.unique(np.abs(moved))) < len(moved)
    # Exact only without ties; said here, or SciPy warns and does so itself.
    method = "exact" if len(moved) <= 50 and not tied else "approx"
    return PairedTest(float(difference.mean()), float(wilcoxon(moved, method=method).pvalue), len(difference))


def _called(statistic: Statistic, weights: Tensor) -> Tensor:
    found = statistic(weights)
    if found.shape != weights.shape[:1]:
        raise ValueError(
            f"a statistic must return ({len(weights)},) of {len(weights)} resamples, got {tuple(found.shape)}"
        )
    return found.detach().cpu().double()


def _differences(values_a: Tensor, values_b: Tensor) -> np.ndarray:
    """a − b of the models that both have a value of; rounding, to 12 digits of the largest value, is no difference."""
    a, b = mean_over_seeds(values_a), mean_over_seeds(values_b)
    if a.shape != b.shape:
        raise ValueError(f"values_a and values_b must be of the same models, got {len(a)} and {len(b)}")
    known = ~(a.isnan() | b.isnan())
    if not known.any():
        raise ValueError("values_a and values_b must share a model with a value, got none")
    a, b = a[known], b[known]
    scale = float(torch.maximum(a.abs(), b.abs()).max()) or 1.0
    return np.round((a - b).numpy() / scale, 12) * scale
