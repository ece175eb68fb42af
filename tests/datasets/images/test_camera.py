import numpy as np
import pytest

from pcsargmax.datasets.images.camera import Camera, to_camera

CAMERA = Camera([1000, 1100], [500, 400])


def test_a_point_by_hand():
    points = np.array([[200.0, -400, 4000]])
    assert CAMERA.to_pixels(points).tolist() == [[550, 290, 4000]]
    assert CAMERA.from_pixels(np.array([[550.0, 290, 4000]])).tolist() == [[200, pytest.approx(-400), 4000]]


def test_there_and_back():
    points = np.random.default_rng(0).uniform([-900, -900, 2000], [900, 900, 6000], (2, 17, 3))
    np.testing.assert_allclose(CAMERA.from_pixels(CAMERA.to_pixels(points)), points)


def test_keypoints_of_an_item_get_the_depth_of_its_root():
    extra = {"camera": CAMERA, "root_depth": 4000.0}
    keypoints = np.array([[500.0, 400, 0], [550, 290, 100], [np.nan, 3, 5]])
    space = to_camera(keypoints, extra)
    assert space[0].tolist() == [0, 0, 4000]
    assert space[1].tolist() == pytest.approx([0.05 * 4100, -0.1 * 4100, 4100])
    assert np.isnan(space[2, 0])
    assert keypoints[0, 2] == 0
    assert to_camera(np.stack([keypoints] * 4), extra).shape == (4, 3, 3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="focal: expected two finite numbers, the focal lengths positive"):
        Camera([0, 1000], [500, 400])
    with pytest.raises(ValueError, match="centre: expected two finite numbers"):
        Camera([1000, 1000], [500, 400, 1])
    with pytest.raises(ValueError, match=r"extra: expected a camera and a root_depth, got \['subject'\]"):
        to_camera(np.zeros((17, 3)), {"subject": 1})
    with pytest.raises(ValueError, match=r"keypoints: expected \(\.\.\., K, 3\), got \(17, 2\)"):
        to_camera(np.zeros((17, 2)), {"camera": CAMERA, "root_depth": 1.0})
