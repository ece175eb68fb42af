import csv
import json

import numpy as np
import pytest

from pcsargmax.io import read_landmarks
from pcsargmax.predictions.cloud import FORMATS, load_prediction
from pcsargmax.runs.load import load_run


@pytest.fixture
def clouds(tmp_path) -> list:
    """Two clouds of a user's own, in millimetres far from the origin."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / "a.npy", tmp_path / "b.xyz"]
    for path in paths:
        points = rng.uniform(-1, 1, (150, 3)) * [400, 200, 300] + 1e6
        np.save(path, points) if path.suffix == ".npy" else np.savetxt(path, points, fmt="%.6f")
    return paths


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_predictions_are_printed_as_json(cli, box_copy, clouds):
    result = cli("predict", box_copy, *clouds, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["name"] for one in found] == ["a.npy", "b.xyz"]
    run = load_run(box_copy)
    for path, one in zip(clouds, found, strict=True):
        expected = run.predict_file(path)
        assert [k["name"] for k in one["keypoints"]] == ["0", "1", "2", "3", "4"]
        np.testing.assert_allclose([k["position"] for k in one["keypoints"]], expected.position, atol=1e-6)
        assert all(abs(x - 1e6) < 400 for k in one["keypoints"] for x in k["position"])
        assert {"confidence", "radius", "covariance", "visibility", "point_index"} < set(one["keypoints"][0])
    assert not (box_copy / "predictions").exists()


def test_keypoints_of_a_mesh_are_printed_with_their_point_on_it(cli, box_copy, landmark_root, clouds):
    result = cli("predict", box_copy, landmark_root / "scan0.ply", clouds[0], "--json", "--num-points", 512)
    assert result.exit_code == 0, result.output
    mesh, cloud = json.loads(result.stdout)
    expected = load_run(box_copy).predict_file(landmark_root / "scan0.ply", num_points=512).on_surface
    assert [k["surface"] for k in mesh["keypoints"]] == [expected.to_dict(k) for k in range(5)]
    assert [k["surface"] for k in cloud["keypoints"]] == [None] * 5


def test_a_run_without_calibration_is_said(cli, box_copy, clouds):
    import torch

    said = "confidence is not calibrated: the run had no validation split"
    assert said not in cli("predict", box_copy, clouds[0], "--json").stderr
    for file in (box_copy / "checkpoints").iterdir():
        content = torch.load(file, weights_only=True)
        content["pcsargmax"]["calibration"] = None
        torch.save(content, file)
    result = cli("predict", box_copy, clouds[0], "--json")
    assert said in result.stderr
    (found,) = json.loads(result.stdout)
    assert found["radius_coverage"] is None
    assert all(keypoint["radius"] is None and 0 <= keypoint["confidence"] <= 1 for keypoint in found["keypoints"])


def test_predictions_are_written_into_the_run(cli, box_copy, clouds):
    result = cli("predict", box_copy, *clouds)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert names(box_copy / "predictions") == ["a.json", "b.json"]
    one = json.loads((box_copy / "predictions" / "a.json").read_text())
    assert one == load_run(box_copy).predict_file(clouds[0]).to_dict()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_keypoints(cli, box_copy, clouds, tmp_path, format):
    result = cli("predict", box_copy, clouds[0], "--format", format, "--output", tmp_path / "out" / "deep")
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "deep" / f"a.{format}"
    expected = load_run(box_copy).predict_file(clouds[0])
    if format == "json":
        position = [k["position"] for k in json.loads(path.read_text())["keypoints"]]
    elif format == "csv":
        position = [[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(path.read_text().splitlines())]
    elif format == "mrk.json":
        landmarks = read_landmarks(path)
        present = expected.visibility >= 0.5  # the others are there, but undefined
        assert list(landmarks) == [n for n, is_there in zip(expected.keypoint_names, present, strict=True) if is_there]
        np.testing.assert_allclose(list(landmarks.values()), expected.position[present], atol=1e-6)
        return
    else:
        position = load_prediction(path).position
    np.testing.assert_allclose(position, expected.position, atol=1e-6)


def test_meshes_are_sampled_with_a_seed(cli, box_copy, landmark_root):
    mesh = landmark_root / "scan1.ply"
    found = [cli("predict", box_copy, mesh, "--json", "--num-points", 80, "--seed", seed).stdout for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_json_and_output_together_do_both(cli, box_copy, clouds, tmp_path):
    result = cli("predict", box_copy, clouds[0], "--json", "--output", tmp_path / "out")
    assert len(json.loads(result.stdout)) == 1
    assert names(tmp_path / "out") == ["a.json"]


def test_copies_are_looked_at_and_stages_are_told(cli, look_run, landmark_root):
    mesh, run = landmark_root / "scan1.ply", load_run(look_run)
    for copies in (1, 2):
        result = cli("predict", look_run, mesh, "--json", *(("--copies", copies) if copies > 1 else ()))
        assert result.exit_code == 0, result.output
        (found,) = json.loads(result.stdout)
        expected = run.predict_file(mesh, copies=copies)
        assert found == expected.to_dict()
        assert [stage["name"] for stage in found["stages"]] == ["map", "prior", "look", "prior"]
        np.testing.assert_allclose([k["position"] for k in found["keypoints"]], found["stages"][-1]["positions"])
    assert not np.allclose(expected.position, run.predict_file(mesh).position)


def test_copies_are_of_clouds_that_a_detector_looks_at(cli_error, look_run, image_run, image_root, landmark_root):
    told = cli_error("predict", image_run, image_root / "f0.png", "--copies", 2)
    assert "--copies only applies to keypoint detectors on clouds, got a run on images; leave it out" in told
    told = cli_error("predict", look_run, landmark_root / "scan1.ply", "--copies", 0)
    assert "--copies 0: expected a whole number of at least 1" in told


def test_a_bad_file_ends_it_with_whole_files_only(cli, box_copy, clouds, tmp_path):
    bad = tmp_path / "bad.npy"
    np.save(bad, np.full((10, 3), np.nan))
    result = cli("predict", box_copy, clouds[0], bad, clouds[1], "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert f"{bad}: 10 of 10 points have NaN or infinite coordinates" in result.stderr
    assert names(tmp_path / "out") == ["a.json"]  # what came before the bad one, whole
    json.loads((tmp_path / "out" / "a.json").read_text())
    printed = cli("predict", box_copy, clouds[0], bad, "--json")
    assert printed.exit_code == 2
    assert printed.stdout == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.ply", None, "no.ply: no such file"),
        ("a.txt", b"0 0 0", "unknown kind of file '.txt'"),
        ("empty.npy", np.zeros((0, 3)), "empty.npy: holds no points"),
        ("inf.npy", np.array([[0, 0, np.inf]]), "1 of 1 points have NaN or infinite"),
        ("flat.npy", np.zeros((3, 2)), "expected an array of numbers (N, 3)"),
        ("cut.pcd", b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\n", "cut.pcd"),
        (
            "lie.pcd",
            b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 9\nHEIGHT 1\nPOINTS 9\nDATA ascii\n0 0 0\n",
            "lie.pcd",
        ),
        ("mesh.stl", b"solid x\nendsolid x\n", "a mesh with no faces"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(cli_error, box_copy, tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    assert message in cli_error("predict", box_copy, path)
    assert not (box_copy / "predictions").exists()


@pytest.mark.parametrize("points", [[[1.0, 2, 3]], [[1.0, 2, 3]] * 50, [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
def test_odd_clouds_have_a_finite_result(cli, box_copy, tmp_path, points):
    np.save(tmp_path / "odd.npy", np.array(points))
    result = cli("predict", box_copy, tmp_path / "odd.npy", "--json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)
    numbers = [x for k in one["keypoints"] for x in (*k["position"], k["confidence"], *np.ravel(k["covariance"]))]
    assert np.isfinite(numbers).all()


def test_other_mistakes_are_one_line(cli_error, box_copy, clouds, tmp_path):
    assert "format must be one of json, csv, mrk.json" in cli_error("predict", box_copy, clouds[0], "--format", "xml")
    assert "no run there" in cli_error("predict", tmp_path / "none", clouds[0])
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "a.xyz"
    assert "files must differ in name" in cli_error("predict", box_copy, clouds[0], twin)
    assert "expected 1 point or more, got -1" in cli_error("predict", box_copy, clouds[0], "--num-points", "-1")


def test_files_of_the_user_are_not_replaced_unasked(cli, cli_error, box_copy, clouds, tmp_path):
    mine = tmp_path / "a.mrk.json"
    mine.write_text("placed by hand")
    arguments = ["predict", box_copy, clouds[0], "--output", tmp_path, "--format", "mrk.json"]
    assert "a.mrk.json exists; --overwrite replaces it" in cli_error(*arguments)
    assert mine.read_text() == "placed by hand"
    assert cli(*arguments, "--overwrite").exit_code == 0
    assert "controlPoints" in mine.read_text()
