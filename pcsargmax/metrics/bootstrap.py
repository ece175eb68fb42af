"""Percentile bootstrap over models: how far a figure would move had other models been in the test set.

Models are what is drawn, never single keypoints: the keypoints of one model err together, and drawing them
apart would make the interval too narrow.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def bootstrap_interval(
    numerator: Tensor,
    denominator: Tensor | None = None,
    *,
    mean_over: int | None = None,
    num: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Percentile interval of Σ numerator / Σ denominator over models (Efron and Tibshirani 1993, ch. 13).

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
    """How often each model is drawn in `num` resamples with replacement: (num, num_models) float64."""
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
    figure: Tensor, replicates: Tensor, limits: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> tuple[Tensor, Tensor]:
    """The basic interval, of a figure whose resamples lie beside it (Davison and Hinkley 1997, Section 5.2).

    A resample holds models twice. That makes gaps wider (calibration error) and ranks surer (average precision), so the
    percentiles lie above the figure, by about as much as the figure lies above the truth. Here they are turned about
    the figure, 2 · figure − percentile, which takes both away.

    Args:
        figure: (...) of all models.
        replicates: (R, ...) of the resamples, NaN ones left out.
        limits: what the figure can be at all; the ends are cut off there.
        level: probability between the two ends.

    Returns:
        low and high, each (...); never without the figure itself.
    """
    low, high = percentile_interval(replicates, level)
    ends = (2 * figure - high).minimum(figure), (2 * figure - low).maximum(figure)
    return ends[0].clamp(*limits), ends[1].clamp(*limits)


def check_num_bootstrap(num_bootstrap: int) -> None:
    """Raise ValueError if the number of resamples of a metric is negative; 0 stands for no intervals."""
    if num_bootstrap < 0:
        raise ValueError(f"num_bootstrap must not be negative, got {num_bootstrap}")


def flat_rows(flat: list[Tensor], width: int) -> Tensor:
    """The models that a metric collected as flat pieces of (M · width,): (M, width) float64 on the CPU."""
    return (dim_zero_cat(flat) if len(flat) else torch.empty(0)).cpu().double().reshape(-1, width)


def mean_with_interval(
    metric: Metric, names: Sequence[str], values: Tensor, num_bootstrap: int, seed: int
) -> dict[str, Tensor]:
    """What a metric computes of one value a model and name.

    Args:
        metric: gives device and type of the result.
        names: F of them.
        values: (M, F) float64, M at least 1.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.

    Returns:
        The mean over models by name, the ends of its interval by "name/low" and "name/high", NaN where a value is, and
        "num_models".
    """
    result = dict(zip(names, values.mean(dim=0), strict=True))
    for name, column in zip(names, values.T, strict=True) if num_bootstrap else ():
        if column.isnan().any():
            low, high = column.new_full((2,), torch.nan)
        else:
            low, high = bootstrap_interval(column, num=num_bootstrap, seed=seed)
        result |= {f"{name}/low": low, f"{name}/high": high}
    result = {key: value.to(metric.device, metric.dtype) for key, value in result.items()}
    return result | {"num_models": torch.tensor(len(values), device=metric.device)}
