"""One line of a plain torch network, its soft-argmax layer, becomes sampling-argmax; all else stays as it is.

    python examples/soft_argmax_replaced.py

The network finds a dark and a bright spot in noisy pictures. It ends as many do: one map of scores per keypoint, and a
layer that turns maps into coordinates, here in the convention of DSNT (from −1 to 1 between the picture's borders).
Takes half a minute on one core.
"""

import argparse

import torch
from torch import Tensor, nn

from pcsargmax import Grid, GridArgmax

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=400)
arguments = parser.parse_args()

SIDE = 24


class SoftArgmax(nn.Module):
    """What the network had: the mean of the softmax of each map (B, K, H, W), as (x, y) in (B, K, 2)."""

    def forward(self, scores: Tensor) -> Tensor:
        """Average the cells' coordinates."""
        maps = scores.flatten(2).softmax(dim=2).unflatten(2, scores.shape[2:])
        y, x = ((2 * torch.arange(n) + 1) / n - 1 for n in scores.shape[2:])
        return torch.stack([(maps.sum(2) * x).sum(2), (maps.sum(3) * y).sum(2)], dim=2)


class Network(nn.Module):
    """Pictures (B, 1, H, W) to keypoints (B, 2, 2)."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU()]
        self.scores = nn.Sequential(*layers, nn.Conv2d(16, 2, 5, padding=2))
        self.coordinates: nn.Module = SoftArgmax()

    def forward(self, pictures: Tensor) -> Tensor:
        """Score every pixel, then localise."""
        return self.coordinates(self.scores(pictures))


def pictures(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy pictures (B, 1, 24, 24) and the places of both spots in each (B, 2, 2), from −1 to 1."""
    place = 1.6 * torch.rand(count, 2, 2, generator=generator) - 0.8
    away = Grid.normalized((SIDE, SIDE), "centers").positions() - place.unsqueeze(2)  # (B, 2, L, 2)
    bright, dark = torch.exp(-away.square().sum(-1) / 0.02).unbind(1)
    noise = 0.5 * torch.randn(count, SIDE * SIDE, generator=generator)
    return (bright - dark + noise).unflatten(1, (1, SIDE, SIDE)), place


for name in ("soft-argmax", "sampling-argmax"):
    torch.manual_seed(0)
    network, generator = Network(), torch.Generator().manual_seed(1)
    if name == "sampling-argmax":
        network.coordinates = GridArgmax(Grid.normalized((SIDE, SIDE), "centers"), squeeze=True)  # the line
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(arguments.steps):
        seen, place = pictures(32, generator)
        loss = (network(seen) - place).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()  # no draws any more: the expectation, which the layer before returned too
    with torch.no_grad():
        seen, place = pictures(500, torch.Generator().manual_seed(2))
        error = (network(seen) - place).norm(dim=2) * SIDE / 2
        maps = GridArgmax((SIDE, SIDE)).distribution(network.scores(seen))  # of either network, in pixels
    print(
        f"{name:16} mean error {error.mean():.2f} pixels, median {error.median():.2f}, spread {maps.spread.mean():.2f}"
    )
