"""How well confidence ranks errors and how well it is calibrated.

Functions of one value per case, mostly a keypoint; `pcsargmax.predictions.calibration` fits confidence. Where a
function takes `weights (R, n)`, each row gives the weights of the cases in one bootstrap resample (see `case_weights`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import resample_weights

Bins = Literal["width", "count"]

#: The end of a result's key, by how its bins were made.
BINS_SUFFIX: dict[Bins, str] = {"width": "", "count": "_equal_count"}


class Reliability(NamedTuple):
    """Mean confidence and accuracy of each bin; NaN in an empty one.

    Attributes:
        confidence: (num_bins,) mean confidence.
        correct: (num_bins,) accuracy.
        number: (num_bins,) long, number of cases.
        edges: (num_bins + 1,) of the bins.
    """

    confidence: Tensor
    correct: Tensor
    number: Tensor
    edges: Tensor


def reliability_curve(confidence: Tensor, correct: Tensor, *, num_bins: int = 10, bins: Bins = "width") -> Reliability:
    """Return mean confidence and accuracy in bins of confidence (Niculescu-Mizil and Caruana 2005).

    Args:
        confidence: (n,) probabilities of being correct.
        correct: (n,) bool, or 1 and 0.
        num_bins: number of bins; bin b holds confidence in (edge b, edge b + 1], the first its low edge too.
        bins: "width": of equal width over [0, 1]; "count": between quantiles of the confidence, so of equal count but
            for ties, which are never split.

    Returns:
        The curve, float64.

    Raises:
        ValueError: no case, sets of unequal length, values out of range, or an unknown kind of bins.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import reliability_curve
        >>> curve = reliability_curve(torch.tensor([0.2, 0.7, 0.9]), torch.tensor([False, True, False]), num_bins=2)
        >>> curve.confidence, curve.correct, curve.number
        (tensor([0.2000, 0.8000], dtype=torch.float64), tensor([0.0000, 0.5000], dtype=torch.float64), tensor([1, 2]))
    """
    confidence, correct = _checked_cases(confidence, correct)
    edges = _bin_edges(confidence, num_bins, bins)
    place = _bin_of(confidence, edges)
    count = torch.bincount(place, minlength=num_bins)
    sums = confidence.new_zeros(2, num_bins).index_add_(1, place, torch.stack([confidence, correct]))
    mean = sums / count  # 0 / 0 is NaN
    return Reliability(mean[0], mean[1], count, edges)


def expected_calibration_error(
    confidence: Tensor, correct: Tensor, *, num_bins: int = 10, bins: Bins = "width", weights: Tensor | None = None
) -> Tensor:
    """Return Σ_b n_b / n · |accuracy in b − mean confidence in b| (Naeini et al. 2015; Guo et al. 2017, Eq. 3).

    Args:
        confidence: (n,) probabilities of being correct.
        correct: (n,) bool, or 1 and 0.
        num_bins: as in `reliability_curve`.
        bins: as in `reliability_curve`; the edges are those of the unweighted cases.
        weights: (R, n) how often each case counts; None: once.

    Returns:
        () float64, with weights (R,); NaN where all weights are 0. Errors as of `reliability_curve`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import expected_calibration_error
        >>> confidence, correct = torch.tensor([0.2, 0.7, 0.9]), torch.tensor([False, True, False])
        >>> expected_calibration_error(confidence, correct, num_bins=2)  # 1 / 3 · 0.2 + 2 / 3 · |0.5 − 0.8|
        tensor(0.2667, dtype=torch.float64)
    """
    confidence, correct = _checked_cases(confidence, correct)
    place = _bin_of(confidence, _bin_edges(confidence, num_bins, bins))
    counted = _weights(weights, confidence)
    gap = counted.new_zeros(len(counted), num_bins).index_add_(1, place, counted * (correct - confidence))
    return _as_given(gap.abs().sum(dim=1) / counted.sum(dim=1), weights)


def brier_score(confidence: Tensor, correct: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Return the mean of (confidence − correct)² (Brier 1950): () float64, with weights (R, n): (R,). Lower is better.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import brier_score
        >>> brier_score(torch.tensor([1.0, 0.5]), torch.tensor([True, True]))  # (0 + 0.25) / 2
        tensor(0.1250, dtype=torch.float64)
    """
    confidence, correct = _checked_cases(confidence, correct)
    counted = _weights(weights, confidence)
    return _as_given((counted @ (confidence - correct).square()) / counted.sum(dim=1), weights)


def pearson(a: Tensor, b: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Return Pearson's correlation of a (n,) and b (n,): () float64, with weights (R, n): (R,).

    NaN where either is constant over the cases of positive weight.
    """
    a, b = checked_pair(a, b)
    counted = _weights(weights, a)
    # Centred on the plain mean first: sums of squares cancel far from zero.
    return _as_given(_correlation(a - a.mean(), b - b.mean(), counted), weights)


def spearman(a: Tensor, b: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Return Spearman's rank correlation, ties at their mean rank; arguments and result as of `pearson`."""
    a, b = checked_pair(a, b)
    counted = _weights(weights, a)
    return _as_given(_correlation(_mid_ranks(a, counted), _mid_ranks(b, counted), counted), weights)


def case_weights(model: Tensor, num_models: int, num: int, *, seed: int = 0) -> Tensor:
    """Return how often each case counts in resamples of the models: model (n,) of each case -> (num, n) float64."""
    return resample_weights(num_models, num, seed=seed)[:, model.cpu()]


def checked_pair(a: Tensor, b: Tensor, names: tuple[str, str] = ("a", "b")) -> tuple[Tensor, Tensor]:
    """Return both as float64, after checking that they are finite, (n,) and equally long."""
    for name, values in zip(names, (a, b), strict=True):
        if values.ndim != 1 or values.shape != a.shape or not len(values):
            raise ValueError(
                f"{names[0]} and {names[1]} must be (n,), n the same and at least 1, "
                f"got {tuple(a.shape)} and {tuple(b.shape)}"
            )
        if not values.isfinite().all():
            raise ValueError(f"{name} must be finite, got {values[~values.isfinite()][0].item()}")
    return a.detach().double(), b.detach().double()


def _checked_cases(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    confidence, correct = checked_pair(confidence, correct, ("confidence", "correct"))
    if outside := confidence[(confidence < 0) | (confidence > 1)].tolist():
        raise ValueError(f"confidence must lie within [0, 1], got {outside[0]}")
    if other := correct[(correct != 0) & (correct != 1)].tolist():
        raise ValueError(f"correct must be bool, or 1 and 0, got {other[0]}")
    return confidence, correct


def _bin_edges(confidence: Tensor, num_bins: int, bins: str) -> Tensor:
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    shares = torch.arange(num_bins + 1, dtype=torch.float64, device=confidence.device) / num_bins
    if bins == "width":
        return shares
    if bins == "count":
        return confidence.quantile(shares)
    raise ValueError(f"bins must be one of {', '.join(get_args(Bins))}, got {bins!r}")


def _bin_of(confidence: Tensor, edges: Tensor) -> Tensor:
    return torch.searchsorted(edges[1:-1].contiguous(), confidence.contiguous())


def _weights(weights: Tensor | None, cases: Tensor) -> Tensor:
    """Return the weights (R, n) in float64, for None a row of ones."""
    if weights is None:
        return torch.ones(1, len(cases), dtype=torch.float64, device=cases.device)
    if weights.ndim != 2 or weights.shape[1] != len(cases):
        raise ValueError(f"weights must be (R, {len(cases)}), got {tuple(weights.shape)}")
    return weights.to(cases)


def _as_given(values: Tensor, weights: Tensor | None) -> Tensor:
    return values[0] if weights is None else values


def _correlation(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Correlation (R,) of a and b, each (n,) or (R, n), under weights (R, n)."""
    flat = _constant(a, weights) | _constant(b, weights)  # by its values: its spread may be rounding
    total = weights.sum(dim=1, keepdim=True)
    a = a - (weights * a).sum(dim=1, keepdim=True) / total
    b = b - (weights * b).sum(dim=1, keepdim=True) / total
    spread_a, spread_b = ((weights * x.square()).sum(dim=1) for x in (a, b))
    value = (weights * a * b).sum(dim=1) / (spread_a * spread_b).sqrt()
    return value.clamp(-1, 1).masked_fill(flat, torch.nan)


def _constant(values: Tensor, weights: Tensor) -> Tensor:
    """(R,) whether all values of positive weight are equal, or there are none."""
    counts = weights > 0
    high = values.masked_fill(~counts, -torch.inf).amax(dim=1)
    low = values.masked_fill(~counts, torch.inf).amin(dim=1)
    return ~(high > low)


def _mid_ranks(values: Tensor, weights: Tensor) -> Tensor:
    """Ranks (R, n) of values (n,) repeated by their weights, ties at their mean rank."""
    distinct, place = values.unique(return_inverse=True)
    often = weights.new_zeros(len(weights), len(distinct)).index_add_(1, place, weights)
    return (often.cumsum(dim=1) - often / 2)[:, place]
