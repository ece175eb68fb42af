import csv
import json
import re
import shutil

import pytest
import torch

from pcsargmax.commands.robustness import by_name, draw, parse_changes, print_robustness

QUICK = ("--change", "noise=0.01,0.02", "--change", "view=1")


@pytest.fixture(scope="module")
def twin(box_run, tmp_path_factory):
    """The finished run as if another seed had led to it."""
    folder = shutil.copytree(box_run, tmp_path_factory.mktemp("runs") / "twin")
    for file in (folder / "checkpoints").glob("*.ckpt"):
        content = torch.load(file, weights_only=True)
        content["pcsargmax"]["settings"]["seed"] = 7
        content["pcsargmax"]["calibration"]["quantile"] = 1.5
        torch.save(content, file)
    return folder


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu")
    folder = tmp_path_factory.mktemp("runs") / "discovery"
    discover(settings, folder)
    return folder


def test_tables_and_figures_are_written(cli, box_run, twin, discovery, tmp_path):
    out = tmp_path / "out"
    result = cli("robustness", box_run, twin, discovery, "--out", out, *QUICK, "--shapes", 2, "--json")
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert results == json.loads((out / "robustness.json").read_text())
    assert [one["run"] for one in results] == ["box", "twin", "discovery"]
    with (out / "robustness.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 3 * 4
    assert (lines[5]["run"], lines[5]["training_seed"], lines[5]["change"]) == ("twin", "7", "noise")
    assert float(lines[6]["pck@0.05"]) == results[1]["rows"][2]["pck@0.05"]
    assert (lines[0]["radius"], lines[-1]["pck@0.05"]) == ("", "")
    assert float(lines[-1]["das"]) == results[2]["rows"][3]["das"]
    for stem in ("detectors", "discoveries"):
        assert (out / f"robustness-{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"robustness-{stem}.pdf").read_bytes().startswith(b"%PDF")
    assert len(list(out.iterdir())) == 6
    again = cli("robustness", box_run, twin, discovery, "--out", out, *QUICK, "--shapes", 2, "--json", "--force")
    assert json.loads(again.stdout) == results


def test_the_table_fits_80_columns(cli, box_run, twin, discovery, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out"
    text = cli("robustness", box_run, twin, discovery, "--out", out, *QUICK, "--shapes", 2).stdout
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "box, sampling, N_s = 2, test split: 2 shapes, mean of 2 runs" in text
    assert "2 of the 2 shapes were seen in training" in text  # a discovery takes all
    results = json.loads((out / "robustness.json").read_text())
    means = [sum(one["rows"][2]["mean_error"] for one in results[:2]) / 2, results[2]["rows"][2]["movement"]]
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("0.02")]
    assert rows[0][4] == f"{means[0]:.4f}"
    assert rows[1][4] == f"{means[1]:.4f}"
    assert rows[0][-2] == "–"  # a radius of one of the two only
    assert re.search(r"none +(\d+\.\d +){3}", text)


def test_a_table_of_numbers_that_are_not_there(capsys):
    row = {"change": "none", "severity": 0.0, "pck@0.1": None, "mean_error": 0.5}
    result = {
        "kind": "keypoint_detector", "run": "r", "data": "box", "objective": "soft",
        "settings": {"objective": "soft", "seed": 0, "num_samples": 1},
        "split": "test", "unit": "diagonal", "seen_in_training": 0, "num_shapes": 1, "changes": {}, "rows": [row],
    }  # fmt: skip
    print_robustness([result])
    text = capsys.readouterr().out
    assert "0.5000" in text
    assert "–" in text
    assert "lengths in diagonals" in text
    assert "seen in training" not in text


def test_runs_are_alike_that_differ_in_the_seed_alone():
    def result(run, seed, **settings):
        return {
            "kind": "keypoint_detector", "run": run, "data": "a/mug", "split": "test",
            "settings": {"objective": "soft", "seed": seed, "num_samples": 1, **settings},
        }  # fmt: skip

    first, second, other = result("r0", 0, lr=1), result("r1", 1, lr=1), result("r2", 0, lr=2)
    assert by_name([first, second]) == {"mug, soft-argmax": [first, second]}
    named = by_name([first, other, second])
    assert named == {"mug, soft-argmax, r0": [first, second], "mug, soft-argmax, r2": [other]}
    ten = result("r3", 0, num_samples=10, objective="sampling")
    assert list(by_name([ten])) == ["mug, sampling, N_s = 10"]


def test_lengths_of_different_units_are_not_drawn_together(cli, box_run, tmp_path):
    results = json.loads(cli("robustness", box_run, "--out", tmp_path, "--change", "view=1", "--json").stdout)
    draw(results * 2, tmp_path / "same")
    draw([*results, results[0] | {"unit": "diagonal"}], tmp_path / "both")
    names = {folder: {file.name for file in (tmp_path / folder).glob("*.png")} for folder in ("same", "both")}
    assert names["same"] == {"robustness-detectors.png"}
    assert names["both"] == {"robustness-detectors-raw.png", "robustness-detectors-diagonal.png"}


def test_changes_are_read():
    assert parse_changes(None) is None
    assert parse_changes(["noise", "view=4, 2"]) == {"noise": (), "view": (4, 2)}
    with pytest.raises(ValueError, match="change must be NAME or NAME=NUMBER,NUMBER, got 'noise=a'"):
        parse_changes(["noise=a"])


def test_another_sweep_is_not_written_over(cli_error, box_run, tmp_path):
    (tmp_path / "robustness.json").write_text("[]")
    assert "is there: name another --out, or write over it by --force" in cli_error(
        "robustness", box_run, "--out", tmp_path, *QUICK
    )
    assert (tmp_path / "robustness.json").read_text() == "[]"


def test_a_run_named_twice_is_a_mistake(cli_error, box_run, tmp_path):
    for again in (box_run, box_run / "checkpoints" / "best.ckpt"):
        assert "runs named twice: " in cli_error("robustness", box_run, again, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--change", "view=1", "--change", "view=2"), "change view is named twice: give its severities at once"),
        (("--change", "snow"), "severities must be of noise, outliers, stray, density, view, rotation, got 'snow'"),
        (("--change", "noise="), "change must be NAME or NAME=NUMBER,NUMBER, got 'noise='"),
        (("--change", "view=0"), "view: severity 0 is out of range: views must be a whole number"),
        (("--split", "tset"), "split must be"),
        (("--shapes", -1), "shapes must not be negative, got -1"),
        (("--thresholds", "0.1,0.05"), "thresholds must be positive, ascending"),
        (("--device", "tpu"), "device must be cpu, cuda or mps"),
    ],
)
def test_a_mistake_is_one_line(cli_error, box_run, tmp_path, options, message):
    assert message in cli_error("robustness", box_run, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_help_has_an_example(cli):
    text = cli("robustness", "--help").stdout
    assert "pcsargmax robustness runs/mug-sampling-seed0" in text
    assert "--seed" in text
    assert "--device" in text
