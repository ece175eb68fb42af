import math
from types import SimpleNamespace

import pytest
import torch

from pcsargmax.models.retina_net import RetinaMaps, RetinaNet, surface_rows
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import SurfaceBatch
from pcsargmax.training.images.surface_module import SurfaceModule, label_loss, layer_labels

ROWS = torch.tensor([[[1.0, 1.5, 0.0], [2.0, 3.0, 2.0]]])
KNOWN = torch.tensor([[[True, True, False], [True, True, True]]])
BATCH = SurfaceBatch(torch.randn(1, 1, 4, 3, generator=torch.Generator().manual_seed(0)), ROWS, KNOWN)


@pytest.fixture
def make():
    """A module for slices with two surfaces and what it logs; keywords are settings."""

    def build(**changes):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = RetinaNet(2, channels=(4,))
        settings = ImageSettings(data="slices", **({"num_samples": 2} | changes))
        module = SurfaceModule(network, settings, {"version": 1})
        logged = {}
        module.log = lambda name, value, **_: logged.update({name: value})
        module.all_gather = lambda value: value
        module._trainer = SimpleNamespace(
            estimated_stepping_batches=10, global_step=0, global_rank=0, world_size=1, strategy=None
        )
        return module, logged

    return build


def test_the_layer_of_a_pixel_is_the_number_of_surfaces_above_its_centre():
    labels = layer_labels(BATCH, 4)
    assert labels[0, :, 0].tolist() == [0, 1, 2, 2]
    assert labels[0, :, 1].tolist() == [0, 0, 1, 2]


def test_maps_that_know_everything_have_no_loss_and_maps_that_know_nothing_that_of_chance():
    flat = RetinaMaps(torch.zeros(1, 2, 4, 3), torch.zeros(1, 3, 4, 3))
    # 8 pixels count, of the layers 0, 1, 2: 3, 2 and 3
    dice = 1 - sum((2 * n / 3 + 1) / (8 / 3 + n + 1) for n in (3, 2, 3)) / 3
    torch.testing.assert_close(label_loss(flat, BATCH), torch.tensor(math.log(4) + math.log(3) + dice))
    sure = RetinaMaps(torch.zeros(1, 2, 4, 3), torch.zeros(1, 3, 4, 3))
    for s in range(2):
        for w in range(3):
            sure.surfaces[0, s, int(ROWS[0, s, w].round()), w] = 100
    sure.layers.scatter_(1, layer_labels(BATCH, 4).unsqueeze(1), 100.0)
    assert label_loss(sure, BATCH) < 1e-4


def test_unknown_rows_have_no_gradient():
    maps = RetinaMaps(torch.zeros(1, 2, 4, 3, requires_grad=True), torch.zeros(1, 3, 4, 3, requires_grad=True))
    label_loss(maps, BATCH).backward()
    assert maps.surfaces.grad[0, 0, :, 2].abs().max() == 0
    assert maps.surfaces.grad[0, 1, :, 2].abs().max() > 0
    assert maps.layers.grad[0, :, :, 2].abs().max() == 0
    assert maps.layers.grad[0, :, :, :2].abs().max() > 0


def test_the_loss_is_the_objective_on_known_rows_and_the_weighted_labels(make):
    module, logged = make(objective="soft", label_weight=0.5)
    loss = module.training_step(BATCH, 0)
    again, _ = make()
    maps = again(BATCH)
    rows = torch.einsum("bshw,h->bsw", maps.surfaces.softmax(dim=2), torch.arange(4.0))
    location = (rows - ROWS).abs()[KNOWN].mean()
    torch.testing.assert_close(loss, location + 0.5 * label_loss(maps, BATCH))
    torch.testing.assert_close(logged["train/loss"], location)


def test_every_objective_trains_columns(make):
    for objective in ("sampling", "discrete", "soft_vr", "soft_dr"):
        module, _ = make(objective=objective, distance="smooth_l1")
        loss = module.training_step(BATCH, 0)
        loss.backward()
        assert loss.isfinite()
        assert module.network.surfaces.weight.grad.abs().sum() > 0


def test_rows_are_expectations_in_order():
    logits = torch.full((1, 2, 4, 2), -1e9)
    logits[0, 0, 2] = 0
    logits[0, 1, 1, 0] = logits[0, 1, 3, 1] = 0
    assert surface_rows(logits).tolist() == [[[2, 2], [2, 3]]]  # the second lies above the first in column 0


def test_validation_logs_the_mean_absolute_distance(make):
    module, logged = make()
    module.eval()
    module.validation_step(BATCH, 0)
    module.on_validation_epoch_end()
    away = (surface_rows(module(BATCH).surfaces) - ROWS).abs()[KNOWN]
    torch.testing.assert_close(logged["val/error"], away.mean())
    with pytest.raises(ValueError, match="validation needs at least one known row, got none"):
        module.on_validation_epoch_end()
