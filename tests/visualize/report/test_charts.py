import numpy as np
import pytest

from pcsargmax.visualize.report.charts import pck_chart, reliability_chart, sparsification_chart


def trace(chart, name):
    (found,) = [one for one in chart["traces"] if one.get("name") == name]
    return found


def test_the_pck_curve_goes_through_the_figures(make_report):
    metrics = make_report(off=0.01).metrics
    chart = pck_chart({"": metrics}, "raw units")
    curve = trace(chart, "this run")
    for threshold in (0.01, 0.02, 0.05):
        at = int(np.abs(np.array(curve["x"]) - threshold).argmin())
        assert curve["x"][at] == pytest.approx(threshold)
        assert curve["y"][at] == pytest.approx(100 * metrics["expectation"][f"pck@{threshold}"])
        assert trace(chart, "template")["y"][at] == pytest.approx(100 * metrics["template"][f"pck@{threshold}"])
    band = next(one for one in chart["traces"] if one.get("fill"))
    half = len(band["y"]) // 2
    at = int(np.abs(np.array(curve["x"]) - 0.05).argmin())
    assert band["y"][at] == pytest.approx(100 * metrics["expectation"]["pck@0.05/high"])
    assert band["y"][::-1][at] == pytest.approx(100 * metrics["expectation"]["pck@0.05/low"])
    assert half == len(curve["x"])
    assert "Within 0.05: this run" in chart["alt"]
    assert chart["layout"]["xaxis"]["title"]["text"] == "threshold (raw units)"


def test_one_shape_has_no_band(make_report):
    chart = pck_chart({"": make_report(shapes=1).metrics}, "raw units")
    assert not any(one.get("fill") for one in chart["traces"])


def test_reliability_leaves_empty_bins_out(make_report):
    metrics = make_report().metrics
    (chart,) = reliability_chart({"a": metrics, "b": {"calibration": None}})
    curve, bars = trace(chart, "a"), trace(chart, "a: share of keypoints")
    count = np.array(metrics["calibration"]["reliability_number"])
    assert curve["customdata"] == count[count > 0].tolist()
    for axis, key in (("x", "confidence"), ("y", "correct")):
        expected = [100 * v for v in metrics["calibration"][f"reliability_{key}"] if v is not None]
        assert curve[axis] == pytest.approx(expected, rel=1e-5)
    assert len(curve["x"]) == (count > 0).sum() < len(bars["x"]) == 10
    assert sum(bars["y"]) == pytest.approx(100)
    assert bars["x"][0] == 5
    assert reliability_chart({"b": {"calibration": None}}) == []


def test_sparsification_ends_at_the_mean_error(make_report):
    metrics = make_report().metrics
    (chart,) = sparsification_chart({"": metrics}, "raw units")
    curve, best = trace(chart, "by confidence"), trace(chart, "at best")
    assert (curve["x"][-1], curve["y"][-1]) == (100, pytest.approx(metrics["expectation"]["mean_error"], rel=1e-5))
    assert all(a <= b + 1e-9 for a, b in zip(best["y"], curve["y"], strict=True))
    assert sparsification_chart({"b": {"sparsification": None}}, "raw units") == []
