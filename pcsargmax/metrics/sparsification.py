"""Sparsification: the mean error of the most confident keypoints."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.metrics.calibration import checked_pair


class Sparsification(NamedTuple):
    """Mean error of the most confident cases, by the share that is kept.

    Attributes:
        kept: (S,) shares, ascending to 1.
        error: (S,) mean error of the most confident share.
        oracle: (S,) mean error of the share with the least error, the lower bound.
    """

    kept: Tensor
    error: Tensor
    oracle: Tensor


def sparsification_curve(confidence: Tensor, errors: Tensor, *, num_steps: int = 20) -> Sparsification:
    """Return the mean error of the most confident k/num_steps of the cases, k = 1 to num_steps (Ilg et al., ECCV 2018).

    The result is the mean over the orders of cases of equal confidence.

    Args:
        confidence: (n,) in any range.
        errors: (n,) in any unit.
        num_steps: number of steps of the curve; the number kept is rounded up.

    Returns:
        The curve, float64.

    Raises:
        ValueError: no case, sets of unequal length, values that are not finite, or no step.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import sparsification_curve
        >>> curve = sparsification_curve(torch.tensor([0.9, 0.1]), torch.tensor([2.0, 1.0]), num_steps=2)
        >>> curve.kept.tolist(), curve.error.tolist(), curve.oracle.tolist()
        ([0.5, 1.0], [2.0, 1.5], [1.0, 1.5])
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    by_confidence, by_error = _kept_means(*checked_pair(confidence, errors, ("confidence", "errors")))
    step = torch.arange(1, num_steps + 1, device=by_error.device)
    last = (step * len(by_error) + num_steps - 1) // num_steps - 1  # whole numbers, to round up exactly
    return Sparsification(step.double() / num_steps, by_confidence[last], by_error[last])


def sparsification_error(confidence: Tensor, errors: Tensor) -> Tensor:
    """Return the area between the sparsification curve and the oracle's (AUSE), exactly: the mean gap over all n sizes.

    Ilg et al. (2018) divide it by the mean error. 0: confidence ranks the cases as their error does.

    Returns:
        () float64, the unit of the errors. Arguments and exceptions as of `sparsification_curve`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import sparsification_error
        >>> sparsification_error(torch.tensor([0.9, 0.1]), torch.tensor([2.0, 1.0]))  # ((2 − 1) + 0) / 2
        tensor(0.5000, dtype=torch.float64)
    """
    by_confidence, by_error = _kept_means(*checked_pair(confidence, errors, ("confidence", "errors")))
    return (by_confidence - by_error).mean()


def _kept_means(confidence: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Mean error of the k most confident cases, and of the k with the least error, for k = 1 to n: both (n,)."""
    distinct, place = confidence.unique(return_inverse=True)
    often = torch.bincount(place, minlength=len(distinct)).double()
    tied = torch.zeros_like(distinct).index_add_(0, place, error) / often  # mean over the orders of equal ones
    order = confidence.argsort(descending=True, stable=True)
    number = torch.arange(1, len(error) + 1, dtype=torch.float64, device=error.device)
    return tied[place][order].cumsum(0) / number, error.sort().values.cumsum(0) / number
