"""How well a detector tells which keypoints a shape has, and how accurate its positions are then.

PCK over visible keypoints assumes that the keypoints present are known. A user does not know them: if the detector
claims a keypoint, both the claim and the position must be correct. So precision, recall and F1 of the claims within a
distance (`claimed_counts`) complement it, as for object detectors (Lin et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pcsargmax.metrics.average_precision import average_precision
from pcsargmax.metrics.pck import correct


def presence_average_precision(scores: Tensor, visible: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Return, for each keypoint id, the average precision of ranking the models by whether they have the keypoint.

    AP = Σ_n (R_n − R_{n−1}) P_n over the distinct scores in descending order, with precision P_n and recall R_n of the
    models of that score and above (the area without interpolation, as scikit-learn's `average_precision_score`).

    Args:
        scores: (M, K) confidence that the model has the keypoint; any range.
        visible: (M, K) bool, True where the model has it.
        weights: (R, M) how often each model counts; None: once.

    Returns:
        (K,) or, with weights, (R, K) float64. 1 for an id that all models have, whatever the scores; NaN for one that
        none has. `chance_precision` is the random-ranking baseline.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a score that is not finite.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import presence_average_precision
        >>> scores, visible = torch.tensor([[0.9], [0.6], [0.3]]), torch.tensor([[True], [False], [True]])
        >>> presence_average_precision(scores, visible)  # 1 / 2 · 1 + 1 / 2 · 2 / 3
        tensor([0.8333], dtype=torch.float64)
    """
    checked_presence(scores, visible)
    found = []
    for own, has in zip(scores.detach().double().T, visible.T, strict=True):
        count = has.sum() if weights is None else weights.double() @ has.double()
        found.append(average_precision(own, has, count, interpolation="none", weights=weights))
    return torch.stack(found, dim=-1)


def chance_precision(num_positives: Tensor, num_cases: int) -> Tensor:
    """Return the expected average precision of M cases in random order, of which p are positive.

        (p − 1) / (M − 1) + (M − p) H_M / (M (M − 1)),    H_M = 1 + 1/2 + … + 1/M

    It tends to p / M, but lies well above it for few cases: 0.29 for 1 of 10. Scores that are all equal give p / M
    exactly.

    Args:
        num_positives: (...) p, 0 to M.
        num_cases: M, at least 1.

    Returns:
        (...) float64; NaN where p is 0.

    Raises:
        ValueError: numbers out of range.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import chance_precision
        >>> chance_precision(torch.tensor([1, 2]), 2)  # (1 / 1 + 1 / 2) / 2, and 1
        tensor([0.7500, 1.0000], dtype=torch.float64)
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
    """Count the true claims per model: the keypoint is present, and its position within the threshold.

    Args:
        errors: (M, K) distance to the annotation, NaN where the keypoint is absent.
        claimed: (M, K) bool, True where the detector claims that it is present.
        thresholds: T distances, the unit of the errors, positive and ascending.
        strict: within means < instead of ≤.

    Returns:
        (M, T, 3) float64: for each model the numbers of true claims, of claims, and of keypoints present. A claim of an
        absent keypoint, or beyond the threshold, is a false positive; a keypoint that is not claimed, or claimed beyond
        the threshold, is missed. So precision is true / claims, recall true / present (PCK where an unclaimed keypoint
        is wrong), and F1 2 · true / (claims + present).

    Raises:
        ValueError: shapes that do not agree, `claimed` not bool, or invalid thresholds.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import claimed_counts
        >>> errors = torch.tensor([[0.0, 0.5, torch.nan, 0.0]])
        >>> claimed = torch.tensor([[True, True, True, False]])
        >>> claimed_counts(errors, claimed, (0.1,))  # 1 true of 3 claims and 3 present
        tensor([[[1., 3., 3.]]], dtype=torch.float64)
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


def checked_presence(scores: Tensor, visible: Tensor) -> None:
    """Raise ValueError unless the scores are finite and visibility is bool, both (M, K)."""
    if scores.ndim != 2 or visible.shape != scores.shape or visible.dtype != torch.bool:
        raise ValueError(
            "scores must be (M, K) and visible bool of that shape, got "
            f"{tuple(scores.shape)} and {visible.dtype} of shape {tuple(visible.shape)}"
        )
    if not scores.isfinite().all():
        raise ValueError(f"scores must be finite, got {scores[~scores.isfinite()][0].item()}")
