import json
import shutil
from dataclasses import fields

import pytest

from pcsargmax.settings.images import ImageSettings
from pcsargmax.settings.texts import as_texts

QUICK = ("--epochs", 1, "--size", "64x64", "--deconv-channels", 8, "--num-samples", 1, "--device", "cpu")


@pytest.fixture
def images(tmp_path):
    """A folder of 6 small images with two points each."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,left_x,left_y,right_x,right_y"]
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,10,{10 + number},40,20")
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def trained(cli, images, tmp_path, monkeypatch):
    """Train by the command line in a folder of its own; returns the result and the settings that were kept."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object):
        shares = ("--shares", "4,1,1", "--batch-size", 4, *QUICK)
        result = cli("train-image", images, "--run", tmp_path / "run", *shares, *options)
        assert result.exit_code == 0, result.output
        return result, ImageSettings.load(tmp_path / "run" / "settings.json")

    return run


def test_training_leaves_a_run_that_is_evaluated_and_predicts(trained, cli, images, tmp_path):
    result, settings = trained("--json")
    told = json.loads(result.stdout)
    assert told == {"run": str(tmp_path / "run"), "checkpoint": str(tmp_path / "run" / "checkpoints" / "best.ckpt")}
    assert "opening splits: 2/2" in result.stderr
    assert "training epochs: 1/1" in result.stderr
    assert (settings.trunk, settings.num_samples, settings.lr) == ("tiny", 1, 4e-3)  # of the light preset, but for N_s

    found = json.loads(cli("evaluate", tmp_path / "run", "--flip-test", "--thresholds", "0.1,0.5", "--json").stdout)
    assert (found["kind"], found["flip_test"], found["length"]["name"]) == ("image_keypoints", True, "box")
    assert "pck@0.5" in found["pck"]
    assert json.loads((tmp_path / "run" / "metrics-test.json").read_text()) == found
    text = cli("evaluate", tmp_path / "run").stdout
    assert "1 images, 2 keypoints" in " ".join(text.split())
    assert "square root of the box's area" in " ".join(text.split())
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    both = cli("evaluate", tmp_path / "run", tmp_path / "again")
    assert "mean ± standard deviation over runs" in both.stdout
    twice = cli("evaluate", tmp_path / "run", tmp_path / "run")
    assert twice.exit_code == 2
    assert "runs named twice" in twice.stderr

    result = cli("predict", tmp_path / "run", images / "0.png", "--format", "csv", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    header = (tmp_path / "out" / "0.csv").read_text().splitlines()[0]
    assert header == "file,left_x,left_y,left_confidence,right_x,right_y,right_confidence"
    plain, flipped = (
        json.loads(cli("predict", tmp_path / "run", images / "0.png", "--json", *more).stdout)
        for more in ((), ("--flip-test",))
    )
    assert plain[0]["name"] == "0.png"
    assert plain[0]["keypoints"][0]["position"] != flipped[0]["keypoints"][0]["position"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--geodesic",), "error: --geodesic only applies to detectors, got none"),
        (("--repeatability",), "error: --repeatability only applies to discovery runs, got none"),
        (("--boxes", "b.json"), "error: boxes: expected none for "),
    ],
)
def test_options_of_other_runs_are_refused_by_evaluate(trained, cli, tmp_path, options, message):
    trained()
    result = cli("evaluate", tmp_path / "run", *options)
    assert result.exit_code == 2
    assert result.stderr.strip().splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "mrk.json"), "format must be one of json, csv, npz of a run on images, got 'mrk.json'"),
        (("--num-points", 5), "--num-points only applies to runs on clouds, got one on images"),
    ],
)
def test_options_of_other_runs_are_refused_by_predict(trained, cli_error, images, tmp_path, options, message):
    trained()
    assert message in cli_error("predict", tmp_path / "run", images / "0.png", *options)


def test_every_setting_is_an_option(trained):
    given = {"train_split": "train", "objective": "soft", "distance": "l2", "flip": 0.0, "rotate_law": "normal"}
    given |= {"seed": 5, "padding": 1.5, "lr_schedule": "steps", "lr_steps": "1", "ema": 0.0, "basis": "uniform"}
    _, settings = trained(*(f"--{name.replace('_', '-')}={value}" for name, value in given.items()))
    texts = as_texts(settings.to_dict())
    assert {name: texts[name] for name in given} == given


def test_help_names_every_option(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = cli("train-image", "--help").stdout
    for field in fields(ImageSettings):
        assert field.name == "data" or f"--{field.name.replace('_', '-')}" in text
    assert "--mesh-frame" not in text
    assert "--preset" in text


def test_presets_go_by_the_data(cli_error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # the data are looked for below their default place, with the size of the preset
    assert "datasets/coco" in cli_error("train-image", "coco", "--device", "cpu")
    known = "preset must be one of auto, coco, h36m, mtfl, retina, light"
    assert known in cli_error("train-image", "x", "--preset", "y")
    for size in ("50x50", "25x"):
        expected = f"--size {size!r}: expected HEIGHTxWIDTH in pixels, multiples of 32, such as 256x192"
        assert expected in cli_error("train-image", "faces", "--size", size)
    assert "trunk: no effect on slices" in cli_error("train-image", "slices", "--trunk", "tiny")
    assert "no/such: no such folder" in cli_error("train-image", "no/such")
    assert "depth_bins must be 0 for 'coco'" in cli_error("train-image", "coco", "--preset", "h36m")


def test_a_run_goes_on(trained, cli, images, tmp_path):
    trained()
    result = cli("train-image", images, "--run", tmp_path / "run", "--resume", "--workers", 0)
    assert result.exit_code == 0, result.output
    result = cli("train-image", images, "--run", tmp_path / "run", "--resume", "--basis", "uniform")
    assert "cannot resume with other settings: basis was 'gaussian', now 'uniform'" in result.stderr


def test_the_run_is_named_after_data_objective_and_seed(cli, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = ("--shares", "4,1,1", "--batch-size", 4)
    result = cli("train-image", images, *shares, *QUICK, "--objective", "soft", "--seed", 3, "--val-split", "none")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "photos-image-soft-seed3" / "checkpoints" / "last.ckpt").is_file()
