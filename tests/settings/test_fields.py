import re
from typing import get_type_hints

import pytest

from pcsargmax.settings.detector import TrainSettings
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.settings.fields import SECTIONS, setting_fields, setting_help
from pcsargmax.settings.images import ImageSettings

KINDS = (TrainSettings, DiscoverSettings, ImageSettings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_help_that_names_its_choices(kind):
    for name, one in setting_fields(kind).items():
        told = setting_help(kind)[name]
        assert told
        assert "{" not in told
        assert [choice for choice in one.choices if not re.search(rf"\b{choice}\b", told)] == [], name


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_declares_a_field_that_it_lacks(kind):
    assert set(get_type_hints(kind)) == set(setting_fields(kind)) == set(kind().to_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_in_the_order_of_the_sections(kind):
    places = [SECTIONS.index(one.section) for one in setting_fields(kind).values()]
    assert places == sorted(places)
    assert list(kind().to_dict()) == list(setting_fields(kind))


def test_a_field_that_is_declared_again_keeps_what_it_does_not_say_anew():
    detector, discovery = setting_fields(TrainSettings), setting_fields(DiscoverSettings)
    assert detector["rotate"].bounds == discovery["rotate"].bounds == {"at_least": 0, "at_most": 180}
    assert setting_fields(ImageSettings)["rotate"].bounds == {"at_least": 0}
    assert detector["temperature_start"].help == discovery["temperature_start"].help
    assert detector["num_samples"].help != discovery["num_samples"].help


@pytest.mark.parametrize(
    ("kind", "name", "text", "value"),
    [
        (TrainSettings, "epochs", "3", 3),
        (TrainSettings, "lr", "3", 3.0),
        (TrainSettings, "tensorboard", "Yes", True),
        (TrainSettings, "objective", "soft", "soft"),
        (TrainSettings, "shares", "2,0,1", (2.0, 0.0, 1.0)),
        (ImageSettings, "size", "64x96", (64, 96)),
        (DiscoverSettings, "data", "mug", "mug"),
    ],
)
def test_texts_are_parsed_by_the_type_of_the_setting(kind, name, text, value):
    found = setting_fields(kind)[name].parse(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        (TrainSettings, "epochs", "many", "--x 'many': expected a whole number of at least 1"),
        (TrainSettings, "lr", "nan", "--x 'nan': expected a finite number above 0"),
        (TrainSettings, "tensorboard", "maybe", "--x 'maybe': expected true or false"),
        (TrainSettings, "shares", "1,2", "--x '1,2': expected three numbers separated by commas, such as 0.7,0.1,0.2"),
        (TrainSettings, "sigma", "-1", "--x '-1': expected auto or a length of at least 0"),
        (DiscoverSettings, "objective", "discrete", "--x 'discrete': choose from sampling, soft, soft_vr, soft_dr"),
        (ImageSettings, "size", "25x", "--x '25x': expected HEIGHTxWIDTH in pixels, multiples of 32, such as 256x192"),
        (
            ImageSettings,
            "channels",
            "8,0",
            "--x '8,0': expected positive whole numbers separated by commas, such as 32,64,128",
        ),
    ],
)
def test_a_text_that_is_not_accepted_is_named(kind, name, text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        setting_fields(kind)[name].parse(text, "--x")
