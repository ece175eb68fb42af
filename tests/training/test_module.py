import pytest
import torch
from torch_geometric.data import Batch, Data

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import collate
from pcsargmax.training.images.data import ImageBatch, SurfaceBatch
from pcsargmax.training.module import RunModule


def clouds():
    backbone = KeypointDetector(2, "light").backbone
    items = [Data(pos=torch.rand(60, 3), keypoint_pos=torch.rand(1, 2, 3)) for _ in range(2)]
    for item in items:
        item.sigma, item.frame_scale = torch.ones(1), torch.ones(1, 1).double()
    return collate([(item, backbone.neighborhoods(item.pos)) for item in items])


BATCHES = {
    "clouds": clouds,
    "images": lambda: ImageBatch(torch.rand(2, 3, 4, 4), torch.rand(2, 1, 2), torch.ones(2, 1), torch.ones(2, 1)),
    "slices": lambda: SurfaceBatch(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4), torch.ones(2, 1, 4)),
}


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Batch):
        return [part for part in value.to_dict().values() if isinstance(part, torch.Tensor)]
    return [part for one in value for part in tensors(one)] if isinstance(value, tuple | list) else []


@pytest.mark.parametrize("kind", BATCHES)
def test_lightning_moves_batches_to_the_device(kind):
    batch = BATCHES[kind]()
    moved = RunModule(TrainSettings(), {}).transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert type(moved) is type(batch)
    assert len(tensors(moved)) == len(tensors(batch)) > 2
    assert all(part.device.type == "meta" for part in tensors(moved))


def test_a_checkpoint_keeps_the_metadata():
    checkpoint = {}
    RunModule(TrainSettings(), {"kind": "x"}).on_save_checkpoint(checkpoint)
    assert checkpoint == {"pcsargmax": {"kind": "x"}}
