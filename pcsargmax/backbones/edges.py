"""What PointNet++ computes along its edges, once for each distinct edge and without keeping what can be had again.

A ball with fewer neighbours than its group has room repeats the nearest (Qi et al., NeurIPS 2017). The copies change
neither the maximum nor the gradient; batch normalisation alone counts them. So each distinct edge is computed once and
carries a weight, the number of entries that it stands for: with small radii that is a tenth of the work. The functions
here take rows (E, C) of values in front of a batch normalisation, keep those, and find the rest anew in the backward
pass, a few rows at a time. Statistics are of the weighted rows and equal those over the repeated rows; they are in the
parameters' precision, also where automatic mixed precision makes the rows shorter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Numbers worked on at once on a CPU (1 MiB of float32, within its cache).
_CHUNK = 2**18


class Edges(NamedTuple):
    """The distinct edges of groups (M, k), those of a centre side by side, centres with the fewest first.

    Attributes:
        order: (M,) the centres as they come here.
        place: (M,) where each centre came to be, the inverse of `order`.
        source: (E,) the neighbour at each edge.
        weight: (E,) entries of the group that an edge stands for; None where each stands for itself.
        total: M k, the sum of the weights.
        runs: (centres, degree) of those that follow each other with as many edges each.
    """

    order: Tensor
    place: Tensor
    source: Tensor
    weight: Tensor | None
    total: int
    runs: list[tuple[int, int]]

    @classmethod
    def of(cls, group: Tensor) -> Edges:
        """Find them in (M, k) indices; what equals the first entry of its row is a copy of it."""
        distinct = group != group[:, :1]
        distinct[:, 0] = True
        degree, order = distinct.sum(dim=1).sort(stable=True)
        values, counts = degree.unique_consecutive(return_counts=True)
        runs = list(zip(counts.tolist(), values.tolist(), strict=True))
        source, weight = group[order][distinct[order]], None
        if len(source) < group.numel():
            weight = torch.ones(len(source), device=group.device)
            weight[degree.cumsum(0) - degree] += group.shape[1] - degree  # at the first edge of each centre
        return cls(order, order.argsort(), source, weight, group.numel(), runs)

    def blocks(self, rows: Tensor) -> list[Tensor]:
        """Return (centres, degree, C) views of (E, C), small on a CPU."""
        parts = rows.split([centers * degree for centers, degree in self.runs])
        views = (part.view(*run, -1) for part, run in zip(parts, self.runs, strict=True))
        return [block for view in views for block in view.split(_height(view[0].numel(), rows))]


def edge_differences(x: Tensor, center: Tensor, edges: Edges) -> Tensor:
    """Return x (N, C) at each edge's neighbour less center (M, C) at its centre: (E, C)."""
    return _EdgeDifferences.apply(x, center, edges)


def interpolate(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of x (M, C) at index (N, j) with weight (N, j): (N, C); no gradient by the weights."""
    return _Interpolate.apply(x, index, weight)


def hidden_layers(z: Tensor, layers: nn.Sequential, edges: Edges | None = None) -> Tensor:
    """Take what the first Linear of an `mlp` gave to what its last one gives.

    Args:
        z: (E, C) rows, one for each edge, or (N, C) where there are no edges.
        layers: the whole `mlp`: Linear, BatchNorm1d and ReLU again and again.
        edges: whose weights count in the statistics.
    """
    for i in range(1, len(layers) - 2, 3):
        norm: Any = layers[i]
        linear: Any = layers[i + 2]
        z = _NormLinear.apply(z, norm.weight, norm.bias, linear.weight, *_statistics(z, norm, edges))
    return z


def pooled_norm(z: Tensor, norm: nn.BatchNorm1d, edges: Edges) -> Tensor:
    """Normalise (E, C), rectify, and take the maximum over each centre's edges: (M, C)."""
    return _NormMax.apply(z, norm.weight, norm.bias, *_statistics(z, norm, edges), edges)


def _height(width: int, rows: Tensor) -> int:
    """How many rows of a width are worked on at once."""
    return max(1, _CHUNK // width if rows.device.type == "cpu" else len(rows))


@torch.no_grad()
def _statistics(z: Tensor, norm: nn.BatchNorm1d, edges: Edges | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return mean and 1 / standard deviation (C,), and each row's share (E,) in them; None where they are not z's own.

    In training the running statistics move as `BatchNorm1d` moves them.
    """
    running_mean, running_var, momentum = norm.running_mean, norm.running_var, norm.momentum
    assert running_mean is not None
    assert running_var is not None
    assert momentum is not None
    assert norm.num_batches_tracked is not None
    if not norm.training:
        return running_mean, (running_var + norm.eps).rsqrt(), None
    total = len(z) if edges is None else edges.total
    if total < 2:
        raise ValueError(f"batch normalisation: expected more than one row in training, got {total}")
    if edges is None or edges.weight is None:
        share = running_mean.new_full((len(z),), 1 / total)
    else:
        share = edges.weight.to(running_mean.dtype) / total
    mean, variance = torch.zeros_like(running_mean), torch.zeros_like(running_var)
    height = _height(z.shape[1], z)
    for rows, part in zip(z.split(height), share.split(height), strict=True):
        mean += part @ rows.to(part.dtype)
    for rows, part in zip(z.split(height), share.split(height), strict=True):
        variance += part @ (rows - mean).square_()
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(variance * (total / (total - 1)), momentum)
    norm.num_batches_tracked.add_(1)
    return mean, (variance + norm.eps).rsqrt(), share


def _rectified(z: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    scale = gamma * rstd
    return torch.addcmul(beta - mean * scale, z, scale).relu_()


def _through_norm_(
    grad: Tensor,
    z: Tensor,
    by_gamma: Tensor,
    by_beta: Tensor,
    gamma: Tensor,
    mean: Tensor,
    rstd: Tensor,
    share: Tensor | None,
) -> None:
    """Make `grad` (E, C), by the outcome of a batch normalisation, that by its rows z, in place."""
    scale = gamma * rstd
    grad *= scale
    if share is None:
        return
    slope = by_gamma * scale * rstd  # each row moves the mean and the deviation by its share
    constant = by_beta * scale - mean * slope
    height = _height(z.shape[1], z)
    for rows, part, to in zip(z.split(height), share.split(height), grad.split(height), strict=True):
        to -= torch.addcmul(constant, rows, slope).mul_(part.unsqueeze(1))


class _NormLinear(Function):
    """Batch normalisation, ReLU and a linear map in one: keeps the rows that come in."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, *norm: Any) -> Tensor:
        mean, rstd, share = norm
        ctx.save_for_backward(z, gamma, beta, weight, mean, rstd, share)
        out, columns = z.new_empty(len(z), len(weight)), weight.to(z.dtype).T
        height = _height(z.shape[1], z)
        for rows, to in zip(z.split(height), out.split(height), strict=True):
            torch.mm(_rectified(rows, gamma, beta, mean, rstd).to(z.dtype), columns, out=to)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        z, gamma, beta, weight, mean, rstd, share = ctx.saved_tensors
        by_z, matrix = torch.empty_like(z), weight.to(z.dtype)
        by_weight, by_gamma, by_beta = (torch.zeros_like(x) for x in (weight, gamma, beta))
        height = _height(z.shape[1], z)
        for rows, part, to in zip(z.split(height), grad.split(height), by_z.split(height), strict=True):
            hidden = _rectified(rows, gamma, beta, mean, rstd).to(z.dtype)
            by_weight += part.T @ hidden
            torch.mm(part, matrix, out=to)
            torch.ops.aten.threshold_backward(to, hidden, 0, grad_input=to)
            by_beta += to.sum(dim=0, dtype=gamma.dtype)
            by_gamma += ((rows - mean) * to).sum(dim=0)
        by_gamma *= rstd
        _through_norm_(by_z, z, by_gamma, by_beta, gamma, mean, rstd, share)
        return by_z, by_gamma, by_beta, by_weight, None, None, None


class _NormMax(Function):
    """Batch normalisation, ReLU and the maximum over each centre's edges in one; equal maxima share the gradient.

    The values compared rise with z, or fall where gamma is negative, so that the extreme z is all they need.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, gamma: Tensor, beta: Tensor, *norm: Any) -> Tensor:
        mean, rstd, share, edges = norm
        extreme = torch.cat([rows.amax(dim=1) for rows in edges.blocks(z)])
        falling = gamma < 0
        if falling.any():
            extreme = torch.where(falling, torch.cat([rows.amin(dim=1) for rows in edges.blocks(z)]), extreme)
        out = _rectified(extreme, gamma, beta, mean, rstd)
        ctx.save_for_backward(z, gamma, mean, rstd, share, extreme, out)
        ctx.edges = edges
        return out.index_select(0, edges.place).to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        z, gamma, mean, rstd, share, extreme, out = ctx.saved_tensors
        edges: Edges = ctx.edges
        grad = grad.index_select(0, edges.order).to(gamma.dtype)
        grad = torch.ops.aten.threshold_backward(grad, out, 0)
        by_beta = grad.sum(dim=0)
        by_gamma = (grad * (extreme - mean)).sum(dim=0) * rstd
        by_z = torch.empty_like(z)
        start = 0
        for rows, to in zip(edges.blocks(z), edges.blocks(by_z), strict=True):
            part = slice(start, start := start + len(rows))
            torch.eq(rows, extreme[part].unsqueeze(1), out=to)
            to *= (grad[part] / to.sum(dim=1)).unsqueeze(1)
        _through_norm_(by_z, z, by_gamma, by_beta, gamma, mean, rstd, share)
        return by_z, by_gamma, by_beta, None, None, None, None


class _EdgeDifferences(Function):
    """Rows by index less the rows of the centres; gradients are summed in one order, whatever the number of threads."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, center: Tensor, edges: Edges) -> Tensor:
        ctx.edges, ctx.points = edges, len(x)
        z = x.index_select(0, edges.source)
        center = center.index_select(0, edges.order)
        start = 0
        for rows in edges.blocks(z):
            rows -= center[start : (start := start + len(rows))].unsqueeze(1)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        edges: Edges = ctx.edges
        grad = grad.contiguous()
        by_center = torch.cat([rows.sum(dim=1) for rows in edges.blocks(grad)]).neg_()
        return _sum_rows(grad, edges.source, None, ctx.points), by_center.index_select(0, edges.place), None


class _Interpolate(Function):
    """Weighted sums of rows by index, without the (N, j, C) tensor of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.points = len(x)
        return functional.embedding_bag(index, x, mode="sum", per_sample_weights=weight.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        index, weight = ctx.saved_tensors
        return _sum_rows(grad.contiguous(), index, weight, ctx.points), None, None


def _sum_rows(rows: Tensor, index: Tensor, weight: Tensor | None, count: int) -> Tensor:
    """Sum rows (N, C) into (count, C) by index (N,), or by each column of (N, j) with weight (N, j)."""
    each = index.reshape(-1)
    order = each.to(torch.int32).sort(stable=True).indices
    starts = functional.pad(torch.bincount(each, minlength=count).cumsum(0), (1, 0))
    if weight is not None:
        weight = weight.reshape(-1)[order].to(rows.dtype)
        order = order.div(index.shape[1], rounding_mode="floor")
    return functional.embedding_bag(
        order, rows, starts, mode="sum", include_last_offset=True, per_sample_weights=weight
    )
