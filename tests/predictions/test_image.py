import numpy as np
import pytest

from pcsargmax.predictions.image import ImagePrediction, SurfacePrediction
from pcsargmax.transforms.crop import Crop

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
