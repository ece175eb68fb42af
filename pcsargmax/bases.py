"""The densities around each site whose mixture is the keypoint's density (Eq. 6)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Sum values over the sites, in full precision also under autocast.

    Args:
        weights: (B, ..., L).
        values: (B, L, D), or (1, L, D) for all.

    Returns:
        (B, ..., D).
    """
    with torch.autocast(weights.device.type, enabled=False):
        rows = torch.matmul(weights.flatten(1, -2), values)  # (B, ..., L) -> (B, R, D)
        return rows.reshape(*weights.shape[:-1], values.shape[-1])


@dataclass(frozen=True)
class Gaussian:
    """An isotropic normal density around each site (Eq. 9).

    Args:
        sigma: its standard deviation, in the unit of the sites. A number; "auto", the mean distance of a
            cloud's sites to their nearest neighbours, as in the paper, without gradient (found anew at each
            call: compute it once and pass it where clouds come again); or a tensor: one for all (), one per
            cloud (B,), or anything of three axes that broadcasts to (B, L, D), which may carry a gradient.

    Raises:
        ValueError: `sigma` is another word, negative or not finite.
    """

    sigma: float | Tensor | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError where sigma is not one."""
        sigma = self.sigma
        if isinstance(sigma, str):
            if sigma != "auto":
                raise ValueError(f"sigma: expected a number, a tensor or 'auto', got {sigma!r}")
        elif isinstance(sigma, Tensor):
            valid = sigma.isfinite() & (sigma >= 0)
            if not valid.all():
                raise ValueError(f"sigma: expected values >= 0 and finite, got {sigma[~valid][0].item()}")
        elif not 0 <= sigma < math.inf:
            raise ValueError(f"sigma: expected a value >= 0 and finite, got {sigma}")

    def scale(self, sites: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the standard deviation around each site.

        Args:
            sites: (B, L, D), or (1, L, D) where all clouds share them and `sigma` too.
            mask: (B, L) bool, True where a site is real.

        Returns:
            a tensor of three axes that broadcasts to (B, L, D), of the sites' type.

        Raises:
            ValueError: a tensor `sigma` whose shape fits no such tensor.
        """
        if isinstance(self.sigma, str):
            return _neighbor_distance(sites, mask)
        if not isinstance(self.sigma, Tensor):
            return sites.new_full((1, 1, 1), self.sigma)
        sigma = self.sigma.to(sites)
        batch_size = sites.shape[0] if mask is None else mask.shape[0]
        if sigma.ndim == 0:
            return sigma.reshape(1, 1, 1)
        if sigma.shape == (batch_size,):
            return sigma.reshape(-1, 1, 1)
        whole = (batch_size, *sites.shape[1:])
        if sigma.ndim == 3 and all(n in (1, m) for n, m in zip(sigma.shape, whole, strict=True)):
            return sigma
        expected = f"shape (), (B,) = ({batch_size},) or one that broadcasts to (B, L, D) = {whole}"
        raise ValueError(f"sigma: expected {expected}, got {tuple(sigma.shape)}")

    def noise_std(self, weights: Tensor, sites: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return √(Σ w_i² σ_i²), the standard deviation of Σ w_i σ_i ε_i with ε_i ~ N(0, 1) i.i.d.

        Args:
            weights: (B, S, K, L) relaxed categorical weights, 0 at masked sites.
            sites: (B, L, D) or (1, L, D).
            mask: (B, L) bool, True where a site is real.

        Returns:
            (B, S, K, 1) where σ is the same along all axes, else (B, S, K, D); without NaN gradients at σ =
            0.
        """
        if isinstance(self.sigma, Tensor):
            sites = sites.expand(weights.shape[0], -1, -1)  # a cloud's own σ may stand beside shared sites
        scale = self.scale(sites, mask)
        if scale.shape[1] == 1:
            # σ stands outside the root: the root of Σ w² is never 0, so its gradient is finite for every σ.
            return scale.unsqueeze(1) * torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
        if mask is not None:
            scale = torch.where(mask.unsqueeze(-1), scale, 0)
        variance = weighted_sum(weights.square(), scale.square())
        positive = variance > 0
        return torch.where(positive, torch.where(positive, variance, 1).sqrt(), 0)

    def noise(
        self,
        weights: Tensor,
        sites: Tensor,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw Σ w_i σ_i ε_i with one normal per sample and axis instead of one per site.

        Given the weights, the sum is exactly N(0, Σ w_i² σ_i²); its gradient is the conditional mean of that
        of the draw per site, so its variance is never larger.

        Args:
            weights: (B, S, K, L) relaxed categorical weights, 0 at masked sites.
            sites: (B, L, D) or (1, L, D).
            mask: (B, L) bool, True where a site is real.
            generator: source of the noise, on the device of `weights`.

        Returns:
            (B, S, K, D) the noise to add to Σ w_i x_i.
        """
        std = self.noise_std(weights, sites, mask)
        shape = (*weights.shape[:-1], sites.shape[-1])
        normal = torch.randn(shape, generator=generator, dtype=weights.dtype, device=weights.device)
        return std * normal


def _neighbor_distance(sites: Tensor, mask: Tensor | None) -> Tensor:
    """Return (B, 1, 1), the mean distance of each cloud's real sites to their nearest neighbours."""
    from pcsargmax.neighbors import mean_neighbor_distance

    with torch.no_grad():
        if mask is None:
            mask = torch.ones(sites.shape[:2], dtype=torch.bool, device=sites.device)
        real = sites.expand(mask.shape[0], -1, -1)[mask]  # (B, L, D) -> (M, D)
        cloud = mask.nonzero()[:, 0]
        return mean_neighbor_distance(real, cloud).to(sites).reshape(-1, 1, 1)
