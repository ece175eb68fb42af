import runpy
import sys
from pathlib import Path

import pytest

VIEWERS = Path(__file__).parents[2] / "visualize"


@pytest.fixture
def run(monkeypatch):
    """Run a ready viewer as a user does."""

    def start(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(VIEWERS / name), run_name="__main__")

    return start


def test_saved_predictions_become_a_page(run, mug, tmp_path, capsys):
    mug().save(tmp_path / "a.npz", "npz")
    run("view_probabilities.py", tmp_path / "a.npz", "--html", tmp_path / "a.html")
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    assert "Probability maps" in (tmp_path / "a.html").read_text(encoding="utf-8")[:1000]


def test_a_data_set_becomes_a_page(run, box_root, tmp_path):
    run("view_dataset.py", box_root, "--category", "box", "--split", "test", "--html", tmp_path / "a.html")
    assert "m11" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_no_cloud_is_an_error(run, box_root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("view_dataset.py", box_root, "--category", "box", "--first", 99, "--html", tmp_path / "a.html")
    assert "leave none of 12 clouds" in capsys.readouterr().err


def test_viewers_are_short():
    for path in VIEWERS.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name
