"""PointNet++ over clouds of one size, groups written out as (B, S, k, C); the parameters are those of a PointNet2."""

import torch


def take(x, index):
    """Rows of x (B, N, C) by index (B, ...): (B, ..., C)."""
    return torch.stack([rows[i] for rows, i in zip(x, index, strict=True)])


def rows(layers, x):
    """Layers that take (N, C), on (..., C)."""
    return layers(x.flatten(0, -2)).view(*x.shape[:-1], -1)


def squared_distance(a, b):
    """(B, M, N) of (B, M, 3) and (B, N, 3)."""
    return (a[:, :, None] - b[:, None]).square().sum(dim=-1)


def farthest(pos, count):
    """Index (B, count) of points, each the farthest from those before it, from the first point on."""
    taken = torch.zeros(len(pos), dtype=torch.long)
    remaining = torch.full(pos.shape[:2], torch.inf, dtype=pos.dtype)
    found = []
    for _ in range(count):
        found.append(taken)
        here = pos[torch.arange(len(pos)), taken]
        remaining = torch.minimum(remaining, (pos - here[:, None]).square().sum(dim=-1))
        taken = remaining.argmax(dim=1)
    return torch.stack(found, dim=1)


def ball(pos, centers, radius, k):
    """Index (B, S, k) of the nearest points within the radius; the nearest of all fills the rest."""
    distance, index = squared_distance(centers, pos).topk(k, dim=-1, largest=False)
    outside = distance > radius**2
    return torch.where(outside, index[..., :1], index)


def set_abstraction(layer, level, pos, x):
    """Centres (B, S, 3) and their features (B, S, C') of points (B, N, 3) and features (B, N, C)."""
    centers = take(pos, farthest(pos, min(level.centers, pos.shape[1])))
    pooled = []
    for conv, scale in zip(layer.convs, level.scales, strict=True):
        group = ball(pos, centers, scale.radius, scale.neighbors)
        values = torch.cat([take(x, group), take(pos, group) - centers[:, :, None]], dim=-1)
        values = rows(conv.local_nn, values).max(dim=2).values
        pooled.append(values if conv.global_nn is None else rows(conv.global_nn, values))
    return centers, torch.cat(pooled, dim=-1)


def feature_propagation(layer, fine_pos, coarse_pos, skip, x):
    """Features (B, N, C') at the fine points of x (B, S, C) at the coarse ones; skip (B, N, C'') or None."""
    distance, index = squared_distance(fine_pos, coarse_pos).topk(3, dim=-1, largest=False)
    weight = 1 / distance.clamp_min(1e-10)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    values = (take(x, index) * weight[..., None]).sum(dim=2)
    if skip is not None:
        values = torch.cat([values, skip], dim=-1)
    return rows(layer.mlp, values)


def forward(net, pos, x=None):
    """Features of points (B, N, C) and clouds (B, C'), from pos (B, N, 3) and x (B, N, in_channels)."""
    x = pos if x is None else torch.cat([pos, x], dim=-1)
    levels = [(pos, x)]
    for layer, level in zip(net.down, net.levels, strict=True):
        levels.append(set_abstraction(layer, level, *levels[-1]))
    pos, x = levels.pop()
    pooled = x.max(dim=1).values
    for layer in net.up:
        fine_pos, skip = levels.pop()
        x = feature_propagation(layer, fine_pos, pos, skip if levels or net.skip_input else None, x)
        pos = fine_pos
    return x, pooled
