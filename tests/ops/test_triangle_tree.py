import numpy as np
import pytest
from reference import triangles as plain

from pcsargmax.ops.triangle_tree import TriangleTree

#: Two triangles that make the square [0, 1]² at z = 0.
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]), np.array([[0, 1, 2], [0, 2, 3]])
UP = np.array([0, 0, 1.0])
DOWN = -UP


def soup(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random triangles, among them some without area: corners on a line, two the same, all the same."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(count, 1, 3)) + 0.4 * rng.normal(size=(count, 3, 3))
    corners[:3, 2] = corners[:3, :2].mean(axis=1)
    corners[3:6, 1] = corners[3:6, 0]
    corners[6:9] = corners[6:9, :1]
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("count", [9, 10, 70, 600])
def test_rays_meet_what_the_plain_form_says(count):
    vertices, triangles = soup(count, count)
    tree, rng, hits = TriangleTree(vertices, triangles), np.random.default_rng(1), 0
    for _ in range(60):
        origin, direction = rng.normal(size=(2, 3)) * [[3.0], [1.0]] * rng.integers(0, 2, (2, 3))
        if not direction.any():
            continue  # those along an axis stay
        expected, hit = plain.first_hit(vertices[triangles], origin, direction), tree.first_hit(origin, direction)
        assert (hit is None) == (expected is None)
        if hit is None or expected is None:
            continue
        hits += 1
        assert hit.face == expected[0]
        np.testing.assert_allclose(hit.weights @ vertices[triangles[hit.face]], expected[1], atol=1e-9)
        assert hit.distance == pytest.approx(np.linalg.norm(expected[1] - origin))
        assert hit.weights.min() >= 0
        assert hit.weights.sum() == pytest.approx(1)
    assert (hits > 20) == (count == 600)
    assert hits < 55


@pytest.mark.parametrize("count", [9, 10, 70, 300])
def test_the_closest_point_is_that_of_the_plain_form(count):
    vertices, triangles = soup(count, count)
    tree, rng = TriangleTree(vertices, triangles), np.random.default_rng(2)
    for spread in np.repeat([0.1, 1, 4], 6):
        position = spread * rng.normal(size=3)
        found = tree.closest(position)
        assert found.distance == pytest.approx(plain.closest(vertices[triangles], position), abs=1e-6)
        here = found.weights @ vertices[triangles[found.face]]
        assert np.linalg.norm(here - position) == pytest.approx(found.distance)
        assert found.weights.min() >= 0
        assert found.weights.sum() == pytest.approx(1)


def test_no_ray_slips_through_edges_and_corners():
    vertices, triangles = SQUARE
    angle = 0.7
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    for place in (*np.linspace([0, 0, 0], [1, 1, 0], 23), [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [1, 0.25, 0]):
        for frame in (np.eye(3), turn):  # numbers that binary fractions hold, and such that they do not
            tree = TriangleTree(vertices @ frame.T, triangles)
            for tilt in (DOWN, np.array([0.3, 0.2, -1])):
                hit = tree.first_hit(frame @ (place - 2 * tilt), frame @ tilt)
                assert hit is not None
                assert hit.distance == pytest.approx(2 * np.linalg.norm(tilt))
                np.testing.assert_allclose(hit.weights @ vertices[triangles[hit.face]], place, atol=1e-12)


def test_rays_miss_what_is_beside_behind_or_edge_on():
    tree = TriangleTree(*SQUARE)
    assert tree.first_hit([1.001, 0.5, 1], DOWN) is None
    assert tree.first_hit([0.5, 0.5, 1], -DOWN) is None
    assert tree.first_hit([-1, 0.5, 0], [1, 0, 0]) is None
    assert tree.first_hit([0.5, 0.25, -1], [0, 0, 5]).face == 0  # from below, of any length


def test_the_nearest_of_several_sheets_is_met():
    vertices, triangles = SQUARE
    heights = np.random.default_rng(0).permutation(40)
    sheets = np.concatenate([vertices + height * UP for height in heights])
    numbers = np.concatenate([triangles + 4 * number for number in range(40)])
    tree = TriangleTree(sheets, numbers)
    for start, first, nearest in ((100, 39, 39), (7.75, 7, 8), (7.25, 7, 7)):
        hit = tree.first_hit([0.25, 0.5, start], DOWN)
        assert heights[hit.face // 2] == first
        assert hit.distance == pytest.approx(start - first)
        assert heights[tree.closest([0.3, 0.2, start]).face // 2] == nearest


@pytest.mark.parametrize("corner", [[0, 0, 0], [0.25, 0, 0], [0.5, 0.5, 0], [0.2, 0.1, 0]])
def test_the_closest_point_of_a_position_on_the_mesh_is_that_position(corner):
    vertices, triangles = SQUARE
    found = TriangleTree(vertices, triangles).closest(np.array(corner))
    assert found.distance == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(found.weights @ vertices[triangles[found.face]], corner, atol=1e-15)


def test_one_triangle_that_is_a_point_has_a_closest_point():
    tree = TriangleTree(np.array([[1, 2, 3.0]]), np.zeros((1, 3), dtype=int))
    assert tree.closest([1, 2, 5]).distance == 2
    assert tree.first_hit([1, 2, 5], DOWN) is None


def test_a_mesh_needs_a_triangle():
    with pytest.raises(ValueError, match="triangles: expected at least one, got none"):
        TriangleTree(np.eye(3), np.zeros((0, 3), dtype=int))
