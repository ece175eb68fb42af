import shutil
import warnings

import numpy as np
import pytest

from pcsargmax.runs.load import load_run
from pcsargmax.visualize.report import check_alike, measure_run
from pcsargmax.visualize.report.base import comparable


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu")
    return discover(settings, tmp_path_factory.mktemp("runs") / "discovery")


def test_one_pass_gives_the_figures_and_the_predictions(box_run):
    run = load_run(box_run)
    asked = []
    report = measure_run(run, progress=lambda done, total: asked.append((done, total)), seed=3)
    assert asked == [(1, 3), (2, 3), (3, 3)]
    plain = run.evaluate("test", seed=3)
    assert {**report.metrics, "seconds_per_cloud": 0} == {**plain, "seconds_per_cloud": 0}
    assert [one.name for one in report.predictions] == plain["shapes"]["model_id"]
    np.testing.assert_array_equal(report.predictions[1].position, run.predict(run.dataset("test")[1]).position)
    assert (report.name, report.is_discovery, [log.name for log in report.logs]) == ("box", False, ["metrics.csv"])
    assert report.trained is not None


def test_a_discovery_is_measured_against_what_its_keypoints_are_named_after(discovery):
    report = measure_run(discovery)
    assert report.is_discovery
    assert report.annotations == discovery.annotations
    assert len(report.predictions) == report.metrics["num_shapes"] == 12
    item = discovery.dataset("all")[5]
    matched, one = discovery.correspondence.ids, report.predictions[5]
    for k, g in enumerate(matched):
        there = g is not None and bool(item.keypoint_visible[0, g])
        assert np.isfinite(one.truth[k]).all() == there
        if there:
            np.testing.assert_allclose(one.truth[k], item.keypoint_pos[0, g].numpy())
    np.testing.assert_array_equal(one.position, discovery.predict(item).position)
    np.testing.assert_array_equal(one.skeleton.points, discovery.predict(item).skeleton.points)


def test_runs_that_cannot_be_compared_are_refused_before_anything_is_measured(box_run, discovery, make_report):
    run = load_run(box_run)
    check_alike(run)
    check_alike(run, run)
    with pytest.raises(ValueError, match="against: expected a detector as box is, got discovery, a discovery"):
        check_alike(run, discovery)
    other = make_changed(make_report("other", unit="diagonal"), keypoint_names=["a", "b"])  # which says more
    with pytest.raises(ValueError, match=r"against: expected the keypoints of mug-run, .*; got those of other, a, b"):
        comparable(make_report(), other)
    told = "against: expected errors in the unit of mug-run, 'raw'; got 'diagonal', that of other"
    with pytest.raises(ValueError, match=told):
        comparable(make_report(), make_report("other", unit="diagonal"))


def make_changed(report, **changes):
    from dataclasses import replace

    return replace(report, metrics={**report.metrics, **changes})


def test_reports_are_brought_to_the_shapes_that_both_have(make_report):
    from dataclasses import replace

    first, second = make_report(shapes=4), make_report("other", shapes=5)
    turned = replace(second, predictions=second.predictions[::-1][1:4])  # m3, m2, m1
    mine, other = comparable(first, turned)
    assert [one.name for one in mine.predictions] == [one.name for one in other.predictions] == ["m1", "m2", "m3"]
    with pytest.raises(ValueError, match="mug-run and other have none in common"):
        comparable(first, replace(second, predictions=second.predictions[4:]))


def test_other_shapes_of_the_same_names_are_refused(make_report):
    from dataclasses import replace

    first, second = make_report(shapes=2), make_report("other", shapes=2)
    one = second.predictions[1]
    for points in (one.points * 1.2, one.points + 0.1):
        moved = replace(second, predictions=(second.predictions[0], replace(one, points=points)))
        with pytest.raises(
            ValueError, match="against: expected a run on the same shapes, m1 of other is not that of mug"
        ):
            comparable(first, moved)
    near = replace(second, predictions=(second.predictions[0], replace(one, points=one.points * 1.01)))
    assert comparable(first, near)[1].predictions == near.predictions


def test_a_report_counts_in_one_way(box_run):
    with pytest.raises(ValueError, match="average and strict: a report counts in one way"):
        measure_run(load_run(box_run), average="model", strict=True)


def test_shapes_seen_in_training_warn_once(box_run, tmp_path):
    run = load_run(shutil.copytree(box_run, tmp_path / "copy"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = measure_run(run, "train")
    assert report.metrics["seen_in_training"] == 7
    assert len(caught) == 1
