import json

import numpy as np
import pytest
from reference.landmark_table import write_csv

from pcsargmax.annotate.sources import find_landmarks, find_scans, names_of, parse_names
from pcsargmax.io import write_markups


@pytest.fixture
def folder(tmp_path):
    for name in ("meshes/B10.ply", "meshes/B2.ply", ".hidden/B3.ply", "meshes/.B4.ply", "notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "data"


def test_scans_of_folders_and_files(folder, tmp_path):
    (tmp_path / "own.xyz").write_text("0 0 0\n")
    found = find_scans([tmp_path / "own.xyz", folder, tmp_path / "own.xyz"])
    assert [path.name for path in found] == ["own.xyz", "B2.ply", "B10.ply"]


def test_scans_that_cannot_be_told_apart(folder, tmp_path):
    (folder / "B2.xyz").write_text("")
    with pytest.raises(ValueError, match="has the same stem as"):
        find_scans([folder])
    with pytest.raises(ValueError, match="no such file or folder"):
        find_scans([tmp_path / "none"])
    with pytest.raises(ValueError, match="expected a cloud or mesh"):
        find_scans([folder / "notes.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no clouds or meshes"):
        find_scans([tmp_path / "empty"])


def test_landmarks_in_every_form(folder):
    write_markups(folder / "landmarks" / "B2.mrk.json", ["tip", "left"], np.array([[1, 2, 3], [np.nan] * 3]))
    write_csv(folder / "all.csv", ["B10.ply"], ["tip"], np.array([[[4, 5, 6]]]))
    (folder / "splits.csv").write_text("file,split\nB2,train\n")
    found = find_landmarks([folder])
    assert {stem: its.path.name for stem, its in found.items()} == {"B2": "B2.mrk.json", "B10": "all.csv"}
    assert found["B2"].marks["tip"].position == (1, 2, 3)
    assert set(found["B2"].marks) == {"tip"}
    assert found["B10"].marks["tip"].position == (4, 5, 6)
    assert find_landmarks([folder / "meshes" / "B2.ply"]) == {}  # only beside the file
    write_csv(folder / "more.csv", ["B2.ply"], ["tip"], np.array([[[4, 5, 6]]]))
    with pytest.raises(ValueError, match=r"landmarks of 'B2' are in .*B2\.mrk\.json already"):
        find_landmarks([folder])


def test_names_of_data_sets(folder, box_root, tmp_path):
    with pytest.raises(ValueError, match="holds no landmarks"):
        names_of(folder)
    write_csv(folder / "all.csv", ["B10.ply", "B2.ply"], ["tip", "left"], np.zeros((2, 2, 3)))
    assert names_of(folder) == ["tip", "left"]
    assert names_of(box_root) == ["0", "1", "2", "3", "4"]
    (tmp_path / "annotations").mkdir()
    for name in ("one", "two"):
        (tmp_path / "annotations" / f"{name}.json").write_text(
            json.dumps([{"class_id": "1", "model_id": "a", "keypoints": [{"semantic_id": 1, "xyz": [0, 0, 0]}]}])
        )
    (tmp_path / "annotations" / "two.txt").write_text("rim\nhandle\n")
    with pytest.raises(ValueError, match="several categories, one, two; name one with --category"):
        names_of(tmp_path)
    assert names_of(tmp_path, "two") == ["rim", "handle"]
    with pytest.raises(ValueError, match="no such folder"):
        names_of(tmp_path / "none")


def test_names_as_text_and_as_file(tmp_path):
    assert parse_names("tip, left ridge,,right") == ["tip", "left ridge", "right"]
    (tmp_path / "names.txt").write_text("a, with comma\n\nb\n")
    assert parse_names(str(tmp_path / "names.txt")) == ["a, with comma", "b"]
    with pytest.raises(ValueError, match="expected distinct names"):
        parse_names("a,a")
    with pytest.raises(ValueError, match="expected distinct names"):
        parse_names(" , ")
