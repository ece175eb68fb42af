import json

import numpy as np
import pytest

from pcsargmax.annotate import ABSENT, Mark, Session, SlicerStore
from pcsargmax.datasets import LandmarkFolder
from pcsargmax.io import Cloud, read_landmarks, write_cloud

NAMES = ["tip", "left", "right"]


@pytest.fixture
def scans(cube, tmp_path):
    for number in range(4):
        write_cloud(tmp_path / "scans" / f"s{number}.ply", cube)
    return sorted((tmp_path / "scans").iterdir())


def test_what_is_annotated_trains(scans):
    session = Session(scans, NAMES, SlicerStore())
    rng = np.random.default_rng(0)
    placed = {}
    for number in range(4):
        session.show(number)
        assert session.name == "tip"
        for name in NAMES[: 3 if number else 2]:
            position = np.array([110.0, *rng.uniform([40, 0], [60, 20])])
            session.place(Mark(tuple(position)))
            placed[number, name] = position
        if not number:
            session.absent()
    data = LandmarkFolder(scans[0].parent, "all", num_points=200)
    assert data.keypoint_names == ("left", "right", "tip")
    for number, item in enumerate(data):
        for k, name in enumerate(data.keypoint_names):
            assert bool(item.keypoint_visible[0, k]) == ((number, name) in placed)
            if (number, name) in placed:  # to the last bit
                np.testing.assert_array_equal(item.keypoint_pos[0, k], placed[number, name])


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_a_session_is_read_back(scans, frame):
    store = SlicerStore(frame=frame)
    marks = {"tip": Mark((1.5, 0.1, -3.0)), "left": ABSENT}
    assert store.save(scans[0], NAMES, marks) == scans[0].with_name("s0.mrk.json")
    assert store.load(scans[0]) == marks  # of right nothing is said
    points = json.loads(scans[0].with_name("s0.mrk.json").read_text())["markups"][0]["controlPoints"]
    assert [(p["label"], p["positionStatus"], p["description"]) for p in points] == [
        ("tip", "defined", ""),
        ("left", "undefined", "absent"),
        ("right", "undefined", ""),
    ]


def test_nothing_is_written_for_nothing(scans, tmp_path):
    assert SlicerStore(tmp_path / "out").save(scans[0], NAMES, {}) is None
    assert not (tmp_path / "out").exists()
    assert SlicerStore().load(scans[0]) is None


def test_a_file_of_slicers_is_changed_in_place(scans):
    path = scans[0].with_name("s0.mrk.json")
    point = {"id": "7", "label": "tip", "position": [-1.0, -2.0, 3.0], "description": "seen", "locked": True}
    other = {"id": "9", "label": "other", "position": [4.0, 5.0, 6.0], "positionStatus": "defined"}
    missing = {"id": "10", "label": "left", "positionStatus": "missing"}
    node = {"coordinateSystem": "RAS", "display": {"color": [1, 0, 0]}, "controlPoints": [point, other, missing]}
    path.write_text(json.dumps({"@schema": "x", "markups": [node], "own": 1}))
    store = SlicerStore()
    assert store.load(scans[0]) == {"tip": Mark((1, 2, 3)), "other": Mark((-4, -5, 6)), "left": ABSENT}
    store.save(scans[0], NAMES, {"tip": Mark((10.0, 20.0, 30.0)), "right": Mark((0.0, 1.0, 2.0))})
    content = json.loads(path.read_text())
    assert (content["own"], content["markups"][0]["display"]) == (1, {"color": [1, 0, 0]})
    tip, same, left, right = content["markups"][0]["controlPoints"]
    assert tip == {**point, "position": [-10.0, -20.0, 30.0], "positionStatus": "defined"}
    assert same == other
    assert (left["positionStatus"], right["id"], right["position"]) == ("undefined", "11", [0.0, -1.0, 2.0])
    read = read_landmarks(path)
    assert {name: position.tolist() for name, position in read.items()} == {
        "tip": [10, 20, 30],
        "other": [-4, -5, 6],
        "right": [0, 1, 2],
    }


def test_clearing_takes_a_position_back(scans):
    store = SlicerStore()
    store.save(scans[0], NAMES, {"tip": Mark((1, 2, 3)), "left": ABSENT})
    store.save(scans[0], NAMES, {})
    assert store.load(scans[0]) == {}
    store.save(scans[0], NAMES, {"left": Mark((1, 2, 3)), "tip": ABSENT})
    assert store.load(scans[0]) == {"left": Mark((1, 2, 3)), "tip": ABSENT}


def test_another_folder_becomes_a_data_set_of_its_own(scans, tmp_path):
    store = SlicerStore(tmp_path / "out")
    for scan in scans:
        store.save(scan, NAMES, {name: Mark((110.0, 50.0, 10.0)) for name in NAMES})
    assert not list(scans[0].parent.glob("*.json"))
    assert (tmp_path / "out" / "s1.ply").read_bytes() == scans[1].read_bytes()
    assert len(LandmarkFolder(tmp_path / "out", "all", num_points=50)) == 4


def test_landmarks_may_lie_apart(scans, tmp_path):
    place = tmp_path / "landmarks" / "s0.mrk.json"
    store = SlicerStore(files={scans[0]: place})
    store.save(scans[0], NAMES, {"tip": Mark((1, 2, 3))})
    assert place.is_file()
    assert store.load(scans[0]) == {"tip": Mark((1, 2, 3))}


def test_mistakes_are_named(scans):
    with pytest.raises(ValueError, match='frame: expected "LPS" or "RAS"'):
        SlicerStore(frame="XYZ")
    scans[0].with_name("s0.mrk.json").write_text("{")
    with pytest.raises(ValueError, match=r"s0\.mrk\.json:1: malformed JSON"):
        SlicerStore().load(scans[0])


def write_nodes(path, *nodes):
    path.write_text(json.dumps({"markups": list(nodes)}))


def points_of(path):
    return [point for node in json.loads(path.read_text())["markups"] for point in node["controlPoints"]]


def test_only_what_is_said_anew_is_changed(scans):
    path = scans[0].with_name("s0.mrk.json")
    missing = {
        "id": "1",
        "label": "left",
        "positionStatus": "missing",
        "description": "worn off",
        "position": [1, 2, 3],
    }
    preview = {"id": "2", "label": "right", "positionStatus": "preview", "position": [0.5, 0.25, 1]}
    write_nodes(path, {"controlPoints": [missing, preview]})
    store = SlicerStore(frame="RAS")
    store.save(scans[0], NAMES, store.load(scans[0]) | {"tip": Mark((1, 2, 3))})
    *same, tip = points_of(path)
    assert same == [missing, preview]
    assert tip["position"] == [-1, -2, 3]  # a node without a coordinate system is LPS


def test_a_description_outlives_absence(scans):
    path = scans[0].with_name("s0.mrk.json")
    write_nodes(path, {"controlPoints": [{"id": "1", "label": "tip", "description": "seen", "position": [1, 2, 3]}]})
    store = SlicerStore()
    store.save(scans[0], NAMES, {"tip": ABSENT})
    assert points_of(path)[0]["description"] == "absent: seen"
    assert store.load(scans[0]) == {"tip": ABSENT}
    store.save(scans[0], NAMES, {"tip": Mark((1, 2, 3))})
    assert points_of(path)[0]["description"] == "seen"


def test_of_two_points_of_one_name_the_one_that_counts_moves(scans):
    path = scans[0].with_name("s0.mrk.json")
    empty = {"label": "tip", "positionStatus": "undefined"}
    for points in ([{"label": "tip", "position": [1, 2, 3]}, empty], [empty, {"label": "tip", "position": [1, 2, 3]}]):
        write_nodes(path, {"controlPoints": points})
        SlicerStore().save(scans[0], ["tip"], {"tip": Mark((4, 5, 6))})
        assert {name: list(its) for name, its in read_landmarks(path).items()} == {"tip": [4, 5, 6]}


def test_lines_get_no_further_points(scans):
    path = scans[0].with_name("s0.mrk.json")
    line = {"type": "Line", "controlPoints": [{"label": "start", "position": [0, 0, 0]}]}
    write_nodes(path, line)
    SlicerStore(frame="RAS").save(scans[0], ["tip"], {"tip": Mark((4, 5, 6))})
    nodes = json.loads(path.read_text())["markups"]
    assert nodes[0] == line
    assert (nodes[1]["type"], nodes[1]["coordinateSystem"]) == ("Fiducial", "RAS")
    assert read_landmarks(path, mesh_frame="RAS")["tip"].tolist() == [4, 5, 6]


def test_names_come_back_in_their_order(scans):
    store = SlicerStore()
    store.save(scans[0], NAMES, {"right": Mark((1, 2, 3)), "tip": ABSENT})
    store.save(scans[1], ["rim", *NAMES], {"rim": ABSENT})
    assert store.names(scans) == ["tip", "left", "right", "rim"]
    assert Session(scans, [], store, open_names=True).names == ["tip", "left", "right", "rim"]


def test_two_scans_of_one_name_cannot_share_a_folder(scans, cube, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other" / "s0.ply"
    SlicerStore(out).save(scans[0], NAMES, {"tip": Mark((1, 2, 3))})
    kept = (out / "s0.mrk.json").read_bytes()
    turned = Cloud(cube.points[:, [1, 0, 2]], cube.color, faces=cube.faces)
    write_cloud(other, turned)  # as large a file
    store = SlicerStore(out)
    with pytest.raises(ValueError, match=r"out/s0\.ply: is another scan than .*other/s0\.ply.*--out"):
        store.save(other, NAMES, {"tip": Mark((3, 2, 1))})
    write_cloud(other, Cloud(cube.points))
    with pytest.raises(ValueError, match="is another scan than"):
        store.load(other)
    write_cloud(tmp_path / "other" / "s0.xyz", cube)
    with pytest.raises(ValueError, match=r"out/s0\.ply: is another scan than .*s0\.xyz"):
        store.load(tmp_path / "other" / "s0.xyz")
    assert (out / "s0.mrk.json").read_bytes() == kept
    assert SlicerStore(out).load(out / "s0.ply") == {"tip": Mark((1, 2, 3))}  # the copy itself is no other
