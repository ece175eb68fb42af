import numpy as np
import pytest

from pcsargmax.datasets.images.item import ImageItem, SurfaceItem, can_flip, flip_order

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_what_is_not_given_is_made():
    item = ImageItem("a", IMAGE, [[1, 2], [np.nan, np.nan], [3, np.nan]])
    assert item.keypoints.dtype == np.float64
    assert item.visible.tolist() == [True, False, False]
    assert item.box.tolist() == [0, 0, 6, 4]
    assert item.extra == {}


def test_a_known_place_may_be_out_of_use_and_a_depth_unknown():
    item = ImageItem("a", IMAGE, [[1, 2, np.nan], [3, 3, 5]], np.array([True, False]), [-2, 1, 3, 2.5])
    assert item.visible.tolist() == [True, False]
    assert item.box.tolist() == [-2, 1, 3, 2.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": IMAGE.tolist()}, r"a: image: expected \(H, W, 3\) uint8, got a list"),
        ({"image": IMAGE[..., 0]}, r"a: image: expected \(H, W, 3\) uint8, got \(4, 6\) uint8"),
        ({"image": IMAGE.astype(float)}, r"a: image: .* got \(4, 6, 3\) float64"),
        ({"image": IMAGE[:0]}, r"a: image: .* got \(0, 6, 3\) uint8"),
        ({"keypoints": [1, 2]}, r"a: keypoints: expected \(K, 2\) or \(K, 3\), got \(2,\)"),
        ({"visible": np.array([True])}, r"a: visible: expected \(2,\) bool, got \(1,\) bool"),
        ({"visible": np.array([1, 0])}, r"a: visible: expected \(2,\) bool, got \(2,\) int64"),
        ({"visible": np.array([False, True])}, "a: visible: keypoint 1 is visible and has no place"),
        ({"box": [0, 0, 1]}, r"a: box: expected four finite numbers x, y, width, height, got \(0, 0, 1\)"),
        ({"box": [0, 0, 1, np.inf]}, r"a: box: expected four finite numbers .* got \(0, 0, 1, inf\)"),
        ({"box": [1, 1, 0, 2]}, r"a: box: expected a width and a height above 0, got \(1, 1, 0, 2\)"),
        ({"box": [1, 1, 2, -2]}, r"a: box: expected a width and a height above 0, got \(1, 1, 2, -2\)"),
        ({"box": [6, 0, 2, 2]}, r"a: box: \(6, 0, 2, 2\) \(x, y, width, height\) lies outside the image of 6 x 4 pix"),
        ({"box": [0, -3, 2, 3]}, r"a: box: \(0, -3, 2, 3\) .* lies outside the image of 6 x 4 pixels"),
    ],
)
def test_bad_input(changes, message):
    good = {"name": "a", "image": IMAGE, "keypoints": [[1, 2], [np.nan, np.nan]]}
    with pytest.raises(ValueError, match=message):
        ImageItem(**(good | changes))


def test_flip_order_is_its_own_inverse():
    order = flip_order(5, [(0, 3), (4, 1)])
    assert order.tolist() == [3, 4, 2, 0, 1]
    assert order[order].tolist() == [0, 1, 2, 3, 4]
    assert flip_order(2, ()).tolist() == [0, 1]


@pytest.mark.parametrize("pairs", [[(0, 5)], [(-1, 0)], [(0, 1), (1, 2)], [(2, 2)], [(0, 1, 2)]])
def test_flip_pairs_that_cannot_be(pairs):
    with pytest.raises(ValueError, match="flip_pairs: expected pairs of rows of 0 to 4, each row once"):
        flip_order(5, pairs)


def test_a_data_set_that_says_nothing_can_flip():
    class Some:
        flip_pairs = ()

    some = Some()
    assert can_flip(some)
    some.can_flip = False
    assert not can_flip(some)


def test_surfaces_of_grey_and_of_coloured_slices():
    for image in (IMAGE, IMAGE[..., 0]):
        item = SurfaceItem("a", image, [[0, 1, 2, 3, 4, np.nan], [3, 3, 3, 3, 3, 3]])
        assert item.image.shape == image.shape
        assert item.surfaces.dtype == np.float64
        assert np.isnan(item.surfaces).sum() == 1
        assert item.extra == {}


@pytest.mark.parametrize(
    ("image", "surfaces", "message"),
    [
        (IMAGE[..., 0].astype(float), [[0] * 6], r"a: image: expected .* uint8, got .* float64"),
        (IMAGE.tolist(), [[0] * 6], r"a: image: expected .* got a list"),
        (IMAGE[..., :2], [[0] * 6], r"a: image: expected .* got \(4, 6, 2\) uint8"),
        (IMAGE[:0, :, 0], [[0] * 6], r"a: image: expected .* got \(0, 6, 3\) uint8"),
        (IMAGE[0, 0], [[0] * 3], r"a: image: expected .* got \(3,\) uint8"),
        (IMAGE, [[0] * 5], r"a: surfaces: expected \(S, 6\), got \(1, 5\)"),
        (IMAGE, [0] * 6, r"a: surfaces: expected \(S, 6\), got \(6,\)"),
        (IMAGE, [[np.inf] * 6], r"a: surfaces: expected finite rows, or NaN where unknown, got infinity"),
    ],
)
def test_slices_that_cannot_be(image, surfaces, message):
    with pytest.raises(ValueError, match=message):
        SurfaceItem("a", image, surfaces)
