"""The variance and the distribution regularizer of a keypoint's map (Eq. 15, 16), to be added to an error.

Their target variance counts in squares of the spacing of the sites, so that the paper's 1 to 5, of cells of a grid,
carry over to the points of a cloud in any unit.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from pcsargmax.core.bases import Gaussian, weighted_sum
from pcsargmax.core.distances import pairwise_distance
from pcsargmax.core.grid import Grid
from pcsargmax.core.maps import CenteredMap, Sites, center_map

Spacing: TypeAlias = float | Tensor | Literal["auto"]
"""The unit of length of a target variance, see `variance_regularizer`."""


def variance_regularizer(
    logits: Tensor,
    sites: Sites,
    *,
    target_variance: float = 1.0,
    spacing: Spacing = "auto",
    mask: Tensor | None = None,
) -> Tensor:
    """Return (Var(π) − σ_t²)², with Var(π) = Σ π_i ‖x_i − E[x]‖² and E[x] = Σ π_i x_i (Eq. 15).

    Args:
        logits: (B, K, L) one score per keypoint and site; of a grid also (B, K, *shape).
        sites: (B, L, D), or (L, D) where all items share them, in any unit; or a Grid. Of a periodic grid the
            embedded positions count (`Grid.embed`).
        target_variance: σ_t² >= 0, in squares of the spacing; like Var(π) it is summed over the axes.
        spacing: the distance of adjacent sites, in their unit: a number; a tensor, () or (B,); or "auto", a
            grid's cell, or the mean distance of each cloud's sites to their nearest neighbours (found anew at
            each call: pass it where clouds come again).
        mask: (B, L) bool, True where a site is real; what stands at the others has no effect. Of a grid also
            (B, *shape).

    Returns:
        (B, K), in the fourth power of the unit of the sites. The paper's weights, 0.1 to 10, are sensible where
        the object or image measures about 1.

    Raises:
        ValueError: as `soft_argmax`, or a target variance or spacing that is none.

    Example:
        >>> import torch
        >>> from pcsargmax import variance_regularizer
        >>> sites = torch.tensor([[-1.0], [1.0]])
        >>> variance_regularizer(torch.zeros(1, 1, 2), sites, target_variance=3.0, spacing=1.0)  # (1 − 3)²
        tensor([[4.]])
    """
    if not 0 <= target_variance < math.inf:
        raise ValueError(f"target_variance: expected a value >= 0 and finite, got {target_variance}")
    found = center_map(logits, sites, mask)
    logits, positions, _, mask = found
    unit = _unit(spacing, sites, found)
    probabilities = torch.softmax(logits, dim=-1)
    # The slope of Var(π) by E[x] is 0.
    mean = weighted_sum(probabilities, positions).detach()
    variance = (probabilities * pairwise_distance(mean, positions, "squared_l2")).sum(dim=-1)
    if isinstance(sites, Grid) and unit.shape[-1] > 1:
        unit = unit[..., [sites.embedding.index(d) for d in range(sites.dimension)]]  # a circular axis counts once
    return (variance - target_variance * unit.square().mean(dim=(1, 2)).unsqueeze(1)).square()


def distribution_regularizer(
    logits: Tensor,
    sites: Sites,
    *,
    target_variance: float = 1.0,
    spacing: Spacing = "auto",
    mask: Tensor | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence of π and q_i ∝ exp(−‖x_i − E[x]‖² / 2σ_t²) (Eq. 16).

    q is the normal density around the expectation, discretised over the real sites; it moves with the
    expectation, which thus has its share in the gradient.

    Args:
        logits: as in `variance_regularizer`.
        sites: as in `variance_regularizer`.
        target_variance: σ_t² > 0 along each axis, in squares of the spacing (of a grid, along that axis).
        spacing: as in `variance_regularizer`.
        mask: as in `variance_regularizer`.

    Returns:
        (B, K) in nats: 0 where π is q, log 2 where they share no site.

    Raises:
        ValueError: as `variance_regularizer`.

    Example:
        >>> import torch
        >>> from pcsargmax import Grid, distribution_regularizer
        >>> grid = Grid((9,))
        >>> normal = -(grid.positions().flatten() - 4).square() / 2  # the logits of N(4, 1)
        >>> distribution_regularizer(normal.reshape(1, 1, 9), grid).round(decimals=4)
        tensor([[0.]])
        >>> distribution_regularizer(torch.zeros(1, 1, 9), grid).round(decimals=2)
        tensor([[0.2200]])
    """
    if not 0 < target_variance < math.inf:
        raise ValueError(f"target_variance: expected a value, positive and finite, got {target_variance}")
    found = center_map(logits, sites, mask)
    logits, positions, _, mask = found
    unit = _unit(spacing, sites, found)
    positions = positions / torch.where(unit > 0, unit, 1)  # 0 where all sites coincide: any unit will do
    probabilities = torch.softmax(logits, dim=-1)
    mean = weighted_sum(probabilities, positions)
    normal = pairwise_distance(mean, positions, "squared_l2") / (-2 * target_variance)
    if mask is not None:
        normal = normal.masked_fill(~mask.unsqueeze(1), -math.inf)
    # A finite stand-in for log 0, so that 0 · log 0 is 0 here and in the gradient.
    log_p, log_q = (torch.log_softmax(scores, dim=-1).clamp(min=-1e30) for scores in (logits, normal))
    # p log(p / m) = p (log 2 + log sigmoid(log p − log q)), with m = (p + q) / 2.
    ratio = log_p - log_q
    mixed = probabilities * functional.logsigmoid(ratio) + log_q.exp() * functional.logsigmoid(-ratio)
    return (math.log(2) + mixed.sum(dim=-1) / 2).clamp(min=0)  # rounding may go below


def _unit(spacing: Spacing, sites: Sites, found: CenteredMap) -> Tensor:
    """Return the spacing of a map, (B or 1, 1, 1 or E)."""
    logits, positions, _, mask = found
    if isinstance(spacing, str):
        if spacing != "auto":
            raise ValueError(f"spacing: expected a length, a tensor of lengths or 'auto', got {spacing!r}")
        around = sites if isinstance(sites, Grid) else positions
        return Gaussian("auto").scale(around, mask, dtype=positions.dtype, device=positions.device)
    if not isinstance(spacing, Tensor):
        if not 0 < spacing < math.inf:
            raise ValueError(f"spacing: expected a length, positive and finite, got {spacing}")
        return positions.new_full((1, 1, 1), spacing)
    if spacing.shape not in ((), logits.shape[:1]):
        expected = f"shape () or (B,) = ({len(logits)},)"
        raise ValueError(f"spacing: expected {expected}, got {tuple(spacing.shape)}")
    valid = spacing.isfinite() & (spacing > 0)
    # This check reads values: torch.compile would break its graph here.
    if not torch.compiler.is_compiling() and not valid.all():
        raise ValueError(f"spacing: expected lengths, positive and finite, got {spacing[~valid][0].item()}")
    return spacing.to(positions).reshape(-1, 1, 1)
