import numpy as np
import pytest

from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.datasets.images.procedural import ProceduralSlices


@pytest.fixture(scope="module")
def items():
    return list(ProceduralSlices(num_items=80))


def test_items(items):
    data = ProceduralSlices()
    assert (len(data), len(ProceduralSlices("val")), len(ProceduralSlices("test"))) == (320, 40, 160)
    for number, item in enumerate(items):
        assert isinstance(item, SurfaceItem)
        assert item.image.shape == (64, 96)
        assert item.surfaces.shape == (len(data.surface_names), 96)
        assert item.extra["subject"] == number // 8
    assert data.micrometres is None


@pytest.mark.parametrize("size", [(64, 96), (32, 64), (128, 128)])
def test_surfaces_are_in_order_and_in_the_image(size):
    for item in ProceduralSlices("test", num_items=80, size=size):
        assert (np.diff(item.surfaces, axis=0) > 0).all()
        assert item.surfaces.min() >= 2 - 1e-9
        assert item.surfaces.max() <= size[0] - 3 + 1e-9


def profile(items, surface, offsets):
    """Mean brightness at some distance below a surface, over all columns."""
    values = []
    for item in items:
        columns = np.arange(item.image.shape[1])
        for offset in offsets:
            rows = item.surfaces[surface] + offset
            low = np.floor(rows).astype(int)
            part = rows - low
            image = item.image.astype(float)
            values.append(((1 - part) * image[low, columns] + part * image[low + 1, columns]).mean())
    return np.array(values).reshape(len(items), -1).mean(axis=0)


@pytest.mark.parametrize(("surface", "reach"), [(0, 1.8), (5, 1.8)])
def test_brightness_changes_where_the_surfaces_are(items, surface, reach):
    """Half of the change lies on each side of the row: no shift by half a pixel."""
    offsets = np.linspace(-reach, reach, 37)
    bright = profile(items, surface, offsets)
    assert (bright[-1] > 3 * bright[0]) if surface == 0 else (bright[-1] < 0.75 * bright[0])
    share = (bright - bright[0]) / (bright[-1] - bright[0])
    assert np.interp(0.5, share, offsets) == pytest.approx(0, abs=0.2)


def test_slices_of_a_subject_are_more_alike(items):
    thickness = np.array([np.diff(item.surfaces, axis=0).mean(axis=1) for item in items]).reshape(10, 8, 5)
    within, between = thickness.std(axis=1).mean(axis=0), thickness.mean(axis=1).std(axis=0)
    assert (between[-1] > within[-1]).all()
    assert between.sum() > within.sum() * 0.6


def test_there_is_speckle(items):
    """Neighbouring pixels of a layer differ by a good part of its brightness."""
    item = items[0]
    rows = np.rint((item.surfaces[3] + item.surfaces[4]) / 2).astype(int)
    layer = item.image[rows, np.arange(96)].astype(float)
    assert 0.15 < np.abs(np.diff(layer)).mean() / layer.mean() < 1
