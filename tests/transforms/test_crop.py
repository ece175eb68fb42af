import math

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from pcsargmax.transforms.crop import Crop, check_box


def picture(height: int = 40, width: int = 50) -> np.ndarray:
    """A smooth picture: interpolation and averaging change it little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 6 + y / 9), np.cos(x / 8 - y / 7), np.sin((x + 2 * y) / 11)]
    return (127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    """The bright place's mean (x, y), in pixels from the centre of the first."""
    light = image.sum(2).astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


def test_the_whole_image_at_its_own_size_is_itself():
    image = picture()
    crop = Crop.around((0, 0, 50, 40), (40, 50), padding=1)
    np.testing.assert_allclose(crop.matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert np.array_equal(crop.image(image), image)


def test_a_box_is_cut_out_pixel_by_pixel():
    image = picture()
    crop = Crop.around((7, 5, 20, 10), (10, 20), padding=1)
    assert np.array_equal(crop.image(image), image[5:15, 7:27])
    assert crop.to_input([7, 5]).tolist() == [0, 0]
    mirrored = Crop.around((7, 5, 20, 10), (10, 20), padding=1, flip=True)
    assert np.array_equal(mirrored.image(image), image[5:15, 7:27][:, ::-1])
    assert mirrored.to_input([[7, 5], [26, 14]]).tolist() == [[19, 0], [0, 9]]
    assert (crop.flip, mirrored.flip) == (False, True)


def test_edges_meet_edges():
    # a box of 10 x 10 from -0.5 + 3 fills an input of 40 x 40, from -0.5 to 39.5
    crop = Crop.around((3, 2, 10, 10), (40, 40), padding=1)
    np.testing.assert_allclose(crop.to_input([[2.5, 1.5], [12.5, 11.5]]), [[-0.5, -0.5], [39.5, 39.5]])
    assert crop.zoom == pytest.approx(4)


def test_proportions_padding_and_scale():
    # 20 wide and 10 high in an input that is as high as wide: 20 x 20, times 1.25 and 2, about the same centre
    crop = Crop.around((5, 15, 20, 10), (100, 100), scale=2, padding=1.25)
    np.testing.assert_allclose(crop.to_input([[14.5, 19.5], [14.5 + 25, 19.5]]), [[49.5, 49.5], [99.5, 49.5]])
    assert crop.zoom == pytest.approx(2)


def test_rotation_is_clockwise():
    crop = Crop.around((0, 0, 11, 11), (11, 11), padding=1, rotation=90)
    # up goes to the right, right goes down
    np.testing.assert_allclose(crop.to_input([[5, 0], [10, 5]]), [[10, 5], [5, 10]], atol=1e-12)
    image = np.zeros((11, 11, 3), np.uint8)
    image[0, 5] = 255
    np.testing.assert_allclose(centroid(crop.image(image)), [10, 5])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 30, -115])
@pytest.mark.parametrize("scale", [0.25, 0.6, 1.0])
def test_a_bright_pixel_goes_where_points_go(scale, rotation, flip):
    image = np.zeros((60, 64, 3), np.uint8)
    image[25, 37] = 255
    crop = Crop.around((8, 4, 48, 44), (96, 72), scale=scale, rotation=rotation, flip=flip)
    np.testing.assert_allclose(centroid(crop.image(image)), crop.to_input([37, 25]), atol=0.15)


@pytest.mark.parametrize("size", [(10, 10), (16, 12), (30, 30), (44, 45)])
def test_a_bright_place_in_a_smaller_picture(size):
    y, x = np.mgrid[:90, :90]
    light = 255 * np.exp(-((x - 50.5) ** 2 + (y - 44.5) ** 2) / 200)
    image = np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, axis=2)
    crop = Crop.around((0, 0, 90, 90), size, padding=1)
    np.testing.assert_allclose(centroid(crop.image(image)), crop.to_input([50.5, 44.5]), atol=0.05)


def test_bilinear_as_by_another_way():
    image = picture()
    crop = Crop.around((10, 8, 25, 25), (32, 32), rotation=20, padding=1.1)
    columns, rows = np.meshgrid(np.arange(32), np.arange(32))
    places = crop.to_image(np.stack([columns, rows], axis=2))
    inside = ((places >= 0) & (places <= (49, 39))).all(2)
    assert inside.mean() > 0.9
    for channel in range(3):
        expected = map_coordinates(image[..., channel].astype(float), places.transpose(2, 0, 1)[::-1], order=1)
        difference = crop.image(image)[..., channel] - expected
        assert np.abs(difference[inside]).max() <= 1.01  # Pillow cuts the fraction off


def test_a_smaller_picture_is_an_average():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2, ::2] = 255  # a quarter of the light, whatever pixels one looks at
    small = Crop.around((0, 0, 64, 64), (16, 16), padding=1).image(image)
    assert np.abs(small.astype(int) - 64).max() <= 1
    assert np.abs(Crop.around((0, 0, 64, 64), (13, 13), padding=1).image(image).astype(int) - 64).max() <= 16


def test_black_beyond_the_edges():
    image = np.full((20, 20, 3), 200, np.uint8)
    part = Crop.around((-10, -5, 20, 20), (20, 20), padding=1).image(image)
    assert (part[5:, 10:] == 200).all()
    assert (part[:5] == 0).all()
    assert (part[:, :10] == 0).all()


def test_there_and_back():
    crop = Crop.around((3, 4, 20, 33), (64, 48), scale=0.8, rotation=-17, flip=True)
    points = np.array([[0, 0, 7.0], [11, 5, np.nan], [np.nan, np.nan, np.nan]])
    there = crop.to_input(points)
    assert there[0, 2] == 7
    assert np.isnan(there[2]).all()
    np.testing.assert_allclose(crop.to_image(there), points)
    assert np.array_equal(points[0], [0, 0, 7])
    assert crop.to_input(np.zeros((2, 5, 2))).shape == (2, 5, 2)


def test_mirrored_is_the_reversal_of_rows():
    image = picture()
    crop = Crop.around((4, 6, 30, 20), (24, 36), rotation=25)
    mirrored = crop.mirrored()
    assert mirrored.flip
    np.testing.assert_allclose(mirrored.to_input([11, 12]), [35, 0] + [-1, 1] * crop.to_input([11, 12]))
    difference = mirrored.image(image).astype(int) - crop.image(image)[:, ::-1]
    assert np.abs(difference).max() <= 1
    np.testing.assert_allclose(mirrored.mirrored().matrix, crop.matrix)


def test_covariance_turns_and_shrinks_with_the_points():
    crop = Crop.around((0, 0, 10, 10), (40, 40), padding=1, rotation=90)
    # 4 input pixels to an image pixel; the input's x is the image's y, downwards to the left
    covariance = np.diag([16.0, 32.0, 5.0])
    np.testing.assert_allclose(crop.covariance_to_image(covariance), np.diag([2.0, 1.0, 5.0]), atol=1e-12)
    slanted = Crop.around((0, 0, 10, 10), (40, 40), rotation=33, flip=True)
    points = np.random.default_rng(0).normal(size=(50, 2)) @ [[3, 1], [0, 2]]
    expected = np.cov(slanted.to_image(points).T)
    np.testing.assert_allclose(slanted.covariance_to_image(np.cov(points.T)[None])[0], expected)


@pytest.mark.parametrize(
    ("box", "settings", "message"),
    [
        ((0, 0, 0, 5), {}, r"box: expected a width and a height above 0, got \(0, 0, 0, 5\)"),
        ((0, 0, 5), {}, "box: expected four finite numbers"),
        ((0, 0, 5, math.nan), {}, "box: expected four finite numbers"),
        ((0, 0, 5, 5), {"size": (0, 4)}, r"size: expected \(height, width\), whole numbers above 0, got \(0, 4\)"),
        ((0, 0, 5, 5), {"size": (4, 4.5)}, r"size: .* got \(4, 4.5\)"),
        ((0, 0, 5, 5), {"size": (4,)}, r"size: .* got \(4,\)"),
        ((0, 0, 5, 5), {"size": 4}, "size: .* got 4"),
        ((0, 0, 5, 5), {"scale": 0}, "scale: expected a number above 0, got 0"),
        ((0, 0, 5, 5), {"padding": -1.0}, "padding: expected a number above 0, got -1.0"),
        ((0, 0, 5, 5), {"rotation": math.inf}, "rotation: expected degrees, got inf"),
    ],
)
def test_bad_crops(box, settings, message):
    with pytest.raises(ValueError, match=message):
        Crop.around(box, **({"size": (8, 8)} | settings))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"matrix: expected \(2, 3\) finite numbers, got \(3, 3\)"),
        ([[1, 0, math.nan], [0, 1, 0]], r"matrix: expected \(2, 3\) finite numbers"),
        ([[1, 1, 0], [2, 2, 0]], "matrix: expected one that can be inverted"),
    ],
)
def test_bad_matrices(matrix, message):
    with pytest.raises(ValueError, match=message):
        Crop(matrix, (4, 4))


def test_bad_points_and_covariances():
    crop = Crop.around((0, 0, 5, 5), (8, 8))
    with pytest.raises(ValueError, match=r"points: expected \(\.\.\., 2\) or more columns, got \(3, 1\)"):
        crop.to_input(np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"covariance: expected .* got \(2, 3\)"):
        crop.covariance_to_image(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"image: expected \(H, W, 3\) uint8, got \(5, 5\) uint8"):
        crop.image(np.zeros((5, 5), np.uint8))


@pytest.mark.parametrize("rotation", [0, 45])
@pytest.mark.parametrize("box", [(30, 0, 9, 9), (0, -14.0, 9, 9), (24, 24, 8, 8)])
def test_a_crop_beside_the_image(box, rotation):
    crop = Crop.around(box, (16, 16), padding=1, rotation=rotation)
    image = np.full((20, 20, 3), 9, np.uint8)
    with pytest.raises(ValueError, match=r"crop: its corners .* enclose nothing of the image of 20 x 20 pixels"):
        crop.image(image)


def test_a_turned_crop_beside_a_corner():
    # the bounding boxes overlap, the shapes do not
    crop = Crop.around((21, 21, 8, 8), (16, 16), padding=1, rotation=45)
    assert crop.to_image([(-0.5, -0.5), (15.5, 15.5), (-0.5, 15.5), (15.5, -0.5)]).min() < 19.5
    with pytest.raises(ValueError, match="enclose nothing"):
        crop.image(np.full((20, 20, 3), 9, np.uint8))


def test_a_box_that_only_touches_the_image():
    check_box(np.array([5.5, -2, 3, 2.25]), (4, 6), "box")
    with pytest.raises(ValueError, match=r"box: expected four .* got \(2, 4\)"):
        check_box(np.zeros((2, 4)), None, "box")
