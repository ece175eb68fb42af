"""Average precision of scored keypoints, as the PASCAL VOC challenge counts it (Everingham et al., IJCV 2010 and 2015).

A keypoint within a distance of the annotated one is a hit, any other a false positive. Sorted by score, over all
models, they give the precision-recall curve, whose area is the average precision.

`keypoint_average_precision` and `KeypointAP` average over the keypoint ids, with one detection per model and id.
`saliency_average_precision` is the protocol of KeypointNet's own benchmark, where every point of a cloud is a detection
of a keypoint without id.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pcsargmax.metrics.pck import checked_thresholds, correct

Interpolation = Literal["all", "11", "none"]


def average_precision(
    scores: Tensor,
    hits: Tensor,
    num_positives: Tensor | float,
    *,
    interpolation: Interpolation = "all",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the area under the precision-recall curve of scored detections.

    Detections of equal score are taken at once, so their order does not matter.

    Args:
        scores: (n,) of the detections, higher is more confident.
        hits: (n,) bool, the detection is correct.
        num_positives: () what there was to be found; recall is hits over it. (R,) with weights.
        interpolation: "all": the envelope of the curve, precision at recall r being the largest at any recall ≥ r, at
            every point (VOC from 2010 on, KeypointNet); "11": its mean at recalls 0, 0.1, …, 1 (VOC 2007); "none": the
            steps of the curve itself (scikit-learn).
        weights: (R, n), how often each detection counts, e.g. of resamples; None: once.

    Returns:
        () or, with weights, (R,) float64, 0 to 1; NaN where there was nothing to be found.

    Raises:
        ValueError: shapes that do not agree, scores NaN, `hits` not bool, or an unknown interpolation.
    """
    _check_detections(scores, hits, interpolation)
    positives = torch.as_tensor(num_positives, dtype=torch.float64, device=scores.device)
    order = scores.argsort(descending=True, stable=True)
    counts = torch.ones_like(scores, dtype=torch.float64) if weights is None else weights[..., order].double()
    ordered = scores[order]
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    true = (counts * hits[order]).cumsum(dim=-1)[..., last]
    detected = counts.cumsum(dim=-1)[..., last]
    precision = true / detected.clamp_min(torch.finfo(torch.float64).tiny)  # none yet: 0 of 0, at recall 0
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
    """Return the average precision of each keypoint id over the models, with at most one detection per model.

    A detection is a hit if its error is within the threshold, and false where the model lacks the keypoint. A keypoint
    that is annotated and not detected lowers the recall.

    Args:
        errors: (M, K) of the detections, raw units, NaN where the model lacks the keypoint; see `keypoint_errors`.
        scores: (M, K) of the detections, higher is more confident, comparable between models, such as confidence times
            presence; NaN where the keypoint is not detected.
        thresholds: T distances, raw units, positive and ascending.
        interpolation: as in `average_precision`.
        strict: within means < instead of ≤ (KeypointNet).
        weights: (R, M), how often each model counts; None: once.

    Returns:
        (T, K) or, with weights, (R, T, K) float64, NaN for an id that no model has; mAP is the mean of the others.

    Raises:
        ValueError: shapes that do not agree, or as in `average_precision`.

    Example:
        Correct, wrong, correct from the highest score down: precision 1 at recall 1/2, then 2/3.

        >>> import torch
        >>> from pcsargmax.metrics import keypoint_average_precision
        >>> errors, scores = torch.tensor([[0.0], [9.0], [0.0]]), torch.tensor([[0.9], [0.8], [0.7]])
        >>> errors[1] = torch.nan  # the second model lacks the keypoint
        >>> keypoint_average_precision(errors, scores, (0.1,))  # (1 + 2 / 3) / 2
        tensor([[0.8333]], dtype=torch.float64)
    """
    if errors.ndim != 2 or errors.shape != scores.shape:
        raise ValueError(f"errors and scores must both be (M, K), got {tuple(errors.shape)} and {tuple(scores.shape)}")
    if weights is not None and (weights.ndim != 2 or weights.shape[1] != len(errors)):
        raise ValueError(f"weights must be (R, {len(errors)}), got {tuple(weights.shape)}")
    limits = checked_thresholds(thresholds)
    hits = correct(errors, limits, strict=strict) == 1  # (M, K, T), NaN is no hit
    visible, detected = ~errors.isnan(), ~scores.isnan()
    found = errors.new_empty(() if weights is None else (len(weights),), dtype=torch.float64)
    found = found.new_empty(*found.shape, len(limits), errors.shape[1])
    for k in range(errors.shape[1]):
        some, have = detected[:, k], visible[:, k].double()
        positives = have.sum() if weights is None else weights.double() @ have
        own = None if weights is None else weights[:, some]
        for t in range(len(limits)):
            found[..., t, k] = average_precision(
                scores[some, k], hits[some, k, t], positives, interpolation=interpolation, weights=own
            )
    return found


def saliency_hits(distance: Tensor, scores: Tensor, threshold: float, *, strict: bool = True) -> Tensor:
    """Return which detections on one model are hits: KeypointNet's matching, where detections have no ids.

    A detection belongs to the annotation nearest to it. The most confident one within the threshold of an annotation is
    a hit, the others are false, also where another annotation within the threshold is still free.

    Args:
        distance: (P, G), from each detection to each annotation; infinite where no path joins them.
        scores: (P,) of the detections; among equal ones the first comes first.
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
    """Return KeypointNet's mAP (You et al., CVPR 2020), where every point is a detection scored by its saliency.

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


def checked_interpolation(interpolation: Interpolation) -> Interpolation:
    """Return the interpolation; raise ValueError unless it is one of the three."""
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}, got {interpolation!r}")
    return interpolation


def _check_detections(scores: Tensor, hits: Tensor, interpolation: Interpolation) -> None:
    checked_interpolation(interpolation)
    if scores.ndim != 1 or hits.shape != scores.shape or hits.dtype != torch.bool:
        raise ValueError(
            f"scores and hits must be (n,) and (n,) bool, got {tuple(scores.shape)} and {hits.dtype} "
            f"of shape {tuple(hits.shape)}"
        )
    if scores.isnan().any():
        raise ValueError(f"scores must not be NaN, got {int(scores.isnan().sum())} of {len(scores)} that are")
