import pytest
import torch

from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.detector.data import augmentation
from pcsargmax.transforms.augment import (
    PointDropout,
    RandomJitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    RandomWarp,
)


def test_the_settings_choose_the_transforms(full_settings):
    steps = augmentation(full_settings(rotate_axis="z"), []).transforms
    assert [type(step) for step in steps] == [RandomRotation, RandomScale, RandomScale, RandomJitter, PointDropout]
    assert (steps[0].degrees, steps[0].axis) == (20, "z")
    assert (steps[1].low, steps[1].high, steps[1].per_axis) == (0.8, 1.2, False)
    assert (steps[2].low, steps[2].high, steps[2].per_axis) == (0.9, 1.1, True)
    assert (steps[3].sigma, steps[3].clip) == (0.01, 0.03)
    assert steps[4].share == 0.3
    warped = augmentation(full_settings(warp=0.02), []).transforms
    assert [type(step) for step in warped[3:]] == [RandomWarp, RandomJitter, PointDropout]
    assert warped[3].amplitude == 0.02
    none = full_settings(rotate=0.0, scale=0.0, stretch=0.0, jitter=0.0, drop_points=0.0)
    assert augmentation(none, []).transforms == []


def test_mirror_pairs_come_from_the_data(box_settings, backbone):
    settings = box_settings(mirror="x", rotate=0.0, scale=0.0, stretch=0.0, jitter=0.0)
    prepared = [prepare(item, backbone) for item in open_dataset(settings, "train")]
    augment = augmentation(settings, [item for item, _ in prepared])
    (mirror,) = augment.transforms
    assert isinstance(mirror, RandomMirror)
    assert mirror.pairs.tolist() == [1, 0, 4, 3, 2]
    clouds = PreparedClouds(prepared, backbone, augment)
    images = [clouds[epoch, 1][0] for epoch in range(20)]
    item = prepared[1][0]
    turned = [image for image in images if not torch.equal(image.pos, item.pos)]
    assert 4 < len(turned) < 16
    for image in turned:
        assert torch.equal(image.pos, item.pos * torch.tensor([-1, 1, 1]))
        visible = image.keypoint_visible[0]
        assert torch.equal(image.keypoint_pos[0, visible], image.pos[image.keypoint_site[0, visible]])
        assert torch.equal(image.keypoint_pos[0, 0], item.keypoint_pos[0, 1] * torch.tensor([-1, 1, 1]))


def test_a_category_that_is_not_symmetric_is_an_error(box_settings, backbone):
    items = [prepare(item, backbone)[0] for item in open_dataset(box_settings(), "train")]
    with pytest.raises(ValueError, match="axis 'y': the mean keypoints are not symmetric across it"):
        augmentation(box_settings(mirror="y"), items)
