"""The examples run as they stand, on data made small; viewers and benchmarks start."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path for folder in ("benchmarks", "visualize") for path in (ROOT / folder).glob("*.py"))


def run(name: str, *arguments: object) -> str:
    return output(EXAMPLES / name, *arguments)


def output(script: Path, *arguments: object) -> str:
    command = [sys.executable, str(script), *(str(argument) for argument in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_train_on_keypointnet(box_root, tmp_path):
    out = tmp_path / "run"
    told = run("train_on_keypointnet.py", "--root", box_root, "--category", "box", "--epochs", 1, "--run", out)
    assert "template" in told
    assert (out / "test-shapes.html").is_file()


def test_train_on_your_landmarks(landmark_root, tmp_path):
    scan = next(path for path in sorted(landmark_root.rglob("*")) if path.suffix in (".ply", ".stl", ".obj", ".off"))
    told = run("train_on_your_landmarks.py", landmark_root, scan, "--epochs", 1, "--run", tmp_path / "run")
    assert "mean error" in told
    assert (tmp_path / "run" / f"{scan.stem}.mrk.json").is_file()


def test_maps_soft_and_sampling(tmp_path):
    told = run("maps_soft_and_sampling.py", "--out", tmp_path, "--steps", 5)
    assert "sampling-argmax  mean error" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bases.png",
        "maps.png",
        "pck.png",
        "sparsification.png",
    ]


def test_soft_argmax_replaced():
    told = run("soft_argmax_replaced.py", "--steps", 3).splitlines()
    assert [line.split()[0] for line in told] == ["soft-argmax", "sampling-argmax"]
    assert all("mean error" in line for line in told)


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.name != "measure.py"], ids=lambda path: path.name)
def test_scripts_start(script):
    assert "usage:" in output(script, "--help")
