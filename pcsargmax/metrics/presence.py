"""How well a detector knows which keypoints a shape has, and what its positions are worth with that.

PCK over visible keypoints asks for positions only, where there is something to find. A user is not told what is there:
of a keypoint that the detector claims, the claim and the position must both be right. So beside it stand precision,
recall and F1 of the claims within a distance (`claimed_counts`), as for any detector of objects (Lin et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.average_precision import average_precision
from pcsargmax.metrics.bootstrap import basic_interval, bootstrap_interval, check_num_bootstrap, resample_weights
from pcsargmax.metrics.calibration import brier_score, expected_calibration_error
from pcsargmax.metrics.cases import add_case_states, add_cases, collected_cases
from pcsargmax.metrics.pck import correct, threshold_name


def presence_average_precision(score: Tensor, visible: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Average precision of telling, id by id, on which models a keypoint is.

    AP = Σ_n (R_n − R_{n−1}) P_n over the distinct scores, falling: precision P_n and recall R_n of the models of that
    score and above (the area without interpolation, as scikit-learn's `average_precision_score`).

    Args:
        score: (M, K) how sure the detector is that the model has the keypoint; any range.
        visible: (M, K) bool, True where the model has it.
        weights: (R, M) how often each model counts; None: once.

    Returns:
        (K,) or, with weights, (R, K) float64. 1 for an id that all models have, whatever the scores; NaN for one that
        none has. `chance_precision` is what scores that tell nothing would get.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a score that is not finite.
    """
    _check(score, visible)
    found = []
    for own, has in zip(score.detach().double().T, visible.T, strict=True):
        count = has.sum() if weights is None else weights.double() @ has.double()
        found.append(average_precision(own, has, count, interpolation="none", weights=weights))
    return torch.stack(found, dim=-1)


def chance_precision(num_positives: Tensor, num_cases: int) -> Tensor:
    """The expected average precision of M cases in random order, of which p are positive.

        (p − 1) / (M − 1) + (M − p) H_M / (M (M − 1)),    H_M = 1 + 1/2 + … + 1/M

    It tends to p / M, but lies well above it for few cases: 0.29 for 1 of 10. Scores that are all equal are no order,
    and get p / M exactly.

    Args:
        num_positives: (...) p, 0 to M.
        num_cases: M, at least 1.

    Returns:
        (...) float64; NaN where p is 0.

    Raises:
        ValueError: numbers out of range.
    """
    if num_cases < 1 or ((num_positives < 0) | (num_positives > num_cases)).any():
        raise ValueError(
            "num_positives must be 0 to num_cases, which must be at least 1, "
            f"got {num_positives.tolist()} of {num_cases}"
        )
    positive = num_positives.double()
    harmonic = sum(1 / rank for rank in range(1, num_cases + 1))
    others = max(num_cases - 1, 1)  # a single positive case comes first
    found = (positive - 1) / others + (num_cases - positive) * harmonic / (num_cases * others)
    return found.where(positive < num_cases, 1.0).masked_fill(positive == 0, torch.nan)


def claimed_counts(errors: Tensor, claimed: Tensor, thresholds: Sequence[float], *, strict: bool = False) -> Tensor:
    """Per model, how many claims are true: the keypoint is there, and its position within the threshold.

    Args:
        errors: (M, K) distance to the annotation, NaN where the keypoint is absent.
        claimed: (M, K) bool, True where the detector says that it is there.
        thresholds: T distances, the unit of the errors, positive and ascending.
        strict: within means < instead of ≤.

    Returns:
        (M, T, 3) float64: of each model the true claims, the claims, and the keypoints that are there. A claim of what
        is absent, or is elsewhere, is a false positive; a keypoint that is not claimed, or elsewhere, is missed. So
        precision is true / claims, recall true / there (PCK of which claimed absent is wrong), and F1 2 · true /
        (claims + there).

    Raises:
        ValueError: shapes that do not agree, `claimed` not bool, or thresholds that are none.
    """
    if errors.ndim != 2 or claimed.shape != errors.shape or claimed.dtype != torch.bool:
        raise ValueError(
            f"errors must be (M, K) and claimed bool of that shape, got {tuple(errors.shape)} and "
            f"{claimed.dtype} of shape {tuple(claimed.shape)}"
        )
    hits = correct(errors, thresholds, strict=strict).nan_to_num(nan=0.0).double()  # (M, K, T)
    true = (hits * claimed[..., None]).sum(dim=1)
    claims, there = claimed.sum(dim=1, keepdim=True), (~errors.isnan()).sum(dim=1, keepdim=True)
    return torch.stack([true, claims.expand_as(true), there.expand_as(true)], dim=-1)


class KeypointPresence(Metric):
    """Presence of keypoints: average precision, accuracy, and PCK of claims, with 95 % intervals over models.

    `compute` returns float64 tensors under these keys; shares run from 0 to 1:

    - "average_precision_per_keypoint" (K,), as in `presence_average_precision`, and "prevalence_per_keypoint" (K,), the
      share of the models that have it;
    - "average_precision", "prevalence", "chance" (`chance_precision`): means over the ids that some models have and
      others lack, "num_varying" of them, which alone tell anything; NaN where there is none;
    - "average_precision_absent", "chance_absent": the same of telling the models that lack the keypoint, mostly fewer;
    - "average_precision_pooled": of all ids together, so that one threshold must do for all;
    - "accuracy" of claims at 0.5, "balanced_accuracy": the mean of the shares of the present and of the absent that are
      told right, NaN where either is missing; "brier" and "ece": of the score as a probability, all ids together;
    - "precision@0.01", "recall@0.01" and "f1@0.01" and so on, of `claimed_counts` over all models, NaN
      where there is no claim or nothing to find;
    - "accuracy", "precision@…", "recall@…", "f1@…", "average_precision" and "average_precision_absent" with "/low" and
      "/high", the ends of the interval, of the last two by `basic_interval`.

    Args:
        thresholds: of the PCK of claims, in the unit of the errors.
        strict: within means < instead of ≤.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        correct(torch.zeros(0, 1), thresholds)  # checks them
        check_num_bootstrap(num_bootstrap)
        self.thresholds, self.strict = tuple(thresholds), strict
        self.num_bootstrap, self.seed = num_bootstrap, seed
        add_case_states(self)

    def update(self, score: Tensor, errors: Tensor) -> None:
        """Add models: score (B, K), probabilities of being there, and errors (B, K), NaN where the keypoint is not."""
        _check(score, ~errors.isnan())
        if outside := score[(score < 0) | (score > 1)].tolist():
            raise ValueError(f"score must lie within [0, 1], got {outside[0]}")
        add_cases(self, score, errors, "score")

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model was given.
        """
        score, errors = collected_cases(self)
        if not len(score):
            raise ValueError("KeypointPresence needs at least one model, got none")
        result = self._ranking(score, ~errors.isnan()) | self._claims(score, errors)
        return {name: value.to(self.device) for name, value in result.items()}

    def _ranking(self, score: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """What does not depend on where a claim begins, and the shares told right."""
        precision, share = presence_average_precision(score, visible), visible.double().mean(dim=0)
        varying = (share > 0) & (share < 1)
        absent = presence_average_precision(-score, ~visible)
        count, models = visible.sum(dim=0), len(visible)
        right = ((score >= 0.5) == visible).double()
        return {
            "average_precision_per_keypoint": precision,
            "prevalence_per_keypoint": share,
            "average_precision": precision[varying].mean(),
            "prevalence": share[varying].mean(),
            "chance": chance_precision(count, models)[varying].mean(),
            "average_precision_absent": absent[varying].mean(),
            "chance_absent": chance_precision(models - count, models)[varying].mean(),
            "average_precision_pooled": presence_average_precision(score.reshape(-1, 1), visible.reshape(-1, 1))[0],
            "num_varying": varying.sum(),
            "balanced_accuracy": (right[visible].mean() + right[~visible].mean()) / 2,
            "brier": brier_score(score.flatten(), visible.flatten()),
            "ece": expected_calibration_error(score.flatten(), visible.flatten()),
        } | self._ranking_intervals(score[:, varying], visible[:, varying])

    def _ranking_intervals(self, score: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Ends of the intervals of average precision, of the ids that vary; in a resample those count that do there."""
        if not self.num_bootstrap:
            return {}
        weights = resample_weights(len(score), self.num_bootstrap, seed=self.seed)
        share = weights @ visible.double() / len(score)
        varying = (share > 0) & (share < 1)
        result: dict[str, Tensor] = {}
        for name, sure, has in (("", score, visible), ("_absent", -score, ~visible)):
            low = high = torch.tensor(torch.nan, dtype=torch.float64)
            if varying.any():
                figure = presence_average_precision(sure, has).mean()
                drawn = presence_average_precision(sure, has, weights=weights).where(varying, torch.nan)
                low, high = basic_interval(figure, drawn.nanmean(dim=1))
            result |= {f"average_precision{name}/low": low, f"average_precision{name}/high": high}
        return result

    def _claims(self, score: Tensor, errors: Tensor) -> dict[str, Tensor]:
        """Accuracy, and precision, recall and F1 of the claims, each with its interval."""
        claimed = score >= 0.5
        right = (claimed == ~errors.isnan()).double().mean(dim=1)
        counts = claimed_counts(errors.to(self.dtype), claimed, self.thresholds, strict=self.strict)
        pairs = {"accuracy": (right, torch.ones_like(right))}
        for number, threshold in enumerate(self.thresholds):
            true, claims, there = counts[:, number].unbind(dim=-1)
            name = threshold_name(threshold)
            pairs |= {
                f"precision@{name}": (true, claims),
                f"recall@{name}": (true, there),
                f"f1@{name}": (2 * true, claims + there),
            }
        above, below = (torch.stack(parts, dim=1) for parts in zip(*pairs.values(), strict=True))
        result = dict(zip(pairs, above.sum(dim=0) / below.sum(dim=0), strict=True))
        if self.num_bootstrap:
            ends = bootstrap_interval(above, below, num=self.num_bootstrap, seed=self.seed)
            for end, values in zip(("low", "high"), ends, strict=True):
                result |= {f"{name}/{end}": value for name, value in zip(pairs, values, strict=True)}
        return result


def _check(score: Tensor, visible: Tensor) -> None:
    if score.ndim != 2 or visible.shape != score.shape or visible.dtype != torch.bool:
        raise ValueError(
            "score must be (M, K) and visibility bool of that shape, got "
            f"{tuple(score.shape)} and {visible.dtype} of shape {tuple(visible.shape)}"
        )
    if not score.isfinite().all():
        raise ValueError(f"score must be finite, got {score[~score.isfinite()][0].item()}")
