"""Nearest neighbours, ball query and farthest-point order, alike for the torch and the torch-cluster engine.

A *ragged* set of clouds is one `(N, 3)` tensor and a `(N,)` vector that numbers the cloud of each point, ascending, as
in torch-geometric. Both engines answer by the same rule: nearest first, ties by the lower index, distances computed by
one formula. torch-cluster only proposes candidates; rows where its choice could hang on rounding are asked again of
torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Engine = Literal["torch", "cluster"]

#: Distances held at once by the torch engine (32 MiB of float32 a buffer).
_CHUNK = 2**23
#: Relative gap of squared distances under which the choice at the k-th place could hang on rounding.
_TIE = 1e-5


@dataclass(frozen=True)
class Neighbors:
    """The result of a neighbour search: `index` (Q, k) into the support and `squared_distance` (Q, k), nearest first.

    Example:
        >>> import torch
        >>> from pcsargmax import knn
        >>> found = knn(torch.tensor([[0.0, 0, 0], [3.0, 0, 0]]), torch.tensor([[1.0, 0, 0]]), k=2)
        >>> found.index, found.squared_distance
        (tensor([[0, 1]]), tensor([[1., 4.]]))
    """

    index: Tensor
    squared_distance: Tensor


def default_engine() -> Engine:
    """`"cluster"` where torch-cluster can be imported, else `"torch"`; the answers are equal."""
    return "cluster" if find_spec("torch_cluster") is not None else "torch"


def knn(
    support: Tensor,
    query: Tensor,
    k: int,
    *,
    support_batch: Tensor | None = None,
    query_batch: Tensor | None = None,
    engine: Engine | None = None,
) -> Neighbors:
    """Find the k nearest support points of each query point, within the same cloud.

    Where a cloud has fewer than k points, its nearest point fills the rest of the row, so that every row has k
    valid entries and a maximum over them is that over the real neighbours.

    Args:
        support: (M, 3) points that are searched.
        query: (Q, 3) points to search from.
        k: number of neighbours, at least 1.
        support_batch: (M,) ascending cloud numbers; None for one cloud.
        query_batch: (Q,) likewise.
        engine: "torch" or "cluster" (needs the extra `cluster`); None takes `default_engine()`.

    Returns:
        `index` (Q, k), into `support`, and `squared_distance` (Q, k), without gradient.

    Raises:
        ValueError: wrong shapes, k < 1, unknown engine, or a query whose cloud has no support point.

    Example:
        >>> import torch
        >>> from pcsargmax import knn
        >>> cloud = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
        >>> found = knn(cloud, torch.tensor([[0.0, 4.0, 0.0]]), k=2)
        >>> found.index, found.squared_distance
        (tensor([[2, 0]]), tensor([[ 1., 16.]]))
    """
    _check_points(support, "support")
    _check_points(query, "query")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if (support_batch is None) != (query_batch is None):
        raise ValueError("give both support_batch and query_batch, or neither")
    engine = engine or default_engine()
    if engine not in ("torch", "cluster"):
        raise ValueError(f"engine must be 'torch' or 'cluster', got {engine!r}")
    search = _knn_torch if engine == "torch" else _knn_cluster
    indices, distances = [], []
    with torch.no_grad():
        for (s0, s1), (q0, q1) in _cloud_slices(support, query, support_batch, query_batch):
            found = search(support[s0:s1], query[q0:q1], min(k, s1 - s0))
            indices.append(_fill(found.index, k) + s0)
            distances.append(_fill(found.squared_distance, k))
    if not indices:
        empty = query.new_empty((0, k))
        return Neighbors(empty.long(), empty)
    return Neighbors(torch.cat(indices), torch.cat(distances))


def ball_query(
    support: Tensor,
    query: Tensor,
    radius: float,
    k: int,
    *,
    support_batch: Tensor | None = None,
    query_batch: Tensor | None = None,
    engine: Engine | None = None,
) -> Neighbors:
    """Find the nearest k support points within a radius of each query point: PointNet++'s grouping, deterministic.

    Entries beyond the radius are replaced by the nearest point, so every row has k valid entries; the nearest point
    itself stays even when it lies beyond the radius.

    Args:
        support: (M, 3) points that are searched.
        query: (Q, 3) ball centres.
        radius: ball radius in the units of the points, positive; a point exactly on the sphere is inside.
        k: most neighbours a ball can have.
        support_batch: (M,) ascending cloud numbers; None for one cloud.
        query_batch: (Q,) likewise.
        engine: as for `knn`.

    Returns:
        `index` (Q, k) and `squared_distance` (Q, k), nearest first.

    Example:
        >>> import torch
        >>> from pcsargmax import ball_query
        >>> cloud = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
        >>> ball_query(cloud, cloud[:1], radius=2.0, k=3).index  # two within the radius; the nearest fills the row
        tensor([[0, 1, 0]])
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    near = knn(support, query, k, support_batch=support_batch, query_batch=query_batch, engine=engine)
    index, squared = near.index, near.squared_distance
    outside = squared > radius**2
    outside[:, 0] = False
    return Neighbors(torch.where(outside, index[:, :1], index), torch.where(outside, squared[:, :1], squared))


def mean_neighbor_distance(pos: Tensor, batch: Tensor | None = None, *, engine: Engine | None = None) -> Tensor:
    """Return the mean nearest-neighbour distance of each cloud: the paper's σ for point clouds (about 0.01).

    Args:
        pos: (N, 3) points.
        batch: (N,) ascending cloud numbers; None for one cloud.
        engine: as for `knn`.

    Returns:
        (B,) distances in the units of `pos`; 0 for a cloud of one point.

    Example:
        >>> import torch
        >>> from pcsargmax import mean_neighbor_distance
        >>> mean_neighbor_distance(torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 4.0, 0.0]]))  # (3 + 3 + 4) / 3
        tensor([3.3333])
    """
    nearest = knn(pos, pos, 2, support_batch=batch, query_batch=batch, engine=engine)
    distance = nearest.squared_distance[:, 1].sqrt()
    if batch is None:
        return distance.mean().reshape(1)
    counts = torch.bincount(batch)
    return torch.zeros(len(counts), dtype=pos.dtype, device=pos.device).index_add_(0, batch, distance) / counts


def farthest_point_order(pos: Tensor, *, start: int | None = None, count: int | None = None) -> Tensor:
    """Order a cloud so that each point is the farthest from all before it: any prefix covers the shape evenly.

    Done once, when a file is read: set abstraction then takes prefixes and pays nothing for sampling.

    Args:
        pos: (N, 3) points, at least one.
        start: index of the first point; None takes the point farthest from the centroid, so that the order of the
            given points does not matter (ties go to the lower index).
        count: how many points to order; None orders all, and so does a count above N.

    Returns:
        (N,) permutation, long, or its first `count` entries: `pos[order]` is the ordered cloud. Distances are taken in
        float64.

    Example:
        >>> import torch
        >>> from pcsargmax import farthest_point_order
        >>> line = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0]])
        >>> farthest_point_order(line)  # from the point farthest from the centroid
        tensor([3, 0, 2, 1])
    """
    _check_points(pos, "pos")
    if len(pos) == 0:
        raise ValueError("pos must hold at least one point, got an empty cloud")
    points = pos.detach().cpu().numpy().astype(np.float64)
    points = points - points.mean(axis=0)
    if not np.isfinite(points).all():
        raise ValueError("pos must be finite, got NaN or infinite coordinates")
    if start is None:
        start = int(np.argmax(np.einsum("nd,nd->n", points, points)))
    elif not 0 <= start < len(points):
        raise ValueError(f"start must be an index of the {len(points)} points, got {start}")
    columns = np.ascontiguousarray(points.T)
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    order = np.empty(min(len(points), count or len(points)), dtype=np.int64)
    remaining = np.full(len(points), np.inf)
    taken = start
    for i in range(len(order)):
        order[i] = taken
        offset = columns - columns[:, taken, None]
        np.minimum(remaining, np.einsum("dn,dn->n", offset, offset), out=remaining)
        remaining[taken] = -1.0  # below every distance: among coinciding points too, none is taken twice
        taken = int(remaining.argmax())
    return torch.from_numpy(order).to(pos.device)


def ragged_farthest_point_order(pos: Tensor, batch: Tensor | None = None) -> Tensor:
    """Permutation (N,) that puts each cloud of a ragged batch in farthest-point order."""
    if batch is None:
        return farthest_point_order(pos)
    ends = torch.bincount(batch).cumsum(0).tolist()
    return torch.cat([farthest_point_order(pos[a:b]) + a for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a])


def _check_points(points: Tensor, name: str) -> None:
    if points.dim() != 2 or not points.is_floating_point():
        raise ValueError(f"{name} must be a floating (N, D) tensor, got {points.dtype} {tuple(points.shape)}")


def _cloud_slices(
    support: Tensor, query: Tensor, support_batch: Tensor | None, query_batch: Tensor | None
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the support and query ranges of each cloud that has queries."""
    if support_batch is None or query_batch is None:
        ranges = [((0, len(support)), (0, len(query)))]
    else:
        count = max(_last(support_batch), _last(query_batch)) + 1
        s_ends = torch.bincount(support_batch, minlength=count).cumsum(0).tolist()
        q_ends = torch.bincount(query_batch, minlength=count).cumsum(0).tolist()
        ranges = list(
            zip(
                zip([0, *s_ends[:-1]], s_ends, strict=True),
                zip([0, *q_ends[:-1]], q_ends, strict=True),
                strict=True,
            )
        )
    for number, (s, q) in enumerate(ranges):
        if q[0] == q[1]:
            continue
        if s[0] == s[1]:
            raise ValueError(f"cloud {number} has {q[1] - q[0]} query points but no support point")
        yield s, q


def _last(batch: Tensor) -> int:
    return int(batch[-1]) if len(batch) else -1


def _fill(found: Tensor, k: int) -> Tensor:
    """Widen (Q, j) to (Q, k) by repeating the first column, the nearest."""
    missing = k - found.shape[1]
    return torch.cat([found, found[:, :1].expand(-1, missing)], dim=1) if missing else found


def _squared_distance(support: Tensor, query: Tensor) -> Tensor:
    """Squared distances (Q, M), axis by axis: exact for coinciding points, unlike the product form."""
    total = (query[:, None, 0] - support[None, :, 0]).square_()
    for axis in range(1, support.shape[1]):
        total += (query[:, None, axis] - support[None, :, axis]).square_()
    return total


def _knn_torch(support: Tensor, query: Tensor, k: int) -> Neighbors:
    rows = max(1, _CHUNK // len(support))
    indices, distances = [], []
    for part in query.split(rows):
        squared = _squared_distance(support, part)
        more = min(k + 1, len(support))
        value, index = squared.topk(more, dim=1, largest=False)
        # topk breaks ties as it likes: order the found by index, then stably by distance …
        index, by_index = index.sort(dim=1)
        value, by_value = value.gather(1, by_index).sort(dim=1, stable=True)
        index = index.gather(1, by_value)
        if more > k:  # … and where the tie crosses the k-th place, sort the whole row
            tied = (value[:, k - 1] == value[:, k]).nonzero().squeeze(1)
            if len(tied):
                row_value, row_index = squared[tied].sort(dim=1, stable=True)
                value[tied], index[tied] = row_value[:, :more], row_index[:, :more]
        indices.append(index[:, :k])
        distances.append(value[:, :k])
    return Neighbors(torch.cat(indices), torch.cat(distances))


def _knn_cluster(support: Tensor, query: Tensor, k: int) -> Neighbors:
    from torch_cluster import knn as cluster_knn

    more = min(k + 1, len(support))
    index = cluster_knn(support, query, more)[1].view(len(query), more)
    index = index.sort(dim=1).values
    squared = torch.zeros(index.shape, dtype=support.dtype, device=support.device)
    for axis in range(support.shape[1]):  # the formula and order of sums of `_squared_distance`
        squared += (query[:, None, axis] - support[:, axis][index]).square_()
    squared, by_value = squared.sort(dim=1, stable=True)
    index = index.gather(1, by_value)
    if more > k:
        close = squared[:, k] - squared[:, k - 1] <= _TIE * squared[:, k]
        rows = close.nonzero().squeeze(1)
        if len(rows):
            exact = _knn_torch(support, query[rows], k)
            index[rows, :k], squared[rows, :k] = exact.index, exact.squared_distance
    return Neighbors(index[:, :k], squared[:, :k])
