"""Errors of keypoints and which of them are correct (PCK): raw units, over visible keypoints only."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import ratio_of_sums

Average = Literal["pooled", "model", "id"]


def keypoint_errors(preds: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """Return the Euclidean distance of each predicted keypoint to its annotation, NaN where there is none.

    Args:
        preds: (B, K, D) positions, raw units.
        target: (B, K, D) annotated positions, same units; what stands at absent keypoints is ignored.
        visible: (B, K) bool, True where the keypoint is annotated.

    Returns:
        (B, K) errors, raw units. Pass float64 positions where coordinates are far from the origin.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or a visible position that is not finite.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import keypoint_errors
        >>> preds, target = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]]), torch.zeros(1, 2, 2)
        >>> keypoint_errors(preds, target, torch.tensor([[True, False]]))
        tensor([[5., nan]])
    """
    if preds.ndim != 3 or preds.shape != target.shape:
        raise ValueError(f"preds and target must both be (B, K, D), got {tuple(preds.shape)} and {tuple(target.shape)}")
    if visible.dtype != torch.bool or visible.shape != preds.shape[:2]:
        raise ValueError(
            f"visible must be bool of shape {tuple(preds.shape[:2])}, "
            f"got {visible.dtype} of shape {tuple(visible.shape)}"
        )
    for name, positions in (("preds", preds), ("target", target)):
        broken = int((visible & ~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(
                f"{name} must be finite where visible, got NaN or infinity at "
                f"{broken} of {int(visible.sum())} visible keypoints"
            )
    distance = torch.linalg.vector_norm(preds - target, dim=-1)
    return distance.masked_fill(~visible, torch.nan)


def average_visible(values: Tensor, average: Average = "pooled") -> Tensor:
    """Average values per keypoint, NaN where the keypoint is absent.

    Args:
        values: (M, K, ...) a value per model and keypoint, e.g. its error, or 1.0 where it is correct.
        average: what is weighted equally.
            "pooled" (default): every visible keypoint of every model;
            "model": every model, by the mean of its visible keypoints (KeypointNet's own benchmark);
            "id": every keypoint id, by the mean of the models that have it.

    Returns:
        (...) means; NaN where nothing is visible.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import average_visible
        >>> correct = torch.tensor([[1.0, 1.0, 0.0], [0.0, torch.nan, torch.nan]])
        >>> average_visible(correct, "pooled"), average_visible(correct, "model")  # 2 / 4 and (2 / 3 + 0) / 2
        (tensor(0.5000), tensor(0.3333))
    """
    numerator, denominator = grouped(values, average)
    everyone = torch.ones(1, len(values), dtype=values.dtype, device=values.device)
    return ratio_of_sums(everyone, numerator, denominator).nanmean(dim=1).squeeze(0)


def grouped(values: Tensor, average: Average) -> tuple[Tensor, Tensor]:
    """Write an average as mean over groups G of Σ numerator / Σ denominator over models: both (M, G, ...)."""
    count = (~values.isnan()).to(values.dtype)
    total = values.masked_fill(values.isnan(), 0)  # not nan_to_num, which makes infinity a number
    if average == "id":
        return total, count
    total, count = total.sum(dim=1, keepdim=True), count.sum(dim=1, keepdim=True)
    if checked_average(average) == "model":
        return total / count.clamp_min(1), count.clamp_max(1)
    return total, count


def checked_average(average: Average) -> Average:
    """Return the average; raise ValueError unless it is one of the three."""
    if average not in get_args(Average):
        raise ValueError(f'average must be "pooled", "model" or "id", got {average!r}')
    return average


def correct(errors: Tensor, thresholds: Sequence[float], *, strict: bool = False) -> Tensor:
    """Return 1.0 where an error (M, K) is within a threshold, else 0.0, NaN where it is absent: (M, K, T).

    Within means ≤, or < where `strict` (KeypointNet's benchmark).
    """
    limits = errors.new_tensor(checked_thresholds(thresholds))
    within = errors[..., None] < limits if strict else errors[..., None] <= limits
    return within.to(errors.dtype).masked_fill(errors.isnan()[..., None], torch.nan)


def threshold_name(threshold: float) -> str:
    """Return the threshold as written in a result's key: 0.1 + 0.2 is "0.3"."""
    return f"{threshold:.6g}"


def checked_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return the thresholds as numbers; raise ValueError unless positive, finite, ascending and at least one."""
    values = tuple(float(t) for t in thresholds)
    ascending = all(a < b for a, b in zip((0.0, *values), values, strict=False))
    # The last must be finite, and no two may share a name, or one would overwrite the other in the results.
    distinct = len({threshold_name(t) for t in values}) == len(values)
    if not values or not ascending or not distinct or values[-1] == float("inf"):
        raise ValueError(f"thresholds must be positive, ascending and at least one, got {values}")
    return values
