import numpy as np
import pytest

from pcsargmax.settings.images import ImageSettings
from pcsargmax.visualize.images.picture import picture_of
from pcsargmax.visualize.images.sources import (
    annotated_images,
    find_images,
    is_image_data,
    predicted_images,
    run_images,
)


def test_images_and_clouds_are_told_apart(image_root, face, tmp_path):
    assert is_image_data("figures")
    assert is_image_data(str(image_root))
    assert is_image_data(str(image_root / "f0.png"))
    assert is_image_data(str(face().save(tmp_path / "a.npz", "npz")))
    np.savez(tmp_path / "cloud.npz", points=np.zeros((3, 3)))
    assert not is_image_data(str(tmp_path / "cloud.npz"))
    assert not is_image_data("mug")
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "photo.png").touch()
    assert is_image_data(str(scans))
    (scans / "scan.ply").touch()
    assert not is_image_data(str(scans))  # a picture beside scans


def test_a_folder_is_found_with_its_annotations(image_root):
    found = find_images([str(image_root)])
    assert [source.name for source in found] == [f"f{number}.png" for number in range(5)]
    pictures = annotated_images(found)
    assert pictures[4].names == ("left_eye", "right_eye", "nose")
    assert pictures[4].shown.tolist() == [0, 2]
    assert pictures[4].annotated


def test_splits_are_those_of_the_settings(image_root):
    settings = ImageSettings(shares=(2, 0, 3))
    assert len(find_images([str(image_root)], settings, "test")) == 3
    assert len(find_images([str(image_root)], settings, "train")) == 2


def test_files_and_saved_predictions_come_in_order(image_root, face, tmp_path):
    saved = face().save(tmp_path / "a.npz", "npz")
    found = find_images([str(saved), str(image_root / "f1.png")])
    assert [source.name for source in found] == ["face0.png", "f1.png"]
    assert picture_of(annotated_images(found[:1])[0]).error[2] == 2
    with pytest.raises(ValueError, match=r"f1.png: nothing is known of it without a run"):
        annotated_images(found)


def test_a_folder_without_a_table_is_its_images(image_root, tmp_path):
    (tmp_path / "b.png").write_bytes((image_root / "f0.png").read_bytes())
    (tmp_path / "a.PNG").write_bytes((image_root / "f1.png").read_bytes())
    assert [source.name for source in find_images([str(tmp_path)])] == ["a.PNG", "b.png"]


def test_procedural_images_need_no_file(monkeypatch):
    from pcsargmax.datasets.images import ProceduralFaces

    monkeypatch.setattr(ProceduralFaces, "default_items", {"train": 1, "val": 1, "test": 2})
    found = annotated_images(find_images(["faces"]))
    assert len(found) == 2
    assert found[0].image.shape == (128, 128, 3)


def test_a_run_predicts_when_it_is_asked(untrained, image_root, monkeypatch):
    run = untrained()
    asked = []
    predict = type(run).predict
    monkeypatch.setattr(type(run), "predict", lambda *a, **k: asked.append(1) or predict(*a, **k))
    found = predicted_images(run, run_images(run))
    assert (len(found), asked) == (3, [])
    one, again = found[0], found[0]
    assert len(asked) == 1
    assert one is again
    assert one.truth is not None
    file = predicted_images(run, find_images([str(image_root / "f0.png")]))[0]
    assert file.truth is None
    np.testing.assert_allclose(file.position, run.predict_file(image_root / "f0.png").position)


def test_other_keypoints_are_no_truth(untrained, tmp_path, image_root):
    (tmp_path / "f0.png").write_bytes((image_root / "f0.png").read_bytes())
    (tmp_path / "points.csv").write_text("file,a_x,a_y,b_x,b_y,c_x,c_y\nf0.png,1,2,3,4,5,6\n")
    sources = find_images([str(tmp_path)])
    assert sources[0].names == ("a", "b", "c")
    assert predicted_images(untrained(), sources)[0].truth is None


def test_slices_are_found_by_a_run_of_surfaces(untrained_slices):
    run = untrained_slices()
    found = predicted_images(run, run_images(run))
    assert len(found) == 3
    assert found[0].rows.shape == found[0].truth.shape == (len(run.surface_names), 64)


def test_mistakes_are_named(untrained, face, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such image, folder or data set of images: nowhere\.png"):
        find_images(["nowhere.png"])
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a\.txt: expected an image \(\.png"):
        find_images([str(tmp_path / "a.txt")])
    saved = find_images([str(face().save(tmp_path / "a.npz", "npz"))])
    with pytest.raises(ValueError, match=r"face0\.png: a saved prediction is looked at without a run"):
        predicted_images(untrained(), saved)[0]
