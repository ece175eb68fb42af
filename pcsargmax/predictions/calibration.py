"""Confidence that keeps its word, and a radius that holds the true point, both fitted on validation data.

Lengths are in the unit frame, shares of a cloud's bounding-box diagonal, so that what was fitted holds for clouds in
any unit. Everything here rests on one assumption, that new shapes are drawn like those of the validation split
(exchangeable), and is to be read with three reservations:

- The keypoints of a shape are not independent, so a split counts for less than its number of keypoints: the coverage of
  one run scatters more about the nominal one than for as many independent points, though it is right on average.
- The same split chose the checkpoint, so both are slightly optimistic.
- Both hold on average over keypoints and shapes, not for each kind of keypoint or shape by itself.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from pcsargmax.core.distribution import KeypointDistribution

Measure = Literal["threshold_mass", "mass", "peak", "entropy", "spread"]
RadiusForm = Literal["scaled", "plain"]

#: An error up to this share of the bounding-box diagonal is correct.
THRESHOLD = 0.02
#: As how many keypoints of the average share every stretch of the regression counts besides its own.
PRIOR = 2.0
#: How often the true point shall lie within the radius.
COVERAGE = 0.9


def confidence_measure(
    maps: KeypointDistribution,
    measure: Measure = "threshold_mass",
    threshold: float = THRESHOLD,
    *,
    center: Tensor | None = None,
) -> Tensor:
    """Return the confidence in the mean of each probability map, from the map alone; higher is better.

    | measure | what it is | Pearson's r with an error <= 0.02 |
    |---|---|---|
    | "threshold_mass" | probability of the sites within the threshold of the mean | .40 .30 .33 .23 |
    | "spread" | minus the root mean square distance from the mean | .28 .25 .27 .23 |
    | "mass" | probability of the sites within 3 σ of the mean, σ of the basis | .24 .18 .31 .20 |
    | "entropy" | minus the entropy | .23 .11 .30 .23 |
    | "peak" | probability of the most probable site: the paper's | .17 .04 .28 .17 |

    The figures are of mugs by soft- and by sampling-argmax, then of teeth by both, each the mean of three runs on their
    test splits (benchmarks/confidence_measures.py). They are why the first is the default; at thresholds of 0.01 (.51
    .46 .17 .12) and 0.05 (.17 .17 .21 .39) it was the best too, or within .04 of it. And it is what confidence shall
    be, the probability of an error up to the threshold, as the map itself estimates it: within [0, 1] and usable where
    nothing was calibrated. On clouds so sparse that hardly a point lies within the threshold it tells little; "spread"
    does not depend on that.

    Args:
        maps: of B clouds in the unit frame.
        measure: one of the above.
        threshold: a distance in the unit frame, for "threshold_mass".
        center: (B, K, 3) positions in place of the mean, where others were made of the maps; for "threshold_mass" and
            "mass".

    Returns:
        (B, K).

    Raises:
        ValueError: an unknown measure.

    Example:
        >>> import torch
        >>> from pcsargmax import KeypointDistribution, confidence_measure
        >>> sites = torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0.5, 0, 0]])
        >>> maps = KeypointDistribution(torch.tensor([[[0.6, 0.38, 0.02]]]).log(), sites)  # mean at 0.0138
        >>> confidence_measure(maps), confidence_measure(maps, "peak")
        (tensor([[0.9800]]), tensor([[0.6000]]))
    """
    if measure == "threshold_mass":
        return maps.mass_within(threshold, center)
    if measure == "mass":
        return maps.mass_within(3 * maps.basis_width.unsqueeze(1), center)
    if measure == "peak":
        return maps.peak
    if measure == "entropy":
        return -maps.entropy
    if measure == "spread":
        return -maps.spread
    raise ValueError(f"measure: expected one of {', '.join(get_args(Measure))}, got {measure!r}")


@dataclass(frozen=True)
class Calibration:
    """A calibrated confidence and error radius of keypoint maps; the module states the assumptions.

    Attributes:
        measure: of confidence, see `confidence_measure`.
        threshold: the error up to which a keypoint is correct, in the unit frame.
        knots: values of the measure, ascending.
        probabilities: of a correct keypoint at the knots, never falling; between them it is interpolated.
        form: "scaled", a radius in proportion to the spread of each map; "plain", the same for all.
        coverage: 1 − α, how often the true point shall lie within the radius.
        quantile: the radius over the spread, or the radius itself; None where `coverage` would take more keypoints.
        num_keypoints: how many it was fitted to.

    Raises:
        ValueError: naming the field, what was expected and what came.

    Example:
        >>> import torch
        >>> from pcsargmax import Calibration
        >>> error = torch.tensor([0.01] * 10 + [0.03] * 10)  # of validation keypoints, in the unit frame
        >>> measured = torch.tensor([0.9] * 10 + [0.1] * 10)
        >>> calibration = Calibration.fit(measured, spread=torch.full((20,), 0.02), error=error)
        >>> calibration.confidence(torch.tensor([0.1, 0.5, 0.9]))  # of an error up to 0.02; held back from 0 and 1
        tensor([0.0833, 0.5000, 0.9167], dtype=torch.float64)
        >>> calibration.radius(torch.tensor([0.01]))
        tensor([0.0150], dtype=torch.float64)
    """

    measure: Measure
    threshold: float
    knots: tuple[float, ...]
    probabilities: tuple[float, ...]
    form: RadiusForm
    coverage: float
    quantile: float | None
    num_keypoints: int

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("measure", self.measure, get_args(Measure))
        check_choice("form", self.form, get_args(RadiusForm))
        check_threshold(self.threshold)
        _check_coverage(self.coverage)
        object.__setattr__(self, "knots", _numbers("knots", self.knots))
        object.__setattr__(self, "probabilities", _numbers("probabilities", self.probabilities))
        if not self.knots or any(b <= a for a, b in pairwise(self.knots)):
            raise ValueError(f"knots: expected ascending numbers, at least one, got {self.knots}")
        shares = self.probabilities
        if len(shares) != len(self.knots):
            raise ValueError(f"probabilities: expected {len(self.knots)}, one for each knot, got {len(shares)}")
        if not all(0 <= p <= 1 for p in shares) or any(b < a for a, b in pairwise(shares)):
            raise ValueError(f"probabilities: expected numbers within [0, 1] that never fall, got {shares}")
        if self.quantile is not None and not (_is_number(self.quantile) and 0 <= self.quantile < math.inf):
            raise ValueError(f"quantile: expected a finite number >= 0 or None, got {self.quantile!r}")
        if not isinstance(self.num_keypoints, int) or isinstance(self.num_keypoints, bool) or self.num_keypoints < 1:
            raise ValueError(f"num_keypoints: expected an integer >= 1, got {self.num_keypoints!r}")

    @classmethod
    def fit(
        cls,
        measured: Tensor,
        spread: Tensor,
        error: Tensor,
        *,
        measure: Measure = "threshold_mass",
        threshold: float = THRESHOLD,
        form: RadiusForm = "scaled",
        coverage: float = COVERAGE,
    ) -> Self:
        """Fit the probability of being correct (isotonic regression) and the radius (split conformal).

        Bare isotonic regression is sure, 0 or 1, at both ends, by a few keypoints that happened to be right or wrong:
        in the trial below those it gave 1 were right in 71, 56, 93 and 94 % of cases. `PRIOR` keypoints of the average
        share in every stretch mend that, and the mean log loss fell from .61 .68 .64 .65 to .59 .64 .62 .63.

        The scaled radius is the default: of the same coverage, it told good from bad. On the runs of
        `confidence_measure`, one half of the test shapes fitted and the other measured (200 times), coverages at 0.9
        were .90 for both forms, but in the third of the narrowest and the third of the widest maps

        | | mugs, soft | mugs, sampling | teeth, soft | teeth, sampling |
        |---|---|---|---|---|
        | plain, narrowest and widest | .94 .84 | .94 .85 | .98 .81 | .94 .82 |
        | scaled | .89 .91 | .89 .91 | .91 .94 | .92 .86 |
        | mean radius, plain and scaled | .043 .041 | .045 .044 | .040 .045 | .038 .036 |

        Args:
            measured: (n,) the measure of each keypoint.
            spread: (n,) `KeypointDistribution.spread`, in the unit frame.
            error: (n,) distance of the mean to the true point, in the unit frame.
            measure: what `measured` is.
            threshold: the error up to which a keypoint is correct.
            form: of the radius.
            coverage: of the radius.

        Raises:
            ValueError: no keypoint, sets of unequal length, values that are not finite, or an argument that is none.
        """
        parts = {"measured": measured, "spread": spread, "error": error}
        for name, values in parts.items():
            if values.shape != (len(error),) or not len(error):
                raise ValueError(f"{name}: expected shape (n,), n the same for all and >= 1, got {tuple(values.shape)}")
            if not values.isfinite().all():
                raise ValueError(f"{name}: expected finite numbers, got {values[~values.isfinite()][0].item()}")
        check_choice("form", form, get_args(RadiusForm))
        check_threshold(threshold)
        measured, spread, error = (values.detach().cpu().double() for values in (measured, spread, error))
        # A map without any spread claims to be exact: where it is not, no multiple of its spread is enough.
        scores = error if form == "plain" else torch.where(error > 0, error / spread, 0.0)
        knots, probabilities = isotonic(measured, (error <= threshold).double(), PRIOR)
        return cls(
            measure=measure,
            threshold=threshold,
            knots=knots,
            probabilities=probabilities,
            form=form,
            coverage=coverage,
            quantile=conformal_quantile(scores, coverage),
            num_keypoints=len(error),
        )

    def confidence(self, measured: Tensor) -> Tensor:
        """Return the probability of an error up to the threshold, float64 of the shape of `measured`, on the CPU.

        Below the first knot and above the last it stays as it is there.
        """
        values = np.interp(measured.detach().cpu().double().numpy(), self.knots, self.probabilities)
        return torch.from_numpy(np.asarray(values))

    def radius(self, spread: Tensor) -> Tensor | None:
        """Return the distance within which the true point lies with probability `coverage`, in the unit frame.

        Args:
            spread: (...) of the maps, in the unit frame.

        Returns:
            (...) float64, or None where there were too few keypoints to tell.
        """
        if self.quantile is None:
            return None
        return self.quantile * (spread.double() if self.form == "scaled" else torch.ones_like(spread).double())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and lists for JSON; `from_dict` gives the same calibration back, bit for bit."""
        return asdict(self) | {"knots": list(self.knots), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the calibration that `to_dict` wrote.

        Raises:
            ValueError: keys that are missing or unknown, or values that are not valid.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            got = sorted(values) if isinstance(values, dict) else values
            raise ValueError(f"a calibration must have the keys {', '.join(sorted(names))}, got {got}")
        return cls(**values)


def isotonic(measured: Tensor, correct: Tensor, prior: float = 0.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit the share of correct ones as a function of the measure that never falls, by least squares.

    Args:
        measured: (n,) float64.
        correct: (n,) float64, 1 or 0.
        prior: as how many cases of the average share, (correct + 1) / (n + 2), each stretch of equal shares counts
            besides its own; 0 is plain isotonic regression.

    Returns:
        knots, ascending, and the share at each: of every stretch of equal shares its two ends.
    """
    from scipy.optimize import isotonic_regression

    # Equal values of the measure can but have one share: their mean.
    values, group = measured.unique(return_inverse=True)
    count = torch.zeros_like(values).index_add_(0, group, torch.ones_like(measured))
    share = torch.zeros_like(values).index_add_(0, group, correct) / count
    stretches = isotonic_regression(share.numpy(), weights=count.numpy())
    average = (float(correct.sum()) + 1) / (len(correct) + 2)
    held = (stretches.weights * stretches.x[stretches.blocks[:-1]] + prior * average) / (stretches.weights + prior)
    # Small stretches are held more than large ones, which may put two in the wrong order.
    ordered = isotonic_regression(held, weights=stretches.weights + prior).x
    fitted = np.clip(np.repeat(ordered, np.diff(stretches.blocks)), 0, 1)
    inner = np.zeros(len(fitted), dtype=bool)
    inner[1:-1] = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    return tuple(values.numpy()[~inner].tolist()), tuple(fitted[~inner].tolist())


def conformal_quantile(scores: Tensor, coverage: float) -> float | None:
    """Return the ⌈(n + 1) · coverage⌉-th smallest of n scores (split conformal prediction, Vovk et al. 2005).

    The score of one more case, exchangeable with them, is at most that with a probability of at least `coverage`, and
    of less than `coverage` + 1/(n + 1) where there are no ties.

    Args:
        scores: (n,), no NaN.
        coverage: 1 − α, within (0, 1).

    Returns:
        The score; None where n < coverage / (1 − coverage), so that no finite bound has that coverage, or where the
        score is infinite.

    Raises:
        ValueError: a coverage outside (0, 1).
    """
    _check_coverage(coverage)
    # Not to be rounded up for the last digit of the product.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        return None
    score = float(scores.sort().values[max(rank, 1) - 1])
    return score if math.isfinite(score) else None


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return finite numbers as a tuple."""
    if not isinstance(values, list | tuple) or not all(_is_number(v) and math.isfinite(v) for v in values):
        raise ValueError(f"{name}: expected a list of finite numbers, got {values!r}")
    return tuple(float(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError for a value that is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_threshold(threshold: Any) -> None:
    """Raise ValueError for anything but a positive finite number."""
    if not (_is_number(threshold) and 0 < threshold < math.inf):
        raise ValueError(f"threshold: expected a positive finite number, got {threshold!r}")


def _check_coverage(coverage: Any) -> None:
    if not (_is_number(coverage) and 0 < coverage < 1):
        raise ValueError(f"coverage: expected a share within (0, 1), got {coverage!r}")
