import csv
import json

import numpy as np
import pytest

from pcsargmax.datasets.images import ImageFolder
from pcsargmax.predictions.image import (
    ImagePrediction,
    SurfacePrediction,
    load_image_prediction,
    write_image_predictions,
)
from pcsargmax.transforms.crop import Crop

MIRRORED = Crop.around([0, 0, 40, 30], (32, 32), padding=1.0, flip=True)

CROP = Crop.around([0, 0, 40, 30], (32, 32), padding=1.0)


def keypoints(**changes) -> ImagePrediction:
    """Two keypoints in an image of 40 x 30; the second is absent in truth."""
    values = {
        "name": "face é.png",
        "image": np.zeros((30, 40, 3), dtype=np.uint8),
        "keypoint_names": ("tip", "base"),
        "position": [[3, 4], [10.5, 20]],
        "confidence": [0.75, 0.5],
        "covariance": [np.diag([1.0, 2.0]), np.eye(2)],
        "probability": np.full((2, 8, 8), 1 / 64),
        "crop": CROP,
        "truth": [[0, 0], [np.nan, np.nan]],
        "visible": [True, False],
    }
    return ImagePrediction(**values | changes)


def surfaces(**changes) -> SurfacePrediction:
    values = {
        "name": "slice",
        "image": np.zeros((8, 3), dtype=np.uint8),
        "surface_names": ("upper", "lower"),
        "rows": [[1, 2, 3], [4, 5, 6]],
        "std": [[0.5, 0.5, 0.5], [1, 1, 1]],
        "truth": [[1, 2, np.nan], [5, 5, 8]],
    }
    return SurfacePrediction(**values | changes)


def test_sequences_become_arrays():
    found = keypoints()
    assert (found.position.dtype, found.probability.dtype, found.visible.dtype) == (np.float64, np.float32, np.bool_)
    assert (found.num_keypoints, found.dimension) == (2, 2)
    assert found.box is None
    assert keypoints(box=(0, 0, 4, 4)).box.dtype == np.float64


def test_errors_are_distances_in_the_image():
    np.testing.assert_array_equal(keypoints().error, [5, np.nan])
    assert keypoints().mean_error() == 5
    blind = keypoints(truth=None, visible=None)
    assert (blind.error, blind.mean_error()) == (None, None)
    assert keypoints(visible=[False, False]).mean_error() is None


def test_a_depth_does_not_count_in_pixels():
    deep = keypoints(position=[[3, 4, 9.0], [1, 1, 1]], covariance=np.zeros((2, 3, 3)), truth=[[0, 0, np.nan]] * 2)
    assert deep.dimension == 3
    assert deep.error[0] == 5


def test_a_keypoint_by_name_or_number():
    assert [keypoints().keypoint_number(k) for k in ("base", 0)] == [1, 0]
    with pytest.raises(ValueError, match="keypoint: expected one of tip, base or 0 to 1, got 'nose'"):
        keypoints().keypoint_number("nose")


def test_plain_values_without_nan():
    found = keypoints(confidence=[np.nan, 0.5]).to_dict()
    assert found["name"] == "face é.png"
    assert found["keypoints"][0] == {
        "name": "tip",
        "position": [3, 4],
        "confidence": None,
        "covariance": [[1, 0], [0, 2]],
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": [[1, 2]]}, r"position: expected shape \(2, 2 or 3\), got \(1, 2\)"),
        ({"position": [[1, 2], [np.inf, 0]]}, "position: expected finite numbers, got NaN or infinity"),
        ({"covariance": np.zeros((2, 3, 3))}, r"covariance: expected shape \(2, 2, 2\), got \(2, 3, 3\)"),
        ({"probability": np.zeros((1, 8, 8))}, r"probability: expected shape \(2, h, w\), got \(1, 8, 8\)"),
        ({"visible": None}, "expected truth and visible together, got only truth"),
        ({"truth": None}, "expected truth and visible together, got only visible"),
        ({"image": np.zeros((30, 40), dtype=np.uint8)}, r"image: expected \(H, W, 3\) uint8, got \(30, 40\) uint8"),
        ({"image": np.zeros((30, 40, 3))}, "uint8, got .* float64"),
        ({"keypoint_names": ()}, "expected at least one keypoint name"),
    ],
)
def test_a_wrong_field_is_named(changes, message):
    with pytest.raises(ValueError, match=f"ImagePrediction 'face é.png': .*{message}|ImagePrediction .*{message}"):
        keypoints(**changes)


def test_surfaces_have_errors_where_the_row_is_known():
    found = surfaces()
    np.testing.assert_array_equal(found.error, [[0, 0, np.nan], [1, 0, 2]])
    assert found.mean_error() == pytest.approx(3 / 5)
    assert found.num_surfaces == 2
    assert surfaces(truth=None).mean_error() is None
    assert surfaces().to_dict()["surfaces"][1] == {"name": "lower", "rows": [4, 5, 6], "std": [1, 1, 1]}
    assert surfaces(image=np.zeros((8, 3, 3), dtype=np.uint8)).image.shape == (8, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [[1, 2, 3]]}, r"rows: expected shape \(2, 3\), got \(1, 3\)"),
        ({"rows": [[1, 2, np.nan], [1, 2, 3]]}, "rows: expected finite numbers, got NaN or infinity"),
        ({"std": [[1, 2], [1, 2]]}, r"std: expected shape \(2, 3\), got \(2, 2\)"),
        ({"surface_names": ()}, "expected at least one surface name"),
        ({"image": np.zeros((8, 3))}, r"image: expected \(H, W\) or \(H, W, 3\) uint8, got \(8, 3\) float64"),
    ],
)
def test_a_wrong_field_of_surfaces_is_named(changes, message):
    with pytest.raises(ValueError, match=f"SurfacePrediction 'slice': {message}"):
        surfaces(**changes)


def face(name="a.png", **changes) -> ImagePrediction:
    values = {
        "image": np.arange(30 * 40 * 3, dtype=np.uint32).reshape(30, 40, 3).astype(np.uint8),
        "keypoint_names": ("tip", "base"),
        "position": [[3.25, 4], [10.5, 20]],
        "confidence": [0.75, 0.5],
        "covariance": [np.diag([1.0, 2.0]), np.eye(2)],
        "probability": np.full((2, 8, 8), 1 / 64),
        "crop": MIRRORED,
    }
    return ImagePrediction(name=name, **values | changes)


def layers(**changes) -> SurfacePrediction:
    values = {"surface_names": ("upper", "lower"), "rows": [[1, 2, 3], [4, 5, 6]], "std": [[0.5] * 3, [0.25] * 3]}
    return SurfacePrediction(name="s", image=np.zeros((8, 3), dtype=np.uint8), **values | changes)


def rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_a_table_is_a_row_an_image_and_can_be_read_as_annotations(tmp_path):
    from PIL import Image

    path = write_image_predictions([face("a.png"), face("b.png", position=[[1, 2], [3, 4]])], tmp_path / "p.csv", "csv")
    header = ["file", "tip_x", "tip_y", "tip_confidence", "base_x", "base_y", "base_confidence"]
    assert rows(path)[:2] == [header, ["a.png", "3.25", "4.0", "0.75", "10.5", "20.0", "0.5"]]
    for name in ("a.png", "b.png"):
        Image.fromarray(face().image).save(tmp_path / name)
    folder = ImageFolder(tmp_path, "all")
    assert folder.keypoint_names == ("tip", "base")
    np.testing.assert_array_equal(folder[1].keypoints, [[1, 2], [3, 4]])
    deep = face(position=np.ones((2, 3)), covariance=np.zeros((2, 3, 3)))
    assert "tip_z" in rows(deep.save(tmp_path / "deep.csv", "csv"))[0]


def test_a_table_of_surfaces_is_a_row_a_column(tmp_path):
    found = rows(layers().save(tmp_path / "s.csv", "csv"))
    assert found[0] == ["file", "column", "upper", "upper_std", "lower", "lower_std"]
    assert found[2] == ["s", "1", "2.0", "0.5", "5.0", "0.25"]
    assert len(found) == 4


def test_json_of_one_and_of_several(tmp_path):
    one = json.loads(face().save(tmp_path / "one.json").read_text())
    assert one == face().to_dict()
    several = json.loads(write_image_predictions([layers(), layers()], tmp_path / "several.json").read_text())
    assert several == {"predictions": [layers().to_dict()] * 2}


def test_everything_comes_back(tmp_path):
    written = face(truth=[[1, 2], [np.nan, np.nan]], visible=[True, False], box=[1, 2, 3, 4])
    found = load_image_prediction(written.save(tmp_path / "p.npz", "npz"))
    for field in ("image", "position", "confidence", "covariance", "probability", "truth", "visible", "box"):
        np.testing.assert_array_equal(getattr(found, field), getattr(written, field))
    assert (found.name, found.keypoint_names, found.crop.size) == ("a.png", ("tip", "base"), (32, 32))
    np.testing.assert_array_equal(found.crop.matrix, MIRRORED.matrix)
    assert load_image_prediction(face().save(tmp_path / "q.npz", "npz")).truth is None
    surfaces = load_image_prediction(layers().save(tmp_path / "s.npz", "npz"))
    assert isinstance(surfaces, SurfacePrediction)
    np.testing.assert_array_equal(surfaces.rows, layers().rows)


@pytest.mark.parametrize(
    ("predictions", "format", "message"),
    [
        ([face()], "mrk.json", "format: expected one of json, csv, npz, got 'mrk.json'"),
        ([], "csv", "predictions: expected at least one for a csv file, got 0"),
        ([face(), face()], "npz", "predictions: expected one for a npz file, got 2"),
        ([face(), layers()], "csv", "predictions: expected keypoints or surfaces alone in one table, got both"),
        ([face(), face("b", keypoint_names="xy")], "csv", "the keypoints of 'a.png' in all, got others in 'b'"),
        ([layers(), layers(surface_names="xy")], "csv", "expected the surfaces of 's' in all, got others in 's'"),
    ],
)
def test_what_cannot_be_written(predictions, format, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_image_predictions(predictions, tmp_path / "p", format)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_saved_prediction(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(ValueError, match=rf"{name}: not a saved prediction of an image"):
            load_image_prediction(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_image_prediction(tmp_path / "nothing.npz")
