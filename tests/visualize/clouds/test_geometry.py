import numpy as np
import pytest

from pcsargmax.visualize.clouds import geometry


@pytest.mark.parametrize(("subdivisions", "faces", "vertices"), [(0, 20, 12), (1, 80, 42), (2, 320, 162)])
def test_the_ball_is_closed_round_and_faces_outward(subdivisions, faces, vertices):
    ball, triangles = geometry.unit_ball(subdivisions)
    assert (len(triangles), len(ball)) == (faces, vertices)
    np.testing.assert_allclose(np.linalg.norm(ball, axis=1), 1)
    corners = ball[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normal * corners.mean(axis=1)).sum(axis=1) > 0).all()
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_balls_lie_around_their_centers():
    centers = np.array([[0.0, 0, 0], [5, 1, 2]])
    mesh = geometry.balls(centers, 0.5, np.array([[1.0, 0, 0], [0, 1, 0]]), subdivisions=1)
    away = mesh.vertices.reshape(2, 42, 3) - centers[:, None]
    np.testing.assert_allclose(np.linalg.norm(away, axis=-1), 0.5)
    np.testing.assert_array_equal(mesh.colors[[0, 41, 42]], [[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert mesh.triangles.max() == 83


def test_an_ellipsoid_has_the_spread_of_its_covariance():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(3, 3))
    covariance = factor @ factor.T
    axes = geometry.covariance_axes(covariance)
    np.testing.assert_allclose(axes @ axes.T, covariance, atol=1e-12)
    mesh = geometry.balls(np.zeros((1, 3)), 1.0, np.ones(3), subdivisions=2, axes=axes[None])
    inside = np.einsum("vi,ij,vj->v", mesh.vertices, np.linalg.inv(covariance), mesh.vertices)
    np.testing.assert_allclose(inside, 1)
    # The normal of {x: xᵀ C⁻¹ x = 1} is along C⁻¹ x.
    normal = mesh.vertices @ np.linalg.inv(covariance)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.normals, normal, atol=1e-9)


def test_covariances_that_are_none_have_no_axes():
    bad = np.stack([np.full((3, 3), np.nan), np.zeros((3, 3)), np.diag([-1e-9, 0, 1.0])])
    axes = geometry.covariance_axes(bad)
    assert np.isfinite(axes).all()
    np.testing.assert_array_equal(axes[:2], 0)


def test_a_rod_joins_its_ends():
    start, end = np.array([[1.0, 2, 3], [0, 0, 0]]), np.array([[2.0, 2, 4], [0, 0, 0]])
    mesh = geometry.rods(start, end, 0.1, np.zeros(3))
    rings = mesh.vertices.reshape(2, 2, 8, 3)
    np.testing.assert_allclose(rings.mean(axis=2), np.stack([start, end], axis=1), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rings[0, 0] - start[0], axis=1), 0.1)
    assert np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("normal", [(0, 1, 0), (1, 2, -3), (0, 0, -1)])
def test_a_ring_is_a_circle_across_its_normal(normal):
    center = np.array([1.0, 2, 3])
    mesh = geometry.ring(center, normal, 2.0, 0.01, np.array([1.0, 0, 0]))
    middle = mesh.vertices.reshape(-1, 8, 3).mean(axis=1) - center
    np.testing.assert_allclose(np.linalg.norm(middle, axis=1), 2)
    np.testing.assert_allclose(middle @ np.array(normal), 0, atol=1e-12)
    np.testing.assert_allclose(middle.mean(axis=0), 0, atol=1e-12)  # all the way round
    np.testing.assert_array_equal(mesh.colors[0], [1, 0, 0])


def test_triangles_have_a_normal_each():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = geometry.triangles(vertices, np.array([[0, 1, 2], [0, 2, 3], [0, 1, 1]]), np.ones(3))
    np.testing.assert_allclose(mesh.normals.reshape(2, 3, 3)[:, 0], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(mesh.vertices[mesh.triangles], vertices[[[0, 1, 2], [0, 2, 3]]])


def test_normals_are_estimated_from_the_neighbours():
    ball = geometry.unit_ball(3)[0]
    normals = geometry.estimated_normals(ball)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert np.abs((normals * ball).sum(axis=1)).min() > 0.95
    assert np.isfinite(geometry.estimated_normals(np.zeros((2, 3)))).all()


@pytest.mark.parametrize("most", [1000, 300, 20])
def test_a_thinned_mesh_keeps_its_form(most):
    ball, corners = geometry.unit_ball(4)
    vertices, thin = geometry.thinned(3 * ball + 7, corners, most)
    assert most / 4 < len(thin) <= most
    mesh = geometry.triangles(vertices, thin, np.ones(3))
    middle = mesh.vertices.reshape(-1, 3, 3).mean(axis=1) - 7
    assert (np.einsum("ti,ti->t", middle, mesh.normals[::3]) > 0).mean() > 0.97  # they still face outward
    assert np.linalg.norm(middle, axis=1).min() > (2.5 if most > 100 else 1.2)
    again = geometry.thinned(ball, corners, len(corners))
    assert again[0] is ball
    assert again[1] is corners


def test_a_mesh_that_cannot_be_thinned_comes_to_an_end():
    vertices, thin = geometry.thinned(np.zeros((3, 3)), np.array([[0, 1, 2]] * 9), 4)
    assert (vertices.shape[1], len(thin)) == (3, 0)


@pytest.mark.parametrize("azimuth", [0, 35, 200])
@pytest.mark.parametrize("elevation", [-90, 0, 40, 90])
@pytest.mark.parametrize("size", [(400, 300), (300, 400)])
def test_the_camera_frames_the_points(azimuth, elevation, size):
    points = np.random.default_rng(1).normal(size=(300, 3)) * [3, 1, 0.5] + [10, -20, 5]
    camera = geometry.fit_camera(points, azimuth=azimuth, elevation=elevation, size=size, margin=0.1)
    pixels, depth = camera.project(points)
    share = pixels / size
    assert depth.min() > 0
    assert share.min() > 0.1 - 0.01
    assert share.max() < 0.9 + 0.01
    assert np.ptp(share, axis=0).max() > 0.75  # the shape fills the frame
    np.testing.assert_allclose((share.min(axis=0) + share.max(axis=0)) / 2, 0.5, atol=0.03)


def test_up_is_up_and_the_azimuth_turns_from_z_to_x():
    points = np.array([[0.0, 1, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]])
    front = geometry.fit_camera(points, azimuth=0, elevation=0, size=(100, 100))
    pixels, depth = front.project(points)
    assert pixels[0, 1] < 50 < pixels[1, 1]  # y is up
    assert pixels[3, 0] < 50 < pixels[2, 0]  # x to the right
    assert depth[4] < depth[5]  # +z towards the viewer
    side = geometry.fit_camera(points, azimuth=90, elevation=0, size=(100, 100))
    assert side.project(points)[1].argmin() == 2  # +x is nearest


def test_one_point_can_be_looked_at():
    camera = geometry.fit_camera(np.zeros((1, 3)), azimuth=0, elevation=0, size=(100, 100))
    np.testing.assert_allclose(camera.project(np.zeros((1, 3)))[0], [[50, 50]])
