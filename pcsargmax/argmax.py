"""Soft-argmax and sampling-argmax: a keypoint's position from one score per site.

Sites are grid cells or the points of a cloud; nothing here knows which. Source: Localization with
Sampling-Argmax, NeurIPS 2021.
"""

import torch
from torch import Tensor, nn

from pcsargmax.bases import Gaussian, weighted_sum
from pcsargmax.relaxation import mask_logits, relaxed_categorical


def prepare_map(logits: Tensor, sites: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Check logits, sites and mask against each other and take the padding out of them.

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D), or (L, D) where all items share them.
        mask: (B, L) bool, True where a site is real.

    Returns:
        (B, K, L) logits, −inf where masked, and (B or 1, L, D) sites, 0 where masked, both of the wider of
        the two types, at least float32. So what stands at masked sites, NaN included, reaches neither values
        nor gradients.

    Raises:
        ValueError: as `mask_logits`, or sites of a shape that does not fit.
    """
    logits = mask_logits(logits, mask)
    batch_size, _, num_sites = logits.shape
    shared = sites.ndim == 2 and sites.shape[0] == num_sites
    if not shared and not (sites.ndim == 3 and sites.shape[:2] == (batch_size, num_sites)):
        expected = f"({batch_size}, {num_sites}, D) or ({num_sites}, D)"
        raise ValueError(f"sites: expected shape (B, L, D) or (L, D) = {expected}, got {tuple(sites.shape)}")
    dtype = torch.promote_types(logits.dtype, sites.dtype)
    sites = sites.to(dtype)
    if shared:
        sites = sites.unsqueeze(0)
    if mask is not None:
        sites = torch.where(mask.unsqueeze(-1), sites, 0)
    return logits.to(dtype), sites


def soft_argmax(logits: Tensor, sites: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return the expectation Σ π_i x_i of the keypoint's position, π = softmax(logits) (Eq. 1).

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D), or (L, D) where all items share them: where the sites are, in any unit.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect.

    Returns:
        (B, K, D) positions in the unit of the sites, in at least float32, also under autocast.

    Raises:
        ValueError: shapes or types that do not fit, or a cloud without a real site.
    """
    logits, sites = prepare_map(logits, sites, mask)
    return weighted_sum(torch.softmax(logits, dim=-1), sites)


def sampling_argmax(
    logits: Tensor,
    sites: Tensor,
    *,
    basis: Gaussian | None = None,
    num_samples: int = 1,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw differentiable samples of the keypoint's position from its mixture density (Eq. 10-12).

    ŷ = Σ w_i y_i with relaxed categorical weights w and y_i drawn from the density around site i. The noise
    of that density is drawn once per sample, exactly as if once per site (`Gaussian.noise`).

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D), or (L, D) where all items share them: where the sites are, in any unit.
        basis: the density around each site; None is `Gaussian("auto")`.
        num_samples: S, samples of each keypoint.
        temperature: τ > 0; near 0 a sample sits at one site, at a high one near the mean of all.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect.
        generator: source of all noise, on the device of `logits`.

    Returns:
        (B, S, K, D) samples in the unit of the sites, in at least float32, also under autocast.

    Raises:
        ValueError: shapes or types that do not fit, a cloud without a real site, `num_samples` < 1,
            `temperature` not positive and finite, or a `sigma` of the basis that does not fit the sites.
    """
    logits, sites = prepare_map(logits, sites, mask)
    weights = relaxed_categorical(
        logits, num_samples=num_samples, temperature=temperature, generator=generator
    )  # (B, S, K, L): the mask is already in the logits
    noise = (basis or Gaussian()).noise(weights, sites, mask, generator)
    return weighted_sum(weights, sites) + noise


class SamplingArgmax(nn.Module):
    """Sampling-argmax in training, soft-argmax in evaluation, as one layer without parameters.

    Both modes return (B, S, K, D), with S = 1 in evaluation, so that one line of code, such as
    `distance(layer(logits, sites), target.unsqueeze(1)).mean(1)`, serves both.

    Args:
        basis: the density around each site; None is `Gaussian("auto")`.
        num_samples: S, samples of each keypoint in training.
        temperature: τ > 0. To anneal it, set the attribute: `layer.temperature = schedule(progress)`.
    """

    def __init__(self, basis: Gaussian | None = None, num_samples: int = 1, temperature: float = 1.0) -> None:
        """Keep the settings; they are checked where they are used."""
        super().__init__()
        self.basis = basis or Gaussian()
        self.num_samples = num_samples
        self.temperature = temperature

    def forward(
        self,
        logits: Tensor,
        sites: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return (B, S, K, D) samples in training, the (B, 1, K, D) expectation in evaluation.

        Arguments and errors are those of `sampling_argmax`.
        """
        if not self.training:
            return soft_argmax(logits, sites, mask=mask).unsqueeze(1)
        return sampling_argmax(
            logits,
            sites,
            basis=self.basis,
            num_samples=self.num_samples,
            temperature=self.temperature,
            mask=mask,
            generator=generator,
        )

    def extra_repr(self) -> str:
        """Return the settings, for `print(layer)`."""
        return f"basis={self.basis}, num_samples={self.num_samples}, temperature={self.temperature}"
