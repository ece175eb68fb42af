"""The objectives of training, one call each.

| objective | call |
|---|---|
| expected error by samples (Eq. 14), the paper's proposal | `expected_error` |
| the same, the basis' noise integrated out | `expected_error(closed_form=True)` |
| error of the expectation (Eq. 2), soft-argmax | `error_of_expectation` |
| discrete expected error (Eq. 4) | `discrete_expected_error` |
| soft-argmax with the variance regularizer (Eq. 15) | `variance_regularized_error` |
| soft-argmax with the distribution regularizer (Eq. 16) | `distribution_regularized_error` |

All return one value per item and keypoint, (B, K): the caller reduces, and leaves out absent keypoints by
selecting, `loss[visible].mean()`. Multiplying by 0 does not leave out a NaN target, and a NaN that was
computed before the selection still reaches the gradient: give absent keypoints any finite target, such as 0.

An expected error, as the temperature of its samples goes to 0, is linear in the map. So a map with all its mass on one
site makes it least, and the expectation of what is learnt lies on a site. `expected_error(…) + error_of_expectation(…)`
is least, for "l1", where the expectation is the target: mass that moves to the next site costs the first term no more
than the second gains.

On a periodic grid all distances are those of the embedded positions (`Grid.embed`), between the target on its
circle and averages of sites inside it: so they grow with the spread of a map as well.
"""

import math

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis, Gaussian, weighted_sum
from pcsargmax.core.distances import Distance, gaussian_expected_distance, pairwise_distance
from pcsargmax.core.distances import distance as _distance  # the losses name an argument `distance`, as callers would
from pcsargmax.core.engine.chunks import Part
from pcsargmax.core.engine.sampler import Sampler
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import Sites, center_map
from pcsargmax.core.regularizers import Spacing, distribution_regularizer, variance_regularizer
from pcsargmax.core.relaxation import Relaxation


def error_of_expectation(
    logits: Tensor,
    sites: Sites,
    target: Tensor,
    *,
    distance: Distance = "l1",
    mask: Tensor | None = None,
) -> Tensor:
    """Return d(y_t, Σ π_i x_i), the error of the soft-argmax (Eq. 2).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        distance: "l1", "l2", "squared_l2" or `SmoothL1(beta)`, as in `distance`.
        mask: (B, L) bool, True where a site is real; of a grid also (B, *shape).

    Returns:
        (B, K).

    Raises:
        ValueError: as `soft_argmax`, a target of another shape, or an unknown distance.

    Example:
        >>> import torch
        >>> from pcsargmax import error_of_expectation
        >>> sites, target = torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.0]]])
        >>> error_of_expectation(torch.zeros(1, 1, 2), sites, target)  # half left, half right: the mean is the target
        tensor([[0.]])
    """
    logits, positions, center, _ = center_map(logits, sites, mask)
    target = _embedded(target, sites, logits, center)
    return _distance(weighted_sum(torch.softmax(logits, dim=-1), positions), target, distance)


def expected_error(
    logits: Tensor,
    sites: Sites,
    target: Tensor,
    *,
    basis: Basis | None = None,
    num_samples: int = 1,
    temperature: float = 1.0,
    relaxation: Relaxation = "gumbel_softmax",
    distance: Distance = "l1",
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    closed_form: bool = False,
) -> Tensor:
    """Return the mean of d(y_t, ŷ_s) over samples ŷ_s of sampling-argmax (Eq. 14).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        basis: the density around each site; None is `Gaussian("auto")`.
        num_samples: S, samples of each keypoint.
        temperature: τ > 0 of the relaxed weights.
        relaxation: how the weights are drawn, as in `relaxed_categorical`.
        distance: "l1", "l2", "squared_l2" or `SmoothL1(beta)`, as in `distance`.
        mask: (B, L) bool, True where a site is real; of a grid also (B, *shape).
        generator: source of all noise, on the device of `logits`.
        closed_form: integrate the noise of a Gaussian basis out exactly, so that only the draw of the weights
            is random: the same expectation with less variance.

    Returns:
        (B, K).

    Raises:
        ValueError: as `sampling_argmax`, a target of another shape, an unknown distance, or a closed form
            that does not exist: of another basis, or see `gaussian_expected_distance`.

    Example:
        >>> import torch
        >>> from pcsargmax import Gaussian, expected_error
        >>> sites, target = torch.tensor([[0.0], [4.0]]), torch.tensor([[[1.0]]])
        >>> logits = torch.tensor([[[0.0, -torch.inf]]])  # every sample lies at the first site
        >>> expected_error(logits, sites, target, basis=Gaussian(0.0), num_samples=10)
        tensor([[1.]])
    """
    basis = Gaussian() if basis is None else basis
    if closed_form and not isinstance(basis, Gaussian):
        raise ValueError(f"basis: the closed form exists for Gaussian alone, got {basis!r}")
    sampler = Sampler.of(
        logits,
        sites,
        basis=basis,
        num_samples=num_samples,
        temperature=temperature,
        relaxation=relaxation,
        mask=mask,
    )
    target = _embedded(target, sites, sampler.logits, sampler.center).unsqueeze(2)  # (B, K, 1, E)
    normal = None if closed_form else sampler.normal(generator)

    def error(mean: Tensor, squares: Tensor, part: Part) -> Tensor:
        offset = mean - target[part[:2]]
        if closed_form:
            return gaussian_expected_distance(offset, sampler.std(squares, part.clouds), distance)
        if normal is not None:
            offset = offset + sampler.std(squares, part.clouds) * normal[part]
        return _distance(offset, torch.zeros_like(offset), distance)

    return sampler.expectation(error, generator, others=(target,))


def discrete_expected_error(
    logits: Tensor,
    sites: Sites,
    target: Tensor,
    *,
    distance: Distance = "l1",
    mask: Tensor | None = None,
) -> Tensor:
    """Return Σ π_i d(y_t, x_i), the expected error of a site drawn from the map (Eq. 4).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        distance: "l1", "l2", "squared_l2" or `SmoothL1(beta)`, as in `distance`.
        mask: (B, L) bool, True where a site is real; of a grid also (B, *shape).

    Returns:
        (B, K), with finite gradients also where the target is a site.

    Raises:
        ValueError: as `error_of_expectation`.

    Example:
        >>> import torch
        >>> from pcsargmax import discrete_expected_error
        >>> sites, target = torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.0]]])
        >>> discrete_expected_error(torch.zeros(1, 1, 2), sites, target)  # either site is 1 away
        tensor([[1.]])
    """
    logits, positions, center, _ = center_map(logits, sites, mask)
    away = pairwise_distance(_embedded(target, sites, logits, center), positions, distance)
    return (torch.softmax(logits, dim=-1) * away).sum(dim=-1)


def variance_regularized_error(
    logits: Tensor,
    sites: Sites,
    target: Tensor,
    *,
    weight: float = 1.0,
    target_variance: float = 1.0,
    spacing: Spacing = "auto",
    distance: Distance = "l1",
    mask: Tensor | None = None,
) -> Tensor:
    """Return the error of the expectation plus weight × the variance regularizer (Eq. 2 and 15).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        weight: of the regularizer, >= 0; 0.1 to 10 in the paper, where the object or image measures about 1.
        target_variance: as in `variance_regularizer`; 1 to 5 in the paper.
        spacing: the length in squares of which it counts, as there.
        distance: "l1", "l2", "squared_l2" or `SmoothL1(beta)`, as in `distance`.
        mask: (B, L) bool, True where a site is real; of a grid also (B, *shape).

    Returns:
        (B, K).

    Raises:
        ValueError: as `error_of_expectation` and `variance_regularizer`, or a weight that is none.

    Example:
        >>> import torch
        >>> from pcsargmax import variance_regularized_error
        >>> sites, target = torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.5]]])
        >>> logits = torch.zeros(1, 1, 2)  # mean 0, variance 1
        >>> variance_regularized_error(logits, sites, target, weight=0.1, target_variance=3.0, spacing=1.0)
        tensor([[0.9000]])
    """
    _check_weight(weight)
    error = error_of_expectation(logits, sites, target, distance=distance, mask=mask)
    regularizer = variance_regularizer(logits, sites, target_variance=target_variance, spacing=spacing, mask=mask)
    return error + weight * regularizer


def distribution_regularized_error(
    logits: Tensor,
    sites: Sites,
    target: Tensor,
    *,
    weight: float = 1.0,
    target_variance: float = 1.0,
    spacing: Spacing = "auto",
    distance: Distance = "l1",
    mask: Tensor | None = None,
) -> Tensor:
    """Return the error of the expectation plus weight × the distribution regularizer (Eq. 2 and 16).

    Arguments, result and errors are those of `variance_regularized_error`, the target variance that of
    `distribution_regularizer`.

    Example:
        >>> import torch
        >>> from pcsargmax import distribution_regularized_error
        >>> sites, target = torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.5]]])
        >>> logits = torch.zeros(1, 1, 2)  # already the discretised normal density: only the error counts
        >>> distribution_regularized_error(logits, sites, target, spacing=1.0)
        tensor([[0.5000]])
    """
    _check_weight(weight)
    error = error_of_expectation(logits, sites, target, distance=distance, mask=mask)
    regularizer = distribution_regularizer(logits, sites, target_variance=target_variance, spacing=spacing, mask=mask)
    return error + weight * regularizer


def _embedded(target: Tensor, sites: Sites, logits: Tensor, center: Tensor) -> Tensor:
    """Check a target against the map and return it, (B, K, E), as the sites are: embedded, relative to the centre."""
    dimension = sites.dimension if isinstance(sites, Grid) else center.shape[-1]
    expected = (*logits.shape[:2], dimension)
    if target.shape != expected:
        raise ValueError(f"target: expected shape (B, K, D) = {expected}, got {tuple(target.shape)}")
    if isinstance(sites, Grid):
        target = sites.embed(target.to(center.dtype))
    return (target - center).to(center.dtype)


def _check_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight: expected a value >= 0 and finite, got {weight}")
