import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.landmark_table import write_csv
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from pcsargmax.datasets import sampling as files_module
from pcsargmax.datasets.landmarks import LandmarkFolder
from pcsargmax.io.clouds import Cloud, write_cloud
from pcsargmax.io.landmarks import write_markups
from pcsargmax.transforms.frames import NormalizeFrame, to_raw

NAMES = ("L1", "L2", "L10", "tip")
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
QUADS = [(0, 2, 6, 4), (1, 5, 7, 3), (0, 4, 5, 1), (2, 3, 7, 6), (0, 1, 3, 2), (4, 6, 7, 5)]
FACES = np.array([(a, b, c) for a, b, c, _ in QUADS] + [(a, c, d) for a, _, c, d in QUADS])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shape(i: int) -> tuple[Cloud, np.ndarray]:
    """A box, 1 to 3 wide and off the origin, and four of its corners."""
    points = CORNERS * [1 + i % 3, 2, 3] + [10, 20 + i, -5]
    return Cloud(points, faces=FACES), points[[0, 7, 4, 1]]


def make_folder(root: Path, n: int = 6, kind: str = ".ply", absent: dict | None = None) -> Path:
    """meshes/m0.ply, ... and landmarks/m0.mrk.json, ...; `absent`: model -> names it lacks."""
    for i in range(n):
        mesh, landmarks = shape(i)
        write_cloud(root / "meshes" / f"m{i}{kind}", mesh)
        visible = [name not in (absent or {}).get(i, ()) for name in NAMES]
        write_markups(root / "landmarks" / f"m{i}.mrk.json", NAMES, landmarks, visible=visible)
    return root


def tree(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_items_by_the_contract(tmp_path, cache):
    root = make_folder(tmp_path / "boxes", absent={2: ("L10",)})
    before = tree(root)
    data = LandmarkFolder(root, "all", num_points=60)
    assert data.keypoint_names == ("L1", "L2", "L10", "tip")
    assert (len(data), data.num_keypoints, data.missing) == (6, 4, ())
    for i, item in enumerate(data):
        mesh, landmarks = shape(i)
        assert (item.model_id, item.category, item.farthest_order) == (f"m{i}", "boxes", True)
        assert item.pos.shape == (60, 3)
        assert item.pos.dtype == item.keypoint_pos.dtype == torch.float64
        low, high = mesh.points.min(0), mesh.points.max(0)
        assert (item.pos.numpy() >= low - 1e-9).all()
        assert (item.pos.numpy() <= high + 1e-9).all()
        visible = [True, True, i != 2, True]
        assert item.keypoint_visible.tolist() == [visible]
        expected = np.where(np.array(visible)[:, None], landmarks, 0)
        assert np.array_equal(item.keypoint_pos[0].numpy(), expected)
        nearest = torch.cdist(item.keypoint_pos[0], item.pos).argmin(1)
        assert item.keypoint_site[0, visible].tolist() == nearest[visible].tolist()
        assert (item.keypoint_site[0] == -1).tolist() == [not v for v in visible]
        assert not set(item.keys()) - {
            *(
                "pos",
                "keypoint_pos",
                "keypoint_visible",
                "keypoint_site",
                "model_id",
                "category",
                "farthest_order",
                "length_unit",
            )
        }
    assert tree(root) == before
    assert "LandmarkFolder(boxes, 6 items, 4 landmarks)" in repr(data)
    assert [path.suffix for path in cache.rglob("*.*")] == [".pt"]


def test_items_batch_and_take_transforms(tmp_path):
    root = make_folder(tmp_path / "boxes")
    plain = LandmarkFolder(root, "all", num_points=40)
    data = LandmarkFolder(root, "all", num_points=40, transform=NormalizeFrame())
    batch = next(iter(DataLoader(data, batch_size=6)))
    assert batch.keypoint_pos.shape == (6, 4, 3)
    assert batch.keypoint_site.max() < 40
    assert batch.model_id == [f"m{i}" for i in range(6)]
    raw = to_raw(batch.keypoint_pos, batch.frame_center, batch.frame_scale)
    expected = Batch.from_data_list(list(plain)).keypoint_pos
    torch.testing.assert_close(raw, expected, rtol=0, atol=1e-5)


def test_the_cache_is_used_until_something_changes(tmp_path, cache, monkeypatch):
    root = make_folder(tmp_path / "boxes", n=2)
    reads = []
    read = files_module.read_cloud
    monkeypatch.setattr(files_module, "read_cloud", lambda path: reads.append(path) or read(path))

    def load(**options):
        reads.clear()
        data = LandmarkFolder(root, "all", **{"num_points": 20, **options})
        return len(reads), data

    assert load()[0] == 2
    assert load()[0] == 0
    assert load(shares=(1, 1, 1), names=["tip"])[0] == 0
    assert load(num_points=21)[0] == 2
    assert load(seed=1)[0] == 2
    mesh, landmarks = shape(0)
    write_markups(root / "landmarks" / "m0.mrk.json", NAMES, landmarks + 0.01)
    count, data = load()
    assert count == 2
    assert np.array_equal(data[0].keypoint_pos[0].numpy(), landmarks + 0.01)
    write_cloud(root / "meshes" / "m0.ply", Cloud(mesh.points + 0.01, faces=FACES))
    assert load()[0] == 2
    for path in cache.rglob("*.pt"):
        path.write_bytes(b"damaged")
    assert load()[0] == 2


def test_loading_repeats_and_depends_on_the_seed(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "boxes", n=2)
    first = LandmarkFolder(root, "all", num_points=30, seed=1)[0].pos
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path / "another"))
    assert torch.equal(LandmarkFolder(root, "all", num_points=30, seed=1)[0].pos, first)
    assert not torch.equal(LandmarkFolder(root, "all", num_points=30, seed=2)[0].pos, first)


def test_progress_is_told(tmp_path):
    told = []
    LandmarkFolder(make_folder(tmp_path / "a", n=3), "all", num_points=5, progress=lambda *x: told.append(x))
    assert told == [(1, 3), (2, 3), (3, 3)]


def ids(data: LandmarkFolder) -> list[str]:
    return [item.model_id for item in data]


def test_splits_by_share_cover_everything_once(tmp_path):
    root = make_folder(tmp_path / "boxes", n=10)
    parts = {split: ids(LandmarkFolder(root, split, num_points=5)) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [7, 1, 2]
    assert sorted(model for part in parts.values() for model in part) == sorted(f"m{i}" for i in range(10))
    assert set(ids(LandmarkFolder(root, "trainval", num_points=5))) == {*parts["train"], *parts["val"]}
    assert ids(LandmarkFolder(root, "all", num_points=5)) == [f"m{i}" for i in range(10)]
    other = [ids(LandmarkFolder(root, "test", num_points=5, seed=seed)) for seed in range(1, 6)]
    assert any(part != parts["test"] for part in other)
    with pytest.raises(ValueError, match=r"'val' of 10 files with shares \(2, 0, 1\) holds none .*--val-split none"):
        LandmarkFolder(root, "val", num_points=5, shares=(2, 0, 1))


def test_splits_by_file(tmp_path):
    root = make_folder(tmp_path / "boxes", n=4)
    (root / "splits.json").write_text(json.dumps({"train": ["m3.ply", "m0"], "test": ["m1"], "gold": ["m2"]}))
    assert ids(LandmarkFolder(root, "train", num_points=5)) == ["m0", "m3"]
    assert ids(LandmarkFolder(root, "gold", num_points=5)) == ["m2"]
    with pytest.raises(ValueError, match=r"expected one of \['gold', 'test', 'train', 'all'\] \(.*got 'val'"):
        LandmarkFolder(root, "val", num_points=5)
    own = tmp_path / "own.txt"
    own.write_text("m0 train\nm1 train\nm2 test\nm9 test\nm8 train\n")
    with pytest.warns(UserWarning, match="boxes: ") as said:
        data = LandmarkFolder(root, "test", num_points=5, split_file=own)
    assert ids(data) == ["m2"]
    assert data.missing == ("m9",)
    messages = [str(warning.message) for warning in said]
    assert len(messages) == 2
    assert f"1 (m9) of split 'test' ({own}) have no cloud with landmarks here" in messages[0]
    assert f"1 (m3) with landmarks are in no split of {own}" in messages[1]
    with pytest.raises(FileNotFoundError, match="split_file: no such file or folder"):
        LandmarkFolder(root, "test", num_points=5, split_file=tmp_path / "none.json")


def test_what_does_not_match_is_said_once(tmp_path):
    root = make_folder(tmp_path / "boxes", n=5)
    for i in (1, 3, 4):
        (root / "landmarks" / f"m{i}.mrk.json").rename(root / "landmarks" / f"x{i}.mrk.json")
    (root / "settings.json").write_text('{"version": 1}')
    (root / ".hidden.ply").write_text("")
    with pytest.warns(UserWarning, match="boxes: ") as said:
        data = LandmarkFolder(root, "all", num_points=5)
    assert ids(data) == ["m0", "m2"]
    assert [str(warning.message).removeprefix(f"{root}: ") for warning in said] == [
        "3 (m1, m3, m4) clouds have no landmarks",
        "3 (x1, x3, x4) have landmarks but no cloud",
        "1 (settings.json) hold no landmarks that can be read and were left out",
    ]
    assert {warning.filename for warning in said} == {__file__}
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("default")
        for split in ("train", "train"):
            LandmarkFolder(root, split, num_points=5)
    assert len(again) == 3


@pytest.mark.parametrize("form", ["csv", "keypointnet", "fcsv", "side by side"])
def test_other_landmark_files(tmp_path, form):
    root = tmp_path / "boxes"
    shapes = [shape(i) for i in range(3)]
    for i, (mesh, landmarks) in enumerate(shapes):
        write_cloud(root / f"m{i}.ply", mesh)
        if form == "side by side":
            write_markups(root / f"m{i}.mrk.json", NAMES, landmarks)
        if form == "fcsv":
            rows = [
                f"{k},{x},{y},{z},0,0,0,1,1,1,0,{NAMES[k]},," for k, (x, y, z) in enumerate(landmarks * [-1, -1, 1])
            ]
            header = "# CoordinateSystem = 0\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label\n"
            (root / f"m{i}.fcsv").write_text(header + "\n".join(rows))
    places = np.stack([landmarks for _, landmarks in shapes])
    if form == "csv":
        write_csv(root / "all.csv", [f"m{i}.ply" for i in range(3)], NAMES, places)
    if form == "keypointnet":
        entries = [
            {
                "model_id": f"m{i}",
                "keypoints": [{"semantic_id": k, "xyz": x} for k, x in enumerate(places[i].tolist())],
            }
            for i in range(3)
        ]
        (root / "boxes.json").write_text(json.dumps(entries))
    data = LandmarkFolder(root, "all", num_points=10)
    assert data.length_unit == ("mm" if form in ("fcsv", "side by side") else None)
    assert data[0].get("length_unit") == data.length_unit
    assert data.keypoint_names == (("0", "1", "2", "3") if form == "keypointnet" else NAMES)
    for i in range(3):
        assert np.array_equal(data[i].keypoint_pos[0].numpy(), places[i])


def test_items_have_dense_points_where_asked_for(tmp_path):
    root = make_folder(tmp_path / "boxes")
    np.save(root / "meshes" / "m6.npy", shape(0)[0].points)  # a cloud of eight points among the meshes
    write_markups(root / "landmarks" / "m6.mrk.json", NAMES, shape(0)[1])
    plain, dense = (LandmarkFolder(root, "all", num_points=30, dense_points=count) for count in (0, 100))
    assert all("dense_pos" not in item for item in plain)
    assert [len(item.dense_pos) for item in dense] == [100] * 6 + [8]
    for item, without in zip(dense, plain, strict=True):
        assert torch.equal(item.pos, without.pos)
        low, high = item.pos.amin(dim=0), item.pos.amax(dim=0)
        assert ((item.dense_pos >= low - 0.5) & (item.dense_pos <= high + 0.5)).all()
        assert item.num_nodes == without.num_nodes
    sorted_corners = torch.from_numpy(shape(0)[0].points).sort(dim=0).values
    assert torch.equal(dense[6].dense_pos.sort(dim=0).values, sorted_corners)


def test_landmarks_elsewhere_and_some_of_their_names(tmp_path):
    root = make_folder(tmp_path / "boxes", n=2)
    (root / "landmarks").rename(tmp_path / "marks")
    data = LandmarkFolder(root, "all", num_points=5, landmarks=tmp_path / "marks", names=["tip", "L1"])
    assert data.keypoint_names == ("tip", "L1")
    assert np.array_equal(data[0].keypoint_pos[0].numpy(), shape(0)[1][[3, 0]])
    assert data[0].keypoint_site.shape == (1, 2)
    for names in (["tip", "L3"], [], ["tip", "tip"]):
        with pytest.raises(ValueError, match=r"names: expected distinct landmarks of .*'L10', 'tip'\], got"):
            LandmarkFolder(root, "all", num_points=5, landmarks=tmp_path / "marks", names=names)


def test_colours_are_kept_where_all_files_have_them(tmp_path):
    root = make_folder(tmp_path / "boxes", n=2)
    color = np.arange(24, dtype=np.uint8).reshape(8, 3)
    write_cloud(root / "meshes" / "m0.ply", Cloud(shape(0)[0].points, color, None, FACES))
    with pytest.warns(UserWarning, match=r"1 \(m1\) clouds have no colour, so all colours are left out"):
        assert "color" not in LandmarkFolder(root, "all", num_points=5)[0]
    write_cloud(root / "meshes" / "m1.ply", Cloud(shape(1)[0].points, color, None, FACES))
    assert LandmarkFolder(root, "all", num_points=5)[1].color.shape == (5, 3)


def test_clouds_of_unequal_size_far_from_the_origin(tmp_path):
    root = tmp_path / "clouds"
    generator = np.random.default_rng(0)
    for i, n in enumerate((1, 5, 30)):
        points = generator.normal(size=(n, 3)) * 1000 + 1e6
        write_cloud(root / f"m{i}.npy", Cloud(points))
        write_markups(root / f"m{i}.mrk.json", ["a", "b"], points[[0, -1]])
    data = LandmarkFolder(root, "all", num_points=20)
    assert [len(item.pos) for item in data] == [1, 5, 20]
    for item in list(data)[:2]:
        assert torch.equal(item.pos[item.keypoint_site[0]], item.keypoint_pos[0])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda p: p * [-1, -1, 1],
            {},
            r"m1\.mrk\.json: m1: .* with x and y negated they fit: try mesh_frame=\"RAS\"",
        ),
        (lambda p: p, {"mesh_frame": "RAS"}, "with x and y negated they fit"),
        (
            lambda p: p / 1000,
            {},
            "do their units and origin differ[?] The mesh is .* across, the landmarks 0.00",
        ),
        (lambda p: p + 5, {}, "do their units and origin differ"),
    ],
)
def test_landmarks_far_from_their_surface(tmp_path, cache, change, options, message):
    root = make_folder(tmp_path / "boxes", n=3)
    if not options:
        write_markups(root / "landmarks" / "m1.mrk.json", NAMES, change(shape(1)[1]))
    with pytest.raises(ValueError, match=message):
        LandmarkFolder(root, "all", num_points=50, **options)
    assert not list(cache.rglob("*.*"))
    assert len(LandmarkFolder(root, "all", num_points=50, max_distance=None, **options)) == 3


def test_a_ras_mesh_with_lps_markups_is_read_with_the_option(tmp_path):
    root = tmp_path / "boxes"
    mesh, landmarks = shape(0)
    write_cloud(root / "m0.ply", mesh)
    write_markups(root / "m0.mrk.json", NAMES, landmarks * [-1, -1, 1])
    data = LandmarkFolder(root, "all", num_points=50, mesh_frame="RAS")
    assert np.array_equal(data[0].keypoint_pos[0].numpy(), landmarks)


def test_empty_folders_say_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"root: no such folder: .*none"):
        LandmarkFolder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no clouds or meshes \(\.ply \.obj .*\) under .*empty"):
        LandmarkFolder(tmp_path / "empty")
    write_cloud(tmp_path / "bare" / "m0.ply", shape(0)[0])
    with pytest.raises(FileNotFoundError, match=r"no landmark files \(\.mrk\.json .*\) under .*bare"):
        LandmarkFolder(tmp_path / "bare")
    write_markups(tmp_path / "bare" / "x0.mrk.json", NAMES, shape(0)[1])
    with pytest.raises(FileNotFoundError, match=r"clouds 1 \(m0\), landmarks of 1 \(x0\); they are matched"):
        LandmarkFolder(tmp_path / "bare")
    write_markups(tmp_path / "bare" / "m0.mrk.json", NAMES, shape(0)[1], visible=[False] * 4)
    with pytest.raises(FileNotFoundError, match=r"no cloud under .* has landmarks"):
        LandmarkFolder(tmp_path / "bare")


def test_two_files_of_one_stem_are_named(tmp_path):
    root = make_folder(tmp_path / "boxes", n=2)
    write_csv(root / "all.csv", ["m1.ply"], NAMES, shape(1)[1][None])
    with pytest.raises(ValueError, match=r"m1\.mrk\.json: landmarks of 'm1' are in .*all\.csv already"):
        LandmarkFolder(root, "all", num_points=5)
    (root / "all.csv").unlink()
    write_cloud(root / "more" / "m1.pcd", shape(1)[0])
    with pytest.raises(ValueError, match=r"m1\.pcd: has the same stem as .*m1\.ply"):
        LandmarkFolder(root, "all", num_points=5)


def test_a_bad_file_is_named_and_leaves_nothing(tmp_path, cache):
    root = make_folder(tmp_path / "boxes", n=3)
    (root / "meshes" / "m2.ply").write_text("garbage")
    with pytest.raises(ValueError, match=r"m2\.ply: not a readable \.ply file"):
        LandmarkFolder(root, "all", num_points=5)
    (root / "landmarks" / "m1.mrk.json").write_text('{"markups":\n')
    with pytest.raises(ValueError, match=r"m1\.mrk\.json:2: malformed JSON"):
        LandmarkFolder(root, "all", num_points=5)
    assert not list(cache.rglob("*.*"))


def test_real_teeth():
    shared = Path(os.environ.get("PCSARGMAX_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    root = shared / "teeth"
    if not root.is_dir():
        pytest.skip(f"no teeth data at {root}")
    data = LandmarkFolder(root, "train", num_points=256, shares=(2, 0, 1))
    test = LandmarkFolder(root, "test", num_points=256, shares=(2, 0, 1))
    assert (len(data), len(test)) == (52, 26)
    assert data.keypoint_names == tuple(f"L{i}" for i in range(1, 19))
    assert all(item.keypoint_visible.all() for item in data)
    unit = LandmarkFolder(root, "all", num_points=256, shares=(2, 0, 1), transform=NormalizeFrame())
    away = torch.cat([(item.pos[item.keypoint_site[0]] - item.keypoint_pos[0]).norm(dim=1) for item in unit])
    assert away.median() < 0.04  # 256 points on a tooth of diagonal 1 lie about 0.06 from each other


def test_clouds_without_landmarks_are_kept_on_request(tmp_path):
    root = make_folder(tmp_path / "boxes")
    (root / "landmarks" / "m1.mrk.json").unlink()
    with pytest.warns(UserWarning, match=r"1 \(m1\) clouds have no landmarks"):
        assert len(LandmarkFolder(root, "all", num_points=20)) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = LandmarkFolder(root, "all", num_points=20, unlabelled=True)
    assert [item.model_id for item in data] == [f"m{i}" for i in range(6)]
    assert [int(item.keypoint_visible.sum()) for item in data] == [4, 0, 4, 4, 4, 4]
    assert data[1].keypoint_site.tolist() == [[-1] * 4]
    assert not data[1].keypoint_pos.any()


def test_a_folder_of_meshes_alone_is_a_data_set_on_request(tmp_path):
    root = make_folder(tmp_path / "boxes")
    for path in (root / "landmarks").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no landmark files"):
        LandmarkFolder(root, "all")
    data = LandmarkFolder(root, "all", num_points=20, unlabelled=True)
    assert (len(data), data.num_keypoints, data.keypoint_names) == (6, 0, ())
    assert data[0].keypoint_pos.shape == (1, 0, 3)
    assert data[0].keypoint_visible.shape == (1, 0)
    batch = Batch.from_data_list([data[0], data[1]])
    assert batch.pos.shape == (40, 3)
    assert len(LandmarkFolder(root, "train", num_points=20, unlabelled=True)) == 4


def test_a_unit_of_length_is_that_of_all_landmark_files(tmp_path):
    root = make_folder(tmp_path / "boxes", n=4)
    assert [item.length_unit for item in LandmarkFolder(root, "all", num_points=5)] == ["mm"] * 4
    for i in range(4):
        write_markups(root / "landmarks" / f"m{i}.mrk.json", NAMES, shape(i)[1], unit="um")
    for _ in range(2):  # read, and taken from the cache
        assert LandmarkFolder(root, "all", num_points=5).length_unit == "um"
    for path in (root / "landmarks").iterdir():  # clouds without landmarks say nothing
        if path.name != "m1.mrk.json":
            path.unlink()
    assert LandmarkFolder(root, "all", num_points=5, unlabelled=True).length_unit == "um"


def test_files_that_differ_in_their_unit_of_length_have_none(tmp_path):
    root = make_folder(tmp_path / "boxes", n=4)
    write_markups(root / "landmarks" / "m1.mrk.json", NAMES, shape(1)[1], unit="um")
    (root / "landmarks" / "m3.mrk.json").unlink()
    write_csv(root / "more.csv", ["m3.ply"], NAMES, shape(3)[1][None])
    told = r"none is known: mm: 2 \(m0\.mrk\.json, m2\.mrk\.json\); um: 1 \(m1\.mrk\.json\); no unit: 1 \(more\.csv\)"
    for _ in range(2):
        with pytest.warns(UserWarning, match=told):
            data = LandmarkFolder(root, "all", num_points=5)
        assert data.length_unit is None
        assert "length_unit" not in data[0]
