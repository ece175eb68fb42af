import re

import pytest

from pcsargmax.settings.texts import TEXT_FORMS, as_texts, from_json, parse_ids


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("shares", "0.7,0.1,0.2", (0.7, 0.1, 0.2)),
        ("shares", "2,0,1", (2.0, 0.0, 1.0)),
        ("ids", "", None),
        ("ids", "3", (3,)),
        ("ids", "0,1,5", (0, 1, 5)),
        ("ids", "0-3,7,5-7", (0, 1, 2, 3, 7, 5, 6, 7)),
        ("sigma", "auto", "auto"),
        ("sigma", "0.01", 0.01),
        ("sigma", "0", 0.0),
        ("size", "256x192", (256, 192)),
        ("lr_steps", "", ()),
        ("lr_steps", "90,120", (90, 120)),
        ("channels", "8,16", (8, 16)),
    ],
)
def test_texts_and_values_are_one_another(name, text, value):
    assert from_json(name, text) == value
    assert TEXT_FORMS[name].write(value) == text
    assert TEXT_FORMS[name].valid(value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("shares", " 2.0, 0 ,1e0", (2, 0, 1)),
        ("ids", " 5 , 2-2 ", (5, 2)),
        ("ids", "  ", None),
        ("sigma", "1e-2", 0.01),
        ("size", "128X64", (128, 64)),
        ("lr_steps", "10, 20", (10, 20)),
    ],
)
def test_spelling_is_free_and_written_in_one_way(name, text, value):
    assert from_json(name, text) == value
    assert as_texts({name: text}) == as_texts({name: list(value) if isinstance(value, tuple) else value})


@pytest.mark.parametrize("text", ["a", "1,", "-1", "1-", "3-1", "1.5", "0-2-4"])
def test_ids_of_another_form_are_an_error(text):
    with pytest.raises(ValueError, match=r"int|range"):
        parse_ids(text)
    expected = f"ids {text!r}: expected semantic ids, such as 0-9 or 0,3,5, or an empty text for all"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        from_json("ids", text)


def test_old_and_new_files_are_equal_as_texts():
    old = {"size": "96x96", "lr_steps": "", "ids": "0-9", "sigma": "auto", "lr": 0.1, "axes": "xyz"}
    new = {"size": [96, 96], "lr_steps": [], "ids": list(range(10)), "sigma": "auto", "lr": 0.1, "axes": "xyz"}
    assert as_texts(new) == as_texts(old) == old


def test_a_value_of_no_version_is_named():
    with pytest.raises(ValueError, match="size 96: expected HEIGHTxWIDTH in pixels"):
        as_texts({"size": 96})
