"""Drawn faces with 68 points: a stand-in for face alignment."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pcsargmax.datasets.images.folder import FACE_68_PAIRS
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.datasets.images.procedural.canvas import Canvas, background, photograph, scatter, texture
from pcsargmax.datasets.images.procedural.drawn import Drawn
from pcsargmax.datasets.images.procedural.face_shape import NAMES, PARTS, face, turned

Floats = NDArray[np.float64]

#: Places along the side of a pixel: what is drawn finer and then averaged has soft edges.
_FINE = 3
#: The rest of a head: above the ends of the jaw, and the hair around.
_BROW_ARC = np.deg2rad(np.linspace(-8, 188, 15))


class ProceduralFaces(Drawn):
    """Faces with the 68 points of the usual face annotations, drawn with hair, brows, eyes, nose and lips.

    Proportions, expression, colours and light vary; heads turn up to 45° aside. Points are those of the solid head,
    also where the head itself hides them; on some images a thing hides more. The outer eye corners are rows 36 and 45.

    Args:
        split: "train", "val" or "test".
        num_items: images; None: 800, 100 and 400.
        size: height and width, or one number for both.
        seed: of all that is drawn.

    Example:
        >>> from pcsargmax.datasets.images import ProceduralFaces
        >>> faces = ProceduralFaces("test", size=64)
        >>> len(faces), faces[0].image.shape, faces[0].keypoints.shape
        (400, (64, 64, 3), (68, 2))
    """

    kind: ClassVar[str] = "face"
    keypoint_names = NAMES
    flip_pairs = FACE_68_PAIRS
    dimension = 2

    def __getitem__(self, index: int) -> ImageItem:
        """Draw an item."""
        number = self._number(index)
        rng = self._rng(number)
        points, head = _placed(rng, self.size)
        canvas = background(rng, self.size, clutter=int(rng.integers(2, 8)))
        _draw(canvas, rng, points, head)
        if rng.random() < 0.3:
            scatter(canvas, rng, depth=0.0, largest=0.2)
        return ImageItem(
            name=self._name(number),
            image=photograph(canvas.color, rng),
            keypoints=points[:, :2],
            visible=np.ones(len(points), dtype=bool),
            extra={},
        )


def _placed(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Floats, dict[str, Floats]]:
    """A face in the image: (68, 3) points in pixels, and the outlines (n, 3) of the rest of the head."""
    height, width = size
    points = face(rng)
    ends = points[[0, 16]]
    middle, half = ends.mean(0), (ends[1] - ends[0])[0] / 2
    rise = rng.uniform(1.0, 1.25)
    arc = np.stack([np.cos(_BROW_ARC), -rise * np.sin(_BROW_ARC) - 0.05, 0.2 * np.sin(_BROW_ARC)], axis=1)
    crown = np.stack([1.12 * np.cos(_BROW_ARC), -1.14 * rise * np.sin(_BROW_ARC), 0 * _BROW_ARC - 0.55], axis=1)
    hang = rng.uniform(0.0, 1.4) if rng.random() < 0.5 else 0.1
    sides = np.array([[-1.15, hang, -0.5], [1.15, hang, -0.5]])
    parts = [points, middle + half * arc, middle + half * np.concatenate([crown, sides])]
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    every = turned(np.concatenate(parts), rng)
    every[:, :2] *= (1 + 0.08 * every[:, 2:]) * rng.uniform(0.28, 0.36) * min(height, width)
    inner = every[: len(points), :2]
    free = np.array([width, height]) - 1 - (inner.max(0) - inner.min(0))
    every[:, :2] += free * rng.uniform(0.25, 0.75, 2) - inner.min(0)
    points, forehead, hair = np.split(every, cuts)
    return points, {"forehead": forehead, "hair": hair}


def _draw(canvas: Canvas, rng: np.random.Generator, points: Floats, head: dict[str, Floats]) -> None:
    """Lay the head over the canvas."""
    height, width = canvas.shape
    layer = Image.new("RGBA", (_FINE * width, _FINE * height))
    pen = _Pen(ImageDraw.Draw(layer), points)
    skin = rng.uniform(0.35, 1.0) * np.array([1.0, rng.uniform(0.72, 0.86), rng.uniform(0.55, 0.78)])
    hair = rng.uniform(0.03, 0.75) * np.array([1.0, rng.uniform(0.7, 1), rng.uniform(0.4, 1)])
    bald = rng.random() < 0.12
    if not bald:
        pen.fill(head["hair"][:, :2], hair)
    pen.fill(np.concatenate([points[:17, :2], head["forehead"][:, :2]]), skin)
    if not bald and rng.random() < 0.6:  # a fringe
        low = 0.35 + rng.uniform(0, 0.25)
        arc = head["forehead"][2:-2, :2]
        brow = points[17:27, :2].mean(0)
        pen.fill(np.concatenate([arc, (arc + low * (brow - arc))[::-1]]), hair)
    _features(pen, rng, points, skin, hair)
    drawn = np.asarray(layer.reduce(_FINE), dtype=np.float64) / 255
    light = _light(rng, points, canvas.shape)[..., None]
    canvas.color += drawn[..., 3:] * (np.clip(drawn[..., :3] * light, 0, 1) - canvas.color)


def _features(pen: _Pen, rng: np.random.Generator, points: Floats, skin: Floats, hair: Floats) -> None:
    """Brows, eyes, nose and lips, by their points."""
    unit = float(np.linalg.norm(points[45, :2] - points[36, :2])) / 2  # half the distance of the eyes
    shade, dark = skin * rng.uniform(0.6, 0.8), skin * rng.uniform(0.25, 0.45)
    thick = unit * rng.uniform(0.08, 0.2)
    for part in ("right_brow", "left_brow"):
        pen.line(PARTS[part], hair * 0.8, thick)
    iris = rng.uniform(0.05, 0.45, 3)
    lined = rng.random() < 0.5
    for part in ("right_eye", "left_eye"):
        rows = PARTS[part]
        pen.fill(rows, np.array([0.92, 0.92, 0.9]) * rng.uniform(0.85, 1.0))
        eye = points[list(rows), :2]
        opened = float(np.linalg.norm(eye[1:3].mean(0) - eye[4:6].mean(0)))
        pen.disc(eye.mean(0), min(0.2 * unit, 0.6 * opened), iris)
        pen.line([*rows, rows[0]], dark, unit * (0.06 if lined else 0.035))
    pen.line(PARTS["nose_bridge"], shade, unit * rng.uniform(0.03, 0.09))
    pen.line(PARTS["nose_base"], dark, unit * rng.uniform(0.04, 0.08))
    lips = np.clip(skin * np.array([1.0, rng.uniform(0.5, 0.85), rng.uniform(0.55, 0.9)]) * rng.uniform(0.7, 1), 0, 1)
    pen.fill(PARTS["outer_lip"], lips)
    pen.fill(PARTS["inner_lip"], lips * rng.uniform(0.15, 0.5))
    if rng.random() < 0.15:
        frame = rng.uniform(0, 0.3, 3)
        for part in ("right_eye", "left_eye"):
            pen.ring(points[list(PARTS[part]), :2].mean(0), 0.48 * unit, frame, 0.07 * unit)


def _light(rng: np.random.Generator, points: Floats, shape: tuple[int, int]) -> Floats:
    """How bright the head is (H, W): lit from one side, with smooth spots."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    jaw = points[:17, :2]
    place = (np.stack([x, y], axis=-1) - jaw.mean(0)) / np.ptp(jaw, axis=0).max()
    slope = rng.normal(0, 0.35, 2)
    return np.asarray(np.clip(1 + place @ slope + 0.05 * texture(rng, shape, 6), 0.35, 1.35))


class _Pen:
    """Draws in pixels of the image, whose first has its centre at (0, 0), on a layer that is `_FINE` times finer."""

    def __init__(self, draw: ImageDraw.ImageDraw, points: Floats) -> None:
        self._draw, self._points = draw, points

    def _places(self, places: Floats | Iterable[int]) -> list[tuple[float, float]]:
        """Rows of the points, or places (n, 2), on the finer layer."""
        xy = places if isinstance(places, np.ndarray) else self._points[np.array(list(places)), :2]
        return [(float(x), float(y)) for x, y in (xy + 0.5) * _FINE]

    def fill(self, places: Floats | Iterable[int], color: Floats) -> None:
        self._draw.polygon(self._places(places), fill=_ink(color))

    def line(self, places: Floats | Iterable[int], color: Floats, width: float) -> None:
        # Of bars and discs, for Pillow's own lines lie up to half a fine pixel beside their places.
        # An outline is drawn as part of a polygon, which makes it wider by a fine pixel.
        ends, half = np.array(self._places(places)), max(0.2, _FINE * width / 2 - 0.5)
        for a, b in pairwise(ends):
            across = half * np.array([a[1] - b[1], b[0] - a[0]]) / max(float(np.linalg.norm(b - a)), 1e-9)
            self._draw.polygon([tuple(p) for p in (a - across, b - across, b + across, a + across)], fill=_ink(color))
        for x, y in ends[1:-1]:
            self._draw.ellipse((x - half, y - half, x + half, y + half), fill=_ink(color))

    def disc(self, middle: Floats, radius: float, color: Floats) -> None:
        self._draw.ellipse(self._round(middle, radius), fill=_ink(color))

    def ring(self, middle: Floats, radius: float, color: Floats, width: float) -> None:
        self._draw.ellipse(self._round(middle, radius), outline=_ink(color), width=max(1, round(_FINE * width)))

    def _round(self, middle: Floats, radius: float) -> tuple[float, float, float, float]:
        (x, y), r = self._places(middle[None])[0], _FINE * radius
        return (x - r, y - r, x + r, y + r)


def _ink(color: Floats) -> tuple[int, int, int, int]:
    red, green, blue = np.clip(np.rint(255 * np.asarray(color)), 0, 255).astype(int).tolist()
    return (red, green, blue, 255)
