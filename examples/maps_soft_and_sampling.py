"""What the two losses do to the maps of a network of your own: soft-argmax and sampling-argmax on the same signals.

    python examples/maps_soft_and_sampling.py --out figures

Each signal has a bump, whose place is to be found, in noise. Two equal networks begin with the same weights and see the
same signals; only the loss differs. Soft-argmax cares for the mean of a map alone, so that maps of several peaks will
do; sampling-argmax asks for maps whose every sample is near. Takes half a minute on one core.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from pcsargmax import Grid, KeypointDistribution, Triangular, error_of_expectation, expected_error
from pcsargmax.metrics.sparsification import sparsification_curve as surest_first
from pcsargmax.visualize import basis_figure, map_figure, pck_curve, sparsification_curve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", type=Path, default=Path("figures"))
parser.add_argument("--steps", type=int, default=2000)
arguments = parser.parse_args()

grid, basis = Grid((40,)), Triangular()  # 40 cells are the sites; lengths are in cells


def signals(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (B, 40) and the place of the bump in each (B, 1, 1)."""
    place = 4 + 31 * torch.rand(count, 1, 1, generator=generator)
    height = 0.5 + torch.rand(count, 1, generator=generator)
    bump = torch.exp(-(grid.positions()[:, 0] - place[:, 0]).square() / 8)
    return height * bump + 0.3 * torch.randn(bump.shape, generator=generator), place


def trained(method: str) -> nn.Module:
    """A small network from signals (B, 40) to logits (B, 40), trained by the loss of a method."""
    torch.manual_seed(0)
    layers = [nn.Linear(40, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 40)]
    network = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(arguments.steps):
        signal, place = signals(64, generator)
        logits = network(signal)[:, None]  # (B, K, L), of one keypoint
        if method == "soft-argmax":
            loss = error_of_expectation(logits, grid, place)
        else:
            loss = expected_error(logits, grid, place, basis=basis, num_samples=10, generator=generator)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    return network


signal, place = signals(1000, torch.Generator().manual_seed(2))
maps, errors, curves = {}, {}, {}
for method in ("soft-argmax", "sampling-argmax"):
    network = trained(method)
    with torch.no_grad():
        maps[method] = KeypointDistribution(network(signal)[:, None], grid, basis=basis)
    pi = torch.nn.functional.pad(maps[method].probabilities, (1, 1))
    peaks = (pi[..., 1:-1] > pi[..., :-2]) & (pi[..., 1:-1] > pi[..., 2:]) & (pi[..., 1:-1] > 0.05)
    error = (maps[method].mean - place).norm(dim=-1)
    errors[method], curves[method] = error.numpy(), surest_first(-maps[method].spread.flatten(), error.flatten())
    several = (peaks.sum(dim=-1) > 1).float().mean()
    print(f"{method:16s} mean error {error.mean():.2f} cells, {several:4.0%} of the maps have several peaks")

# Figure 2 of the paper, the densities around the cells, and Figure 4 on a line, the maps of one signal.
basis_figure(path=arguments.out / "bases.png")
map_figure(maps, item=3, truth=place[3, 0].numpy(), same_scale=True, path=arguments.out / "maps.png")
pck_curve(errors, torch.linspace(0, 3, 101).numpy(), unit="cells", path=arguments.out / "pck.png")
sparsification_curve(curves, unit="cells", path=arguments.out / "sparsification.png")
print(f"drawn in {arguments.out}")
