"""What metrics collect that hold a score of each keypoint against its error: two numbers a case."""

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import flat_rows


def add_case_states(metric: Any) -> None:
    """Let a metric collect cases.

    Flat, with the number of keypoints apart: a process without any model can then still be gathered.
    """
    metric.add_state("flat_cases", default=[], dist_reduce_fx="cat")
    metric.add_state("num_keypoints", default=torch.tensor(0), dist_reduce_fx="max")


def add_cases(metric: Any, score: Tensor, error: Tensor, name: str = "confidence") -> None:
    """Add models to a metric's cases, in its dtype.

    Args:
        metric: with the states of `add_case_states`.
        score: (B, K).
        error: (B, K), NaN where the keypoint is absent.
        name: of the score in messages.

    Raises:
        ValueError: shapes that do not agree, or another number of keypoints than before.
    """
    if score.ndim != 2 or score.shape != error.shape:
        raise ValueError(f"{name} and error must both be (B, K), got {tuple(score.shape)} and {tuple(error.shape)}")
    if metric.num_keypoints not in (0, error.shape[1]):
        raise ValueError(f"error must have {int(metric.num_keypoints)} keypoints as before, got {error.shape[1]}")
    metric.num_keypoints.fill_(error.shape[1])
    cases = torch.stack([score.to(metric.dtype), error.to(score.device, metric.dtype)], dim=-1)
    metric.flat_cases.append(cases.detach().flatten())


def collected_cases(metric: Any) -> tuple[Tensor, Tensor]:
    """The scores and errors (M, K) of the models given so far, float64 on the CPU."""
    width = max(int(metric.num_keypoints), 1)
    score, error = flat_rows(metric.flat_cases, 2 * width).reshape(-1, width, 2).unbind(dim=-1)
    return score, error
