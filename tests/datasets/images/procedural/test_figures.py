import numpy as np
import pytest

from pcsargmax.datasets.images.camera import to_camera
from pcsargmax.datasets.images.procedural import ProceduralFigures
from pcsargmax.datasets.images.procedural.skeleton import JOINTS

BONES = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))


def bone(joints, side, ends):
    a, b = (joints[JOINTS.index(f"{side}_{end}")] for end in ends)
    return np.linalg.norm(a - b)


def test_three_dimensions_go_back_to_millimetres():
    flat, deep = ProceduralFigures("test", num_items=8), ProceduralFigures("test", num_items=8, dimension=3)
    assert (flat.dimension, deep.dimension) == (2, 3)
    for one, item in zip(flat, deep, strict=True):
        np.testing.assert_array_equal(one.image, item.image)
        np.testing.assert_array_equal(one.keypoints, item.keypoints[:, :2])
        assert item.keypoints[0, 2] == 0
        joints = to_camera(item.keypoints, item.extra)
        assert joints[0, 2] == pytest.approx(item.extra["root_depth"])
        for ends in BONES:
            assert bone(joints, "right", ends) == pytest.approx(bone(joints, "left", ends))
        assert 1000 < np.ptp(joints[:, 1]) < 2200 or np.ptp(joints[:, 0]) > 800


def test_some_joints_are_hidden():
    hidden = np.array([item.extra["occluded"] for item in ProceduralFigures(num_items=60)])
    assert hidden.shape == (60, 15)
    assert 0.04 < hidden.mean() < 0.3
    assert (hidden.mean(axis=0) < 0.8).all()


def test_figures_stand_out_where_their_joints_are():
    """The head is drawn at the head: a disc there, of skin and hair, differs from what is around it."""
    inside, around = [], []
    for item in ProceduralFigures(num_items=40):
        head = JOINTS.index("head")
        if item.extra["occluded"][head]:
            continue
        y, x = np.mgrid[:96, :96]
        distance = np.hypot(x - item.keypoints[head, 0], y - item.keypoints[head, 1])
        camera = item.extra["camera"]
        radius = 100 * camera.focal[0] / item.extra["root_depth"]
        image = item.image.astype(float)
        inside.append(image[distance < 0.7 * radius].std(axis=0).mean())
        around.append(np.linalg.norm(image[distance < 0.7 * radius].mean(0) - image[distance > 3 * radius].mean(0)))
    assert len(inside) > 20
    assert np.median(around) > 40


def test_wrong_dimension():
    with pytest.raises(ValueError, match="dimension must be 2 or 3, got 4"):
        ProceduralFigures(dimension=4)
