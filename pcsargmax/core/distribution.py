"""What a prediction is: one probability map over the sites for each keypoint."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis, Gaussian, weighted_sum
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import Sites, prepare_map, take_sites
from pcsargmax.core.marginals import kept_axes, marginal_basis, marginal_grid, marginal_logits

#: No density around the sites at all.
_SITES_ALONE = Gaussian(0.0)

#: How many values of positions by sites are held at once where densities are evaluated.
_CHUNK = 2**23


@dataclass(frozen=True, eq=False)
class KeypointDistribution:
    """The distribution of K keypoints over the sites of B clouds or grids; every property is computed on first access.

    Its density is the mixture f(y) = Σ π_i f_i(y) of Eq. 6 with π = softmax(logits) and a basis density f_i around each
    site. On the circular axes of a grid, positions are coordinates within the range of `Grid.recover`, and offsets go
    the shortest way round.

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect.
        basis: the density around each site, its width in the unit of the sites. `Gaussian(0.0)` is none at all: the
            sites themselves, which have probabilities but no density.
        presence: (B, K) probability that the keypoint exists at all, where the model tells.

    Raises:
        ValueError: shapes or types that do not fit, a cloud without a real site, or a basis that does not fit the
            sites.

    Example:
        >>> import torch
        >>> from pcsargmax import KeypointDistribution
        >>> sites = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 10.0]])
        >>> maps = KeypointDistribution(torch.tensor([[[0.5, 0.25, 0.25]]]).log(), sites)
        >>> maps.mean, maps.mode, maps.peak
        (tensor([[[0.2500, 2.5000]]]), tensor([[[0., 0.]]]), tensor([[0.5000]]))
        >>> maps.mass_within(2.0, center=maps.mode)
        tensor([[0.7500]])
    """

    logits: Tensor
    sites: Sites
    mask: Tensor | None = None
    basis: Basis = _SITES_ALONE
    presence: Tensor | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit."""
        _ = self._map
        # The distances of neighbours are left until they are asked for: they always fit, and take their time.
        auto = isinstance(self.basis, Gaussian) and isinstance(self.basis.sigma, str)
        if isinstance(self.sites, Grid) or not auto:
            _ = self._variance
        if self.presence is not None and self.presence.shape != self.logits.shape[:2]:
            shapes = f"{tuple(self.logits.shape[:2])}, got {tuple(self.presence.shape)}"
            raise ValueError(f"presence: expected shape (B, K) = {shapes}")

    @cached_property
    def _map(self) -> tuple[Tensor, Tensor]:
        """The (B, K, L) logits and the (B, L, E) sites that are averaged, without the padding."""
        logits, sites = prepare_map(self.logits, self.sites, self.mask)
        return logits, sites.expand(logits.shape[0], -1, -1)

    @cached_property
    def _positions(self) -> Tensor:
        """The (B, L, D) positions of the sites."""
        logits, sites = self._map
        if not isinstance(self.sites, Grid):
            return sites
        return self.sites.positions(sites.dtype, sites.device).expand(logits.shape[0], -1, -1)

    @cached_property
    def _variance(self) -> Tensor:
        """The variance around each site, to be broadcast to (B, L, D), 0 where masked."""
        points = self._map[1]
        # Of the coordinates of a grid, not of their embedding.
        sites = replace(self.sites, periodic=False) if isinstance(self.sites, Grid) else points
        variance = self.basis.variance(sites, self.mask, dtype=points.dtype, device=points.device)
        return variance if self.mask is None else torch.where(self.mask.unsqueeze(-1), variance, 0)

    def _offset(self, center: Tensor) -> Tensor:
        """(B, K, L, D) the sites minus the centers (B, K, D), the shortest way."""
        sites, center = self._positions.unsqueeze(1), center.unsqueeze(2)
        return self.sites.difference(sites, center) if isinstance(self.sites, Grid) else sites - center

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, K, L) π, 0 at masked sites."""
        return torch.softmax(self._map[0], dim=-1)

    @cached_property
    def mean(self) -> Tensor:
        """(B, K, D) the expectation, as `soft_argmax` (Eq. 1)."""
        mean = weighted_sum(self.probabilities, self._map[1])
        return self.sites.recover(mean) if isinstance(self.sites, Grid) else mean

    @cached_property
    def mode_site(self) -> Tensor:
        """(B, K) index of the most probable site."""
        return self._map[0].argmax(dim=-1)

    @cached_property
    def mode(self) -> Tensor:
        """(B, K, D) position of the most probable site."""
        return take_sites(self._positions, self.mode_site)

    @cached_property
    def peak(self) -> Tensor:
        """(B, K) probability of the most probable site: the paper's confidence."""
        return self.probabilities.amax(dim=-1)

    @cached_property
    def entropy(self) -> Tensor:
        """(B, K) entropy of π in nats, 0 for a map that is one site."""
        log_probabilities = torch.log_softmax(self._map[0], dim=-1)
        # 0 · log 0 is 0, here and in the gradient.
        log_probabilities = log_probabilities.masked_fill(log_probabilities.isneginf(), 0)
        return -(self.probabilities * log_probabilities).sum(dim=-1)

    @cached_property
    def covariance(self) -> Tensor:
        """(B, K, D, D) covariance of the density: that of the sites plus the mean variance of the basis.

        On circular axes: the mean product of the offsets from `mean`, and a Gaussian's variance as for a width small
        against the circle.
        """
        offset = self._offset(self.mean).flatten(0, 1)  # (B·K, L, D)
        weighted = (offset * self.probabilities.flatten(0, 1).unsqueeze(-1)).mT  # (B·K, D, L)
        between = weighted_sum(weighted, offset).unflatten(0, self.mean.shape[:2])
        within = weighted_sum(self.probabilities, self._variance.expand_as(self._positions))
        return (between + between.mT) / 2 + torch.diag_embed(within)

    @cached_property
    def spread(self) -> Tensor:
        """(B, K) root of the covariance's trace: the root mean square distance from the mean."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1).sqrt()

    @cached_property
    def basis_width(self) -> Tensor:
        """(B,) standard deviation of the basis along an axis, root mean square over the axes and real sites."""
        variance = self._variance.expand_as(self._positions).mean(dim=-1)
        share = 1.0 if self.mask is None else self.mask.to(variance).mean(dim=1)
        return (variance.mean(dim=1) / share).sqrt()

    def mass_within(self, radius: float | Tensor, center: Tensor | None = None) -> Tensor:
        """Return the probability of the sites within a distance of a position.

        Args:
            radius: the distance, included, in the unit of the sites; or one each, to be broadcast to (B, K).
            center: (B, K, D); None is the mean.

        Returns:
            (B, K) sum of π over those sites; the basis is left out.

        Raises:
            ValueError: a negative radius, or a radius or center of another shape.
        """
        center = self.mean if center is None else center
        if center.shape != self.mean.shape:
            shapes = f"{tuple(self.mean.shape)}, got {tuple(center.shape)}"
            raise ValueError(f"center: expected shape (B, K, D) = {shapes}")
        limit = torch.as_tensor(radius).to(self.mean)
        if not (limit >= 0).all():
            raise ValueError(f"radius: expected a distance >= 0, got {limit[~(limit >= 0)].flatten()[0].item()}")
        whole = self.mean.shape[:2]
        if limit.ndim > 2 or any(n not in (1, m) for n, m in zip(limit.shape[::-1], whole[::-1], strict=False)):
            raise ValueError(f"radius: expected a shape that broadcasts to {tuple(whole)}, got {tuple(limit.shape)}")
        if isinstance(self.sites, Grid):
            away = torch.linalg.vector_norm(self._offset(center.to(self.mean)), dim=-1)
        else:  # without the product form of cdist, which loses half the digits of small distances
            away = torch.cdist(center.to(self.mean), self._positions, compute_mode="donot_use_mm_for_euclid_dist")
        within = away <= limit.expand(whole).unsqueeze(-1)
        return torch.where(within, self.probabilities, 0).sum(dim=-1).clamp_max(1)

    def density(self, positions: Tensor) -> Tensor:
        """Return the mixture f(y) = Σ π_i f_i(y) (Eq. 6).

        Args:
            positions: (B, Q, D) y, in the unit of the sites.

        Returns:
            (B, K, Q) per unit of length, area or volume. It is 0 where it is less than the type can hold, see
            `log_density`.

        Raises:
            ValueError: positions of another shape, or a Gaussian of width 0.
        """
        return self._by_chunks(positions, partial(self._mixture, probabilities=self.probabilities))

    def log_density(self, positions: Tensor) -> Tensor:
        """Return log f(y), which of a Gaussian basis is finite and exact however far from the sites.

        Uniform and triangular densities end, so theirs may be −inf; so may that of a Gaussian across a circular axis.

        Args:
            positions: (B, Q, D) y, in the unit of the sites.

        Returns:
            (B, K, Q).

        Raises:
            ValueError: positions of another shape, or a Gaussian of width 0.
        """
        if not isinstance(self.basis, Gaussian) or (isinstance(self.sites, Grid) and any(self.sites.periods)):
            return self.density(positions).log()
        variance = self._variance.expand_as(self._positions)
        if self.mask is not None:
            variance = torch.where(self.mask.unsqueeze(-1), variance, 1)
        if not (variance > 0).all():
            raise ValueError("sigma: expected values > 0, for a density, got 0")
        log_probabilities = torch.log_softmax(self._map[0], dim=-1)
        constant = (2 * math.pi * variance).log().sum(dim=-1).unsqueeze(1)  # (B, 1, L)

        def mixture(part: Tensor) -> Tensor:
            away = part.unsqueeze(2) - self._positions.unsqueeze(1)  # (B, q, L, D)
            basis = -((away.square() / variance.unsqueeze(1)).sum(dim=-1) + constant) / 2
            return torch.stack([(basis + one.unsqueeze(1)).logsumexp(-1) for one in log_probabilities.unbind(1)], 1)

        return self._by_chunks(positions, mixture)

    def _by_chunks(self, positions: Tensor, evaluate: Callable[[Tensor], Tensor]) -> Tensor:
        """Evaluate (B, q, D) -> (B, K, q) over all positions (B, Q, D), some at a time."""
        batch_size, num_sites, dimension = self._positions.shape
        if positions.ndim != 3 or positions.shape[::2] != (batch_size, dimension):
            expected = f"({batch_size}, Q, {dimension})"
            raise ValueError(f"positions: expected shape (B, Q, D) = {expected}, got {tuple(positions.shape)}")
        parts = positions.to(self._positions).split(max(1, _CHUNK // (batch_size * num_sites)), dim=1)
        return torch.cat([evaluate(part) for part in parts], dim=-1)

    def _mixture(self, positions: Tensor, probabilities: Tensor) -> Tensor:
        """Σ π_i f_i(y) of (B, q, D) positions by (B, K, L) probabilities, (B, K, q)."""
        sites = self.sites if isinstance(self.sites, Grid) else self._positions
        return weighted_sum(probabilities, self.basis.density(positions, sites, self.mask).mT)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples of the mixture: a site from π, then from the density around it; without gradient.

        Args:
            n: samples of each keypoint.
            generator: source of the noise, on the device of the sites.

        Returns:
            (B, n, K, D) positions in the unit of the sites.

        Raises:
            ValueError: n < 1.
        """
        if n < 1:
            raise ValueError(f"n: expected at least 1 sample, got {n}")
        with torch.no_grad():
            batch_size, num_keypoints, _ = self.probabilities.shape
            drawn = torch.multinomial(self.probabilities.flatten(0, 1), n, replacement=True, generator=generator)
            drawn = drawn.reshape(batch_size, num_keypoints * n)
            dtype, device = self._positions.dtype, self._positions.device
            sites = self.sites if isinstance(self.sites, Grid) else self._positions
            position = self.basis.draw(drawn, sites, self.mask, generator, dtype=dtype, device=device)
            if isinstance(sites, Grid) and isinstance(self.basis, Gaussian):  # which draws embedded positions
                position = sites.recover(position)
            return position.unflatten(1, (num_keypoints, n)).transpose(1, 2)

    def highest_density_sites(self, mass: float) -> Tensor:
        """Return the fewest sites that together have a probability of at least `mass`.

        Args:
            mass: within (0, 1].

        Returns:
            (B, K, L) bool, never True at masked sites or at those of probability 0. Of equal ones the first are taken.

        Raises:
            ValueError: a mass outside (0, 1].
        """
        _check_mass(mass)
        falling, order = self.probabilities.double().sort(dim=-1, descending=True, stable=True)
        before = falling.cumsum(dim=-1) - falling
        chosen = (before < mass) & (falling > 0)
        return torch.zeros_like(chosen).scatter(-1, order, chosen)

    def density_level(self, mass: float, n: int = 1000, generator: torch.Generator | None = None) -> Tensor:
        """Return the density above which the share `mass` of the mixture lies; without gradient.

        So {y: density(y) >= level} is the highest-density region, the smallest one of that mass. It is found from the
        densities at n exact samples (Hyndman 1996): the region's mass has a standard error of √(mass (1 − mass) / n).

        Args:
            mass: within (0, 1].
            n: samples of each keypoint.
            generator: source of the samples, on the device of the sites.

        Returns:
            (B, K) per unit of length, area or volume.

        Raises:
            ValueError: a mass outside (0, 1], n < 1, or a Gaussian of width 0.
        """
        _check_mass(mass)
        samples = self.sample(n, generator)
        with torch.no_grad():
            each = zip(samples.unbind(dim=2), self.probabilities.split(1, dim=1), strict=True)
            found = [self._by_chunks(own, partial(self._mixture, probabilities=one)) for own, one in each]
        rank = min(n, math.floor(n * (1 - mass) + 1e-9) + 1)  # as many samples as needed are at or above it
        return torch.cat(found, dim=1).kthvalue(rank, dim=-1).values

    def marginal(self, axes: int | Sequence[int]) -> "KeypointDistribution":
        """Return the distribution of some coordinates of a grid, the others summed out; it is exact.

        Its mean, covariance and density are those of these coordinates. What sampling-argmax draws of it is not the
        part of what it draws of the whole map: see `marginals`.

        Args:
            axes: which coordinates to keep, 0 for x, 1 for y, 2 for z; one or several, which stay in that order.
                `marginal((0, 1))` of a 3-D map is the 2-D map without the depth.

        Raises:
            ValueError: the sites are a cloud, no such coordinate, or a σ of the basis per site.
        """
        if not isinstance(self.sites, Grid):
            raise ValueError("axes: a cloud has no axes to sum along, expected the sites to be a Grid")
        grid, shape = self.sites, self.sites.shape
        kept = kept_axes(axes, grid.dimension)
        logits = marginal_logits(self._map[0].unflatten(2, shape), kept).flatten(2)
        mask = self.mask
        if mask is not None:
            summed = [grid.dimension - d for d in range(grid.dimension) if d not in kept]
            mask = mask.unflatten(1, shape).any(dim=summed).flatten(1) if summed else mask
        basis = marginal_basis(self.basis, kept, grid.dimension)
        return KeypointDistribution(logits, marginal_grid(grid, kept), mask, basis, self.presence)

    def to(self, device: torch.device | str) -> "KeypointDistribution":
        """Return the same distribution with its tensors on `device`."""
        parts = {name: getattr(self, name) for name in ("logits", "sites", "mask", "presence")}
        moved = {name: value.to(device) for name, value in parts.items() if isinstance(value, Tensor)}
        basis = self.basis
        if isinstance(basis, Gaussian) and isinstance(basis.sigma, Tensor):
            basis = Gaussian(basis.sigma.to(device))
        return replace(self, basis=basis, **moved)

    def __getitem__(self, cloud: int) -> "KeypointDistribution":
        """Return the distribution of one cloud or grid, B = 1; a cloud without its padding.

        Raises:
            IndexError: no such cloud.
        """
        batch_size = len(self)
        if not -batch_size <= cloud < batch_size:
            raise IndexError(f"cloud: expected an index into {batch_size} clouds, got {cloud}")
        cloud %= batch_size
        one = slice(cloud, cloud + 1)
        presence = None if self.presence is None else self.presence[one]
        if isinstance(self.sites, Grid):
            mask = None if self.mask is None else self.mask[one]
            return KeypointDistribution(self.logits[one], self.sites, mask, self._basis_of(cloud), presence)
        real = slice(None) if self.mask is None else self.mask[cloud]
        sites = self.sites if self.sites.ndim == 2 else self.sites[cloud]
        basis = self._basis_of(cloud, real)
        return KeypointDistribution(self.logits[one, :, real], sites[real], basis=basis, presence=presence)

    def _basis_of(self, cloud: int, real: Tensor | slice = slice(None)) -> Basis:
        """The basis of one cloud, of its `real` sites."""
        if not isinstance(self.basis, Gaussian) or not isinstance(self.basis.sigma, Tensor):
            return self.basis
        sigma, num_sites = self.basis.sigma, self._positions.shape[1]
        if sigma.ndim > 0 and sigma.shape[0] == len(self):
            sigma = sigma[cloud : cloud + 1]
        if sigma.ndim == 3 and sigma.shape[1] == num_sites:
            sigma = sigma[:, real]
        return Gaussian(sigma)

    def __len__(self) -> int:
        """Return B, the number of clouds."""
        return self.logits.shape[0]


def _check_mass(mass: float) -> None:
    if not 0 < mass <= 1:
        raise ValueError(f"mass: expected a share within (0, 1], got {mass}")
