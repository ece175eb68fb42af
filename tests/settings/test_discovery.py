import re
from dataclasses import fields

import pytest

from pcsargmax.models.skeleton_merger import BACKBONES
from pcsargmax.settings.common import setting_help
from pcsargmax.settings.discovery import DISCOVER_RECIPES, DiscoverSettings


def test_settings_come_back_from_json(tmp_path):
    settings = DiscoverSettings(data="mug", keypoints=16, objective="soft_vr", lr=0.01)
    settings.save(tmp_path / "settings.json")
    assert DiscoverSettings.load(tmp_path / "settings.json") == settings
    with pytest.raises(ValueError, match=re.escape("settings: unknown keys ['k']")):
        DiscoverSettings.from_dict({"k": 3})
    with pytest.raises(ValueError, match="settings: keypoints must be int, got '3'"):
        DiscoverSettings.from_dict({"keypoints": "3"})


def test_every_setting_has_a_text():
    assert set(setting_help(DiscoverSettings)) == {field.name for field in fields(DiscoverSettings)}
    assert all(setting_help(DiscoverSettings).values())


@pytest.mark.parametrize("name", DISCOVER_RECIPES)
def test_recipes_are_settings(name):
    settings = DiscoverSettings.from_dict(DISCOVER_RECIPES[name])
    assert settings.backbone in BACKBONES


def test_the_original_recipe_is_the_original():
    settings = DiscoverSettings(**DISCOVER_RECIPES["original"])
    assert (settings.backbone, settings.objective, settings.keypoints) == ("original", "soft", 10)
    assert (settings.epochs, settings.batch_size, settings.optimizer, settings.lr) == (80, 8, "adadelta", 1.0)
    assert (settings.dropout, settings.frame) == (0.5, "minmax")
    assert (settings.rotate, settings.jitter, settings.separation) == (0, 0, 0)


WRONG = {
    "keypoints must be at least 2, the ends of an edge, got 1": {"keypoints": 1},
    "objective must be one of sampling, soft, soft_vr, soft_dr, got 'hard'": {"objective": "hard"},
    "backbone must be one of light, original, got 'msg'": {"backbone": "msg"},
    "optimizer must be one of adam, adadelta, got 'sgd'": {"optimizer": "sgd"},
    "frame must be one of auto, minmax, centered, got 'unit'": {"frame": "unit"},
    "axes must have each of x, y and z once, as in xyz or -zyx, got 'xxy'": {"axes": "xxy"},
    "num_samples must be at least 1, got 0": {"num_samples": 0},
    "dropout must be at least 0 and below 1, got 1.0": {"dropout": 1.0},
    "lr must be positive, got 0": {"lr": 0},
    "regularizer_weight must not be negative, got -1": {"regularizer_weight": -1},
    "rotate must be at most 180 degrees, got 181": {"rotate": 181},
    "sigma must be 'auto' or a number of at least 0, got 'wide'": {"sigma": "wide"},
    "shares must be three numbers": {"shares": "1"},
    "temperature_end must be finite, got inf": {"temperature_end": float("inf")},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_is_named(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DiscoverSettings(**WRONG[message])


def test_the_length_of_the_training_is_free_where_nothing_is_made_for_it():
    before = DiscoverSettings(objective="soft")
    assert DiscoverSettings(objective="soft", epochs=3, device="cpu").changed(before) == []
    assert DiscoverSettings(objective="soft", epochs=3, lr_schedule="onecycle").changed(before) == [
        "epochs",
        "lr_schedule",
    ]
    assert DiscoverSettings(epochs=3, temperature_schedule="linear").changed(
        DiscoverSettings(temperature_schedule="linear")
    ) == ["epochs"]  # the temperature anneals over them
    assert DiscoverSettings(epochs=3, seed=1).changed(DiscoverSettings()) == ["seed"]


@pytest.mark.parametrize(("keypoints", "expected"), [(10, 0.6), (40, 0.3), (4, 0.6 * 2.5**0.5)])
def test_more_keypoints_may_lie_nearer(keypoints, expected):
    settings = DiscoverSettings(data="mug", keypoints=keypoints, separation=0.6)
    assert settings.separation_distance == pytest.approx(expected)
