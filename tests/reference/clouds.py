"""A random cloud item for tests."""

import torch
from torch_geometric.data import Data


def cloud(n: int = 50, dtype: torch.dtype = torch.float64, seed: int = 0) -> Data:
    """A random cloud; keypoint 1 is absent, the others are points 3 and 7."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0]) + 5
    keypoint_pos = torch.stack([pos[3], torch.zeros(3), pos[7]])[None]
    return Data(
        pos=pos.to(dtype),
        normal=torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=dtype), dim=1),
        color=torch.arange(3 * n).reshape(n, 3).to(torch.uint8),
        keypoint_pos=keypoint_pos.to(dtype),
        keypoint_visible=torch.tensor([[True, False, True]]),
        keypoint_site=torch.tensor([[3, -1, 7]]),
        farthest_order=True,
    )
