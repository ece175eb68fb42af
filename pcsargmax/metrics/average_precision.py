"""Average precision of scored keypoints, as the PASCAL VOC challenge counts it (Everingham et al., IJCV 2010 and 2015).

A keypoint found within a distance of the annotated one is a hit, any other a false positive. Sorted by score, over all
models, they trace a curve of precision against recall, whose area is the average precision.

`keypoint_average_precision` and `KeypointAP` ask each keypoint id by itself and average: one guess a model and id.
`saliency_average_precision` is the protocol of KeypointNet's own benchmark, where every point of a cloud is a guess at
some keypoint or other.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import basic_interval, check_num_bootstrap, flat_rows, resample_weights
from pcsargmax.metrics.pck import checked_thresholds, correct, count_update, keypoint_errors, threshold_name

Interpolation = Literal["all", "11", "none"]


def average_precision(
    scores: Tensor,
    hits: Tensor,
    num_positives: Tensor | float,
    *,
    interpolation: Interpolation = "all",
    weights: Tensor | None = None,
) -> Tensor:
    """Area under the curve of precision against recall of scored guesses.

    Guesses of equal score are taken at once, so their order does not matter.

    Args:
        scores: (n,) of the guesses, higher is surer.
        hits: (n,) bool, the guess is right.
        num_positives: () what there was to be found; recall is hits over it. (R,) with weights.
        interpolation: "all": the envelope of the curve, precision at recall r being the largest at any recall ≥ r, at
            every point (VOC from 2010 on, KeypointNet); "11": its mean at recalls 0, 0.1, …, 1 (VOC 2007); "none": the
            steps of the curve itself (scikit-learn).
        weights: (R, n), how often each guess counts, e.g. of resamples; None: once.

    Returns:
        () or, with weights, (R,) float64, 0 to 1; NaN where there was nothing to be found.

    Raises:
        ValueError: shapes that do not agree, scores NaN, `hits` not bool, or an unknown interpolation.
    """
    _check_guesses(scores, hits, interpolation)
    positives = torch.as_tensor(num_positives, dtype=torch.float64, device=scores.device)
    order = scores.argsort(descending=True, stable=True)
    counts = torch.ones_like(scores, dtype=torch.float64) if weights is None else weights[..., order].double()
    ordered = scores[order]
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    true = (counts * hits[order]).cumsum(dim=-1)[..., last]
    guessed = counts.cumsum(dim=-1)[..., last]
    precision = true / guessed.clamp_min(torch.finfo(torch.float64).tiny)  # none drawn yet: 0 of 0, at recall 0
    if interpolation != "none":
        precision = precision.flip(-1).cummax(dim=-1).values.flip(-1)
    if interpolation == "11":
        area = _eleven_points(true, precision, positives)
    else:
        gained = torch.diff(true, prepend=torch.zeros_like(true[..., :1]))
        area = (gained * precision).sum(dim=-1) / positives
    return area.masked_fill(positives == 0, torch.nan)


def _eleven_points(true: Tensor, envelope: Tensor, positives: Tensor) -> Tensor:
    """Mean of the envelope (..., n) at 11 recalls, 0 beyond the last; true (..., n) are the hits so far."""
    tenths = torch.arange(11, dtype=torch.float64, device=true.device)
    needed = tenths * positives[..., None] / 10  # (..., 11) hits, not recalls, which would not be exact
    place = torch.searchsorted(true.contiguous(), needed.contiguous())
    padded = torch.nn.functional.pad(envelope, (0, 1))
    return padded.gather(-1, place).mean(dim=-1)


def keypoint_average_precision(
    errors: Tensor,
    scores: Tensor,
    thresholds: Sequence[float],
    *,
    interpolation: Interpolation = "all",
    strict: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """Average precision of each keypoint id over the models, every model giving one guess or none.

    A guess is a hit if its error is within the threshold; where the model lacks the keypoint it is false. What is
    annotated and was not guessed lowers the recall.

    Args:
        errors: (M, K) of the guesses, raw units, NaN where the model lacks the keypoint; see `keypoint_errors`.
        scores: (M, K) of the guesses, higher is surer, comparable between models, such as confidence times presence;
            NaN where the keypoint is not guessed to exist.
        thresholds: T distances, raw units, positive and ascending.
        interpolation: as in `average_precision`.
        strict: within means < instead of ≤ (KeypointNet).
        weights: (R, M), how often each model counts; None: once.

    Returns:
        (T, K) or, with weights, (R, T, K) float64, NaN for an id that no model has; mAP is the mean of the others.

    Raises:
        ValueError: shapes that do not agree, or as in `average_precision`.
    """
    if errors.ndim != 2 or errors.shape != scores.shape:
        raise ValueError(f"errors and scores must both be (M, K), got {tuple(errors.shape)} and {tuple(scores.shape)}")
    if weights is not None and (weights.ndim != 2 or weights.shape[1] != len(errors)):
        raise ValueError(f"weights must be (R, {len(errors)}), got {tuple(weights.shape)}")
    limits = checked_thresholds(thresholds)
    hits = correct(errors, limits, strict=strict) == 1  # (M, K, T), NaN is no hit
    visible, guessed = ~errors.isnan(), ~scores.isnan()
    found = errors.new_empty(() if weights is None else (len(weights),), dtype=torch.float64)
    found = found.new_empty(*found.shape, len(limits), errors.shape[1])
    for k in range(errors.shape[1]):
        some, have = guessed[:, k], visible[:, k].double()
        positives = have.sum() if weights is None else weights.double() @ have
        own = None if weights is None else weights[:, some]
        for t in range(len(limits)):
            found[..., t, k] = average_precision(
                scores[some, k], hits[some, k, t], positives, interpolation=interpolation, weights=own
            )
    return found


def saliency_hits(distance: Tensor, scores: Tensor, threshold: float, *, strict: bool = True) -> Tensor:
    """Which of the guesses on one model are hits: KeypointNet's matching, where guesses have no ids.

    A guess belongs to the annotation nearest to it. The surest of those within the threshold of theirs is a hit, the
    others are false, also where a further annotation within reach is still free.

    Args:
        distance: (P, G), from each guess to each annotation; infinite where no path joins them.
        scores: (P,) of the guesses; among equal ones the first comes first.
        threshold: same unit as the distances.
        strict: within means < (as there) instead of ≤.

    Returns:
        (P,) bool.
    """
    if distance.ndim != 2 or scores.shape != distance.shape[:1]:
        raise ValueError(
            f"distance and scores must be (P, G) and (P,), got {tuple(distance.shape)} and {tuple(scores.shape)}"
        )
    hits = torch.zeros_like(scores, dtype=torch.bool)
    if not distance.numel():
        return hits
    nearest, owner = distance.min(dim=1)
    within = nearest < threshold if strict else nearest <= threshold
    order = scores.argsort(descending=True, stable=True)
    order = order[within[order]]
    for annotation in owner[order].unique():
        hits[order[owner[order] == annotation][0]] = True
    return hits


def saliency_average_precision(
    distances: Sequence[Tensor],
    scores: Sequence[Tensor],
    thresholds: Sequence[float],
    *,
    interpolation: Interpolation = "all",
    strict: bool = True,
) -> Tensor:
    """KeypointNet's mAP (You et al., CVPR 2020): every point of every cloud is a guess, scored by its saliency.

    Args:
        distances: of each model (P, G), from its points to its annotations, along the cloud (`CloudGraph`) as there.
        scores: of each model (P,), the `saliency` of its points.
        thresholds: T distances, same unit, positive and ascending.
        interpolation: as in `average_precision`.
        strict: within means < (as there) instead of ≤.

    Returns:
        (T,) float64; NaN without any annotation.
    """
    if len(distances) != len(scores):
        raise ValueError(f"distances and scores must be of as many models, got {len(distances)} and {len(scores)}")
    limits = checked_thresholds(thresholds)
    pooled = torch.cat([torch.empty(0), *scores])
    annotated = sum(distance.shape[1] for distance in distances)
    found = []
    for limit in limits:
        hits = [saliency_hits(d, s, limit, strict=strict) for d, s in zip(distances, scores, strict=True)]
        every = torch.cat([torch.empty(0, dtype=torch.bool), *hits])
        found.append(average_precision(pooled, every, annotated, interpolation=interpolation))
    return torch.stack(found)


class KeypointAP(Metric):
    """Mean average precision of scored keypoints within distances, with 95 % bootstrap intervals over models.

    `compute` returns tensors, 0 to 1:

    - "map@0.01" and so on per threshold: mean over the keypoint ids of their average precision;
    - the same with "/low" and "/high", the ends of the interval (`basic_interval`); NaN for a single model;
    - "ap_per_keypoint" (T, K): NaN for an id that no model has;
    - "num_models", "num_keypoints": models given, annotated keypoints among them.

    Args:
        thresholds: raw units, positive and ascending.
        interpolation: "all" or "11" points, or "none"; see `average_precision`.
        strict: a keypoint is a hit if its error is < instead of ≤ the threshold.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_values: list[Tensor]
    num_ids: Tensor

    def __init__(
        self,
        thresholds: Sequence[float] = (0.01, 0.02, 0.05),
        interpolation: Interpolation = "all",
        strict: bool = False,
        num_bootstrap: int = 1000,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = checked_thresholds(thresholds)
        check_num_bootstrap(num_bootstrap)
        _check_interpolation(interpolation)
        self.interpolation: Interpolation = interpolation
        self.strict = strict
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the number of ids apart: a process without any model can then still be gathered.
        self.add_state("flat_values", default=[], dist_reduce_fx="cat")
        self.add_state("num_ids", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor, scores: Tensor) -> None:
        """Add models: prediction and target (B, K, D), raw units, visible (B, K) bool, scores (B, K)."""
        self._add(keypoint_errors(prediction, target, visible), scores)

    def update_errors(self, errors: Tensor, scores: Tensor) -> None:
        """Add models by errors and scores (B, K); see `keypoint_average_precision`."""
        count_update(self)
        self._add(errors, scores)

    def _add(self, errors: Tensor, scores: Tensor) -> None:
        if errors.ndim != 2 or errors.shape != scores.shape:
            raise ValueError(
                f"errors and scores must both be (B, K), got {tuple(errors.shape)} and {tuple(scores.shape)}"
            )
        if self.num_ids not in (0, errors.shape[1]):
            raise ValueError(f"errors must have {int(self.num_ids)} keypoints as before, got {errors.shape[1]}")
        self.num_ids.fill_(errors.shape[1])
        values = torch.stack([errors.detach().to(self.dtype), scores.detach().to(errors.device, self.dtype)], dim=-1)
        self.flat_values.append(values.flatten())

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no annotated keypoint was given.
        """
        values = flat_rows(self.flat_values, 2 * max(int(self.num_ids), 1)).unflatten(1, (-1, 2))
        errors, scores = values.to(self.dtype).unbind(dim=2)  # a float32 0.05 is above a float64 one
        if errors.isnan().all():
            raise ValueError(f"KeypointAP needs at least one visible keypoint, got none in {len(errors)} models")
        found = self._precision(errors, scores)
        names = [f"map@{threshold_name(t)}" for t in self.thresholds]
        result = dict(zip(names, found.nanmean(dim=-1), strict=True))
        if self.num_bootstrap:
            weights = resample_weights(len(errors), self.num_bootstrap, seed=self.seed)
            replicates = self._precision(errors, scores, weights).nanmean(dim=-1)
            if len(errors) < 2:
                replicates = torch.full_like(replicates, torch.nan)
            ends = basic_interval(found.nanmean(dim=-1), replicates)
            result |= {f"{name}/low": low for name, low in zip(names, ends[0], strict=True)}
            result |= {f"{name}/high": high for name, high in zip(names, ends[1], strict=True)}
        result["ap_per_keypoint"] = found
        result = {key: value.to(self.device, self.dtype) for key, value in result.items()}
        result["num_models"] = torch.tensor(len(errors), device=self.device)
        result["num_keypoints"] = (~errors.isnan()).sum().to(self.device)
        return result

    def _precision(self, errors: Tensor, scores: Tensor, weights: Tensor | None = None) -> Tensor:
        return keypoint_average_precision(
            errors, scores, self.thresholds, interpolation=self.interpolation, strict=self.strict, weights=weights
        )


def _check_interpolation(interpolation: str) -> None:
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}, got {interpolation!r}")


def _check_guesses(scores: Tensor, hits: Tensor, interpolation: str) -> None:
    _check_interpolation(interpolation)
    if scores.ndim != 1 or hits.shape != scores.shape or hits.dtype != torch.bool:
        raise ValueError(
            f"scores and hits must be (n,) and (n,) bool, got {tuple(scores.shape)} and {hits.dtype} "
            f"of shape {tuple(hits.shape)}"
        )
    if scores.isnan().any():
        raise ValueError(f"scores must not be NaN, got {int(scores.isnan().sum())} of {len(scores)} that are")
