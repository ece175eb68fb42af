import numpy as np
import pytest
from reference import triangles as plain

from pcsargmax.annotate import ABSENT, Scan
from pcsargmax.io import Cloud
from pcsargmax.predictions.cloud import Prediction


def test_a_ray_meets_the_surface_where_the_plain_form_says(cube):
    scan, rng = Scan(cube), np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        origin = rng.normal(size=3)
        origin *= 2 / np.linalg.norm(origin)
        direction = rng.uniform(-0.4, 0.4, 3) - origin
        mark = scan.pick(origin, direction, 0.01)
        expected = plain.first_hit(scan.points[cube.faces], origin, direction)
        assert (mark is None) == (expected is None)
        if expected is None:
            continue
        hits += 1
        assert mark.face_index == expected[0]
        np.testing.assert_allclose(scan.to_unit(mark.position), expected[1], atol=1e-9)
        # The coordinates give the very position, in 64 bits.
        corners = cube.points[cube.faces[mark.face_index]]
        np.testing.assert_allclose(np.array(mark.face_uv) @ corners, mark.position, rtol=1e-15)
        assert sum(mark.face_uv) == pytest.approx(1, abs=1e-12)
        assert mark.point_index is None
    assert 20 < hits < 60


def test_a_click_takes_the_near_side_of_a_cloud(points):
    scan = Scan(points)
    mark = scan.pick(np.array([0, 0, 2.0]), np.array([0, 0, -1.0]), 0.005)
    assert mark.position == tuple(points.points[mark.point_index])
    assert mark.position[2] > 3 + 3.5  # the sphere's front is at 3 + 5, its back at 3 - 5
    assert mark.face_index is None
    assert scan.pick(np.array([0, 0, 2.0]), np.array([0, 1.0, 0]), 0.005) is None
    assert scan.pick(np.array([0, 0, 2.0]), np.array([0, 0, 1.0]), 0.005) is None  # behind the eye


def test_a_click_on_a_point_takes_that_point(points):
    scan = Scan(points)
    eye = np.array([0.3, 0.2, 2.0])
    front = np.flatnonzero(scan.points[:, 2] > 0.25)
    for row in front[:20]:
        assert scan.pick(eye, scan.points[row] - eye, 0.002).point_index == row


def test_far_from_the_origin_nothing_is_lost(cube):
    far = Cloud(cube.points + 1e7, faces=cube.faces)
    near, moved = Scan(cube).pick(np.array([0.1, 0.2, 2]), np.array([0, 0, -1.0]), 0.01), None
    moved = Scan(far).pick(np.array([0.1, 0.2, 2]), np.array([0, 0, -1.0]), 0.01)
    np.testing.assert_allclose(np.array(moved.position) - 1e7, near.position, atol=1e-5)
    assert moved.face_index == near.face_index


def test_a_position_is_put_onto_the_scan(cube, points):
    mark = Scan(cube).snap([100, 50, 25])  # above the face at z = 20
    np.testing.assert_allclose(mark.position, [100, 50, 20], atol=1e-5)
    assert mark.face_index is not None
    mark = Scan(points).snap(points.points[7] * [1, 1, 1.001])
    assert (mark.point_index, mark.position) == (7, tuple(points.points[7]))


def test_one_point_is_a_scan():
    scan = Scan(Cloud(np.array([[3.0, 4, 5]])))
    assert scan.pick(np.array([0, 0, 2.0]), np.array([0, 0, -1.0]), 0.01).position == (3, 4, 5)


def test_predictions_become_proposals_on_the_scan(cube):
    position = np.array([[100, 50, 22.0], [0, 0, 0]])
    prediction = Prediction(
        name="cube",
        points=cube.points,
        keypoint_names=("top", "handle"),
        position=position,
        confidence=[0.7, 0.6],
        covariance=np.zeros((2, 3, 3)),
        visibility=[0.9, 0.2],
        point_index=[0, 0],
        probability=np.full((2, len(cube.points)), 1 / len(cube.points)),
    )
    found = Scan(cube).proposals(prediction)
    np.testing.assert_allclose(found["top"].mark.position, [100, 50, 20], atol=1e-5)
    assert found["top"].confidence == pytest.approx(0.7)
    assert found["handle"].mark == ABSENT
    assert found["handle"].confidence == pytest.approx(0.8)
