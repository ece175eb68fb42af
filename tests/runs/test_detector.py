import json
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.io.clouds import Cloud, write_cloud
from pcsargmax.metrics import PCK, CloudGraph, KeypointIoU
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.models.second_look import DensePoints
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.runs.clouds import cloud_copies
from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.runs.load import load_run
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.runs.stages import locate, view_of
from pcsargmax.training.detector.train import train
from pcsargmax.transforms.frames import IntoFrame, NormalizeFrame, to_raw


@pytest.fixture(scope="module")
def run(box_run):
    return load_run(box_run)


@pytest.fixture(scope="module")
def sure(run):
    """The run as if its two validation shapes had been enough for a radius."""
    assert run.calibration.quantile is None
    return replace(run, calibration=replace(run.calibration, quantile=1.5))


@pytest.fixture
def items(run) -> list[Data]:
    return list(open_dataset(run.settings, "test"))


def mean_shift(item: Data, scale: float, shift: float) -> Data:
    """The item as float64, scaled and moved along every axis."""
    moved = item.clone()
    moved.pos = item.pos.double() * scale + shift
    moved.keypoint_pos = item.keypoint_pos.double() * scale + shift
    return moved


def test_a_prediction_is_the_soft_argmax_in_raw_units(run, items):
    for item in items:
        found = run.predict(item)
        prepared, neighborhoods = prepare(item, run.detector.backbone)
        with torch.inference_mode():
            scores = run.detector(prepared.pos, None, None, neighborhoods)
        unit = soft_argmax(scores.logits, scores.sites)
        position = to_raw(unit, prepared.frame_center, prepared.frame_scale)[0]
        np.testing.assert_allclose(found.position, position, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.points, item.pos, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.probability, scores.logits[0].softmax(dim=-1), atol=1e-6)
        np.testing.assert_allclose(found.probability.sum(axis=1), 1, atol=1e-5)
        away = np.linalg.norm(found.points[None] - found.position[:, None], axis=-1)
        np.testing.assert_array_equal(found.point_index, away.argmin(axis=1))
        near = away <= run.calibration.threshold * prepared.frame_scale.item()
        mass = torch.from_numpy((found.probability * near).sum(axis=1))
        np.testing.assert_allclose(found.confidence, run.calibration.confidence(mass), atol=1e-4)
        assert found.radius is None
        assert found.radius_coverage is None
        assert found.name == item.model_id
        assert found.keypoint_names == run.keypoint_names
        np.testing.assert_array_equal(found.color, item.color)


def test_a_prediction_has_a_radius_in_raw_units(sure, items):
    for item in items:
        found = sure.predict(mean_shift(item, 10.0, 0.0))
        spread = np.sqrt(np.trace(found.covariance, axis1=1, axis2=2))
        np.testing.assert_allclose(found.radius, 1.5 * spread, rtol=1e-5)
        assert found.radius_coverage == 0.9


def test_the_basis_is_as_wide_as_in_training(run, items):
    wide = replace(run, settings=replace(run.settings, sigma=0.05))
    maps, prepared = wide.distribution(items[0])
    assert maps.basis.sigma.item() == pytest.approx(0.05 / prepared.frame_scale.item(), rel=1e-6)
    assert run.distribution(items[0])[0].basis.sigma.item() == pytest.approx(prepared.sigma.item(), rel=1e-6)


def test_the_covariance_is_that_of_the_mixture_in_raw_units(run, items):
    item = mean_shift(items[0], 10.0, 0.0)
    found = run.predict(item)
    prepared, _ = prepare(item, run.detector.backbone)
    sigma = prepared.sigma.item() * prepared.frame_scale.item()
    for k in range(5):
        spread = np.cov(found.points.T, aweights=found.probability[k].astype(float), ddof=0)
        np.testing.assert_allclose(found.covariance[k], spread + sigma**2 * np.eye(3), rtol=1e-3, atol=1e-4)


def test_visibility_is_the_presence_and_0_for_an_id_never_seen(run, items):
    for item in items:
        visibility = run.predict(item).visibility
        maps, _ = run.distribution(item)
        assert visibility[3] == 0
        np.testing.assert_allclose(visibility[:3], maps.presence[0, :3])


def test_a_prediction_carries_the_truth_where_it_is_known(run, items):
    for item in items:
        truth = run.predict(item).truth
        visible = item.keypoint_visible[0].numpy()
        np.testing.assert_allclose(truth[visible], item.keypoint_pos[0][visible], atol=1e-7)
        assert np.isnan(truth[~visible]).all()
    bare = Data(pos=items[0].pos, farthest_order=True)
    found = run.predict(bare, name="bare")
    assert found.truth is None
    assert found.color is None
    assert found.name == "bare"


def test_the_truth_is_the_annotation_whatever_the_training_allowed(run, items):
    free = replace(run, settings=replace(run.settings, symmetry="reflection"))
    for exchange in ([0, 1, 2, 3, 4], [1, 0, 4, 3, 2]):  # of one of the two the other is nearer
        item = items[0].clone()
        item.symmetries = {"reflection": [[0, 1], [2, 4]], "rotation": []}
        item.keypoint_pos, item.keypoint_visible = item.keypoint_pos[:, exchange], item.keypoint_visible[:, exchange]
        visible = item.keypoint_visible[0].numpy()
        np.testing.assert_allclose(free.predict(item).truth[visible], item.keypoint_pos[0][visible], atol=1e-7)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 1e6), (1000.0, 0.0), (1000.0, 1e6), (1e-3, 5.0)])
def test_units_and_place_of_a_cloud_are_its_own(sure, items, scale, shift):
    for item in items:
        plain, moved = sure.predict(mean_shift(item, 1.0, 0.0)), sure.predict(mean_shift(item, scale, shift))
        # float64 at 1e6 has steps of 1e-10, the unit frame is float32
        tolerance = 1e-5 * scale + 1e-9
        np.testing.assert_allclose(moved.position, plain.position * scale + shift, rtol=0, atol=tolerance)
        np.testing.assert_allclose(moved.covariance, plain.covariance * scale**2, rtol=1e-2, atol=1e-6 * scale**2)
        np.testing.assert_array_equal(moved.point_index, plain.point_index)
        np.testing.assert_allclose(moved.confidence, plain.confidence, atol=1e-3)
        np.testing.assert_allclose(moved.radius, plain.radius * scale, rtol=5e-3)


def test_the_order_of_the_points_does_not_matter(run, items):
    item = items[0]
    shuffled = Data(pos=item.pos[torch.randperm(item.num_nodes, generator=torch.Generator().manual_seed(0))])
    np.testing.assert_allclose(run.predict(shuffled).position, run.predict(Data(pos=item.pos)).position, atol=1e-5)


@pytest.mark.parametrize("pos", [[[5.0, 6.0, 7.0]], [[0.0, 0, 0], [1, 0, 0], [0, 2, 0]], [[5.0, 6.0, 7.0]] * 40])
def test_a_cloud_of_hardly_any_points_has_a_finite_prediction(run, pos):
    pos = torch.tensor(pos, dtype=torch.float64)
    found = run.predict(Data(pos=pos), name="few")
    for value in (found.position, found.confidence, found.covariance, found.visibility, found.probability):
        assert np.isfinite(value).all()
    assert (found.position >= pos.amin(dim=0).numpy() - 1e-6).all()
    assert (found.position <= pos.amax(dim=0).numpy() + 1e-6).all()
    json.dumps(found.to_dict(), allow_nan=False)


def test_bad_clouds_are_named(run):
    with pytest.raises(ValueError, match="got 1 of 4 points with NaN or infinity"):
        run.predict(Data(pos=torch.tensor([[0.0, 0, 0], [1, 1, torch.nan], [1, 0, 0], [0, 1, 0]])))
    with pytest.raises(ValueError, match=r"pos: expected \(N, 3\) points, N at least 1, got \(0, 3\)"):
        run.predict(Data(pos=torch.zeros(0, 3)))


def test_a_file_is_read_sampled_and_predicted(run, landmark_root):
    path = landmark_root / "scan0.ply"
    found = run.predict_file(path, num_points=100)
    assert found.points.shape == (100, 3)
    assert found.name == "scan0.ply"
    np.testing.assert_array_equal(found.points, run.predict_file(path, num_points=100).points)
    assert not np.array_equal(found.points, run.predict_file(path, num_points=100, seed=1).points)
    assert run.predict_file(path).points.shape == (2048, 3)


def test_a_prediction_of_a_mesh_has_its_surface_and_one_of_a_cloud_has_none(run, landmark_root, box_root, items):
    from pcsargmax.io import read_cloud

    path = landmark_root / "scan0.ply"
    mesh, found = read_cloud(path), run.predict_file(path, num_points=50)
    np.testing.assert_array_equal(found.surface.vertices, mesh.points)
    np.testing.assert_array_equal(found.surface.triangles, mesh.faces)
    cloud = box_root / "pcds" / "00000001" / f"{items[0].model_id}.pcd"
    assert run.predict_file(cloud).surface is None


def test_a_detector_that_does_not_beat_the_template_predicts_it(run, items):
    fallen = replace(run, template_deviation=torch.full((len(run.keypoint_names),), 0.01))
    prediction = fallen.predict(items[0])
    assert prediction.stages == (*run.predict(items[0]).stages, "template")
    expected = run.template.predict(items[0].pos)
    np.testing.assert_allclose(prediction.position, expected.numpy(), rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_samples_are_drawn_from_the_maps_in_raw_units(run, items):
    item = mean_shift(items[0], 10.0, 3.0)
    draw = torch.Generator().manual_seed(4)
    found = run.predict(item, num_samples=4000, generator=draw)
    assert found.samples.shape == (4000, 5, 3)
    deviation = np.sqrt(np.einsum("kii->ki", found.covariance))
    away = (found.samples.mean(axis=0) - found.position) / (deviation / 4000**0.5)
    assert np.abs(away).max() < 4.5  # standard errors, 15 of them
    for k in range(5):
        np.testing.assert_allclose(np.cov(found.samples[:, k].T), found.covariance[k], atol=0.15 * deviation.max() ** 2)
    again = run.predict(item, num_samples=4000, generator=torch.Generator().manual_seed(4))
    np.testing.assert_array_equal(again.samples, found.samples)
    np.testing.assert_array_equal(run.predict(item).position, found.position)
    assert run.predict(item).samples is None
    with pytest.raises(ValueError, match="num_samples: expected 0 or more, got -1"):
        run.predict(item, num_samples=-1)


def test_samples_of_a_file_go_by_its_seed(run, landmark_root):
    path = landmark_root / "scan0.ply"
    found = [run.predict_file(path, num_points=100, num_samples=3, seed=seed).samples for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_index_of_a_file_counts_its_own_points(run, box_root, items):
    from pcsargmax.io import read_cloud

    path = box_root / "pcds" / "00000001" / f"{items[0].model_id}.pcd"
    found = run.predict_file(path)
    points = read_cloud(path).points
    nearest = np.linalg.norm(points[None] - found.position[:, None], axis=-1).argmin(axis=1)
    assert [one["point_index"] for one in found.to_dict()["keypoints"]] == nearest.tolist()
    np.testing.assert_allclose(points[nearest], found.points[found.point_index], atol=1e-6)


def test_predictions_of_a_split(run, items):
    found = run.predictions("test", most=2)
    assert [one.name for one in found] == [item.model_id for item in items[:2]]
    assert len(run.predictions("test")) == 3
    np.testing.assert_array_equal(found[0].position, run.predict(items[0]).position)


def test_evaluation_is_pck_and_iou_of_the_predictions(run, items):
    seen = []
    metrics = run.evaluate("test", thresholds=(0.02, 0.2), progress=lambda *now: seen.append(now))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert metrics["split"] == "test"
    assert metrics["unit"] == "raw"
    assert metrics["keypoint_names"] == ["0", "1", "2", "3", "4"]
    found = [run.predict(item) for item in items]
    guesses = {
        "expectation": [one.position for one in found],
        "snapped": [one.points[one.point_index] for one in found],
        "mode": [one.points[one.probability.argmax(axis=1)] for one in found],
        "template": [run.template.predict(item.pos).numpy() for item in items],
    }
    for name, guess in guesses.items():
        errors = [np.linalg.norm(g - one.truth, axis=1) for g, one in zip(guess, found, strict=True)]
        errors = np.concatenate(errors)
        errors = errors[~np.isnan(errors)]
        assert len(errors) == metrics[name]["num_keypoints"] == 11
        assert metrics[name]["mean_error"] == pytest.approx(errors.mean(), abs=1e-7)
        for threshold in (0.02, 0.2):
            assert metrics[name][f"pck@{threshold}"] == pytest.approx((errors <= threshold).mean())
    pck, iou = PCK((0.02, 0.2)).set_dtype(torch.float64), KeypointIoU().set_dtype(torch.float64)
    for item, one in zip(items, found, strict=True):
        parts = torch.from_numpy(one.position)[None], item.keypoint_pos.double(), item.keypoint_visible
        pck.update(*parts)
        iou.update(*parts, torch.from_numpy(one.visibility >= 0.5)[None])
    for key, value in (pck.compute() | iou.compute()).items():
        if value.ndim == 0:
            assert metrics["expectation"][key] == pytest.approx(value.item(), abs=1e-7), key
    right = [((one.visibility >= 0.5) == ~np.isnan(one.truth[:, 0])).mean() for one in found]
    assert metrics["presence"]["accuracy"] == pytest.approx(np.mean(right))
    assert metrics["seconds_per_cloud"] > 0


def test_a_run_without_calibration_says_what_the_map_says(run, items):
    raw = replace(run, calibration=None)
    for item in items:
        found, (maps, _) = raw.predict(item), raw.distribution(item)
        np.testing.assert_allclose(found.confidence, maps.mass_within(0.02)[0])
        assert found.radius is None
        assert found.radius_coverage is None
        np.testing.assert_array_equal(found.position, run.predict(item).position)
    metrics = raw.evaluate("test")
    assert metrics["radius"] is None
    assert metrics["confidence"]["calibrated"] is False
    assert metrics["confidence"]["threshold"] == 0.02


def test_every_measure_and_form_can_be_used(run, sure, items):
    maps, prepared = run.distribution(items[0])
    scale = prepared.frame_scale.item()
    for measure, values in {"mass": maps.mass_within(3 * prepared.sigma.item()), "peak": maps.peak}.items():
        fitted = replace(sure.calibration, measure=measure, knots=(0.0, 1.0), probabilities=(0.0, 1.0), form="plain")
        found = replace(run, calibration=fitted).predict(items[0])
        np.testing.assert_allclose(found.confidence, values[0], atol=1e-6)
        np.testing.assert_allclose(found.radius, fitted.quantile * scale)
    np.testing.assert_array_equal(sure.predict(items[0]).confidence, run.predict(items[0]).confidence)


def test_evaluation_tells_what_confidence_and_radius_were_worth(run, sure, items):
    metrics = sure.evaluate("test")
    assert run.evaluate("test")["radius"] is None
    found = [sure.predict(item) for item in items]
    rows = []
    for item, one in zip(items, found, strict=True):
        diagonal = (item.pos.amax(dim=0) - item.pos.amin(dim=0)).norm().item()
        rows += [
            (c, e / diagonal, e <= r, r)
            for c, e, r in zip(one.confidence, one.error, one.radius, strict=True)
            if not np.isnan(e)
        ]
    confidence, error, within, radius = np.array(rows).T
    told = metrics["confidence"]
    assert len(rows) == 11
    assert told["calibrated"] is True
    assert (told["measure"], told["threshold"]) == ("threshold_mass", 0.02)
    assert metrics["calibration"]["share_correct"] == pytest.approx((error <= 0.02).mean())
    assert metrics["calibration"]["mean_confidence"] == pytest.approx(confidence.mean())
    assert metrics["radius"] == {
        "symmetry": "none",
        "nominal": 0.9,
        "coverage": pytest.approx(within.mean()),
        "mean": pytest.approx(radius.mean()),
        "form": "scaled",
    }


def test_every_estimate_stands_beside_the_template(run):
    metrics = run.evaluate("test")
    assert set(ESTIMATES) <= set(metrics)
    assert {"expectation", "mode", "template"} <= set(ESTIMATES)
    assert all(metrics[name].keys() == metrics["template"].keys() for name in ESTIMATES)


@pytest.mark.parametrize("split", ["test", "one.txt"])
def test_evaluations_are_plain_json(run, split, tmp_path, monkeypatch):
    # id 3 is never visible, and a single model has no interval
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("00000001-m10\n")
    metrics = run.evaluate(split)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["expectation"]["error_per_keypoint"][3] is None
    assert (metrics["expectation"]["mean_error/low"] is None) == (split == "one.txt")


def test_lengths_of_a_folder_are_shares_of_the_diagonal(box_settings, landmark_root, tmp_path):
    settings = box_settings(data=str(landmark_root), num_points=100)
    run = train(settings, tmp_path / "run")
    metrics = run.evaluate("test", geodesic=True)
    errors = []
    for item in open_dataset(settings, "test"):
        diagonal = (item.pos.amax(dim=0) - item.pos.amin(dim=0)).norm().item()
        errors += (run.predict(item).error / diagonal).tolist()
    assert metrics["unit"] == "diagonal"
    assert metrics["expectation"]["mean_error"] == pytest.approx(np.mean(errors))
    assert metrics["expectation"]["mean_error"] < 1
    for item, row in zip(open_dataset(settings, "test"), metrics["geodesic"]["errors"]["mode"], strict=True):
        found = run.predict(item)
        points, truth = torch.from_numpy(found.points), item.keypoint_pos[0].double()
        away = CloudGraph(points).distances(nearest_index(points, truth))
        diagonal = (item.pos.amax(dim=0) - item.pos.amin(dim=0)).norm().item()
        expected = away[range(len(truth)), found.probability.argmax(axis=1)] / diagonal
        assert row == pytest.approx(expected.tolist(), rel=1e-5)
    with pytest.raises(ValueError, match="symmetry must be 'none' for data that annotate none, got 'all'"):
        run.evaluate("test", symmetry="all")


@pytest.fixture(scope="module")
def twice(look_run):
    """A run of two looks, with the shape prior after either."""
    return load_run(look_run)


@pytest.fixture
def scans(twice) -> list[Data]:
    return list(twice.dataset("test"))


def test_the_last_stage_is_the_prediction(twice, scans):
    found = twice.predict(scans[0])
    stages, maps, prepared = twice.stages(scans[0])
    assert found.stages == ("map", "prior", "look", "prior")
    center, scale = prepared.frame_center, prepared.frame_scale
    for stage, positions in zip(stages, found.stage_positions, strict=True):
        np.testing.assert_array_equal(positions, to_raw(stage.mean[0], center, scale))
    np.testing.assert_array_equal(found.position, found.stage_positions[-1])
    np.testing.assert_allclose(found.covariance, stages[-1].covariance[0] * scale.square(), rtol=1e-5)
    np.testing.assert_allclose(found.stage_positions[0], to_raw(maps.mean[0], center, scale))
    apart = np.linalg.norm(np.diff(found.stage_positions, axis=0), axis=-1)
    assert (apart.max(axis=1) > 1e-3).all()


def test_confidence_is_of_the_last_stage_and_the_radius_of_the_maps(twice, scans):
    identity = {"knots": (0.0, 1.0), "probabilities": (0.0, 1.0)}
    fitted = Calibration("threshold_mass", 0.1, **identity, form="scaled", coverage=0.9, quantile=1.5, num_keypoints=9)
    found = replace(twice, calibration=fitted).predict(scans[0])
    stages, maps, prepared = twice.stages(scans[0])
    mass = [maps.mass_within(0.1, stage.mean)[0].numpy() for stage in stages]
    np.testing.assert_allclose(found.confidence, mass[-1], rtol=1e-5)
    assert not np.allclose(mass[-1], mass[0], rtol=1e-2)
    np.testing.assert_allclose(found.radius, 1.5 * maps.spread[0] * prepared.frame_scale.item(), rtol=1e-5)
    plain = twice.predict(scans[0])  # not calibrated: what the maps say of an error of at most 0.02
    np.testing.assert_allclose(plain.confidence, maps.mass_within(0.02, stages[-1].mean)[0])


def test_the_stages_are_those_of_the_view(twice, scans):
    prepared, neighborhoods = prepare(scans[0], twice.detector.backbone)
    dense = DensePoints(prepared.dense_pos[None, :60], prepared.dense_site[None, :60])  # of the 240 of the pool
    with torch.inference_mode():
        scores = twice.detector(prepared.pos, None, None, neighborhoods)
        view = view_of(scores, prepared.sigma, dense)
        expected = locate(twice.detector, [view], twice.prior_use)
    for stage, direct in zip(twice.stages(scans[0])[0], expected, strict=True):
        assert stage.name == direct.name
        torch.testing.assert_close(stage.mean, direct.mean)
        torch.testing.assert_close(stage.covariance, direct.covariance)


@pytest.mark.parametrize(("presence", "weight", "moved"), [(-9.0, 0.1, False), (9.0, 0.1, True), (-9.0, 0.0, True)])
def test_what_the_detector_does_not_see_is_not_measured(twice, scans, presence, weight, moved):
    """All keypoints, so that the prior knows nothing of where any of them is; a head without training is not asked."""
    settings, detector = replace(twice.settings, presence_weight=weight), deepcopy(twice.detector)
    detector.presence.forward = lambda *_: torch.full((1, 3), presence)
    found = replace(twice, settings=settings, detector=detector).predict(scans[0])
    assert moved == (not np.array_equal(found.stage_positions[1], found.stage_positions[0]))


def test_one_copy_is_the_cloud_itself(twice, run, scans, items):
    for one, item in ((twice, scans[0]), (run, items[0])):
        np.testing.assert_array_equal(one.predict(item, copies=1).stage_positions, one.predict(item).stage_positions)


def test_copies_are_one_mixture_in_the_frame_of_the_cloud(twice, run, scans, items):
    generator = torch.Generator().manual_seed(0)
    lump = Data(pos=torch.randn(60, 3, generator=generator), dense_pos=torch.randn(300, 3, generator=generator))
    for one, item in ((twice, lump), (twice, scans[0]), (run, items[0])):
        found = one.predict(item, copies=3)
        assert one.predict(item, copies=3).position.tolist() == found.position.tolist()
        backbone = one.detector.backbone
        views = [prepare(item, backbone)]
        prepared = views[0][0]
        frame = IntoFrame(prepared.frame_center, prepared.frame_scale)
        views += [prepare(copy, backbone, frame) for copy in cloud_copies(item, 2)]
        with torch.inference_mode():
            alone = [one.detector(cloud.pos, None, None, neighborhoods) for cloud, neighborhoods in views]
        means = [soft_argmax(scores.logits, scores.sites)[0] for scores in alone]
        expected = to_raw(sum(means) / 3, prepared.frame_center, prepared.frame_scale)
        np.testing.assert_allclose(found.stage_positions[0], expected, atol=1e-4 * prepared.frame_scale.item())
        np.testing.assert_allclose(found.points, one.predict(item).points)
        assert len({tuple(mean.flatten().tolist()) for mean in means}) == 3


def test_copies_of_a_cloud_that_was_normalised_are_those_of_the_cloud(run, items):
    raw, unit = items[0], NormalizeFrame()(items[0])
    found, expected = run.predict(unit, copies=2), run.predict(raw, copies=2)
    np.testing.assert_allclose(found.position, expected.position, atol=1e-5)


def test_copies_of_a_file_are_other_points_of_its_surface(twice, run, landmark_root, box_cloud):
    mesh = landmark_root / "scan0.ply"
    plain, found = twice.predict_file(mesh), twice.predict_file(mesh, copies=2)
    assert np.linalg.norm(found.position - plain.position, axis=1).max() > 1e-3
    np.testing.assert_array_equal(found.position, twice.predict_file(mesh, copies=2).position)
    np.testing.assert_array_equal(found.points, plain.points)
    assert run.predict_file(mesh, num_points=80, copies=2).stages == ("map",)
    assert run.predict_file(box_cloud, copies=2).points.shape == run.predict_file(box_cloud).points.shape


@pytest.mark.parametrize("copies", [0, -1])
def test_less_than_one_copy_is_refused(twice, scans, copies):
    with pytest.raises(ValueError, match=f"copies: expected 1 or more, got {copies}"):
        twice.predict(scans[0], copies=copies)


def test_copies_are_evaluated_as_they_are_predicted(twice, scans):
    metrics = twice.evaluate("test", copies=2)
    assert (metrics["copies"], twice.evaluate("test")["copies"]) == (2, 1)
    found = [twice.predict(item, copies=2) for item in scans]
    errors = [
        one.error / np.linalg.norm(np.ptp(item.pos.numpy(), axis=0)) for one, item in zip(found, scans, strict=True)
    ]
    assert metrics["expectation"]["mean_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert metrics["expectation"]["mean_error"] != twice.evaluate("test")["expectation"]["mean_error"]


@pytest.mark.parametrize("points", [[[1.0, 2, 3]], [[1.0, 2, 3]] * 50, [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
def test_odd_clouds_have_a_finite_second_look(twice, points):
    item = Data(pos=torch.tensor(points, dtype=torch.float64))
    for copies in (1, 2):
        assert np.isfinite(twice.predict(item, copies=copies).position).all()
    item.dense_pos = item.pos.clone()
    found = twice.predict(item, copies=2)
    assert np.isfinite(found.stage_positions).all()
    assert np.isfinite(found.covariance).all()


def test_a_mesh_of_slivers_has_a_finite_second_look(twice, tmp_path):
    corners = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [30, 30, 30], [30, 30, 30.0001]])
    faces = np.array([[0, 1, 2], [3, 4, 3], [0, 3, 4]])  # no area at all, and next to none, about the far corner
    write_cloud(tmp_path / "sliver.ply", Cloud(corners, faces=faces))
    assert np.isfinite(twice.predict_file(tmp_path / "sliver.ply", copies=2).stage_positions).all()


def test_an_unknown_split_is_an_error(run):
    with pytest.raises(ValueError, match="split must be"):
        run.evaluate("tset")


def test_shapes_that_were_used_in_training_are_counted(run):
    assert run.evaluate("test")["seen_in_training"] == 0
    with pytest.warns(UserWarning, match="7 of the 7 shapes of split 'train' were used in training"):
        assert run.evaluate("train")["seen_in_training"] == 7
    with pytest.warns(UserWarning, match="these results are optimistic"):
        run.evaluate("val")


def test_data_with_other_keypoints_are_refused(run):
    other = replace(run, keypoint_names=("a", "b", "c", "d", "e"))
    with pytest.raises(ValueError, match="was trained for, a, b, c, d, e; got 0, 1, 2, 3, 4"):
        other.evaluate("test")


def test_data_that_moved_are_found(run, box_root, tmp_path):
    moved = shutil.copytree(box_root, tmp_path / "moved")
    there = run.with_data(moved)
    assert there.settings.root == str(moved)
    assert there.evaluate("test")["expectation"] == run.evaluate("test")["expectation"]
