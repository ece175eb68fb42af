"""Sampling-argmax chunk by chunk: memory does not grow with the number of samples, and a chunk stays in cache.

Given its weights ŵ, a sample's density is known: its mean Σ ŵ_i x_i and, for a Gaussian basis, its variance
Σ ŵ_i² σ_i². These moments are all that a loss needs, and they are (B, K, S, D) where the weights would be
(B, K, S, L). `relaxed_moments` keeps the state of the generator instead of the weights and draws them again
in the backward pass; `fused_expectation` knows what follows the moments, so it gets the gradient while the
weights are at hand, and its backward pass is one multiplication.

The numbers are those of `relaxed_categorical` and sums over its weights, draw by draw, on a CPU bit for bit
the same noise: tests hold both forms against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcsargmax.relaxation import Relaxation, draw_log_exponential, relax

#: (samples drawn so far as a shape, generator) -> the positions y_i (*shape, L, E) drawn around all sites
PositionDraw = Callable[[tuple[int, ...], torch.Generator], Tensor]

#: mean (n, k, s, E), squares (n, k, s, V), part -> loss of each sample (n, k, s)
Measure = Callable[[Tensor, Tensor, "Part"], Tensor]

# Elements of a chunk: two such buffers fit a core's L2 cache; a GPU wants many at once.
_CHUNK = {"cpu": 1 << 19}
_CHUNK_ELSEWHERE = 1 << 25


class Part(NamedTuple):
    """Where a chunk lies: slices of the clouds, keypoints and samples."""

    clouds: slice
    keypoints: slice
    samples: slice


WHOLE = Part(slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Draws:
    """How the samples of a batch are drawn.

    Attributes:
        num_samples: S.
        temperature: τ > 0.
        relaxation: as in `relaxed_categorical`.
        positions: draws y_i around each site; None where the sites themselves are averaged and the noise of
            the basis comes afterwards.
    """

    num_samples: int
    temperature: float
    relaxation: Relaxation
    positions: PositionDraw | None = None


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
    if torch.compiler.is_compiling():
        return _whole(logits, sites, variance, draws, generator)
    if has_kernel(logits, draws):
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
    value: Tensor = _Fused.apply(logits, sites, variance, draws, measure, _generator(generator, logits.device))
    return value


def _whole(
    logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`relaxed_moments` written out, for a compiler to fuse."""
    batch_size, num_keypoints, num_sites = logits.shape
    noise = draw_log_exponential(logits.new_empty(batch_size, num_keypoints, draws.num_samples, num_sites), generator)
    weights = relax(logits.unsqueeze(2), noise, draws.temperature, draws.relaxation)
    with torch.autocast(logits.device.type, enabled=False):
        squares = weights.square().sum(-1, keepdim=True) if variance is None else weights.square() @ variance[:, None]
        if draws.positions is None:
            return weights @ sites[:, None], squares
        drawn = draws.positions(tuple(weights.shape[:-1]), generator)  # type: ignore[arg-type]
        return (weights.unsqueeze(-2) @ drawn).squeeze(-2), squares


def has_kernel(logits: Tensor, draws: Draws) -> bool:
    """Whether `triton_moments` can draw these samples: in float32, on a GPU, with Triton installed."""
    if not logits.is_cuda or logits.dtype != torch.float32 or draws.positions is not None:
        return False
    from pcsargmax import triton_moments

    return triton_moments.available(logits.device)


def _by_kernel(
    logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`relaxed_moments` by the Triton kernel, its seed drawn from the generator without waiting for the GPU."""
    from pcsargmax import triton_moments

    moments = triton_moments.relaxed_moments(
        logits,
        sites,
        variance,
        num_samples=draws.num_samples,
        temperature=draws.temperature,
        relaxation=draws.relaxation,
        seed=torch.randint(2**62, (1,), generator=generator, device=logits.device),
    )
    return moments[0].transpose(1, 2), moments[1].transpose(1, 2)


def _generator(generator: torch.Generator | None, device: torch.device) -> torch.Generator:
    """Return the generator to draw from; where none is given, no device is waited for."""
    if generator is not None:
        return generator
    if device.type == "cpu":
        return torch.default_generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))


def _parts(shape: torch.Size, draws: Draws, width: int, device: torch.device) -> Iterator[Part]:
    """Yield the chunks of (B, K, S) maps of L sites, in the order of memory."""
    batch_size, num_keypoints, num_sites = shape
    budget = _CHUNK.get(device.type, _CHUNK_ELSEWHERE) // (num_sites * (1 if draws.positions is None else 1 + width))
    samples = min(draws.num_samples, max(1, budget))
    keypoints = min(num_keypoints, max(1, budget // draws.num_samples))
    clouds = max(1, budget // (draws.num_samples * num_keypoints))
    for b in range(0, batch_size, clouds):
        for k in range(0, num_keypoints, keypoints):
            for s in range(0, draws.num_samples, samples):
                yield Part(
                    slice(b, min(b + clouds, batch_size)),
                    slice(k, min(k + keypoints, num_keypoints)),
                    slice(s, min(s + samples, draws.num_samples)),
                )


def _of(shared: Tensor, clouds: slice) -> Tensor:
    """Return what belongs to the clouds of a chunk: (n or 1, …) of (B or 1, …)."""
    return shared if shared.shape[0] == 1 else shared[clouds]


class _Chunk:
    """The weights of one part of the samples, their moments, and what these say of the gradient.

    Shapes: n clouds, k keypoints, s samples, L sites, E coordinates, V variances.
    """

    def __init__(self, engine: _Engine, part: Part, generator: torch.Generator) -> None:
        self.engine, self.part = engine, part
        logits = engine.logits[part.clouds, part.keypoints].unsqueeze(2)  # (n, k, 1, L)
        shape = (*logits.shape[:2], part.samples.stop - part.samples.start, logits.shape[-1])
        self.weights = engine.buffer(0, shape)
        self.sites = _of(engine.sites, part.clouds)
        self.variance = None if engine.variance is None else _of(engine.variance, part.clouds)
        self.hard: Tensor | None = None
        self._draw(logits, generator)
        self.drawn: Tensor | None = None
        if engine.draws.positions is not None:
            self.drawn = engine.draws.positions(shape[:3], generator)  # (n, k, s, L, E)
        self.relaxed_mean = self._normalize()
        self.mean, self.squares = self._moments()

    def _draw(self, logits: Tensor, generator: torch.Generator) -> None:
        """Fill the weights with those of `relax`, before they are divided by their sum."""
        draws, weights = self.engine.draws, self.weights
        noise = draw_log_exponential(weights, generator)
        published = draws.relaxation == "published"
        torch.sub(logits, noise, alpha=1 / draws.temperature if published else 1, out=weights)
        if draws.relaxation == "straight_through":
            best, self.hard = weights.max(dim=-1, keepdim=True)
        else:
            best = weights.amax(dim=-1, keepdim=True)
        weights.sub_(best)
        if not published and draws.temperature != 1:
            weights.div_(draws.temperature)
        weights.exp_()

    def _normalize(self) -> Tensor:
        """Divide the weights by their sum; return Σ w_i x_i (n, k, s, E)."""
        rows = self.weights.flatten(1, 2)  # (n, k·s, L)
        if self.drawn is not None:
            self.weights.div_(self.weights.sum(dim=-1, keepdim=True))
            return (self.weights.unsqueeze(-2) @ self.drawn).squeeze(-2)
        sums = rows @ _of(self.engine.sites_and_one, self.part.clouds).expand(len(rows), -1, -1)
        sums = sums.unflatten(1, self.weights.shape[1:3])
        scale = sums[..., -1:].reciprocal()
        self.weights.mul_(scale)
        return sums[..., :-1] * scale

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return Σ ŵ_i x_i and Σ ŵ_i² v_i."""
        if self.hard is not None:
            return self._at_hard(self.sites, self.drawn), self._at_hard(self.variance, None)
        square = torch.mul(self.weights, self.weights, out=self.engine.buffer(1, self.weights.shape))
        self.square = square
        if self.variance is None:
            return self.relaxed_mean, square.sum(dim=-1, keepdim=True)
        rows = square.flatten(1, 2) @ self.variance.expand(len(square), -1, -1)
        return self.relaxed_mean, rows.unflatten(1, square.shape[1:3])

    def _at_hard(self, values: Tensor | None, drawn: Tensor | None) -> Tensor:
        """Return (n, k, s, …) what stands at the site that was drawn."""
        assert self.hard is not None
        if drawn is not None:
            index = self.hard.unsqueeze(-1).expand(*self.hard.shape, drawn.shape[-1])
            return drawn.gather(-2, index).squeeze(-2)
        if values is None:
            return self.weights.new_ones(self.hard.shape)
        index = self.hard.flatten(1).unsqueeze(-1).expand(-1, -1, values.shape[-1])
        return values.expand(len(index), -1, -1).gather(1, index).unflatten(1, self.hard.shape[1:3])

    def gradient(self, g_mean: Tensor, g_squares: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the gradients by logits (n, k, L), sites (n, L, E) and variance (n, L, V), summed over samples.

        Args:
            g_mean: (n, k, s, E) gradient by the mean.
            g_squares: (n, k, s, V) gradient by the squares.
        """
        slope = 1.0 if self.engine.draws.relaxation == "published" else 1 / self.engine.draws.temperature
        if self.drawn is not None:
            by_logits = self._gradient_of_drawn(g_mean)
            return by_logits.mul_(slope), None, None
        if self.hard is not None:
            by_logits, by_sites, by_variance = self._gradient_of_hard(g_mean, g_squares)
            return by_logits.mul_(slope), by_sites, by_variance
        # ∂ŷ/∂w_i is x_i for the mean and 2 w_i v_i for the squares; the softmax takes the w-mean of it away.
        away = (g_mean * self.mean).sum(-1, keepdim=True) + 2 * (g_squares * self.squares).sum(-1, keepdim=True)
        by_sites = torch.cat((g_mean, -away), dim=-1).mT @ self.weights  # (n, k, E + 1, L)
        by_variance = g_squares.mT @ self.square  # (n, k, V, L)
        by_logits = (by_sites * _of(self.engine.sites_and_one, self.part.clouds).mT.unsqueeze(1)).sum(-2)
        spread = by_variance if self.variance is None else by_variance * self.variance.mT.unsqueeze(1)
        by_logits += 2 * spread.sum(-2)
        return by_logits.mul_(slope), by_sites[:, :, :-1].sum(1).mT, by_variance.sum(1).mT

    def _gradient_of_drawn(self, g_mean: Tensor) -> Tensor:
        """The gradient where each site has a position of its own in each sample."""
        assert self.drawn is not None
        towards = (self.drawn @ g_mean.unsqueeze(-1)).squeeze(-1)  # (n, k, s, L)
        towards -= (g_mean * self.relaxed_mean).sum(-1, keepdim=True)
        return towards.mul_(self.weights).sum(-2)

    def _gradient_of_hard(self, g_mean: Tensor, g_squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of straight-through: ŵ is one-hot in the value, w in the slope."""
        assert self.hard is not None
        # ∂ŷ/∂w_i as above, with ŵ in place of w: the squares have a slope at the drawn site alone.
        at_hard = 2 * (g_squares * self.squares).sum(-1, keepdim=True)  # (n, k, s, 1)
        at_hard = at_hard * self.weights.gather(-1, self.hard)
        away = (g_mean * self.relaxed_mean).sum(-1, keepdim=True) + at_hard
        towards = torch.cat((g_mean, -away), dim=-1).mT @ self.weights
        by_logits = (towards * _of(self.engine.sites_and_one, self.part.clouds).mT.unsqueeze(1)).sum(-2)
        by_logits.scatter_add_(-1, self.hard.squeeze(-1), at_hard.squeeze(-1))
        chosen = self.hard.flatten(1).unsqueeze(-1)  # (n, k·s, 1)

        def gathered(gradient: Tensor) -> Tensor:
            width = gradient.shape[-1]
            empty = gradient.new_zeros(len(gradient), self.weights.shape[-1], width)
            return empty.scatter_add_(1, chosen.expand(-1, -1, width), gradient.flatten(1, 2))

        return by_logits, gathered(g_mean), gathered(g_squares)


class _Engine:
    """What all chunks of a call share: the inputs, and the buffers that one after another fills."""

    def __init__(self, logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws) -> None:
        self.logits, self.sites, self.variance, self.draws = logits, sites, variance, draws
        self.sites_and_one = torch.cat((sites, sites.new_ones(*sites.shape[:2], 1)), dim=-1)
        self._buffers: dict[int, Tensor] = {}

    def buffer(self, number: int, shape: tuple[int, ...]) -> Tensor:
        """Return a contiguous tensor of that shape; the same memory at each call with that number."""
        size = 1
        for extent in shape:
            size *= extent
        if number not in self._buffers or self._buffers[number].numel() < size:
            self._buffers[number] = self.logits.new_empty(size)
        return self._buffers[number][:size].view(shape)

    def chunks(self, generator: torch.Generator) -> Iterator[_Chunk]:
        """Draw the samples part by part; a chunk is spent when the next one comes."""
        for part in _parts(self.logits.shape, self.draws, self.sites.shape[-1], self.logits.device):
            yield _Chunk(self, part, generator)


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
            for chunk in _Engine(logits, sites, variance, draws).chunks(generator):
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
            for chunk in _Engine(logits, sites, variance, ctx.draws).chunks(generator):
                clouds = chunk.part.clouds
                found = chunk.gradient(g_mean[chunk.part], g_squares[chunk.part])
                by_logits[chunk.part[:2]] += found[0]
                for total, part in ((by_sites, found[1]), (by_variance, found[2])):
                    if total is not None and part is not None:
                        _of(total, clouds).add_(part.sum(0, keepdim=True) if total.shape[0] == 1 else part)
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
            for chunk in _Engine(logits, sites, variance, draws).chunks(generator):
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
