from pathlib import Path

import numpy as np
import pytest

from pcsargmax.annotate import ABSENT, Mark, Proposal, Scan, Session
from pcsargmax.datasets import Cloud
from pcsargmax.visualize import annotate_scene
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color


class _Nowhere:
    def load(self, scan):
        return {}

    def save(self, scan, names, marks):
        return None


@pytest.fixture
def cube() -> Scan:
    import trimesh

    box = trimesh.creation.box(extents=[2, 2, 2])
    return Scan(Cloud(np.array(box.vertices) + 5, faces=np.array(box.faces, dtype=np.int64)))


@pytest.fixture
def ball() -> Scan:
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=3)
    return Scan(Cloud(np.array(made.vertices), faces=np.array(made.faces, dtype=np.int64)))


def test_sharp_edges_are_drawn_as_edges(cube):
    mesh = annotate_scene.surface_mesh(cube)
    corners = mesh.vertices[mesh.triangles]
    np.testing.assert_allclose(corners, cube.points[cube.cloud.faces])
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    for corner in range(3):
        np.testing.assert_allclose(mesh.normals[mesh.triangles[:, corner]], flat, atol=1e-12)


def test_a_smooth_surface_stays_small(ball):
    mesh = annotate_scene.surface_mesh(ball)
    assert len(mesh.vertices) == len(ball.points)
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert (np.einsum("vd,vd->v", mesh.normals, outward) > 0.99).all()


def test_points_of_a_mesh_are_even_and_on_it(cube):
    points, normals, colors = annotate_scene.surface_points(annotate_scene.surface_mesh(cube), 6000)
    half = 1 / cube.scale
    np.testing.assert_allclose(np.abs(points).max(axis=1), half, rtol=1e-9)
    axis = np.abs(points).argmax(axis=1)
    side = 2 * axis + (points[np.arange(6000), axis] > 0)
    assert np.abs(np.bincount(side) / 6000 - 1 / 6).max() < 0.03
    np.testing.assert_allclose(np.einsum("nd,nd->n", normals, points), half, rtol=1e-9)
    assert colors.shape == (6000, 3)


def test_a_cloud_has_no_surface():
    scan = Scan(Cloud(np.eye(3), color=np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)))
    assert annotate_scene.surface_mesh(scan) is None
    np.testing.assert_array_equal(annotate_scene.point_colors(scan), np.eye(3))


def test_landmarks_are_drawn_in_their_colours(cube):
    session = Session([Path("a.ply")], ["tip", "left", "right", "back"], _Nowhere())
    session.place(Mark((6.0, 5, 5)))
    session.absent()
    session.offer(0, {"right": Proposal(Mark((4.0, 5, 5)), 0.5)})
    places = annotate_scene.landmark_places(session, cube)
    assert [(name, sure) for name, _, sure in places] == [("tip", True), ("right", False)]
    np.testing.assert_allclose(places[0][1], [1 / cube.scale, 0, 0])
    mesh = annotate_scene.landmark_mesh(session, cube)
    right = mesh.vertices[:, 0] > 0
    assert np.allclose(mesh.colors[right], hex_to_rgb(keypoint_color(0)))
    pale = hex_to_rgb(keypoint_color(2))
    assert (mesh.colors[~right] >= pale).all()
    assert np.ptp(mesh.vertices[right, 1]) > np.ptp(mesh.vertices[~right, 1])
    moved = annotate_scene.landmark_places(session, cube, ("tip", Mark((5.0, 6, 5))))
    np.testing.assert_allclose(moved[0][1], [0, 1 / cube.scale, 0])
    assert session.marks["left"] == ABSENT
