"""Maps that start at the template: what a network learns is then how far a shape differs from the mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TemplateStart(nn.Module):
    """Logits −d² / 2s² of the distance d of each site from the template's keypoint, with a learned s per keypoint.

    Added to the logits of a network they make its maps start as Gaussians about the template, which is the mean of the
    training keypoints relative to the bounding box. It serves where the shapes share an orientation.

    Args:
        relative: (K, 3) keypoints, 0 at the low and 1 at the high side of the bounding box, per axis.
        width: what s starts at, in the unit frame.

    Example:
        >>> import torch
        >>> from pcsargmax import TemplateStart
        >>> start = TemplateStart(torch.tensor([[0.5, 0.5, 1.0]]))  # the middle of the top
        >>> sites = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0))
        >>> sites[0, start(sites)[0, 0].argmax(), 2] > 0.9
        tensor(True)
    """

    relative: Tensor

    def __init__(self, relative: Tensor, width: float = 0.08) -> None:
        super().__init__()
        self.register_buffer("relative", relative.float())
        self.log_width = nn.Parameter(torch.full((len(relative),), math.log(width)))

    def forward(self, sites: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K, L) of sites (B, L, 3), of which those count that mask (B, L) has."""
        low, high = sites, sites
        if mask is not None:
            low, high = (sites.masked_fill(~mask[..., None], end) for end in (torch.inf, -torch.inf))
        low, high = low.amin(dim=1, keepdim=True), high.amax(dim=1, keepdim=True)
        away = torch.cdist(low + self.relative * (high - low), sites)
        return -away.square() / (2 * (2 * self.log_width).exp()[:, None])
