"""Soft-argmax and sampling-argmax: a keypoint's position from one score per site.

Sites are the points of a cloud or the cells of a grid; past `prepare_map` nothing here knows which. Source:
Localization with Sampling-Argmax, NeurIPS 2021.
"""

import math

import torch
from torch import Tensor, nn

from pcsargmax.core.bases import Basis, Gaussian, weighted_sum
from pcsargmax.core.engine.sampler import Sampler
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import Sites, center_map, flatten_mask, prepare_map, take_sites
from pcsargmax.core.relaxation import Relaxation


def soft_argmax(logits: Tensor, sites: Sites, *, mask: Tensor | None = None) -> Tensor:
    """Return the expectation Σ π_i x_i of the keypoint's position, π = softmax(logits) (Eq. 1).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect. Of a grid also
            (B, *shape).

    Returns:
        (B, K, D) positions in the unit of the sites, in at least float32, also under autocast.

    Raises:
        ValueError: shapes or types that do not fit, or a cloud without a real site.

    Example:
        >>> import torch
        >>> from pcsargmax import soft_argmax
        >>> sites = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 10.0]])  # (L, D)
        >>> soft_argmax(torch.tensor([[[0.5, 0.25, 0.25]]]).log(), sites)  # (B, K, L) -> (B, K, D)
        tensor([[[1.5000, 2.5000]]])
    """
    logits, positions, center, _ = center_map(logits, sites, mask)
    expectation = weighted_sum(torch.softmax(logits, dim=-1), positions) + center
    return sites.recover(expectation) if isinstance(sites, Grid) else expectation


def sampling_argmax(
    logits: Tensor,
    sites: Sites,
    *,
    basis: Basis | None = None,
    num_samples: int = 1,
    temperature: float = 1.0,
    relaxation: Relaxation = "gumbel_softmax",
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw differentiable samples of the keypoint's position from its mixture density (Eq. 10-12).

    ŷ = Σ w_i y_i with relaxed categorical weights w and y_i drawn from the density around site i. The noise
    of a Gaussian basis is drawn once per sample, exactly as if once per site (`Gaussian.noise`). Memory does
    not grow with the number of samples, but under `torch.compile`: the backward pass draws the weights again.
    It can be passed once; derivatives of second order need `relaxed_categorical` and sums of your own. Of the
    transforms of `torch.func`, `grad` works; `vmap` is an error of torch's, for it takes no noise drawn in place.

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        basis: the density around each site; None is `Gaussian("auto")`.
        num_samples: S, samples of each keypoint.
        temperature: τ > 0, a number; near 0 a sample sits at one site, at a high one near the mean of all.
        relaxation: how the weights are drawn, as in `relaxed_categorical`.
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect. Of a grid also
            (B, *shape).
        generator: source of all noise, on the device of `logits`.

    Returns:
        (B, S, K, D) samples in the unit of the sites, in at least float32, also under autocast.

    Raises:
        ValueError: shapes or types that do not fit, a cloud without a real site, `num_samples` < 1,
            `temperature` below 1e-30 or not finite, an unknown relaxation, a basis that needs a grid, or a
            `sigma` of the basis that does not fit the sites.

    Example:
        >>> import torch
        >>> from pcsargmax import sampling_argmax
        >>> logits, cloud = torch.zeros(2, 4, 256), torch.rand(2, 256, 3)  # (B, K, L) and (B, L, D)
        >>> sampling_argmax(logits, cloud, num_samples=10).shape  # (B, S, K, D)
        torch.Size([2, 10, 4, 3])
    """
    sampler = Sampler.of(
        logits,
        sites,
        basis=basis,
        num_samples=num_samples,
        temperature=temperature,
        relaxation=relaxation,
        mask=mask,
    )
    samples = sampler.samples(generator).transpose(1, 2)  # (B, K, S, E) -> (B, S, K, E)
    return sites.recover(samples) if isinstance(sites, Grid) else samples


def kernel_logits(logits: Tensor, sites: Sites, width: float, *, mask: Tensor | None = None) -> Tensor:
    """Multiply each map by a Gaussian window around its peak: the logits of the kernel soft-argmax.

    softmax(kernel_logits(…)) is π_i exp(−‖x_i − x_peak‖²/(2 width²)), normalised, so that far modes have no
    say. What comes out are logits like any other: every function here and every loss takes them. The peak
    carries no gradient. Named in the paper; there the window multiplies the map before it is normalised.

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), (L, D), or a Grid.
        width: standard deviation of the window, in the unit of the sites.
        mask: (B, L) bool, True where a site is real; of a grid also (B, *shape).

    Returns:
        logits of the shape that came, −inf where masked.

    Raises:
        ValueError: as `prepare_map`, or a width that is not positive and finite.

    Example:
        >>> import torch
        >>> from pcsargmax import kernel_logits, soft_argmax
        >>> sites = torch.tensor([[0.0], [1.0], [100.0]])
        >>> logits = torch.tensor([[[0.4, 0.4, 0.2]]]).log()
        >>> soft_argmax(logits, sites)  # 0.4 + 20: drawn away by the far mode
        tensor([[[20.4000]]])
        >>> soft_argmax(kernel_logits(logits, sites, width=10.0), sites).round(decimals=1)
        tensor([[[0.5000]]])
    """
    if not 0 < width < math.inf:
        raise ValueError(f"width: expected a length, positive and finite, got {width}")
    shape = logits.shape
    logits, positions = prepare_map(logits, sites, flatten_mask(mask, sites))
    positions = positions.expand(len(logits), -1, -1)
    peak = take_sites(positions, logits.argmax(dim=-1))  # (B, K, E)
    away = torch.cdist(peak, positions, compute_mode="donot_use_mm_for_euclid_dist")
    return (logits - (away / width).square() / 2).reshape(shape)


def fixed_basis(basis: Basis) -> Basis:
    """Return the basis of a layer, or raise ValueError where its σ is learned."""
    if isinstance(basis, Gaussian) and isinstance(basis.sigma, Tensor) and basis.sigma.requires_grad:
        raise ValueError(
            "basis: expected a sigma without gradient, which the layer would not register as a parameter, got one that "
            "requires grad; give it to each call, layer(..., basis=Gaussian(sigma))"
        )
    return basis


class SamplingArgmax(nn.Module):
    """Sampling-argmax in training, soft-argmax in evaluation, as one layer without parameters.

    Both modes return (B, S, K, D), with S = 1 in evaluation, so that one line of code, such as
    `distance(layer(logits, sites), target.unsqueeze(1)).mean(1)` (`pcsargmax.core.distances`), serves both.

    The default basis is the Gaussian, the only one that a cloud can have: its points have no cells. This layer takes
    the same default for a `Grid`, where `Gaussian("auto")` is as wide as a cell (σ = c). `GridArgmax` starts from the
    narrower `Triangular` (standard deviation c/√6) instead; pass `basis` to either layer for the same samples.

    Args:
        basis: the density around each site; None is `Gaussian("auto")`. A learned σ is given to each call instead,
            `layer(logits, sites, basis=Gaussian(site_sigma(features)))`: the layer would not register it.
        num_samples: S, samples of each keypoint in training.
        relaxation: how the weights are drawn, as in `relaxed_categorical`.
        temperature: τ > 0. To anneal it, set the attribute: `layer.temperature = schedule(progress)`.

    Raises:
        ValueError: a σ of the basis that asks for a gradient. The other settings are checked where they are used.

    Example:
        >>> import torch
        >>> from pcsargmax import SamplingArgmax
        >>> layer = SamplingArgmax(num_samples=10)
        >>> logits, cloud = torch.zeros(2, 4, 256), torch.rand(2, 256, 3)  # (B, K, L) and (B, L, D)
        >>> layer(logits, cloud).shape  # samples in training
        torch.Size([2, 10, 4, 3])
        >>> layer.eval()(logits, cloud).shape  # the expectation in evaluation
        torch.Size([2, 1, 4, 3])
    """

    def __init__(
        self,
        basis: Basis | None = None,
        num_samples: int = 1,
        temperature: float = 1.0,
        relaxation: Relaxation = "gumbel_softmax",
    ) -> None:
        """Keep the settings, or raise ValueError for a learned σ."""
        super().__init__()
        self.basis = fixed_basis(Gaussian() if basis is None else basis)
        self.num_samples = num_samples
        self.temperature = temperature
        self.relaxation: Relaxation = relaxation

    def forward(
        self,
        logits: Tensor,
        sites: Sites,
        *,
        basis: Basis | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return (B, S, K, D) samples in training, the (B, 1, K, D) expectation in evaluation.

        Arguments and errors are those of `sampling_argmax`; `basis` takes the place of the layer's own in this call.
        """
        if not self.training:
            return soft_argmax(logits, sites, mask=mask).unsqueeze(1)
        return sampling_argmax(
            logits,
            sites,
            basis=self.basis if basis is None else basis,
            num_samples=self.num_samples,
            temperature=self.temperature,
            relaxation=self.relaxation,
            mask=mask,
            generator=generator,
        )

    def extra_repr(self) -> str:
        """Return the settings, for `print(layer)`."""
        return (
            f"basis={self.basis}, num_samples={self.num_samples}, temperature={self.temperature}, "
            f"relaxation={self.relaxation!r}"
        )
