"""Bootstrap intervals over models: how much a metric would vary with other models in the test set.

Whole models are resampled, never single keypoints: the errors of the keypoints of one model are correlated, and
resampling them separately would make the interval too narrow.
"""

import torch
from torch import Tensor


def bootstrap_interval(
    numerator: Tensor,
    denominator: Tensor | None = None,
    *,
    mean_over: int | None = None,
    num: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the percentile interval of Σ numerator / Σ denominator over models (Efron and Tibshirani 1993, ch. 13).

    Args:
        numerator: (M, ...) one value per model, e.g. its number of correct keypoints.
        denominator: (M, ...) its weight, e.g. its number of visible keypoints; None: 1, the plain mean.
        mean_over: an axis of the ratio (...) to average, NaN left out, e.g. that of the keypoint ids.
        num: number of resamples.
        level: probability between the two ends.
        seed: the same seed draws the same models.

    Returns:
        low and high, each (...) float64, without the axis `mean_over`; NaN for a single model, which has no
        spread, and where every denominator is zero.

    Raises:
        ValueError: no models, NaN among the values, or `num` or `level` out of range.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import bootstrap_interval
        >>> low, high = bootstrap_interval(torch.arange(101.0))  # mean 50, standard error 2.9
        >>> round(float(low)), round(float(high))
        (44, 56)
    """
    if numerator.isnan().any():
        raise ValueError("numerator must not hold NaN: an absent value is 0 of denominator 0")
    if denominator is None:
        denominator = torch.ones_like(numerator)
    weights = resample_weights(len(numerator), num, seed=seed).to(numerator.device)
    replicates = ratio_of_sums(weights, numerator, denominator)
    if mean_over is not None:
        replicates = replicates.nanmean(dim=mean_over + 1)
    if len(numerator) < 2:
        replicates = torch.full_like(replicates, torch.nan)
    return percentile_interval(replicates, level)


def resample_weights(num_models: int, num: int, *, seed: int = 0) -> Tensor:
    """Return how often each model is drawn in `num` resamples with replacement: (num, num_models) float64."""
    if num_models < 1 or num < 1:
        raise ValueError(f"num_models and num must be at least 1, got {num_models} and {num}")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device gets the same draw
    drawn = torch.randint(num_models, (num, num_models), generator=generator)
    weights = torch.zeros(num, num_models, dtype=torch.float64)
    return weights.scatter_add_(1, drawn, torch.ones_like(weights))


def ratio_of_sums(weights: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """Weighted Σ numerator / Σ denominator over the models: weights (R, M), the others (M, ...) -> (R, ...).

    NaN where the weighted denominator is zero.
    """
    if numerator.shape != denominator.shape or weights.shape[1:] != numerator.shape[:1]:
        raise ValueError(
            "weights, numerator and denominator must be (R, M), (M, ...) and (M, ...), got "
            f"{tuple(weights.shape)}, {tuple(numerator.shape)} and {tuple(denominator.shape)}"
        )
    above = torch.tensordot(weights, numerator.to(weights), dims=1)
    below = torch.tensordot(weights, denominator.to(weights), dims=1)
    return above / below


def percentile_interval(replicates: Tensor, level: float = 0.95) -> tuple[Tensor, Tensor]:
    """The middle `level` of the replicates (R, ...), NaN ones left out: low and high, each (...)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    tails = replicates.new_tensor([(1 - level) / 2, (1 + level) / 2])
    low, high = torch.nanquantile(replicates, tails, dim=0)
    return low, high


def basic_interval(
    value: Tensor, replicates: Tensor, limits: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Return the basic interval of a value whose resamples are biased (Davison and Hinkley 1997, Section 5.2).

    A resample holds some models twice. That raises a calibration error and an average precision, so the percentiles lie
    above the value, by about as much as the value lies above the truth. The basic interval reflects them about the
    value, 2 · value − percentile, which corrects for both.

    Args:
        value: (...) of all models.
        replicates: (R, ...) of the resamples, NaN ones left out.
        limits: range of the value, to which the ends are clipped.
        level: probability between the two ends.

    Returns:
        low and high, each (...), widened to contain the value.
    """
    low, high = percentile_interval(replicates, level)
    ends = (2 * value - high).minimum(value), (2 * value - low).maximum(value)
    return ends[0].clamp(*limits), ends[1].clamp(*limits)


def check_num_bootstrap(num_bootstrap: int) -> None:
    """Raise ValueError if the number of resamples of a metric is negative; 0 means no intervals."""
    if num_bootstrap < 0:
        raise ValueError(f"num_bootstrap must not be negative, got {num_bootstrap}")
