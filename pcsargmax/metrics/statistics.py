"""Statistics for `paired_bootstrap`: metrics as functions of the weights of the models."""

from __future__ import annotations

import torch
from torch import Tensor

from pcsargmax.metrics.alignment import corrected_das_from_labels, das_from_labels
from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.metrics.pck import correct


def pck_statistic(errors: Tensor, threshold: float) -> Statistic:
    """Return the statistic of PCK over all visible keypoints of all models: a share, 0 to 1.

    Args:
        errors: (M, K), NaN where absent.
        threshold: largest error of a correct keypoint, the unit of the errors.

    Raises:
        ValueError: a threshold that is not positive.
    """
    hits = correct(errors.double(), (threshold,))[..., 0]
    return ratio_statistic(hits.nansum(dim=1), (~hits.isnan()).sum(dim=1))


def correlation_statistic(confidence: Tensor, errors: Tensor, threshold: float) -> Statistic:
    """Return the statistic of Pearson's r, over the visible keypoints, of confidence with correctness at the threshold.

    It is computed from sums per model, as whole models are resampled: the cost does not grow with the keypoints.

    Args:
        confidence: (M, K); values at absent keypoints are ignored.
        errors: (M, K), NaN where absent.
        threshold: the unit of the errors.

    Returns:
        A statistic that is NaN where confidence or correctness is constant.

    Raises:
        ValueError: shapes that differ, or a threshold that is not positive.
    """
    if confidence.shape != errors.shape:
        raise ValueError(
            f"confidence and errors must both be (M, K), got {tuple(confidence.shape)} and {tuple(errors.shape)}"
        )
    hits = correct(errors.double(), (threshold,))[..., 0]
    visible = ~hits.isnan()
    centred = []
    for values in (confidence.double(), hits):
        known = values.where(visible, 0.0)
        centred.append((known - known.sum() / visible.sum()).where(visible, 0.0))  # r is the same, rounding is less
    a, b = centred
    per_model = torch.stack([visible.double(), a, b, a * a, b * b, a * b]).sum(dim=2)  # (6, M)

    def statistic(weights: Tensor) -> Tensor:
        count, *sums = (weights @ per_model.T).T
        mean_a, mean_b, square_a, square_b, product = (total / count for total in sums)
        spread_a, spread_b = square_a - mean_a.square(), square_b - mean_b.square()
        flat = (spread_a < 1e-12) | (spread_b < 1e-12)
        r = (product - mean_a * mean_b) / (spread_a * spread_b).sqrt()
        return r.masked_fill(flat, torch.nan)

    return statistic


def das_statistic(ids: Tensor, keypoints: Tensor, *, corrected: bool = False) -> Statistic:
    """Return the statistic of the dual alignment score, pairs of a model with itself counted, as published.

    Args:
        ids: (M, K) long, id of the annotation nearest to each keypoint.
        keypoints: (M, G) long, the keypoint nearest to each annotation, −1 where that is absent.
        corrected: above chance; pass the labels of merged keypoints then.
    """

    def statistic(weights: Tensor) -> Tensor:
        if corrected:
            return corrected_das_from_labels(ids, keypoints, weights)["das_corrected"]
        return das_from_labels(ids, keypoints, weights)["das"]

    return statistic
