"""Images and slices as networks take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Taken off the channels of images within [0, 1], as in the authors' published code: the mean of ImageNet.
CHANNEL_MEAN = (0.485, 0.456, 0.406)


def to_tensor(image: np.ndarray) -> Tensor:
    """(3, h, w) float32, centred, of an image (h, w, 3) uint8."""
    values = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    return values - torch.tensor(CHANNEL_MEAN)[:, None, None]


def slice_tensor(image: np.ndarray) -> Tensor:
    """(1, H, W) float32 of a slice (H, W) or (H, W, 3) uint8: grey, of mean 0 and standard deviation 1."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    values = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))
    return ((values - values.mean()) / values.std().clamp_min(1e-3))[None]
