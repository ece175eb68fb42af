import torch

from pcsargmax.datasets.images import ImageFolder
from pcsargmax.ops.seeds import seeded_weights
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.networks import build_pose
from pcsargmax.settings.images import ImageSettings
from pcsargmax.settings.presets import preset
from pcsargmax.training.images.data import PreparedImages
from pcsargmax.training.images.pose_module import PoseModule


def test_real_faces_are_learnt(shared_data):
    """A few steps of the light preset on eight faces bring the error far below that of the middle of the map."""
    root = str(shared_data / "faces")
    settings = ImageSettings(data=root, **preset("auto", root) | {"objective": "soft"})
    dataset = ImageFolder(root, "trainval")
    assert (len(dataset), len(dataset.keypoint_names), dataset.can_flip) == (654, 68, True)
    prepared = PreparedImages(dataset, MapFrame.of(settings), settings.padding)
    batch = prepared.collate([prepared[i] for i in range(8)])
    assert batch.visible.float().mean() > 0.97
    with seeded_weights(0):
        module = PoseModule(build_pose(settings, 68), settings, {})
    optimizer, losses = torch.optim.Adam(module.parameters(), lr=settings.lr), []
    for _ in range(25):
        loss = module.location_loss(module(batch), batch, 0.0, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
