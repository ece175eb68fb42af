"""The decoder and the composite Chamfer distance of Skeleton Merger, edge by edge, with all distances kept."""

import itertools

import torch


def root(p, q):
    """ρ of all pairs: (B, M, N) of (B, M, 3) and (B, N, 3)."""
    return ((p[:, :, None] - q[:, None]).square().sum(dim=-1) + 1e-4).sqrt()


def decode(keypoints, offsets):
    """The points of each edge, a list of P tensors (B, count, 3)."""
    edges = []
    for number, (i, j) in enumerate(itertools.combinations(range(keypoints.shape[1]), 2)):
        a, b = keypoints[:, j], keypoints[:, i]
        length = ((a - b).square().sum(dim=-1) + 1e-3).sqrt().mean().item()
        count = min(200, max(15, int(length / 0.01)))
        f = torch.linspace(0, 1, count, dtype=a.dtype)[:, None]
        edges.append(a[:, None] * f + b[:, None] * (1 - f) + offsets[number, :count])
    return edges


def composite_chamfer(edges, strengths, cloud):
    """Fidelity and coverage, the means over the batch: edges P x (B, count, 3), strengths (B, P), cloud (B, N, 3)."""
    fidelity, to_edges = 0.0, []
    for number, points in enumerate(edges):
        away = root(points, cloud)
        fidelity = fidelity + (strengths[:, number] * away.min(dim=2).values.mean(dim=1)).mean() / len(edges)
        to_edges.append(away.min(dim=1).values)
    ordered, order = torch.stack(to_edges).sort(dim=0)  # (P, B, N)
    coverage, remaining = 0.0, torch.ones_like(ordered[0])
    for away, index in zip(ordered, order, strict=True):
        weight = torch.minimum(remaining, strengths.gather(1, index))
        coverage = coverage + (weight * away).mean()
        remaining = remaining - weight
    return fidelity, coverage + 20 * remaining.mean()


def skeleton_loss(keypoints, strengths, offsets, cloud):
    """Fidelity, coverage and offset penalty, the means over the batch."""
    fidelity, coverage = composite_chamfer(decode(keypoints, offsets), strengths, cloud)
    return fidelity, coverage, 0.01 * offsets.square().sum()
