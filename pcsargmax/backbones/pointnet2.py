"""PointNet++ as a segmentation network (Qi et al., NeurIPS 2017) on torch_geometric's PointNetConv.

The network is two things: `neighborhoods`, which looks at positions alone (who is near whom, at every level), and the
layers, which look at features along those edges. Rigid motion and uniform scaling leave the first as it is, so
training computes it once per cloud and keeps it (`Neighborhoods.collate` joins those of a batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import PointNetConv

from pcsargmax.backbones.edges import Edges, edge_differences, hidden_layers, interpolate, pooled_norm
from pcsargmax.ops.neighbors import ball_query, knn


@dataclass(frozen=True)
class Scale:
    """One grouping: the nearest `neighbors` points within `radius`, seen by an MLP of `widths`, then the maximum.

    `after` are widths of an MLP on the pooled feature, the cheap side of the maximum: it runs once per centre.

    Example:
        >>> from pcsargmax import Scale
        >>> Scale(radius=0.1, neighbors=32, widths=(32, 32, 64))
        Scale(radius=0.1, neighbors=32, widths=(32, 32, 64), after=())
    """

    radius: float
    neighbors: int
    widths: tuple[int, ...]
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Level:
    """A set abstraction: the first `centers` points in farthest-point order, grouped at one scale or more.

    Example:
        >>> from pcsargmax import Level, Scale
        >>> level = Level(centers=512, scales=(Scale(0.1, 16, (16, 32)), Scale(0.2, 32, (32, 64))))
        >>> sum(scale.widths[-1] for scale in level.scales)  # features of each centre, the scales side by side
        96
    """

    centers: int
    scales: tuple[Scale, ...]


class Neighborhoods(NamedTuple):
    """The neighbourhoods that a PointNet2 works on, for a ragged batch; all indices are into the batch's own levels.

    Attributes:
        counts: per level, from the cloud down: (B,) points of each cloud.
        centers: per set abstraction, (M,) index of its centres in the level above.
        groups: per set abstraction and scale, (M, k) index of the neighbours in the level above.
        up_index: per set abstraction, (N, 3) index, in its centres, of the three nearest to each point above.
        up_weight: (N, 3) their inverse-distance weights, rows summing to 1.

    Example:
        >>> import torch
        >>> from pcsargmax import Level, Neighborhoods, PointNet2, Scale
        >>> network = PointNet2([Level(32, (Scale(0.4, 8, (16,)),))], [(64,)])
        >>> alone = [network.neighborhoods(torch.rand(n, 3)) for n in (100, 80)]
        >>> Neighborhoods.collate(alone).counts  # points of each cloud, centres of each cloud
        [tensor([100,  80]), tensor([32, 32])]
    """

    counts: list[Tensor]
    centers: list[Tensor]
    groups: list[list[Tensor]]
    up_index: list[Tensor]
    up_weight: list[Tensor]

    @classmethod
    def collate(cls, parts: Sequence[Neighborhoods]) -> Neighborhoods:
        """Join those of single clouds (or batches) into that of the batch in the same order."""
        levels = range(len(parts[0].centers))
        totals = [[int(part.counts[i].sum()) for part in parts] for i in range(len(parts[0].counts))]
        starts = [[0, *accumulate(level[:-1])] for level in totals]

        def join(pieces: list[Tensor], level: int) -> Tensor:
            return torch.cat([piece + start for piece, start in zip(pieces, starts[level], strict=True)])

        return cls(
            counts=[torch.cat([part.counts[i] for part in parts]) for i in range(len(totals))],
            centers=[join([part.centers[i] for part in parts], i) for i in levels],
            groups=[
                [join([part.groups[i][s] for part in parts], i) for s in range(len(parts[0].groups[i]))] for i in levels
            ],
            up_index=[join([part.up_index[i] for part in parts], i + 1) for i in levels],
            up_weight=[torch.cat([part.up_weight[i] for part in parts]) for i in levels],
        )

    def to(self, device: torch.device | str) -> Neighborhoods:
        """Move every tensor to a device."""

        def move(tensors: list[Tensor]) -> list[Tensor]:
            return [tensor.to(device) for tensor in tensors]

        return Neighborhoods(
            counts=move(self.counts),
            centers=move(self.centers),
            groups=[move(scales) for scales in self.groups],
            up_index=move(self.up_index),
            up_weight=move(self.up_weight),
        )


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear, batch normalisation and ReLU for each pair of neighbouring widths."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer, bias=False), nn.BatchNorm1d(outer), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def at_least_float32(x: Tensor) -> Tensor:
    """Undo the shortening of automatic mixed precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class GroupedPointNetConv(PointNetConv):
    """torch_geometric's PointNetConv over groups: the same map from fewer products.

    The first Linear of `local_nn` sees (x_j, pos_j − pos_i) and is linear, so that it needs one product for each point
    and one for each centre, and their difference at an edge. The difference is of near numbers: it is taken in float32
    under automatic mixed precision, too.
    """

    def forward(self, x: Tensor, pos: Tensor, centers: Tensor, group: Tensor) -> Tensor:
        """Map features (N, C) at `pos` (N, 3) to (M, C') at the centres (M,), from groups (M, k)."""
        edges = Edges.of(group)
        first, last = self.local_nn[0].weight, self.local_nn[-2]
        with torch.autocast(pos.device.type, enabled=False):
            points = functional.linear(torch.cat([x.to(pos.dtype), pos], dim=1), first)
            z = edge_differences(points, functional.linear(pos[centers], first[:, -3:]), edges)
        if torch.is_autocast_enabled(pos.device.type):
            z = z.to(torch.get_autocast_dtype(pos.device.type))
        pooled = pooled_norm(hidden_layers(z, self.local_nn, edges), last, edges)
        return pooled if self.global_nn is None else self.global_nn(pooled)


class SetAbstraction(nn.Module):
    """Features of the centres from those of their neighbours: a PointNetConv for each scale, side by side."""

    def __init__(self, in_channels: int, level: Level) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            GroupedPointNetConv(
                mlp((in_channels + 3, *scale.widths)),
                mlp((scale.widths[-1], *scale.after)) if scale.after else None,
                add_self_loops=False,
            )
            for scale in level.scales
        )
        self.out_channels = sum((*scale.widths, *scale.after)[-1] for scale in level.scales)

    def forward(self, x: Tensor, pos: Tensor, centers: Tensor, groups: list[Tensor]) -> Tensor:
        """Map features (N, C) at `pos` (N, 3) to (M, C') at the centres (M,); groups: (M, k) a scale."""
        pooled = [conv(x, pos, centers, group) for conv, group in zip(self.convs, groups, strict=True)]
        return torch.cat(pooled, dim=1)


class FeaturePropagation(nn.Module):
    """Features carried back to a finer level: inverse-distance mean of the three nearest, joined to what was there.

    The first Linear works on the coarse features before they are carried: the mean of products is that of features.
    """

    def __init__(self, in_channels: int, skip_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.mlp = mlp((in_channels + skip_channels, *widths))

    def forward(self, x: Tensor, skip: Tensor | None, index: Tensor, weight: Tensor) -> Tensor:
        """Map x (M, C), skip (N, S) or None, index and weight (N, 3) to (N, C')."""
        first = cast(Tensor, self.mlp[0].weight)
        z = interpolate(functional.linear(x, first[:, : x.shape[1]]), index, weight)
        if skip is not None:
            z = z + functional.linear(skip, first[:, x.shape[1] :])
        z = hidden_layers(z, self.mlp)
        return self.mlp[-1](self.mlp[-2](z))


class PointNet2(nn.Module):
    """PointNet++ segmentation network: a feature for each point (Qi et al., NeurIPS 2017).

    Args:
        levels: the set abstractions, finest first.
        up_widths: MLP widths of the feature propagations, coarsest first; as many as levels.
        in_channels: input features per point besides the position.
        skip_input: whether the last propagation sees a point's own position and features beside what comes back.

    Attributes:
        out_channels: width of the per-point features.
        global_channels: width of the pooled feature of the coarsest level.

    Example:
        >>> import torch
        >>> from pcsargmax import Level, PointNet2, Scale, farthest_point_order
        >>> network = PointNet2([Level(32, (Scale(0.4, 8, (16,)),))], [(64,)])
        >>> cloud = torch.rand(100, 3)
        >>> features, pooled = network(cloud[farthest_point_order(cloud)])
        >>> features.shape, pooled.shape
        (torch.Size([100, 64]), torch.Size([1, 16]))
    """

    def __init__(
        self,
        levels: Sequence[Level],
        up_widths: Sequence[Sequence[int]],
        *,
        in_channels: int = 0,
        skip_input: bool = True,
    ) -> None:
        super().__init__()
        if len(up_widths) != len(levels) or not levels:
            raise ValueError(
                f"up_widths must have one entry for each of the {len(levels)} levels, got {len(up_widths)}"
            )
        self.levels = tuple(levels)
        self.in_channels = in_channels
        self.skip_input = skip_input
        self.down = nn.ModuleList()
        skips = [in_channels + 3 if skip_input else 0]
        channels = in_channels + 3
        for level in self.levels:
            layer = SetAbstraction(channels, level)
            self.down.append(layer)
            channels = layer.out_channels
            skips.append(channels)
        self.global_channels = channels
        self.up = nn.ModuleList()
        for skip, widths in zip(reversed(skips[:-1]), up_widths, strict=True):
            self.up.append(FeaturePropagation(channels, skip, widths))
            channels = widths[-1]
        self.out_channels = channels

    @torch.no_grad()
    def neighborhoods(self, pos: Tensor, batch: Tensor | None = None) -> Neighborhoods:
        """Find centres, groups and interpolation weights.

        Args:
            pos: (N, 3) in the units of the radii, each cloud in farthest-point order.
            batch: (N,) ascending cloud numbers; None for one cloud.
        """
        batch = torch.zeros(len(pos), dtype=torch.long, device=pos.device) if batch is None else batch
        found = Neighborhoods([torch.bincount(batch)], [], [], [], [])
        for level in self.levels:
            counts = found.counts[-1]
            place = torch.arange(len(batch), device=pos.device) - (counts.cumsum(0) - counts)[batch]
            centers = (place < level.centers).nonzero().squeeze(1)
            low_pos, low_batch = pos[centers], batch[centers]
            found.groups.append(
                [
                    ball_query(pos, low_pos, s.radius, s.neighbors, support_batch=batch, query_batch=low_batch).index
                    for s in level.scales
                ]
            )
            near = knn(low_pos, pos, 3, support_batch=low_batch, query_batch=batch)
            weight = 1 / near.squared_distance.clamp_min(1e-10)
            found.centers.append(centers)
            found.up_index.append(near.index)
            found.up_weight.append((weight / weight.sum(dim=1, keepdim=True)).float())
            found.counts.append(counts.clamp_max(level.centers))
            pos, batch = low_pos, low_batch
        return found

    def forward(
        self,
        pos: Tensor,
        x: Tensor | None = None,
        batch: Tensor | None = None,
        neighborhoods: Neighborhoods | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute features of points and clouds.

        Args:
            pos: (N, 3) points, unit frame, each cloud in farthest-point order.
            x: (N, in_channels) input features, None where in_channels is 0.
            batch: (N,) ascending cloud numbers; None for one cloud.
            neighborhoods: of these points, when known.

        Returns:
            (N, out_channels) per point and (B, global_channels) per cloud.
        """
        given = 0 if x is None else x.shape[1]
        if given != self.in_channels:
            raise ValueError(f"x must have {self.in_channels} input features per point, got {given}")
        if neighborhoods is None:
            neighborhoods = self.neighborhoods(pos, batch)
        x = pos if x is None else torch.cat([pos, x], dim=1)
        skips: list[Tensor | None] = [x if self.skip_input else None]
        for layer, centers, groups in zip(self.down, neighborhoods.centers, neighborhoods.groups, strict=True):
            x = layer(x, pos, centers, groups)
            pos = pos[centers]
            skips.append(x)
        lengths = neighborhoods.counts[-1]
        pooled = torch.segment_reduce(at_least_float32(x), "max", lengths=lengths)
        for layer, skip, index, weight in zip(
            self.up,
            reversed(skips[:-1]),
            reversed(neighborhoods.up_index),
            reversed(neighborhoods.up_weight),
            strict=True,
        ):
            x = layer(x, skip, index, weight)
        return x, pooled


def multi_scale(in_channels: int = 0, *, skip_input: bool = True) -> PointNet2:
    """Multi-scale grouping with the widths of the part-segmentation network (Qi et al. 2017)."""
    return PointNet2(
        (
            Level(1024, (Scale(0.05, 16, (16, 16, 32)), Scale(0.1, 32, (32, 32, 64)))),
            Level(256, (Scale(0.1, 16, (64, 64, 128)), Scale(0.2, 32, (64, 96, 128)))),
            Level(64, (Scale(0.2, 16, (128, 196, 256)), Scale(0.4, 32, (128, 196, 256)))),
            Level(16, (Scale(0.4, 16, (256, 256, 512)), Scale(0.8, 32, (256, 384, 512)))),
        ),
        ((256, 256), (256, 256), (256, 128), (128, 128, 128)),
        in_channels=in_channels,
        skip_input=skip_input,
    )
