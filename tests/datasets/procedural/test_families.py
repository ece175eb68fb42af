import json

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from pcsargmax.datasets.keypointnet import KeypointNet
from pcsargmax.datasets.keypointnet_files import CLASS_IDS, SPLITS
from pcsargmax.datasets.procedural import FAMILIES, KEYPOINTS, draw_model, make_procedural
from pcsargmax.io.clouds import read_cloud

COUNT = 40


@pytest.fixture(scope="module")
def models():
    """Forty models of each family, with fewer points than usual."""
    return {name: [draw_model(name, i, num_points=512, seed=3) for i in range(COUNT)] for name in FAMILIES}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return root, make_procedural(root, models=10, num_points=256, seed=5)


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_repeats_by_seed_and_number(self, family):
        one, same = (draw_model(family, 7, num_points=128, seed=2) for _ in range(2))
        assert one.points.tobytes() == same.points.tobytes()
        assert one.keypoints == same.keypoints
        assert (one.color == same.color).all()
        other = draw_model(family, 7, num_points=128, seed=4)
        assert one.points.tobytes() != other.points.tobytes()

    def test_frame_and_evenness(self, family, models):
        for model in models[family]:
            assert model.points.shape == (512, 3)
            low, high = model.vertices.min(0), model.vertices.max(0)
            np.testing.assert_allclose(low + high, 0, atol=1e-12)
            assert np.linalg.norm(high - low) == pytest.approx(1)
            assert (np.abs(model.points) <= high + 1e-6).all()
            distance = cKDTree(model.points).query(model.points, 2)[0][:, 1]
            assert distance.std() < 0.45 * distance.mean()  # about 0.52 for points drawn independently

    def test_keypoints_are_cloud_points_and_mesh_vertices(self, family, models):
        for model in models[family]:
            for row, face, uv in model.keypoints.values():
                assert sum(uv) == 1
                on_mesh = np.array(uv) @ model.vertices[model.faces[face]]
                np.testing.assert_allclose(model.points[row], on_mesh, atol=6e-7)
            rows = [row for row, _, _ in model.keypoints.values()]
            assert len(set(rows)) == len(rows)

    def test_keypoints_lie_on_the_visible_surface(self, family):
        """A keypoint hidden in another part would stand alone, far from all points."""
        for number in range(12):
            model = draw_model(family, number, seed=9)
            distance = cKDTree(model.points).query(model.points, 2)[0][:, 1]
            rows = [row for row, _, _ in model.keypoints.values()]
            assert distance[rows].max() < 3 * distance.mean()
            assert 0.006 < distance.mean() < 0.026

    def test_ids_are_the_named_ones_and_some_are_optional(self, family, models):
        seen = [set(model.keypoints) for model in models[family]]
        assert set.union(*seen) <= set(KEYPOINTS[family])
        assert len(set.intersection(*seen)) < len(set.union(*seen))
        assert len(set.union(*seen)) >= 12
        assert len({frozenset(ids) for ids in seen}) >= 4

    def test_mirrored_ids_are_mirror_images(self, family, models):
        for model in models[family]:
            assert model.symmetries["reflection"]
            for right, left in model.symmetries["reflection"]:
                a, b = (model.points[model.keypoints[k][0]] for k in (right, left))
                assert np.linalg.norm(a * [-1, 1, 1] - b) < 0.2  # shapes are a little lopsided
                assert (a[0] - b[0]) * (1 if "right" in KEYPOINTS[family][right] else -1) > 0

    def test_the_template_is_not_enough(self, family, models):
        """Mean keypoints scaled into the bounding box must leave something to learn."""
        unit, boxes = [], []
        for model in models[family]:
            low, high = model.points.min(0), model.points.max(0)
            boxes.append((low, high))
            place = np.full((max(KEYPOINTS[family]) + 1, 3), np.nan)
            for k, (row, _, _) in model.keypoints.items():
                place[k] = (model.points[row] - low) / (high - low)
            unit.append(place)
        errors = []
        for i, (low, high) in enumerate(boxes):
            others = np.stack(unit[:i] + unit[i + 1 :])
            known = ~np.isnan(others[..., 0]).all(0) & ~np.isnan(unit[i][:, 0])
            mean = np.nanmean(others[:, known], axis=0)
            errors.append(np.linalg.norm((mean - unit[i][known]) * (high - low), axis=1))
        assert (np.concatenate(errors) < 0.05).mean() < 0.6


def test_rotation_groups(models):
    stars = [g for m in models["chair"] for g in m.symmetries["rotation"] if len(g["ids"]) == 5]
    assert stars
    assert not any(group["is_circle"] for group in stars)
    circles = [(m, g) for m in models["table"] for g in m.symmetries["rotation"] if g["is_circle"]]
    assert circles
    for model, group in circles:
        center, radius = np.array(group["circle"]["center"]), group["circle"]["radius"]
        for k in group["ids"]:
            place = model.points[model.keypoints[k][0]]
            assert np.linalg.norm(place - center) == pytest.approx(radius, rel=0.25)


class TestFiles:
    def test_layout_is_keypointnets(self, made):
        root, counts = made
        assert counts == {name: {"train": 7, "val": 1, "test": 2} for name in FAMILIES}
        for name in FAMILIES:
            entries = json.loads((root / "annotations" / f"{name}.json").read_text())
            assert len(entries) == 10
            for entry in entries:
                assert set(entry) == {"class_id", "model_id", "keypoints", "symmetries"}
                assert entry["class_id"] == CLASS_IDS[name]
                cloud = read_cloud(root / "pcds" / entry["class_id"] / f"{entry['model_id']}.pcd")
                mesh = read_cloud(root / "ShapeNetCore.v2.ply" / entry["class_id"] / f"{entry['model_id']}.ply")
                assert cloud.points.shape == (256, 3)
                for k in entry["keypoints"]:
                    assert k["xyz"] == cloud.points[k["pcd_info"]["point_index"]].tolist()
                    assert k["rgb"] == cloud.color[k["pcd_info"]["point_index"]].tolist()
                    face = mesh.points[mesh.faces[k["mesh_info"]["face_index"]]]
                    np.testing.assert_allclose(np.array(k["mesh_info"]["face_uv"]) @ face, k["xyz"], atol=1e-6)
                places = range(len(entry["keypoints"]))
                groups = entry["symmetries"]["reflection"] + entry["symmetries"]["rotation"]
                assert all(set(group["kp_indexes"]) <= set(places) for group in groups)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_it_loads_as_keypointnet(self, made, family):
        root, _ = made
        listed = [KeypointNet(root, family, split) for split in SPLITS]
        assert [len(part) for part in listed] == [7, 1, 2]
        item = listed[0][0]
        sites = item.keypoint_site[item.keypoint_visible]
        assert torch.equal(item.pos[sites], item.keypoint_pos[item.keypoint_visible])
        visible = zip(listed[0].keypoint_names, item.keypoint_visible[0], strict=True)
        ids = {int(name) for name, seen in visible if seen}
        assert all(set(group) <= ids for group in item.symmetries["reflection"])

    def test_a_category_is_replaced_and_others_stay(self, tmp_path):
        done = []
        make_procedural(tmp_path, ("mug", "chair"), models=5, num_points=64, progress=lambda *n: done.append(n))
        assert done == [(i, 10) for i in range(1, 11)]
        chairs = (tmp_path / "annotations" / "chair.json").read_bytes()
        make_procedural(tmp_path, ("mug",), models=3, num_points=64, mesh=False, seed=1)
        assert len(KeypointNet(tmp_path, "mug", "all")) == 3
        assert len(list((tmp_path / "pcds" / CLASS_IDS["mug"]).iterdir())) == 3
        assert not list((tmp_path / "ShapeNetCore.v2.ply" / CLASS_IDS["mug"]).iterdir())
        assert (tmp_path / "annotations" / "chair.json").read_bytes() == chairs
        assert [len(KeypointNet(tmp_path, "chair", split)) for split in SPLITS] == [3, 1, 1]
        assert [len(KeypointNet(tmp_path, "mug", split)) for split in SPLITS] == [1, 1, 1]

    def test_more_models_begin_with_the_same_ones(self, tmp_path):
        make_procedural(tmp_path / "few", ("table",), models=3, num_points=64)
        make_procedural(tmp_path / "more", ("table",), models=5, num_points=64)
        few, more = (json.loads((tmp_path / n / "annotations/table.json").read_text()) for n in ("few", "more"))
        assert more[:3] == few

    def test_data_not_made_here_are_never_replaced(self, tmp_path):
        (tmp_path / "annotations").mkdir()
        (tmp_path / "annotations" / "mug.json").write_text("[]")
        with pytest.raises(FileExistsError, match=r"mug\.json was not made by this command"):
            make_procedural(tmp_path, ("chair", "mug"), models=3, num_points=64)
        assert [path.name for path in tmp_path.rglob("*")] == ["annotations", "mug.json"]

    def test_an_interrupted_category_is_not_there(self, tmp_path):
        def stop(done, total):
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_procedural(tmp_path, ("mug",), models=3, num_points=64, progress=stop)
        assert not (tmp_path / "annotations" / "mug.json").exists()
        make_procedural(tmp_path, ("mug",), models=3, num_points=64)  # and can be made again
        assert len(KeypointNet(tmp_path, "mug", "all")) == 3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"categories": ("mug", "dog")}, "categories must be some of airplane, chair, table, mug; got"),
            ({"categories": "mug"}, "categories must be some of"),
            ({"categories": ()}, "categories must be some of"),
            ({"models": 2}, "models must be at least 3, got 2"),
            ({"num_points": 10}, "num_points must be at least 64, got 10"),
        ],
    )
    def test_wrong_arguments(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            make_procedural(tmp_path, **options)
        assert not list(tmp_path.iterdir())
