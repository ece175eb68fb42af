import json
import math
from dataclasses import fields

import pytest

from pcsargmax.commands.discover import command
from pcsargmax.commands.printed.discovery import print_discovery, print_discovery_comparison
from pcsargmax.runs.load import load_run
from pcsargmax.settings.discovery import DISCOVER_RECIPES, DiscoverSettings

QUICK = ("--keypoints", 4, "--epochs", 1, "--batch-size", 4, "--device", "cpu")


@pytest.fixture(scope="module")
def folder(box_root, tmp_path_factory):
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu")
    place = tmp_path_factory.mktemp("runs") / "discovery"
    discover(settings, place)
    return place


def test_discover_then_evaluate_then_predict(cli, box_root, box_cloud, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("discover", "box", "--root", box_root, *QUICK, "--objective", "soft_dr", "--seed", 2, "--json")
    assert result.exit_code == 0, result.output
    run = "runs/box-discover-soft_dr-seed2"
    assert json.loads(result.stdout) == {"run": run, "checkpoint": f"{run}/checkpoints/last.ckpt"}
    assert "preparing training clouds: 12/12" in result.stderr
    assert "nearest keypoints" in result.stderr

    result = cli("evaluate", run, "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics == json.loads((tmp_path / run / "metrics-all.json").read_text())
    assert (metrics["kind"], metrics["split"], metrics["num_shapes"]) == ("skeleton_merger", "all", 12)

    result = cli("predict", run, box_cloud, "--json")
    assert result.exit_code == 0, result.output
    assert "not calibrated" not in result.stderr
    (found,) = json.loads(result.stdout)
    assert [keypoint["name"] for keypoint in found["keypoints"]] == list(load_run(run).keypoint_names)
    assert len(found["skeleton"]["edges"]) == 6


def test_a_discovery_looks_at_no_copies(cli_error, folder, box_cloud):
    told = cli_error("predict", folder, box_cloud, "--copies", 2)
    assert "--copies only applies to keypoint detectors, got a discovery run; leave it out" in told
    told = cli_error("evaluate", folder, "--copies", 2)
    assert "--copies only applies to detectors, got none; leave it out" in told


def test_every_setting_is_an_option_and_recipes_are_defaults(cli, box_root, tmp_path):
    options = {
        p.default.param_decls[0]
        for p in command.__signature__.parameters.values()
        if hasattr(p.default, "help") and p.default.param_decls
    }
    assert {f"--{f.name.replace('_', '-')}" for f in fields(DiscoverSettings) if not isinstance(f.default, bool)} - {
        "--data"
    } <= options
    result = cli(
        "discover", "box", "--root", box_root, *QUICK, "--recipe", "original", "--backbone", "light",
        "--train-split", "train", "--val-split", "val", "--run", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    settings = DiscoverSettings.load(tmp_path / "run" / "settings.json")
    original = DISCOVER_RECIPES["original"]
    assert (settings.optimizer, settings.lr, settings.dropout) == tuple(
        original[k] for k in ("optimizer", "lr", "dropout")
    )
    assert (settings.backbone, settings.epochs, settings.keypoints) == ("light", 1, 4)
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_a_discovery_is_resumed(cli, box_root, tmp_path):
    run = ("--run", tmp_path / "run")
    free = ("--objective", "soft", "--lr-schedule", "constant")  # nothing that is made for the number of epochs
    assert cli("discover", "box", "--root", box_root, *QUICK, *free, *run).exit_code == 0
    result = cli("discover", "box", "--epochs", 2, "--resume", *run)
    assert result.exit_code == 0, result.output
    assert DiscoverSettings.load(tmp_path / "run" / "settings.json").epochs == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keypoints", 1), "--keypoints 1: expected a whole number of at least 2"),
        (("--keypoints", 101), "keypoints must be at most the points of a cloud"),
        (("--recipe", "heavy"), "--recipe 'heavy': unknown recipe; choose from light, original"),
        (("--train-split", "dev"), "dev"),
    ],
)
def test_mistakes_are_one_line(cli_error, box_root, tmp_path, options, message):
    assert message in cli_error("discover", "box", "--root", box_root, "--run", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_an_unknown_category_is_one_line(cli_error, box_root):
    assert "teapot" in cli_error("discover", "teapot", "--root", box_root)


def test_the_table_fits_80_columns_and_says_what_numbers_do_not(cli, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("evaluate", folder).stdout
    metrics = json.loads((folder / "metrics-all.json").read_text())
    assert "…" not in text
    for heading in ("DAS", "forward", "backward", "chance", "nearest", "mIoU"):
        assert heading in text
    assert f"{100 * metrics['das']['das']:.1f}" in text
    assert "DAS by the protocol 'skeleton-merger', 12 annotated shapes" in text
    low, high = metrics["das"]["das/low"], metrics["das"]["das/high"]
    assert f"{100 * low:.1f}–{100 * high:.1f}" in text
    for protocol, values in metrics["miou"].items():
        (row,) = (line for line in text.splitlines() if line.strip().startswith(protocol))
        assert row.split()[1:] == [f"{100 * values[f'iou@{t}']:.1f}" for t in ("0.02", "0.05", "0.1")]
    assert f"'sc3k': {100 * metrics['self_alignment']['das_sc3k']:.1f} of the first shape" in text
    assert ("COLLAPSED" in text) is metrics["collapsed"]
    assert "repeatability" not in text
    again = cli("evaluate", folder, "--split", "val", "--repeatability").stdout
    assert sum(line.startswith("repeatability@0.1 ") for line in again.splitlines()) == 4
    assert "without self-pairs" in cli("evaluate", folder, "--no-self-pairs", "--split", "test").stdout


@pytest.mark.parametrize("option", [("--geodesic",), ("--strict",), ("--average", "id"), ("--symmetry", "x")])
def test_an_option_of_detectors_alone_is_named(cli_error, folder, option):
    assert f"{option[0]} only applies to detectors, got none" in cli_error("evaluate", folder, *option)


def test_collapse_is_said_in_words(folder, capsys):
    metrics = load_run(folder).evaluate("val")
    print_discovery(metrics | {"collapsed": True})
    assert "COLLAPSED" in capsys.readouterr().out
    print_discovery(metrics | {"collapsed": False})
    assert "COLLAPSED" not in capsys.readouterr().out
    bare = {"collapsed": False, "num_annotated": 0, "das": None, "miou": None, "protocol": None, "correspondence": None}
    print_discovery(metrics | bare)
    text = capsys.readouterr().out
    assert "no annotations" in text
    assert "'skeleton-merger'" not in text


def test_runs_that_differ_in_the_seed_alone_are_compared(folder, capsys):
    one = load_run(folder).evaluate("val")
    other = one | {"settings": one["settings"] | {"seed": 1}, "das": one["das"] | {"das": one["das"]["das"] / 2}}
    soft = one | {"settings": one["settings"] | {"objective": "soft"}, "objective": "soft"}
    print_discovery_comparison([one, other, soft])
    text = capsys.readouterr().out
    mean, spread = 75 * one["das"]["das"], 50 * one["das"]["das"] / math.sqrt(2)
    assert f"{mean:.1f}" in text
    assert f"± {spread:.1f}" in text
    assert "sampling, N_s = 1 " in text
    assert "2 runs" in text
    assert "soft-argmax" in text


def test_a_detector_and_a_discovery_are_printed_apart(cli, folder, box_copy):
    result = cli("evaluate", box_copy, folder)
    assert result.exit_code == 0, result.output
    assert "box, test split" in result.stdout
    assert "box, split 'all'" in result.stdout


def test_the_page_of_a_discovery_is_written(cli, folder, box_cloud, tmp_path):
    result = cli("view", folder, box_cloud, "--html", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").stat().st_size > 10_000
