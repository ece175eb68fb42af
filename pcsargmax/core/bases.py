"""The densities around each site whose mixture is the keypoint's density (Eq. 6).

A basis answers, for the density f_i around site i: its `variance`, its `density` at a position, one draw of it at each
site (`site_noise`) or at chosen sites (`draw`), and the `noise` that sampling-argmax adds to Σ w_i x_i. Sites are the
points of a cloud, a tensor, or the cells of a `Grid`.

On a circular axis of a grid, `Uniform` and `Triangular` are densities of the coordinate itself, and `Gaussian` is one
of the embedded position (see `circular`). So `site_noise` and `draw` of the former are in coordinates, (..., D), those
of the latter in embedded positions, (..., E). The `density` of all is one of the coordinate.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from pcsargmax.core.cells import Triangular, Uniform, check_positions, zero_masked
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import take_sites
from pcsargmax.core.sigma import Sigma, around_sites, check_sigma


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


def collapsed_std(squares: Tensor, scale: Tensor) -> Tensor:
    """Return √(Σ ŵ_i² σ_i²), the standard deviation of Σ ŵ_i σ_i ε_i with ε_i ~ N(0, 1) i.i.d.

    Args:
        squares: (B, …, 1) Σ ŵ_i² where σ is the same around all sites, else (B, …, V) Σ ŵ_i² σ_i².
        scale: (B or 1, L or 1, V) σ.

    Returns:
        (B, …, V), without NaN in the gradient where σ is 0.
    """
    if scale.shape[1] == 1:
        # σ stands outside the root: the root of Σ ŵ² is never 0, so its gradient is finite for every σ.
        return scale.unsqueeze(1) * squares.sqrt()
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


@dataclass(frozen=True)
class Gaussian:
    """A normal density around each site, independent along the axes (Eq. 9).

    Args:
        sigma: its standard deviation, in the unit of the sites. A number; a tuple of D numbers, one per axis;
            "auto", without gradient: on a `Grid` the width of its cells along each axis; for a cloud the mean
            distance of its sites to their nearest neighbours, as in the paper (found anew at each call: compute
            it once and pass it where clouds come again; torch.compile breaks its graph there: pass a number or
            tensor for one graph); or a tensor: one for all (), one per cloud (B,), or anything of three axes that
            broadcasts to (B, L, D), which may carry a gradient (see `SiteSigma`). On circular axes it is that of the
            embedded position, the same along the circle and across it. Values per site are checked where they are
            used: what stands at masked sites has no effect.

    Raises:
        ValueError: `sigma` is something else, negative or not finite.

    Example:
        >>> import torch
        >>> from pcsargmax import Gaussian
        >>> cloud = torch.tensor([[[0.0, 0, 0], [3.0, 0, 0], [3.0, 4.0, 0]]])  # nearest neighbours at 3, 3 and 4
        >>> Gaussian("auto").scale(cloud)
        tensor([[[3.3333]]])
        >>> Gaussian(0.5).variance(cloud)
        tensor([[[0.2500]]])
    """

    sigma: Sigma = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError where sigma is not one."""
        check_sigma(self.sigma)

    def scale(
        self,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        *,
        batch_size: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return the standard deviation around each site.

        Args:
            sites: (B, L, D), or (1, L, D) where all clouds share them, or a grid.
            mask: (B, L) bool, True where a site is real.
            batch_size: B, which a grid and shared sites do not tell; None is that of the mask or the sites, else any
                that fits `sigma`.
            dtype: of the result; None is that of the sites, float32 for a grid.
            device: of the result; None is that of the sites, for a grid that of a tensor `sigma` or the default.

        Returns:
            a tensor of three axes that broadcasts to (B, L, D), on a grid to (B, L, E); its last axis is 1 where
            all axes are known to have the same. A `sigma` per site is 0 where masked.

        Raises:
            ValueError: a `sigma` whose shape or length does not fit the sites, or one per site that is negative or
                not finite where it is not masked.
        """
        return around_sites(self.sigma, sites, mask, batch_size, dtype, device)

    def variance(
        self,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return σ_i², the variance of f_i along each axis; arguments, shape and errors as of `scale`."""
        return self.scale(sites, mask, dtype=dtype, device=device).square()

    def density(self, positions: Tensor, sites: Tensor | Grid, mask: Tensor | None = None) -> Tensor:
        """Return f_i at each position.

        Along a circular axis of a grid it is the density of the coordinate that `Grid.recover` finds for a normal
        draw of the embedded position (the projected normal distribution).

        Args:
            positions: (B, Q, D) coordinates.
            sites: (B, L, D), or (1, L, D) where all clouds share them, or a grid.
            mask: (B, L) bool, True where a site is real.

        Returns:
            (B, Q, L) per unit of length, area or volume, 0 at sites that are masked.

        Raises:
            ValueError: σ = 0 at a real site, which has no density, or shapes that do not fit.
        """
        dimension = sites.dimension if isinstance(sites, Grid) else sites.shape[-1]
        positions = check_positions(positions, dimension)
        batch_size, dtype, device = len(positions), positions.dtype, positions.device
        scale = self.scale(sites, mask, batch_size=batch_size, dtype=dtype, device=device)
        periods: tuple[float | None, ...] = (None,) * dimension
        axes = list(range(dimension))
        if isinstance(sites, Grid):
            periods, axes = sites.periods, [sites.embedding.index(d) for d in axes]
            sites = sites.positions(dtype, device).unsqueeze(0)
        if mask is not None:
            scale = torch.where(mask.unsqueeze(-1), scale, 1)
            sites = torch.where(mask.unsqueeze(-1), sites, 0)
        if not torch.compiler.is_compiling() and not (scale > 0).all():
            raise ValueError("sigma: expected values > 0, for a density, got 0")
        scale = scale.expand(-1, -1, len(axes)) if scale.shape[-1] == 1 else scale[..., axes]
        density = positions.new_ones(())
        for d, period in enumerate(periods):
            away = positions[..., d].unsqueeze(-1) - sites[..., d].unsqueeze(1)  # (B, Q, L)
            std = scale[..., d].unsqueeze(1)
            density = density * (_normal_density(away, std) if period is None else _circle_density(away, std, period))
        return zero_masked(density, mask)

    def noise_std(self, weights: Tensor, sites: Tensor | Grid, mask: Tensor | None = None) -> Tensor:
        """Return √(Σ w_i² σ_i²), the standard deviation of Σ w_i σ_i ε_i with ε_i ~ N(0, 1) i.i.d.

        Args:
            weights: (B, S, K, L) relaxed categorical weights, 0 at masked sites.
            sites: (B, L, D) or (1, L, D), or a grid.
            mask: (B, L) bool, True where a site is real.

        Returns:
            (B, S, K, 1) where σ is the same along all axes, else (B, S, K, D), on a grid (B, S, K, E); without
            NaN gradients at σ = 0.
        """
        scale = self.scale(sites, mask, batch_size=len(weights), dtype=weights.dtype, device=weights.device)
        square = weights.square()
        if scale.shape[1] == 1:
            return collapsed_std(square.sum(dim=-1, keepdim=True), scale)
        return collapsed_std(weighted_sum(square, scale.square()), scale)

    def noise(
        self,
        weights: Tensor,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw Σ w_i σ_i ε_i with one normal per sample and axis instead of one per site.

        Given the weights, the sum is exactly N(0, Σ w_i² σ_i²); its gradient is the conditional mean of that
        of the draw per site, so its variance is never larger.

        Args:
            weights: (B, S, K, L) relaxed categorical weights, 0 at masked sites.
            sites: (B, L, D) or (1, L, D), or a grid.
            mask: (B, L) bool, True where a site is real.
            generator: source of the noise, on the device of `weights`.

        Returns:
            (B, S, K, D), on a grid (B, S, K, E), the noise to add to Σ w_i x_i.
        """
        std = self.noise_std(weights, sites, mask)
        shape = (*weights.shape[:-1], _num_axes(sites))
        normal = torch.randn(shape, generator=generator, dtype=weights.dtype, device=weights.device)
        return std * normal

    def site_noise(
        self,
        shape: tuple[int, ...],
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw y_i − x_i, y_i ~ f_i, for each site, independently (Eq. 12 as it is written).

        Sampling-argmax does not need it: `noise` draws their weighted sum at once.

        Args:
            shape: of the draws, such as (B, S, K); it starts with B where `sigma` differs between clouds.
            sites: (B, L, D) or (1, L, D), or a grid.
            mask: (B, L) bool, True where a site is real; for "auto".
            generator: source of the noise, on `device`.
            dtype: of the noise; None is that of the sites, float32 for a grid.
            device: of the noise; None is that of the sites, the default one for a grid.

        Returns:
            (*shape, L, D), on a grid (*shape, L, E): noise of the embedded positions.

        Raises:
            ValueError: as `scale`, or a `shape` that does not start with B.
        """
        scale = self.scale(sites, mask, dtype=dtype, device=device)
        if len(scale) > 1 and (not shape or shape[0] != len(scale)):
            raise ValueError(f"shape: expected to start with B = {len(scale)}, as sigma does, got {shape}")
        num_sites = sites.num_sites if isinstance(sites, Grid) else sites.shape[-2]
        whole = (*shape, num_sites, _num_axes(sites))
        normal = torch.randn(whole, generator=generator, dtype=scale.dtype, device=scale.device)
        return normal * scale.reshape(len(scale), *[1] * (len(shape) - 1), *scale.shape[1:])

    def draw(
        self,
        index: Tensor,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw y ~ f_i at chosen sites: with i drawn from π, exact samples of the mixture.

        Args:
            index: (B, N) long, the sites.
            sites: (B, L, D), or (1, L, D) where all clouds share them, or a grid.
            mask: (B, L) bool, True where a site is real; for "auto".
            generator: source of the noise, on `device`.
            dtype: of the result; None is that of the sites, float32 for a grid.
            device: of the result; None is that of `index`.

        Returns:
            (B, N, D); on a grid (B, N, E) embedded positions, which `Grid.recover` turns into coordinates.

        Raises:
            ValueError: as `scale`.
        """
        device = index.device if device is None else device
        scale = self.scale(sites, mask, batch_size=len(index), dtype=dtype, device=device)
        x = sites.sites(scale.dtype, scale.device).unsqueeze(0) if isinstance(sites, Grid) else sites.to(scale)
        position, std = (take_sites(values.expand(len(index), *x.shape[1:]), index) for values in (x, scale))
        normal = torch.randn(position.shape, generator=generator, dtype=scale.dtype, device=scale.device)
        return position + std * normal


Basis: TypeAlias = Uniform | Triangular | Gaussian


def _num_axes(sites: Tensor | Grid) -> int:
    """Return the number of axes that are averaged: E of a grid, D of a cloud."""
    return sites.embedded_dimension if isinstance(sites, Grid) else sites.shape[-1]


def _normal_density(away: Tensor, std: Tensor) -> Tensor:
    """Return the density of N(0, std²) at `away`."""
    return torch.exp(-(away / std).square() / 2) / (math.sqrt(2 * math.pi) * std)


def _circle_density(away: Tensor, std: Tensor, period: float) -> Tensor:
    """Return the density of a coordinate of that period, `away` from its site, found by the direction of a draw of
    N(site, std² I) around the circle's centre: with κ the radius by std, t = κ cos a and s = κ sin a of the angle a,
    exp(−κ²/2) / 2π + t Φ(t) exp(−s²/2) / √2π per radian.
    """
    away = away - period * torch.round(away / period)
    radius = period / (2 * math.pi)
    kappa = radius / std
    t, s = kappa * torch.cos(away / radius), kappa * torch.sin(away / radius)
    normal = torch.exp(-s.square() / 2) / math.sqrt(2 * math.pi)
    per_radian = torch.exp(-kappa.square() / 2) / (2 * math.pi) + t * torch.special.ndtr(t) * normal
    return per_radian.clamp(min=0) / radius  # on the far side, rounding may leave less than 0


#: The bases by name; the width of each is that of a cell.
BASIS_BY_NAME: dict[str, Basis] = {"uniform": Uniform(), "triangular": Triangular(), "gaussian": Gaussian("auto")}
