import json
import shutil

import numpy as np
import pytest

from pcsargmax.annotate import ABSENT, KeypointNetStore, Mark, Scan, Session
from pcsargmax.datasets import KeypointNet
from pcsargmax.io import Cloud, read_cloud, write_cloud

NAMES = ["tip", "left", "right"]


def entries(root, category="thing"):
    return json.loads((root / "annotations" / f"{category}.json").read_text())


@pytest.fixture
def scans(cube, tmp_path):
    for number in range(10):
        write_cloud(tmp_path / "scans" / f"s{number}.ply", cube)
    return sorted((tmp_path / "scans").iterdir())


def test_what_is_annotated_on_meshes_trains(scans, tmp_path):
    root = tmp_path / "root"
    session = Session(scans, NAMES, KeypointNetStore(root, "thing", num_points=200))
    scan, placed = Scan.read(scans[0]), {}
    for number in range(10):
        session.show(number)
        assert session.name == "tip"
        for k, name in enumerate(NAMES[: 3 if number else 2]):
            mark = scan.pick(np.array([0.1 * k, 0.02 * number, 2]), np.array([0, 0, -1.0]), 0.01)
            session.place(mark)
            placed[number, name] = mark
        if not number:
            session.absent()
    data = KeypointNet(root, "thing", "all")  # a warning would be an error
    assert (data.num_keypoints, data.class_id) == (3, "thing")
    for number, item in enumerate(data):
        assert item.num_nodes == 200
        for k, name in enumerate(NAMES):
            assert bool(item.keypoint_visible[0, k]) == ((number, name) in placed)
            if (number, name) not in placed:
                continue
            mark = placed[number, name]
            np.testing.assert_array_equal(item.keypoint_pos[0, k], mark.position)
            assert int(item.mesh_face[0, k]) == mark.face_index
            np.testing.assert_allclose(item.mesh_uv[0, k], mark.face_uv, atol=1e-7)
            # The named point of the cloud is the landmark, as in KeypointNet.
            np.testing.assert_allclose(item.pos[item.keypoint_site[0, k]], mark.position, rtol=0, atol=1e-8)
    mesh = read_cloud(root / "ShapeNetCore.v2.ply" / "thing" / "s3.ply")
    np.testing.assert_array_equal(mesh.faces, scan.cloud.faces)
    sizes = {split: len(KeypointNet(root, "thing", split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 7, "val": 1, "test": 2}


def test_the_colour_of_a_mesh_is_mixed_on_the_triangle(scans, tmp_path):
    store = KeypointNetStore(tmp_path, "thing", num_points=50)
    mark = Scan.read(scans[0]).snap([95, 52, 20])
    store.save(scans[0], NAMES, {"tip": mark})
    (keypoint,) = entries(tmp_path)[0]["keypoints"]
    assert keypoint["rgb"] == [pytest.approx(191, abs=1), 0, pytest.approx(64, abs=1)]  # a quarter of the way
    assert (keypoint["semantic_id"], keypoint["name"]) == (0, "tip")


def test_a_session_is_read_back(scans, tmp_path):
    root = tmp_path / "root"
    marks = {"left": Scan.read(scans[0]).snap([95, 52, 20]), "right": ABSENT}
    KeypointNetStore(root, "thing", num_points=50).save(scans[0], NAMES, marks)
    again = KeypointNetStore(root, "thing", num_points=50)
    assert again.load(scans[0]) == marks
    assert again.load(scans[1]) is None
    assert again.names() == NAMES
    assert (root / "annotations" / "thing.txt").read_text() == "tip\nleft\nright\n"


def test_points_of_a_cloud_keep_their_numbers(points, tmp_path):
    write_cloud(tmp_path / "ball.xyz", points)
    mark = Scan.read(tmp_path / "ball.xyz").mark_of_point(42)
    KeypointNetStore(tmp_path / "root", "mug").save(tmp_path / "ball.xyz", ["3"], {"3": mark})
    (entry,) = entries(tmp_path / "root", "mug")
    assert entry["class_id"] == "03797390"
    assert entry["keypoints"] == [
        {"semantic_id": 3, "name": "3", "xyz": list(mark.position), "pcd_info": {"point_index": 42}}
    ]
    assert not (tmp_path / "root" / "annotations" / "mug.txt").exists()  # numbers are ids themselves
    stored = read_cloud(tmp_path / "root" / "pcds" / "03797390" / "ball.pcd")
    np.testing.assert_allclose(stored.points, points.points, atol=1e-8)


def test_a_large_cloud_is_thinned_around_its_landmarks(points, tmp_path):
    write_cloud(tmp_path / "ball.xyz", points)
    scan = Scan.read(tmp_path / "ball.xyz")
    marks = {str(k): scan.mark_of_point(row) for k, row in enumerate([5, 6, 5])}
    KeypointNetStore(tmp_path / "root", "ball", num_points=100).save(tmp_path / "ball.xyz", list(marks), marks)
    stored = read_cloud(tmp_path / "root" / "pcds" / "ball" / "ball.pcd").points
    assert stored.shape == (100, 3)
    rows = [keypoint["pcd_info"]["point_index"] for keypoint in entries(tmp_path / "root", "ball")[0]["keypoints"]]
    assert rows[0] == rows[2] != rows[1]  # two landmarks at one point share it
    np.testing.assert_allclose(stored[rows[:2]], points.points[[5, 6]], atol=1e-8)


def test_an_official_category_keeps_all_that_was_not_changed(box_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    before = entries(root, "box")
    before[1]["symmetries"] = {"reflection": [{"kp_indexes": [0, 1]}, {"kp_indexes": [2, 3]}], "rotation": []}
    before[1]["own"] = "kept"
    (root / "annotations" / "box.json").write_text(json.dumps(before))
    clouds = {path: path.read_bytes() for path in (root / "pcds").rglob("*.pcd")}
    scan = root / "pcds" / "00000001" / "m01.pcd"
    session = Session([scan], ["0", "1", "2", "4"], KeypointNetStore(root, "box"))
    assert session.complete(0)
    session.select("1")
    session.clear()
    session.select("2")
    moved = Scan.read(scan).mark_of_point(50)
    session.place(moved)
    after = entries(root, "box")
    assert [after[0], *after[2:]] == [before[0], *before[2:]]
    assert after[1]["own"] == "kept"
    kept = {keypoint["semantic_id"]: keypoint for keypoint in after[1]["keypoints"]}
    assert list(kept) == [0, 2, 4]
    assert kept[2]["pcd_info"] == {"point_index": 50}
    assert kept[0].items() >= before[1]["keypoints"][0].items()
    # Places in the list follow the ids: 0 was [0, 1] without 1; ids 2 and 4 stand at 1 and 2 now.
    assert after[1]["symmetries"] == {"reflection": [{"kp_indexes": [0]}, {"kp_indexes": [1, 2]}], "rotation": []}
    assert {path: path.read_bytes() for path in (root / "pcds").rglob("*.pcd")} == clouds
    item = KeypointNet(root, "box", ["m01"])[0]
    np.testing.assert_array_equal(item.keypoint_pos[0, 2], moved.position)
    assert item.keypoint_visible[0].tolist() == [True, False, True, False, True]


def test_a_cloud_that_was_not_made_here_is_never_replaced(box_root, tmp_path, points):
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    path = root / "pcds" / "00000001" / "m01.pcd"
    content = path.read_bytes()
    write_cloud(tmp_path / "m01.xyz", Cloud(points.points / 100))
    mark = Scan.read(tmp_path / "m01.xyz").mark_of_point(3)
    KeypointNetStore(root, "box").save(tmp_path / "m01.xyz", ["0"], {"0": mark})
    assert path.read_bytes() == content
    (keypoint,) = [k for k in entries(root, "box")[1]["keypoints"] if k["semantic_id"] == 0]
    assert "pcd_info" not in keypoint  # that cloud has no such point


def test_two_annotators_of_one_category_keep_each_others_work(scans, tmp_path):
    one, other = (KeypointNetStore(tmp_path, "thing", num_points=50) for _ in range(2))
    mark = Scan.read(scans[0]).snap([95, 52, 20])
    one.save(scans[0], NAMES, {"tip": mark})
    other.save(scans[1], NAMES, {"left": mark})
    one.save(scans[0], NAMES, {"right": mark})
    assert [entry["model_id"] for entry in entries(tmp_path)] == ["s0", "s1"]
    assert other.load(scans[0]) == {"right": mark}


def test_absent_alone_is_kept(scans, tmp_path):
    store = KeypointNetStore(tmp_path, "thing", num_points=50)
    store.save(scans[0], NAMES, {"tip": ABSENT})
    assert KeypointNetStore(tmp_path, "thing").load(scans[0]) == {"tip": ABSENT}
    assert store.save(scans[1], NAMES, {}) is None
    assert len(entries(tmp_path)) == 1


def test_mistakes_are_named(box_root, tmp_path, points):
    with pytest.raises(ValueError, match="num_points: expected 1 or more, got 0"):
        KeypointNetStore(tmp_path, "thing", num_points=0)
    for category in ("", "a/b", ".."):
        with pytest.raises(ValueError, match="category: expected a name without slashes"):
            KeypointNetStore(tmp_path, category)
    write_cloud(tmp_path / "a.xyz", points)
    with pytest.raises(ValueError, match=r"names: .*box\.json has semantic ids 0 to 4 without names"):
        KeypointNetStore(box_root, "box").save(tmp_path / "a.xyz", ["tip"], {"tip": Mark((1, 2, 3))})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "bad.json").write_text("[{]")
    with pytest.raises(ValueError, match=r"bad\.json:1: malformed JSON"):
        KeypointNetStore(tmp_path, "bad")
    (tmp_path / "annotations" / "odd.json").write_text('[{"model_id": "a", "keypoints": 3}]')
    with pytest.raises(ValueError, match=r"odd\.json, entry 0"):
        KeypointNetStore(tmp_path, "odd")


def test_symmetries_come_back_with_their_members(box_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    before = entries(root, "box")
    circle = {"is_circle": True, "circle": {"center": [0, 0, 0], "radius": 1, "normal": [0, 1, 0]}}
    before[1]["symmetries"] = {"reflection": [{"kp_indexes": [0, 1]}], "rotation": [{"kp_indexes": [3, 2], **circle}]}
    (root / "annotations" / "box.json").write_text(json.dumps(before))
    symmetries = KeypointNet(root, "box", ["m01"])[0].symmetries
    scan, ids = root / "pcds" / "00000001" / "m01.pcd", ["0", "1", "2", "4"]
    session = Session([scan], ids, KeypointNetStore(root, "box"))
    marks = dict(session.marks)
    session.clear_all()
    assert entries(root, "box")[1]["symmetries"] == {"reflection": [], "rotation": []}
    session.undo()
    assert session.marks == marks
    assert KeypointNet(root, "box", ["m01"])[0].symmetries == symmetries
    assert "symmetries_by_id" not in entries(root, "box")[1]
    session.select("0")
    session.clear()
    assert KeypointNet(root, "box", ["m01"])[0].symmetries["reflection"] == [[1]]
    again = Session([scan], ids, KeypointNetStore(root, "box"))  # another day
    again.place(marks["0"], "0")
    assert KeypointNet(root, "box", ["m01"])[0].symmetries == symmetries


def test_two_scans_of_one_name_cannot_share_a_category(scans, cube, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other" / "s0.ply"
    store = KeypointNetStore(root, "thing", num_points=50)
    store.save(scans[0], NAMES, {"tip": Scan.read(scans[0]).snap([95, 52, 20])})
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    write_cloud(other, Cloud(cube.points[:, [1, 0, 2]], cube.color, faces=cube.faces))  # as large a file
    with pytest.raises(ValueError, match=r"has landmarks of another s0\.ply as 's0'; rename this one"):
        store.save(other, NAMES, {"tip": ABSENT})
    write_cloud(other, Cloud(cube.points))
    with pytest.raises(ValueError, match=r"has landmarks of another s0\.ply as 's0'; rename this one"):
        store.load(other)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == files
    assert store.load(root / "ShapeNetCore.v2.ply" / "thing" / "s0.ply")["tip"].face_index is not None
    assert store.load(root / "pcds" / "thing" / "s0.pcd")["tip"].point_index is not None


def test_triangles_of_another_mesh_are_not_told(box_root, cube, tmp_path):
    """Of a model that KeypointNet has, with a mesh, somebody opens a mesh of their own."""
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    before = entries(root, "box")
    for number, keypoint in enumerate(before[1]["keypoints"]):
        keypoint["mesh_info"] = {"face_index": 9000 + number, "face_uv": [0.5, 0.25, 0.25]}
    (root / "annotations" / "box.json").write_text(json.dumps(before))
    write_cloud(root / "ShapeNetCore.v2.ply" / "00000001" / "m01.ply", Cloud(cube.points * 2, faces=cube.faces))
    write_cloud(tmp_path / "m01.ply", cube)
    store = KeypointNetStore(root, "box")
    marks = store.load(tmp_path / "m01.ply")
    assert {(mark.point_index, mark.face_index) for mark in marks.values()} == {(None, None)}
    moved = Scan(cube).snap([95, 52, 20])
    store.save(tmp_path / "m01.ply", ["0", "1", "2", "4"], marks | {"0": moved})
    first, *rest = entries(root, "box")[1]["keypoints"]
    assert "mesh_info" not in first
    assert rest == [
        {**old, **({"name": new["name"]} if "name" in new else {})}
        for old, new in zip(before[1]["keypoints"][1:], rest, strict=True)
    ]
    assert len(store.load(tmp_path / "m01.ply")) == 4


def test_numbers_and_names_do_not_meet(points, tmp_path):
    write_cloud(tmp_path / "a.xyz", points)
    mark = [Scan(points).mark_of_point(row) for row in range(4)]
    session = Session([tmp_path / "a.xyz"], [], KeypointNetStore(tmp_path, "thing"), open_names=True)
    for row, name in enumerate(["3", "tip", "007"]):
        session.add_name(name)
        session.place(mark[row], name)
    assert [(k["semantic_id"], k["name"]) for k in entries(tmp_path)[0]["keypoints"]] == [
        (3, "3"),
        (4, "tip"),
        (5, "007"),
    ]
    again = KeypointNetStore(tmp_path, "thing")
    assert {name: its.position for name, its in again.load(tmp_path / "a.xyz").items()} == {
        "3": mark[0].position,
        "tip": mark[1].position,
        "007": mark[2].position,
    }
    other = KeypointNetStore(tmp_path, "other")
    other.save(tmp_path / "a.xyz", ["007"], {"007": ABSENT})
    assert other.load(tmp_path / "a.xyz") == {"007": ABSENT}
    third = KeypointNetStore(tmp_path, "third")
    third.save(tmp_path / "a.xyz", ["2"], {"2": ABSENT})
    third.save(tmp_path / "a.xyz", ["2", "tip"], {"2": ABSENT, "tip": mark[0]})
    assert third.load(tmp_path / "a.xyz").keys() == {"2", "tip"}
    assert entries(tmp_path, "third")[0]["absent"] == [2]


def test_absence_of_other_landmarks_stays(scans, tmp_path):
    store = KeypointNetStore(tmp_path, "thing", num_points=50)
    store.save(scans[0], NAMES, {"tip": ABSENT, "left": ABSENT})
    store.save(scans[0], ["left", "right"], {"right": ABSENT})
    assert store.load(scans[0]) == {"tip": ABSENT, "right": ABSENT}


def test_a_name_with_a_space_is_listed_once(points, tmp_path):
    scan = tmp_path / "my scan.xyz"
    write_cloud(scan, points)
    store = KeypointNetStore(tmp_path, "thing")
    for name in NAMES:
        store.save(scan, NAMES, {name: ABSENT})
    listed = [(tmp_path / "splits" / f"{split}.txt").read_text() for split in ("train", "val", "test")]
    assert listed == ["thing-my scan\n", "", ""]


def test_of_an_id_that_comes_twice_the_first_counts(box_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(box_root, root)
    before = entries(root, "box")
    before[1]["keypoints"].append({"semantic_id": 0, "xyz": [9.0, 9.0, 9.0]})
    (root / "annotations" / "box.json").write_text(json.dumps(before))
    mark = KeypointNetStore(root, "box").load(root / "pcds" / "00000001" / "m01.pcd")["0"]
    assert list(mark.position) == before[1]["keypoints"][0]["xyz"]


def test_a_save_that_fails_leaves_nothing_behind(scans, tmp_path):
    store = KeypointNetStore(tmp_path, "thing", num_points=50)
    store.save(scans[0], NAMES, {"tip": ABSENT})
    (tmp_path / "annotations" / "thing.txt").unlink()
    with pytest.raises(ValueError, match="without names"):
        store.save(scans[1], ["rim"], {"rim": ABSENT})
    assert store.load(scans[1]) is None
