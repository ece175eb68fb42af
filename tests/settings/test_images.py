import contextlib
import dataclasses
import re

import pytest

from pcsargmax.settings.images import ImageSettings

SIZE = "(height, width) in pixels, multiples of 32, such as (256, 192)"


def test_settings_go_through_json(tmp_path):
    settings = ImageSettings(data="coco", lr=3e-4, size=(64, 96), flip=0.25)
    settings.save(tmp_path / "settings.json")
    assert ImageSettings.load(tmp_path / "settings.json") == settings


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValueError, match=r"settings: unknown keys \['num_points'\]"):
        ImageSettings.from_dict({"num_points": 2048})


def test_no_field_is_of_clouds():
    names = {field.name for field in dataclasses.fields(ImageSettings)}
    assert not names & {"num_points", "mesh_frame", "sigma", "rotate_axis", "jitter", "ids", "unit", "backbone"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": "vgg"}, "trunk 'vgg': choose from resnet18, resnet50, tiny"),
        ({"basis": "box"}, "basis 'box': choose from uniform, triangular, gaussian"),
        ({"size": "256x192"}, f"size '256x192': expected {SIZE}"),
        ({"size": (256,)}, f"size (256,): expected {SIZE}"),
        ({"size": (100, 96)}, f"size (100, 96): expected {SIZE}"),
        ({"lr_steps": (90, 60)}, "lr_steps (90, 60): expected ascending epochs, such as (90, 120), or () for none"),
        ({"channels": (8, 0)}, "channels (8, 0): expected positive whole numbers, such as (32, 64, 128)"),
        ({"channels": ()}, "channels (): expected positive whole numbers, such as (32, 64, 128)"),
        ({"flip": 1.5}, "flip 1.5: expected a finite number of at least 0 and at most 1"),
        ({"scale": 1.0}, "scale 1.0: expected a finite number of at least 0 and below 1"),
        ({"workers": -1}, "workers -1: expected a whole number of at least 0"),
        ({"padding": 0.0}, "padding 0.0: expected a finite number above 0"),
        ({"objective": "closed_form"}, "objective closed_form needs the basis gaussian, got 'triangular'"),
        (
            {"objective": "soft_vr", "coordinate_gradient": "sign"},
            "coordinate_gradient 'sign' is for sampling and soft, got objective 'soft_vr'",
        ),
        ({"expectation_weight": -0.5}, "expectation_weight -0.5: expected a finite number of at least 0"),
        (
            {"data": "slices", "coordinate_gradient": "sign"},
            "coordinate_gradient 'sign' is for keypoints, got data 'slices'",
        ),
        ({"data": "coco", "depth_bins": 8}, "depth_bins must be 0 for 'coco', which has no depth; got 8"),
        ({"data": "faces", "mpii": "m"}, "mpii is for h36m alone, got 'm' with data 'faces'"),
        ({"data": "h36m", "boxes": "b"}, "boxes is for coco alone, got 'b' with data 'h36m'"),
        ({"lr": float("nan")}, "lr nan: expected a finite number above 0"),
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
