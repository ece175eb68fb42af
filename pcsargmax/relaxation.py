"""The relaxed categorical draw of sampling-argmax (Eq. 10-11) and the schedules of its temperature."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Schedule: TypeAlias = Callable[[float], float]
"""The temperature as a function of the progress of training, 0 at its start and 1 at its end."""


def mask_logits(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Check a batch of score maps and take the padding out of it.

    Args:
        logits: (B, K, L) scores, any floating type, at least one site.
        mask: (B, L) bool, True where a site is real; None where all are. What `logits` holds at the others,
            NaN included, changes neither values nor gradients.

    Returns:
        (B, K, L) the scores in float32, float64 where they came so, and −inf at the sites that are not real.

    Raises:
        ValueError: a wrong shape or type, no site at all, or a cloud of which every site is masked.
    """
    if logits.ndim != 3:
        raise ValueError(f"logits: expected shape (B, K, L), got {tuple(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits: expected a floating type, got {logits.dtype}")
    batch_size, _, num_sites = logits.shape
    if num_sites == 0:
        raise ValueError(f"logits: expected at least one site, got shape {tuple(logits.shape)}")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if mask is None:
        return logits
    if mask.dtype != torch.bool or mask.shape != (batch_size, num_sites):
        expected = f"a bool tensor of shape (B, L) = {(batch_size, num_sites)}"
        raise ValueError(f"mask: expected {expected}, got {mask.dtype} of shape {tuple(mask.shape)}")
    # The one check that reads values: torch.compile would break its graph here.
    if not torch.compiler.is_compiling() and not (real := mask.any(dim=1)).all():
        empty = (~real).nonzero().flatten().tolist()
        raise ValueError(f"mask: expected at least one real site in every cloud, got none in clouds {empty}")
    return logits.masked_fill(~mask.unsqueeze(1), -math.inf)


def relaxed_categorical(
    logits: Tensor,
    *,
    num_samples: int = 1,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw relaxed one-hot weights w = softmax((log π + g) / τ), g ~ Gumbel(0, 1) i.i.d. (Eq. 10-11).

    The Gumbel noise is g = −log E with E ~ Exponential(1). As τ → 0, w becomes one-hot at a site drawn from
    π = softmax(logits).

    Args:
        logits: (B, K, L) scores.
        num_samples: S, draws of each map.
        temperature: τ > 0.
        mask: (B, L) bool, True where a site is real; the others weigh exactly 0.
        generator: source of the noise, on the device of `logits`.

    Returns:
        (B, S, K, L) weights that sum to 1 over the sites, in float32 (float64 for float64 logits), also under
        autocast.

    Raises:
        ValueError: as `mask_logits`, or `num_samples` < 1, or `temperature` not positive and finite.
    """
    logits = mask_logits(logits, mask)
    if num_samples < 1:
        raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
    _check_temperature("temperature", temperature)
    batch_size, num_keypoints, num_sites = logits.shape
    exponential = logits.new_empty(batch_size, num_samples, num_keypoints, num_sites)
    exponential.exponential_(generator=generator)
    # A draw that rounds to 0 would be an infinite score, and two of them in a row a NaN.
    exponential.clamp_(min=torch.finfo(logits.dtype).tiny)
    # Scores stand for log π: their normaliser is the same at all sites, so it cancels in the softmax.
    scores = logits.unsqueeze(1) - exponential.log_()
    return torch.softmax(scores / temperature, dim=-1)


@dataclass(frozen=True)
class Constant:
    """The temperature `value` throughout."""

    value: float

    def __post_init__(self) -> None:
        """Raise ValueError where the value is no temperature."""
        _check_temperature("value", self.value)

    def __call__(self, progress: float) -> float:
        """Return the temperature."""
        _check_progress(progress)
        return self.value


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` in equal steps over the first `share` of the training, then `end`."""

    start: float
    end: float
    share: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError where an end is no temperature or the share is not within (0, 1]."""
        _check_annealing(self.start, self.end, self.share)

    def __call__(self, progress: float) -> float:
        """Return the temperature at `progress` of the training, 0 at its start; past 1 it stays."""
        done = _annealed(progress, self.share)
        return (1 - done) * self.start + done * self.end


@dataclass(frozen=True)
class Exponential:
    """From `start` to `end` in equal ratios over the first `share` of the training, then `end`."""

    start: float
    end: float
    share: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError where an end is no temperature or the share is not within (0, 1]."""
        _check_annealing(self.start, self.end, self.share)

    def __call__(self, progress: float) -> float:
        """Return the temperature at `progress` of the training, 0 at its start; past 1 it stays."""
        done = _annealed(progress, self.share)
        return float(self.start ** (1 - done) * self.end**done)


def make_schedule(name: str, start: float, end: float, share: float = 1.0) -> Schedule:
    """Return the schedule called `name`: "constant" (at `start`), "linear" or "exponential".

    Raises:
        ValueError: an unknown name, or arguments that the schedule refuses.
    """
    if name == "constant":
        return Constant(start)
    annealed: dict[str, type[Linear | Exponential]] = {"linear": Linear, "exponential": Exponential}
    if name not in annealed:
        raise ValueError(f"schedule: expected 'constant', 'linear' or 'exponential', got {name!r}")
    return annealed[name](start, end, share)


def _check_temperature(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a temperature, positive and finite, got {value}")


def _check_annealing(start: float, end: float, share: float) -> None:
    _check_temperature("start", start)
    _check_temperature("end", end)
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a share of the training within (0, 1], got {share}")


def _check_progress(progress: float) -> None:
    if not progress >= 0:
        raise ValueError(f"progress: expected 0 at the start to 1 at the end of training, got {progress}")


def _annealed(progress: float, share: float) -> float:
    """Return the share of the annealing that is done at `progress` of the training."""
    _check_progress(progress)
    return min(progress / share, 1.0)
