import json
import re
import shutil

import pytest

from pcsargmax.commands.printed.detector import (
    symmetry_lines,
)
from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.runs.load import load_run


def test_metrics_are_printed_and_kept(cli, box_copy):
    result = cli("evaluate", box_copy, "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    kept = (box_copy / "metrics-test.json").read_text()
    assert metrics == json.loads(kept)
    assert '\n "split": "test",\n' in kept  # a figure a line
    lines = [line.strip().rstrip(",") for line in kept.splitlines()]
    for rows in (metrics["shapes"]["confidence"], metrics["shapes"]["errors"]["mode"]):
        assert all(json.dumps(row) in lines for row in rows)  # and a shape a line
    expected = load_run(box_copy).evaluate("test")
    del metrics["seconds_per_cloud"], expected["seconds_per_cloud"]
    assert metrics == expected


@pytest.mark.filterwarnings("ignore:2 of the 2 shapes of split 'val'")
def test_options_reach_the_evaluation(cli, box_copy):
    result = cli("evaluate", box_copy, "--split", "val", "--thresholds", "0.1,0.3", "--checkpoint", "last", "--json")
    metrics = json.loads(result.stdout)
    assert metrics["checkpoint"] == "last.ckpt"
    assert {"pck@0.1", "pck@0.3"} < set(metrics["expectation"])
    assert metrics["expectation"]["num_models"] == 2
    assert (box_copy / "metrics-val.json").is_file()


def test_protocols_reach_the_evaluation_and_are_named(cli, box_copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    options = ("--average", "model", "--strict", "--geodesic", "--symmetry", "all")
    text = cli("evaluate", box_copy, *options).stdout
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    expected = load_run(box_copy).evaluate("test", average="model", strict=True, geodesic=True, symmetry="all")
    del metrics["seconds_per_cloud"], expected["seconds_per_cloud"]
    assert metrics == expected
    plain = re.sub(r"\s+", " ", text)
    assert plain.count("mean over shapes, strict <") == 3
    assert "along the cloud, 20 neighbours a point" in plain
    assert "up to symmetry: reflection and rotation, 0 shapes annotated with any" in plain
    assert f"iou@0.1 {metrics['geodesic']['saliency_iou']['iou@0.1']:.1%}" in plain
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text


def test_the_table_has_a_row_for_each_estimate_within_80_columns(cli, box_copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("evaluate", box_copy).stdout
    assert "…" not in text
    for name in ESTIMATES:
        assert name.split("_")[0] in text
    assert "mean error" in re.sub(r"\s+", " ", text)
    found = json.loads((box_copy / "metrics-test.json").read_text())["template"]
    assert f"{found['mean_error']:.4f}" in text
    assert "box, test split" in text


def test_a_symmetry_of_the_training_is_said_above_the_lines_of_confidence(cli, box_copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    metrics = load_run(box_copy).evaluate("test")
    assert symmetry_lines(metrics) == []
    metrics["confidence"]["symmetry"] = "reflection"
    assert symmetry_lines(metrics) == ["below: errors up to reflection, as trained; all else is plain"]
    metrics["confidence"]["symmetry"] = "all"
    assert len(symmetry_lines(metrics)[0]) <= 80


def test_several_runs_are_compared(cli, box_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    other = shutil.copytree(box_copy, tmp_path / "other")
    result = cli("evaluate", box_copy, other, "--checkpoint", "last", "--json")
    first, second = json.loads(result.stdout)
    del first["seconds_per_cloud"], second["seconds_per_cloud"]
    assert first == second
    assert (other / "metrics-test.json").is_file()
    text = cli("evaluate", box_copy, other, "--checkpoint", "last").stdout
    assert text.count("box, test split") == 2
    assert "…" not in text
    mean, compared = first["snapped"]["mean_error"], text.split("box, test split")[-1]
    assert f"{mean:.4f}" in compared
    for line in ("box ", "sampling, N_s = 2 ", "expectation, 2 runs", "snapped, 2 runs"):
        assert line in compared


def test_copies_reach_the_evaluation_and_are_named(cli, look_run, tmp_path):
    run = shutil.copytree(look_run, tmp_path / "run")
    result = cli("evaluate", run, "--copies", 2)
    assert result.exit_code == 0, result.output
    assert "mean over 2 samples of each cloud" in result.stdout
    metrics = json.loads((run / "metrics-test.json").read_text())
    expected = load_run(run).evaluate("test", copies=2)
    del metrics["seconds_per_cloud"], expected["seconds_per_cloud"]
    assert metrics == expected
    assert metrics["copies"] == 2
    plain = cli("evaluate", run, "--json")
    assert json.loads(plain.stdout)["copies"] == 1
    assert "samples of each cloud" not in cli("evaluate", run).stdout


def test_copies_are_of_clouds_that_a_detector_looks_at(cli_error, image_run, look_run):
    assert "--copies only applies to detectors, got none; leave it out" in cli_error(
        "evaluate", image_run, "--copies", 2
    )
    told = cli_error("evaluate", look_run, "--copies", 0)
    assert "--copies 0: expected a whole number of at least 1" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "tset"), "split must be"),
        (("--thresholds", "a"), "thresholds must be numbers with commas between, got 'a'"),
        (("--thresholds", "0.1,0.05"), "thresholds must be positive, ascending"),
        (("--checkpoint", "third"), "checkpoint must be best or last, got 'third'"),
        (("--device", "tpu"), "device must be cpu, cuda or mps"),
        (("--average", "mean"), 'average must be "pooled", "model" or "id", got \'mean\''),
        (("--symmetry", "x"), "symmetry must be one of none, reflection, rotation, all, got 'x'"),
        (("--no-self-pairs",), "--no-self-pairs only applies to discovery runs, got none"),
        (("--repeatability",), "--repeatability only applies to discovery runs, got none"),
        (("--flip-test",), "--flip-test only applies to runs on images with keypoints, got none"),
    ],
)
def test_a_mistake_is_one_line(cli_error, box_copy, options, message):
    assert message in cli_error("evaluate", box_copy, *options)
    assert not list(box_copy.glob("metrics-*"))


def test_a_run_that_is_none_is_one_line(cli_error, tmp_path):
    assert f"{tmp_path}/none: no run there" in cli_error("evaluate", tmp_path / "none")
    (tmp_path / "x.ckpt").write_text("hello")
    assert "x.ckpt: not a checkpoint" in cli_error("evaluate", tmp_path / "x.ckpt")


def test_data_that_went_are_named(cli_error, box_root, box_copy, tmp_path):
    import torch

    file = box_copy / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["pcsargmax"]["settings"]["root"] = str(tmp_path / "gone")
    torch.save(content, file)
    assert f"{tmp_path}/gone" in cli_error("evaluate", box_copy)
