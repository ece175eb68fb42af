import dataclasses

import numpy as np
import pytest
import torch

from pcsargmax.metrics.bootstrap import percentile_interval, resample_weights
from pcsargmax.visualize.report.differences import (
    RESAMPLES,
    common_shapes,
    detector_differences,
    difference_table,
    discovery_differences,
    keypoint_differences,
    rows_of,
    values_of,
)


def errors_of(report) -> np.ndarray:
    return np.array(report.metrics["shapes"]["errors"]["expectation"], dtype=float)


def test_the_difference_of_pck_and_error_is_that_of_the_runs(make_report):
    first, second = make_report(off=0.02).metrics, make_report("other").metrics
    found = {one.label: one for one in detector_differences(first, second)}
    for label, key in (("PCK@0.02", "pck@0.02"), ("PCK@0.05", "pck@0.05"), ("mean error", "mean_error")):
        one = found[label]
        assert one.first == pytest.approx(first["expectation"][key], rel=1e-4)
        assert one.second == pytest.approx(second["expectation"][key], rel=1e-4)
        assert one.found.difference == pytest.approx(one.first - one.second)
    assert found["Brier score of confidence"].first == pytest.approx(first["calibration"]["brier"])
    assert found["Brier score of confidence"].second == pytest.approx(second["calibration"]["brier"])
    r = found["Pearson's r of confidence and being right"]
    assert r.second == pytest.approx(second["calibration"]["pearson"], rel=1e-6)


def test_the_interval_is_that_of_resampled_shapes(make_report):
    reports = make_report(off=0.02), make_report("other")
    (one,) = [one for one in detector_differences(*(r.metrics for r in reports), seed=4) if one.label == "mean error"]
    weights = resample_weights(5, RESAMPLES, seed=4).numpy()
    known = ~np.isnan(errors_of(reports[0]))
    drawn = [weights @ np.nansum(errors_of(r), axis=1) / (weights @ known.sum(axis=1)) for r in reports]
    low, high = percentile_interval(torch.from_numpy(drawn[0] - drawn[1]))
    assert (one.found.low, one.found.high) == (pytest.approx(float(low)), pytest.approx(float(high)))


def test_a_verdict_needs_an_interval_without_zero(make_report):
    first, second = make_report(off=0.05, shapes=6).metrics, make_report("other", shapes=6).metrics
    (error,) = [one for one in detector_differences(first, second) if one.label == "mean error"]
    assert error.cells(("a", "b"))[-1].text == "b is better"
    (error,) = [one for one in detector_differences(second, first) if one.label == "mean error"]
    assert error.cells(("a", "b"))[-1].text == "a is better"
    (pck,) = [one for one in detector_differences(first, second) if one.label == "PCK@0.05"]
    assert pck.cells(("a", "b"))[-1].text == "b is better"
    same = detector_differences(first, first)[0]
    assert [cell.text for cell in same.cells(("a", "b"))][2:] == ["0.0 pp", "1.000", "not certain"]


def test_few_shapes_make_nothing_certain(make_report):
    first, second = (make_report(name, off=off, shapes=5).metrics for name, off in (("a", 0.05), ("b", 0.0)))
    (error,) = [one for one in detector_differences(first, second) if one.label == "mean error"]
    assert error.found.low > 0
    assert error.found.p < 0.01  # what the bootstrap makes of five shapes
    assert [cell.text for cell in error.cells(("a", "b"))][3:] == ["–", "too few to tell"]


def test_confidence_about_unlike_errors_is_not_compared(make_report):
    first, second = make_report().metrics, make_report("other").metrics
    for change in ({"symmetry": "all"}, {"threshold": 0.05}):
        other = {**second, "confidence": {**second["confidence"], **change}}
        labels = [one.label for one in detector_differences(first, other)]
        assert labels == ["PCK@0.01", "PCK@0.02", "PCK@0.05", "mean error"]


def test_a_table_says_what_the_difference_is_over(make_report):
    first, second = make_report(shapes=5).metrics, make_report("other", shapes=4).metrics
    table = difference_table(detector_differences(first, second), ("a", "b"), "shapes", ". More")
    assert table.caption.startswith("Difference on the 4 shapes that both have: 95 % interval")
    assert table.caption.endswith("percentage points. More")
    assert table.columns[3] == "a − b"
    assert difference_table([], ("a", "b"), "shapes") is None


def test_shapes_are_matched_by_name(make_report):
    first, second = make_report(shapes=5).metrics, make_report("other", shapes=4, off=0.004).metrics
    turned = dict(second)
    shapes = dict(second["shapes"])
    order = [2, 0, 3, 1]
    for key in ("model_id", "diagonal", "visible", "confidence"):
        shapes[key] = [shapes[key][i] for i in order]
    shapes["errors"] = {name: [rows[i] for i in order] for name, rows in shapes["errors"].items()}
    turned["shapes"] = shapes
    assert common_shapes(first, turned) == ["m0", "m1", "m2", "m3"]
    assert rows_of(turned, ["m0", "m1"]) == [1, 3]
    assert detector_differences(first, turned) == detector_differences(first, second)


def test_keypoints_are_compared_one_by_one(make_report):
    first, second = errors_of(make_report(off=0.02)), errors_of(make_report("other"))
    first[1, 0] = second[1, 0] = np.nan
    difference, low, high = keypoint_differences(first, second)
    np.testing.assert_allclose(difference[:3], np.nanmean((first - second)[:, :3], axis=0))
    assert ((low <= difference) & (difference <= high))[:3].all()
    assert np.isnan(difference[3])  # nowhere annotated
    assert np.isnan(keypoint_differences(first[:1], second[:1])[1]).all()  # one shape has no spread


def test_errors_of_the_trust_are_those_up_to_symmetry(make_report):
    metrics = dict(make_report().metrics)
    np.testing.assert_array_equal(values_of(metrics, "trust_errors"), values_of(metrics, "errors"))
    metrics["shapes"] = {**metrics["shapes"], "trust_errors": [[0.5] * 4] * 5}
    assert (values_of(metrics, "trust_errors") == 0.5).all()


def test_discoveries_are_compared_by_das(make_discovery):
    first, second = make_discovery(swapped=0), make_discovery(swapped=3)
    das, corrected = discovery_differences(first.metrics, second.metrics)
    assert (das.label, corrected.label) == ("DAS", "DAS above chance")
    assert das.first == pytest.approx(first.metrics["das"]["das"])
    assert corrected.second == pytest.approx(second.metrics["das"]["das_corrected"])
    assert das.found.difference == pytest.approx(das.first - das.second)
    assert das.found.low > 0
    assert discovery_differences(first.metrics, make_discovery(annotated=False).metrics) == []
    other = dataclasses.replace(
        second, metrics={**second.metrics, "shapes": {**second.metrics["shapes"], "model_id": list("abcdef")}}
    )
    assert discovery_differences(first.metrics, other.metrics) == []
