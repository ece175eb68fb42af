"""Errors of surfaces in slices along the columns, and their sums by subject."""

from __future__ import annotations

import torch
from torch import Tensor

#: Sums per slice and surface: number of columns, sum of the error, of its absolute value and of its square.
NUM_SUMS = 4


def surface_errors(preds: Tensor, target: Tensor) -> Tensor:
    """Return the signed distance of each predicted row to the annotated one, column by column.

    Args:
        preds: (B, S, W) rows of the surfaces, pixels.
        target: (B, S, W) annotated rows, same unit, NaN where unknown.

    Returns:
        (B, S, W) float64 errors, pixels, NaN where the row is unknown; positive: too far down.

    Raises:
        ValueError: shapes that do not agree, infinite rows, or predictions that are not finite where the row is known.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import surface_errors
        >>> surface_errors(torch.tensor([[[12.0, 9.0, 5.0]]]), torch.tensor([[[10.0, 10.0, torch.nan]]]))
        tensor([[[ 2., -1., nan]]], dtype=torch.float64)
    """
    if preds.ndim != 3 or preds.shape != target.shape:
        raise ValueError(f"preds and target must both be (B, S, W), got {tuple(preds.shape)} and {tuple(target.shape)}")
    if target.isinf().any():
        raise ValueError(f"target must not be infinite, got {int(target.isinf().sum())} rows that are")
    known = ~target.isnan()
    broken = int((known & ~preds.isfinite()).sum())
    if broken:
        raise ValueError(
            "preds must be finite where target is known, "
            f"got NaN or infinity at {broken} of {int(known.sum())} known rows"
        )
    error = preds.double() - target.to(preds.device).double()
    return error.masked_fill(~known.to(error.device), torch.nan)


def error_sums(error: Tensor) -> Tensor:
    """Number of columns and sums of the error, its absolute value and its square: errors (B, S, W) -> (B, S, 4)."""
    count = (~error.isnan()).double().sum(dim=2)
    return torch.stack(
        [count, error.nansum(dim=2), error.abs().nansum(dim=2), error.square().nansum(dim=2)],
        dim=2,
    )


def sums_by_subject(sums: Tensor, subjects: Tensor) -> Tensor:
    """Add the sums of slices (M, S, 4) by subject: (N, S, 4), without subjects that have no known row.

    Args:
        sums: (M, S, 4) of `error_sums`.
        subjects: (M,) long, −1 for a slice that is a subject of its own.
    """
    alone = subjects < 0
    _, place = subjects[~alone].unique(return_inverse=True)
    num = int(place.max()) + 1 if len(place) else 0
    added = sums.new_zeros(num, *sums.shape[1:]).index_add_(0, place, sums[~alone])
    every = torch.cat([added, sums[alone]])
    return every[every[..., 0].any(dim=1)]


def deviation(values: Tensor) -> Tensor:
    """Standard deviation (n − 1) over the first axis of (N, F), NaN left out: (F,), NaN for fewer than two."""
    known = ~values.isnan()
    number = known.sum(dim=0)
    spread = (values - values.nanmean(dim=0)).square().nansum(dim=0)
    return (spread / (number - 1).clamp_min(1)).sqrt().masked_fill(number < 2, torch.nan)
