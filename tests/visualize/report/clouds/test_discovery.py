import numpy as np
import pytest
import torch

from pcsargmax.metrics import das_from_labels
from pcsargmax.visualize.report.clouds.discovery import (
    cloud_distance,
    keypoint_tables,
    metric_tables,
    nearest_share,
    shape_agreement,
    shape_scores,
    summary,
)
from pcsargmax.visualize.report.parts import told


def test_the_agreement_of_the_shapes_is_das_without_self_pairs():
    rng = np.random.default_rng(0)
    ids, keypoints = rng.integers(0, 3, (7, 4)), rng.integers(0, 4, (7, 5))
    names = [f"m{k}" for k in range(7)]
    shapes = {"model_id": names, "ids": ids.tolist(), "keypoints": keypoints.tolist()}
    found = shape_agreement({"shapes": shapes})
    whole = das_from_labels(torch.from_numpy(ids), torch.from_numpy(keypoints), self_pairs=False)["das"]
    assert np.mean(list(found.values())) == pytest.approx(float(whole))


def test_the_agreement_of_a_shape_is_counted_by_hand():
    shapes = {
        "model_id": ["a", "b", "c", "d"],
        "ids": [[0, 1], [0, 1], [0, 2], [-1, -1]],
        "keypoints": [[0, 1, -1], [0, 1, -1], [1, -1, 1], [-1, -1, -1]],
    }
    found = shape_agreement({"shapes": shapes})
    # a: forward (1 + 1/2) / 2, backward (1/2 + 1) / 2, the second annotation being on a and b only
    assert found["a"] == pytest.approx((0.75 + 0.75) / 2)
    # c: forward (1 + 0) / 2, backward 0 of the first annotation, nothing to compare the third with
    assert found["c"] == pytest.approx((0.5 + 0) / 2)
    assert set(found) == {"a", "b", "c"}


def test_swapped_keypoints_are_the_worst_shape(make_discovery):
    scores = shape_scores({"": make_discovery(swapped=1)})
    assert (scores.name, scores.kind, scores.low_is_best) == ("agreement", "share", False)
    assert int(np.argmin(scores.values[""])) == 0


def test_without_annotations_the_distance_to_the_skeleton_counts(make_discovery):
    report = make_discovery(annotated=False)
    scores = shape_scores({"": report})
    assert (scores.name, scores.low_is_best) == ("distance of the cloud to the skeleton", True)
    one = report.predictions[0]
    near = np.linalg.norm(one.points[:, None] - one.position, axis=-1).min(axis=1).mean()
    diagonal = np.linalg.norm(one.points.max(axis=0) - one.points.min(axis=0))
    assert scores.values[""][0] == cloud_distance(one) <= near / diagonal
    assert "There are no annotations to align by" in summary({"": report}).text
    assert "DAS above chance" not in [row[0].text for table in metric_tables({"": report}) for row in table.rows]


def test_the_summary_warns_of_a_collapse(make_discovery):
    (warning,) = summary({"": make_discovery(collapsed=True)}).warnings
    assert "collapsed. They lie in one place" in warning
    found = summary({"": make_discovery()})
    assert not found.warnings
    assert any("not collapsed" in card.beside for card in found.cards)


def test_keypoints_are_named_and_counted(make_discovery):
    report = make_discovery(swapped=1)
    share = nearest_share(report)
    assert share[0, :2] == pytest.approx([5 / 6, 1 / 6])
    (table,) = keypoint_tables({"": report})
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[0][:5] == ["handle", "handle", "90.0 %", "handle", "83.3 %"]
    away = [one.error[0] / np.linalg.norm(np.ptp(one.points, axis=0)) for one in report.predictions]
    assert told(np.mean(away), "length") in rows[0]
    assert rows[3][1:3] == ["none", "–"]
    (bare,) = keypoint_tables({"": make_discovery(annotated=False)})
    assert "named after" not in bare.columns
    assert nearest_share(make_discovery(annotated=False)) is None
