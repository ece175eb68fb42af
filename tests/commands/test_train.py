import csv
import json
import math
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from pcsargmax.commands.train import _notes
from pcsargmax.runs.detector import Validation
from pcsargmax.runs.load import load_run
from pcsargmax.settings.common import OBJECTIVES
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.settings.texts import as_texts
from pcsargmax.training.detector.recommend import recommend

QUICK = (
    "--recipe",
    "paper",
    "--backbone",
    "light",
    "--epochs",
    1,
    "--batch-size",
    4,
    "--num-samples",
    1,
    "--device",
    "cpu",
)


@pytest.fixture
def trained(cli, box_root, tmp_path, monkeypatch):
    """Train by the command line in a folder of its own; returns the result and the settings that were kept."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object, data: object = "box"):
        result = cli("train", data, "--root", box_root, "--run", tmp_path / "run", *options)
        assert result.exit_code == 0, result.output
        return result, TrainSettings.load(tmp_path / "run" / "settings.json")

    return run


def test_training_leaves_a_run_and_says_where(trained, tmp_path):
    result, settings = trained(*QUICK, "--json")
    told = json.loads(result.stdout)
    assert told == {"run": str(tmp_path / "run"), "checkpoint": str(tmp_path / "run" / "checkpoints" / "best.ckpt")}
    assert "training epochs: 1/1" in result.stderr
    assert "preparing training clouds: 7/7" in result.stderr
    assert (settings.data, settings.backbone, settings.epochs) == ("box", "light", 1)
    assert settings.lr == TrainSettings().lr


def test_without_json_nothing_is_on_standard_output(trained, tmp_path):
    result, _ = trained(*QUICK)
    assert result.stdout == ""
    assert f"pcsargmax evaluate {tmp_path}/run" in result.stderr.replace("\n", "")


def test_the_run_is_named_after_data_objective_and_seed(cli, box_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("train", "box", "--root", box_root, *QUICK, "--objective", "soft", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "box-soft-seed3" / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(
    ("name", "distance"), [(name, ("l1", "smooth_l1")[i % 2]) for i, name in enumerate(OBJECTIVES)]
)
def test_every_objective_is_one_flag(cli, box_root, tmp_path, monkeypatch, name, distance):
    monkeypatch.chdir(tmp_path)
    result = cli("train", "box", "--root", box_root, *QUICK, "--objective", name, "--distance", distance)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "runs" / f"box-{name}-seed0"
    assert TrainSettings.load(folder / "settings.json").objective == name
    (log,) = (folder / "log").glob("*/metrics.csv")
    losses = [float(row["train/loss"]) for row in csv.DictReader(log.read_text().splitlines()) if row["train/loss"]]
    assert len(losses) == 1
    assert 0 < losses[0] < math.inf


def test_every_setting_is_an_option(trained, box_root):
    given = {
        "train_split": "trainval",
        "val_split": "test",
        "ids": "0-1",
        "unit": "diagonal",
        "distance": "l2",
        "relaxation": "published",
        "temperature_schedule": "published",
        "tensorboard": False,
        "sigma": "0.02",
        "lr": 0.004,
        "mirror": "x",
        "rotate_axis": "y",
        "drop_points": 0.1,
        "seed": 5,
    }
    options = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        options += [f"--no-{flag[2:]}"] if value is False else [flag, value]
    _, settings = trained(*QUICK, *options)
    texts = as_texts(settings.to_dict())
    assert {name: texts[name] for name in given} == given | {"ids": "0,1"}


def test_help_names_every_setting(cli):
    text = cli("train", "--help").stdout
    for field in fields(TrainSettings):
        assert field.name == "data" or f"--{field.name.replace('_', '-')}" in text, field.name
    assert "pcsargmax train mug" in text


def test_an_explicit_option_wins_over_the_recipe(trained):
    _, settings = trained(*QUICK, "--recipe", "onecycle", "--lr", 0.001)
    assert (settings.lr_schedule, settings.ema) == ("onecycle", 0.99)
    assert (settings.lr, settings.epochs) == (0.001, 1)


def test_an_option_given_as_its_default_wins_over_the_recipe(trained):
    _, settings = trained(*QUICK, "--recipe", "onecycle", "--lr-schedule", "halving")
    assert (settings.lr_schedule, settings.lr) == ("halving", 4.5e-3)


def test_resuming_takes_the_settings_of_the_folder(trained, cli, tmp_path):
    trained(*QUICK, "--lr", 0.002, "--temperature-schedule", "constant")
    result, settings = trained("--resume", "--epochs", 2)
    assert (settings.lr, settings.backbone, settings.epochs) == (0.002, "light", 2)
    assert "training epochs: 2/2" in result.stderr
    changed = cli("train", "box", "--run", tmp_path / "run", "--resume", "--lr", 0.1)
    assert changed.exit_code == 2
    assert "lr was 0.002, now 0.1" in changed.stderr


@pytest.mark.parametrize(
    "options", [("--temperature-schedule", "published"), ("--objective", "discrete"), ("--objective", "soft_vr")]
)
def test_what_is_not_annealed_over_the_training_can_go_on_for_longer(trained, options):
    trained(*QUICK, *options)
    result, settings = trained("--resume", "--epochs", 2)
    assert settings.epochs == 2
    assert "training epochs: 2/2" in result.stderr


@pytest.mark.parametrize("options", [(), ("--objective", "closed_form", "--temperature-schedule", "exponential")])
def test_what_is_annealed_over_the_training_cannot(trained, cli_error, tmp_path, options):
    trained(*QUICK, *options)
    told = cli_error("train", "box", "--run", tmp_path / "run", "--resume", "--epochs", 2)
    assert "cannot resume with other settings: epochs was 1, now 2; leave these out" in told


#: What makes a training on a folder of scans fast, without a choice of the recipe.
SMALL = ("--backbone", "light", "--num-points", 80, "--dense-points", 60, "--num-samples", 1, "--device", "cpu")


def test_without_a_recipe_the_data_choose_and_the_reasons_are_printed(trained, landmark_root, look_settings):
    result, settings = trained(*SMALL, "--epochs", 1, "--folds", 0, data=landmark_root)
    assert result.stdout == ""
    reasons = [line for line in result.stderr.splitlines() if line.startswith("- ")]
    given = look_settings(data=str(landmark_root))
    expected = recommend(given, ["num_points", "dense_points", "epochs", "folds"])
    assert reasons == [f"- {reason}" for reason in expected.reasons]
    assert "too few validation shapes to choose by (1)" in reasons[0]
    assert (settings.looks, settings.shape_prior, settings.val_split) == (2, "auto", "none")
    assert settings.expectation_weight == RECIPES["accurate"]["expectation_weight"]
    assert (settings.epochs, settings.num_points) == (1, 80)  # given, so not chosen
    assert "Shape prior: not used, no shapes were held out (--folds)." in result.stderr


def test_what_is_given_wins_over_what_the_data_choose(trained, landmark_root):
    given = ("--looks", 1, "--val-split", "val", "--lr", 0.002, "--epochs", 1, "--shape-prior", "none", "--json")
    result, settings = trained(*SMALL, *given, data=landmark_root)
    assert list(json.loads(result.stdout)) == ["run", "checkpoint"]
    assert not [line for line in result.stderr.splitlines() if line.startswith("- ")]
    assert (settings.looks, settings.val_split, settings.lr, settings.shape_prior) == (1, "val", 0.002, "none")
    assert (settings.folds, settings.train_split) == (0, "train")


def test_the_fit_of_the_shape_prior_is_told(look_run, look_settings):
    run = load_run(look_run)
    assert _notes(run) == ["Shape prior: not used, no shapes were held out (--folds)."]
    fitted = replace(run, validation=Validation(0.01, 0.02))
    assert _notes(fitted) == ["Shape prior: used on the split 'none'."]
    fitted = replace(fitted, settings=replace(run.settings, folds=3), prior_use=None)
    assert _notes(fitted) == ["Shape prior: not used, it does not help on shapes held out."]
    worse = replace(fitted, validation=Validation(0.03, 0.02), settings=look_settings(folds=3, val_split="none"))
    assert _notes(worse)[0] == "This detector does not beat the template on shapes held out:"
    assert _notes(replace(run, settings=look_settings())) == []


def test_the_recipe_paper_trains_as_in_the_paper(trained):
    _, settings = trained(*QUICK)
    assert (settings.lr_schedule, settings.expectation_weight, settings.looks) == ("halving", 0.0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("bag",), "category 'bag' is not annotated"),
        (("box", "--train-split", "tset"), "split must be"),
        (("box", "--lr", "-1"), "--lr -1.0: expected a finite number above 0"),
        (("box", "--objective", "hard"), "--objective 'hard': choose from sampling, closed_form, soft, discrete, "),
        (
            ("box", "--relaxation", "hard"),
            "--relaxation 'hard': choose from gumbel_softmax, published, straight_through",
        ),
        (("box", "--objective", "soft_vr", "--sigma", "0"), "sigma 0.0: expected a width above 0, the unit of length"),
        (
            ("box", "--recipe", "slow"),
            "--recipe 'slow': unknown recipe; choose from auto, paper, onecycle, accurate, light",
        ),
        (("box", "--backbone", "dgcnn"), "--backbone 'dgcnn': choose from fine, light, ssg, msg"),
        (("box", "--device", "tpu"), "--device 'tpu': choose from auto, cpu, cuda, mps"),
        (("box", "--precision", "3"), "--precision '3': choose from 32-true, 16-mixed, bf16-mixed"),
        (("box", "--ids", "a"), "--ids 'a': expected semantic ids, such as 0-9 or 0,3,5, or an empty text for all"),
        (("box", "--shares", "1"), "--shares '1': expected three numbers separated by commas, such as 0.7,0.1,0.2"),
        (("box", "--ids", "9"), "ids must be distinct semantic ids of box, 0 to 4, got [9]"),
        (("", "--device", "cpu"), "DATA is missing"),
        (("box", "--resume"), "nothing to resume, no settings.json in it"),
        (("box", "--looks", "3"), "--looks 3: expected a whole number of at least 1 and at most 2"),
        (("box", "--folds", "3"), "folds 3: expected val_split 'none', got 'val'"),
        (("box", "--folds", "1", "--val-split", "none"), "folds 1: expected 0, or at least 2"),
        (
            ("box", "--recipe", "accurate", "--symmetry", "all"),
            "shape_prior 'auto': expected symmetry 'none', got 'all'; set shape_prior to 'none'",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(cli_error, box_root, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in cli_error("train", *options, "--root", box_root, "--run", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [("box", "--lr", "fast"), ("box", "--learning-rate", "1"), ()])
def test_a_mistake_of_usage_has_exit_code_2(cli, options):
    result = cli("train", *options)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_an_existing_run_is_refused(cli_error, box_root, box_run):
    assert "the run folder exists" in cli_error("train", "box", "--root", box_root, "--run", box_run, *QUICK)


@pytest.mark.slow
def test_two_processes_train_together(box_root, tmp_path):
    # A process of its own: the second one is started by running the script again.
    script = tmp_path / "script.py"
    script.write_text("from pcsargmax.cli import main\n\nmain()\n")
    options = ["--root", box_root, "--run", tmp_path / "run", *QUICK, "--devices", 2, "--batch-size", 2, "--json"]
    command = [sys.executable, script, "train", "box", *options]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["run"] == str(tmp_path / "run")  # said once
    assert result.stderr.count("training epochs: 1/1") == 1
    assert "warning" not in result.stderr
    import torch

    content = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2  # 7 clouds, 4 a process, 2 a step
