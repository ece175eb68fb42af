from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch_geometric.data import Data

from pcsargmax.metrics.geodesic import CloudGraph
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.detector import ON_CLOUD, Evaluation, Protocol
from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.runs.load import load_run
from pcsargmax.runs.sources import open_dataset


@pytest.fixture(scope="module")
def run(box_run):
    return load_run(box_run)


@pytest.fixture(scope="module")
def metrics(run):
    return run.evaluate("test")


def shape_errors(metrics: dict, name: str = "expectation") -> np.ndarray:
    return np.array(metrics["shapes"]["errors"][name], dtype=float)  # None is NaN


def test_what_is_kept_of_the_shapes_is_enough_to_count_again(run, metrics):
    shapes = metrics["shapes"]
    items = list(open_dataset(run.settings, "test"))
    assert shapes["model_id"] == [item.model_id for item in items]
    visible = np.array(shapes["visible"])
    np.testing.assert_array_equal(visible, torch.cat([item.keypoint_visible for item in items]))
    assert shapes["errors"].keys() == ESTIMATES.keys()
    for name in ESTIMATES:
        errors = shape_errors(metrics, name)
        np.testing.assert_array_equal(np.isnan(errors), ~visible)
        assert np.nanmean(errors) == pytest.approx(metrics[name]["mean_error"], rel=1e-5)
        assert (errors[visible] <= 0.02).mean() == pytest.approx(metrics[name]["pck@0.02"])
    presence, confidence, peak = (np.array(shapes[name]) for name in ("presence", "confidence", "peak"))
    assert ((presence >= 0.5) == visible).mean() == pytest.approx(metrics["presence"]["accuracy"])
    assert confidence[visible].mean() == pytest.approx(metrics["calibration"]["mean_confidence"], abs=1e-5)
    found = [run.predict(item) for item in items]
    np.testing.assert_allclose(peak, [one.probability.max(axis=1) for one in found], rtol=1e-5)
    diagonal = [(item.pos.amax(dim=0) - item.pos.amin(dim=0)).norm().item() for item in items]
    np.testing.assert_allclose(shapes["diagonal"], diagonal, rtol=1e-5)
    right = shape_errors(metrics)[visible] <= (0.02 * np.array(diagonal)[:, None]).repeat(5, axis=1)[visible]
    assert right.mean() == pytest.approx(metrics["calibration"]["share_correct"])
    assert shapes["trust_errors"] is None
    assert {metrics[name]["symmetry"] for name in ("confidence", "calibration", "sparsification")} == {"none"}


def test_the_coverage_of_the_radius_can_be_counted_again(square):
    item, found, template = square
    fitted = Calibration("threshold_mass", 0.02, (0.0,), (0.5,), "scaled", 0.8, 1.0, 9)
    evaluation = Evaluation(Protocol(), template, fitted, None)
    evaluation.update(item, replace(found, radius=np.array([0.6, 1.0]), radius_coverage=0.8), 2.0)
    values = evaluation.compute()
    shapes = values["shapes"]
    assert shapes["radius"] == [[0.3, 0.5]]
    assert shapes["diagonal"] == [pytest.approx(2**0.5 / 2, abs=1e-6)]
    held = np.array(shapes["radius"]) >= shape_errors(values)
    assert held.mean() == values["radius"]["coverage"] == 0.5


def test_presence_is_told_with_its_effect_on_pck(metrics):
    visible, presence = (np.array(metrics["shapes"][name]) for name in ("visible", "presence"))
    told, errors = metrics["presence"], shape_errors(metrics)
    assert told["estimate"] == "expectation"
    (varying,) = np.nonzero(visible.any(axis=0) & ~visible.all(axis=0))
    assert told["num_varying"] == len(varying) == 1
    peer = average_precision_score(visible[:, varying[0]], presence[:, varying[0]])
    assert told["average_precision"] == pytest.approx(peer)
    claimed = presence >= 0.5
    true = (claimed & (errors <= 0.05)).sum()
    assert told["precision@0.05"] == pytest.approx(true / claimed.sum())
    assert told["recall@0.05"] == pytest.approx(true / visible.sum())
    assert told["recall@0.05"] <= metrics["expectation"]["pck@0.05"]


def test_average_precision_of_the_keypoints_is_scored_by_confidence_and_presence(metrics):
    shapes = metrics["shapes"]
    score = np.array(shapes["presence"]) * np.array(shapes["confidence"])
    errors = shape_errors(metrics)
    assert metrics["map"]["ap_per_keypoint"][0][3] is None  # no shape has it
    for k in (0, 1, 2):  # on all shapes; of these the curve's envelope over three guesses
        hits = (errors[:, k] <= 0.05)[np.argsort(-score[:, k])]
        precision = np.maximum.accumulate((np.cumsum(hits) / [1, 2, 3])[::-1])[::-1]
        assert metrics["map"]["ap_per_keypoint"][2][k] == pytest.approx((precision * hits).sum() / 3)


def test_a_head_that_was_not_trained_counts_for_nothing(square, run):
    item, found, template = square
    for visibility in ([0, 0], [1, 0.75]):
        evaluation = Evaluation(Protocol((0.5,), geodesic=True), template, None, None, presence=False)
        evaluation.update(item, replace(found, visibility=np.array(visibility, dtype=float)), 1.0)
        values = evaluation.compute()
        del values["protocol"]
        if visibility == [0, 0]:
            first = values
    assert values == first
    assert values["presence"] is values["shapes"]["presence"] is None
    assert values["map"]["score"] == "confidence"
    # both are claimed, and one lies on a corner that is annotated
    assert values["snapped_iou"]["iou@0.1"] == values["expectation"]["iou@0.1"] == pytest.approx(1 / 3)
    settings = replace(run.settings, presence_weight=0.0)
    assert replace(run, settings=settings).evaluate("test")["presence"] is None


def test_confidence_of_a_run_trained_up_to_symmetry_is_scored_up_to_it(square):
    item, found, template = square
    fitted = Calibration("threshold_mass", 0.02, (0.0,), (0.5,), "scaled", 0.8, 1.0, 9)
    found = replace(found, radius=np.array([1.2, 0.1]), radius_coverage=0.8)
    evaluation = Evaluation(Protocol((0.6,)), template, fitted, (0, 1), trained="reflection")
    evaluation.update(item, found, 2.0)
    values = evaluation.compute()
    # as annotated .5 and √2; exchanged √1.25 and 0; in units of 2
    exchanged = [pytest.approx(1.25**0.5 / 2, abs=1e-5), 0.0]
    assert values["shapes"]["trust_errors"] == [exchanged]
    assert values["shapes"]["errors"]["expectation"] == [[0.25, pytest.approx(2**0.5 / 2, abs=1e-5)]]
    assert values["calibration"]["share_correct"] == 0.5
    assert values["radius"]["coverage"] == 1.0
    assert values["sparsification"]["error"][-1] == pytest.approx(1.25**0.5 / 4)
    for name in ("confidence", "radius", "calibration", "sparsification"):
        assert values[name]["symmetry"] == "reflection"
    assert values["expectation"]["mean_error"] == pytest.approx((0.25 + 2**0.5 / 2) / 2)


def test_the_mean_iou_of_snapped_keypoints_and_of_the_template(square):
    item, found, template = square
    # Off the cloud by 0.2: within 0.6 of the first annotation only where it is snapped. Only the first is claimed.
    # All lies one away from the origin, so that a length that is left out moves it.
    item.pos, item.keypoint_pos = item.pos + 1, item.keypoint_pos + 1
    position = found.position + 1 + np.array([[0.2, 0, 0], [0, 0, 0]])
    found = replace(found, points=found.points + 1, position=position, visibility=np.array([1.0, 0.0]))
    evaluation = Evaluation(Protocol(iou_threshold=0.3), replace(template, num_seen=torch.tensor([3, 3])), None, None)
    evaluation.update(item, found, 2.0)
    values = evaluation.compute()
    assert values["snapped_iou"]["iou@0.3"] == 0.5  # 0.25 in units of 2, one annotation of two
    assert values["expectation"]["iou@0.3"] == 0.0  # 0.35
    assert values["template"]["iou@0.3"] == 1.0  # which claims both, whatever the detector does
    assert values["snapped"]["iou@0.3"] == 0.5


def test_seed_and_type_reach_every_metric(square):
    evaluation = Evaluation(Protocol(seed=7, geodesic=True), square[2], None, None)
    scorers = [metric for one in evaluation.scorers.values() for metric in (one.pck, one.iou)]
    trust = [evaluation.trust.kept, evaluation.trust.sparse]
    geodesic = [evaluation.geodesic.iou, *evaluation.geodesic.guesses.scorers.values()]
    for metric in (*scorers, *trust, *geodesic, evaluation.presence, evaluation.precision, evaluation.snapped_iou):
        assert metric.seed == 7, metric
        assert metric.dtype == torch.float64, metric


def test_averages_and_strictness_are_those_asked_for(run, metrics):
    errors = shape_errors(metrics)
    right = np.where(np.isnan(errors), np.nan, errors <= 0.02)
    for average, value in {
        "pooled": np.nanmean(right),
        "model": np.nanmean(right, axis=1).mean(),
        "id": np.nanmean(np.nanmean(right[:, [0, 1, 2, 4]], axis=0)),
    }.items():
        found = run.evaluate("test", average=average)
        assert found["protocol"] == {"distance": "euclidean", "average": average, "strict": False}
        assert found["expectation"]["pck@0.02"] == pytest.approx(value)
    assert run.evaluate("test", strict=True)["protocol"]["strict"] is True


def test_strict_means_below(square):
    item, found, template = square
    counted = {}
    for strict in (False, True):
        evaluation = Evaluation(Protocol((0.5, 1.5), strict=strict), template, None, None)
        evaluation.update(item, found, 1.0)
        counted[strict] = evaluation.compute()
    assert counted[False]["snapped"]["pck@0.5"] == 0.5
    assert counted[True]["snapped"]["pck@0.5"] == 0.0
    assert counted[False]["presence"]["recall@0.5"] == 0.5
    assert counted[True]["presence"]["recall@0.5"] == 0.0
    assert counted[False]["map"]["map@0.5"] == 0.5
    assert counted[True]["map"]["map@0.5"] == 0.0


@pytest.fixture
def square() -> tuple[Data, Prediction, Template]:
    """Two keypoints on the corners of a unit square that both were found half a side off, or one side and a half."""
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.float64)
    item = Data(
        pos=points,
        keypoint_pos=points[[0, 3]][None],
        keypoint_visible=torch.ones(1, 2, dtype=torch.bool),
        model_id="square",
        symmetries={"reflection": [[0, 1]], "rotation": []},
    )
    found = Prediction(
        name="square",
        points=points.numpy(),
        keypoint_names=("a", "b"),
        position=points[[1, 0]].numpy(),
        confidence=[0.9, 0.1],
        covariance=np.zeros((2, 3, 3)),
        visibility=[1, 0.75],
        point_index=[1, 0],
        probability=[[0, 0.9, 0.1, 0, 0], [0.8, 0, 0.05, 0.1, 0.05]],
        truth=points[[0, 3]].numpy(),
    )
    template = Template(torch.tensor([[0.0, 0, 0], [1, 1, 1]], dtype=torch.float64), torch.tensor([3, 3]))
    return item, found, template


def test_symmetric_errors_are_those_of_the_nearest_labelling(square):
    item, found, template = square
    evaluation = Evaluation(Protocol((0.6, 1.3), symmetry="reflection"), template, None, (0, 1))
    evaluation.update(item, found, 2.0)
    told = evaluation.compute()["symmetric"]
    assert told["kinds"] == ["reflection"]
    assert told["num_symmetric"] == 1
    # as annotated .5 and √2; exchanged √1.25 and 0, which is less; in units of 2
    assert told["errors"]["snapped"] == [[pytest.approx(1.25**0.5 / 2, abs=1e-5), 0.0]]
    assert told["snapped"]["pck@0.6"] == 1.0
    assert told["template"]["mean_error"] == 0.0
    rotation = Evaluation(Protocol((0.6,), symmetry="rotation"), template, None, (0, 1))
    rotation.update(item, found, 2.0)
    assert rotation.compute()["symmetric"]["num_symmetric"] == 0
    assert rotation.compute()["symmetric"]["errors"]["snapped"] == [[0.25, pytest.approx(2**0.5 / 2, abs=1e-5)]]


def test_distances_along_the_cloud_by_hand(square):
    item, found, template = square
    evaluation = Evaluation(Protocol((0.6, 2.1), iou_threshold=0.6, geodesic=True), template, None, None)
    # Of five points each is a neighbour of each, so the way is straight: as Euclidean.
    evaluation.update(item, found, 1.0)
    values = evaluation.compute()
    told = values["geodesic"]
    assert told["distance"] == "geodesic"
    assert told["neighbors"] == 20
    assert told["errors"]["snapped"] == [[0.5, pytest.approx(2**0.5, abs=1e-5)]]
    assert told["snapped"]["pck@2.1"] == values["snapped"]["pck@2.1"] == 1.0
    # Probabilities above .1 of some keypoint: points 0 (.75 · .8 = .6) and 1 (.9), within .6 of the first annotation,
    # and point 2 has 1 − .9 · .9625 = .134, a false positive; the second annotation is missed.
    assert {name: told["saliency_iou"][name] for name in ("protocol", "average", "strict")} == {
        "protocol": "keypointnet",
        "average": "pooled",
        "strict": False,
    }
    assert told["saliency_map"]["strict"] is True
    assert told["saliency_iou"]["iou@0.6"] == pytest.approx(1 / (2 + 1))
    # Surest first: point 1 is the hit, then point 0 is false, as are 2 and 3 on the other annotation but for point 3.
    assert told["saliency_map"]["map@0.6"] == pytest.approx((1 + 2 / 4) / 2)


def test_parts_that_no_path_joins_are_never_near():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(np.concatenate([rng.random((30, 3)), rng.random((30, 3)) + 50]))
    item = Data(
        pos=points,
        keypoint_pos=points[[0, 1]][None],
        keypoint_visible=torch.tensor([[True, False]]),
        model_id="parts",
    )
    found = Prediction(
        name="parts",
        points=points.numpy(),
        keypoint_names=("a", "b"),
        position=points[[40, 1]].numpy(),
        confidence=[0.5, 0.5],
        covariance=np.zeros((2, 3, 3)),
        visibility=[1, 1],
        point_index=[40, 1],
        probability=np.eye(60)[[40, 1]],
        truth=points[[0, 1]].numpy(),
    )
    template = Template(torch.zeros(2, 3, dtype=torch.float64), torch.tensor([3, 3]))
    evaluation = Evaluation(Protocol((0.5,), geodesic=True), template, None, None)
    evaluation.update(item, found, 1.0)
    told = evaluation.compute()["geodesic"]
    assert told["snapped"]["num_unreached"] == 1
    assert told["snapped"]["mean_error"] is None
    assert told["errors"]["snapped"] == [[None, None]]
    assert told["snapped"]["pck@0.5"] == 0.0


def test_geodesic_pck_of_a_run_is_that_of_the_annotated_points(run):
    found = run.evaluate("test", thresholds=(0.05,), geodesic=True, strict=True, average="model")
    shares = []
    for item in open_dataset(run.settings, "test"):
        one = run.predict(item)
        away = CloudGraph(torch.from_numpy(one.points)).distances(item.keypoint_site[0].clamp_min(0)).numpy()
        errors = away[np.arange(5), one.point_index][item.keypoint_visible[0]]
        shares.append((errors < 0.05).mean())
    assert found["geodesic"]["snapped"]["pck@0.05"] == pytest.approx(np.mean(shares))
    # a way along the cloud is no shorter than the straight one, up to single precision
    assert found["geodesic"]["snapped"]["mean_error"] >= found["snapped"]["mean_error"] * (1 - 1e-6)
    assert set(ON_CLOUD) < set(found["geodesic"])
    assert found["symmetric"] is None


def test_what_was_not_asked_for_is_none(metrics):
    assert metrics["geodesic"] is None
    assert metrics["symmetric"] is None
    assert metrics["snapped_iou"]["protocol"] == "skeleton-merger"


def test_bad_arguments_are_named(run, landmark_root):
    with pytest.raises(ValueError, match="symmetry must be one of none, reflection, rotation, all, got 'both'"):
        run.evaluate("test", symmetry="both")
    with pytest.raises(ValueError, match='average must be "pooled", "model" or "id", got \'mean\''):
        run.evaluate("test", average="mean")
    with pytest.raises(ValueError, match="symmetry must be 'none' for data that annotate none, got 'all'"):
        Evaluation(Protocol(symmetry="all"), run.template, None, None)
    with pytest.raises(ValueError, match="thresholds must be positive, ascending"):
        run.evaluate("test", thresholds=(0.1, 0.05))
    assert replace(Protocol(), strict=True).conventions() == {
        "distance": "euclidean",
        "average": "pooled",
        "strict": True,
    }
