"""The relaxed categorical draw of sampling-argmax (Eq. 10-11) and the schedules of its temperature."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, get_args

import torch
from torch import Tensor

from pcsargmax.core.names import Relaxation as Relaxation

Schedule: TypeAlias = Callable[[float], float]
"""The temperature as a function of the progress of training, 0 at its start and 1 at its end."""

_LEAST_TEMPERATURE = 1e-30  # 1/τ, and the slopes times it, are float32 numbers
_BITS_AT_ONCE = 1 << 20  # of random numbers held as integers before they become noise


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
    relaxation: Relaxation = "gumbel_softmax",
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw relaxed one-hot weights over the sites (Eq. 10-11).

    With g ~ Gumbel(0, 1) i.i.d. and τ the temperature:

    - "gumbel_softmax": w = softmax((log π + g) / τ), the paper's Eq. 11. As τ → 0, w becomes one-hot at a
      site drawn from π = softmax(logits).
    - "published": w = softmax(logits + g / τ), as in the authors' code for images. As τ → 0, the logits lose
      their say: the limit is one-hot at a site drawn uniformly.
    - "straight_through": one-hot at argmax(log π + g), a true draw from π, with the gradient of
      "gumbel_softmax".

    Args:
        logits: (B, K, L) scores.
        num_samples: S, draws of each map.
        temperature: τ > 0.
        relaxation: one of the three above.
        mask: (B, L) bool, True where a site is real; the others weigh exactly 0.
        generator: source of the noise, on the device of `logits`.

    Returns:
        (B, S, K, L) weights that sum to 1 over the sites, in float32 (float64 for float64 logits), also under
        autocast.

    Raises:
        ValueError: as `mask_logits`, or `num_samples` < 1, `temperature` not positive and finite, or an
            unknown relaxation. A temperature is at least 1e-30.

    Example:
        >>> import torch
        >>> from pcsargmax import relaxed_categorical
        >>> weights = relaxed_categorical(torch.zeros(2, 3, 100), num_samples=5, temperature=0.5)  # (B, K, L)
        >>> weights.shape, weights.sum(dim=-1).allclose(torch.ones(2, 5, 3))  # (B, S, K, L)
        (torch.Size([2, 5, 3, 100]), True)
    """
    logits = mask_logits(logits, mask)
    check_relaxation(num_samples, temperature, relaxation)
    batch_size, num_keypoints, num_sites = logits.shape
    log_exponential = logits.new_empty(batch_size, num_keypoints, num_samples, num_sites)
    draw_log_exponential(log_exponential, generator)
    return relax(logits.unsqueeze(2), log_exponential, temperature, relaxation).transpose(1, 2)


def relax(logits: Tensor, log_exponential: Tensor, temperature: float, relaxation: Relaxation) -> Tensor:
    """Return the weights of `relaxed_categorical` for given noise.

    Args:
        logits: (..., L), −inf where masked.
        log_exponential: (..., L), log E = −g, as `draw_log_exponential` makes it.
        temperature: τ > 0.
        relaxation: as in `relaxed_categorical`.

    Returns:
        (..., L).
    """
    # Logits stand for log π: their normaliser is the same at all sites, so it cancels in the softmax.
    if relaxation == "published":
        return torch.softmax(logits - log_exponential / temperature, dim=-1)
    scores = logits - log_exponential
    # Without its maximum, a score divided by the smallest τ is 0 or less, not infinite.
    weights = torch.softmax((scores - scores.amax(dim=-1, keepdim=True).detach()) / temperature, dim=-1)
    if relaxation == "gumbel_softmax":
        return weights
    hard = torch.zeros_like(weights).scatter_(-1, scores.argmax(dim=-1, keepdim=True), 1)
    return hard + (weights - weights.detach())  # the bracket is exactly 0


def draw_log_exponential(out: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fill a tensor with log E, E ~ Exponential(1) i.i.d.: minus a Gumbel variable, always finite.

    On a CPU in float32, E = −log(1 − u) with 31 random bits in u, seven times as fast as
    `Tensor.exponential_`; it ranges from 2e-10 to 17. The numbers follow one another as the elements do, so a
    tensor filled part by part is the tensor filled at once.

    Args:
        out: contiguous, float32 or float64.
        generator: source of the noise, on the device of `out`.

    Returns:
        `out`.
    """
    if out.device.type != "cpu" or out.dtype != torch.float32 or torch.compiler.is_compiling():
        out.exponential_(generator=generator)
        # A draw that rounds to 0 would be an infinite score, and two of them in a row a NaN.
        return out.clamp_(min=torch.finfo(out.dtype).tiny).log_()
    bits = torch.empty(min(out.numel(), _BITS_AT_ONCE), dtype=torch.int32)
    for part in out.view(-1).split(_BITS_AT_ONCE):
        u = bits[: len(part)].random_(generator=generator)
        torch.mul(u, -(2.0**-31), out=part)
        part.sub_(2.0**-32).clamp_(min=2.0**-24 - 1).log1p_().neg_().log_()
    return out


def check_relaxation(num_samples: int, temperature: float, relaxation: str) -> None:
    """Raise ValueError for a number of samples, a temperature or a relaxation that is not one."""
    if num_samples < 1:
        raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
    _check_temperature("temperature", temperature)
    if relaxation not in get_args(Relaxation):
        expected = ", ".join(repr(name) for name in get_args(Relaxation))
        raise ValueError(f"relaxation: expected one of {expected}, got {relaxation!r}")


@dataclass(frozen=True)
class Constant:
    """Keep the temperature at `value` throughout the training.

    Example:
        >>> from pcsargmax import Constant
        >>> Constant(0.7)(0.5)  # halfway through training
        0.7
    """

    value: float

    def __post_init__(self) -> None:
        """Raise ValueError where the value is no temperature."""
        _check_temperature("value", self.value)

    def __call__(self, progress: float) -> float:
        """Return the temperature."""
        _check_progress(progress)
        return self.value


@dataclass(frozen=True)
class _Annealing:
    """From `start` to `end` over the first `share` of the training, then `end`."""

    start: float
    end: float
    share: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError where an end is no temperature or the share is not within (0, 1]."""
        _check_temperature("start", self.start)
        _check_temperature("end", self.end)
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected a share of the training within (0, 1], got {self.share}")

    def _done(self, progress: float) -> float:
        """Return the share of the annealing that is done at `progress` of the training."""
        _check_progress(progress)
        return min(progress / self.share, 1.0)


@dataclass(frozen=True)
class Linear(_Annealing):
    """Anneal from `start` to `end` linearly over the first `share` of the training, then stay at `end`.

    Example:
        >>> from pcsargmax import Linear
        >>> schedule = Linear(2.0, 0.5, share=0.5)
        >>> [schedule(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        [2.0, 1.25, 0.5, 0.5]
    """

    def __call__(self, progress: float) -> float:
        """Return the temperature at `progress` of the training, 0 at its start; past 1 it stays."""
        done = self._done(progress)
        return (1 - done) * self.start + done * self.end


@dataclass(frozen=True)
class Exponential(_Annealing):
    """Anneal from `start` to `end` geometrically over the first `share` of the training, then stay at `end`.

    Example:
        >>> from pcsargmax import Exponential
        >>> schedule = Exponential(2.0, 0.5)
        >>> [round(schedule(progress), 3) for progress in (0.0, 0.5, 1.0)]
        [2.0, 1.0, 0.5]
    """

    def __call__(self, progress: float) -> float:
        """Return the temperature at `progress` of the training, 0 at its start; past 1 it stays."""
        done = self._done(progress)
        return float(self.start ** (1 - done) * self.end**done)


@dataclass(frozen=True)
class Published:
    """The schedule of the authors' code for 2-D poses and faces: max(0.5, 2 − 3e/50) in epoch e = 0, 1, ….

    Example:
        >>> from pcsargmax import Published
        >>> schedule = Published(epochs=100)
        >>> [schedule(epoch / 100) for epoch in (0, 10, 25, 90)]
        [2.0, 1.4, 0.5, 0.5]
    """

    epochs: int

    def __post_init__(self) -> None:
        """Raise ValueError without an epoch."""
        if self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")

    def __call__(self, progress: float) -> float:
        """Return the temperature at `progress` of the training, 0 at its start and 1 at its end."""
        _check_progress(progress)
        # Progress is a quotient of whole steps: what is an epoch but for rounding is one.
        epoch = math.floor(progress * self.epochs + 1e-9)
        return max(0.5, 2 - 3 * epoch / 50)


def make_schedule(name: str, start: float, end: float, share: float = 1.0, *, epochs: int = 1) -> Schedule:
    """Return the schedule called `name`.

    Args:
        name: "constant" (at `start`), "linear", "exponential", or "published", which takes only `epochs`.
        start: temperature at the start.
        end: temperature after the annealing.
        share: of the training, for the annealing.
        epochs: of the training.

    Raises:
        ValueError: an unknown name, or arguments that the schedule refuses.

    Example:
        >>> from pcsargmax import make_schedule
        >>> make_schedule("linear", 2.0, 0.5, share=0.5)
        Linear(start=2.0, end=0.5, share=0.5)
    """
    schedules: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: Constant(start),
        "linear": lambda: Linear(start, end, share),
        "exponential": lambda: Exponential(start, end, share),
        "published": lambda: Published(epochs),
    }
    if name not in schedules:
        raise ValueError(f"schedule: expected one of {', '.join(map(repr, schedules))}, got {name!r}")
    return schedules[name]()


def _check_temperature(name: str, value: float) -> None:
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(f"{name}: expected a number, got a tensor that requires grad, which it would not get")
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a temperature, positive and finite, got {value}")
    if value < _LEAST_TEMPERATURE:
        raise ValueError(f"{name}: expected a temperature of at least {_LEAST_TEMPERATURE}, got {value}")


def _check_progress(progress: float) -> None:
    if not progress >= 0:
        raise ValueError(f"progress: expected 0 at the start to 1 at the end of training, got {progress}")
