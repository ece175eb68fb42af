"""The surfaces between the layers of a slice, as of the retina (He et al., MICCAI 2019): a 1-D map in each column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcsargmax.backbones.resnet import check_size
from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.grid import Grid


class RetinaMaps(NamedTuple):
    """The output of `RetinaNet` for a batch of slices.

    Attributes:
        surfaces: (B, S, H, W) logits; the softmax along each column (H) is where the surface crosses that column.
        layers: (B, S + 1, H, W) logits; the softmax over the labels is which layer a pixel is in, from above the first
            surface (label 0) to below the last (label S).

    Example:
        >>> import torch
        >>> from pcsargmax import RetinaNet
        >>> maps = RetinaNet(2, channels=(4, 8))(torch.rand(1, 1, 32, 48))
        >>> maps.surfaces.shape, maps.layers.shape  # two surfaces lie between three layers
        (torch.Size([1, 2, 32, 48]), torch.Size([1, 3, 32, 48]))
    """

    surfaces: Tensor
    layers: Tensor


class RetinaNet(nn.Module):
    """A residual U-Net with two heads: where each surface crosses each column, and the layer of each pixel.

    Each level is a residual block of two convolutions; maxima over 2 x 2 pixels lead down, transposed convolutions lead
    up, and the features of equal resolution are joined. Of the source are this form and the two heads; numbers of
    channels are free.

    Args:
        num_surfaces: S.
        channels: of each level, from the full resolution down; each but the first halves the resolution.
        in_channels: of the images.

    Attributes:
        multiple: what height and width of the images must be multiples of, 2 to the number of halvings.

    Raises:
        ValueError: no surface, no level, or a number of channels below 1.

    Example:
        >>> import torch
        >>> from pcsargmax import RetinaNet
        >>> from pcsargmax.models.retina_net import surface_rows
        >>> network = RetinaNet(num_surfaces=2, channels=(4, 8))
        >>> maps = network(torch.rand(1, 1, 32, 48))
        >>> surface_rows(maps.surfaces).shape  # (B, S, W): the row of each surface in each column
        torch.Size([1, 2, 48])
    """

    def __init__(
        self, num_surfaces: int, *, channels: Sequence[int] = (32, 64, 128, 256, 256), in_channels: int = 1
    ) -> None:
        super().__init__()
        widths = tuple(channels)
        if num_surfaces < 1:
            raise ValueError(f"num_surfaces: expected at least 1, got {num_surfaces}")
        if not widths or min(widths) < 1:
            raise ValueError(f"channels: expected a positive number for each level, got {widths}")
        if in_channels < 1:
            raise ValueError(f"in_channels: expected at least 1, got {in_channels}")
        self.num_surfaces, self.in_channels = num_surfaces, in_channels
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(_Residual(inner, outer) for inner, outer in pairwise((in_channels, *widths)))
        falling = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(inner, outer, 2, stride=2) for inner, outer in falling)
        self.decoder = nn.ModuleList(_Residual(2 * outer, outer) for _, outer in falling)
        self.pool = nn.MaxPool2d(2)
        self.surfaces = nn.Conv2d(widths[0], num_surfaces, kernel_size=1)
        self.layers = nn.Conv2d(widths[0], num_surfaces + 1, kernel_size=1)

    def forward(self, images: Tensor) -> RetinaMaps:
        """Return the maps of slices.

        Args:
            images: (B, in_channels, H, W) floating, H and W multiples of `multiple`.

        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images: expected shape (B, {self.in_channels}, H, W), got {tuple(images.shape)}")
        check_size("images", images.shape[-2:], self.multiple)
        features, passed = images, []
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            passed.append(features)
        for up, block, beside in zip(self.up, self.decoder, passed[-2::-1], strict=True):
            features = block(torch.cat([up(features), beside], dim=1))
        return RetinaMaps(self.surfaces(features), self.layers(features))

    @staticmethod
    def grid(height: int) -> Grid:
        """Return the grid of a column: H cells, their coordinate the row in pixels."""
        return Grid((height,))


def columns(maps: Tensor) -> Tensor:
    """Return (B, S, H, W) maps as the core takes them, one item per column: (B·W, S, H)."""
    if maps.ndim != 4:
        raise ValueError(f"maps: expected shape (B, S, H, W), got {tuple(maps.shape)}")
    return maps.permute(0, 3, 1, 2).flatten(0, 1)  # (B, W, S, H) -> (B·W, S, H)


def from_columns(rows: Tensor, width: int) -> Tensor:
    """Put what the core found in each column side by side again.

    Args:
        rows: (B·W, S, 1) positions in the columns, or (B·W, N, S, 1) samples of them.
        width: W.

    Returns:
        (B, S, W), of samples (B, N, S, W): rows in the unit of the grid.

    Raises:
        ValueError: another shape, or a number of columns that is not a multiple of the width.
    """
    if rows.ndim not in (3, 4) or rows.shape[-1] != 1:
        raise ValueError(f"rows: expected shape (B·W, S, 1) or (B·W, N, S, 1), got {tuple(rows.shape)}")
    if width < 1 or len(rows) % width:
        raise ValueError(f"rows: expected a multiple of width = {width} columns, got {len(rows)}")
    return rows.squeeze(-1).unflatten(0, (-1, width)).movedim(1, -1)  # (B, W, …, S) -> (B, …, S, W)


def ordered(positions: Tensor) -> Tensor:
    """Put surfaces in order: none lies above the one before it.

    Surface by surface from the first, s_i ← s_{i−1} + ReLU(s_i − s_{i−1}). So a surface that is in order stays where it
    is, to the bit, and one that is not moves onto the one before; its gradient then goes to that one.

    Args:
        positions: (..., S, W) rows, downwards.

    Returns:
        (..., S, W).

    Raises:
        ValueError: fewer than two axes, or no surface.
    """
    if positions.ndim < 2 or positions.shape[-2] == 0:
        raise ValueError(f"positions: expected shape (..., S, W) with S >= 1, got {tuple(positions.shape)}")
    return torch.cummax(positions, dim=-2).values


def surface_rows(logits: Tensor) -> Tensor:
    """(B, S, W) rows of surfaces by the soft-argmax of each column of (B, S, H, W) logits, put in order."""
    grid = RetinaNet.grid(logits.shape[2])
    return ordered(from_columns(soft_argmax(columns(logits), grid), logits.shape[3]))


class _Residual(nn.Module):
    """Two convolutions with batch normalisation beside a shortcut."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.shortcut = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1, bias=False)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        total: Tensor = self.activation(self.layers(features) + self.shortcut(features))
        return total
