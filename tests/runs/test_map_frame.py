import numpy as np
import pytest

from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop

#: Twice the size: pixel (10, 20) of the image is the input's (0.5, 0.5).
TWICE = Crop(np.array([[2.0, 0, -19.5], [0, 2, -39.5]]), (64, 96))


def test_cells_are_every_fourth_pixel_without_a_shift():
    frame = MapFrame((64, 96))
    same = Crop.around([0, 0, 96, 64], (64, 96), padding=1.0)
    found = frame.to_cells(same, np.array([[0.0, 0], [4, 8], [95, 63]]))
    np.testing.assert_allclose(found, [[0, 0], [1, 2], [23.75, 15.75]])


def test_a_crop_and_back():
    frame, points = MapFrame((64, 96)), np.array([[10.0, 20.0], [30.5, 25.25], [np.nan, np.nan]])
    cells = frame.to_cells(TWICE, points)
    np.testing.assert_allclose(cells[0], [0.125, 0.125])
    np.testing.assert_allclose(frame.to_image(TWICE, cells), points)


def test_depth_is_counted_from_the_middle_of_its_range():
    frame = MapFrame((64, 96), depth_bins=16, depth_range=1600.0)
    points = np.array([[10, 20, 0.0], [10, 20, -800.0], [10, 20, 150.0]])
    cells = frame.to_cells(TWICE, points)
    np.testing.assert_allclose(cells[:, 2], [8, 0, 9.5])
    np.testing.assert_allclose(frame.to_image(TWICE, cells), points)
    assert np.isnan(frame.to_cells(TWICE, points[:, :2])[:, 2]).all()
    assert MapFrame((64, 96)).to_cells(TWICE, points).shape == (3, 2)


def test_covariances_grow_with_the_cells():
    frame = MapFrame((64, 96), depth_bins=16, depth_range=1600.0)
    found = frame.covariance_to_image(TWICE, np.array([[[1.0, 0.5, 0.25], [0.5, 2, 0], [0.25, 0, 3]]]))
    # a cell is 4 pixels of the input, 2 of the image, and 100 mm
    np.testing.assert_allclose(found, [[[4, 2, 50], [2, 8, 0], [50, 0, 30000]]])


def test_what_lies_on_the_input():
    frame = MapFrame((64, 96))
    same = Crop.around([0, 0, 96, 64], (64, 96), padding=1.0)
    points = np.array([[-0.5, 0], [-0.6, 0], [95.5, 63.5], [95.6, 0], [0, 63.6], [np.nan, 0]])
    assert frame.inside(same, points).tolist() == [True, False, True, False, False, False]


@pytest.mark.parametrize("bins", [0, 8])
def test_the_frame_of_a_run(bins):
    settings = ImageSettings(data="figures3d", size=(32, 64), depth_bins=bins, depth_range=100.0)
    assert MapFrame.of(settings) == MapFrame((32, 64), 4, bins, 100.0)
    assert MapFrame.of(settings).dimension == (3 if bins else 2)
