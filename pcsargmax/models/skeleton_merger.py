"""Skeleton Merger (Shi et al., CVPR 2021): keypoints without labels, as the joints of a skeleton that covers the cloud.

Here is the network: a score for every keypoint and point, a strength for every edge, and the learned offsets of the
edges' points. What they mean as a shape, and how far it is from the cloud, is in `pcsargmax.ops.skeleton`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.utils import to_dense_batch

from pcsargmax.backbones.pointnet2 import Level, Neighborhoods, PointNet2, Scale, at_least_float32, mlp, multi_scale
from pcsargmax.ops.neighbors import ragged_farthest_point_order
from pcsargmax.ops.skeleton import EDGE_POINTS

#: Standard deviation of the offsets at the start, in the min-max frame.
OFFSET_STD = 0.002


def _original() -> PointNet2:
    """The encoder of the paper's code: PointNet++ with multi-scale grouping for scene segmentation, 9 input channels.

    Two things are PointNet2's own: a ball keeps its nearest neighbours, not those of the lowest index; and the centres
    are those of the cloud's farthest-point order, which has no random start. Biases in front of a batch normalisation,
    which subtracts them again, are left out.
    """
    # xyz three times: once as the position, twice beside it.
    return multi_scale(in_channels=6, skip_input=False)


def _light() -> PointNet2:
    """For a CPU: one scale, fewer centres, and wide layers only after the maxima."""
    return PointNet2(
        (
            Level(512, (Scale(0.2, 16, (24, 24), (48,)),)),
            Level(128, (Scale(0.5, 16, (48, 48), (96,)),)),
            Level(32, (Scale(1.2, 16, (96,), (128,)),)),
        ),
        ((96,), (64,), (64, 64)),
    )


#: Encoders by name; radii are for clouds whose largest extent is 2 (the min-max frame).
BACKBONES: dict[str, Callable[[], PointNet2]] = {"light": _light, "original": _original}


class SkeletonScores(NamedTuple):
    """The output of `SkeletonMerger` for a batch of clouds, padded to the largest.

    Attributes:
        logits: (B, K, L) a score per keypoint and point; their softmax over the points is the keypoint's map.
        sites: (B, L, 3) the points, min-max frame; zeros in the padding.
        mask: (B, L) True at real points.
        strengths: (B, P) activation strength of each edge, 0 to 1; pairs in the order of `combinations(range(K), 2)`.

    Example:
        >>> import torch
        >>> from pcsargmax import SkeletonMerger, soft_argmax
        >>> scores = SkeletonMerger(num_keypoints=4).eval()(torch.rand(100, 3))
        >>> scores.logits.shape, scores.strengths.shape  # four keypoints have six edges
        (torch.Size([1, 4, 100]), torch.Size([1, 6]))
        >>> soft_argmax(scores.logits, scores.sites, mask=scores.mask).shape
        torch.Size([1, 4, 3])
    """

    logits: Tensor
    sites: Tensor
    mask: Tensor
    strengths: Tensor


class SkeletonMerger(nn.Module):
    """The encoder and the heads of Skeleton Merger (Shi et al., CVPR 2021, section 3).

    "original" is the network of the paper's code: with k = 10 and clouds of 2048 points its widths, activations and
    initial values, with these differences, each a repair: a cloud gives the same answer every time (no random start of
    farthest-point sampling), a batch may hold one cloud or clouds of unequal size, and edges are numbered as
    `combinations` numbers them. In training a batch of one cloud leaves no spread to normalise the strengths by: that
    head then uses its running statistics, and leaves them as they are.

    Args:
        num_keypoints: K, at least 2.
        backbone: a name of `BACKBONES`, or a PointNet2 of your own; its input features (a multiple of three channels)
            are the position again and again.
        dropout: share of features dropped before the scores, 0 <= dropout < 1.

    Attributes:
        offsets: (P, 200, 3) what is added to the points of each edge, P = K (K − 1) / 2, in units of the frame.

    Example:
        >>> import torch
        >>> from pcsargmax import SkeletonMerger, skeleton_loss, soft_argmax
        >>> merger = SkeletonMerger(num_keypoints=4)
        >>> batch = torch.tensor([0] * 100 + [1] * 60)  # two clouds, of 100 and 60 points
        >>> scores = merger(torch.rand(160, 3), batch)
        >>> keypoints = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
        >>> skeleton_loss(keypoints, scores.strengths, merger.offsets, scores.sites, scores.mask).total.shape
        torch.Size([2])
    """

    def __init__(self, num_keypoints: int = 10, backbone: str | PointNet2 = "light", *, dropout: float = 0.5) -> None:
        super().__init__()
        if num_keypoints < 2:
            raise ValueError(f"num_keypoints must be at least 2, the ends of an edge, got {num_keypoints}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be 0 or more and below 1, got {dropout}")
        if isinstance(backbone, str):
            if backbone not in BACKBONES:
                raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
            backbone = BACKBONES[backbone]()
        if backbone.in_channels % 3:
            raise ValueError(
                f"backbone must take xyz again as input features, 0, 3, 6, ..., got {backbone.in_channels}"
            )
        self.backbone = backbone
        width, pooled = backbone.out_channels, backbone.global_channels
        self.head = nn.Sequential(
            mlp((width, width)),
            nn.Dropout(dropout),
            nn.Linear(width, num_keypoints),
            nn.LogSoftmax(dim=-1),  # over the keypoints: they compete for a point
            nn.Linear(num_keypoints, num_keypoints),
        )
        edges = num_keypoints * (num_keypoints - 1) // 2
        self.strengths = nn.Sequential(
            nn.Linear(pooled, pooled // 2),
            CloudNorm(pooled // 2),
            nn.ReLU(),
            nn.Linear(pooled // 2, pooled // 4),
            CloudNorm(pooled // 4),
            nn.ReLU(),
            nn.Linear(pooled // 4, edges),
            nn.Sigmoid(),
        )
        self.offsets = nn.Parameter(OFFSET_STD * torch.randn(edges, EDGE_POINTS, 3))

    def forward(
        self, pos: Tensor, batch: Tensor | None = None, neighborhoods: Neighborhoods | None = None
    ) -> SkeletonScores:
        """Score a ragged batch.

        Args:
            pos: (N, 3) points in the min-max frame, in any order.
            batch: (N,) ascending cloud numbers; None for one cloud.
            neighborhoods: of the points, when known; these must then be in farthest-point order. Without them each
                cloud is put in that order first, and scores come back in the order that was given.

        Raises:
            ValueError: `pos` is not (N, 3), or has one point in training, which leaves nothing to normalise by.
        """
        if pos.dim() != 2 or pos.shape[1] != 3 or len(pos) < 1 + self.training:
            least = "(N, 3), at least two points in training" if self.training else "(N, 3), at least one point"
            raise ValueError(f"pos must be {least}, got {tuple(pos.shape)}")
        order = ragged_farthest_point_order(pos, batch) if neighborhoods is None else None
        ordered = pos if order is None else pos[order]
        again = self.backbone.in_channels // 3
        features, pooled = self.backbone(ordered, ordered.repeat(1, again) if again else None, batch, neighborhoods)
        if order is not None:
            features = features.index_select(0, order.argsort())
        logits, mask = to_dense_batch(at_least_float32(self.head(features)), batch)
        sites, _ = to_dense_batch(pos, batch)
        return SkeletonScores(logits.transpose(1, 2), sites, mask, at_least_float32(self.strengths(pooled)))


class CloudNorm(nn.BatchNorm1d):
    """Batch normalisation over clouds that takes a batch of one: by its running statistics, which it leaves."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C)."""
        if len(x) > 1:
            return super().forward(x)
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
