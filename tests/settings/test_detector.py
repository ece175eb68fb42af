import inspect
import json
import re
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from pcsargmax.commands.train import command
from pcsargmax.settings.common import OBJECTIVES, setting_help
from pcsargmax.settings.detector import RECIPES, TrainSettings, parse_ids


def test_settings_come_back_from_json(tmp_path):
    settings = TrainSettings(data="mug", lr=1e-4, ids="0-3", tensorboard=True, sigma="0.01")
    settings.save(tmp_path / "settings.json")
    assert TrainSettings.load(tmp_path / "settings.json") == settings
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(FrozenInstanceError):
        settings.lr = 1.0


def test_the_defaults_are_the_papers():
    settings = TrainSettings()
    assert (settings.lr, settings.lr_period, settings.epochs, settings.batch_size) == (1e-3, 10, 100, 8)
    assert (settings.objective, settings.num_samples, settings.sigma, settings.distance) == (
        "sampling",
        10,
        "auto",
        "l1",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1.0}, "settings: unknown keys ['learning_rate']"),
        ({"lr": "1e-3"}, "settings: lr must be float, got '1e-3'"),
        ({"epochs": 1.5}, "settings: epochs must be int, got 1.5"),
        ({"epochs": True}, "settings: epochs must be int, got True"),
        ({"lr": True}, "settings: lr must be float, got True"),
        ({"tensorboard": 1}, "settings: tensorboard must be bool, got 1"),
        ({"sigma": 0.01}, "settings: sigma must be str, got 0.01"),
    ],
)
def test_unknown_and_mistyped_keys_are_errors(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainSettings.from_dict(TrainSettings().to_dict() | change)


def test_a_setting_newer_than_the_file_takes_its_default():
    values = TrainSettings(lr=0.5).to_dict()
    del values["mesh_frame"]
    assert TrainSettings.from_dict(values) == TrainSettings(lr=0.5)


def test_a_whole_number_is_a_float_too():
    assert TrainSettings.from_dict(TrainSettings().to_dict() | {"lr": 1}).lr == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"learning_rate": 1}'])
def test_a_broken_settings_file_is_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "settings.json"))):
        TrainSettings.load(tmp_path / "settings.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "mm"}, "unit must be one of auto, raw, diagonal, got 'mm'"),
        (
            {"objective": "hard"},
            "objective must be one of sampling, closed_form, soft, discrete, soft_vr, soft_dr, got",
        ),
        ({"relaxation": "hard"}, "relaxation must be one of gumbel_softmax, published, straight_through, got 'hard'"),
        (
            {"temperature_schedule": "cosine"},
            "temperature_schedule must be one of constant, linear, exponential, published",
        ),
        ({"distance": "l3"}, "distance must be one of l1, l2, squared_l2, smooth_l1, got 'l3'"),
        ({"lr_schedule": "step"}, "lr_schedule must be one of halving, onecycle, constant, got 'step'"),
        ({"rotate_axis": "w"}, "rotate_axis must be one of x, y, z, any, got 'w'"),
        ({"mirror": "any"}, "mirror must be one of none, x, y, z, got 'any'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        ({"num_points": 0}, "num_points must be at least 1, got 0"),
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"lr_period": 0}, "lr_period must be at least 1, got 0"),
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"nodes": 0}, "nodes must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": float("nan")}, "lr must be finite, got nan"),
        ({"jitter": float("inf")}, "jitter must be finite, got inf"),
        ({"temperature_start": 0.0}, "temperature_start must be positive, got 0.0"),
        ({"temperature_end": -1.0}, "temperature_end must be positive, got -1.0"),
        ({"smooth_l1_beta": 0.0}, "smooth_l1_beta must be positive, got 0.0"),
        ({"target_variance": -1.0}, "target_variance must be positive, got -1.0"),
        ({"regularizer_weight": -1.0}, "regularizer_weight must not be negative, got -1.0"),
        ({"expectation_weight": -1.0}, "expectation_weight must not be negative, got -1.0"),
        ({"regularizer_weight": float("nan")}, "regularizer_weight must be finite, got nan"),
        ({"temperature_share": 0.0}, "temperature_share must be above 0 and at most 1, got 0.0"),
        ({"scale": 1.0}, "scale must be at least 0 and below 1, got 1.0"),
        ({"stretch": -0.1}, "stretch must be at least 0 and below 1, got -0.1"),
        ({"drop_points": 1.0}, "drop_points must be at least 0 and below 1, got 1.0"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1, got 1.0"),
        ({"rotate": -1.0}, "rotate must not be negative, got -1.0"),
        ({"rotate": 181.0}, "rotate must be at most 180 degrees, got 181.0"),
        ({"jitter": -1.0}, "jitter must not be negative, got -1.0"),
        ({"patience": -1}, "patience must not be negative, got -1"),
        ({"presence_weight": -1.0}, "presence_weight must not be negative, got -1.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1.0"),
        ({"sigma": "wide"}, "sigma must be 'auto' or a number of at least 0, got 'wide'"),
        ({"sigma": "-1"}, "sigma must be 'auto' or a number of at least 0, got '-1'"),
        ({"sigma": "inf"}, "sigma must be 'auto' or a number of at least 0, got 'inf'"),
        (
            {"objective": "soft_vr", "sigma": "0"},
            "sigma must not be 0 for soft_vr, whose unit of length it is, got '0'",
        ),
        (
            {"objective": "soft_dr", "sigma": "0.0"},
            "sigma must not be 0 for soft_dr, whose unit of length it is, got '0.0'",
        ),
        ({"ids": "a"}, "ids must look like 0-9 or 0,3,5, got 'a'"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainSettings(**change)


@pytest.mark.parametrize(
    ("text", "ids"),
    [("", None), ("  ", None), ("3", (3,)), ("0-3,7", (0, 1, 2, 3, 7)), (" 5 , 2-2 ", (5, 2))],
)
def test_ids_are_read(text, ids):
    assert parse_ids(text) == ids


@pytest.mark.parametrize("text", ["a", "1,", "-1", "1-", "3-1", "1.5", "0-2-4"])
def test_ids_that_mean_nothing_are_an_error(text):
    with pytest.raises(ValueError, match=re.escape(f"ids must look like 0-9 or 0,3,5, got {text!r}")):
        parse_ids(text)


def test_every_objective_goes_with_every_relaxation_schedule_and_distance():
    for objective in OBJECTIVES:
        for name, values in {
            "relaxation": ("gumbel_softmax", "published", "straight_through"),
            "temperature_schedule": ("constant", "linear", "exponential", "published"),
            "distance": ("l1", "l2", "squared_l2", "smooth_l1"),
        }.items():
            assert {getattr(TrainSettings(objective=objective, **{name: v}), name) for v in values} == set(values)
    assert TrainSettings(objective="sampling", sigma="0").sigma == "0"


def test_the_help_tells_every_objective():
    told = setting_help(TrainSettings)["objective"]
    assert all(name in told for name in OBJECTIVES)


def test_recipes_change_known_settings_to_allowed_values():
    assert RECIPES["paper"] == {}
    for values in RECIPES.values():
        replace(TrainSettings(), **values)


def test_the_command_has_an_option_for_every_setting_and_its_default():
    parameters = inspect.signature(command).parameters
    own = {"context", "run", "recipe", "resume", "as_json"}
    assert set(parameters) - own == {field.name for field in fields(TrainSettings)}
    for name, default in TrainSettings().to_dict().items():
        option = parameters[name].default
        assert name == "data" or option.default == default
        assert option.help == setting_help(TrainSettings)[name] != ""
