"""Distances along a cloud: shortest paths over the graph that joins each point to its nearest neighbours.

KeypointNet's own benchmark (You et al., CVPR 2020) computes PCK, mIoU and mAP with them, over 20 neighbours. The
two sides of a thin wall are then far apart, if the cloud is dense enough to separate them.

    graph = CloudGraph(points)
    errors = geodesic_errors(preds, target, visible, graph)  # (K,), preds and target are rows of the points
    pck.update_errors(errors[None])
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Neighbours of a point in the data set's own benchmark.
NEIGHBORS = 20


class CloudGraph:
    """The graph of a cloud's nearest neighbours, an edge as long as it is in space.

    An edge joins two points if either is among the nearest neighbours of the other, as in the data set's own benchmark;
    the path may take it both ways. Points in one place are joined by edges of length 0.

    A cloud may fall into parts that no path joins, such as a seat and a cushion above it: the distance between them is
    infinite here. In the benchmark's own code it is 0, since the function of an old scikit-learn that it calls returns
    0 where there is no path, so that a keypoint on a separate part counts as found. That is not repeated here.

    Args:
        points: (N, D) positions, any unit; distances come in the same.
        neighbors: neighbours of a point; a cloud of fewer joins all its points.

    Raises:
        ValueError: `points` not (N, D), empty or not finite, or `neighbors` below 1.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import CloudGraph
        >>> graph = CloudGraph(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), neighbors=1)
        >>> graph.distances(torch.tensor([0]))  # along two edges, not the diagonal
        tensor([[0., 1., 2.]], dtype=torch.float64)
    """

    def __init__(self, points: Tensor, neighbors: int = NEIGHBORS) -> None:
        _check_points("points", points)
        if neighbors < 1:
            raise ValueError(f"neighbors must be at least 1, got {neighbors}")
        self.num_points = len(points)
        self.neighbors = neighbors
        self._graph = _neighbor_graph(points.detach().cpu().double().numpy(), neighbors)

    def distances(self, sources: Tensor) -> Tensor:
        """Return the length of the shortest path from some points to all.

        Args:
            sources: (S,) long, rows of the points.

        Returns:
            (S, N) float64 on the CPU, the unit of the points; infinite where there is no path.

        Raises:
            ValueError: sources that are no rows of the points.
        """
        from scipy.sparse.csgraph import dijkstra

        self._check_rows("sources", sources)
        if not len(sources):
            return torch.empty(0, self.num_points, dtype=torch.float64)
        rows, place = sources.cpu().unique(return_inverse=True)
        found = dijkstra(self._graph, directed=False, indices=rows.numpy())
        return torch.from_numpy(found)[place]

    def _check_rows(self, name: str, rows: Tensor) -> None:
        if rows.ndim != 1 or rows.is_floating_point() or rows.dtype == torch.bool:
            raise ValueError(f"{name} must be (S,) long, got {rows.dtype} of shape {tuple(rows.shape)}")
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= self.num_points):
            raise ValueError(
                f"{name} must be rows of the {self.num_points} points, "
                f"got values from {int(rows.min())} to {int(rows.max())}"
            )


def geodesic_errors(preds: Tensor, target: Tensor, visible: Tensor, points: Tensor | CloudGraph) -> Tensor:
    """Return the geodesic distance of each predicted keypoint to its annotation, both points of the cloud.

    Args:
        preds: (K,) long, row of the predicted point; the benchmark takes the most probable one.
        target: (K,) long, row of the annotated point; what stands at absent keypoints is ignored.
        visible: (K,) bool, True where the keypoint is annotated.
        points: (N, D) positions, any unit, or their `CloudGraph` where several predictions share one cloud.

    Returns:
        (K,) float64, the unit of the points: NaN where absent, infinite where no path joins the two.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, or an index in use that is no row of the points.

    Example:
        The path leads around a corner, 3 + 2 + 1:

        >>> import torch
        >>> from pcsargmax.metrics import CloudGraph, geodesic_errors
        >>> graph = CloudGraph(torch.tensor([[0.0, 3.0], [0.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), neighbors=1)
        >>> geodesic_errors(torch.tensor([0]), torch.tensor([3]), torch.tensor([True]), graph)
        tensor([6.], dtype=torch.float64)
    """
    graph = points if isinstance(points, CloudGraph) else CloudGraph(points)
    if visible.dtype != torch.bool or visible.ndim != 1:
        raise ValueError(f"visible must be bool of shape (K,), got {visible.dtype} of shape {tuple(visible.shape)}")
    for name, index in (("preds", preds), ("target", target)):
        if index.shape != visible.shape:
            raise ValueError(f"{name} must be long of shape {tuple(visible.shape)}, got {tuple(index.shape)}")
    visible = visible.cpu()
    preds, target = preds.cpu()[visible], target.cpu()[visible]
    graph._check_rows("preds", preds)
    graph._check_rows("target", target)
    errors = torch.full(visible.shape, torch.nan, dtype=torch.float64)
    errors[visible] = graph.distances(target).gather(1, preds[:, None]).squeeze(1)
    return errors


def nearest_index(points: Tensor, query: Tensor) -> Tensor:
    """Return the row of the point of a cloud that lies nearest to each query, the lowest among equals.

    Args:
        points: (N, D) positions, any unit.
        query: (Q, D) positions, same unit.

    Returns:
        (Q,) long.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics.geodesic import nearest_index
        >>> nearest_index(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.9, 0.2]]))
        tensor([1])
    """
    _check_points("points", points)
    if query.ndim != 2 or query.shape[1] != points.shape[1]:
        raise ValueError(f"query must be (Q, {points.shape[1]}), got {tuple(query.shape)}")
    # By differences, to be exact far from the origin.
    distance = torch.cdist(query.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distance.argmin(dim=1)


def _neighbor_graph(points: np.ndarray, neighbors: int) -> object:
    """CSR matrix (N, N) of the edges to the nearest neighbours; explicit zeros are edges of length 0."""
    from scipy.sparse import csr_array
    from scipy.spatial import KDTree

    count = len(points)
    neighbors = min(neighbors, count - 1)
    distance, index = KDTree(points).query(points, k=[*range(1, neighbors + 2)])
    # A point is its own nearest neighbour, but not the first among points in one place, and not always among them.
    own = index == np.arange(count)[:, None]
    own[~own.any(axis=1), -1] = True
    kept = ~own
    indptr = np.arange(0, count * neighbors + 1, neighbors) if neighbors else np.zeros(count + 1, dtype=int)
    return csr_array((distance[kept], index[kept], indptr), shape=(count, count))


def _check_points(name: str, points: Tensor) -> None:
    if points.ndim != 2 or not points.shape[0] or not points.shape[1]:
        raise ValueError(f"{name} must be (N, D) with at least one point, got {tuple(points.shape)}")
    broken = int((~points.isfinite().all(dim=1)).sum())
    if broken:
        raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} of {len(points)} points")
