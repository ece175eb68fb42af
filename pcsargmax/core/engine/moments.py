"""Sampling-argmax chunk by chunk: memory does not grow with the number of samples, and a chunk stays in cache.

Given its weights ŵ, a sample's density is known: its mean Σ ŵ_i x_i and, for a Gaussian basis, its variance
Σ ŵ_i² σ_i². These moments are all that a loss needs, and they are (B, K, S, D) where the weights would be
(B, K, S, L). `relaxed_moments` keeps the state of the generator instead of the weights and draws them again
in the backward pass; `fused_expectation` knows what follows the moments, so it gets the gradient while the
weights are at hand, and its backward pass is one multiplication.

The numbers are those of `relaxed_categorical` and sums over its weights, draw by draw, on a CPU with a Gaussian
basis bit for bit the same noise: tests hold both forms against them. Under `torch.compile` and the transforms of
`torch.func` the formulas stand as they are, and all weights are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcsargmax.core.engine.chunks import Chunks, Draws, Part, shared_or_part
from pcsargmax.core.relaxation import draw_log_exponential, relax

#: mean (n, k, s, E), squares (n, k, s, V), part -> loss of each sample (n, k, s)
Measure = Callable[[Tensor, Tensor, Part], Tensor]

_MOST_COORDINATES = 8  # for which the kernels are unrolled


def relaxed_moments(
    logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw weights ŵ of each sample and return Σ ŵ_i x_i and Σ ŵ_i² v_i.

    Args:
        logits: (B, K, L), −inf where masked.
        sites: (B or 1, L, E).
        variance: (B or 1, L, V) of each site's density, 0 where masked; None for 1 everywhere, V = 1.
        draws: how.
        generator: source of the noise; None is the default one of a CPU, and one seeded by it elsewhere.

    Returns:
        (B, K, S, E) and (B, K, S, V), differentiable once by logits, sites and variance.
    """
    if by_autograd():
        return _whole(logits, sites, variance, draws, generator)
    if has_kernel(logits, sites, draws):
        return _by_kernel(logits, sites, variance, draws, generator)
    seeded = _generator(generator, logits.device)
    moments: tuple[Tensor, Tensor] = _Moments.apply(logits, sites, variance, draws, seeded)
    return moments


def fused_expectation(
    logits: Tensor,
    sites: Tensor,
    variance: Tensor | None,
    draws: Draws,
    measure: Measure,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean over samples of a measure of their moments, its gradient taken on the way.

    Args:
        logits: (B, K, L), −inf where masked.
        sites: (B or 1, L, E), without gradient.
        variance: (B or 1, L, V), without gradient, or None, as in `relaxed_moments`.
        draws: how.
        measure: of the moments of a part of the samples, differentiable by them; other gradients are lost.
        generator: as in `relaxed_moments`.

    Returns:
        (B, K), differentiable once by the logits.
    """
    if not torch.is_grad_enabled():
        logits = logits.detach()  # so that no gradient is taken on the way
    value: Tensor = _Fused.apply(logits, sites, variance, draws, measure, _generator(generator, logits.device))
    return value


def _whole(
    logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`relaxed_moments` written out, for a compiler to fuse and for the transforms of torch.func."""
    batch_size, num_keypoints, num_sites = logits.shape
    noise = draw_log_exponential(logits.new_empty(batch_size, num_keypoints, draws.num_samples, num_sites), generator)
    weights = relax(logits.unsqueeze(2), noise, draws.temperature, draws.relaxation)
    with torch.autocast(logits.device.type, enabled=False):
        squares = weights.square().sum(-1, keepdim=True) if variance is None else weights.square() @ variance[:, None]
        if draws.positions is None:
            return weights @ sites[:, None], squares
        drawn = draws.positions(tuple(weights.shape[:-1]), generator)  # type: ignore[arg-type]
        return (weights.unsqueeze(-2) @ drawn).squeeze(-2), squares


def by_autograd() -> bool:
    """Whether what runs now takes no autograd function as they are written here: a compiler, or `torch.func`."""
    if torch.compiler.is_compiling():
        return True
    transformed = getattr(torch._C, "_are_functorch_transforms_active", None)
    return transformed is not None and bool(transformed())


def has_kernel(logits: Tensor, sites: Tensor, draws: Draws) -> bool:
    """Whether `triton_moments` can draw these samples: float32 on a GPU, few coordinates, Triton installed."""
    if not logits.is_cuda or logits.dtype != torch.float32 or draws.positions is not None:
        return False
    if sites.shape[-1] > _MOST_COORDINATES:
        return False
    from pcsargmax.core.engine import triton_moments

    return triton_moments.available(logits.device)


def _by_kernel(
    logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`relaxed_moments` by the Triton kernel, its seed drawn from the generator without waiting for the GPU."""
    from pcsargmax.core.engine import triton_moments

    return triton_moments.relaxed_moments(
        logits,
        sites,
        variance,
        num_samples=draws.num_samples,
        temperature=draws.temperature,
        relaxation=draws.relaxation,
        seed=torch.randint(2**62, (1,), generator=generator, device=logits.device),
    )


def _generator(generator: torch.Generator | None, device: torch.device) -> torch.Generator:
    """Return the generator to draw from; where none is given, no device is waited for."""
    if generator is not None:
        return generator
    if device.type == "cpu":
        return torch.default_generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))


class _Moments(torch.autograd.Function):
    """(B, K, S, E) and (B, K, S, V); the backward pass draws the same samples again."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        sites: Tensor,
        variance: Tensor | None,
        draws: Draws,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits, sites, variance)
        ctx.draws, ctx.state, ctx.device = draws, generator.get_state(), generator.device
        size = (*logits.shape[:2], draws.num_samples)
        mean = logits.new_empty(*size, sites.shape[-1])
        squares = logits.new_empty(*size, 1 if variance is None else variance.shape[-1])
        with torch.autocast(logits.device.type, enabled=False):
            for chunk in Chunks(logits, sites, variance, draws).draw(generator):
                mean[chunk.part], squares[chunk.part] = chunk.mean, chunk.squares
        return mean, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_mean: Tensor, g_squares: Tensor) -> tuple[Tensor | None, ...]:
        logits, sites, variance = ctx.saved_tensors
        generator = torch.Generator(ctx.device)
        generator.set_state(ctx.state)
        by_logits = torch.zeros_like(logits)
        by_sites = torch.zeros_like(sites)
        by_variance = None if variance is None else torch.zeros_like(variance)
        with torch.autocast(logits.device.type, enabled=False):
            for chunk in Chunks(logits, sites, variance, ctx.draws).draw(generator):
                clouds = chunk.part.clouds
                found = chunk.gradient(g_mean[chunk.part], g_squares[chunk.part])
                by_logits[chunk.part[:2]] += found[0]
                for total, part in ((by_sites, found[1]), (by_variance, found[2])):
                    if total is not None and part is not None:
                        shared_or_part(total, clouds).add_(part.sum(0, keepdim=True) if total.shape[0] == 1 else part)
        return by_logits, by_sites, by_variance, None, None


class _Fused(torch.autograd.Function):
    """The mean of a measure (B, K), with the gradient by the logits (B, K, L) saved for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        sites: Tensor,
        variance: Tensor | None,
        draws: Draws,
        measure: Measure,
        generator: torch.Generator,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        total = logits.new_zeros(logits.shape[:2])
        by_logits = torch.zeros_like(logits) if wanted else None
        with torch.autocast(logits.device.type, enabled=False):
            for chunk in Chunks(logits, sites, variance, draws).draw(generator):
                with torch.set_grad_enabled(wanted):
                    moments = [moment.detach().requires_grad_(wanted) for moment in (chunk.mean, chunk.squares)]
                    value = measure(moments[0], moments[1], chunk.part).sum(-1) / draws.num_samples
                    whole = value.sum()
                total[chunk.part[:2]] += value.detach()
                if by_logits is not None:
                    slopes = torch.autograd.grad(whole, moments, allow_unused=True, materialize_grads=True)
                    by_logits[chunk.part[:2]] += chunk.gradient(slopes[0], slopes[1])[0]
        if by_logits is not None:
            ctx.save_for_backward(by_logits)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (by_logits,) = ctx.saved_tensors
        return by_logits * gradient.unsqueeze(-1), None, None, None, None, None
