"""Figures with joints before cluttered backgrounds: a stand-in for human pose, in two and three dimensions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pcsargmax.datasets.images.camera import Camera
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.datasets.images.procedural.canvas import Canvas, background, photograph, scatter
from pcsargmax.datasets.images.procedural.drawn import Drawn
from pcsargmax.datasets.images.procedural.skeleton import FLIP_PAIRS, JOINTS, pose

Floats = NDArray[np.float64]

#: Limbs: two joints, radii there in millimetres, and what they wear. The trunk is drawn by itself.
_LIMBS = (
    (1, 2, 80, 56, "thigh"),
    (4, 5, 80, 56, "thigh"),
    (2, 3, 56, 38, "shin"),
    (5, 6, 56, 38, "shin"),
    (12, 13, 55, 42, "arm"),
    (9, 10, 55, 42, "arm"),
    (13, 14, 42, 30, "forearm"),
    (10, 11, 42, 30, "forearm"),
    (7, 8, 50, 55, "neck"),
    (8, 8, 100, 100, "head"),
)
#: What the parts wear, alike on the right and the left, so that a mirrored figure is one too.
_COLORS = {
    "trunk": (0.85, 0.75, 0.25),
    "arm": (0.85, 0.2, 0.15),
    "forearm": (0.95, 0.6, 0.5),
    "thigh": (0.15, 0.25, 0.8),
    "shin": (0.2, 0.7, 0.75),
    "neck": (0.8, 0.65, 0.55),
}
#: The joints that the trunk has, by its number as a limb.
_TRUNK, _TRUNK_JOINTS = len(_LIMBS), (0, 1, 4, 7, 9, 12)
#: Number by which the canvas remembers what stands before the figure.
_BEFORE = 1000


class ProceduralFigures(Drawn):
    """Figures with 15 joints, drawn as shaded limbs in random poses and builds, before clutter.

    Limbs have about the same colours in all images, right and left alike: which side is which must be told from where
    they are and where the face looks. The figure turns up to 50° away from the camera; limbs hide one another, and on
    some images a thing stands before it. All joints lie in the image and are visible in the sense of annotated;
    `extra["occluded"]` (15,) tells which are hidden.

    An item's box holds the whole figure. With three dimensions the depth is in millimetres relative to the pelvis, and
    `extra` has the camera and the root's depth that turn positions back into millimetres (`images.to_camera`).

    Args:
        split: "train", "val" or "test".
        num_items: images; None: 800, 100 and 400.
        size: height and width, or one number for both.
        seed: of all that is drawn.
        dimension: 2, or 3 for depth.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFigures, to_camera
        >>> item = ProceduralFigures("test", dimension=3)[0]
        >>> item.keypoints.shape  # x, y in pixels, depth relative to the pelvis in mm
        (15, 3)
        >>> to_camera(item.keypoints, item.extra).shape  # X, Y, Z in mm
        (15, 3)
    """

    kind: ClassVar[str] = "figure"
    keypoint_names = JOINTS
    flip_pairs = FLIP_PAIRS

    def __init__(
        self,
        split: str = "train",
        *,
        num_items: int | None = None,
        size: int | tuple[int, int] = 96,
        seed: int = 0,
        dimension: int = 2,
    ) -> None:
        """See the class."""
        super().__init__(split, num_items=num_items, size=size, seed=seed)
        if dimension not in (2, 3):
            raise ValueError(f"dimension must be 2 or 3, got {dimension}")
        self.dimension = dimension

    def __getitem__(self, index: int) -> ImageItem:
        """Draw an item."""
        number = self._number(index)
        rng = self._rng(number)
        joints, gaze = pose(rng)
        camera, root_depth = _camera(rng, joints, self.size)
        placed = camera.to_pixels(joints + np.array([0, 0, root_depth]))
        canvas = background(rng, self.size, clutter=int(rng.integers(3, 9)))
        _draw(canvas, rng, placed, gaze, camera.focal[0])
        if rng.random() < 0.6:
            scatter(canvas, rng, depth=0.0, largest=0.2, owner=_BEFORE)
        place, depth = placed[:, :2], joints[:, 2:]
        extra = {"camera": camera, "root_depth": root_depth, "occluded": _occluded(canvas, place)}
        return ImageItem(
            name=self._name(number),
            image=photograph(canvas.color, rng),
            keypoints=place if self.dimension == 2 else np.concatenate([place, depth], axis=1),
            visible=np.ones(len(place), dtype=bool),
            box=_box(place, self.size),
            extra=extra,
        )


def _camera(rng: np.random.Generator, joints: Floats, size: tuple[int, int]) -> tuple[Camera, float]:
    """A camera that has the whole figure in its picture, not always in the middle, and the depth of the pelvis."""
    height, width = size
    root_depth = float(rng.uniform(3000, 5000))
    flat = joints[:, :2] / (joints[:, 2:] + root_depth)
    low, high = flat.min(0), flat.max(0)
    room = np.array([width, height]) * rng.uniform(0.6, 0.86)
    focal = float((room / (high - low)).min())
    free = np.array([width, height]) - 1 - focal * (high - low)
    margin = np.minimum(0.06 * np.array([width, height]), 0.5 * free)
    corner = margin + rng.uniform(0, 1, 2) * (free - 2 * margin)
    return Camera(np.array([focal, focal]), corner - focal * low), root_depth


def _draw(canvas: Canvas, rng: np.random.Generator, placed: Floats, gaze: Floats, focal: float) -> None:
    """Draw the limbs, the far ones first; `placed` (15, 3) are x, y in pixels and depth from the camera."""
    wear = _clothes(rng)
    light = rng.normal(size=3) * (0.8, 0.6, 0) - (0, 0.4, 1)
    light /= np.linalg.norm(light)
    place, depth = placed[:, :2], placed[:, 2]
    hair = rng.uniform(0.02, 0.45) * np.array([1, rng.uniform(0.6, 1), rng.uniform(0.3, 1)])
    plump = rng.uniform(0.85, 1.25)
    _draw_trunk(canvas, place, depth, plump * focal / depth[0], wear["trunk"], light)
    for number in sorted(range(len(_LIMBS)), key=lambda n: -depth[list(_LIMBS[n][:2])].mean()):
        first, second, *radii, what = _LIMBS[number]
        scale = plump * focal / depth[[first, second]]
        canvas.limb(
            place[[first, second]],
            (radii[0] * scale[0], radii[1] * scale[1]),
            wear[what],
            light=light,
            depths=(depth[first], depth[second]),
            thickness=plump * float(np.mean(radii)),
            other=(gaze, hair) if what == "head" else None,
            owner=number,
        )


def _draw_trunk(canvas: Canvas, place: Floats, depth: Floats, scale: float, color: Floats, light: Floats) -> None:
    """Draw the trunk, as wide as hips and shoulders are apart in the picture; `scale` is pixels a millimetre."""
    hips, shoulders = (float(np.linalg.norm(place[a] - place[b])) / 2 for a, b in ((1, 4), (9, 12)))
    # The round ends reach beyond the axis, so it ends before the neck.
    top = 1 - min(0.6, (shoulders + 20 * scale) / max(float(np.linalg.norm(place[7] - place[0])), 1e-9))
    canvas.limb(
        [place[0], place[0] + top * (place[7] - place[0])],
        (hips + 45 * scale, shoulders + 35 * scale),
        color,
        light=light,
        depths=(depth[0], depth[0] + top * (depth[7] - depth[0])),
        thickness=90.0,
        owner=_TRUNK,
    )


def _clothes(rng: np.random.Generator) -> dict[str, Floats]:
    """Colours of the parts: near those of `_COLORS`, more or less faded; the skin of the face is drawn anew."""
    skin = rng.uniform(0.4, 1.0) * np.array([1.0, rng.uniform(0.7, 0.85), rng.uniform(0.5, 0.75)])
    fade = rng.uniform(0.0, 0.35)
    worn = {
        part: np.clip(np.array(color) + fade * (0.5 - np.array(color)) + rng.normal(0, 0.08, 3), 0, 1)
        for part, color in _COLORS.items()
    }
    return worn | {"head": skin}


def _occluded(canvas: Canvas, place: Floats) -> NDArray[np.bool_]:
    """Which joints are hidden: what is drawn at their pixel is no limb that meets there."""
    column, row = np.rint(place).astype(int).T
    owner = canvas.owner[row, column]
    meet = {number: limb[:2] for number, limb in enumerate(_LIMBS)} | {_TRUNK: _TRUNK_JOINTS, -1: range(len(place))}
    return np.array([joint not in meet.get(number, ()) for joint, number in enumerate(owner.tolist())])


def _box(place: Floats, size: tuple[int, int]) -> Floats:
    """The box of the joints, a tenth larger on each side, within the image: x, y, width, height."""
    low, high = place.min(0), place.max(0)
    margin = 0.1 * (high - low).max()
    low = np.maximum(low - margin, -0.5)
    high = np.minimum(high + margin, np.array(size[::-1]) - 0.5)
    return np.concatenate([low, high - low])
