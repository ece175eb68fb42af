import hashlib
import json
import re
from dataclasses import replace

import pytest

from pcsargmax.benchmark.experiments import (
    counted_settings,
    differing,
    other_settings,
    parse_changes,
    parse_method,
    parse_seeds,
    plan,
)
from pcsargmax.benchmark.sources import Source
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.settings.discovery import DISCOVER_RECIPES, DiscoverSettings
from pcsargmax.settings.images import ImageSettings
from pcsargmax.settings.texts import as_texts

MUG, CHAIR = Source("mug", "mug", "/data"), Source("chair", "chair", "/data")


def one(method="soft", seed=0, source=MUG, **options):
    (experiment,) = plan([source], [method], [seed], **options)
    return experiment


def test_a_plan_is_categories_by_methods_by_seeds_the_seeds_outermost():
    planned = plan([MUG, CHAIR], ["soft", "sampling-1"], [0, 4])
    assert [(one.seed, one.data, one.method) for one in planned] == [
        (0, "mug", "soft"),
        (0, "mug", "sampling-1"),
        (0, "chair", "soft"),
        (0, "chair", "sampling-1"),
        (4, "mug", "soft"),
        (4, "mug", "sampling-1"),
        (4, "chair", "soft"),
        (4, "chair", "sampling-1"),
    ]
    last = planned[-1].settings
    assert (last.data, last.root, last.seed, last.objective, last.num_samples) == ("chair", "/data", 4, "sampling", 1)


def test_a_name_tells_data_kind_method_seed_and_digits_of_the_rest():
    assert re.fullmatch(r"mug-detector-sampling-10-seed2-[0-9a-f]{8}", one("sampling-10", 2).name)
    assert re.fullmatch(r"mug-discovery-soft-seed0-[0-9a-f]{8}", one(kind="discovery").name)


def test_the_digits_are_those_of_the_settings_that_are_not_the_defaults():
    # echo -n '{}' | sha256sum, and '{"epochs": 3, "mirror": "x"}'
    assert one("soft").name == "mug-detector-soft-seed0-44136fa3"
    assert one("soft", changes={"mirror": "x", "epochs": 3}).name == "mug-detector-soft-seed0-0abc9c37"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"device": "cuda"}, True),
        ({"tensorboard": True}, True),
        ({"lr": TrainSettings().lr}, True),
        ({"precision": "bf16-mixed"}, False),
        ({"lr": 0.5}, False),
        ({"ids": tuple(range(10))}, False),
    ],
)
def test_what_counts_changes_the_name_and_paths_and_device_do_not(changes, same):
    assert (one().name == one(changes=changes).name) is same


def test_where_the_data_are_does_not_count():
    moved = one(source=Source("mug", "mug", "/elsewhere"))
    assert moved.name == one().name
    assert moved.counted == one().counted
    assert moved.settings.root == "/elsewhere"


def test_counted_settings_hold_no_path():
    settings = TrainSettings(data="/home/me/scans", root="/data")
    counted = counted_settings(settings, "scans")
    assert counted["data"] == "scans"
    assert not {"root", "device", "tensorboard"} & set(counted)
    assert set(settings.to_dict()) - set(counted) == {"root", "device", "tensorboard"}


def test_the_number_of_samples_of_a_method_without_is_that_of_the_setting():
    assert one("sampling").method == "sampling-10"
    assert one("sampling", changes={"num_samples": 5}).method == "sampling-5"
    assert one("sampling", kind="discovery").method == "sampling-1"
    assert one("sampling-3", changes={"num_samples": 5}).settings.num_samples == 3
    assert one("sampling").name == one("sampling-10").name


def test_a_method_that_draws_none_has_one_name_whatever_the_number():
    assert one("soft", changes={"num_samples": 5}) == one("soft")


def test_settings_of_other_methods_give_no_second_name():
    changes = {"target_variance": 4.0, "temperature_end": 0.2}
    assert one("soft", changes=changes) == one("soft")
    assert one("soft_vr", changes=changes).counted == one("soft_vr", changes={"target_variance": 4.0}).counted
    assert one("soft_vr", changes=changes).name != one("soft_vr").name
    assert one("sampling-5", changes=changes).name == one("sampling-5", changes={"temperature_end": 0.2}).name


def test_results_of_earlier_versions_keep_their_names():
    assert one(kind="discovery").name == "mug-discovery-soft-seed0-0e522a95"
    assert one("sampling-1", kind="discovery").name == "mug-discovery-sampling-1-seed0-0e522a95"
    changes = {"train_split": "trainval", "val_split": "none", "ids": tuple(range(10)), "mirror": "x"}
    planned = plan([MUG], ["soft", "sampling-10"], [2], recipe="onecycle", changes=changes)
    assert [one.name for one in planned] == [
        "mug-detector-soft-seed2-c8e5f9ac",
        "mug-detector-sampling-10-seed2-c8e5f9ac",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("ids=0-9", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)), ("shares=2,0,1", (2.0, 0.0, 1.0)), ("sigma=0.01", 0.01)],
)
def test_a_setting_counts_as_its_text(text, value):
    """Names and kept results of earlier versions hold for runs whose settings are equal."""
    name, _, given = text.partition("=")
    new = one(changes=parse_changes([text]))
    assert getattr(new.settings, name) == value
    rest = json.dumps({name: given})
    assert new.name == f"mug-detector-soft-seed0-{hashlib.sha256(rest.encode()).hexdigest()[:8]}"
    assert differing(new.counted | {name: given}, new.counted) == []
    assert differing(one().counted, new.counted) == [f"{name}: was {as_texts(one().counted)[name]!r}, now {given!r}"]


def test_the_recipe_gives_settings_and_changes_win_over_it():
    settings = one(recipe="onecycle", changes={"epochs": 7}).settings
    assert (settings.epochs, settings.lr) == (7, RECIPES["onecycle"]["lr"])
    assert one(kind="discovery").settings.lr == DISCOVER_RECIPES["light"]["lr"]
    assert one(kind="discovery", recipe="original").settings.backbone == "original"


def test_settings_in_common_are_alike_for_all_methods_and_seeds():
    planned = plan([MUG, CHAIR], ["soft", "soft_dr", "sampling-30"], [0, 1], recipe="onecycle")
    first = other_settings(planned[0].counted)
    assert all(other_settings(one.counted) == first for one in planned)
    assert other_settings(one(changes={"lr": 0.5}).counted) != other_settings(one().counted)


def test_differing_settings_are_named():
    kept = one(changes={"epochs": 3}).counted
    assert differing(kept, one().counted) == ["epochs: was 3, now 100"]
    assert differing(kept | {"gone": 1}, kept | {"new": 2}) == []
    assert differing({"hash": None}, {"hash": "a"}) == differing({"hash": "a"}, {"hash": None}) == []


def test_what_the_code_did_before_a_setting_came_is_no_default():
    wanted = one(kind="discovery").counted
    older = {name: value for name, value in wanted.items() if name != "edge_spacing"}
    assert differing(older, wanted) == ["edge_spacing: was 0.01, now 0.03"]
    assert differing(older, one(kind="discovery", changes={"edge_spacing": 0.01}).counted) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["softer"]}, "methods of a detector must be of sampling, closed_form, soft, .* got 'softer'"),
        (
            {"methods": ["sampling-30"], "kind": "images"},
            "methods of a network for images must be .* got 'sampling-30'",
        ),
        ({"methods": ["closed_form"], "kind": "discovery"}, "methods of a discovery must be of .* got 'closed_form'"),
        ({"methods": ["soft-3"]}, "soft draws no samples to give a number of, got 'soft-3'"),
        ({"methods": ["sampling-0"]}, "methods must look like soft or sampling-10, got 'sampling-0'"),
        ({"methods": ["sampling-x"]}, "methods must look like soft or sampling-10, got 'sampling-x'"),
        ({"methods": ["sampling-"]}, "methods must look like soft or sampling-10, got 'sampling-'"),
        ({"recipe": "heavy"}, "recipe must be one of paper, .* got 'heavy'"),
        ({"changes": {"seed": 3}}, "seed cannot be set: it is what --seeds gives, got 3"),
        ({"changes": {"objective": "soft"}}, "objective cannot be set: it is what --methods gives"),
        ({"changes": {"lr": -1.0}}, "lr -1.0: expected a finite number above 0"),
        ({"methods": ["sampling", "sampling-10"]}, "methods named twice: sampling-10$"),
        ({"methods": []}, "nothing to run"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(arguments, message):
    given = {"methods": ["soft"]} | arguments
    with pytest.raises(ValueError, match=message):
        plan([MUG], given.pop("methods"), [0], **given)


def test_on_images_sampling_goes_by_its_basis_and_the_recipe_by_the_data():
    faces = Source("faces", "/data/faces")
    methods = ["soft", "uniform-5", "gaussian-5", "closed_form-5"]
    planned = plan([faces], methods, [0], kind="images", changes={"temperature_start": 3.0})
    assert [experiment.method for experiment in planned] == methods
    told = [(e.settings.objective, e.settings.basis, e.settings.num_samples) for e in planned[1:]]
    assert told == [("sampling", "uniform", 5), ("sampling", "gaussian", 5), ("closed_form", "gaussian", 5)]
    assert [e.settings.temperature_start for e in planned] == [ImageSettings().temperature_start, 3.0, 3.0, 3.0]
    assert {e.settings.trunk for e in planned} == {"tiny"}  # the light preset, as for every folder
    # nothing but the method and what it alone reads tells them apart
    assert [e.settings.expectation_weight for e in planned] == [0.0, 1.0, 1.0, 1.0]
    alike = [other_settings(e.counted) | {"temperature_start": None, "expectation_weight": None} for e in planned]
    assert alike[0] == alike[1] == alike[2] == alike[3]

    (official,) = plan([Source("mtfl", "mtfl", "/data")], ["soft"], [0], kind="images")
    assert (official.settings.trunk, official.settings.epochs) == ("resnet18", 30)
    (light,) = plan([Source("mtfl", "mtfl", "/data")], ["soft"], [0], kind="images", recipe="light")
    assert light.settings.trunk == "tiny"


def test_methods_are_read():
    assert parse_method(" sampling-30 ") == ("sampling", 30, "")
    assert parse_method("soft_vr") == ("soft_vr", None, "")
    assert parse_method("triangular-30", "images") == ("sampling", 30, "triangular")
    assert parse_method("closed_form-5", "images") == ("closed_form", 5, "gaussian")


def test_seeds_are_read():
    assert parse_seeds("0-2,7") == (0, 1, 2, 7)


@pytest.mark.parametrize("text", ["", "a", "2-0", "1,,2"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=f"seeds must look like 0-2 or 0,3,5, got {text!r}"):
        parse_seeds(text)


def test_changes_are_read_with_the_type_of_their_setting():
    changes = parse_changes(["epochs=3", "lr = 0.5", "batch-size=2", "ids=0-9", "tensorboard=no"])
    assert changes == {"epochs": 3, "lr": 0.5, "batch_size": 2, "ids": tuple(range(10)), "tensorboard": False}
    assert isinstance(changes["lr"], float)
    assert parse_changes(["separation=0"], "discovery") == {"separation": 0.0}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epochs"], "--set must look like NAME=VALUE, got 'epochs'"),
        (["epoch=3"], "--set: a detector has no setting 'epoch'; did you mean epochs"),
        (["separation=0"], "--set: a detector has no setting 'separation'"),
        (["epochs=3", "epochs=4"], "--set: epochs is set twice"),
        (["epochs=many"], "--set epochs 'many': expected a whole number of at least 1"),
        (["tensorboard=maybe"], "--set tensorboard 'maybe': expected true or false"),
    ],
)
def test_changes_that_cannot_be_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_changes(texts)


def test_the_settings_of_an_experiment_are_those_of_its_kind():
    assert isinstance(one().settings, TrainSettings)
    assert isinstance(one(kind="discovery").settings, DiscoverSettings)
    assert replace(one(), seed=1) != one()
