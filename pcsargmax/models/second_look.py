"""A second look at each keypoint: a small shared network on the points near a first estimate.

The maps of a detector are over a few thousand sites of the whole shape, which limits how precisely they can place a
keypoint. The second look takes the dense points around each first estimate, in local coordinates, and gives a map over
these points and an offset. Localisation is that of the first look: soft-argmax or sampling-argmax over the local sites.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class DensePoints(NamedTuple):
    """The points that a second look chooses from, of a batch of clouds, padded to the largest.

    Attributes:
        pos: (B, N, 3) unit frame.
        nearest_site: (B, N) long, the row of the nearest site of the first look.
        mask: (B, N) True at real points; None: all are real.

    Example:
        >>> import torch
        >>> from pcsargmax import DensePoints
        >>> sites, pos = torch.rand(1, 100, 3), torch.rand(1, 500, 3)
        >>> DensePoints(pos, nearest_site=torch.cdist(pos, sites).argmin(dim=2)).nearest_site.shape
        torch.Size([1, 500])
    """

    pos: Tensor
    nearest_site: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> DensePoints:
        """Return the points on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return DensePoints(self.pos.to(device), self.nearest_site.to(device), mask)


class LocalScores(NamedTuple):
    """The output of `SecondLook`: one map for each keypoint, over sites of its own.

    Attributes:
        logits: (B, K, M) a score per keypoint and local site.
        sites: (B, K, M, 3) the points near each center, unit frame.
        offset: (B, K, 3) to be added to what the map gives.
        mask: (B, K, M) True at real sites; None: all are real.

    Example:
        >>> import torch
        >>> from pcsargmax import LocalScores, soft_argmax
        >>> sites = torch.tensor([[[[0.0, 0, 0], [0.2, 0, 0]]]])  # one cloud, one keypoint, two local sites
        >>> look = LocalScores(torch.zeros(1, 1, 2), sites, offset=torch.tensor([[[0.0, 0, 0.5]]]))
        >>> logits, moved, mask = look.maps()
        >>> soft_argmax(logits, moved, mask=mask)
        tensor([[[0.1000, 0.0000, 0.5000]]])
    """

    logits: Tensor
    sites: Tensor
    offset: Tensor
    mask: Tensor | None = None

    def maps(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits (B·K, 1, M), sites (B·K, M, 3) moved by the offset, and mask, as the core takes them."""
        sites = self.sites + self.offset[:, :, None]
        mask = None if self.mask is None else self.mask.flatten(0, 1)
        return self.logits.flatten(0, 1)[:, None], sites.flatten(0, 1), mask


class SecondLook(nn.Module):
    """Score the points near a center for one keypoint each; the weights are shared by all keypoints.

    A pointwise network sees the local coordinates of a point, the feature that the first look has at its nearest site,
    and an embedding of the keypoint; the maximum over the points tells it of the whole patch (PointNet; Qi et al.,
    CVPR 2017).

    Args:
        num_keypoints: K.
        channels: C, width of the features of the first look.
        num_points: M, how many of the nearest points are looked at.
        radius: unit of the local coordinates, in the unit frame.

    Example:
        >>> import torch
        >>> from pcsargmax import DensePoints, SecondLook
        >>> look = SecondLook(num_keypoints=4, channels=16, num_points=32)
        >>> points = DensePoints(torch.rand(2, 500, 3), torch.randint(100, (2, 500)))
        >>> scores = look(torch.rand(2, 4, 3), points, torch.rand(2, 100, 16))
        >>> scores.logits.shape, scores.sites.shape, scores.offset.shape
        (torch.Size([2, 4, 32]), torch.Size([2, 4, 32, 3]), torch.Size([2, 4, 3]))
    """

    def __init__(self, num_keypoints: int, channels: int, *, num_points: int = 128, radius: float = 0.05) -> None:
        super().__init__()
        self.num_points, self.radius = num_points, radius
        self.embedding = nn.Parameter(0.1 * torch.randn(num_keypoints, 32))
        self.point = nn.Linear(3, 64)
        self.feature = nn.Linear(channels, 64, bias=False)
        self.keypoint = nn.Linear(32, 64, bias=False)
        self.deeper = nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.pooled = nn.Linear(64, 128)
        self.joined = nn.Linear(64 + 3, 128)
        self.patch = nn.Linear(128 + 32, 128, bias=False)
        self.score = nn.Sequential(nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))
        self.shift = nn.Linear(128 + 32, 3)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def forward(
        self, center: Tensor, points: DensePoints, features: Tensor, keypoints: Tensor | None = None
    ) -> LocalScores:
        """Look at the points near each center.

        Args:
            center: (B, K, 3) unit frame; no gradient reaches it.
            points: of the clouds.
            features: (B, L, C) of the sites of the first look.
            keypoints: (K,) long, which keypoints the centers are of, where they are not all.
        """
        center = center.detach()
        embedding = self.embedding if keypoints is None else self.embedding[keypoints]
        sites, near, mask = self._patches(center, points)
        local = (sites - center[:, :, None]) / self.radius
        # Features are narrowed before they are gathered, so that what is gathered is narrow.
        features = self.feature(features)  # (B, L, 64)
        rows = near.flatten(1)[..., None].expand(-1, -1, features.shape[-1])
        at_points = features.gather(1, rows).unflatten(1, near.shape[1:])
        hidden = self.deeper(self.point(local) + at_points + self.keypoint(embedding)[:, None])  # (B, K, M, 64)
        pooled = functional.relu(self.pooled(hidden))
        if mask is not None:
            pooled = pooled.where(mask[..., None], 0)
        patch = torch.cat([pooled.amax(dim=2), embedding.expand(len(center), -1, -1)], dim=-1)  # (B, K, 128 + 32)
        joined = self.joined(torch.cat([hidden, local], dim=-1)) + self.patch(patch)[:, :, None]
        return LocalScores(self.score(joined)[..., 0].float(), sites, self.radius * self.shift(patch).float(), mask)

    @torch.no_grad()
    def _patches(self, center: Tensor, points: DensePoints) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions (B, K, M, 3), nearest sites (B, K, M) and mask of the points nearest to each center."""
        away = torch.cdist(center, points.pos)
        if points.mask is not None:
            away = away.masked_fill(~points.mask[:, None], torch.inf)
        found = away.topk(min(self.num_points, away.shape[2]), largest=False, sorted=False)
        rows = found.indices.flatten(1)  # (B, K·M)
        sites = points.pos.gather(1, rows[..., None].expand(-1, -1, 3)).unflatten(1, found.indices.shape[1:])
        near = points.nearest_site.gather(1, rows).unflatten(1, found.indices.shape[1:])
        mask = None if points.mask is None else found.values.isfinite()
        return sites, near, mask
