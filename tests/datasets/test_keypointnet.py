import copy
import json
import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from pcsargmax.datasets.keypointnet import KeypointNet
from pcsargmax.io.pcd import write_pcd


def keypoint(semantic_id, xyz, point_index=None):
    return {
        "xyz": list(xyz),
        "rgb": [1, 2, 3],
        "semantic_id": semantic_id,
        "pcd_info": {"point_index": point_index} if point_index is not None else {},
        "mesh_info": {"face_index": 7 + semantic_id, "face_uv": [0.25, 0.25, 0.5]},
    }


def cloud(number):
    """Return 30 points, different in every model, which six decimals hold exactly."""
    rng = np.random.default_rng(number)
    return rng.integers(-32, 32, (30, 3)) / 64, rng.integers(0, 256, (30, 3)).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two models to train on, one to test: m0 has ids 0 and 3, m1 has 3 and 1, m2 has 0; none has 2."""
    entries = []
    for number, ids in enumerate([(0, 3), (3, 1), (0,)]):
        points, color = cloud(number)
        write_pcd(tmp_path / "pcds" / "0x-1" / f"m{number}.pcd", points, color)
        keypoints = [keypoint(k, points[5 + k], 5 + k) for k in ids]
        circle = {"center": [0, 0.5, 0], "radius": 0.25, "normal": [0, 1, 0]}
        symmetries = {
            "reflection": [{"kp_indexes": [0, 1]}] if number < 2 else [],
            "rotation": [{"kp_indexes": [1, 0], "is_circle": True, "circle": circle}] if number == 1 else [],
        }
        entry = {
            "class_id": "0x-1",
            "model_id": f"m{number}",
            "keypoints": keypoints,
            "symmetries": symmetries,
        }
        entries.append(entry)
    write_annotations(tmp_path, entries)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("0x-1-m1\n0x-1-m0\nother-m9\n")
    (tmp_path / "splits" / "val.txt").write_text("other-m8\n")
    (tmp_path / "splits" / "test.txt").write_text("0x-1-m2\n")
    return tmp_path


def write_annotations(root, entries, name="thing"):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{name}.json").write_text(json.dumps(entries, indent=1))


@pytest.fixture
def entries(root):
    return json.loads((root / "annotations" / "thing.json").read_text())


class TestItems:
    def test_coordinates_far_from_the_origin_lose_nothing(self, root, entries):
        points, _ = cloud(0)
        write_pcd(root / "pcds" / "0x-1" / "m0.pcd", points + 1e6, cloud(0)[1], digits=12)
        for one in entries[0]["keypoints"]:
            one["xyz"] = [x + 1e6 for x in one["xyz"]]
        write_annotations(root, entries)
        item = KeypointNet(root, "thing", ["m0"])[0]
        assert item.pos.dtype == torch.float64
        assert torch.equal((item.pos - 1e6).sort(dim=0).values, torch.tensor(points).sort(dim=0).values)
        assert torch.equal(item.keypoint_pos[0, 0], torch.tensor(points[5]) + 1e6)

    def test_keypoints_gaps_and_absences(self, root):
        dataset = KeypointNet(root, "thing", "train")
        assert (len(dataset), dataset.num_keypoints) == (2, 4)  # the largest id of the whole file is 3
        assert dataset.keypoint_names == ("0", "1", "2", "3")
        item = dataset[0]  # the order is the split's
        assert (item.model_id, item.category, item.class_id) == ("m1", "thing", "0x-1")
        assert item.farthest_order is True
        assert item.keypoint_visible.tolist() == [[False, True, False, True]]
        points, color = cloud(1)
        torch.testing.assert_close(item.keypoint_pos[0, [1, 3]], torch.tensor(points[[6, 8]]))
        assert item.keypoint_pos[0, [0, 2]].tolist() == [[0.0] * 3] * 2
        assert item.keypoint_site[0, [0, 2]].tolist() == [-1, -1]
        sites = item.keypoint_site[0, [1, 3]]
        torch.testing.assert_close(item.pos[sites], item.keypoint_pos[0, [1, 3]], rtol=0, atol=0)
        assert item.color[sites].tolist() == color[[6, 8]].tolist()
        assert item.mesh_face.tolist() == [[-1, 8, -1, 10]]
        assert item.mesh_uv[0, 1].tolist() == [0.25, 0.25, 0.5]
        assert item.pos.dtype == item.keypoint_pos.dtype == torch.float64
        assert item.color.dtype == torch.uint8

    def test_points_are_all_there_in_farthest_point_order(self, root):
        pos = KeypointNet(root, "thing", ["m0"])[0].pos
        assert sorted(pos.tolist()) == sorted(cloud(0)[0].tolist())
        for k in range(2, len(pos)):  # no later point is farther from all before than the one chosen
            nearest = torch.cdist(pos[k:], pos[:k]).amin(1)
            assert nearest[0] >= nearest.max() - 1e-6

    def test_symmetries_are_in_semantic_ids(self, root):
        dataset = KeypointNet(root, "thing", "train")
        circle = {"center": [0, 0.5, 0], "radius": 0.25, "normal": [0, 1, 0]}
        rotation = [{"ids": [1, 3], "is_circle": True, "circle": circle}]
        assert dataset[0].symmetries == {"reflection": [[3, 1]], "rotation": rotation}
        assert dataset[1].symmetries == {"reflection": [[0, 3]], "rotation": []}

    def test_a_selection_of_ids_is_the_channels(self, root):
        dataset = KeypointNet(root, "thing", "train", ids=[3, 0])
        assert (dataset.keypoint_names, dataset.semantic_ids) == (("3", "0"), (3, 0))
        assert dataset[0].keypoint_visible.tolist() == [[True, False]]
        everything = KeypointNet(root, "thing", "train")
        assert dataset[1].keypoint_site.tolist() == everything[1].keypoint_site[:, [3, 0]].tolist()

    @pytest.mark.parametrize("ids", [[4], [-1], [0, 0], []])
    def test_wrong_ids(self, root, ids):
        with pytest.raises(ValueError, match="ids must be distinct semantic ids of thing, 0 to 3"):
            KeypointNet(root, "thing", ids=ids)

    def test_batches_hold_channels_first(self, root):
        batch = next(iter(DataLoader(KeypointNet(root, "thing", "all"), batch_size=3)))
        assert batch.keypoint_pos.shape == (3, 4, 3)
        assert batch.keypoint_site.shape == batch.keypoint_visible.shape == (3, 4)
        assert batch.model_id == ["m0", "m1", "m2"]
        item = batch[1]
        sites = item.keypoint_site[item.keypoint_visible]
        assert torch.equal(item.pos[sites], item.keypoint_pos[item.keypoint_visible])
        assert item.symmetries == KeypointNet(root, "thing", "all")[1].symmetries

    def test_slices_subsets_and_pickles(self, root):
        dataset = KeypointNet(root, "thing", "all")
        assert [item.model_id for item in dataset[1:]] == ["m1", "m2"]
        assert pickle.loads(pickle.dumps(dataset))[2].model_id == "m2"
        subset = dataset.copy([2, 0])
        assert [item.model_id for item in subset] == ["m2", "m0"]
        assert subset[1].symmetries == dataset[0].symmetries

    def test_transform_is_applied_to_a_copy(self, root):
        def double(item):
            item = copy.copy(item)
            item.pos = 2 * item.pos
            return item

        plain = KeypointNet(root, "thing", "test")
        assert torch.equal(KeypointNet(root, "thing", "test", transform=double)[0].pos, 2 * plain[0].pos)

    def test_a_single_model(self, root, entries):
        write_annotations(root, entries[:1], "single")
        item = KeypointNet(root, "single", "all")[0]
        assert item.model_id == "m0"
        assert item.keypoint_visible.tolist() == [[True, False, False, True]]
        assert Batch.from_data_list([item, item]).keypoint_pos.shape == (2, 4, 3)


class TestSplits:
    @pytest.mark.parametrize(
        ("split", "ids"),
        [
            ("train", ["m1", "m0"]),
            ("test", ["m2"]),
            ("trainval", ["m1", "m0"]),
            ("all", ["m0", "m1", "m2"]),
            (["m2", "m0"], ["m2", "m0"]),
        ],
    )
    def test_names_and_lists(self, root, split, ids):
        assert [item.model_id for item in KeypointNet(root, "thing", split)] == ids

    def test_own_file(self, root):
        (root / "mine.txt").write_text("0x-1-m2\n\nm0\nother-m7\n")
        dataset = KeypointNet(root, "0x-1", root / "mine.txt")  # the category by its class id
        assert [item.model_id for item in dataset] == ["m2", "m0"]
        assert dataset.category == "thing"

    def test_missing_models_are_counted_and_said_once(self, root):
        (root / "splits" / "train.txt").write_text("0x-1-m1\n0x-1-gone\n0x-1-m0\n")
        (root / "pcds" / "0x-1" / "m0.pcd").unlink()
        with pytest.warns(UserWarning, match="not on disk") as caught:
            dataset = KeypointNet(root, "thing", "train")
        message = "KeypointNet thing: 2 of 3 models of split 'train' are not on disk: gone, m0"
        assert [str(warning.message) for warning in caught] == [message]
        assert caught[0].filename == __file__
        assert dataset.missing == ("gone", "m0")
        assert [item.model_id for item in dataset] == ["m1"]

    def test_nothing_found_says_what_was_looked_for_where(self, root):
        for number in (0, 1):
            (root / "pcds" / "0x-1" / f"m{number}.pcd").unlink()
        with pytest.raises(FileNotFoundError, match="none of the 2 models of thing in split 'train'") as caught:
            KeypointNet(root, "thing", "train")
        assert str(root / "annotations" / "thing.json") in str(caught.value)
        assert str(root / "pcds" / "0x-1") in str(caught.value)
        with pytest.raises(FileNotFoundError, match=r"split 'val' of .* lists no model of thing \(class id 0x-1\)"):
            KeypointNet(root, "thing", "val")

    def test_wrong_splits(self, root):
        with pytest.raises(ValueError, match=r"split must be 'train', 'val', 'test', .*; got 'training'"):
            KeypointNet(root, "thing", "training")
        (root / "splits" / "test.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"split file .*test\.txt does not exist; split='all'"):
            KeypointNet(root, "thing", "test")
        (root / "mine.txt").write_text("0x-1-m0\nnonsense\n")
        with pytest.raises(ValueError, match=r"mine\.txt, line 2: .*got 'nonsense'"):
            KeypointNet(root, "thing", root / "mine.txt")


class TestBadFiles:
    def test_unknown_category_lists_what_is_there(self, root):
        with pytest.raises(ValueError, match=r"category 'mug' is not annotated in .*, which has: thing"):
            KeypointNet(root, "mug")
        with pytest.raises(ValueError, match=r"category '../x' is not annotated"):
            KeypointNet(root, "../x")

    def test_not_such_a_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="is not laid out like KeypointNet"):
            KeypointNet(tmp_path / "nowhere", "mug")

    def test_malformed_json_names_the_line(self, root):
        path = root / "annotations" / "thing.json"
        lines = path.read_text().splitlines()
        lines[3] = '   "keypoints" [,'
        path.write_text("\n".join(lines))
        with pytest.raises(ValueError, match=r"thing\.json, line 4: not valid JSON"):
            KeypointNet(root, "thing")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda e: e[1].pop("model_id"), r"entry 1: expected 'model_id' to be of type str, got None"),
            (lambda e: e[1].update(class_id="0y"), r"entry 1, model m1: class_id '0y' differs from '0x-1'"),
            (lambda e: e[1].update(model_id="m0"), r"entry 1, model m0: annotated a second time"),
            (
                lambda e: e[0]["keypoints"][1].update(semantic_id="3"),
                r"model m0, keypoint 1: expected 'semantic_id'",
            ),
            (
                lambda e: e[0]["keypoints"][1].update(semantic_id=-1),
                r"semantic_id must not be negative, got -1",
            ),
            (lambda e: e[0]["keypoints"][0].update(xyz=[0, 1]), r"expected 'xyz' to be three finite numbers"),
            (
                lambda e: e[0]["keypoints"][0].update(xyz=[0, 1, float("nan")]),
                r"'xyz' to be three finite numbers",
            ),
            (
                lambda e: e[0]["symmetries"]["reflection"].append({"kp_indexes": [0, 2]}),
                r"no keypoint 2 among its 2",
            ),
            (lambda e: e.clear(), r"expected a list of annotated models, got \[\]"),
            (
                lambda e: [m.update(keypoints=[], symmetries={}) for m in e],
                r"none of its 3 models has a keypoint",
            ),
        ],
    )
    def test_malformed_entries(self, root, entries, change, message):
        change(entries)
        write_annotations(root, entries)
        with pytest.raises(ValueError, match=message) as caught:
            KeypointNet(root, "thing", "all")
        assert "thing.json" in str(caught.value)

    @pytest.mark.parametrize("index", [30, -1])
    def test_point_index_out_of_range(self, root, entries, index):
        entries[1]["keypoints"][0]["pcd_info"]["point_index"] = index
        write_annotations(root, entries)
        message = rf"model m1, semantic id 3: point_index must be 0 to 29, the points of its cloud; got {index}"
        with pytest.raises(ValueError, match=message):
            KeypointNet(root, "thing", "all")

    def test_truncated_cloud_names_the_file_and_leaves_no_cache(self, root, tmp_path, monkeypatch):
        monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path / "cache"))
        path = root / "pcds" / "0x-1" / "m2.pcd"
        path.write_text("\n".join(path.read_text().splitlines()[:-3]))
        with pytest.raises(ValueError, match=r"m2\.pcd"):
            KeypointNet(root, "thing", "train")
        assert not [p for p in tmp_path.rglob("*") if "cache" in p.parts and p.is_file()]

    def test_repeated_id_keeps_the_first_and_is_said(self, root, entries):
        points = cloud(0)[0]
        entries[0]["keypoints"].append(keypoint(0, points[20], 20))
        write_annotations(root, entries)
        with pytest.warns(UserWarning, match="1 keypoints repeat a semantic id"):
            item = KeypointNet(root, "thing", "all")[0]
        assert item.keypoint_pos[0, 0].tolist() == points[5].tolist()

    def test_annotation_off_its_point_is_said_and_its_own_place_counts(self, root, entries):
        place = [0.4, 0.4, 0.4]
        entries[0]["keypoints"][0]["xyz"] = place
        write_annotations(root, entries)
        with pytest.warns(UserWarning, match="1 annotations lie farther than 0.001 of the bounding-box diagonal"):
            item = KeypointNet(root, "thing", "all")[0]
        torch.testing.assert_close(item.keypoint_pos[0, 0], torch.tensor(place, dtype=torch.float64))
        assert item.pos[item.keypoint_site[0, 0]].tolist() == cloud(0)[0][5].tolist()

    def test_without_point_index_the_nearest_point_is_the_site(self, root, entries):
        points = cloud(0)[0]
        entries[0]["keypoints"][0] = keypoint(0, points[9] + 1e-4)
        write_annotations(root, entries)
        item = KeypointNet(root, "thing", "all")[0]
        assert item.pos[item.keypoint_site[0, 0]].tolist() == points[9].tolist()

    def test_colours_of_some_only(self, root):
        write_pcd(root / "pcds" / "0x-1" / "m2.pcd", cloud(2)[0])
        with pytest.warns(UserWarning, match="1 clouds have no colour, so all colours are left out"):
            dataset = KeypointNet(root, "thing", "all")
        assert all("color" not in item for item in dataset)


class TestCache:
    def test_nothing_is_written_beside_the_source_and_changes_are_noticed(self, root, monkeypatch, entries):
        def names():
            return sorted(path.relative_to(root) for path in root.rglob("*"))

        before, reads = names(), []
        KeypointNet(root, "thing", "train", progress=lambda i, n: reads.append((i, n)))
        assert reads == [(1, 3), (2, 3), (3, 3)]
        KeypointNet(root, "thing", "test", ids=[0], progress=lambda i, n: reads.append((i, n)))
        assert len(reads) == 3  # another split and other ids need no reading
        assert names() == before
        path = root / "pcds" / "0x-1" / "m1.pcd"
        points = cloud(1)[0]
        write_pcd(path, points + 1)
        os.utime(path, ns=(1, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            item = KeypointNet(root, "thing", "train")[0]
        assert item.pos.mean(0).tolist() == pytest.approx((points + 1).mean(0).tolist())

    def test_a_broken_cache_file_is_made_anew(self, root, tmp_path, monkeypatch):
        monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path / "own cache"))
        first = KeypointNet(root, "thing")[0]
        (stored,) = (tmp_path / "own cache").rglob("*.pt")
        stored.write_bytes(stored.read_bytes()[:100])
        assert torch.equal(KeypointNet(root, "thing")[0].pos, first.pos)


class TestRealData:
    @pytest.fixture
    def mugs(self, shared_data):
        return shared_data / "keypointnet"

    @pytest.mark.filterwarnings("ignore:KeypointNet mug")
    def test_figures_of_the_mugs(self, mugs):
        sizes = {split: len(KeypointNet(mugs, "mug", split)) for split in ("train", "val", "test", "all")}
        assert sizes == {"train": 113, "val": 17, "test": 34, "all": 164}
        dataset = KeypointNet(mugs, "mug", "all")
        assert dataset.num_keypoints == 11
        visible = sum(item.keypoint_visible[0].int() for item in dataset)
        assert visible.tolist() == [164] * 10 + [162]
        assert len(KeypointNet(mugs, "mug", "test").missing) == 4
        for item in dataset:
            assert item.pos.shape == (2048, 3)
            sites = item.keypoint_site[item.keypoint_visible]
            assert torch.equal(item.pos[sites], item.keypoint_pos[item.keypoint_visible])

    @pytest.mark.filterwarnings("ignore:KeypointNet chair")
    def test_the_chair_has_the_channels_of_all_chairs(self, mugs):
        dataset = KeypointNet(mugs, "chair", "train")
        assert (len(dataset), dataset.num_keypoints) == (1, 21)
