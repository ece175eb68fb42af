import dataclasses
import json
import shutil
import threading

import numpy as np
import pytest

from pcsargmax import KeypointNet
from pcsargmax.runs.load import load_run
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.visualize import Predictions, annotated_shapes, find_shapes, pair, predicted_shapes, run_shapes


@pytest.fixture
def lazy(mug):
    """Five mugs, and the numbers of those made so far."""
    made = []

    def make(number):
        made.append(number)
        return dataclasses.replace(mug(seed=number), name=f"mug {number}")

    return made, lambda **options: Predictions([f"mug {i}" for i in range(5)], make, **options)


def test_each_is_made_when_first_asked_for_and_kept(lazy):
    made, start = lazy
    found = start()
    assert (len(found), found.names, made) == (5, tuple(f"mug {i}" for i in range(5)), [])
    assert found[3] is found[3]
    assert found[-1].name == "mug 4"
    assert made == [3, 4]
    assert [one.name for one in found] == list(found.names)
    assert made == [3, 4, 0, 1, 2]
    assert repr(found) == "Predictions(5 shapes, 5 made)"
    with pytest.raises(IndexError):
        found[5]


def test_a_part_makes_none_that_the_whole_has(lazy):
    made, start = lazy
    found = start()
    part = found[1:4:2]
    assert (part.names, made) == (("mug 1", "mug 3"), [])
    assert part[1] is found[3]
    assert list(part) == [found[1], found[3]]
    assert made == [3, 1]


def test_only_the_last_are_kept(lazy):
    made, start = lazy
    found = start(keep=2)
    for number in (0, 1, 0, 2, 0, 1):
        found[number]
    assert made == [0, 1, 2, 1]


def test_two_threads_make_one_only_once_and_do_not_wait_for_what_is_there(mug):
    began, go_on, made, waited = threading.Event(), threading.Event(), [], []

    def make(number):
        made.append(number)
        if number == 1:
            began.set()
            waited.append(go_on.wait(60))
        return mug(seed=number)

    found = Predictions(["a", "b"], make)
    found[0]
    others = [threading.Thread(target=found.__getitem__, args=(1,)) for _ in range(2)]
    for other in others:
        other.start()
    assert began.wait(10)
    assert found[0].num_keypoints == 4
    go_on.set()
    for other in others:
        other.join(60)
    assert made == [0, 1]
    assert waited == [True]  # [0] came while [1] was still being made


def test_an_error_is_raised_again_and_nothing_is_kept(mug):
    tried = []

    def make(number):
        tried.append(number)
        raise ValueError("broken")

    found = Predictions(["a"], make)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            found[0]
    assert tried == [0, 0]


def test_a_split_of_a_run_is_what_the_run_predicts(box_run):
    run = load_run(box_run)
    found, expected = predicted_shapes(run, run_shapes(run, "test")), run.predictions("test")
    assert found.names == ("m09", "m10", "m11")
    for one, other in zip(found, expected, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.position, other.position)
        np.testing.assert_array_equal(one.truth, other.truth)


def test_a_data_set_is_shown_as_annotated(box_root):
    dataset = KeypointNet(box_root, "box", "test")
    found = annotated_shapes(dataset)
    assert found.names == ("m09", "m10", "m11")
    for one, item in zip(found, dataset, strict=True):
        seen = item.keypoint_visible[0]
        np.testing.assert_array_equal(one.visibility, seen)
        np.testing.assert_array_equal(one.position[seen], item.keypoint_pos[0][seen])


def test_a_pair_is_of_the_same_shapes(lazy, mug):
    _, start = lazy
    first, second = pair(start(), start())
    assert first.names == second.names == start().names
    assert second[2].name == "mug 2"
    with pytest.raises(ValueError, match="second: expected 5 shapes as in the first, got 4"):
        pair(start(), start()[:4])
    with pytest.raises(ValueError, match="second: expected the shape 'mug 0' where the first has it, got 'mug 1'"):
        pair(start()[:2], start()[1:3])
    one = mug()
    other = dataclasses.replace(one, points=one.points + 0.01)
    pair([one], [dataclasses.replace(one, points=one.points + 1e-6)])[1][0]
    with pytest.raises(ValueError, match="expected the points that the first has, got other ones"):
        pair([one], [other])[1][0]


def find(*data, split="", root="nowhere", **options):
    return find_shapes([str(each) for each in data], DiscoverSettings(root=str(root)), split, **options)


def test_files_folders_and_categories_are_found_in_order(box_root, box_cloud, landmark_root):
    shapes = find(box_cloud, "box", landmark_root, landmark_root / "scan3.ply", root=box_root)
    assert [shape.name for shape in shapes] == [
        "m10.pcd",
        *(f"m{i:02d}" for i in range(12)),
        *(f"scan{i}.ply" for i in range(10)),
        "scan3.ply",
    ]


def test_a_split_is_that_of_training(box_root, landmark_root):
    assert [shape.name for shape in find("box", root=box_root, split="val")] == ["m07", "m08"]
    splits = [{shape.name for shape in find(landmark_root, split=split)} for split in ("train", "val", "test", "all")]
    assert [len(split) for split in splits] == [7, 1, 2, 10]
    assert set.union(*splits[:3]) == splits[3]
    assert all(shape.mesh.name == f"{shape.name}.ply" for shape in find(landmark_root, split="test"))


def test_a_category_of_hdf5_files_is_bare(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "test0.h5", "w") as file:
        file["data"] = np.random.default_rng(0).normal(size=(2, 30, 3)).astype(np.float32)
        file["label"] = np.array([35, 0])
    (shape,) = find("mug", root=tmp_path)
    assert shape.annotation().points.shape == (30, 3)
    with pytest.raises(ValueError, match=r"category: expected one of airplane, mug \(or a label\)"):
        find("chair", root=tmp_path)
    for place in (tmp_path, tmp_path / "test0.h5"):
        with pytest.raises(ValueError, match="holds categories, name one of them: CATEGORY --root"):
            find(place)


def test_reading_tells_its_progress(box_root, tmp_path):
    root = shutil.copytree(box_root, tmp_path / "fresh")
    told = []
    find("box", root=root, progress=lambda i, n: told.append((i, n)))
    assert told == [(i, 12) for i in range(1, 13)]


def test_mistakes_are_named(box_root, box_cloud, tmp_path):
    with pytest.raises(ValueError, match=r"runs/none: no such file or folder$"):
        find("runs/none")
    with pytest.raises(ValueError, match="mgu: no such file or folder, and no such category: root nowhere is not laid"):
        find("mgu")
    with pytest.raises(ValueError, match=r"mgu: no such file or folder, and no such category.*which has: box"):
        find("mgu", root=box_root)
    with pytest.raises(ValueError, match="holds categories, name one of them: CATEGORY --root"):
        find(box_root)
    with pytest.raises(ValueError, match=r"split: expected none for the file .*m10\.pcd, got 'test'"):
        find(box_cloud, split="test")
    with pytest.raises(ValueError, match="split must be 'train'"):
        find("box", root=box_root, split="tset")
    with pytest.raises(ValueError, match=r"no\.ply: no such file"):
        find("no.ply")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="unknown kind of file"):
        find(tmp_path / "notes.txt")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "box.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match=r"box\.json: expected a list of annotated models"):
        find("box", root=tmp_path)
