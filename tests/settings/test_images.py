import contextlib
import dataclasses
import re

import pytest

from pcsargmax.settings.images import ImageSettings, parse_channels, parse_size, parse_steps


def test_settings_go_through_json(tmp_path):
    settings = ImageSettings(data="coco", lr=3e-4, size="64x96", flip=0.25)
    settings.save(tmp_path / "settings.json")
    assert ImageSettings.load(tmp_path / "settings.json") == settings
    assert settings.input_size == (64, 96)


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValueError, match=r"settings: unknown keys \['num_points'\]"):
        ImageSettings.from_dict({"num_points": 2048})


def test_no_field_is_of_clouds():
    names = {field.name for field in dataclasses.fields(ImageSettings)}
    assert not names & {"num_points", "mesh_frame", "sigma", "rotate_axis", "jitter", "ids", "unit", "backbone"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": "vgg"}, "trunk must be one of resnet18, resnet50, tiny, got 'vgg'"),
        ({"basis": "box"}, "basis must be one of uniform, triangular, gaussian, got 'box'"),
        ({"size": "256"}, "size must look like 256x192, height x width, got '256'"),
        ({"size": "100x96"}, "size must be two multiples of 32, got '100x96'"),
        ({"lr_steps": "90,60"}, "lr_steps must be ascending epochs such as 90,120, got '90,60'"),
        ({"channels": "8,x"}, "channels must be positive numbers such as 32,64,128, got '8,x'"),
        ({"flip": 1.5}, "flip must be at least 0 and at most 1, got 1.5"),
        ({"scale": 1.0}, "scale must be at least 0 and below 1, got 1.0"),
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"padding": 0.0}, "padding must be positive, got 0.0"),
        ({"temperature_share": 0.0}, "temperature_share must be above 0 and at most 1, got 0"),
        ({"objective": "closed_form"}, "objective closed_form needs the basis gaussian, got 'triangular'"),
        (
            {"objective": "soft_vr", "coordinate_gradient": "sign"},
            "coordinate_gradient 'sign' is for sampling and soft, got objective 'soft_vr'",
        ),
        ({"expectation_weight": -0.5}, "expectation_weight must not be negative, got -0.5"),
        (
            {"data": "slices", "coordinate_gradient": "sign"},
            "coordinate_gradient 'sign' is for keypoints, got data 'slices'",
        ),
        ({"data": "coco", "depth_bins": 8}, "depth_bins must be 0 for 'coco', which has no depth; got 8"),
        ({"data": "faces", "mpii": "m"}, "mpii is for h36m alone, got 'm' with data 'faces'"),
        ({"data": "h36m", "boxes": "b"}, "boxes is for coco alone, got 'b' with data 'h36m'"),
        ({"lr": float("nan")}, "lr must be finite, got nan"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageSettings(**changes)


@pytest.mark.parametrize(
    ("data", "names", "wrong"),
    [
        (
            "slices",
            ["trunk", "epochs", "rotate"],
            "trunk, rotate: no effect on slices, a data set of slices with surfaces",
        ),
        ("slices", ["size", "channels", "label_weight", "flip"], ""),
        ("retina", ["size"], "size: no effect on retina, a data set of slices with surfaces"),
        ("coco", ["size", "trunk", "rotate", "flip"], ""),
        ("faces", ["channels"], "channels: no effect on faces, a data set of keypoints"),
    ],
)
def test_a_setting_without_effect_is_named(data, names, wrong):
    settings = ImageSettings(data=data)
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$") if wrong else contextlib.nullcontext():
        settings.check_effect(names)


def test_data_say_what_they_are():
    assert ImageSettings(data="retina").surfaces
    assert ImageSettings(data="figures3d", depth_bins=8).spatial
    sources = {name: ImageSettings(data=name).source for name in ("mtfl", "faces", "./faces")}
    assert sources == {"mtfl": "official", "faces": "procedural", "./faces": "folder"}
    assert str(ImageSettings(data="mtfl").place) == "datasets/mtfl"
    assert str(ImageSettings(data="mtfl", root="/data/faces").place) == "/data/faces"
    assert str(ImageSettings(data="photos/mine", root="/data").place) == "photos/mine"


def test_a_resumed_run_may_read_with_more_processes_and_not_learn_otherwise():
    before = ImageSettings(data="coco", temperature_schedule="published")
    assert dataclasses.replace(before, workers=4, device="cpu", epochs=7).changed(before) == []
    assert dataclasses.replace(before, basis="uniform", flip=0.0).changed(before) == ["basis", "flip"]
    onecycle = dataclasses.replace(before, lr_schedule="onecycle")
    assert dataclasses.replace(onecycle, epochs=7).changed(onecycle) == ["epochs"]


def test_texts_are_read():
    assert parse_size("128X64") == (128, 64)
    assert parse_steps("") == ()
    assert parse_steps("10, 20") == (10, 20)
    assert parse_channels("8, 16") == (8, 16)
