import base64
import io
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pcsargmax.visualize.images.picture import Picture
from pcsargmax.visualize.page.pictures import MAX_PIXELS, images_data
from pcsargmax.visualize.page.shapes import PageScores


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


def image_of(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_maps_come_back_to_two_per_cent(face):
    one = face()
    data = images_data([one], keypoint="nose")
    json.dumps(data, allow_nan=False)
    assert (data["what"], data["keypoint"]) == ("keypoint", 2)
    (shape,) = data["shapes"]
    levels = unpacked(shape["maps"], "u1").reshape(4, 64)
    least, peaks = shape["least"], np.array(shape["peaks"])[:, None]
    maps = one.probability.reshape(4, 64)
    assert least == min(1 / 64, maps.max(axis=1).min() / 20)
    back = np.where(levels == 0, 0, peaks * np.exp(np.log(peaks / least) / 254 * (levels - 255.0)))
    seen = maps >= least
    np.testing.assert_allclose(back[seen], maps[seen], rtol=0.02)
    assert not back[~seen].any()
    assert shape["cells"] == [8, 8]


def test_a_flat_map_has_no_holes(face):
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((4, 8, 8))  # as of an untrained network
    flat = (noise / noise.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
    (shape,) = images_data([replace(face(), probability=flat)])["shapes"]
    levels, peaks = unpacked(shape["maps"], "u1").reshape(4, 64), np.array(shape["peaks"])[:, None]
    back = peaks * np.exp(np.log(peaks / shape["least"]) / 254 * (levels - 255.0))
    assert levels.all()
    np.testing.assert_allclose(back, flat.reshape(4, 64), rtol=0.02)


def test_the_matrix_is_that_of_an_svg(face):
    one = face()
    a, b, c, d, e, f = images_data([one])["shapes"][0]["placed"]
    x, y = 3, 5
    np.testing.assert_allclose([a * x + c * y + e, b * x + d * y + f], one.crop.to_image(np.array([12.0, 20.0])))


def test_keypoints_carry_what_is_known(face):
    rows = images_data([face()])["shapes"][0]["keypoints"]
    assert [row["error"] for row in rows] == [1.0, 1.0, 2.0, None]
    assert rows[3]["truth"] is None
    assert rows[0]["truth"] == [8.0, 10.0]
    assert rows[0]["ellipse"][:2] == [2.0, 1.0]
    assert rows[0]["ellipse"][2] % 180 == 0


def test_surfaces_come_back_to_a_step(oct_slice):
    one = oct_slice()
    data = images_data([one])
    packed = data["shapes"][0]["surfaces"]
    assert (data["what"], packed["parts"]) == ("surface", ["rows", "std", "truth"])
    back = unpacked(packed["packed"], "<i2").astype(float).reshape(3, 2, 50)
    back = np.where(back == -32768, np.nan, back * packed["step"])
    np.testing.assert_allclose(back, [one.rows, one.std, one.truth], atol=packed["step"] / 2)
    assert [row["error"] for row in data["shapes"][0]["keypoints"]] == [1, 2]


def test_large_images_are_kept_smaller():
    image = np.full((1000, 2000, 3), 77, np.uint8)
    (shape,) = images_data([Picture("big", image, ("a",), np.array([[3.0, 4.0]]))])["shapes"]
    kept = image_of(shape["image"])
    assert kept.width * kept.height <= MAX_PIXELS
    assert kept.size == (1000, 500)
    assert shape["size"] == [2000, 1000]
    assert shape["note"] == "Shown with 1000 × 500 of 2000 × 1000 pixels."


def test_an_image_is_kept_once_for_two_methods(face):
    data = images_data([face(1)], others=[face(1, off=3)], titles=("a", "b"))
    assert data["others"][0]["image"] is None
    assert image_of(data["shapes"][0]["image"]).size == (32, 40)


def test_mistakes_are_named(face, oct_slice):
    with pytest.raises(ValueError, match="predictions: expected at least one, got none"):
        images_data([])
    with pytest.raises(ValueError, match="expected all of keypoints or all of surfaces, got both"):
        images_data([face(), oct_slice()])
    with pytest.raises(ValueError, match="others: expected 1, one for each prediction, got 2"):
        images_data([face()], others=[face(), face()])
    with pytest.raises(
        ValueError, match=r"expected the images of predictions in their order, face0.png; got face1.png"
    ):
        images_data([face()], others=[face(1)])
    with pytest.raises(ValueError, match="scores: expected 1, one for each prediction, got 0"):
        images_data([face()], scores=PageScores("NME", []))
