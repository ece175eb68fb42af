import numpy as np
import pytest

from pcsargmax.visualize.report.charts import pck_chart, reliability_chart, sparsification_chart
from pcsargmax.visualize.report.clouds.detector_rows import keypoint_errors_of
from pcsargmax.visualize.report.parts import Scores
from pcsargmax.visualize.report.shape_charts import agreement_chart, keypoint_chart, shape_chart
from pcsargmax.visualize.report.training import read_logs, training_charts


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


def test_keypoints_have_their_own_colours_and_intervals(make_report):
    metrics = make_report(off=0.01).metrics
    rows = keypoint_errors_of({"": metrics})
    assert rows[""]["mean"][:3] == pytest.approx(metrics["expectation"]["error_per_keypoint"][:3], rel=1e-4)
    assert rows[""]["count"].tolist() == [5, 5, 5, 0]
    assert np.isnan(rows[""]["mean"][3])
    chart = keypoint_chart(rows, metrics["keypoint_names"], "raw units")
    (only,) = chart["traces"]
    assert only["marker"]["color"][:2] == ["#0072b2", "#e69f00"]
    assert only["y"] == ["handle", "rim <b>", "</script>", "spout"]
    assert only["x"][3] is None
    assert only["x"][0] - only["error_x"]["arrayminus"][0] == pytest.approx(rows[""]["low"][0], rel=1e-5)
    two = keypoint_chart({"a": rows[""], "b": rows[""]}, metrics["keypoint_names"], "raw units")
    assert [one["marker"]["color"] for one in two["traces"]] == ["#0072b2", "#e69f00"]


def test_nothing_annotated_is_no_error_of_a_keypoint():
    nothing = dict.fromkeys(("mean", "low", "high"), np.full(2, np.nan))
    chart = keypoint_chart({"": nothing}, ["a", "b"], "raw units")
    assert chart["alt"] == "Mean error of 2 keypoints: none is known."


def test_shapes_stand_in_order_and_lead_to_their_pictures():
    scores = Scores("mean error", "length", True, {"": [0.3, None, 0.1, 0.2]})
    (chart,) = shape_chart(scores, list("abcd"), [0, 1, None, 2])
    (only,) = chart["traces"]
    assert only["y"] == [0.1, 0.2, 0.3]
    assert only["customdata"] == [[None, "c"], [2, "d"], [0, "a"]]
    assert chart["title"] == "Score of every shape"
    assert shape_chart(Scores("mean error", "length", True, {"": [0.3, None]}), ["a", "b"], [0, 1]) == []


@pytest.mark.parametrize("values", [{"": [0.3, 0.1]}, {"x": [0.3, 0.1], "y": [0.2, 0.2]}])
def test_images_are_called_images(values):
    (chart,) = shape_chart(Scores("NME", "share", True, values), ["a", "b"], [0, 1], "images")
    assert chart["title"] == "Score of every image"
    assert "shape" not in chart["caption"] + chart["alt"] + str(chart["layout"])


def test_two_runs_are_drawn_against_one_another():
    scores = Scores("agreement", "share", False, {"x": [0.5, 0.9, 0.7, 0.8], "y": [0.4, 0.95, None, 0.6]})
    (chart,) = shape_chart(scores, list("abcd"), [0, 1, 2, 3])
    points = chart["traces"][1]
    assert (points["x"], points["y"]) == ([40, 60, 95], [50, 80, 90])
    assert "that of x is the larger one on 2, that of y on 1" in chart["alt"]
    low, high = chart["layout"]["xaxis"]["range"]
    assert low < 40
    assert high > 95


def test_agreement_says_the_nearest_annotation_in_words():
    chart = agreement_chart("c", "Nearest", np.array([[0.9, 0.1], [0.25, 0.75]]), ["k0", "k1"], ["handle", "rim"])
    assert chart["traces"][0]["z"] == [[90, 10], [25, 75]]
    assert "k0 90 % handle, k1 75 % rim" in chart["alt"]


def test_training_curves_share_a_panel_by_what_they_measure(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,train/loss,val/loss,val/pck@0.01,val/pck@0.02\n0,5,40,45,0.1,0.2\n1,9,1,,,\n1,9,,2,0.3,0.4\n"
    )
    loss, pck = training_charts({"": [log]})
    assert [loss["title"], pck["title"]] == ["loss", "pck"]
    assert loss["layout"]["yaxis"]["type"] == "log"
    assert "type" not in pck["layout"]["yaxis"]
    assert trace(loss, "train/loss")["y"] == [40, 1]
    assert trace(pck, "val/pck@0.02")["x"] == [0, 1]
    assert "train/loss from 40 to 1" in loss["alt"]
    both = training_charts({"a": [log], "b": [log]})[0]
    assert {one["name"] for one in both["traces"]} == {
        f"{run}, {part}/loss" for run in "ab" for part in ("train", "val")
    }
    assert training_charts({"": []}) == []


def test_a_training_that_diverged_has_a_chart(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,train/loss,val/pck\n0,2,nan\n1,inf,nan\n2,1,nan\n")
    loss, pck = training_charts({"": [log]})
    assert trace(loss, "train/loss" if len(loss["traces"]) > 1 else loss["traces"][0]["name"])["y"] == [2, None, 1]
    assert "from 2 to 1." in loss["alt"]
    assert "no finite number" in pck["alt"]


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("epoch,step,train/loss\n0,5,4\n1,9,3\n2,13,2.5\n")
    second.write_text("epoch,step,train/loss\n2,13,2\n3,17,1\n")
    assert read_logs([first, second]) == {"train/loss": [(0, 4), (1, 3), (2, 2), (3, 1)]}
    second.write_text("epoch,step,train/loss\n2,13,two\n")
    with pytest.raises(ValueError, match=r"b\.csv:2: expected a number, got 'two'"):
        read_logs([second])
