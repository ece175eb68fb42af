"""Samples of sampling-argmax part by part: their weights, their moments, and what these say of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.core.relaxation import Relaxation, draw_log_exponential

#: (samples drawn so far as a shape, generator) -> the positions y_i (*shape, L, E) drawn around all sites
PositionDraw = Callable[[tuple[int, ...], torch.Generator], Tensor]

# Elements of a chunk. On a CPU, 2^18 to 2^20 were equally fast, and larger ones wait less for a busy core; a GPU wants
# many at once.
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


def parts(shape: torch.Size, draws: Draws, width: int, device: torch.device) -> Iterator[Part]:
    """Yield the chunks of (B, K, S) maps of L sites, in the order of memory."""
    batch_size, num_keypoints, num_sites = shape
    budget = _CHUNK.get(device.type, _CHUNK_ELSEWHERE) // (num_sites * (1 if draws.positions is None else 1 + width))
    samples = min(draws.num_samples, max(1, budget))
    keypoints = max(1, min(num_keypoints, budget // draws.num_samples))
    clouds = max(1, budget // (draws.num_samples * max(1, num_keypoints)))
    for b in range(0, batch_size, clouds):
        for k in range(0, num_keypoints, keypoints):
            for s in range(0, draws.num_samples, samples):
                yield Part(
                    slice(b, min(b + clouds, batch_size)),
                    slice(k, min(k + keypoints, num_keypoints)),
                    slice(s, min(s + samples, draws.num_samples)),
                )


def shared_or_part(shared: Tensor, clouds: slice) -> Tensor:
    """Return what belongs to the clouds of a chunk: (n or 1, …) of (B or 1, …)."""
    return shared if shared.shape[0] == 1 else shared[clouds]


class Chunk:
    """The weights of one part of the samples, their moments, and what these say of the gradient.

    Shapes: n clouds, k keypoints, s samples, L sites, E coordinates, V variances.
    """

    def __init__(self, engine: Chunks, part: Part, generator: torch.Generator) -> None:
        self.engine, self.part = engine, part
        logits = engine.logits[part.clouds, part.keypoints].unsqueeze(2)  # (n, k, 1, L)
        shape = (*logits.shape[:2], part.samples.stop - part.samples.start, logits.shape[-1])
        self.weights = engine.buffer(0, shape)
        self.sites = shared_or_part(engine.sites, part.clouds)
        self.variance = None if engine.variance is None else shared_or_part(engine.variance, part.clouds)
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
        sums = rows @ shared_or_part(self.engine.sites_and_one, self.part.clouds).expand(len(rows), -1, -1)
        sums = sums.unflatten(1, self.weights.shape[1:3])
        scale = sums[..., -1:].reciprocal()
        self.weights.mul_(scale)
        return sums[..., :-1] * scale

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return Σ ŵ_i x_i and Σ ŵ_i² v_i."""
        if self.hard is not None:
            flaw = self.relaxed_mean[..., :1] * 0  # NaN where the relaxed weights are
            return self._at_hard(self.sites, self.drawn) + flaw, self._at_hard(self.variance, None) + flaw
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
        by_logits = (by_sites * shared_or_part(self.engine.sites_and_one, self.part.clouds).mT.unsqueeze(1)).sum(-2)
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
        by_logits = (towards * shared_or_part(self.engine.sites_and_one, self.part.clouds).mT.unsqueeze(1)).sum(-2)
        by_logits.scatter_add_(-1, self.hard.squeeze(-1), at_hard.squeeze(-1))
        chosen = self.hard.flatten(1).unsqueeze(-1)  # (n, k·s, 1)

        def gathered(gradient: Tensor) -> Tensor:
            width = gradient.shape[-1]
            empty = gradient.new_zeros(len(gradient), self.weights.shape[-1], width)
            return empty.scatter_add_(1, chosen.expand(-1, -1, width), gradient.flatten(1, 2))

        return by_logits, gathered(g_mean), gathered(g_squares)


class Chunks:
    """What all chunks of a call share: the inputs, and the buffers that one after another fills."""

    def __init__(self, logits: Tensor, sites: Tensor, variance: Tensor | None, draws: Draws) -> None:
        self.logits, self.sites, self.variance, self.draws = logits, sites, variance, draws
        self.sites_and_one = torch.cat((sites, sites.new_ones(*sites.shape[:2], 1)), dim=-1)
        self._buffers: dict[int, Tensor] = {}

    def buffer(self, number: int, shape: tuple[int, ...]) -> Tensor:
        """Return a contiguous tensor of that shape; the same memory at each call with that number."""
        size = math.prod(shape)
        if number not in self._buffers or self._buffers[number].numel() < size:
            self._buffers[number] = self.logits.new_empty(size)
        return self._buffers[number][:size].view(shape)

    def draw(self, generator: torch.Generator) -> Iterator[Chunk]:
        """Draw the samples part by part; a chunk is spent when the next one comes."""
        for part in parts(self.logits.shape, self.draws, self.sites.shape[-1], self.logits.device):
            yield Chunk(self, part, generator)
