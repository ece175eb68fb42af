import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.detector.data import augmentation
from pcsargmax.transforms.augment import PointDropout


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
