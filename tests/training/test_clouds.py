from copy import copy

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from pcsargmax.runs.clouds import cloud_copies
from pcsargmax.runs.prepare import prepare
from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.detector.data import augmentation
from pcsargmax.transforms.augment import PointDropout
from pcsargmax.transforms.frames import to_raw


def same(a: Data, b: Data) -> bool:
    return all(torch.equal(a[key], b[key]) for key in ("pos", "keypoint_pos", "keypoint_visible", "sigma"))


def test_items_are_a_function_of_seed_epoch_and_number(clouds, backbone, full_settings):
    augment = augmentation(full_settings(), [item for item, _ in clouds])
    first, second, other = (PreparedClouds(clouds, backbone, augment, seed) for seed in (1, 1, 2))
    later = first[3, 2][0]
    for number in (4, 0, 2):  # whatever was taken before
        first[3, number]
    assert same(later, first[3, 2][0])
    assert same(later, second[3, 2][0])
    assert not same(later, first[4, 2][0])
    assert not same(later, other[3, 2][0])
    assert first[3, 1][0].pos.shape != later.pos.shape


def test_a_plain_index_is_the_item_as_it_is(clouds, backbone, full_settings):
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    assert len(prepared) == 5
    for kept, given in zip(prepared[2], clouds[2], strict=True):
        assert kept is given
    assert PreparedClouds(clouds, backbone)[7, 2] == clouds[2]


def test_neighbourhoods_are_kept_unless_points_went(clouds, backbone, full_settings):
    still = augmentation(full_settings(drop_points=0.0), [])
    item, neighborhoods = PreparedClouds(clouds, backbone, still)[0, 1]
    assert neighborhoods is clouds[1][1]
    assert not torch.equal(item.pos, clouds[1][0].pos)
    fewer, found = PreparedClouds(clouds, backbone, Compose([PointDropout(0.5)]))[0, 1]
    assert fewer.num_nodes == 31
    assert all(
        torch.equal(a, b) for a, b in zip(found.groups[0], backbone.neighborhoods(fewer.pos).groups[0], strict=True)
    )


@pytest.fixture
def dense_clouds(cloud, backbone) -> list:
    """Three clouds of 60 to 62 points with 100 to 102 dense ones, prepared for training."""

    def one(seed: int):
        item = cloud(60 + seed, seed)
        item.dense_pos = cloud(100 + seed, seed + 50).pos
        return prepare(item, backbone)

    return [one(seed) for seed in range(3)]


def test_every_epoch_takes_other_dense_points(dense_clouds, backbone):
    first, second, other = (PreparedClouds(dense_clouds, backbone, Compose([]), seed, 40) for seed in (1, 1, 2))
    item, _ = first[3, 1]
    whole = dense_clouds[1][0]
    assert item.dense_pos.shape == (40, 3)
    rows = (item.dense_pos[:, None] == whole.dense_pos).all(dim=-1).nonzero()[:, 1]
    assert len(rows.unique()) == 40
    assert torch.equal(item.dense_site, whole.dense_site[rows])
    for number in (2, 0):  # whatever was taken before
        first[3, number]
    for again in (first[3, 1][0], second[3, 1][0]):
        assert torch.equal(again.dense_pos, item.dense_pos)
    for changed in (first[4, 1][0], other[3, 1][0]):
        assert not torch.equal(changed.dense_pos, item.dense_pos)
    assert len(whole.dense_pos) == 101


def test_every_epoch_takes_the_next_sample(cloud, backbone):
    raw = [cloud(60 + seed, seed) for seed in range(2)]
    for number, item in enumerate(raw):
        item.dense_pos = cloud(200, number + 50).pos
    prepared = [prepare(item, backbone) for item in raw]
    clouds, told = PreparedClouds(prepared, backbone, Compose([]), dense_points=40), []
    clouds.add_samples(raw, 2, lambda *progress: told.append(progress))
    assert told == [("sampling training clouds again", 1, 2), ("sampling training clouds again", 2, 2)]
    first, second, third, again = (clouds[epoch, 1][0] for epoch in range(4))
    assert torch.equal(first.pos, prepared[1][0].pos)
    assert torch.equal(again.pos, first.pos)
    for item, copy_of in zip((second, third), cloud_copies(raw[1], 2), strict=True):
        direct, _ = prepare(copy_of, backbone)
        assert torch.equal(item.pos, direct.pos)
        assert torch.equal(item.keypoint_pos, direct.keypoint_pos)
        assert item.dense_pos.shape == (40, 3)
        assert torch.equal(item.dense_site, torch.cdist(item.dense_pos, item.pos).argmin(dim=1))
        assert not torch.equal(item.pos, first.pos)
        back = [to_raw(each.keypoint_pos, each.frame_center, each.frame_scale)[:, [0, 2]] for each in (item, first)]
        torch.testing.assert_close(*back, rtol=0, atol=1e-3)
    assert torch.equal(clouds[1, 1][1].groups[0][0], prepare(next(cloud_copies(raw[1], 1)), backbone)[1].groups[0][0])
    assert torch.equal(clouds[1][0].pos, first.pos)  # as it is, without an epoch


def test_without_augmentation_the_first_dense_points_are_taken(dense_clouds, backbone):
    whole = dense_clouds[1][0]
    clouds = PreparedClouds(dense_clouds, backbone, dense_points=40)
    for item, _ in (clouds[1], clouds[7, 1]):
        assert torch.equal(item.dense_pos, whole.dense_pos[:40])
        assert torch.equal(item.dense_site, whole.dense_site[:40])
    all_of_them = PreparedClouds(dense_clouds, backbone, Compose([]), dense_points=200)[0, 1][0]
    assert torch.equal(all_of_them.dense_pos, whole.dense_pos)


def test_the_nearest_point_is_right_where_points_went(dense_clouds, backbone):
    clouds = PreparedClouds(dense_clouds, backbone, Compose([PointDropout(0.5)]), dense_points=40)
    item, _ = clouds[2, 1]
    assert (item.num_nodes, len(item.dense_pos)) == (31, 40)
    assert torch.equal(item.dense_site, torch.cdist(item.dense_pos, item.pos).argmin(dim=1))
    assert dense_clouds[1][0].dense_site.max() > 31


def test_dense_points_follow_the_whole_augmentation(dense_clouds, backbone, full_settings):
    items = [(copy(item), neighborhoods) for item, neighborhoods in dense_clouds]
    for item, _ in items:
        item.dense_pos, item.dense_site = item.pos.clone(), torch.arange(item.num_nodes)
    settings = full_settings(warp=0.05, jitter=0.0, drop_points=0.0)
    clouds = PreparedClouds(items, backbone, augmentation(settings, []), dense_points=99)
    for number in range(3):
        item, _ = clouds[1, number]
        torch.testing.assert_close(item.dense_pos, item.pos, atol=1e-6, rtol=0)
        assert not torch.allclose(item.pos, items[number][0].pos, atol=1e-3)


def test_collate_pads_dense_points(dense_clouds, clouds):
    dense = collate(dense_clouds).dense
    assert dense.pos.shape == (3, 102, 3)
    assert dense.mask.sum(dim=1).tolist() == [100, 101, 102]
    for row, (item, _) in enumerate(dense_clouds):
        assert torch.equal(dense.pos[row, dense.mask[row]], item.dense_pos)
        assert torch.equal(dense.nearest_site[row, dense.mask[row]], item.dense_site)
    assert collate(dense_clouds[:1]).dense.mask is None
    assert collate([*dense_clouds, clouds[0]]).dense is None


def test_augmentation_leaves_the_items_as_they_are(clouds, backbone, full_settings):
    before = [item.clone() for item, _ in clouds]
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    for number in range(5):
        prepared[0, number]
    assert all(same(a, b) for a, (b, _) in zip(before, clouds, strict=True))


def test_collate_joins_clouds_and_neighbourhoods(clouds):
    batch = collate(clouds[:3])
    assert torch.equal(batch.clouds.batch.bincount(), torch.tensor([60, 61, 62]))
    assert batch.clouds.keypoint_pos.shape == (3, 3, 3)
    assert batch.clouds.sigma.shape == (3,)
    assert batch.clouds.frame_scale.shape == (3, 1)
    torch.testing.assert_close(batch.clouds.frame_scale[1], clouds[1][0].frame_scale[0].float())
    tensors = [value for value in batch.clouds.to_dict().values() if isinstance(value, torch.Tensor)]
    assert all(value.dtype != torch.float64 for value in tensors)  # not every device has it
    assert torch.equal(batch.neighborhoods.counts[0], torch.tensor([60, 61, 62]))
    assert "color" not in batch.clouds
    assert batch.dense is None
