"""SimplePose (Xiao et al., ECCV 2018) and its 3-D form (Integral Pose, Sun et al., ECCV 2018): images to maps."""

from __future__ import annotations

from torch import Tensor, nn

from pcsargmax.backbones.resnet import ResNetTrunk, check_size
from pcsargmax.core.grid import Grid

#: Standard deviation of the head's weights at the start, as in both sources.
_WEIGHT_STD = 0.001


class SimplePose(nn.Module):
    """One map of scores per keypoint at a quarter of the image's resolution, by a ResNet and three deconvolutions.

    The network of the paper's tables for COCO (ResNet-50), for faces (ResNet-18) and, with depth bins, for Human3.6M
    (ResNet-50, 64 x 64 x 32). Its maps begin almost flat, so that every keypoint begins in the middle. Weights are
    drawn from torch's own generator.

    Args:
        num_keypoints: K.
        trunk: "resnet18", "resnet50", or "tiny" for CPUs.
        size: (height, width) of the images, multiples of 32 pixels.
        depth_bins: cells of the maps along the depth; None is 2-D maps.
        deconv_channels: of each deconvolution (kernel 4, stride 2, batch normalisation, ReLU).
        weights: of the trunk, a folder or a name on the hub, see `ResNetTrunk`; None is random ones.

    Attributes:
        grid: the `Grid` of the maps in cells. Cell i stands at pixel 4 i of the image: no half-pixel shift, as in the
            authors' published code.
        stride: 4, pixels per cell.

    Raises:
        ValueError: a number below 1, a size that is not made of multiples of 32, or as of `ResNetTrunk`.

    Example:
        >>> import torch
        >>> from pcsargmax import SimplePose, soft_argmax
        >>> network = SimplePose(5, "tiny", size=(64, 96), deconv_channels=16)
        >>> logits = network(torch.rand(1, 3, 64, 96))
        >>> logits.shape, soft_argmax(logits, network.grid).shape
        (torch.Size([1, 5, 16, 24]), torch.Size([1, 5, 2]))
    """

    stride = 4

    def __init__(
        self,
        num_keypoints: int,
        trunk: str = "resnet18",
        *,
        size: tuple[int, int] = (256, 192),
        depth_bins: int | None = None,
        deconv_channels: int = 256,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        numbers = {"num_keypoints": num_keypoints, "depth_bins": depth_bins, "deconv_channels": deconv_channels}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ValueError(f"{name}: expected at least 1, got {number}")
        check_size("size", size, ResNetTrunk.stride)
        self.size = (size[0], size[1])
        depth = () if depth_bins is None else (depth_bins,)
        self.grid = Grid((*depth, size[0] // self.stride, size[1] // self.stride))
        self.num_keypoints = num_keypoints
        self.trunk = ResNetTrunk(trunk, weights=weights)
        widths = (self.trunk.channels, deconv_channels, deconv_channels)
        self.deconvolutions = nn.Sequential(*(_deconvolution(width, deconv_channels) for width in widths))
        self.scores = nn.Conv2d(deconv_channels, num_keypoints * (depth_bins or 1), kernel_size=1)
        nn.init.normal_(self.scores.weight, std=_WEIGHT_STD)
        assert self.scores.bias is not None
        nn.init.zeros_(self.scores.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps of images.

        Args:
            images: (B, 3, H, W) floating, of the `size` given.

        Returns:
            logits (B, K, H/4, W/4), with depth bins (B, K, depth_bins, H/4, W/4).

        Raises:
            ValueError: images of another shape.
        """
        expected = (self.trunk.in_channels, *self.size)
        if images.shape[1:] != expected:
            told = f"(B, {', '.join(map(str, expected))})"
            raise ValueError(f"images: expected shape {told}, got {tuple(images.shape)}")
        scores: Tensor = self.scores(self.deconvolutions(self.trunk(images)))
        return scores.unflatten(1, (self.num_keypoints, *self.grid.shape[:-2]))


def _deconvolution(inner: int, outer: int) -> nn.Sequential:
    """Return twice the resolution: transposed convolution, batch normalisation, ReLU."""
    deconvolution = nn.ConvTranspose2d(inner, outer, kernel_size=4, stride=2, padding=1, bias=False)
    nn.init.normal_(deconvolution.weight, std=_WEIGHT_STD)
    return nn.Sequential(deconvolution, nn.BatchNorm2d(outer), nn.ReLU(inplace=True))
