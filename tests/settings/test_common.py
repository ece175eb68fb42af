import json

import pytest

from pcsargmax.settings.common import CloudSettings, RunSettings
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.settings.images import ImageSettings
from pcsargmax.settings.texts import as_texts

#: settings.json as version 0.1 wrote them: every tuple is the text of the command line.
OLD_DETECTOR = """{
    "data": "mug", "root": "datasets/keypointnet", "train_split": "train", "val_split": "val",
    "mesh_frame": "LPS", "shares": "2,0,1", "split_seed": 0, "ids": "0-9", "num_points": 2048, "unit": "auto",
    "backbone": "light", "objective": "sampling", "num_samples": 10, "sigma": "0.01",
    "relaxation": "gumbel_softmax", "temperature_schedule": "linear", "temperature_start": 2.0,
    "temperature_end": 0.5, "temperature_share": 0.5, "distance": "l1", "smooth_l1_beta": 0.01,
    "expectation_weight": 0.0, "regularizer_weight": 1.0, "target_variance": 1.0, "symmetry": "none",
    "presence_weight": 0.1, "epochs": 3, "batch_size": 8, "lr": 0.006, "lr_schedule": "onecycle",
    "lr_period": 10, "weight_decay": 0.0, "ema": 0.99, "patience": 0, "seed": 0, "rotate": 10.0,
    "rotate_axis": "any", "scale": 0.1, "stretch": 0.1, "jitter": 0.003, "mirror": "x", "drop_points": 0.0,
    "device": "auto", "devices": 1, "nodes": 1, "precision": "32-true", "tensorboard": false
}"""

OLD_DISCOVERY = """{
    "data": "mug", "root": "datasets/keypointnet", "train_split": "all", "val_split": "none",
    "mesh_frame": "LPS", "shares": "0.7,0.1,0.2", "split_seed": 0, "num_points": 2048, "axes": "-zyx",
    "frame": "auto", "keypoints": 6, "backbone": "light", "dropout": 0.0, "objective": "sampling",
    "num_samples": 1, "sigma": "auto", "relaxation": "gumbel_softmax", "temperature_schedule": "constant",
    "temperature_start": 0.5, "temperature_end": 0.5, "temperature_share": 0.5, "regularizer_weight": 1.0,
    "target_variance": 1.0, "edge_spacing": 0.03, "separation": 1.0, "separation_weight": 1.0, "epochs": 2,
    "batch_size": 8, "optimizer": "adam", "lr": 0.004, "lr_schedule": "onecycle", "ema": 0.98, "patience": 0,
    "seed": 0, "rotate": 0.0, "rotate_axis": "y", "jitter": 0.0, "device": "auto", "devices": 1, "nodes": 1,
    "precision": "32-true", "tensorboard": false
}"""

OLD_IMAGES = """{
    "data": "slices", "root": "", "train_split": "train", "val_split": "val", "shares": "0.7,0.1,0.2",
    "split_seed": 0, "boxes": "", "mpii": "", "trunk": "tiny", "weights": "", "size": "96x96",
    "deconv_channels": 64, "depth_bins": 0, "depth_range": 2000.0, "channels": "8,16,32",
    "objective": "sampling", "basis": "gaussian", "num_samples": 5, "relaxation": "gumbel_softmax",
    "temperature_schedule": "linear", "temperature_start": 2.0, "temperature_end": 0.5, "temperature_share": 0.5,
    "distance": "smooth_l1", "smooth_l1_beta": 1.0, "coordinate_gradient": "exact", "expectation_weight": 0.0,
    "regularizer_weight": 1.0, "target_variance": 1.0, "label_weight": 1.0, "epochs": 1, "batch_size": 8,
    "lr": 0.004, "lr_schedule": "onecycle", "lr_steps": "", "lr_decay": 0.1, "weight_decay": 0.0, "ema": 0.98,
    "patience": 0, "seed": 0, "flip": 0.5, "scale": 0.0, "rotate": 0.0, "rotate_probability": 0.6,
    "rotate_law": "uniform", "shift": 0.0, "padding": 1.125, "workers": 0, "device": "auto", "devices": 1,
    "nodes": 1, "precision": "32-true", "tensorboard": false
}"""

OLD = {TrainSettings: OLD_DETECTOR, DiscoverSettings: OLD_DISCOVERY, ImageSettings: OLD_IMAGES}


@pytest.mark.parametrize("kind", OLD)
def test_files_of_earlier_versions_open(tmp_path, kind):
    (tmp_path / "settings.json").write_text(OLD[kind])
    settings = kind.load(tmp_path / "settings.json")
    # What earlier versions did not have is at its default.
    assert as_texts(settings.to_dict()) == as_texts(kind().to_dict()) | json.loads(OLD[kind])
    settings.save(tmp_path / "new.json")
    assert kind.load(tmp_path / "new.json") == settings
    new = json.loads((tmp_path / "new.json").read_text())
    assert new["shares"] == ([2.0, 0.0, 1.0] if kind is TrainSettings else [0.7, 0.1, 0.2])


def test_texts_of_earlier_versions_become_numbers():
    detector = TrainSettings.from_dict(json.loads(OLD_DETECTOR))
    assert (detector.shares, detector.ids, detector.sigma) == ((2.0, 0.0, 1.0), tuple(range(10)), 0.01)
    discovery = DiscoverSettings.from_dict(json.loads(OLD_DISCOVERY))
    assert (discovery.shares, discovery.sigma, discovery.axes) == ((0.7, 0.1, 0.2), "auto", "-zyx")
    images = ImageSettings.from_dict(json.loads(OLD_IMAGES))
    assert (images.size, images.lr_steps, images.channels) == ((96, 96), (), (8, 16, 32))


def test_new_files_hold_lists_and_numbers():
    values = json.loads(json.dumps(TrainSettings(ids=(0, 3), sigma=0.01).to_dict()))
    assert (values["shares"], values["ids"], values["sigma"]) == ([0.7, 0.1, 0.2], [0, 3], 0.01)
    assert TrainSettings().to_dict()["ids"] is None
    values = ImageSettings().to_dict()
    assert (values["size"], values["lr_steps"]) == ([256, 192], [90, 120])


@pytest.mark.parametrize("kind", [RunSettings, CloudSettings, *OLD])
def test_settings_are_given_by_keyword(kind):
    with pytest.raises(TypeError, match="positional"):
        kind("mug")


def test_a_tuple_that_differs_keeps_a_run_from_being_resumed():
    before = ImageSettings.from_dict(json.loads(OLD_IMAGES))
    assert ImageSettings.from_dict(before.to_dict()).changed(before) == []
    assert ImageSettings.from_dict(before.to_dict() | {"shares": [2, 0, 1]}).changed(before) == ["shares"]
