import math

import numpy as np
import pytest
import torch

from pcsargmax.datasets.images.augment import ImageAugment
from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.transforms.crop import Crop

SIZE = (32, 24)
PAIRS = ((0, 2),)


@pytest.fixture
def item() -> ImageItem:
    points = np.array([[10, 20], [20, 12], [30, 20]])
    return ImageItem("a", np.zeros((40, 50, 3), np.uint8), points, box=np.array([8, 6, 24, 20]))


def draws(item: ImageItem, augment: ImageAugment, number: int = 400) -> list[tuple[Crop, np.ndarray]]:
    generator = torch.Generator().manual_seed(1)
    return [augment(item, SIZE, generator, PAIRS) for _ in range(number)]


def turn(crop: Crop) -> float:
    """Degrees by which the picture is turned, clockwise, before it is mirrored."""
    matrix = (crop.mirrored() if crop.flip else crop).matrix
    return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def test_without_any_it_is_the_crop_of_the_test(item):
    augment = ImageAugment(flip=0, scale=0, rotation_probability=0, padding=1.5)
    for crop, order in draws(item, augment, 5):
        np.testing.assert_array_equal(crop.matrix, Crop.around(item.box, SIZE, padding=1.5).matrix)
        assert order.tolist() == [0, 1, 2]


def test_a_seed_repeats_bit_by_bit(item):
    first, second = draws(item, ImageAugment(), 20), draws(item, ImageAugment(), 20)
    for (crop, order), (again, its) in zip(first, second, strict=True):
        np.testing.assert_array_equal(crop.matrix, again.matrix)
        np.testing.assert_array_equal(order, its)
    assert len({crop.matrix.tobytes() for crop, _ in first}) == 20


def test_settings_do_not_change_the_random_numbers_of_others(item):
    plain = draws(item, ImageAugment(flip=0, rotation_probability=0), 50)
    mirrored = draws(item, ImageAugment(flip=1, rotation_law="normal"), 50)
    for (crop, _), (other, _) in zip(plain, mirrored, strict=True):
        assert crop.zoom == pytest.approx(other.zoom)


def test_a_mirrored_crop_swaps_the_pairs(item):
    found = draws(item, ImageAugment(rotation=0, scale=0))
    assert 0.4 < np.mean([crop.flip for crop, _ in found]) < 0.6
    for crop, order in found:
        assert order.tolist() == ([2, 1, 0] if crop.flip else [0, 1, 2])
        x = crop.to_input(item.keypoints)[order][:, 0]
        assert x[0] < x[1] < x[2]  # the left one stays left


def test_scales_fill_their_range(item):
    plain = Crop.around(item.box, SIZE).zoom
    scales = np.array([plain / crop.zoom for crop, _ in draws(item, ImageAugment(scale=0.3))])
    assert 0.7 <= scales.min() < 0.72
    assert 1.28 < scales.max() <= 1.3
    assert abs(scales.mean() - 1) < 0.03
    assert abs(scales.std() - 0.3 / math.sqrt(3)) < 0.02
    scales = np.array([plain / crop.zoom for crop, _ in draws(item, ImageAugment(scale=0.3, scale_law="normal"))])
    # a normal law cut at one deviation: 32 % are at the ends
    assert scales.min() == pytest.approx(0.7)
    assert scales.max() == pytest.approx(1.3)
    assert abs(np.isclose(abs(scales - 1), 0.3).mean() - 0.317) < 0.07


def test_rotations_by_both_laws(item):
    turns = np.array([turn(crop) for crop, _ in draws(item, ImageAugment(rotation=40))])
    assert 0.4 < (abs(turns) > 1e-9).mean() < 0.6
    assert 38 < abs(turns).max() <= 40
    assert abs(turns.mean()) < 3
    normal = ImageAugment(rotation=40, rotation_probability=1, rotation_law="normal")
    turns = np.array([turn(crop) for crop, _ in draws(item, normal)])
    assert abs(turns).max() == pytest.approx(80)
    assert abs(turns.std() - 38) < 4
    assert abs(np.isclose(abs(turns), 80).mean() - 0.0455) < 0.03


def test_shifts_move_the_box(item):
    found = draws(item, ImageAugment(flip=0, scale=0, rotation=0, shift=0.25))
    center = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    moves = np.array([crop.to_image(center) for crop, _ in found]) - [19.5, 15.5]
    assert (abs(moves).max(0) <= [6, 5]).all()
    assert (abs(moves).max(0) > [5.8, 4.8]).all()
    assert item.box.tolist() == [8, 6, 24, 20]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": 1.1}, "flip: expected a probability from 0 to 1, got 1.1"),
        ({"rotation_probability": -0.1}, "rotation_probability: expected a probability from 0 to 1, got -0.1"),
        ({"scale": 1}, "scale: expected a share from 0 to below 1, got 1"),
        ({"rotation": math.nan}, "rotation: expected a number of 0 or more, got nan"),
        ({"shift": -1}, "shift: expected a number of 0 or more, got -1"),
        ({"padding": 0}, "padding: expected a number above 0, got 0"),
        ({"rotation_law": "cauchy"}, "rotation_law: expected 'uniform' or 'normal', got 'cauchy'"),
        ({"scale_law": "none"}, "scale_law: expected 'uniform' or 'normal', got 'none'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageAugment(**settings)
