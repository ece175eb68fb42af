import numpy as np
import pytest

from pcsargmax.visualize.report.clouds.detector_rows import keypoint_errors_of
from pcsargmax.visualize.report.parts import Scores
from pcsargmax.visualize.report.shape_charts import agreement_chart, keypoint_chart, shape_chart


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
