from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pcsargmax.datasets.images import ImageItem, SurfaceItem
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.prepare_images import CHANNEL_MEAN, slice_tensor, to_tensor
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import (
    ImageBatch,
    KeptItems,
    PreparedImages,
    PreparedSlices,
    cut_out,
    image_augmentation,
)
from pcsargmax.transforms.crop import Crop

FRAME = MapFrame((32, 32))


def item(keypoints, visible=None, name="a") -> ImageItem:
    image = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8)
    return ImageItem(name, image, np.array(keypoints, dtype=float), None if visible is None else np.array(visible))


class Items(list):
    keypoint_names, flip_pairs, dimension, names = ("left", "right", "top"), ((0, 1),), 2, ("a",)


def test_images_are_centred():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2] = (255, 51, 0)
    found = to_tensor(image)
    assert found.shape == (3, 2, 3)
    torch.testing.assert_close(found[:, 1, 2], torch.tensor([1.0, 0.2, 0.0]) - torch.tensor(CHANNEL_MEAN))


def test_targets_are_cells_and_what_is_unknown_or_outside_does_not_count():
    plain = Crop.around([0, 0, 32, 32], (32, 32), padding=1.0)
    found = cut_out(item([[4, 8], [np.nan, np.nan], [16, 30]]), plain, FRAME)
    assert found.target.tolist() == [[[1, 2], [0, 0], [4, 7.5]]]
    assert found.visible.tolist() == [[True, False, True]]
    assert not found.has_depth.any()
    assert torch.equal(found.images[0], to_tensor(item([[0, 0]]).image))
    half = Crop.around([0, 0, 16, 16], (32, 32), padding=1.0)  # the upper left quarter, twice as large
    found = cut_out(item([[4, 8], [np.nan, np.nan], [16, 30]]), half, FRAME)
    assert found.visible.tolist() == [[True, False, False]]
    torch.testing.assert_close(found.target[0, 0], torch.tensor([8.5, 16.5]) / 4)


def test_a_mirrored_crop_swaps_the_pairs():
    mirrored = Crop.around([0, 0, 32, 32], (32, 32), padding=1.0, flip=True)
    found = cut_out(item([[4, 8], [20, 8], [16, 30]]), mirrored, FRAME, np.array([1, 0, 2]))
    torch.testing.assert_close(found.target[0] * 4, torch.tensor([[11.0, 8], [27, 8], [15, 30]]))


def test_a_missing_depth_is_told_and_leaves_x_and_y():
    frame = MapFrame((32, 32), depth_bins=8, depth_range=800.0)
    plain = Crop.around([0, 0, 32, 32], (32, 32), padding=1.0)
    found = cut_out(item([[4, 8, 100], [8, 8, np.nan], [np.nan, np.nan, 50]]), plain, frame)
    assert found.visible.tolist() == [[True, True, False]]
    assert found.has_depth.tolist() == [[True, False, False]]
    assert found.target.tolist() == [[[1, 2, 5], [2, 2, 0], [0, 0, 0]]]
    flat = cut_out(item([[4, 8], [8, 8], [1, 1]]), plain, frame)
    assert not flat.has_depth.any()
    assert flat.visible.all()


def test_an_augmented_item_is_a_function_of_seed_epoch_and_number():
    data = Items([item([[4, 8], [20, 8], [16, 20]]), item([[4, 8], [20, 8], [16, 20]], name="b")])
    augment = image_augmentation(ImageSettings(padding=1.0), data)
    one, again = (PreparedImages(data, FRAME, 1.0, augment, seed=3) for _ in range(2))
    other = PreparedImages(data, FRAME, 1.0, augment, seed=4)
    again[(1, 0)]
    assert all(torch.equal(a, b) for a, b in zip(one[(0, 0)], again[(0, 0)], strict=True))
    for changed in (one[(1, 0)], one[(0, 1)], other[(0, 0)]):
        assert not torch.equal(one[(0, 0)].images, changed.images)
    plain = PreparedImages(data, FRAME, 1.0)
    assert torch.equal(one[0].target, plain[(5, 0)].target)
    assert torch.equal(one[0].images, plain[0].images)


def test_batches_are_joined():
    data = Items([item([[4, 8], [20, 8], [16, 20]]), item([[4, 8], [np.nan, np.nan], [16, 20]])])
    prepared = PreparedImages(data, FRAME, 1.0)
    batch = prepared.collate([prepared[0], prepared[1]])
    assert isinstance(batch, ImageBatch)
    assert batch.images.shape == (2, 3, 32, 32)
    assert batch.visible.tolist() == [[True, True, True], [True, False, True]]
    assert isinstance(batch.to("cpu"), ImageBatch)


def test_nothing_is_mirrored_where_the_pairs_are_not_known():
    unknown = SimpleNamespace(can_flip=False)
    settings = ImageSettings(flip=0.5, scale=0.2, rotate=5.0, rotate_law="normal", shift=0.1)
    assert image_augmentation(settings, unknown).flip == 0
    found = image_augmentation(settings, Items())
    assert (found.flip, found.scale, found.rotation, found.rotation_law, found.shift) == (0.5, 0.2, 5, "normal", 0.1)


def test_items_are_kept_while_there_is_room():
    class Counted(list):
        taken = 0

        def __getitem__(self, number):
            Counted.taken += 1
            return super().__getitem__(number)

    data = Counted([item([[1, 1]]) for _ in range(3)])
    kept = KeptItems(data, most=2 * 32 * 32 * 3 + 10)
    for _ in range(3):
        assert [kept[i] is list.__getitem__(data, i) for i in range(3)] == [True] * 3
    assert Counted.taken == 5  # the first two once, the third each time


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"data": "no/such"}, {}, "no/such: no such folder, and not the name of a data set of images"),
        ({"data": "faces"}, {"boxes": "b.json"}, "boxes: expected none for faces, a detector's boxes are for coco"),
    ],
)
def test_data_that_are_not_there(changes, options, message):
    with pytest.raises(ValueError, match=message):
        open_images(ImageSettings(**changes), "train", **options)


def test_every_name_is_opened(dot_root, few_slices):
    assert open_images(ImageSettings(data=str(dot_root)), "train").keypoint_names == ("left_eye", "right_eye", "nose")
    names = ("figures", "figures3d", "faces")
    drawn = {name: open_images(ImageSettings(data=name, size=(64, 32)), "test") for name in names}
    assert [data.dimension for data in drawn.values()] == [2, 3, 2]
    assert drawn["faces"][0].image.shape == (64, 32, 3)
    assert open_images(ImageSettings(data="slices", size=(64, 32)), "val")[0].image.shape == (64, 32)
    for name in ("coco", "h36m", "mtfl", "retina"):
        with pytest.raises(FileNotFoundError, match=str(dot_root)):
            open_images(ImageSettings(data=name, root=str(dot_root)), "train")


def test_slices_have_mean_0_and_deviation_1_and_may_be_mirrored():
    rows = np.array([[0.0, 1, np.nan], [2, 2, 2]])
    image = np.arange(12, dtype=np.uint8).reshape(4, 3)
    data = [SurfaceItem("s", image, rows)]
    found = slice_tensor(image)
    assert found.shape == (1, 4, 3)
    torch.testing.assert_close(torch.stack([found.mean(), found.std()]), torch.tensor([0.0, 1.0]))
    assert torch.equal(slice_tensor(np.repeat(image[..., None], 3, axis=2)), found)
    assert slice_tensor(np.full((4, 3), 7, dtype=np.uint8)).abs().max() == 0
    always = PreparedSlices(data, flip=1.0)
    batch = always.collate([always[0], always[(0, 0)]])
    assert torch.equal(batch.images[1], batch.images[0].flip(-1))
    assert batch.rows.tolist() == [[[0, 1, 0], [2, 2, 2]], [[0, 1, 0], [2, 2, 2]]]
    assert batch.known.tolist() == [[[True, True, False], [True] * 3], [[False, True, True], [True] * 3]]
    wide = PreparedSlices([SurfaceItem("w", np.zeros((4, 5), dtype=np.uint8), np.zeros((2, 5)))])
    with pytest.raises(ValueError, match=r"slices: expected one size in a batch, got \[\(4, 3\), \(4, 5\)\]"):
        always.collate([always[0], wide[0]])


def test_an_epoch_is_each_item_once_or_what_the_data_draw():
    from pcsargmax.training.loaders import train_loader

    data = Items([item([[1, 1], [9, 9], [5, 5]], name=str(number)) for number in range(3)])
    batches = list(train_loader(PreparedImages(data, FRAME, 1.0), 2, seed=0))
    assert [len(batch.images) for batch in batches] == [2, 1]

    class Drawn(Items):
        def epoch(self, generator):
            return torch.tensor([2, 2, 0, 2])

    loader = train_loader(PreparedImages(Drawn(data), FRAME, 1.0), 4, seed=0)
    assert [number for _, number in loader.sampler] == [2, 2, 0, 2]
    assert len(loader) == 1
