import shutil

import numpy as np
import pytest
from reference.landmark_table import write_csv

from pcsargmax.annotate import Mark
from pcsargmax.datasets import KeypointNet, LandmarkFolder
from pcsargmax.io import Cloud, read_cloud, read_landmarks, write_cloud


@pytest.fixture
def hands(monkeypatch):
    """Do something to the session in place of opening the window; returns the sessions and what would predict."""
    import pcsargmax.annotate.window.window as module

    seen = []

    def put(does=lambda session: None):
        def annotate(session, *, propose=None):
            seen.append((session, propose))
            does(session)

        monkeypatch.setattr(module, "annotate", annotate)
        return seen

    return put


@pytest.fixture
def scans(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        write_cloud(tmp_path / "scans" / f"s{number}.ply", Cloud(rng.normal(size=(60, 3))))
    return tmp_path / "scans"


def fill(session):
    """Put every landmark of every scan on one of its points."""
    for number, path in enumerate(session.scans):
        session.show(number)
        points = read_cloud(path).points
        for row, name in enumerate(session.names):
            session.place(Mark(tuple(points[row]), point_index=row), name)


def test_a_folder_is_annotated_and_trains(cli, hands, scans):
    hands(fill)
    result = cli("annotate", scans, "--names", "tip,left")
    assert result.exit_code == 0, result.output
    assert "3 of 3 files complete, 0 untouched" in result.stdout
    assert f"Next: pcsargmax train {scans}" in result.stdout
    data = LandmarkFolder(scans, "all")
    assert data.keypoint_names == ("left", "tip")
    item = data[1]
    np.testing.assert_array_equal(item.keypoint_pos[0, 1], read_cloud(scans / "s1.ply").points[0])


def test_the_command_that_it_names_trains(cli, hands, scans, tmp_path):
    hands(fill)
    cli("annotate", scans, "--names", "tip,left")
    quick = ["--recipe", "paper", "--epochs", "1", "--backbone", "light", "--num-samples", "1", "--num-points", "64"]
    where = ["--run", tmp_path / "run", "--shares", "1,0,0", "--val-split", "none", "--device", "cpu"]
    result = cli("train", scans, *quick, *where)
    assert result.exit_code == 0, result.output


def test_a_category_is_annotated_for_train(cli, hands, scans, tmp_path):
    hands(fill)
    options = ["--names", "tip,left", "--format", "keypointnet", "--out", tmp_path / "root", "--category", "rock"]
    result = cli("annotate", scans, *options)
    assert result.exit_code == 0, result.output
    assert f"Next: pcsargmax train rock --root {tmp_path / 'root'}" in result.stdout
    data = KeypointNet(tmp_path / "root", "rock", "all")
    np.testing.assert_array_equal(data[2].keypoint_pos[0, 0], read_cloud(scans / "s2.ply").points[0])
    seen = hands()
    cli("annotate", scans, *options[2:])
    session, _ = seen[-1]
    assert (session.names, session.complete(0)) == (["tip", "left"], True)


def test_what_is_left_is_said(cli, hands, scans):
    hands(lambda session: session.absent())
    result = cli("annotate", scans, "--names", "tip,left")
    assert "0 of 3 files complete, 2 untouched" in result.stdout
    assert "unset as absent" in result.stdout
    hands(lambda session: session.absent())
    assert "1 of 3 files complete" in cli("annotate", scans, "--names", "tip,left").stdout  # it went on


def test_names_of_another_data_set(cli, hands, scans, landmark_root):
    seen = hands()
    assert cli("annotate", scans, "--like", landmark_root).exit_code == 0
    session, propose = seen[0]
    assert (session.names, session.open_names, propose) == (["left", "right", "back"], False, None)
    assert cli("annotate", scans).exit_code == 0
    assert (seen[1][0].names, seen[1][0].open_names) == ([], True)


def test_a_run_proposes(cli, hands, box_run, box_cloud, tmp_path):
    seen = hands()
    assert cli("annotate", box_cloud, "--run", box_run, "--out", tmp_path / "out").exit_code == 0
    session, propose = seen[0]
    assert session.names == ["0", "1", "2", "3", "4"]
    assert propose(box_cloud).keypoint_names == ("0", "1", "2", "3", "4")


def test_other_forms_are_begun_with_elsewhere(cli, cli_error, hands, scans, tmp_path):
    write_csv(scans / "all.csv", ["s0.ply"], ["tip"], np.array([[[1.0, 2, 3]]]))
    seen = hands()
    message = cli_error("annotate", scans, "--names", "tip")
    assert "all.csv: holds landmarks of these scans already" in message
    assert cli("annotate", scans, "--names", "tip", "--out", tmp_path / "out").exit_code == 0
    assert seen[0][0].state("tip", 0) == "placed"
    assert read_landmarks(tmp_path / "out" / "s0.mrk.json")["tip"].tolist() == [1, 2, 3]
    assert (tmp_path / "out" / "s0.ply").exists()


def test_the_command_that_it_names_is_the_right_one(cli, hands, scans, tmp_path):
    folder = tmp_path / "my scans"
    scans.rename(folder)
    (folder / "more").mkdir()
    (folder / "s2.ply").rename(folder / "more" / "s2.ply")
    hands(fill)
    files = [folder / "s0.ply", folder / "more" / "s2.ply"]
    result = cli("annotate", *files, "--names", "tip", "--mesh-frame", "RAS")
    assert f"Next: pcsargmax train '{folder}' --mesh-frame RAS\n" in result.stdout
    points = read_cloud(folder / "more" / "s2.ply").points
    found = read_landmarks(folder / "more" / "s2.mrk.json", mesh_frame="RAS")
    np.testing.assert_array_equal(found["tip"], points[0])


def test_names_of_one_category_for_another(cli, cli_error, hands, scans, box_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    shutil.copy(root / "annotations" / "box.json", root / "annotations" / "crate.json")
    seen = hands()
    assert "several categories, box, crate; name one with --category" in cli_error("annotate", scans, "--like", root)
    assert cli("annotate", scans, "--like", root, "--category", "crate").exit_code == 0
    own = ["--format", "keypointnet", "--out", tmp_path / "out", "--category", "rock"]
    assert cli("annotate", scans, "--like", box_root, *own).exit_code == 0
    assert [session.names for session, _ in seen] == [["0", "1", "2", "3", "4"]] * 2


def test_another_form_begins_with_what_is_there(cli, hands, scans, tmp_path):
    hands(lambda session: (session.place(Mark((0.0, 0.0, 0.0))), session.absent()))
    cli("annotate", scans, "--names", "tip,left,right")
    seen = hands()
    for form in ("keypointnet", "mrk.json"):
        assert cli("annotate", scans, "--format", form, "--out", tmp_path / form).exit_code == 0
        session, _ = seen[-1]
        assert [session.state(name, 0) for name in ("tip", "left", "right")] == ["placed", "absent", "unset"]


def test_landmarks_left_out_are_told(cli, hands, scans):
    hands(fill)
    cli("annotate", scans, "--names", "tip,left")
    hands()
    assert "not among the names: left\n" in cli("annotate", scans, "--names", "tip").stdout


def test_work_that_could_not_be_saved_is_an_error(cli, hands, scans):
    def lose(session):
        (scans / "s0.mrk.json").mkdir()
        session.absent()

    hands(lose)
    result = cli("annotate", scans, "--names", "tip")
    assert result.exit_code == 1
    assert "1 files could not be saved: " in result.stderr
    assert "s0.mrk.json" in result.stderr


def test_without_a_screen_it_is_one_line(cli_error, scans, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert "there is no screen" in cli_error("annotate", scans, "--names", "tip")


def test_mistakes_are_one_line(cli_error, hands, scans, tmp_path):
    hands()
    assert "format must be one of mrk.json, keypointnet" in cli_error("annotate", scans, "--format", "xml")
    assert "give either --names or --like" in cli_error("annotate", scans, "--names", "a", "--like", scans)
    assert "needs --out" in cli_error("annotate", scans, "--format", "keypointnet", "--names", "a")
    assert "--category is for" in cli_error("annotate", scans, "--category", "x", "--names", "a")
    assert "no such file or folder" in cli_error("annotate", tmp_path / "none")
    assert "no run there" in cli_error("annotate", scans, "--run", tmp_path / "none")
    assert 'mesh_frame: expected "LPS" or "RAS"' in cli_error("annotate", scans, "--mesh-frame", "x")
