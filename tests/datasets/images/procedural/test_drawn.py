import numpy as np
import pytest

from pcsargmax.datasets.images.item import ImageItem, SurfaceItem, flip_order
from pcsargmax.datasets.images.procedural import ProceduralFaces, ProceduralFigures, ProceduralSlices

SETS = (ProceduralFigures, ProceduralFaces, ProceduralSlices)
KEYPOINT_SETS = (ProceduralFigures, ProceduralFaces)


def places(item):
    return item.surfaces if isinstance(item, SurfaceItem) else item.keypoints


@pytest.mark.parametrize("data", SETS)
class TestEach:
    def test_repeats_to_the_bit_whatever_was_drawn_before(self, data):
        one, other = data("test", num_items=5, seed=3), data("test", num_items=9, seed=3)
        other[2]
        for index in (4, 1):
            np.testing.assert_array_equal(one[index].image, other[index].image)
            np.testing.assert_array_equal(places(one[index]), places(other[index]))
            assert one[index].name == other[index].name

    def test_seeds_splits_and_numbers_differ(self, data):
        items = [data("train")[0], data("train")[1], data("test")[0], data("val")[0], data("train", seed=1)[0]]
        for number, item in enumerate(items):
            for other in items[:number]:
                assert (item.image != other.image).mean() > 0.5
                assert not np.array_equal(places(item), places(other))

    def test_protocol(self, data):
        images = data("val", num_items=3)
        items = list(images)
        assert len(items) == len(images) == 3
        assert tuple(item.name for item in items) == images.names
        assert len(set(images.names) | set(data("test", num_items=3).names)) == 6
        assert images[-1].name == images.names[2]
        with pytest.raises(IndexError, match="item 3 of 3"):
            images[3]

    def test_sizes(self, data):
        item = data("train", size=(64, 128))[0]
        assert item.image.shape[:2] == (64, 128)
        assert data("train", size=64)[0].image.shape[:2] == (64, 64)
        assert item.image.dtype == np.uint8
        assert item.image.std() > 20

    def test_wrong_arguments(self, data):
        with pytest.raises(ValueError, match='split must be "train", "val" or "test", got \'dev\''):
            data("dev")
        with pytest.raises(ValueError, match="num_items must be at least 1, got 0"):
            data("train", num_items=0)
        with pytest.raises(ValueError, match="size must be at least 32, got 16"):
            data("train", size=16)
        with pytest.raises(ValueError, match="seed must not be negative, got -1"):
            data("train", seed=-1)


@pytest.mark.parametrize("data", KEYPOINT_SETS)
class TestKeypoints:
    def test_items(self, data):
        images = data("train", num_items=30)
        names = images.keypoint_names
        assert len(set(names)) == len(names)
        for item in images:
            assert isinstance(item, ImageItem)
            assert item.image.shape == (96, 96, 3)
            assert item.keypoints.shape == (len(names), 2)
            assert item.visible.all()
            assert (item.keypoints > 0).all()
            assert (item.keypoints < 95).all()
            assert (item.box[:2] <= item.keypoints.min(0)).all()
            assert (item.box[:2] + item.box[2:] >= item.keypoints.max(0)).all()

    def test_flip_pairs_name_right_and_left(self, data):
        images = data("train")
        order = flip_order(len(images.keypoint_names), images.flip_pairs)
        swap = {"right": "left", "left": "right"}
        for number, name in enumerate(images.keypoint_names):
            side, _, rest = name.partition("_")
            other = images.keypoint_names[order[number]]
            if side in swap:
                assert other.startswith(swap[side])
                if data is ProceduralFigures:
                    assert other == f"{swap[side]}_{rest}"

    def test_a_mirrored_set_looks_like_the_set(self, data):
        """Mirroring and exchanging the pairs must give places that are as likely."""
        images = data("train", num_items=120)
        places = np.array([item.keypoints for item in images])
        order = flip_order(places.shape[1], images.flip_pairs)
        mirrored = (places * (-1, 1) + (95, 0))[:, order]
        gap = np.linalg.norm(places.mean(0) - mirrored.mean(0), axis=1)
        assert gap.max() < 6
        assert np.linalg.norm(places.mean(0) - mirrored.mean(0)[order], axis=1).max() > 8  # were they not exchanged

    def test_the_mean_is_not_enough(self, data):
        """There must be something to learn: the mean places in the box are far off."""
        images = data("train", num_items=60)
        items = list(images)
        unit = np.array([(item.keypoints - item.box[:2]) / item.box[2:] for item in items])
        error = np.linalg.norm((unit - unit.mean(0)) * [item.box[None, 2:] for item in items], axis=2)
        assert error.mean() > 5
