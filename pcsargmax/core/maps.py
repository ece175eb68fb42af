"""What the core takes: maps of scores over sites, which are the points of a cloud or the cells of a grid."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from pcsargmax.core.grid import Grid
from pcsargmax.core.relaxation import mask_logits

Sites: TypeAlias = Tensor | Grid
"""Where a keypoint can be: the points of clouds (B, L, D), points that all clouds share (L, D), or a grid's cells."""


def prepare_map(logits: Tensor, sites: Sites, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Check logits, sites and mask against each other and take the padding out of them.

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, or a Grid.
        mask: (B, L) bool, True where a site is real.

    Returns:
        (B, K, L) logits, −inf where masked, and (B or 1, L, E) sites, 0 where masked, both of the wider of
        the two types, at least float32. So what stands at masked sites, NaN included, reaches neither values
        nor gradients. E is D, and one more for each periodic axis of a grid (`Grid.embed`).

    Raises:
        ValueError: as `mask_logits`, or sites of a shape that does not fit.
    """
    if isinstance(sites, Grid):
        if logits.shape[2:] == sites.shape:
            logits = logits.flatten(2)
        elif logits.ndim != 3 or logits.shape[2] != sites.num_sites:
            expected = f"(B, K, {', '.join(map(str, sites.shape))}) or (B, K, {sites.num_sites})"
            raise ValueError(f"logits: expected shape {expected} for this grid, got {tuple(logits.shape)}")
        logits = mask_logits(logits, mask)
        positions = sites.sites(logits.dtype, logits.device)
    else:
        logits = mask_logits(logits, mask)
        positions = sites
    batch_size, _, num_sites = logits.shape
    shared = positions.ndim == 2 and positions.shape[0] == num_sites
    if not shared and not (positions.ndim == 3 and positions.shape[:2] == (batch_size, num_sites)):
        expected = f"({batch_size}, {num_sites}, D) or ({num_sites}, D)"
        raise ValueError(f"sites: expected shape (B, L, D) or (L, D) = {expected}, got {tuple(positions.shape)}")
    dtype = torch.promote_types(logits.dtype, positions.dtype)
    positions = positions.to(dtype)
    if shared:
        positions = positions.unsqueeze(0)
    if mask is not None:
        positions = torch.where(mask.unsqueeze(-1), positions, 0)
    return logits.to(dtype), positions


class CenteredMap(NamedTuple):
    """A batch of maps without padding, the sites relative to a centre.

    Far from the origin, sums of weighted coordinates would lose their digits; weights sum to 1, so the centre can be
    added afterwards. It is detached: no gradient needs it.

    Attributes:
        logits: (B, K, L), −inf where masked.
        sites: (B or 1, L, E) minus the centre, 0 where masked.
        center: (B or 1, 1, E), the mean of the real sites, of a grid (1, 1, E) that of all, without gradient.
        mask: (B, L) bool, True where a site is real; None where all are.
    """

    logits: Tensor
    sites: Tensor
    center: Tensor
    mask: Tensor | None


def center_map(logits: Tensor, sites: Sites, mask: Tensor | None = None) -> CenteredMap:
    """Prepare a map as `prepare_map` does and move its sites to their centre.

    Arguments and errors are those of `prepare_map`; the mask of a grid may also be (B, *shape).
    """
    mask = flatten_mask(mask, sites)
    logits, positions = prepare_map(logits, sites, mask)
    known = positions.detach()
    if isinstance(sites, Grid):
        center = sites.sites(known.dtype, known.device).mean(dim=0).reshape(1, 1, -1)
    elif mask is None:
        center = known.mean(dim=1, keepdim=True)
    else:  # what is masked is 0
        center = known.sum(dim=1, keepdim=True) / mask.sum(dim=1).clamp(min=1).reshape(-1, 1, 1)
    moved = positions - center
    return CenteredMap(logits, moved if mask is None else torch.where(mask.unsqueeze(-1), moved, 0), center, mask)


def flatten_mask(mask: Tensor | None, sites: Sites) -> Tensor | None:
    """Return the (B, L) mask of a grid that came as (B, *shape), any other as it is."""
    if mask is not None and isinstance(sites, Grid) and mask.shape[1:] == sites.shape:
        return mask.flatten(1)
    return mask


def take_sites(values: Tensor, index: Tensor) -> Tensor:
    """Take (B, N, D) of the (B, L, D) values at the (B, N) site indices."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
