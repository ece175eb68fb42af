import shutil

import numpy as np
import pytest
import trimesh

from pcsargmax import KeypointNet, LandmarkFolder
from pcsargmax.io.markups import write_markups
from pcsargmax.runs.load import load_run
from pcsargmax.visualize import dataset_shapes, file_shapes, folder_mesh, folder_shapes, keypointnet_mesh
from pcsargmax.visualize.clouds.annotation import NOT_ANNOTATED
from pcsargmax.visualize.clouds.shapes import CLOUD_POINTS, MESH_POINTS, is_saved_prediction, with_truth

HOW = {"num_points": None, "seed": 0, "num_samples": 0}


@pytest.fixture
def scans(landmark_root, tmp_path):
    """Two scans with landmarks in a folder beside theirs, a third without, and files that are none of that."""
    root = tmp_path / "scans"
    (root / "meshes").mkdir(parents=True)
    (root / "landmarks").mkdir()
    for stem in ("scan2", "scan1", "scan3"):
        shutil.copy(landmark_root / f"{stem}.ply", root / "meshes")
    for stem in ("scan1", "scan2"):
        shutil.copy(landmark_root / f"{stem}.mrk.json", root / "landmarks")
    (root / "meshes" / "scan10.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n")
    (root / "splits.json").write_text('{"train": ["scan1"], "test": ["scan2"]}')
    (root / ".hidden.ply").write_text("not a mesh")
    return root


def test_what_is_left_out_of_a_folder_is_said(scans, landmark_root):
    shutil.copy(landmark_root / "scan7.mrk.json", scans / "landmarks")
    (scans / "notes.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"scans: 1 \(scan7\) have landmarks but no cloud"):
        assert len(folder_shapes(scans)) == 4


def test_a_folder_is_in_natural_order_and_knows_its_landmarks(scans):
    shapes = folder_shapes(scans)
    assert [shape.name for shape in shapes] == ["scan1.ply", "scan2.ply", "scan3.ply", "scan10.xyz"]
    assert all(shape.keypoint_names == ("back", "left", "right") for shape in shapes)
    expected = LandmarkFolder(scans, "all", unlabelled=True)
    assert expected.keypoint_names == shapes[0].keypoint_names  # the same order, and so the same colours
    for shape, item in zip(shapes, expected, strict=True):
        one = shape.annotation()
        assert one.visibility.astype(bool).tolist() == item.keypoint_visible[0].tolist()
        seen = one.visibility > 0
        np.testing.assert_allclose(one.position[seen], item.keypoint_pos[0][seen])


def test_a_mesh_has_its_surface_and_a_cloud_all_its_points(scans):
    mesh, cloud = (folder_shapes(scans)[i].annotation() for i in (0, 3))
    assert (mesh.surface.vertices.shape, mesh.surface.triangles.shape) == ((8, 3), (12, 3))
    assert mesh.points.shape == (MESH_POINTS, 3)
    assert cloud.surface is None
    np.testing.assert_array_equal(cloud.points, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_files_find_landmarks_beside_them_or_in_the_folder_beside_theirs(scans, landmark_root, tmp_path, monkeypatch):
    beside = file_shapes([landmark_root / "scan1.ply"])[0]
    elsewhere, bare = file_shapes([scans / "meshes" / "scan1.ply", scans / "meshes" / "scan3.ply"])
    assert {*beside.landmarks} == {*elsewhere.landmarks} == {"left", "right", "back"}
    assert not bare.landmarks
    assert bare.annotation().visibility.tolist() == [0, 0, 0]
    monkeypatch.chdir(scans / "meshes")
    assert {*file_shapes(["scan1.ply"])[0].landmarks} == {"left", "right", "back"}
    assert file_shapes(["scan3.ply"])[0].annotation().keypoint_names == (NOT_ANNOTATED,)


def test_the_frame_of_the_meshes_counts(landmark_root):
    lps, ras = (file_shapes([landmark_root / "scan1.ply"], mesh_frame=frame)[0].landmarks for frame in ("LPS", "RAS"))
    np.testing.assert_allclose(lps["left"], ras["left"] * [-1, -1, 1])


def test_a_large_cloud_is_thinned_with_its_colours(tmp_path):
    points = np.random.default_rng(0).uniform(size=(CLOUD_POINTS + 5, 3))
    color = np.round(255 * points).astype(np.uint8)
    trimesh.PointCloud(points, color).export(tmp_path / "large.ply")
    one = file_shapes([tmp_path / "large.ply"])[0].annotation()
    assert one.points.shape == (CLOUD_POINTS, 3)
    np.testing.assert_allclose(one.color, 255 * one.points, atol=1)


def test_a_saved_prediction_is_shown_as_it_was(mug, tmp_path):
    mug().save(tmp_path / "a.npz", "npz")
    np.savez(tmp_path / "b.npz", points=np.zeros((3, 3)))
    (tmp_path / "c.npz").write_text("broken")
    assert [is_saved_prediction(tmp_path / f"{name}.npz") for name in "abc"] == [True, False, False]
    saved, cloud = (shape.annotation() for shape in file_shapes([tmp_path / "a.npz", tmp_path / "b.npz"]))
    np.testing.assert_array_equal(saved.probability, mug().probability)
    assert cloud.keypoint_names == (NOT_ANNOTATED,)
    with pytest.raises(ValueError, match=r"c\.npz: not a readable"):
        file_shapes([tmp_path / "c.npz"])[0].annotation()


def test_a_category_has_absent_ids_and_meshes(box_root, tmp_path):
    dataset = KeypointNet(box_root, "box", "all")
    place = tmp_path / "ShapeNetCore.v2.ply" / "00000001"
    place.mkdir(parents=True)
    trimesh.creation.box().export(place / "m01.ply")
    shapes = dataset_shapes(dataset, keypointnet_mesh(tmp_path))
    assert [shape.name for shape in shapes] == [f"m{i:02d}" for i in range(12)]
    first, second = (shape.annotation() for shape in shapes[:2])
    assert first.visibility.tolist() == [1, 1, 1, 0, 0]
    assert second.visibility.tolist() == [1, 1, 1, 0, 1]
    assert first.surface is None
    assert second.surface.triangles.shape == (12, 3)


def test_meshes_of_a_folder_are_found_by_stem(scans):
    shapes = dataset_shapes(LandmarkFolder(scans, "all", unlabelled=True), folder_mesh(scans))
    assert [shape.mesh and shape.mesh.name for shape in shapes] == ["scan1.ply", "scan2.ply", "scan3.ply", None]


def test_an_item_is_predicted_as_the_run_does_it(box_run, box_root):
    run, dataset = load_run(box_run), KeypointNet(box_root, "box", "test")
    found, expected = dataset_shapes(dataset)[0].prediction(run, **HOW), run.predict(dataset[0])
    for field in ("points", "position", "probability", "truth"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    drawn = [
        dataset_shapes(dataset)[0].prediction(run, **HOW | {"num_samples": 3, "seed": s}).samples for s in (0, 0, 1)
    ]
    assert drawn[0].shape == (3, 5, 3)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_truth_goes_by_name(mug, box_run, box_root):
    one = mug()
    places = {"rim <b>": np.ones(3), "other": np.zeros(3)}
    np.testing.assert_array_equal(
        with_truth(one, places, ["other", "rim <b>", "spout"]).truth, [[np.nan] * 3, [1, 1, 1], *[[np.nan] * 3] * 2]
    )
    assert with_truth(one, places, ["other"]) is one
    run = load_run(box_run)
    some = KeypointNet(box_root, "box", "test", ids=[2, 0])
    found = dataset_shapes(some)[0].prediction(run, **HOW)
    np.testing.assert_array_equal(found.truth[[2, 0]], some[0].keypoint_pos[0])
    assert np.isnan(found.truth[[1, 3, 4]]).all()


def test_numbers_of_another_category_are_no_truth(box_run, box_root, tmp_path):
    root = shutil.copytree(box_root, tmp_path / "other")
    (root / "annotations" / "box.json").rename(root / "annotations" / "crate.json")
    found = dataset_shapes(KeypointNet(root, "crate", "test"))[0].prediction(load_run(box_run), **HOW)
    assert found.truth is None


def test_a_file_is_predicted_with_its_landmarks_as_truth(box_run, landmark_root, tmp_path):
    shutil.copy(landmark_root / "scan1.ply", tmp_path)
    write_markups(tmp_path / "scan1.mrk.json", ["1", "nose"], np.array([[1.0, 2, 3], [0, 0, 0]]))
    found = file_shapes([tmp_path / "scan1.ply"])[0].prediction(load_run(box_run), **HOW | {"num_points": 64})
    assert found.points.shape == (64, 3)
    assert found.surface.triangles.shape == (12, 3)
    np.testing.assert_allclose(found.truth[1], [1, 2, 3])
    assert np.isnan(found.truth[[0, 2, 3, 4]]).all()
    without = file_shapes([landmark_root / "scan1.ply"])[0]  # left, right, back: no keypoints of the run
    assert without.prediction(load_run(box_run), **HOW).truth is None


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt: unknown kind of file '\.txt', expected one of \.ply"):
        file_shapes([tmp_path / "a.txt"])
    with pytest.raises(ValueError, match=r"a\.ply: no such file"):
        file_shapes([tmp_path / "a.ply"])
    with pytest.raises(FileNotFoundError, match="no clouds or meshes"):
        folder_shapes(tmp_path)
    (tmp_path / "a.xyz").write_text("0 0 0\n")
    (tmp_path / "a.mrk.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.mrk\.json"):
        file_shapes([tmp_path / "a.xyz"])
