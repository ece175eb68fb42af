import pytest

from pcsargmax.settings.images import OFFICIAL, PROCEDURAL, ImageSettings
from pcsargmax.settings.presets import LIGHT, PRESETS, preset

#: What the paper and the authors' code state: trunk, input, batch of each device, epochs, steps of the rate, N_s.
STATED = {
    "coco": ("resnet50", (256, 192), 32, 140, (90, 120), 30),
    "h36m": ("resnet50", (256, 256), 16, 200, (90, 120), 10),
    "mtfl": ("resnet18", (256, 256), 32, 30, (10, 20), 30),
}


@pytest.mark.parametrize("data", STATED)
def test_the_papers_hyper_parameters(data):
    settings = ImageSettings(data=data, **preset("auto", data))
    found = (settings.trunk, settings.size, settings.batch_size, settings.epochs, settings.lr_steps)
    assert (*found, settings.num_samples) == STATED[data]
    assert (settings.lr, settings.lr_schedule, settings.lr_decay) == (1e-3, "steps", 0.1)
    assert (settings.objective, settings.basis) == ("sampling", "triangular")
    assert (settings.flip, settings.scale) == (0.5, 0.3)


def test_what_is_of_one_data_set_alone():
    assert preset("auto", "h36m")["depth_bins"] == 32
    turns = {name: preset("auto", name) for name in ("coco", "mtfl")}
    assert (turns["coco"]["rotate"], turns["coco"]["rotate_probability"]) == (40, 0.5)
    assert turns["mtfl"] | {"rotate_law": "normal", "rotate": 40, "rotate_probability": 0.6} == turns["mtfl"]
    assert (preset("auto", "retina")["lr"], preset("auto", "retina")["distance"]) == (1e-4, "smooth_l1")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_with_every_data_of_its_dimension(name):
    for data in (*OFFICIAL, *PROCEDURAL, "my/photos"):
        if name == "h36m" and data not in ("h36m", "figures3d"):  # maps with a depth for data that have none
            with pytest.raises(ValueError, match="depth_bins must be 0"):
                ImageSettings(data=data, **preset(name, data))
        else:
            assert ImageSettings(data=data, **preset(name, data)).data == data


def test_auto_is_the_light_one_but_for_official_files():
    assert preset("auto", "my/photos") == LIGHT == preset("light", "faces")
    assert preset("light", "figures3d") == LIGHT | {"depth_bins": 16, "num_samples": 2}
    assert preset("light", "coco")["trunk"] == "tiny"
    preset("light", "coco")["trunk"] = "changed"
    assert preset("light", "coco")["trunk"] == "tiny"


def test_an_unknown_preset_is_an_error():
    with pytest.raises(ValueError, match="preset must be one of auto, coco, h36m, mtfl, retina, light, got 'heavy'"):
        preset("heavy", "coco")
