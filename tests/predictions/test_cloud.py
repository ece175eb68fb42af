import dataclasses

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Skeleton, SymmetryMark


def test_fields_become_arrays_of_their_types(prediction):
    assert prediction.confidence.dtype == np.float64
    assert prediction.probability.dtype == np.float32
    assert prediction.point_index.dtype == np.int64
    assert prediction.num_keypoints == 2
    np.testing.assert_allclose(prediction.error, [np.sqrt(3) / 8, np.nan])
    assert dataclasses.replace(prediction, truth=None).error is None


def test_what_is_not_known_stays_none(prediction):
    bare = dataclasses.replace(prediction, truth=None)
    assert [bare.truth, bare.color, bare.file_index, bare.radius, bare.samples] == [None] * 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("points", np.zeros((3, 2)), r"points: expected shape \(3, 3\), got \(3, 2\)"),
        ("points", np.full((3, 3), np.nan), "points: expected finite"),
        ("points", np.zeros((0, 3)), "at least one point"),
        ("keypoint_names", (), "at least one point and one keypoint name"),
        ("position", np.zeros((3, 3)), r"position: expected shape \(2, 3\), got \(3, 3\)"),
        ("position", np.full((2, 3), np.inf), "position: expected finite"),
        ("confidence", None, r"Prediction 'scan é': confidence: expected shape \(2,\), got \(\)"),
        ("confidence", [1.0], r"confidence: expected shape \(2,\), got \(1,\)"),
        ("covariance", np.zeros((2, 3)), r"covariance: expected shape \(2, 3, 3\)"),
        ("visibility", 1.0, r"visibility: expected shape \(2,\), got \(\)"),
        ("point_index", [0, 3], r"point_index: expected 0 to 2, got \[0, 3\]"),
        ("point_index", [-1, 0], "point_index: expected 0 to 2"),
        ("probability", np.zeros((3, 2)), r"probability: expected shape \(2, 3\)"),
        ("truth", np.zeros((1, 3)), r"truth: expected shape \(2, 3\)"),
        ("color", np.zeros((2, 3)), r"color: expected shape \(3, 3\)"),
        ("file_index", [1], r"file_index: expected shape \(2,\)"),
        ("radius", [1.0], r"radius: expected shape \(2,\)"),
        ("radius", [1.0, 2.0], "expected radius and radius_coverage together, got only radius"),
        ("radius_coverage", 0.9, "expected radius and radius_coverage together, got only radius_coverage"),
    ],
)
def test_a_wrong_field_is_named(prediction, field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(prediction, **{field: value})


def test_a_coverage_is_a_share(prediction):
    with pytest.raises(ValueError, match=r"radius_coverage: expected a share within \(0, 1\), got 90.0"):
        dataclasses.replace(prediction, radius=[1, 2], radius_coverage=90)


def test_a_keypoint_is_found_by_name_or_number(prediction):
    assert prediction.keypoint_number("base") == prediction.keypoint_number(1) == 1
    for wrong in ("top", 2, -1):
        with pytest.raises(ValueError, match="expected one of tip, base or 0 to 1, got"):
            prediction.keypoint_number(wrong)


def test_a_skeleton_joins_keypoints_that_there_are(prediction):
    with pytest.raises(ValueError, match="skeleton: expected edges between keypoints 0 to 1, got 2"):
        dataclasses.replace(prediction, skeleton=Skeleton([[0, 2]], [0.5], [[0, 0, 0]], [0]))


def test_samples_are_one_of_each_keypoint(prediction):
    found = dataclasses.replace(prediction, samples=[[[0, 0, 0], [1, 1, 1]]] * 5)
    assert (found.samples.shape, found.samples.dtype) == ((5, 2, 3), np.float64)
    with pytest.raises(ValueError, match=r"samples: expected shape \(5, 2, 3\), got \(5, 1, 3\)"):
        dataclasses.replace(prediction, samples=np.zeros((5, 1, 3)))
    with pytest.raises(ValueError, match="samples: expected finite"):
        dataclasses.replace(prediction, samples=np.full((5, 2, 3), np.inf))


def test_a_symmetry_exchanges_keypoints_that_there_are(prediction):
    assert dataclasses.replace(prediction, symmetries=[SymmetryMark("reflection", (0, 1))]).symmetries[0].keypoints
    with pytest.raises(ValueError, match=r"symmetries: expected keypoints 0 to 1, got \[0, 2\]"):
        dataclasses.replace(prediction, symmetries=[SymmetryMark("reflection", (0, 2))])


def test_the_mean_error_is_of_what_is_there_and_known(prediction):
    truth = np.add(prediction.position, [[3.0, 0, 4], [0, 0, 1]])
    one = dataclasses.replace(prediction, truth=truth, visibility=[0.9, 0.4])
    assert one.mean_error() == pytest.approx(5)
    assert one.mean_error(0.4) == pytest.approx(3)
    assert one.mean_error(0.95) is None
    assert prediction.mean_error() == pytest.approx(np.sqrt(3) / 8)  # the other has no truth
    assert dataclasses.replace(prediction, truth=None).mean_error() is None
