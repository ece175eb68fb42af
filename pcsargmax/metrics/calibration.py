"""How well confidence ranks errors and how well it is calibrated.

Functions of one value per case, mostly a keypoint; `pcsargmax.predictions.calibration` fits confidence. Where a
function takes `weights (R, n)`, each row counts the cases anew, as a bootstrap resample does (see `case_weights`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import basic_interval, percentile_interval, resample_weights
from pcsargmax.metrics.cases import add_case_states, add_cases, collected_cases

Bins = Literal["width", "count"]

#: What a key of a result ends in, by how its bins were made.
_BINS: dict[Bins, str] = {"width": "", "count": "_equal_count"}


class Reliability(NamedTuple):
    """What was said and what came true, bin by bin; NaN in an empty one.

    Attributes:
        confidence: (num_bins,) mean confidence.
        correct: (num_bins,) share that was right.
        number: (num_bins,) long, of the cases.
        edges: (num_bins + 1,) of the bins.
    """

    confidence: Tensor
    correct: Tensor
    number: Tensor
    edges: Tensor


def reliability_curve(confidence: Tensor, correct: Tensor, *, num_bins: int = 10, bins: Bins = "width") -> Reliability:
    """Mean confidence and share of right cases in bins of confidence (Niculescu-Mizil and Caruana 2005).

    Args:
        confidence: (n,) probabilities of being right.
        correct: (n,) bool, or 1 and 0.
        num_bins: how many; bin b holds confidence in (edge b, edge b + 1], the first its low edge too.
        bins: "width": of equal width over [0, 1]; "count": between quantiles of the confidence, so of equal count but
            for ties, which are never parted.

    Returns:
        The curve, float64.

    Raises:
        ValueError: no case, sets of unequal length, values out of range, or arguments that are none.
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
    """Σ_b n_b / n · |share right in b − mean confidence in b| (Naeini et al. 2015; Guo et al. 2017, Eq. 3).

    Args:
        confidence: (n,) probabilities of being right.
        correct: (n,) bool, or 1 and 0.
        num_bins: as in `reliability_curve`.
        bins: as in `reliability_curve`; the edges are those of the unweighted cases.
        weights: (R, n) how often each case counts; None: once.

    Returns:
        () float64, with weights (R,); NaN where all weights are 0. Errors as of `reliability_curve`.
    """
    confidence, correct = _checked_cases(confidence, correct)
    place = _bin_of(confidence, _bin_edges(confidence, num_bins, bins))
    counted = _weights(weights, confidence)
    gap = counted.new_zeros(len(counted), num_bins).index_add_(1, place, counted * (correct - confidence))
    return _as_given(gap.abs().sum(dim=1) / counted.sum(dim=1), weights)


def brier_score(confidence: Tensor, correct: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Mean of (confidence − correct)² (Brier 1950): () float64, with weights (R, n): (R,). Lower is better."""
    confidence, correct = _checked_cases(confidence, correct)
    counted = _weights(weights, confidence)
    return _as_given((counted @ (confidence - correct).square()) / counted.sum(dim=1), weights)


def pearson(a: Tensor, b: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Pearson's correlation of a (n,) and b (n,): () float64, with weights (R, n): (R,).

    NaN where either is the same for all that count.
    """
    a, b = checked_pair(a, b)
    counted = _weights(weights, a)
    # Centred on the plain mean first: sums of squares cancel far from zero.
    return _as_given(_correlation(a - a.mean(), b - b.mean(), counted), weights)


def spearman(a: Tensor, b: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Spearman's rank correlation, ties at their mean rank; arguments and result as of `pearson`."""
    a, b = checked_pair(a, b)
    counted = _weights(weights, a)
    return _as_given(_correlation(_mid_ranks(a, counted), _mid_ranks(b, counted), counted), weights)


class ConfidenceCalibration(Metric):
    """Whether confidence keeps its word and goes with being right, with 95 % bootstrap intervals over models.

    Whole models are drawn: the keypoints of one err together. `compute` returns float tensors under these keys:

    - "ece", "ece_equal_count": expected calibration error in bins of equal width, and of equal count;
    - "brier": the Brier score;
    - "pearson", "spearman_correct": correlation of confidence with being right;
    - "pearson_error", "spearman": with the error, its sign turned, so that higher is better everywhere;
    - each of these with "/low" and "/high", the ends of its interval (NaN for a single model, which has no spread),
      that of the first two by `basic_interval`, since resamples lie above them;
    - "mean_confidence", "share_correct": the same, if confidence keeps its word on the whole;
    - "reliability_confidence", "reliability_correct", "reliability_number", (num_bins,): the curve in bins of equal
      width; the same with "_equal_count" at the end.

    A correlation is NaN where one of the two is the same for all.

    Args:
        threshold: the error up to which a keypoint is right, in the unit of the errors; what confidence is of.
        num_bins: of curve and calibration error.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, threshold: float, num_bins: int = 10, num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        if not 0 < threshold < float("inf"):
            raise ValueError(f"threshold must be positive and finite, got {threshold}")
        if num_bins < 1 or num_bootstrap < 0:
            raise ValueError(
                f"num_bins must be at least 1 and num_bootstrap not negative, got {num_bins} and {num_bootstrap}"
            )
        self.threshold, self.num_bins = threshold, num_bins
        self.num_bootstrap, self.seed = num_bootstrap, seed
        add_case_states(self)

    def update(self, confidence: Tensor, error: Tensor) -> None:
        """Add models: confidence (B, K) in [0, 1], error (B, K), NaN where the keypoint is absent."""
        add_cases(self, confidence, error)

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no visible keypoint was given, or a confidence that is no probability.
        """
        confidence, error = collected_cases(self)
        num_models, visible = len(error), ~error.isnan()
        if not visible.any():
            raise ValueError(f"ConfidenceCalibration needs at least one visible keypoint, got {num_models} models")
        confidence, error = confidence[visible], error[visible]
        correct = error.to(self.dtype) <= self.threshold  # a float32 0.05 is above a float64 one
        result = self._scores(confidence, error, correct, None)
        if self.num_bootstrap:
            weights = case_weights(visible.nonzero()[:, 0], num_models, self.num_bootstrap, seed=self.seed)
            for name, drawn in self._scores(confidence, error, correct, weights).items():
                biased = name.startswith("ece")
                low, high = basic_interval(result[name], drawn) if biased else percentile_interval(drawn)
                if num_models < 2:
                    low = high = drawn.new_tensor(torch.nan)
                result |= {f"{name}/low": low, f"{name}/high": high}
        result |= {"mean_confidence": confidence.mean(), "share_correct": correct.double().mean()}
        for bins, ending in _BINS.items():
            curve = reliability_curve(confidence, correct, num_bins=self.num_bins, bins=bins)
            result |= {
                f"reliability_{name}{ending}": getattr(curve, name) for name in ("confidence", "correct", "number")
            }
        return {name: value.to(self.device) for name, value in result.items()}

    def _scores(self, confidence: Tensor, error: Tensor, correct: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        """Each score of all cases, or (R,) under weights (R, n)."""
        eces = {
            f"ece{ending}": expected_calibration_error(
                confidence, correct, num_bins=self.num_bins, bins=bins, weights=weights
            )
            for bins, ending in _BINS.items()
        }
        return eces | {
            "brier": brier_score(confidence, correct, weights=weights),
            "pearson": pearson(confidence, correct, weights=weights),
            "spearman": spearman(confidence, -error, weights=weights),
            "pearson_error": pearson(confidence, -error, weights=weights),
            "spearman_correct": spearman(confidence, correct, weights=weights),
        }


def case_weights(model: Tensor, num_models: int, num: int, *, seed: int = 0) -> Tensor:
    """How often each case counts in `num` resamples of the models: model (n,) of each case -> (num, n) float64."""
    return resample_weights(num_models, num, seed=seed)[:, model.cpu()]


def checked_pair(a: Tensor, b: Tensor, names: tuple[str, str] = ("a", "b")) -> tuple[Tensor, Tensor]:
    """Both as float64, found to be finite, of one dimension and as many values."""
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
    """The weights (R, n) in float64, of None a row of ones."""
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
    """(R,) whether all values that count are equal, or none counts."""
    counts = weights > 0
    high = values.masked_fill(~counts, -torch.inf).amax(dim=1)
    low = values.masked_fill(~counts, torch.inf).amin(dim=1)
    return ~(high > low)


def _mid_ranks(values: Tensor, weights: Tensor) -> Tensor:
    """Ranks (R, n) of values (n,) each standing there as often as its weight says, ties at their mean rank."""
    distinct, place = values.unique(return_inverse=True)
    often = weights.new_zeros(len(weights), len(distinct)).index_add_(1, place, weights)
    return (often.cumsum(dim=1) - often / 2)[:, place]
