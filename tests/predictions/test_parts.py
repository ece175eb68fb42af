import numpy as np
import pytest

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
