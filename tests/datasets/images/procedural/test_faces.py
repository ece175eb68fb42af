import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pcsargmax.datasets.images.folder import FACE_68_PAIRS
from pcsargmax.datasets.images.item import flip_order
from pcsargmax.datasets.images.procedural import ProceduralFaces
from pcsargmax.datasets.images.procedural.face_shape import PARTS, face
from pcsargmax.datasets.images.procedural.faces import _Pen
from pcsargmax.metrics.normalized_error import OUTER_EYE_CORNERS, pair_length


def test_pairs_mirror_the_face():
    points = np.mean([face(np.random.default_rng(number)) for number in range(400)], axis=0)
    order = flip_order(68, FACE_68_PAIRS)
    np.testing.assert_allclose((points * (-1, 1, 1))[order], points, atol=0.02)


def test_outer_eye_corners_are_a_good_length():
    items = list(ProceduralFaces(num_items=60))
    target = torch.from_numpy(np.array([item.keypoints for item in items]))
    length = pair_length(target, torch.ones(60, 68, dtype=torch.bool), OUTER_EYE_CORNERS)
    assert length.min() > 15
    assert 30 < length.mean() < 50


def test_eyes_and_lips_are_drawn_where_the_points_say():
    """An open mouth is darker than the skin beside it, at the very points."""
    differences = []
    for item in ProceduralFaces(num_items=80):
        points, grey = item.keypoints, item.image.mean(axis=2)
        top, bottom = points[62], points[66]
        if bottom[1] - top[1] < 4:
            continue
        mouth, chin = np.rint((top + bottom) / 2).astype(int), np.rint((points[57] + points[8]) / 2).astype(int)
        differences.append(grey[chin[1], chin[0]] - grey[mouth[1], mouth[0]])
    assert len(differences) > 8
    assert np.median(differences) > 30


def test_parts_are_all_points():
    rows = [row for rows in PARTS.values() for row in rows]
    assert rows == list(range(68))
    assert ProceduralFaces().keypoint_names[36] == "right_eye_0"
    assert ProceduralFaces().keypoint_names[8] == "jaw_8"
    assert ProceduralFaces().dimension == 2
    assert pytest.approx(1.0, abs=0.2) == np.ptp(face(np.random.default_rng(0))[:17, 0]) / 2


@pytest.mark.parametrize("shape", ["fill", "disc", "ring", "line", "thin line"])
def test_the_pen_draws_where_it_is_told(shape):
    """Pillow's own convention differs from ours by half a pixel, and its lines lie beside their places."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    offsets = []
    for _ in range(100):
        middle, ink = rng.uniform(15, 25, 2), np.ones(3)
        layer = Image.new("RGBA", (120, 120))
        pen = _Pen(ImageDraw.Draw(layer), np.zeros((1, 3)))
        angle = np.linspace(0, 2 * np.pi, 20)[:-1]
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        match shape:
            case "fill":
                pen.fill(middle + 6 * circle, ink)
            case "disc":
                pen.disc(middle, 4, ink)
            case "ring":
                pen.ring(middle, 5, ink, 1.2)
            case "line":
                pen.line(middle + 6 * circle[3] * [[-1], [1]], ink, 1.7)
            case _:
                pen.line(middle + 6 * circle[0] * [[-1], [1]], ink, 0.5)
        cover = np.asarray(layer.reduce(3))[..., 3]
        offsets.append([(cover * x).sum() / cover.sum(), (cover * y).sum() / cover.sum()] - middle)
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.04
