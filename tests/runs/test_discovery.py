import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.metrics import DAS, das_from_labels
from pcsargmax.metrics.alignment import corrected_das_from_labels
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.ops.skeleton import decode_cloud, edge_pairs
from pcsargmax.predictions.cloud import load_prediction
from pcsargmax.runs.evaluation.discovery import DiscoverScorer
from pcsargmax.runs.load import load_run
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.discovery.train import discover


@pytest.fixture(scope="module")
def run(box_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("discovery") / "run"
    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=3, batch_size=4, device="cpu")
    return discover(settings, folder)


def test_a_prediction_is_in_the_units_of_the_file(run):
    item = run.dataset("all")[2]
    found = run.predict(item)
    far = Data(pos=item.pos * 1000, farthest_order=True, model_id="far")
    scaled = run.predict(far)
    np.testing.assert_allclose(scaled.position, 1000 * found.position, atol=1e-3)
    np.testing.assert_allclose(scaled.skeleton.points, 1000 * found.skeleton.points, atol=1e-3)
    np.testing.assert_allclose(scaled.confidence, found.confidence, atol=1e-4)
    assert (found.name, found.keypoint_names, found.visibility.tolist()) == ("m02", run.keypoint_names, [1] * 4)
    np.testing.assert_allclose(found.points, item.pos.numpy(), atol=1e-6)
    low, high = item.pos.numpy().min(axis=0), item.pos.numpy().max(axis=0)
    assert ((found.position > low) & (found.position < high)).all()


def test_samples_are_in_the_units_of_the_file(run):
    item = run.dataset("all")[2]
    item = Data(pos=item.pos * 1000 + 5, farthest_order=True)
    found = run.predict(item, num_samples=2000, generator=torch.Generator().manual_seed(1))
    assert found.samples.shape == (2000, 4, 3)
    deviation = np.sqrt(np.einsum("kii->ki", found.covariance))
    assert (np.abs(found.samples.mean(axis=0) - found.position) < 4.5 * deviation / 2000**0.5).all()
    assert run.predict(item).samples is None


def test_the_centred_frame_does_not_mind_where_a_cloud_lies(run):
    item = run.dataset("all")[2]
    centered = replace(run, centered=True)
    moved = centered.predict(Data(pos=item.pos + 1e4, farthest_order=True))
    np.testing.assert_allclose(moved.position, centered.predict(item).position + 1e4, atol=1e-3)


def test_the_skeleton_joins_the_keypoints(run):
    found = run.predict(run.dataset("all")[0])
    skeleton = found.skeleton
    assert skeleton.edges.tolist() == edge_pairs(4).tolist()
    assert ((skeleton.strength > 0) & (skeleton.strength < 1)).all()
    assert sorted(set(skeleton.edge.tolist())) == list(range(6))
    maps, strengths, prepared = run.distribution(run.dataset("all")[0])
    points, edge = decode_cloud(maps.mean[0], run.merger.offsets.detach())
    np.testing.assert_array_equal(skeleton.edge, edge.numpy())
    np.testing.assert_allclose(skeleton.strength, strengths.numpy())
    raw = points.double() * prepared.frame_scale[0] + prepared.frame_center[0]
    np.testing.assert_allclose(skeleton.points, raw.numpy())
    ends = found.position[skeleton.edges[0]]
    offsets = run.merger.offsets.detach()[0].numpy() * float(prepared.frame_scale)
    np.testing.assert_allclose(skeleton.points[skeleton.edge == 0][0], ends[0] + offsets[0], atol=1e-5)


def test_files_are_predicted_and_kept_whole(run, box_cloud, tmp_path):
    found = run.predict_file(box_cloud)
    again = load_prediction(found.save(tmp_path / "found.npz", "npz"))
    for field in ("edges", "strength", "points", "edge"):
        np.testing.assert_array_equal(getattr(again.skeleton, field), getattr(found.skeleton, field))
    told = json.loads(found.save(tmp_path / "found.json").read_text())
    assert len(told["skeleton"]["edges"]) == 6
    edge = told["skeleton"]["edges"][1]
    assert edge["keypoints"] == [run.keypoint_names[0], run.keypoint_names[2]]
    np.testing.assert_allclose(edge["points"], found.skeleton.points[found.skeleton.edge == 1])
    for form in ("csv", "mrk.json"):
        assert found.save(tmp_path / f"found.{form}", form).is_file()


def test_keypoints_of_a_mesh_have_a_point_on_it(run, landmark_root, box_cloud):
    found = run.predict_file(landmark_root / "scan0.ply", num_points=512)
    assert (found.on_surface.face < 12).all()  # of a box
    away = np.linalg.norm(found.position - found.on_surface.position, axis=1)
    np.testing.assert_allclose(found.on_surface.distance, away)
    assert run.predict_file(box_cloud).on_surface is None


def test_the_evaluation_is_that_of_the_metrics(run):
    metrics = run.evaluate("test", thresholds=(0.05, 0.5))
    json.dumps(metrics, allow_nan=False)
    das = DAS()
    for item in run.dataset("test"):
        maps, _, prepared = run.distribution(item)
        das.update(maps.mean, prepared.keypoint_pos, prepared.keypoint_visible)
    for name, value in das.compute().items():
        assert metrics["das"][name] == pytest.approx(value.item(), abs=1e-6), name
    assert (metrics["kind"], metrics["protocol"], metrics["unit"]) == ("skeleton_merger", "skeleton-merger", "raw")
    assert (metrics["num_shapes"], metrics["num_annotated"], metrics["seen_in_training"]) == (3, 3, 3)
    assert {"iou@0.05", "iou@0.5"} < set(metrics["miou"]["hungarian"])
    assert list(metrics["miou"]) == ["hungarian", "skeleton-merger", "keypointnet"]
    assert metrics["miou"]["hungarian"] != metrics["miou"]["skeleton-merger"]
    assert {"coverage", "inclusivity@0.03"} < set(metrics["coverage"])
    assert run.evaluate("test", self_pairs=False)["protocol"] == "without self-pairs"


def test_the_kept_labels_of_the_shapes_give_the_scores_again(run):
    metrics = run.evaluate("all")
    shapes = json.loads(json.dumps(metrics["shapes"]))
    assert shapes["model_id"] == [f"m{number:02d}" for number in range(12)]
    ids, keypoints, merged_ids, merged_keypoints = (torch.tensor(shapes[key]) for key in list(shapes)[1:])
    assert list(shapes) == ["model_id", "ids", "keypoints", "merged_ids", "merged_keypoints"]
    assert (ids.shape, keypoints.shape) == ((12, 4), (12, 5))
    assert (keypoints[:, 3] == -1).all()
    again = das_from_labels(ids, keypoints) | corrected_das_from_labels(merged_ids, merged_keypoints)
    for name, value in again.items():
        assert metrics["das"][name] == pytest.approx(value.item(), abs=1e-12), name
    weights = resample_weights(12, 1000)
    low, high = das_from_labels(ids, keypoints, weights)["das"].quantile(torch.tensor([0.025, 0.975]).double())
    assert metrics["das"]["das/low"] == pytest.approx(low.item())
    assert metrics["das"]["das/high"] == pytest.approx(high.item())


def test_shapes_without_annotation_are_not_among_those_kept():
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0.3, 0, 0]])
    truth = torch.tensor([[[-0.9, 0, 0], [0.25, 0, 0]]])
    its, keypoints = scorer("raw"), torch.tensor([[[-1.0, 0, 0], [0.3, 0, 0]]])
    for name, where in (("bare", None), ("first", truth), ("second", truth)):
        made = item(pos, where)
        made.model_id = name
        its.update(keypoints, torch.ones(1), made, MAPS)
    found = its.compute()
    assert (found["num_shapes"], found["num_annotated"]) == (3, 2)
    assert found["shapes"]["model_id"] == ["first", "second"]
    assert found["shapes"]["ids"] == found["shapes"]["keypoints"] == [[0, 1]] * 2
    assert found["self_alignment"]["num_models"] == 3
    assert found["self_alignment"]["das_sc3k"] == 1


MAPS = torch.tensor([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])


def item(pos: torch.Tensor, keypoints: torch.Tensor | None = None) -> Data:
    made = Data(pos=pos, sigma=torch.tensor([0.1]), frame_scale=torch.tensor([[2.0]]), frame_center=torch.zeros(1, 3))
    if keypoints is not None:
        made.keypoint_pos, made.keypoint_visible = keypoints, torch.ones(keypoints.shape[:2], dtype=torch.bool)
    return made


def scorer(unit: str, *thresholds: float) -> DiscoverScorer:
    return DiscoverScorer(torch.zeros(1, 200, 3), unit, thresholds or (0.1,))


def test_keypoints_are_snapped_and_measured_in_the_unit():
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0.3, 0, 0]])
    truth = torch.tensor([[[-0.9, 0, 0], [0.25, 0, 0]]])
    for unit, thresholds in {"raw": (0.15, 0.25), "diagonal": (0.04, 0.06)}.items():  # 0.1 of 2 is 0.2 raw
        its = scorer(unit, *thresholds)
        its.update(torch.tensor([[[-1.2, 0, 0], [0.3, 0.1, 0]]]), torch.ones(1), item(pos, truth), MAPS)
        values = list(its.compute()["miou"]["hungarian"].values())
        assert values[:2] == [pytest.approx(1 / 3), 1.0]


def test_miou_by_each_protocol():
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0.3, 0, 0]])
    truth = torch.tensor([[[-0.9, 0, 0], [0.25, 0, 0]]])
    its = scorer("raw", 0.25, 2.0)
    # Both keypoints snap to the third point, 0.1 from the second annotation and 2.4 from the first.
    its.update(torch.tensor([[[0.2, 0, 0], [0.3, 0.1, 0]]]), torch.ones(1), item(pos, truth), MAPS)
    found = {name: list(values.values())[:2] for name, values in its.compute()["miou"].items()}
    # The points 1 and 2 are salient, 1.4 apart; the annotations are the points 0 and 2.
    assert found["hungarian"] == [pytest.approx(1 / 3)] * 2
    assert found["skeleton-merger"] == [0.5, 0.5]
    assert found["keypointnet"] == [pytest.approx(1 / 3), 0.5]


def test_collapse_is_said_with_and_without_annotations():
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0.3, 0, 0]])
    truth = torch.tensor([[[-0.9, 0, 0], [0.25, 0, 0]]])
    for keypoints in (None, truth):
        for apart, collapsed in ((0.001, True), (0.5, False)):
            its = scorer("raw")
            its.update(torch.tensor([[[0, 0, 0], [apart, 0, 0]]]), torch.ones(1), item(pos, keypoints), MAPS)
            found = its.compute()
            assert found["collapsed"] is collapsed
            assert found["min_distance"] == pytest.approx(apart)
            assert (found["das"] is None) is (keypoints is None)


def test_collapse_of_shapes_without_annotation_is_told_beside_annotated_ones():
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0.3, 0, 0]])
    truth = torch.tensor([[[-0.9, 0, 0], [0.25, 0, 0]]])
    its = scorer("raw")
    its.update(torch.tensor([[[0, 0, 0], [0.5, 0, 0]]]), torch.ones(1), item(pos, truth), MAPS)
    for _ in range(9):
        its.update(torch.zeros(1, 2, 3), torch.ones(1), item(pos), MAPS)
    found = its.compute()
    assert found["das"]["collapsed"] is False
    assert found["min_distance"] == pytest.approx(0.05)
    assert found["collapsed"] is True


def test_the_seed_reaches_every_metric():
    its = DiscoverScorer(torch.zeros(1, 200, 3), "raw", (0.1,), seed=7)
    for metric in (its.das, its.self_alignment, its.coverage, *its.iou.values()):
        assert metric.seed == 7


def damaged(run, tmp_path, change):
    content = torch.load(run.checkpoint, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_damaged_checkpoints_are_refused(run, tmp_path):
    file = damaged(run, tmp_path, lambda content: content["state_dict"].pop("merger.offsets"))
    with pytest.raises(ValueError, match="its weights do not fit its settings"):
        load_run(file)
    file = damaged(run, tmp_path, lambda content: content["pcsargmax"].update(kind="other"))
    with pytest.raises(ValueError, match="a damaged checkpoint: KeyError: 'other'"):
        load_run(file)
    file = damaged(run, tmp_path, lambda content: content["pcsargmax"]["settings"].update(k=3))
    with pytest.raises(ValueError, match="unknown keys"):
        load_run(file)


def test_the_last_checkpoint_can_be_asked_for(run):
    assert load_run(run.folder, checkpoint="last").checkpoint.name == "last.ckpt"
    assert load_run(run.checkpoint).folder == run.folder


def test_repeatability_is_measured_on_changed_copies(run):
    assert run.evaluate("test")["repeatability"] is None
    found = run.evaluate("test", repeatability=True)["repeatability"]
    json.dumps(found, allow_nan=False)
    assert list(found) == ["rotation", "noise", "density", "view"]
    for values in found.values():
        assert 0 <= values["repeatability@0.05"] <= values["repeatability@0.1"] <= 1
        assert values["num_models"] == 3
    assert run.evaluate("test", repeatability=True)["repeatability"] == found
