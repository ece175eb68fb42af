"""σ, the standard deviation of a Gaussian basis: from what a user may give to one around each site."""

import math
from numbers import Real
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from pcsargmax.core.grid import Grid

Sigma: TypeAlias = float | tuple[float, ...] | Tensor | Literal["auto"]
"""See `Gaussian`."""


def check_sigma(sigma: Sigma) -> None:
    """Raise ValueError where sigma is not one; values per site are checked by `around_sites`, which knows the mask."""
    if isinstance(sigma, Tensor):
        if not _per_site(sigma):
            _check_values(sigma)
    elif isinstance(sigma, tuple):
        if not sigma or not all(_is_number(value) and 0 <= value < math.inf for value in sigma):
            raise ValueError(f"sigma: expected numbers >= 0 and finite, got {sigma}")
    elif isinstance(sigma, str) or not _is_number(sigma):
        if not (isinstance(sigma, str) and sigma == "auto"):
            raise ValueError(f"sigma: expected a number, a tuple of numbers, a tensor or 'auto', got {sigma!r}")
    elif not 0 <= sigma < math.inf:
        raise ValueError(f"sigma: expected a value >= 0 and finite, got {sigma}")


def around_sites(
    sigma: Sigma,
    sites: Tensor | Grid,
    mask: Tensor | None,
    batch_size: int | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    """Return the standard deviation around each site; arguments, result and errors are those of `Gaussian.scale`."""
    if isinstance(sites, Grid):
        length, dimension, axes = sites.num_sites, sites.dimension, sites.embedding
        dtype = dtype or torch.float32
    else:
        length, dimension, axes = sites.shape[-2], sites.shape[-1], tuple(range(sites.shape[-1]))
        dtype, device = dtype or sites.dtype, sites.device if device is None else device
    if isinstance(sigma, str):
        if isinstance(sites, Tensor):
            return _neighbor_distance(sites, mask).to(dtype=dtype, device=device)
        sigma = sites.cell
    if isinstance(sigma, Tensor):
        scale = _fit(sigma, (_batch_size(batch_size, sites, mask), length, dimension))
        scale = _real_values(scale, mask).to(dtype=dtype, device=device)
        return scale if scale.shape[-1] == 1 else scale[..., list(axes)]
    numbers = [float(value) for value in sigma] if isinstance(sigma, tuple) else [float(sigma)] * dimension
    if len(numbers) != dimension:
        raise ValueError(f"sigma: expected {dimension} numbers, one per axis, got {len(numbers)}: {sigma}")
    if len(set(numbers)) == 1:
        return torch.full((1, 1, 1), numbers[0], dtype=dtype, device=device)
    return torch.tensor([numbers[d] for d in axes], dtype=dtype, device=device).reshape(1, 1, -1)


def _batch_size(given: int | None, sites: Tensor | Grid, mask: Tensor | None) -> int | None:
    """Return B as far as it is known."""
    if given is not None or mask is not None:
        return given if mask is None else len(mask)
    return len(sites) if isinstance(sites, Tensor) and len(sites) > 1 else None


def _per_site(sigma: Tensor) -> bool:
    return sigma.ndim == 3 and sigma.shape[1] > 1


def _check_values(sigma: Tensor, real: Tensor | None = None) -> None:
    """Raise ValueError for a tensor with a negative value or one that is not finite, where it is real."""
    if torch.compiler.is_compiling():
        return  # This check reads values: torch.compile would break its graph here.
    wrong = ~(sigma.isfinite() & (sigma >= 0))
    if real is not None:
        wrong, sigma = torch.broadcast_tensors(wrong & real, sigma)
    if wrong.any():
        raise ValueError(f"sigma: expected values >= 0 and finite, got {sigma[wrong][0].item()}")


def _real_values(sigma: Tensor, mask: Tensor | None) -> Tensor:
    """Return a σ of three axes; one per site checked, and 0 where masked."""
    if not _per_site(sigma):
        return sigma
    if mask is None:
        _check_values(sigma)
        return sigma
    real = mask.to(sigma.device).unsqueeze(-1)
    _check_values(sigma, real)
    return torch.where(real, sigma, 0)


def _fit(sigma: Tensor, whole: tuple[int | None, int, int]) -> Tensor:
    """Return a tensor sigma with three axes that broadcast to (B, L, D), any B where that is None."""
    batch_size = whole[0]
    if sigma.ndim == 0:
        return sigma.reshape(1, 1, 1)
    if sigma.ndim == 1 and batch_size in (None, len(sigma)):
        return sigma.reshape(-1, 1, 1)
    if sigma.ndim == 3 and all(m is None or n in (1, m) for n, m in zip(sigma.shape, whole, strict=True)):
        return sigma
    expected = f"shape (), (B,) = ({batch_size},) or one that broadcasts to (B, L, D) = {whole}"
    raise ValueError(f"sigma: expected {expected.replace('None', 'B')}, got {tuple(sigma.shape)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _neighbor_distance(sites: Tensor, mask: Tensor | None) -> Tensor:
    """Return (B, 1, 1), the mean distance of each cloud's real sites to their nearest neighbours."""
    if torch.compiler.is_compiling():
        # A compiler cannot follow the search. Here, not as a decorator, which would load the compiler for all.
        found: Tensor = torch.compiler.disable(_search_neighbors)(sites, mask)
        return found
    return _search_neighbors(sites, mask)


def _search_neighbors(sites: Tensor, mask: Tensor | None) -> Tensor:
    from pcsargmax.ops.neighbors import mean_neighbor_distance

    with torch.no_grad():
        if mask is None:
            mask = torch.ones(sites.shape[:2], dtype=torch.bool, device=sites.device)
        real = sites.expand(mask.shape[0], -1, -1)[mask]  # (B, L, D) -> (M, D)
        cloud = mask.nonzero()[:, 0]
        return mean_neighbor_distance(real, cloud).to(sites).reshape(-1, 1, 1)
