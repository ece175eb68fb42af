"""The composite Chamfer distance of a cloud and a set of weighted edges (Skeleton Merger, Shi et al., CVPR 2021).

Nearest pairs are found without gradient, in chunks that fit a processor's cache; only they are differentiated. So
neither time nor memory grows with a tensor of all distances, which at 10 keypoints and batch 8 has some 10^8 entries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Added to a squared distance before its root is taken.
_EPSILON = 1e-4
#: What a share of a point costs that no edge accounts for.
_UNCOVERED = 20.0
#: Neighbouring points of an edge, and points of a cloud, that are searched as one.
_RUN, _GROUP = 8, 32
#: Distances in each of two buffers on a CPU (2 MiB of float32 each, within the cache of two cores), and elsewhere.
_CHUNK, _LARGE_CHUNK = 2**19, 2**25


class CompositeChamfer(NamedTuple):
    """Both directions of the composite Chamfer distance, with ρ(p, q) = sqrt(1e-4 + ‖p − q‖²).

    Attributes:
        fidelity: (B,) the mean over the edges of strength · mean over the edge's points of ρ to the nearest cloud
            point.
        coverage: (B,) the mean over the cloud's points of Σ w ρ + 20 (1 − Σ w). The sum runs over the edges from the
            nearest to the farthest, ρ being to the edge's nearest point; each edge in turn takes w = its strength, or
            what is left of 1 if that is less.

    Example:
        >>> import torch
        >>> from pcsargmax import CompositeChamfer
        >>> found = CompositeChamfer(fidelity=torch.tensor([0.5]), coverage=torch.tensor([0.25]))
        >>> found.fidelity + found.coverage
        tensor([0.7500])
    """

    fidelity: Tensor
    coverage: Tensor


def composite_chamfer(
    points: Tensor, edge: Tensor, strengths: Tensor, cloud: Tensor, mask: Tensor | None = None
) -> CompositeChamfer:
    """Return the composite Chamfer distance between skeletons and clouds, in both directions.

    The gradient is exact. Where two pairs are equally near, it is that of one of them; where strengths sum up to 1
    exactly, it is the one as they grow. There is no second derivative.

    Args:
        points: (B, E, 3) of all edges, or (B · S, E, 3): S items in a row share a cloud.
        edge: (E,) ascending number of each point's edge, 0 to P − 1, each at least once.
        strengths: (B, P), or (B · S, P) one for each item, 0 to 1.
        cloud: (B, N, 3) in the frame of the points; one point or more each.
        mask: (B, N) bool, True at real points; None where all are. What stands at the others has no effect.

    Returns:
        The values of each item, (B,) or (B · S,), in at least float32.

    Raises:
        ValueError: shapes that do not fit, strengths outside 0 to 1, edges out of order or without points, a cloud
            without points.

    Example:
        >>> import torch
        >>> from pcsargmax import composite_chamfer
        >>> points, edge = torch.rand(1, 30, 3), torch.zeros(30, dtype=torch.long)  # one edge of 30 points
        >>> found = composite_chamfer(points, edge, torch.ones(1, 1), cloud=points)
        >>> found.fidelity, found.coverage  # the edge lies on the cloud: both are √1e-4
        (tensor([0.0100]), tensor([0.0100]))
    """
    _check(points, edge, strengths, cloud, mask)
    dtype = torch.float32
    for values in (points, strengths, cloud):
        dtype = torch.promote_types(dtype, values.dtype)
    if not torch.is_grad_enabled():  # the function below would not know
        points, strengths, cloud = points.detach(), strengths.detach(), cloud.detach()
    if len(strengths) != len(points):
        strengths = strengths.repeat_interleave(len(points) // len(strengths), dim=0)
    values = _Distance.apply(points.to(dtype), edge, strengths.to(dtype), cloud.to(dtype), mask)
    return CompositeChamfer(*values)


class _Distance(torch.autograd.Function):
    """The distances item by item, each with its slopes, so that no more than the pairs of one item are in memory."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, edge: Tensor, strengths: Tensor, cloud: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        wanted = [ctx.needs_input_grad[i] for i in (0, 2, 3)]
        edges = _Edges(edge)
        share = len(points) // len(cloud)
        values, slopes = [], []
        for i in range(len(points)):
            own = (points[i], strengths[i], cloud[i // share])
            leaves = [x.detach().requires_grad_(w) for x, w in zip(own, wanted, strict=True)]
            with torch.set_grad_enabled(any(wanted)):
                real = leaves[2] if mask is None else leaves[2][mask[i // share]]
                pair = _item(leaves[0], leaves[1], real, edges)
            values.append([value.detach() for value in pair])
            inputs = [leaf for leaf in leaves if leaf.requires_grad]
            slopes.append([torch.autograd.grad(value, inputs, retain_graph=True) if inputs else () for value in pair])
        ctx.share, ctx.wanted = share, wanted
        by_leaf = [[torch.stack([item[v][leaf] for item in slopes]) for v in (0, 1)] for leaf in range(sum(wanted))]
        ctx.save_for_backward(*map(torch.stack, by_leaf))  # each (2, B, ...)
        fidelity, coverage = (torch.stack(value) for value in zip(*values, strict=True))
        return fidelity, coverage

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        found: list[Tensor | None] = [None] * 3
        for leaf in (leaf for leaf, wanted in enumerate(ctx.wanted) if wanted):
            slope = next(saved)
            found[leaf] = (torch.stack(grads)[..., *[None] * (slope.dim() - 2)] * slope).sum(dim=0)
        if found[2] is not None:
            found[2] = found[2].unflatten(0, (-1, ctx.share)).sum(dim=1)
        return found[0], None, found[1], found[2], None


class _Edges:
    """How the points of all edges are searched at once.

    Runs of neighbouring points of an edge are searched as one; a run that is not full repeats its edge's last point.
    The runs of a block are the j-th of every edge that has so many, longest edge first; they lie interleaved, all first
    points, then all second ones, so that a minimum over a run is one over rows.

    Args:
        edge: (E,) ascending number of each point's edge.

    Attributes:
        edge: likewise.
        counts: (P,) points of each edge.
        start: (P,) index of each edge's first point.
        by_count: (P,) the edges, most points first.
        blocks: how many edges each block has a run of; those are the first of `by_count`.
        layout: (R,) index of the point in each row of all blocks.
        row: (E,) row of each point, the inverse of `layout`.
    """

    def __init__(self, edge: Tensor) -> None:
        self.edge = edge
        self.counts = torch.bincount(edge)
        self.start = self.counts.cumsum(0) - self.counts
        self.by_count = self.counts.argsort(descending=True, stable=True)
        ordered = self.counts[self.by_count].tolist()
        self.blocks = [sum(c > first for c in ordered) for first in range(0, ordered[0], _RUN)]
        within = torch.arange(_RUN, device=edge.device).unsqueeze(1)
        rows = [self.at(self.by_count[:p], j * _RUN + within).flatten() for j, p in enumerate(self.blocks)]
        self.layout = torch.cat(rows)
        self.row = torch.empty_like(edge)
        self.row[self.layout] = torch.arange(len(self.layout), device=edge.device)

    def at(self, edge: Tensor, place: Tensor) -> Tensor:
        """Return the index of the point at a place along an edge; beyond the last one it is the last one."""
        return self.start[edge] + torch.minimum(place, self.counts[edge] - 1)


def _item(points: Tensor, strengths: Tensor, cloud: Tensor, edges: _Edges) -> tuple[Tensor, Tensor]:
    """Return fidelity and coverage of one item: points (E, 3), strengths (P,), cloud (N, 3) without padding."""
    with torch.no_grad():
        nearest, squared, run = _search(points, cloud, edges)
        order = _ascending(squared)
    weight = (strengths / (edges.counts * len(strengths)))[edges.edge]
    fidelity = (weight * _root(points, cloud[nearest])).sum()

    total = strengths.expand(len(cloud), -1).gather(1, order).cumsum(dim=1)
    taken = torch.where(total < 1, total, 1)  # not a clamp: where the total is 1, more strength takes no more
    before = torch.cat([torch.zeros_like(taken[:, :1]), taken[:, :-1]], dim=1)
    with torch.no_grad():
        point, rank = (before < 1).nonzero(as_tuple=True)  # the others have neither weight nor slope
        of = order[point, rank]
        first, last = edges.start[of] + run[point, of] * _RUN, edges.start[of] + edges.counts[of] - 1
        place = _nearest(cloud[point], points, first, last, _RUN)
    covered = (taken - before)[point, rank] * _root(points[place], cloud[point])
    coverage = (covered.sum() + _UNCOVERED * (1 - taken[:, -1]).sum()) / len(cloud)
    return fidelity, coverage


def _root(p: Tensor, q: Tensor) -> Tensor:
    """Return ρ of (M, 3) and (M, 3)."""
    return ((p - q).square().sum(dim=-1) + _EPSILON).sqrt()


def _ascending(values: Tensor) -> Tensor:
    """Return the (N, P) columns of values (N, P), each row's smallest first."""
    if values.device.type != "cpu":
        return values.argsort(dim=1)
    return torch.from_numpy(np.argsort(values.numpy(), axis=1))  # six times faster than torch's on short rows


def _search(points: Tensor, cloud: Tensor, edges: _Edges) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest cloud point of each edge point, and the nearest run of each edge for each cloud point.

    Returns:
        (E,) index into the cloud; (N, P) squared distance of the nearest point of each edge, and (N, P) its run.
    """
    missing = -len(cloud) % _GROUP
    cloud = torch.cat([cloud, cloud[-1:].expand(missing, -1)])
    rows, columns = points[edges.layout], cloud.t().contiguous()
    num_edges = len(edges.counts)
    squared = cloud.new_full((num_edges, len(cloud)), torch.inf)
    run = torch.zeros(squared.shape, dtype=torch.int32, device=cloud.device)
    groups = cloud.new_empty(len(rows), len(cloud) // _GROUP)
    chunk = _CHUNK if cloud.device.type == "cpu" else _LARGE_CHUNK
    width = min(max(1, chunk // (_RUN * num_edges * _GROUP)) * _GROUP, len(cloud))
    # Memory that is taken once: a part's own would come from the system each time, which costs more than the sums.
    work, nearest = cloud.new_empty(2, _RUN * num_edges, width), cloud.new_empty(num_edges, width)
    for c in range(0, len(cloud), width):
        some, size = slice(c, c + width), min(width, len(cloud) - c)
        first = 0
        for j, count in enumerate(edges.blocks):
            block = slice(first, first := first + _RUN * count)
            away = _squared_distance(rows[block], columns[:, some], work[:, : _RUN * count, :size])
            groups[block, c // _GROUP : (c + size) // _GROUP] = away.unflatten(1, (-1, _GROUP)).amin(dim=2)
            near = torch.amin(away.unflatten(0, (_RUN, count)), dim=0, out=nearest[:count, :size])
            best, best_run = squared[:count, some], run[:count, some]
            # the last run that was nearer; faster than a masked fill
            torch.maximum(best_run, (near < best).int().mul_(j), out=best_run)
            torch.minimum(best, near, out=best)
    place = edges.by_count.argsort()
    squared, run = (values[place, : len(cloud) - missing].t().contiguous() for values in (squared, run))
    group = groups.argmin(dim=1)[edges.row]
    last = torch.full_like(group, len(cloud) - missing - 1)
    return _nearest(points, cloud, group * _GROUP, last, _GROUP), squared, run


def _squared_distance(rows: Tensor, columns: Tensor, work: Tensor) -> Tensor:
    """Return the (R, N) squared distances of points (R, 3) and (3, N), exact for equal points, in the first of `work`.

    A matrix product would take half the time, but with its rounding the choice could fall on a farther point.
    """
    total, away = work
    torch.sub(rows[:, :1], columns[0], out=total).square_()
    for axis in (1, 2):
        torch.sub(rows[:, axis, None], columns[axis], out=away)
        total.addcmul_(away, away)
    return total


def _nearest(query: Tensor, support: Tensor, first: Tensor, last: Tensor, width: int) -> Tensor:
    """Return the (M,) index of the nearest of `width` support points from `first` (M,) on, none beyond `last` (M,)."""
    within = torch.arange(width, device=query.device)
    found = []
    for some in torch.arange(len(query), device=query.device).split(_CHUNK // width):
        candidates = torch.minimum(first[some, None] + within, last[some, None])
        squared = query.new_zeros(candidates.shape)
        for axis in range(3):
            squared += (support[:, axis][candidates] - query[some, axis, None]).square_()
        found.append(candidates.gather(1, squared.argmin(dim=1, keepdim=True)).squeeze(1))
    return torch.cat(found)


def _check(points: Tensor, edge: Tensor, strengths: Tensor, cloud: Tensor, mask: Tensor | None) -> None:
    """Raise ValueError as `composite_chamfer` says."""
    for name, values in (("points", points), ("cloud", cloud)):
        if values.dim() != 3 or values.shape[2] != 3 or 0 in values.shape or not values.is_floating_point():
            wanted = "(B, N, 3), none of them 0"
            raise ValueError(f"{name}: expected floating {wanted}, got {values.dtype} {tuple(values.shape)}")
    if len(points) % len(cloud):
        raise ValueError(f"points: expected one item or more for each of {len(cloud)} clouds, got {len(points)} items")
    if edge.shape != points.shape[1:2] or edge.is_floating_point():
        raise ValueError(f"edge: expected {points.shape[1]} integers, got {edge.dtype} {tuple(edge.shape)}")
    if strengths.dim() != 2 or len(strengths) not in (len(cloud), len(points)):
        expected = f"(B, P) with B = {len(cloud)}" + (f" or {len(points)}" if len(points) > len(cloud) else "")
        raise ValueError(f"strengths: expected {expected}, got {tuple(strengths.shape)}")
    if not ((strengths >= 0) & (strengths <= 1)).all():
        got = f"{strengths.min().item():g} to {strengths.max().item():g}"
        raise ValueError(f"strengths: expected values from 0 to 1, got {got}")
    step = edge.diff()
    if edge[0] != 0 or edge[-1] != strengths.shape[1] - 1 or not ((step == 0) | (step == 1)).all():
        raise ValueError(f"edge: expected ascending numbers from 0 to {strengths.shape[1] - 1}, none left out")
    if mask is not None:
        if mask.shape != cloud.shape[:2] or mask.dtype != torch.bool:
            expected = f"bool {tuple(cloud.shape[:2])}"
            raise ValueError(f"mask: expected {expected}, got {mask.dtype} {tuple(mask.shape)}")
        if not mask.any(dim=1).all():
            raise ValueError(f"mask: expected a real point in each cloud, got none in {int((~mask.any(dim=1)).sum())}")
