"""A standard deviation for each site, learned from its features."""

import math

import torch
from torch import Tensor, nn


class SiteSigma(nn.Module):
    """A standard deviation per site, learned from its features (the sub-distributions of the paper's future work).

    σ = σ_0 softplus(a · features + b), which starts at a = 0, softplus(b) = 1, so at σ_0 everywhere; relative to σ_0
    it learns alike in any unit. Use: `Gaussian(site_sigma(features))`.

    Args:
        channels: C, the number of features of a site.
        initial: σ_0 > 0, in the unit of the sites.

    Raises:
        ValueError: `channels` < 1, or `initial` not positive and finite.

    Example:
        >>> import torch
        >>> from pcsargmax import Gaussian, SiteSigma
        >>> site_sigma = SiteSigma(channels=64, initial=0.01)
        >>> sigma = site_sigma(torch.rand(2, 1024, 64))  # (B, L, C) -> (B, L, 1)
        >>> sigma.shape, bool(sigma.allclose(torch.tensor(0.01)))  # before it is trained, the same everywhere
        (torch.Size([2, 1024, 1]), True)
        >>> basis = Gaussian(sigma)
    """

    def __init__(self, channels: int, initial: float = 0.01) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels: expected at least 1, got {channels}")
        if not 0 < initial < math.inf:
            raise ValueError(f"initial: expected a standard deviation, positive and finite, got {initial}")
        self.initial = initial
        self.linear = nn.Linear(channels, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, math.log(math.expm1(1)))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, L, 1) standard deviations, positive, in at least float32, from (B, L, C) features.

        Raises:
            ValueError: another number of features.
        """
        channels = self.linear.in_features
        if features.ndim != 3 or features.shape[-1] != channels:
            raise ValueError(f"features: expected shape (B, L, C = {channels}), got {tuple(features.shape)}")
        with torch.autocast(features.device.type, enabled=False):
            score: Tensor = self.linear(features.to(self.linear.weight.dtype))
            score = score.to(torch.promote_types(score.dtype, torch.float32))
            return self.initial * nn.functional.softplus(score)

    def extra_repr(self) -> str:
        """Return the settings, for `print(layer)`."""
        return f"initial={self.initial}"
