import base64
import io

import numpy as np
import pytest
from PIL import Image

from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.notebook import thumbnail
from pcsargmax.visualize.palette import KEYPOINT_COLORS, TRUTH_COLOR, color_values, hex_to_rgb, keypoint_color


def where(image: Image.Image, color: str) -> np.ndarray:
    """(P, 2) pixels (x, y) of exactly that colour."""
    pixels = np.asarray(image.convert("RGB"))
    wanted = np.round(hex_to_rgb(color) * 255).astype(np.uint8)
    return np.argwhere((pixels == wanted).all(axis=-1))[:, ::-1]


def opened(uri: str) -> Image.Image:
    kind, _, text = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_keypoints_lie_where_the_camera_sees_them(mug):
    one = mug(origin=1e5)
    drawing = build_drawing(one)
    image = thumbnail.drawing_picture(drawing, one.keypoint_names)
    assert image.size == thumbnail.SIZE
    camera = thumbnail.fit_camera(drawing.extent(), azimuth=35.0, elevation=20.0, size=thumbnail.SIZE, margin=0.06)
    for k, at in zip(drawing.shown, camera.project(drawing.position)[0], strict=True):
        seen = where(image, keypoint_color(k))
        assert len(seen) > 50
        assert np.linalg.norm(seen - at, axis=1).min() < 2
    assert len(where(image, keypoint_color(3))) == 0  # absent
    assert len(where(image, TRUTH_COLOR)) > 20


def test_a_skeleton_is_drawn(mug):
    import dataclasses

    from pcsargmax.predictions.cloud import Skeleton
    from pcsargmax.visualize.palette import EDGE_COLOR

    one = mug()
    plain = thumbnail.drawing_picture(build_drawing(one), one.keypoint_names)
    skeleton = Skeleton(edges=[[0, 1], [1, 2]], strength=[1.0, 0.0], points=np.zeros((0, 3)), edge=[])
    joined = dataclasses.replace(one, skeleton=skeleton)
    drawn = thumbnail.drawing_picture(build_drawing(joined), one.keypoint_names)
    assert len(where(plain, EDGE_COLOR)) == 0
    assert len(where(drawn, EDGE_COLOR)) > 200


def test_few_colours_keep_those_of_the_keypoints():
    image = Image.new("RGB", (64, 8), "white")
    for number, color in enumerate(KEYPOINT_COLORS):
        image.paste(color, (2 * number, 0, 2 * number + 2, 8))
    kept = opened(thumbnail.data_uri(image))
    for number, color in enumerate(KEYPOINT_COLORS):
        found = np.array(kept.convert("RGB").getpixel((2 * number, 4))) / 255
        np.testing.assert_allclose(found, hex_to_rgb(color), atol=1e-6)


def test_the_scale_is_kept_to_a_sixtyfourth():
    values = np.linspace(0, 1, 64)[None]
    image = Image.fromarray(np.round(color_values(values, "").rgb * 255).astype(np.uint8))
    kept = np.asarray(opened(thumbnail.data_uri(image)).convert("RGB")).astype(int)
    assert np.abs(kept - np.asarray(image).astype(int)).max() < 12


@pytest.mark.parametrize("shape", [(6, 9), (1, 40), (900, 20), (1, 1)])
def test_a_cell_of_a_grid_is_where_it_is_said_to_be(shape):
    values = np.zeros(shape)
    row, column = shape[0] // 2, shape[1] - 1
    values[row, column] = 1
    image, scale, shift = thumbnail.grid_picture(values)
    x, y = np.array([column, row]) * scale + shift
    assert np.asarray(image)[min(int(y), image.height - 1), int(x)].sum() < 400  # dark
    assert 0 < x < image.width
    assert 0 < y < image.height


def test_bars_of_a_line_are_as_high_as_the_probability():
    probability = np.array([[0.2, 0.8, 0.0, 0.0], [0.0, 0.0, 0.4, 0.6]])
    image = thumbnail.line_picture(np.arange(4.0), probability, np.array([0.8, 2.6]))
    pixels = np.asarray(image).astype(int)
    blue = pixels[..., 2] - pixels[..., 0] > 60  # the first keypoint's bars and mean
    heights = [blue[:, int(x)].sum() for x in (36 + 0.5 * 162, 36 + 1.7 * 162)]
    assert heights[0] == pytest.approx(heights[1] / 4, rel=0.05)
    assert heights[1] == pytest.approx(thumbnail.SIZE[1] - 3 * thumbnail.BORDER, abs=3)  # the largest fills the room
    assert where(image, keypoint_color(1))[:, 0].mean() == pytest.approx(36 + (2.6 + 0.5) * 162, abs=12)


def test_a_flat_cloud_has_y_up():
    sites = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    mean = np.array([[0.0, 1.0], [1.0, 0.0]])
    image = thumbnail.sites_picture(sites, color_values(np.zeros(4), "").rgb, mean)
    first, second = (where(image, keypoint_color(k)).mean(axis=0) for k in range(2))
    assert first[0] < second[0]
    assert first[1] < second[1]


def test_large_clouds_are_thinned_but_not_where_they_are_probable():
    rng = np.random.default_rng(0)
    pixels = rng.uniform(100, 400, (50_000, 2))
    values = np.zeros(50_000)
    pixels[7], values[7] = [600, 500], 1.0
    image = thumbnail.cloud_picture(pixels, color_values(values, "").rgb)
    assert np.asarray(image)[500, 600].sum() < 300


def test_what_is_probable_lies_on_top():
    colors = color_values(np.array([1.0, 0.0]), "").rgb
    image = thumbnail.cloud_picture(np.array([[300.0, 200.0], [300.0, 200.0]]), colors)
    assert np.asarray(image)[200, 300].sum() < 300


def test_one_point_and_many_keypoints_can_be_drawn():
    image = thumbnail.sites_picture(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((100, 3)))
    assert image.size == thumbnail.SIZE
