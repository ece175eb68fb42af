"""Draw the pictures of the README that show what a drawing consists of, from a procedural chair and made-up maps.

    python docs/draw_pictures.py            # scene.png and pair.png, beside this file

Nothing is trained, so they come out the same everywhere, and a test holds what is drawn against them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from pcsargmax import Gaussian, KeypointDistribution
from pcsargmax.datasets.procedural import KEYPOINTS, draw_model
from pcsargmax.predictions.cloud import Prediction, Surface, SymmetryMark
from pcsargmax.visualize import Look, render, render_pair

#: What is drawn: short name of a keypoint, its name in the category, and how far its map is off, in diagonals.
SHOWN = {
    "front left": ("seat front left", 0.03),
    "front right": ("seat front right", 0.02),
    "top left": ("back top left", 0.01),
    "top right": ("back top right", 0.025),
}
#: Width of the maps of the scene, and of the two methods of the pair.
WIDTH, WIDE, NARROW = 0.06, 0.09, 0.03


def chair(width: float) -> Prediction:
    """A chair with maps that fall off as a Gaussian of this width around a point beside the truth."""
    model = draw_model("chair", 3)
    number = {name: key for key, name in KEYPOINTS["chair"].items()}
    truth = np.stack([model.points[model.keypoints[number[name]][0]] for name, _ in SHOWN.values()])
    towards = np.array([1.0, 0.6, -0.8]) / np.linalg.norm([1.0, 0.6, -0.8])
    aim = truth + np.array([off for _, off in SHOWN.values()])[:, None] * towards
    points = torch.from_numpy(model.points)
    logits = -torch.cdist(torch.from_numpy(aim), points).square() / (2 * width**2)
    maps = KeypointDistribution(logits[None], points[None], basis=Gaussian(0.01))
    position = maps.mean[0].numpy()
    return Prediction(
        name="a procedural chair",
        points=model.points,
        keypoint_names=tuple(SHOWN),
        position=position,
        confidence=maps.mass_within(0.1)[0].numpy(),
        covariance=maps.covariance[0].numpy(),
        visibility=np.ones(len(SHOWN)),
        point_index=np.linalg.norm(model.points - position[:, None], axis=-1).argmin(axis=1),
        probability=maps.probabilities[0].numpy(),
        truth=truth,
        samples=maps.sample(60, generator=torch.Generator().manual_seed(0))[0].numpy(),
        surface=Surface(model.vertices, model.faces),
        symmetries=(SymmetryMark("reflection", (0, 1)), SymmetryMark("reflection", (2, 3))),
    )


def draw_scene(path: Path) -> Path:
    """Draw all that a picture can have: map, mesh, samples, ellipsoids, truth with error lines, symmetries."""
    look = Look(keypoint="top right", log_scale=True, samples=True, ellipsoids=2)
    return render(chair(WIDTH), path, look, size=(960, 640), azimuth=-145)


def draw_pair(path: Path) -> Path:
    """Draw two maps of one keypoint from one camera, in one scale."""
    look = Look(keypoint="top right", surface=False, symmetries=False)
    return render_pair(
        chair(WIDE), chair(NARROW), path, look, names=("wide map", "narrow map"), size=(1120, 520), azimuth=-145
    )


PICTURES = {"scene.png": draw_scene, "pair.png": draw_pair}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    for name, draw in PICTURES.items():
        print(draw(arguments.out / name))
