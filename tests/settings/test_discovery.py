import re
from dataclasses import fields

import pytest

from pcsargmax.models.skeleton_merger import BACKBONES
from pcsargmax.settings.discovery import DISCOVER_RECIPES, DiscoverSettings
from pcsargmax.settings.fields import setting_help


def test_settings_come_back_from_json(tmp_path):
    settings = DiscoverSettings(data="mug", keypoints=16, objective="soft_vr", lr=0.01)
    settings.save(tmp_path / "settings.json")
    assert DiscoverSettings.load(tmp_path / "settings.json") == settings
    with pytest.raises(ValueError, match=re.escape("settings: unknown keys ['k']")):
        DiscoverSettings.from_dict({"k": 3})
    with pytest.raises(ValueError, match="keypoints '3': expected a whole number of at least 2"):
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
    "keypoints 1: expected a whole number of at least 2": {"keypoints": 1},
    "objective 'discrete': choose from sampling, soft, soft_vr, soft_dr": {"objective": "discrete"},
    "backbone 'msg': choose from light, original": {"backbone": "msg"},
    "optimizer 'sgd': choose from adam, adadelta": {"optimizer": "sgd"},
    "lr_schedule 'halving': choose from constant, onecycle": {"lr_schedule": "halving"},
    "frame 'unit': choose from auto, minmax, centered": {"frame": "unit"},
    "axes must have each of x, y and z once, as in xyz or -zyx, got 'xxy'": {"axes": "xxy"},
    "num_samples 0: expected a whole number of at least 1": {"num_samples": 0},
    "dropout 1.0: expected a finite number of at least 0 and below 1": {"dropout": 1.0},
    "lr 0: expected a finite number above 0": {"lr": 0},
    "regularizer_weight -1: expected a finite number of at least 0": {"regularizer_weight": -1},
    "rotate 181: expected a finite number of at least 0 and at most 180": {"rotate": 181},
    "sigma 'wide': expected 'auto' or a length of at least 0": {"sigma": "wide"},
    "shares (1,): expected three numbers, such as (0.7, 0.1, 0.2)": {"shares": (1,)},
    "temperature_end inf: expected a finite number above 0": {"temperature_end": float("inf")},
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
