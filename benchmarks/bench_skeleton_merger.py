"""Time and peak memory of a training step of Skeleton Merger, beside the network and its loss written out plainly.

    python benchmarks/bench_skeleton_merger.py                       # about two minutes on two cores
    python benchmarks/bench_skeleton_merger.py --data chair --runs 5

A step is forward, loss and backward, without the optimiser. "plain" is the original's way: farthest points, balls and
neighbours are found in every step, groups hold their repeated entries, every layer and all distances are kept; the
paper's own code took 1.5 times as long on one core of a busy machine. Ours takes neighbourhoods that were found
before, as training does; "and geometry" finds them in the step. The plain form of "original" is the yardstick of all
rows; all forms are timed in turn in one process, and ratios are those of their fastest runs. So that edges are as
long as a trained network's, each keypoint's map is drawn to a point of its own. Memory is the growth of the process's
peak (Linux), or of the allocator's (CUDA).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import peak, seconds
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax import soft_argmax
from pcsargmax.backbones.pointnet2 import Neighborhoods
from pcsargmax.datasets.procedural import FAMILIES, draw_model
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.ops.neighbors import farthest_point_order
from pcsargmax.ops.skeleton import skeleton_loss
from pcsargmax.transforms.frames import NormalizeMinMax

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference import skeleton as plain_skeleton
from reference import skeleton_merger_network as plain_network

#: The form that the others are compared with.
PLAIN = "original, plain"
#: Added to a keypoint's score at its own point: nearly all of the map's mass among some thousand points.
PULL = 12.0


def clouds(category: str, count: int, num_points: int) -> Tensor:
    """Return (B, N, 3) procedural shapes in the min-max frame, in farthest-point order."""
    shapes = (draw_model(category, number, num_points=num_points).points for number in range(count))
    points = [NormalizeMinMax()(Data(pos=torch.as_tensor(shape).float())).pos for shape in shapes]
    return torch.stack([pos[farthest_point_order(pos)] for pos in points])


def apart(logits: Tensor) -> Tensor:
    """Pull the k-th map (B, K, N) to the k-th point; the first in farthest-point order are far apart."""
    return logits + PULL * torch.eye(*logits.shape[1:], device=logits.device)


def plain_step(model: SkeletonMerger, pos: Tensor) -> Tensor:
    """Return the loss of a network and its loss written out, after its backward pass."""
    logits, strengths = plain_network.forward(model, pos)
    keypoints = torch.softmax(apart(logits), dim=-1) @ pos
    loss = sum(plain_skeleton.skeleton_loss(keypoints, strengths, model.offsets, pos))
    loss.backward()
    return loss.detach()


def our_step(model: SkeletonMerger, pos: Tensor, batch: Tensor, known: Neighborhoods | None) -> Tensor:
    """Return our loss after its backward pass; neighbourhoods that are not known are found."""
    flat = pos.flatten(0, 1)
    known = model.backbone.neighborhoods(flat, batch) if known is None else known
    logits, sites, mask, strengths = model(flat, batch, known)
    keypoints = soft_argmax(apart(logits), sites, mask=mask)
    loss = skeleton_loss(keypoints, strengths, model.offsets, sites, mask).total.mean()
    loss.backward()
    return loss.detach()


def forms(keypoints: int, pos: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Name -> a training step; "plain original" and "original" have the same parameters."""
    batch = torch.arange(len(pos), device=pos.device).repeat_interleave(pos.shape[1])
    models = {name: SkeletonMerger(keypoints, name, dropout=0.0).to(pos.device) for name in ("original", "light")}
    found: dict[str, Callable[[], Tensor]] = {}
    for name, model in models.items():
        known = model.backbone.neighborhoods(pos.flatten(0, 1), batch)
        found[f"{name}, plain"] = partial(plain_step, model, pos)
        found[name] = partial(our_step, model, pos, batch, known)
        found[f"{name}, and geometry"] = partial(our_step, model, pos, batch, None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mug", choices=sorted(FAMILIES), help="procedural category")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--keypoints", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5, help="of each form; the fastest counts")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    pos = clouds(arguments.data, arguments.batch_size, arguments.points).to(arguments.device)
    steps = forms(arguments.keypoints, pos)
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads; {arguments.data},")
    print(f"batch {len(pos)}, {pos.shape[1]} points, {arguments.keypoints} keypoints\n")
    losses = {name: step().item() for name, step in steps.items()}  # and the first, slower run of each
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.runs):
        for name, step in steps.items():
            times[name].append(seconds(step, arguments.device))
    peaks = {name: peak(step, arguments.device) for name, step in steps.items()}
    fastest = {name: min(taken) for name, taken in times.items()}
    print("| training step | loss | time | times faster | memory | times less |")
    print("|---|---|---|---|---|---|")
    for name in steps:
        faster, less = fastest[PLAIN] / fastest[name], peaks[PLAIN] / peaks[name]
        print(
            f"| {name} | {losses[name]:.3f} | {fastest[name]:.3f} s | {faster:.1f} "
            f"| {peaks[name]:.0f} MB | {less:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
