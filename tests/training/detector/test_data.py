import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from pcsargmax.datasets import KeypointNet, LandmarkFolder
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.ops.neighbors import farthest_point_order, mean_neighbor_distance
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.detector import data
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.loaders import EpochSampler, eval_loader, train_loader
from pcsargmax.transforms.augment import PointDropout, RandomJitter, RandomMirror, RandomRotation, RandomScale
from pcsargmax.transforms.frames import to_raw


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng(devices=[]):
        return KeypointDetector(3, "light").backbone


def cloud(n: int = 60, seed: int = 0) -> Data:
    """A cloud in no particular order; keypoint 1 is absent, the others are points 3 and 7."""
    pos = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 50 + 1000
    return Data(
        pos=pos,
        color=torch.arange(3 * n).reshape(n, 3).to(torch.uint8),
        keypoint_pos=torch.stack([pos[3], torch.zeros(3), pos[7]])[None],
        keypoint_visible=torch.tensor([[True, False, True]]),
        keypoint_site=torch.tensor([[3, -1, 7]]),
    )


@pytest.fixture
def clouds(backbone) -> list:
    return [prepare(cloud(60 + seed, seed), backbone) for seed in range(5)]


def same(a: Data, b: Data) -> bool:
    return all(torch.equal(a[key], b[key]) for key in ("pos", "keypoint_pos", "keypoint_visible", "sigma"))


def test_a_category_or_a_folder_is_opened_by_what_data_names(box_settings, landmark_root):
    category = open_dataset(box_settings(ids=(4, 0)), "train")
    assert isinstance(category, KeypointNet)
    assert (len(category), category.keypoint_names) == (7, ("4", "0"))
    folder = open_dataset(TrainSettings(data=str(landmark_root), num_points=90), "test")
    assert isinstance(folder, LandmarkFolder)
    assert len(folder) == 2
    assert folder[0].pos.shape == (90, 3)
    assert folder.keypoint_names == ("back", "left", "right")


def test_semantic_ids_of_a_landmark_folder_are_an_error(landmark_root):
    with pytest.raises(ValueError, match="ids are for KeypointNet's semantic ids"):
        open_dataset(TrainSettings(data=str(landmark_root), ids=(0, 1, 2)), "train")


def test_progress_is_reported_while_files_are_read(box_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path))
    seen = []
    open_dataset(box_settings(), "train", lambda done, total: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]


def test_preparing_normalises_orders_and_remaps_sites(backbone):
    raw = cloud()
    item, neighborhoods = prepare(raw, backbone)
    assert item.farthest_order
    assert torch.equal(farthest_point_order(item.pos), torch.arange(60))
    back = to_raw(item.pos, item.frame_center, item.frame_scale)
    for channel, point in ((0, 3), (2, 7)):
        site = item.keypoint_site[0, channel]
        torch.testing.assert_close(back[site], raw.pos[point], rtol=0, atol=1e-3)
        assert torch.equal(item.color[site], raw.color[point])
    assert item.keypoint_site[0, 1] == -1
    torch.testing.assert_close(item.sigma, mean_neighbor_distance(item.pos))
    assert [int(count) for count in neighborhoods.counts] == [60, 60, 60, 32]
    assert raw.keypoint_site.tolist() == [[3, -1, 7]]
    assert "farthest_order" not in raw


def test_preparing_keeps_the_order_of_an_ordered_cloud(backbone):
    raw = cloud()
    raw.farthest_order = True
    item, _ = prepare(raw, backbone)
    torch.testing.assert_close(to_raw(item.pos, item.frame_center, item.frame_scale), raw.pos, rtol=0, atol=1e-3)
    assert torch.equal(item.keypoint_site, raw.keypoint_site)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_cloud_of_few_points_is_prepared(backbone, n):
    item, neighborhoods = prepare(Data(pos=torch.rand(n, 3)), backbone)
    assert item.sigma.isfinite().all()
    assert [int(count) for count in neighborhoods.counts] == [n] * 4


def full_settings(**changes) -> TrainSettings:
    values = {"rotate": 20.0, "scale": 0.2, "stretch": 0.1, "jitter": 0.01, "drop_points": 0.3}
    return TrainSettings(**(values | changes))


def test_items_are_a_function_of_seed_epoch_and_number(clouds, backbone):
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


def test_a_plain_index_is_the_item_as_it_is(clouds, backbone):
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    assert len(prepared) == 5
    assert prepared[2] is clouds[2]
    assert PreparedClouds(clouds, backbone)[7, 2] == clouds[2]


def test_neighbourhoods_are_kept_unless_points_went(clouds, backbone):
    still = augmentation(full_settings(drop_points=0.0), [])
    item, neighborhoods = PreparedClouds(clouds, backbone, still)[0, 1]
    assert neighborhoods is clouds[1][1]
    assert not torch.equal(item.pos, clouds[1][0].pos)
    fewer, found = PreparedClouds(clouds, backbone, Compose([PointDropout(0.5)]))[0, 1]
    assert fewer.num_nodes == 31
    assert all(
        torch.equal(a, b) for a, b in zip(found.groups[0], backbone.neighborhoods(fewer.pos).groups[0], strict=True)
    )


def test_augmentation_leaves_the_items_as_they_are(clouds, backbone):
    before = [item.clone() for item, _ in clouds]
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    for number in range(5):
        prepared[0, number]
    assert all(same(a, b) for a, (b, _) in zip(before, clouds, strict=True))


def test_the_settings_choose_the_transforms():
    steps = augmentation(full_settings(rotate_axis="z"), []).transforms
    assert [type(step) for step in steps] == [RandomRotation, RandomScale, RandomScale, RandomJitter, PointDropout]
    assert (steps[0].degrees, steps[0].axis) == (20, "z")
    assert (steps[1].low, steps[1].high, steps[1].per_axis) == (0.8, 1.2, False)
    assert (steps[2].low, steps[2].high, steps[2].per_axis) == (0.9, 1.1, True)
    assert (steps[3].sigma, steps[3].clip) == (0.01, 0.03)
    assert steps[4].share == 0.3
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


def test_the_sampler_takes_each_once_in_an_order_of_its_epoch():
    sampler = EpochSampler(20, seed=3)
    assert len(sampler) == 20
    first = list(sampler)
    assert first == list(EpochSampler(20, seed=3))
    assert sorted(first) == [(0, number) for number in range(20)]
    sampler.set_epoch(5)
    later = list(sampler)
    assert {epoch for epoch, _ in later} == {5}
    orders = [[number for _, number in them] for them in (first, later, list(EpochSampler(20, seed=4)))]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_processes_share_the_items_out(monkeypatch):
    whole = [number for _, number in EpochSampler(7, seed=0)]
    parts = []
    for rank in range(3):
        monkeypatch.setattr(data, "_processes", lambda rank=rank: (rank, 3))
        sampler = EpochSampler(7, seed=0)
        parts.append([number for _, number in sampler])
        assert len(parts[-1]) == len(sampler) == 3
    assert [parts[place % 3][place // 3] for place in range(9)] == [*whole, *whole[:2]]


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


def test_loaders_batch_and_leave_the_global_generator_alone(clouds, backbone):
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches = list(train_loader(prepared, 2, seed=0))
    assert [len(batch.clouds.sigma) for batch in batches] == [2, 2, 1]
    plain = list(eval_loader(prepared, 4))
    assert torch.equal(plain[0].clouds.pos, torch.cat([item.pos for item, _ in clouds[:4]]))
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_are_spread():
    seeds = [mix_seed(seed, epoch, number) for seed in range(3) for epoch in range(30) for number in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(0) != mix_seed(0, 0)
    assert mix_seed(1, 2) != mix_seed(2, 1)
    # every bit is a fair coin, and neighbours differ in half of their bits
    bits = torch.tensor([[seed >> bit & 1 for bit in range(63)] for seed in seeds[:3000]]).double()
    assert (bits.mean(dim=0) - 0.5).abs().max() < 0.05
    assert abs((bits[1:] != bits[:-1]).double().mean() - 0.5) < 0.01
