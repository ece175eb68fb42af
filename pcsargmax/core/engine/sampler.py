"""Maps that are ready to be sampled: what sampling-argmax and the losses over its samples share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis, Gaussian, collapsed_std
from pcsargmax.core.cells import Triangular, Uniform
from pcsargmax.core.engine.chunks import WHOLE, Draws, PositionDraw
from pcsargmax.core.engine.moments import Measure, by_autograd, fused_expectation, has_kernel, relaxed_moments
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import Sites, center_map
from pcsargmax.core.relaxation import Relaxation, check_relaxation


@dataclass(frozen=True, eq=False)
class Sampler:
    """A batch of maps, checked, and how samples are drawn from them.

    Attributes:
        logits: (B, K, L), −inf where masked.
        sites: (B or 1, L, E) minus their centre, 0 where masked.
        center: (B or 1, 1, E), see `CenteredMap`.
        scale: (B or 1, L or 1, E or 1) standard deviation of a Gaussian basis around each site, 0 where masked;
            None for a basis whose noise is drawn at each site.
        draws: samples, temperature, relaxation, and the draw at each site.
    """

    logits: Tensor
    sites: Tensor
    center: Tensor
    scale: Tensor | None
    draws: Draws

    @classmethod
    def of(
        cls,
        logits: Tensor,
        sites: Sites,
        *,
        basis: Basis | None,
        num_samples: int,
        temperature: float,
        relaxation: Relaxation,
        mask: Tensor | None,
    ) -> Sampler:
        """Check the arguments of `sampling_argmax` and take the padding out."""
        basis = Gaussian() if basis is None else basis
        check_relaxation(num_samples, temperature, relaxation)
        logits, positions, center, mask = center_map(logits, sites, mask)
        if isinstance(basis, Gaussian):
            around = sites if isinstance(sites, Grid) else positions
            dtype, device = positions.dtype, positions.device
            scale = basis.scale(around, mask, batch_size=len(logits), dtype=dtype, device=device)
            return cls(logits, positions, center, scale, Draws(num_samples, temperature, relaxation))
        draw = _site_draw(basis, sites, center)
        return cls(logits, positions, center, None, Draws(num_samples, temperature, relaxation, draw))

    @property
    def variance(self) -> Tensor | None:
        """(B or 1, L, E or 1) variance around each site, None where it is the same around all."""
        if self.scale is None or self.scale.shape[1] == 1:
            return None
        return self.scale.square()

    def std(self, squares: Tensor, clouds: slice = slice(None)) -> Tensor:
        """Return √(Σ ŵ_i² σ_i²) of the squares Σ ŵ_i² v_i (n, k, s, V) of some clouds: (n, k, s, 1 or E)."""
        assert self.scale is not None
        scale = self.scale if self.scale.shape[0] == 1 else self.scale[clouds]
        return collapsed_std(squares, scale)

    def normal(self, generator: torch.Generator | None) -> Tensor | None:
        """Draw (B, K, S, E) standard normals for a Gaussian basis, None for another."""
        if self.scale is None:
            return None
        shape = (*self.logits.shape[:2], self.draws.num_samples, self.sites.shape[-1])
        return torch.randn(shape, generator=generator, dtype=self.sites.dtype, device=self.sites.device)

    def moments(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return Σ ŵ_i x_i (B, K, S, E) and Σ ŵ_i² v_i (B, K, S, V), see `relaxed_moments`."""
        return relaxed_moments(self.logits, self.sites, self.variance, self.draws, generator)

    def expectation(self, measure: Measure, generator: torch.Generator | None, others: tuple[Tensor, ...]) -> Tensor:
        """Return the mean over samples of a measure of their moments, (B, K), see `fused_expectation`.

        Args:
            measure: (n, k, s) values of the moments of a part of the samples.
            generator: source of the draw of the weights.
            others: tensors besides this one's own that the measure depends on.
        """
        others = (*others, self.sites) if self.scale is None else (*others, self.sites, self.scale)
        wanted = torch.is_grad_enabled() and any(x.requires_grad for x in others)
        if wanted or by_autograd() or has_kernel(self.logits, self.sites, self.draws):
            # Fused, the one gradient is that by the logits; and a kernel is fast without.
            return measure(*self.moments(generator), WHOLE).mean(dim=2)
        return fused_expectation(self.logits, self.sites, self.variance, self.draws, measure, generator)

    def samples(self, generator: torch.Generator | None) -> Tensor:
        """Draw (B, K, S, E) samples: the normals first, then the weights."""
        normal = self.normal(generator)
        mean, squares = self.moments(generator)
        samples = mean if normal is None else mean + self.std(squares) * normal
        return samples + self.center.unsqueeze(1)


def _site_draw(basis: Uniform | Triangular, sites: Sites, center: Tensor) -> PositionDraw:
    """Return the draw of y_i, minus the centre, around all sites; an error of the basis where these are a cloud."""
    grid = basis.grid_of(sites)
    cells = grid.positions(center.dtype, center.device)

    def draw(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        noise = basis.site_noise(shape, grid, generator=generator, dtype=center.dtype, device=center.device)
        return grid.embed(cells + noise) - center

    return draw
