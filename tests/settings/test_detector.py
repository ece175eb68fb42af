import inspect
import json
import re
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from pcsargmax.commands.train import command
from pcsargmax.settings.common import OBJECTIVES
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.settings.fields import setting_help
from pcsargmax.settings.texts import as_texts


def test_settings_come_back_from_json(tmp_path):
    settings = TrainSettings(data="mug", lr=1e-4, ids=(0, 3), tensorboard=True, sigma=0.01)
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
        ({"lr": "1e-3"}, "lr '1e-3': expected a finite number above 0"),
        ({"epochs": 1.5}, "epochs 1.5: expected a whole number of at least 1"),
        ({"epochs": True}, "epochs True: expected a whole number of at least 1"),
        ({"lr": True}, "lr True: expected a finite number above 0"),
        ({"tensorboard": 1}, "tensorboard 1: expected true or false"),
        ({"data": 3}, "data 3: expected a string"),
        ({"sigma": [0.01]}, "sigma (0.01,): expected 'auto' or a length of at least 0"),
        ({"shares": [2, 1]}, "shares (2, 1): expected three numbers, such as (0.7, 0.1, 0.2)"),
        ({"shares": "2,1,x"}, "shares '2,1,x': expected three numbers separated by commas, such as 0.7,0.1,0.2"),
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
        ({"unit": "mm"}, "unit 'mm': choose from auto, raw, diagonal"),
        (
            {"objective": "hard"},
            "objective 'hard': choose from sampling, closed_form, soft, discrete, soft_vr, soft_dr",
        ),
        ({"relaxation": "hard"}, "relaxation 'hard': choose from gumbel_softmax, published, straight_through"),
        (
            {"temperature_schedule": "cosine"},
            "temperature_schedule 'cosine': choose from constant, linear, exponential, published",
        ),
        ({"distance": "l3"}, "distance 'l3': choose from l1, l2, squared_l2, smooth_l1"),
        ({"lr_schedule": "steps"}, "lr_schedule 'steps': choose from halving, onecycle, constant"),
        ({"rotate_axis": "w"}, "rotate_axis 'w': choose from x, y, z, any"),
        ({"mirror": "any"}, "mirror 'any': choose from none, x, y, z"),
        ({"device": "gpu"}, "device 'gpu': choose from auto, cpu, cuda, mps"),
        ({"symmetry": None}, "symmetry None: choose from none, reflection, rotation, all"),
        *(
            ({name: 0}, f"{name} 0: expected a whole number of at least 1")
            for name in ("num_points", "num_samples", "epochs", "batch_size", "lr_period", "devices", "nodes")
        ),
        *(
            ({name: 0.0}, f"{name} 0.0: expected a finite number above 0")
            for name in ("lr", "temperature_start", "temperature_end", "smooth_l1_beta", "target_variance")
        ),
        *(
            ({name: value}, f"{name} {value}: expected a finite number of at least 0 and below 1")
            for name, value in {"scale": 1.0, "stretch": -0.1, "drop_points": 1.0, "ema": 1.0}.items()
        ),
        *(
            ({name: -1.0}, f"{name} -1.0: expected a finite number of at least 0")
            for name in ("regularizer_weight", "expectation_weight", "presence_weight", "weight_decay", "jitter")
        ),
        ({"lr": float("nan")}, "lr nan: expected a finite number above 0"),
        ({"jitter": float("inf")}, "jitter inf: expected a finite number of at least 0"),
        ({"temperature_share": 0.0}, "temperature_share 0.0: expected a finite number above 0 and at most 1"),
        ({"rotate": 181.0}, "rotate 181.0: expected a finite number of at least 0 and at most 180"),
        ({"patience": -1}, "patience -1: expected a whole number of at least 0"),
        *(
            ({"sigma": value}, f"sigma {value!r}: expected 'auto' or a length of at least 0")
            for value in ("wide", "0.01", -1, float("inf"))
        ),
        (
            {"objective": "soft_vr", "sigma": 0},
            "sigma 0: expected a width above 0, the unit of length of soft_vr",
        ),
        ({"shares": "2,0,1"}, "shares '2,0,1': expected three numbers, such as (0.7, 0.1, 0.2)"),
        ({"shares": [2, 0, 1]}, "shares [2, 0, 1]: expected three numbers, such as (0.7, 0.1, 0.2)"),
        ({"ids": "0-9"}, "ids '0-9': expected semantic ids, such as (0, 3, 5), or None for all"),
        ({"ids": ()}, "ids (): expected semantic ids, such as (0, 3, 5), or None for all"),
        ({"ids": (0, True)}, "ids (0, True): expected semantic ids, such as (0, 3, 5), or None for all"),
        ({"looks": 3}, "looks 3: expected a whole number of at least 1 and at most 2"),
        ({"looks": 0}, "looks 0: expected a whole number of at least 1 and at most 2"),
        ({"look_points": 0}, "look_points 0: expected a whole number of at least 1"),
        ({"dense_points": 0}, "dense_points 0: expected a whole number of at least 1"),
        ({"look_objective": "none"}, "look_objective 'none': choose from same, sampling, closed_form, soft, "),
        ({"look_noise": -0.1}, "look_noise -0.1: expected a finite number of at least 0"),
        ({"warp": -0.1}, "warp -0.1: expected a finite number of at least 0"),
        ({"shape_prior": "always"}, "shape_prior 'always': choose from auto, none"),
        ({"folds": -1}, "folds -1: expected a whole number of at least 0"),
        ({"folds": 1, "val_split": "none"}, "folds 1: expected 0, or at least 2"),
        ({"folds": 3}, "folds 3: expected val_split 'none', got 'val', which serves in their place; set val_split to"),
        (
            {"folds": 3, "val_split": "none", "symmetry": "all"},
            "folds 3: expected symmetry 'none', got 'all'; set folds to 0, or symmetry to 'none'",
        ),
        (
            {"shape_prior": "auto", "symmetry": "reflection"},
            "shape_prior 'auto': expected symmetry 'none', got 'reflection'; set shape_prior to 'none', or symmetry",
        ),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainSettings(**change)


def test_every_objective_goes_with_every_relaxation_schedule_and_distance():
    for objective in OBJECTIVES:
        for name, values in {
            "relaxation": ("gumbel_softmax", "published", "straight_through"),
            "temperature_schedule": ("constant", "linear", "exponential", "published"),
            "distance": ("l1", "l2", "squared_l2", "smooth_l1"),
        }.items():
            assert {getattr(TrainSettings(objective=objective, **{name: v}), name) for v in values} == set(values)
    assert TrainSettings(objective="sampling", sigma=0).sigma == 0


def test_the_help_tells_every_objective():
    told = setting_help(TrainSettings)["objective"]
    assert all(name in told for name in OBJECTIVES)


def test_folds_stand_in_for_a_validation_split():
    assert TrainSettings(folds=2, val_split="none").folds == 2
    assert TrainSettings(folds=0, symmetry="all").folds == 0


def test_one_look_is_the_default_and_two_with_the_prior_are_the_recipe():
    plain, accurate = TrainSettings(), TrainSettings(**RECIPES["accurate"])
    assert (plain.looks, plain.shape_prior, plain.folds, plain.template_start, plain.warp) == (1, "none", 0, False, 0)
    assert (accurate.looks, accurate.shape_prior) == (2, "auto")


def test_recipes_change_known_settings_to_allowed_values():
    assert RECIPES["paper"] == {}
    for values in RECIPES.values():
        replace(TrainSettings(), **values)


def test_the_command_has_an_option_for_every_setting_and_its_default():
    parameters = inspect.signature(command).parameters
    own = {"context", "run", "recipe", "resume", "as_json"}
    assert set(parameters) - own == {field.name for field in fields(TrainSettings)}
    for name, default in as_texts(TrainSettings().to_dict()).items():
        option = parameters[name].default
        assert name == "data" or option.default == default
        assert option.help == setting_help(TrainSettings)[name] != ""
