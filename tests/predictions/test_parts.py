import numpy as np
import pytest
from reference import triangles as plain

from pcsargmax.predictions.cloud import Skeleton, Surface, SymmetryMark


def skeleton(**changes) -> Skeleton:
    """One edge of three points between two keypoints."""
    fields = {"edges": [[0, 1]], "strength": [0.5], "points": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "edge": [0, 0, 0]}
    return Skeleton(**(fields | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": [[0, 1, 2]]}, r"Skeleton: edges: expected shape \(1, 2\), got \(1, 3\)"),
        ({"strength": [0.5, 0.5]}, r"Skeleton: strength: expected shape \(1,\), got \(2,\)"),
        ({"points": [[0, 0]]}, r"Skeleton: points: expected shape \(1, 3\), got \(1, 2\)"),
        ({"edge": [0]}, r"Skeleton: edge: expected shape \(3,\), got \(1,\)"),
        ({"edge": [0, 0, 1]}, "Skeleton: edge: expected 0 to 0, got 0 to 1"),
        ({"points": np.full((3, 3), np.nan)}, "Skeleton: points: expected finite"),
    ],
)
def test_a_skeleton_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        skeleton(**change)


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]], r"Surface: vertices: expected shape \(3, 3\), got \(3, 2\)"),
        (np.zeros((3, 3)), [[0, 1]], r"Surface: triangles: expected shape \(1, 3\), got \(1, 2\)"),
        (np.zeros((3, 3)), [[0, 1, 3]], "Surface: triangles: expected 0 to 2, got 0 to 3"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "Surface: vertices: expected finite"),
    ],
)
def test_a_surface_that_does_not_fit_is_refused(vertices, triangles, message):
    with pytest.raises(ValueError, match=message):
        Surface(vertices, triangles)


def test_a_surface_may_have_no_triangle():
    assert Surface(np.zeros((2, 3)), np.zeros((0, 3))).triangles.dtype == np.int64


def soup(count: int) -> Surface:
    """Random triangles about (3, 4, 5); the first six have no area: on a line, two corners the same, all the same."""
    rng = np.random.default_rng(count)
    corners = [3, 4, 5] + rng.normal(size=(count, 1, 3)) + 0.4 * rng.normal(size=(count, 3, 3))
    corners[:2, 2] = corners[:2, 0] + (corners[:2, 1] - corners[:2, 0]) / 3
    corners[2:4, 1] = corners[2:4, 0]
    corners[4:6] = corners[4:6, :1]
    return Surface(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-170, 1e170])
def test_points_of_a_surface_are_those_nearest_of_all_triangles_with_area(scale):
    unit, rng = soup(60), np.random.default_rng(1)
    surface, positions = Surface(unit.vertices * scale, unit.triangles), [3, 4, 5] + 1.5 * rng.normal(size=(20, 3))
    found = surface.closest(positions * scale)
    assert surface.has_area.tolist() == [False] * 6 + [True] * 54
    assert (found.face.dtype, found.vertices.dtype, found.barycentric.dtype) == (np.int64, np.int64, np.float64)
    assert surface.has_area[found.face].all()
    np.testing.assert_array_equal(found.vertices, surface.triangles[found.face])
    assert (found.barycentric >= 0).all()
    np.testing.assert_allclose(found.barycentric.sum(axis=1), 1, atol=1e-12)
    again = sum(found.barycentric[:, [corner]] * surface.vertices[found.vertices[:, corner]] for corner in range(3))
    np.testing.assert_allclose(found.position / scale, again / scale, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(again / scale - positions, axis=1), found.distance / scale, rtol=1e-9)
    least = [plain.closest(unit.vertices[unit.triangles[6:]], position) for position in positions]
    np.testing.assert_allclose(found.distance / scale, least, atol=1e-6)


def test_a_flat_triangle_is_passed_over_even_where_it_is_nearer():
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 9], [0, 0, 8], [1e9, 0, 0]]  # a spike, a vertex of no triangle
    found = Surface(vertices, [[0, 3, 4], [1, 1, 2], [1, 2, 0]]).closest([[0, 0, 8.5], [0, 0, 0]])
    assert (found.face.tolist(), found.distance.tolist()) == ([2, 2], [8.5, 0])
    assert found.to_dict(0) == {
        "face": 2,
        "vertices": [1, 2, 0],
        "barycentric": [0, 0, 1],
        "position": [0, 0, 0],
        "distance": 8.5,
    }


def test_no_position_has_no_point():
    found = soup(9).closest(np.zeros((0, 3)))
    assert [part.shape for part in found] == [(0,), (0, 3), (0, 3), (0, 3), (0,)]


@pytest.mark.parametrize(
    ("surface", "positions", "message"),
    [
        (soup(9), np.zeros(3), r"positions: expected shape \(K, 3\), got \(3,\)"),
        (soup(9), [[0, np.nan, 0]], "positions: expected finite numbers, got NaN or infinity"),
        (Surface(np.zeros((0, 3)), np.zeros((0, 3))), np.zeros((1, 3)), "at least one with an area, got 0 without"),
        (Surface(np.eye(3), [[0, 1, 1], [2, 2, 2]]), np.zeros((1, 3)), "got 2 without; repair the mesh, or use its"),
    ],
)
def test_what_has_no_nearest_point_is_an_error(surface, positions, message):
    with pytest.raises(ValueError, match=message):
        surface.closest(positions)


def test_a_circle_has_a_unit_normal():
    mark = SymmetryMark("rotation", [2, 0], [1, 2, 3], [0, 0, -4], 5)
    assert (mark.keypoints, mark.radius) == ((2, 0), 5.0)
    np.testing.assert_array_equal(mark.normal, [0, 0, -1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("twist", (0,)), "kind: expected one of reflection, rotation, got 'twist'"),
        (("rotation", ()), r"keypoints: expected distinct numbers from 0, got \[\]"),
        (("rotation", (1, 1)), r"keypoints: expected distinct numbers from 0, got \[1, 1\]"),
        (("rotation", (-1,)), "keypoints: expected distinct numbers from 0"),
        (("rotation", (0,), [0, 0, 0]), "expected center, normal and radius together, and only of a rotation"),
        (("reflection", (0, 1), [0, 0, 0], [0, 1, 0], 1.0), "and only of a rotation"),
        (("rotation", (0,), [0, 0], [0, 1, 0], 1.0), r"center: expected shape \(3,\), got \(2,\)"),
        (("rotation", (0,), [0, 0, 0], [0, 0, 0], 1.0), "a finite normal that is not 0"),
        (("rotation", (0,), [0, np.nan, 0], [0, 1, 0], 1.0), "expected a finite center"),
        (("rotation", (0,), [0, 0, 0], [0, 1, 0], -1.0), "radius: expected a length >= 0, got -1.0"),
    ],
)
def test_a_mark_that_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SymmetryMark(*fields)
