import numpy as np
import pytest

from pcsargmax.datasets.images.item import ImageItem, SurfaceItem
from pcsargmax.transforms.crop import Crop
from pcsargmax.visualize.images.picture import (
    CONTRAST,
    MOST_COVER,
    cells_to_image,
    ellipse_axes,
    map_colors,
    map_values,
    pale,
    picture_of,
)
from pcsargmax.visualize.palette import probability_scale


def test_a_prediction_becomes_plain_arrays_of_two_dimensions(face):
    picture = picture_of(face())
    assert picture.names[0] == "left <b>"
    assert (picture.annotated, picture.shown.tolist()) == (False, [0, 1, 2, 3])
    np.testing.assert_allclose(picture.error, [1, 1, 2, np.nan])
    assert picture.mean_error == pytest.approx(4 / 3)
    assert picture_of(picture) is picture


def test_the_depth_is_not_drawn(face):
    import dataclasses

    flat = face()
    solid = dataclasses.replace(
        flat,
        position=np.column_stack([flat.position, np.full(4, 900.0)]),
        covariance=np.tile(np.diag([4.0, 1.0, 9.0]), (4, 1, 1)),
        truth=np.column_stack([flat.truth, np.zeros(4)]),
    )
    picture, plain = picture_of(solid), picture_of(flat)
    np.testing.assert_array_equal(picture.position, plain.position)
    np.testing.assert_array_equal(picture.covariance, plain.covariance)
    np.testing.assert_allclose(picture.error, [1, 1, 2, np.nan])


def test_an_item_is_drawn_as_it_is_annotated():
    image = np.zeros((10, 12, 3), np.uint8)
    item = ImageItem("a", image, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([True, False]))
    picture = picture_of(item, ("tip", "base"))
    assert (picture.names, picture.annotated, picture.shown.tolist()) == (("tip", "base"), True, [0])
    assert (picture.error, picture.mean_error, map_values(picture)) == (None, None, None)
    assert picture_of(item).names == ("0", "1")
    with pytest.raises(ValueError, match="names: expected 2, as the item has, got 3"):
        picture_of(item, ("a", "b", "c"))
    with pytest.raises(TypeError, match="got str"):
        picture_of("a.png")


def test_surfaces_are_rows_and_grey_images_get_colours(oct_slice):
    picture = picture_of(oct_slice())
    assert picture.image.shape == (20, 50, 3)
    np.testing.assert_allclose(picture.error, [1, 2])
    assert picture.mean_error == pytest.approx(1.5)
    rows = np.array([[1.0, np.nan, 2.0], [np.nan] * 3])
    item = picture_of(SurfaceItem("s", np.zeros((5, 3), np.uint8), rows))
    assert (item.annotated, item.shown.tolist()) == (True, [0])


def test_cells_lie_where_the_crop_put_them():
    crop = Crop.around((4, 2, 16, 16), (32, 32), padding=1.0)  # twice as large: pixel 4 is input pixel 0.5
    placed = cells_to_image(crop, (8, 8))
    for cell in ((0, 0), (3, 5), (7, 1)):
        expected = crop.to_image(4.0 * np.array(cell))  # a cell is 4 pixels of the input, without half a pixel
        np.testing.assert_allclose(placed @ [*cell, 1], expected)
    np.testing.assert_allclose(placed @ [0, 0, 1], [3.75, 1.75])


def test_a_turned_and_mirrored_crop_turns_the_map_with_it():
    crop = Crop.around((0, 0, 20, 10), (64, 32), rotation=30, flip=True)
    placed = cells_to_image(crop, (16, 8))
    np.testing.assert_allclose(placed @ [5, 9, 1], crop.to_image(np.array([20.0, 36.0])))


def test_what_is_drawn_reaches_as_far_as_the_maps(face):
    tight, wide = picture_of(face()), picture_of(face(padding=2.0))
    # 40 pixels on 32 input pixels: 1.25 a pixel, square about the middle of the image (15.5, 19.5)
    assert tight.edges[0] < -0.5
    assert tight.edges[2] > 31.5
    np.testing.assert_allclose(np.subtract(wide.edges[2:], wide.edges[:2]), [80, 80])


def test_little_probability_lets_the_image_show_through(face):
    picture = picture_of(face())
    colors, layer = map_colors(picture, 2)
    values = map_values(picture, 2)
    peak = np.unravel_index(values.argmax(), values.shape)
    np.testing.assert_allclose(layer[peak], [*probability_scale()[-1], MOST_COVER])
    assert layer[0, 7, 3] < 1e-3
    assert colors.title == "probability of nose"
    title = map_colors(picture, log_scale=True)[0].title
    assert title == "largest probability, log scale"
    np.testing.assert_array_equal(map_values(picture), picture.maps.max(axis=0))
    half = map_colors(picture, 2, peak=2 * float(values.max()))[0]
    assert half.ticks[-1][1] == f"{2 * values.max():.2g}"


def test_an_image_under_a_map_is_grey_and_pale():
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    found = pale(image)
    assert found[0, 0].tolist() == [round(255 - CONTRAST * 255)] * 3
    assert found[0, 1].tolist() == [255] * 3
    assert len(set(found[0, 2].tolist())) == 1


def test_ellipses_have_the_axes_of_the_covariance():
    turned = np.array([[2.5, 1.5], [1.5, 2.5]])  # 4 along the diagonal, 1 across it
    axes, angle = ellipse_axes(np.stack([turned, np.diag([1.0, 9.0]), np.full((2, 2), np.nan)]))
    np.testing.assert_allclose(axes, [[1, 2], [1, 3], [0, 0]])
    assert angle[0] % 180 == pytest.approx(45)
    assert angle[1] % 180 == pytest.approx(90)


@pytest.mark.parametrize("keypoint", ["ear", 4, -1, True])
def test_an_unknown_keypoint_is_named(face, keypoint):
    with pytest.raises(ValueError, match=r"keypoint: expected one of left <b>, right, nose, chin or 0 to 3, got"):
        picture_of(face()).number(keypoint)
