from pathlib import Path

import numpy as np
import pytest
from reference.annotation_store import Nowhere

from pcsargmax.annotate import ABSENT, Mark, Proposal, Scan, Session
from pcsargmax.annotate.window import scene as annotate_scene
from pcsargmax.io import Cloud
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color


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


def test_a_large_mesh_is_drawn_coarser():
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=4)
    color = np.where(made.vertices[:, :1] < 0, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    scan = Scan(Cloud(np.array(made.vertices), color, faces=np.array(made.faces, dtype=np.int64)))
    mesh = annotate_scene.surface_mesh(scan, 1000)
    assert 300 < len(mesh.triangles) <= 1000
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1) * scan.scale, 1, atol=0.06)
    left, right = mesh.vertices[:, 0] < -0.05, mesh.vertices[:, 0] > 0.05
    assert (mesh.colors[left] == [1, 0, 0]).all()
    assert (mesh.colors[right] == [0, 0, 1]).all()
    assert len(annotate_scene.surface_mesh(scan, 5120).triangles) == 5120  # as many as may be: as it is


def test_a_cloud_has_no_surface():
    scan = Scan(Cloud(np.eye(3), color=np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)))
    assert annotate_scene.surface_mesh(scan) is None
    np.testing.assert_array_equal(annotate_scene.point_colors(scan), np.eye(3))


def test_landmarks_are_drawn_in_their_colours(cube):
    session = Session([Path("a.ply")], ["tip", "left", "right", "back"], Nowhere())
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
    assert len(annotate_scene.landmark_mesh(session, cube, most=200).triangles) == 2 * 80
    moved = annotate_scene.landmark_places(session, cube, ("tip", Mark((5.0, 6, 5))))
    np.testing.assert_allclose(moved[0][1], [0, 1 / cube.scale, 0])
    assert session.marks["left"] == ABSENT


def test_normals_of_a_cloud_turn_to_the_lamp(ball):
    lamp = np.array([0.0, 1.0, 0.0])
    normals = annotate_scene.cloud_normals(ball.points, lamp)
    outward = ball.points / np.linalg.norm(ball.points, axis=1, keepdims=True)
    assert (np.abs(np.einsum("nd,nd->n", normals, outward)) > 0.98).all()
    assert (normals @ lamp >= 0).all()
    np.testing.assert_array_equal(annotate_scene.cloud_normals(ball.points[:3], lamp), [lamp] * 3)
