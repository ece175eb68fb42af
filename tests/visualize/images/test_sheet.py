import numpy as np
import pytest

from pcsargmax.visualize.images.sheet import image_sheet


def test_images_stand_in_rows_above_one_legend(face, tmp_path, picture_of):
    asked = []
    found = [face(number) for number in range(3)]
    place = image_sheet(found, tmp_path / "a.png", 2, size=(100, 120), progress=lambda *at: asked.append(at))
    assert place == tmp_path / "a.png"
    assert asked == [(1, 3), (2, 3), (3, 3)]
    pixels = picture_of(place)
    assert pixels.shape[1] == 510  # the legend wants more than two columns
    dark = (pixels < 250).any(axis=-1)
    assert dark[15:130, 20:110].mean() > 0.6  # white beside the map
    assert dark[190:300, 135:230].mean() < 0.02  # no fourth image


def test_one_scale_or_one_each(face, tmp_path, picture_of):
    import dataclasses

    loud = face()
    quiet = dataclasses.replace(loud, probability=loud.probability / 10)
    seen = []
    for same in (True, False):
        pixels = picture_of(image_sheet([loud, quiet], tmp_path / "a.png", 2, same_scale=same, size=(100, 120)))
        colorful = np.ptp(pixels[15:134], axis=-1) > 60
        seen.append((colorful[:, :115].sum(), colorful[:, 115:230].sum()))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] < 0.8 * seen[1][1]


def test_a_lazy_sequence_is_asked_once_for_each(face, tmp_path):
    class Lazy(list):
        asked = 0

        def __getitem__(self, number):
            self.asked += 1
            return face(number)

    lazy = Lazy([0, 1])
    image_sheet(lazy, tmp_path / "a.png")
    assert lazy.asked == 2


def test_slices_get_a_sheet_too(oct_slice, tmp_path):
    image_sheet([oct_slice(n) for n in range(2)], tmp_path / "a.png", captions=["a", "b"])
    assert (tmp_path / "a.png").is_file()


def test_mistakes_are_named(face, tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="predictions: expected at least one, got none"):
        image_sheet([], path)
    with pytest.raises(ValueError, match="captions: expected 1, one for each prediction, got 2"):
        image_sheet([face()], path, captions=["a", "b"])
    with pytest.raises(ValueError, match="columns: expected 1 or more, got 0"):
        image_sheet([face()], path, 0)
    with pytest.raises(ValueError, match="size: expected a width and a height of 80 pixels or more, got 10x90"):
        image_sheet([face()], path, size=(10, 90))
    assert not path.exists()
