import torch

from pcsargmax.training import loaders
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.loaders import EpochSampler, eval_loader, train_loader


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
        monkeypatch.setattr(loaders, "_processes", lambda rank=rank: (rank, 3))
        sampler = EpochSampler(7, seed=0)
        parts.append([number for _, number in sampler])
        assert len(parts[-1]) == len(sampler) == 3
    assert [parts[place % 3][place // 3] for place in range(9)] == [*whole, *whole[:2]]


def test_loaders_batch_and_leave_the_global_generator_alone(clouds, backbone, full_settings):
    prepared = PreparedClouds(clouds, backbone, augmentation(full_settings(), []))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches = list(train_loader(prepared, 2, seed=0))
    assert [len(batch.clouds.sigma) for batch in batches] == [2, 2, 1]
    plain = list(eval_loader(prepared, 4))
    assert torch.equal(plain[0].clouds.pos, torch.cat([item.pos for item, _ in clouds[:4]]))
    assert torch.equal(before, torch.get_rng_state())
