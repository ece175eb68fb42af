"""The distribution of some coordinates of a map, the others summed out.

Of what a map is, this is exact: the probabilities of cells add up, and the densities around them are products over the
axes. So mean, variances and densities of a coordinate are those of its own 1-D map. It is not exact of the draws of
sampling-argmax, but in the limit of temperature 0: relaxed weights of a map, summed along an axis, are not relaxed
weights of the map that is summed along it. Losses take the whole map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcsargmax.core.bases import Basis, Gaussian
from pcsargmax.core.grid import Grid


def kept_axes(axes: int | Sequence[int], dimension: int) -> tuple[int, ...]:
    """Return the numbers of the coordinates to keep, ascending, or raise ValueError.

    Args:
        axes: one or several of 0 for x, 1 for y, 2 for z.
        dimension: D.
    """
    kept = (axes,) if isinstance(axes, int) else tuple(axes)
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(dimension)):
        raise ValueError(f"axes: expected distinct coordinates out of 0 to {dimension - 1}, got {axes}")
    return tuple(sorted(kept))


def marginal_grid(grid: Grid, axes: tuple[int, ...]) -> Grid:
    """Return the grid of the coordinates `axes`, ascending."""
    shape, periods = tuple(grid.counts[d] for d in reversed(axes)), grid.periods
    cell, first = (tuple(values[d] for d in axes) for values in (grid.cell, grid.first))
    return Grid(shape, cell, first, tuple(periods[d] is not None for d in axes))


def marginal_logits(logits: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the logarithms of sums of exp(logits) along all coordinates but `axes`.

    Args:
        logits: (B, K, *shape).
        axes: the coordinates that are kept, ascending.

    Returns:
        (B, K, *shape of those), −inf without gradient where all that is summed is −inf.
    """
    dimension = logits.ndim - 2
    summed = [2 + dimension - 1 - d for d in range(dimension) if d not in axes]
    if not summed:
        return logits
    largest = logits.detach().amax(dim=summed, keepdim=True)
    largest = torch.where(largest.isneginf(), 0, largest)
    total = (logits - largest).exp().sum(dim=summed, keepdim=True)
    some = total != 0  # of NaN too, which stays
    found = torch.where(some, torch.where(some, total, 1).log() + largest, -torch.inf)
    return found.squeeze(summed)


def marginal_basis(basis: Basis, axes: tuple[int, ...], dimension: int) -> Basis:
    """Return the basis of the coordinates `axes`.

    Raises:
        ValueError: a Gaussian whose σ is given per site: cells that fall together would have several.
    """
    if not isinstance(basis, Gaussian) or isinstance(basis.sigma, str | float | int):
        return basis
    sigma = basis.sigma
    if isinstance(sigma, tuple):
        return Gaussian(tuple(sigma[d] for d in axes))
    if sigma.ndim < 3:
        return basis
    if sigma.shape[1] > 1:
        raise ValueError(f"sigma: a marginal needs one for all sites, got one per site, shape {tuple(sigma.shape)}")
    return Gaussian(sigma[..., list(axes)]) if sigma.shape[2] == dimension else basis
