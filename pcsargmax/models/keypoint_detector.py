"""A supervised keypoint detector: PointNet++ scores each point for each keypoint; the core does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.utils import to_dense_batch

from pcsargmax.backbones.pointnet2 import (
    Level,
    Neighborhoods,
    PointNet2,
    Scale,
    mlp,
    multi_scale,
)
from pcsargmax.models.presence import PresenceHead
from pcsargmax.models.second_look import DensePoints, LocalScores, SecondLook
from pcsargmax.models.template_start import TemplateStart
from pcsargmax.ops.neighbors import ragged_farthest_point_order


def _ssg(in_channels: int) -> PointNet2:
    """Single-scale grouping as KeypointNet's own benchmark declares it (Qi et al. 2017, 1024/256/64/16 centres)."""
    return PointNet2(
        (
            Level(1024, (Scale(0.1, 32, (32, 32, 64)),)),
            Level(256, (Scale(0.2, 32, (64, 64, 128)),)),
            Level(64, (Scale(0.4, 32, (128, 128, 256)),)),
            Level(16, (Scale(0.8, 32, (256, 256, 512)),)),
        ),
        ((256, 256), (256, 256), (256, 128), (128, 128, 128)),
        in_channels=in_channels,
    )


def _fine(in_channels: int) -> PointNet2:
    """For a laptop: fine first levels, where localisation is decided, and wide layers only after the maxima."""
    return PointNet2(
        (
            Level(1024, (Scale(0.06, 16, (32, 32), (64,)),)),
            Level(256, (Scale(0.15, 24, (64, 64), (128,)),)),
            Level(64, (Scale(0.35, 32, (128, 128), (256,)),)),
        ),
        ((128, 128), (128, 128), (128, 64)),
        in_channels=in_channels,
    )


def _light(in_channels: int) -> PointNet2:
    """For demonstrations and tests: a third of the work of `fine`."""
    return PointNet2(
        (
            Level(512, (Scale(0.1, 16, (24, 24), (48,)),)),
            Level(128, (Scale(0.25, 16, (48, 48), (96,)),)),
            Level(32, (Scale(0.6, 16, (96,), (128,)),)),
        ),
        ((96,), (64,), (64, 64)),
        in_channels=in_channels,
    )


#: Backbones by name; each takes the number of input features.
BACKBONES: dict[str, Callable[[int], PointNet2]] = {"fine": _fine, "light": _light, "ssg": _ssg, "msg": multi_scale}


class Scores(NamedTuple):
    """The output of `KeypointDetector` for a batch of clouds, padded to the largest.

    Attributes:
        logits: (B, K, L) a score per keypoint and point.
        sites: (B, L, 3) the points, unit frame; zeros in the padding.
        mask: (B, L) True at real points.
        presence: (B, K) logit that the keypoint exists on the shape.
        features: (B, L, C) of the points, for a second look.

    Example:
        >>> import torch
        >>> from pcsargmax import KeypointDetector, soft_argmax
        >>> detector = KeypointDetector(4, "light").eval()
        >>> batch = torch.tensor([0] * 100 + [1] * 60)  # two clouds, of 100 and 60 points
        >>> scores = detector(torch.rand(160, 3), batch=batch)
        >>> scores.logits.shape, scores.mask.sum(dim=1)
        (torch.Size([2, 4, 100]), tensor([100,  60]))
        >>> soft_argmax(scores.logits, scores.sites, mask=scores.mask).shape
        torch.Size([2, 4, 3])
    """

    logits: Tensor
    sites: Tensor
    mask: Tensor
    presence: Tensor
    features: Tensor | None = None


class KeypointDetector(nn.Module):
    """Score every point for every keypoint (paper, section on KeypointNet: one map over the points per keypoint).

    Args:
        num_keypoints: K.
        backbone: a name of `BACKBONES`, or a PointNet2 of your own.
        in_channels: input features per point besides the position.
        dropout: share of features dropped before the scores.
        presence: "maps", a `PresenceHead`; "pooled", one linear layer on the pooled feature, as earlier runs have it.
        template_start: (K, 3) keypoints relative to the bounding box, see `TemplateStart`; None: maps start flat.
        look_points: how many points the second look takes; 0 for a detector without one. It is not part of `forward`,
            as it needs a center for each keypoint: see `second_look`.

    Attributes:
        second_look: a `SecondLook`, or None.

    Example:
        >>> import torch
        >>> from pcsargmax import KeypointDetector
        >>> detector = KeypointDetector(num_keypoints=4, backbone="light").eval()
        >>> scores = detector(torch.rand(100, 3))  # one cloud of 100 points
        >>> scores.logits.shape, scores.sites.shape, scores.presence.shape
        (torch.Size([1, 4, 100]), torch.Size([1, 100, 3]), torch.Size([1, 4]))
    """

    def __init__(
        self,
        num_keypoints: int,
        backbone: str | PointNet2 = "fine",
        *,
        in_channels: int = 0,
        dropout: float = 0.0,
        presence: str = "maps",
        template_start: Tensor | None = None,
        look_points: int = 0,
    ) -> None:
        super().__init__()
        if num_keypoints < 1:
            raise ValueError(f"num_keypoints must be at least 1, got {num_keypoints}")
        if isinstance(backbone, str):
            if backbone not in BACKBONES:
                raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
            backbone = BACKBONES[backbone](in_channels)
        if presence not in ("maps", "pooled"):
            raise ValueError(f"presence must be one of maps, pooled, got {presence!r}")
        self.backbone = backbone
        width = backbone.out_channels
        self.head = nn.Sequential(mlp((width, width)), nn.Dropout(dropout), nn.Linear(width, num_keypoints))
        # Last, so that the weights of all else are drawn the same with either.
        self.presence: PresenceHead | nn.Linear = (
            PresenceHead(num_keypoints, width, backbone.global_channels)
            if presence == "maps"
            else nn.Linear(backbone.global_channels, num_keypoints)
        )
        self.template_start = None if template_start is None else TemplateStart(template_start)
        self.second_look = SecondLook(num_keypoints, width, num_points=look_points) if look_points else None

    def forward(
        self,
        pos: Tensor,
        x: Tensor | None = None,
        batch: Tensor | None = None,
        neighborhoods: Neighborhoods | None = None,
    ) -> Scores:
        """Score a ragged batch.

        Args:
            pos: (N, 3) points in the unit frame, in any order.
            x: (N, in_channels) input features, None where there are none.
            batch: (N,) ascending cloud numbers; None for one cloud.
            neighborhoods: of the points, when known; these must then be in farthest-point order. Without them each
                cloud is put in that order first, and scores come back in the order that was given.
        """
        if neighborhoods is None:
            order = ragged_farthest_point_order(pos, batch)
            ordered = self.backbone(pos[order], None if x is None else x[order], batch)
            features, pooled = ordered[0].index_select(0, order.argsort()), ordered[1]
        else:
            features, pooled = self.backbone(pos, x, batch, neighborhoods)
        logits, mask = to_dense_batch(self.head(features).float(), batch)
        logits = logits.transpose(1, 2)
        sites, _ = to_dense_batch(pos, batch)
        if self.template_start is not None:
            logits = logits + self.template_start(sites, mask)
        dense_features, _ = to_dense_batch(features, batch)
        # Presence reads features without shaping them: localisation is the same with and without it.
        if isinstance(self.presence, PresenceHead):
            presence = self.presence(dense_features.detach(), logits.detach(), mask, pooled.detach())
        else:
            presence = self.presence(pooled.detach())
        return Scores(logits, sites, mask, presence, dense_features)

    def look_again(
        self, scores: Scores, center: Tensor, dense: DensePoints | None = None, keypoints: Tensor | None = None
    ) -> LocalScores:
        """Take the second look around each center.

        Args:
            scores: of the first look.
            center: (B, K, 3) unit frame.
            dense: the points to look at; None takes the sites of the first look.
            keypoints: (K,) long, which keypoints the centers are of; None: all.

        Raises:
            ValueError: the detector has no second look.
        """
        if self.second_look is None:
            raise ValueError("this detector has no second look; build it with look_points > 0")
        if dense is None:
            rows = torch.arange(scores.sites.shape[1], device=scores.sites.device)
            dense = DensePoints(scores.sites, rows.expand(len(scores.sites), -1), scores.mask)
        return self.second_look(center, dense, scores.features, keypoints)
