"""What a prediction is: one probability map over the sites for each keypoint."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pcsargmax.argmax import prepare_map
from pcsargmax.bases import Gaussian, weighted_sum


@dataclass(frozen=True, eq=False)
class KeypointDistribution:
    """The distribution of K keypoints over the sites of B clouds or grids, computed where asked, and once.

    Its density is the mixture Σ π_i N(x_i, σ_i²) of Eq. 6 and 9, with π = softmax(logits).

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D), or (L, D) where all items share them, in any unit.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect.
        sigma: standard deviation around each site, as in `Gaussian`, in the unit of the sites.
        presence: (B, K) probability that the keypoint exists at all, where the model tells.

    Raises:
        ValueError: shapes or types that do not fit, a cloud without a real site, or a `sigma` that is not
            one.
    """

    logits: Tensor
    sites: Tensor
    mask: Tensor | None = None
    sigma: float | Tensor | Literal["auto"] = 0.0
    presence: Tensor | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit."""
        basis = Gaussian(self.sigma)
        _, sites = self._map
        if isinstance(self.sigma, Tensor):
            basis.scale(sites, self.mask)
        if self.presence is not None and self.presence.shape != self.logits.shape[:2]:
            shapes = f"{tuple(self.logits.shape[:2])}, got {tuple(self.presence.shape)}"
            raise ValueError(f"presence: expected shape (B, K) = {shapes}")

    @cached_property
    def _map(self) -> tuple[Tensor, Tensor]:
        """The (B, K, L) logits and the (B, L, D) sites, without the padding."""
        logits, sites = prepare_map(self.logits, self.sites, self.mask)
        return logits, sites.expand(logits.shape[0], -1, -1)

    @cached_property
    def _scale(self) -> Tensor:
        """The standard deviation around each site, to be broadcast to (B, L, D), 0 where masked."""
        scale = Gaussian(self.sigma).scale(self._map[1], self.mask)
        return scale if self.mask is None else torch.where(self.mask.unsqueeze(-1), scale, 0)

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, K, L) π, 0 at masked sites."""
        return torch.softmax(self._map[0], dim=-1)

    @cached_property
    def mean(self) -> Tensor:
        """(B, K, D) the expectation, as `soft_argmax` (Eq. 1)."""
        return weighted_sum(self.probabilities, self._map[1])

    @cached_property
    def mode_site(self) -> Tensor:
        """(B, K) index of the most probable site."""
        return self._map[0].argmax(dim=-1)

    @cached_property
    def mode(self) -> Tensor:
        """(B, K, D) position of the most probable site."""
        return _take_sites(self._map[1], self.mode_site)

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
        """(B, K, D, D) covariance of the density: the spread of the sites plus the mean of σ² I."""
        sites = self._map[1]
        offset = (sites.unsqueeze(1) - self.mean.unsqueeze(2)).flatten(0, 1)  # (B·K, L, D)
        weighted = (offset * self.probabilities.flatten(0, 1).unsqueeze(-1)).mT  # (B·K, D, L)
        between = weighted_sum(weighted, offset).unflatten(0, self.mean.shape[:2])
        within = weighted_sum(self.probabilities, self._scale.square().expand_as(sites))
        return (between + between.mT) / 2 + torch.diag_embed(within)

    @cached_property
    def spread(self) -> Tensor:
        """(B, K) root of the covariance's trace: the root mean square distance from the mean."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1).sqrt()

    def mass_within(self, radius: float, center: Tensor | None = None) -> Tensor:
        """Return the probability of the sites within a distance of a position.

        Args:
            radius: the distance, included, in the unit of the sites.
            center: (B, K, D); None is the mean.

        Returns:
            (B, K) sum of π over those sites; σ is left out.

        Raises:
            ValueError: a negative radius or a center of another shape.
        """
        if not radius >= 0:
            raise ValueError(f"radius: expected a distance >= 0, got {radius}")
        center = self.mean if center is None else center
        if center.shape != self.mean.shape:
            shapes = f"{tuple(self.mean.shape)}, got {tuple(center.shape)}"
            raise ValueError(f"center: expected shape (B, K, D) = {shapes}")
        # Without the product form of cdist, which loses half the digits of small distances.
        away = torch.cdist(center.to(self.mean), self._map[1], compute_mode="donot_use_mm_for_euclid_dist")
        return torch.where(away <= radius, self.probabilities, 0).sum(dim=-1).clamp_max(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples of the mixture: a site from π, then normal noise around it; without gradient.

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
            flat = self.probabilities.flatten(0, 1)  # (B·K, L)
            drawn = torch.multinomial(flat, n, replacement=True, generator=generator)
            drawn = drawn.reshape(batch_size, num_keypoints * n)
            sites = self._map[1]
            position = _take_sites(sites, drawn)
            noise = torch.randn(position.shape, generator=generator, dtype=position.dtype, device=position.device)
            position = position + noise * _take_sites(self._scale.expand_as(sites), drawn)
            return position.unflatten(1, (num_keypoints, n)).transpose(1, 2)

    def to(self, device: torch.device | str) -> "KeypointDistribution":
        """Return the same distribution with its tensors on `device`."""
        parts = {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}
        return replace(self, **{name: v.to(device) for name, v in parts.items() if isinstance(v, Tensor)})

    def __getitem__(self, cloud: int) -> "KeypointDistribution":
        """Return the distribution of one cloud, B = 1, without its padding.

        Raises:
            IndexError: no such cloud.
        """
        batch_size, _, num_sites = self.logits.shape
        if not -batch_size <= cloud < batch_size:
            raise IndexError(f"cloud: expected an index into {batch_size} clouds, got {cloud}")
        cloud %= batch_size
        real = slice(None) if self.mask is None else self.mask[cloud]
        sites = self.sites if self.sites.ndim == 2 else self.sites[cloud]
        sigma = self.sigma
        if isinstance(sigma, Tensor) and sigma.ndim > 0 and sigma.shape[0] == batch_size:
            sigma = sigma[cloud : cloud + 1]
        if isinstance(sigma, Tensor) and sigma.ndim == 3 and sigma.shape[1] == num_sites:
            sigma = sigma[:, real]
        return KeypointDistribution(
            logits=self.logits[cloud : cloud + 1, :, real],
            sites=sites[real],
            sigma=sigma,
            presence=None if self.presence is None else self.presence[cloud : cloud + 1],
        )

    def __len__(self) -> int:
        """Return B, the number of clouds."""
        return self.logits.shape[0]


def _take_sites(values: Tensor, index: Tensor) -> Tensor:
    """Take (B, N, D) of the (B, L, D) values at the (B, N) site indices."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
