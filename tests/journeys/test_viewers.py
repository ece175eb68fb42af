import runpy
import sys
from pathlib import Path

import pytest

import pcsargmax.visualize

VIEWERS = Path(__file__).parents[2] / "visualize"


@pytest.fixture
def run(monkeypatch):
    """Run a ready viewer as a user does."""

    def start(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(VIEWERS / name), run_name="__main__")

    return start


@pytest.fixture
def drawn(monkeypatch):
    """Take down what windows and pictures are given, in place of opening and drawing them: (predictions, look)."""
    calls = []
    shown = lambda found, look=None: calls.append((list(found), look))  # noqa: E731
    monkeypatch.setattr(pcsargmax.visualize, "show", shown)
    monkeypatch.setattr(pcsargmax.visualize, "render", lambda one, path, look=None: calls.append(([one], look)) or path)
    return calls


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    """The folder of a tiny discovery on the boxes."""
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu")
    place = tmp_path_factory.mktemp("runs") / "discovery"
    discover(settings, place)
    return place


def test_saved_predictions_become_a_page(run, mug, tmp_path, capsys):
    mug().save(tmp_path / "a.npz", "npz")
    run("view_probabilities.py", tmp_path / "a.npz", "--html", tmp_path / "a.html")
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    assert "Probability maps" in (tmp_path / "a.html").read_text(encoding="utf-8")[:1000]


def test_a_run_is_looked_at_on_files_and_on_its_test_split(run, drawn, box_run, box_cloud, tmp_path, capsys):
    run("view_probabilities.py", box_run)
    run("view_probabilities.py", box_run, box_cloud, "--keypoint", 1, "--log", "--ellipsoids", 2, "--samples", 5)
    run("view_probabilities.py", box_run, box_cloud, "--save", tmp_path / "a.png")
    window, (found, look), picture = drawn
    assert [one.name for one in window[0]] == ["m09", "m10", "m11"]
    assert [one.name for one in found] == ["m10.pcd"] == [one.name for one in picture[0]]
    assert (look.keypoint, look.log_scale, look.ellipsoids, look.samples) == ("1", True, 2, True)
    assert found[0].samples.shape == (5, 5, 3)
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.png")


def test_skeletons_are_shown_and_their_edges_listed(run, drawn, discovery, box_cloud, capsys):
    run("view_skeleton.py", discovery, "--split", "val")
    first, *edges = capsys.readouterr().out.splitlines()
    assert [one.name for one in drawn[0][0]] == ["m07", "m08"]
    assert first == "m07: edges by strength"
    strengths = [float(line.rpartition(" ")[2]) for line in edges]
    assert strengths == sorted(strengths, reverse=True)
    assert len(strengths) == (drawn[0][0][0].skeleton.strength >= 0.1).sum()
    run("view_skeleton.py", discovery, box_cloud)
    assert [one.name for one in drawn[1][0]] == ["m10.pcd"]


def test_a_detector_has_no_skeleton(run, box_run, capsys):
    with pytest.raises(SystemExit):
        run("view_skeleton.py", box_run)
    assert "a run of `pcsargmax train`, which has no skeleton; expected one of `discover`" in capsys.readouterr().err


def test_a_data_set_becomes_a_page(run, box_root, tmp_path):
    run("view_dataset.py", box_root, "--category", "box", "--split", "test", "--html", tmp_path / "a.html")
    assert "m11" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_a_folder_of_scans_is_shown_with_its_landmarks(run, drawn, landmark_root):
    run("view_dataset.py", landmark_root, "--first", 3, "--count", 2)
    assert [one.name for one in drawn[0][0]] == ["scan2.ply", "scan3.ply"]
    assert drawn[0][0][0].keypoint_names == ("back", "left", "right")


@pytest.mark.parametrize("first", [99, 0])
def test_no_cloud_is_an_error(run, box_root, tmp_path, capsys, first):
    with pytest.raises(SystemExit):
        run("view_dataset.py", box_root, "--category", "box", "--first", first, "--html", tmp_path / "a.html")
    assert "leave none of 12 clouds" in capsys.readouterr().err


def test_viewers_are_short():
    assert len(list(VIEWERS.glob("*.py"))) == 3
    for path in VIEWERS.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name
