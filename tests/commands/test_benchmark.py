import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from pcsargmax.benchmark import process_engine
from pcsargmax.benchmark.worker import run_experiment

QUICK = [part for text in ("epochs=1", "backbone=light", "batch_size=4", "device=cpu") for part in ("--set", text)]


class Inline:
    """An engine that runs each experiment in this process, at once."""

    def __init__(self, jobs=1, threads=0):
        self.jobs, self.over = jobs, []

    def start(self, experiment, places):
        places.log(experiment).parent.mkdir(parents=True, exist_ok=True)
        with places.log(experiment).open("a") as log, redirect_stdout(log):
            try:
                outcome, cause = run_experiment(experiment, places), ""
            except ValueError as error:
                outcome, cause = "failed", str(error)
        self.over.append(process_engine.Ended(experiment, outcome, cause))

    def ended(self, timeout):
        over, self.over = self.over, []
        return over

    def stop(self):
        pass


@pytest.fixture
def bench(cli, box_root, tmp_path, monkeypatch):
    """Run `pcsargmax benchmark` in a folder of its own, its experiments in this process."""
    monkeypatch.setattr(process_engine, "ProcessEngine", Inline)
    monkeypatch.chdir(tmp_path)

    def run(*options, data=("box",), root=box_root):
        rooted = ("--root", root) if root else ()
        return cli("benchmark", *data, *rooted, *options)

    return run


def names(folder):
    return sorted(path.name for path in folder.glob("*.json"))


def test_methods_by_seeds_leave_a_result_each_and_a_table(bench, tmp_path):
    result = bench("--methods", "soft,sampling-2", "--seeds", "0-1", *QUICK)
    assert result.exit_code == 0, result.output
    found = names(tmp_path / "benchmarks" / "results")
    assert len(found) == 4
    assert [name.rpartition("-")[0] for name in found] == [
        f"box-detector-{method}-seed{seed}" for method in ("sampling-2", "soft") for seed in (0, 1)
    ]
    assert sorted(path.name for path in (tmp_path / "runs" / "benchmark").iterdir() if path.is_dir()) == [
        ".locks",
        *[name.removesuffix(".json") for name in found],
        "logs",
    ]
    assert "4 experiments: 4 done; results in benchmarks/results" in result.stderr
    assert "PCK@0.01" in result.stdout
    assert "soft-argmax" in result.stdout


def test_what_is_there_is_kept(bench):
    bench("--methods", "soft", "--seeds", "0", *QUICK)
    result = bench("--methods", "soft", "--seeds", "0-1", *QUICK, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [one["phase"] for one in told] == ["kept", "done"]
    assert all(Path(one["result"]).is_file() and one["error"] is None and one["notes"] == [] for one in told)
    assert "done: box-detector-soft-seed1-" in result.stderr
    assert "box-detector-soft-seed0-" not in result.stderr
    assert "2 experiments: 1 kept, 1 done" in result.stderr


def test_without_labels_keypoints_are_discovered(bench, tmp_path):
    options = ["--set", "keypoints=4", *QUICK[:2], *QUICK[4:]]
    result = bench("--unsupervised", "--methods", "soft,sampling-1", "--seeds", "3", "--results", "out", *options)
    assert result.exit_code == 0, result.output
    assert [name.rpartition("-")[0] for name in names(tmp_path / "out")] == [
        "box-discovery-sampling-1-seed3",
        "box-discovery-soft-seed3",
    ]
    assert "Dual alignment score" in result.stdout


def test_procedural_categories_are_made_beside_the_runs(bench, tmp_path):
    options = ["--procedural", "--models", 5, "--methods", "soft", "--seeds", "0", "--runs", "here", *QUICK]
    result = bench(*options, data=["mug"], root=None)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "here" / "procedural-5" / "annotations" / "mug.json").is_file()
    assert names(tmp_path / "benchmarks" / "results")[0].startswith("procedural5-mug-detector-soft-seed0-")


def test_a_failure_is_told_at_the_end_with_exit_code_1(bench, tmp_path, box_root):
    root = tmp_path / "copy"
    (root / "annotations").mkdir(parents=True)
    for name in ("box", "bax"):
        (root / "annotations" / f"{name}.json").write_text((box_root / "annotations" / "box.json").read_text())
    (root / "annotations" / "bax.json").write_text("[]")
    for part in ("pcds", "splits"):
        (root / part).symlink_to(box_root / part)
    result = bench("--methods", "soft", "--seeds", "0", *QUICK, data=["bax", "box"], root=root)
    assert result.exit_code == 1
    assert "failed: bax-detector-soft-seed0-" in result.stderr
    assert "2 experiments: 1 failed, 1 done" in result.stderr
    assert names(tmp_path / "benchmarks" / "results")[0].startswith("box-detector")


def test_what_was_moved_aside_is_told(bench, tmp_path):
    options = ("--methods", "soft", "--seeds", "0", *QUICK, "--table", "none")
    bench(*options)
    (file,) = (tmp_path / "benchmarks" / "results").glob("*.json")
    file.write_text("{")
    result = bench(*options)
    assert result.exit_code == 0, result.output
    assert f"warning: benchmarks/results/{file.name}: not a result: " in result.stderr
    assert file.with_name(f"{file.name}.broken").read_text() == "{"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "softer"], "methods of a detector must be of"),
        (["--seeds", "x"], "seeds must look like 0-2 or 0,3,5, got 'x'"),
        (["--recipe", "heavy"], "recipe must be one of paper, "),
        (["--set", "epoch=3"], "--set: a detector has no setting 'epoch'; did you mean epochs"),
        (["--set", "lr=-1"], "--set lr '-1': expected a finite number above 0"),
        (["--engine", "cloud"], "engine must be processes or ray, got 'cloud'"),
        (["--table", "7"], "table must be one of pck, das, samples, confidence, images, all, none, got '7'"),
        (["--methods", "soft,soft"], "methods named twice: soft"),
        (["--seeds", "1,1"], "seeds named twice: 1"),
        (["--set", "device=cuda"], "device must be cpu, cuda or mps where the machine has it, got 'cuda'"),
        (["--jobs", "0"], "jobs must be at least 1, got 0"),
        (["--procedural"], "--root is of categories that are there"),
    ],
)
def test_a_mistake_is_one_line(cli_error, box_root, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in cli_error("benchmark", "box", "--root", box_root, *options)
    assert list(tmp_path.iterdir()) == []


def test_data_must_be_named(cli_error):
    assert "DATA is missing: name categories or folders, or give --procedural" in cli_error("benchmark")


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_ends_all_and_says_so(box_root, tmp_path):
    # A background job of a shell ignores the signal, and so would what it starts.
    call = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    call += "; from pcsargmax.cli import main; main()"
    command = [sys.executable, "-c", call, "benchmark", "box", "--root", str(box_root), "--methods", "soft"]
    command += ["--seeds", "0", *QUICK, "--set", "epochs=1000"]
    command.remove("epochs=1")
    command.remove("--set")
    package = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until = time.monotonic() + 120
        while not any("epoch 1/" in log.read_text() for log in tmp_path.glob("runs/benchmark/logs/*.log")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-2:] == ["stopping", "interrupted"]
    until = time.monotonic() + 30
    while group_lives(process.pid):  # but for a moment, the helper of multiprocessing
        assert time.monotonic() < until
        time.sleep(0.05)
    assert list(tmp_path.glob("runs/benchmark/*/checkpoints/last.ckpt"))
