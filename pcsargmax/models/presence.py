"""Whether a keypoint is on the shape at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Width of the hidden layer.
_HIDDEN = 64


class PresenceHead(nn.Module):
    """Tells which keypoints exist from what their maps look at, and from the shape as a whole.

    A map looks somewhere also where its keypoint is absent, and what is there gives it away. So the head reads the mean
    of the point features under each map, and the pooled feature of the shape. Each keypoint's logit is a linear map of
    its own part, plus what a hidden layer makes of all parts together, since keypoints come and go with one another. It
    shapes none of what it reads: localisation is the same with and without it, bit for bit.

    It is trained by plain cross-entropy, which makes its output a probability; classes of unequal size are left as they
    are, since weights that made up for them would make it none.

    Args:
        num_keypoints: K.
        channels: C, of a point.
        global_channels: G, of a shape.
    """

    def __init__(self, num_keypoints: int, channels: int, global_channels: int) -> None:
        super().__init__()
        width = num_keypoints * channels + global_channels
        self.norm = nn.BatchNorm1d(num_keypoints * channels, affine=False)
        self.own = nn.Parameter(torch.zeros(num_keypoints, channels))
        # Normalised over the features of a cloud, not over the batch: it may be of one cloud.
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, _HIDDEN),
            nn.LayerNorm(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, num_keypoints),
        )

    def forward(self, features: Tensor, logits: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """Return the logit (B, K) that each keypoint exists.

        Args:
            features: (B, L, C) of the points, anything finite in the padding.
            logits: (B, K, L) scores of the points for each keypoint.
            mask: (B, L) True at real points.
            pooled: (B, G) of the shapes.
        """
        with torch.no_grad():
            maps = logits.float().masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)
            seen = (maps @ features.float()).flatten(1)  # (B, K * C)
            standard = self._standardized(seen).unflatten(1, self.own.shape)
        return self.layers(torch.cat([seen, pooled.detach().float()], dim=1)) + (standard * self.own).sum(dim=2)

    def _standardized(self, seen: Tensor) -> Tensor:
        """Each feature with mean 0 and deviation 1 over the clouds; a batch of one has none, and takes those so far."""
        if len(seen) > 1 or not self.training:
            return self.norm(seen)
        return functional.batch_norm(seen, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
