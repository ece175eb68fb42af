"""Settings as text: how the command line, files written by earlier versions, and tables spell tuples of numbers.

A setting is a number or a tuple in Python, and a number or a list in JSON. Versions up to 0.1 kept the text of the
command line in its place, such as "0.7,0.1,0.2"; this module is the only one that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal, NamedTuple


class TextForm(NamedTuple):
    """The text form of a setting.

    Attributes:
        parse: the value of a text; any ValueError means that the text has another form.
        write: the text of a value; `parse` returns the value again.
        valid: whether a value of the right type is allowed.
        text: the accepted texts, in words.
        value: the accepted values, in words.
    """

    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    valid: Callable[[Any], bool]
    text: str
    value: str


def parse_ids(text: str) -> tuple[int, ...] | None:
    """Return (0, 1, 2, 3, 7) for "0-3,7", and None, for all, where the text is empty.

    Raises:
        ValueError: the text has another form.
    """
    if not text.strip():
        return None
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        run = range(int(first), int(last) + 1) if dash else [int(first)]
        if not run:
            raise ValueError(f"{part!r}: expected an ascending range")
        ids += run
    return tuple(ids)


def _write_ids(ids: tuple[int, ...] | None) -> str:
    """Write three or more consecutive ids as a range."""
    runs: list[list[int]] = []
    for number in ids or ():
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def _parse_numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _parse_whole(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text.strip() else ()


def _parse_size(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.lower().split("x"))


def _parse_sigma(text: str) -> float | Literal["auto"]:
    return "auto" if text == "auto" else float(text)


def _number(value: float) -> str:
    """Write a whole number without its fraction, as people do."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _joined(values: tuple[float, ...]) -> str:
    return ",".join(map(_number, values))


#: The settings that have a text form, by name; each means the same in every kind of training.
TEXT_FORMS: dict[str, TextForm] = {
    "shares": TextForm(
        _parse_numbers,
        _joined,
        lambda shares: all(map(math.isfinite, shares)),
        "three numbers separated by commas, such as 0.7,0.1,0.2",
        "three numbers, such as (0.7, 0.1, 0.2)",
    ),
    "ids": TextForm(
        parse_ids,
        _write_ids,
        lambda ids: ids is None or (len(ids) > 0 and min(ids) >= 0),
        "semantic ids, such as 0-9 or 0,3,5, or an empty text for all",
        "semantic ids, such as (0, 3, 5), or None for all",
    ),
    "sigma": TextForm(
        _parse_sigma,
        lambda sigma: sigma if isinstance(sigma, str) else _number(sigma),
        lambda sigma: sigma == "auto" or 0 <= sigma < math.inf,
        "auto or a length of at least 0",
        "'auto' or a length of at least 0",
    ),
    "size": TextForm(
        _parse_size,
        lambda size: "x".join(map(str, size)),
        lambda size: all(side >= 32 and side % 32 == 0 for side in size),
        "HEIGHTxWIDTH in pixels, multiples of 32, such as 256x192",
        "(height, width) in pixels, multiples of 32, such as (256, 192)",
    ),
    "lr_steps": TextForm(
        _parse_whole,
        _joined,
        lambda steps: all(a < b for a, b in pairwise((0, *steps))),
        "ascending epochs separated by commas, such as 90,120, or an empty text for none",
        "ascending epochs, such as (90, 120), or () for none",
    ),
    "channels": TextForm(
        _parse_whole,
        _joined,
        lambda channels: len(channels) > 0 and min(channels) > 0,
        "positive whole numbers separated by commas, such as 32,64,128",
        "positive whole numbers, such as (32, 64, 128)",
    ),
}


def from_json(name: str, value: Any) -> Any:
    """Return the value that a setting has in Python for what a file holds: its text form, or plain JSON."""
    if name in TEXT_FORMS and isinstance(value, str):
        try:
            return TEXT_FORMS[name].parse(value)
        except ValueError:
            raise ValueError(f"{name} {value!r}: expected {TEXT_FORMS[name].text}") from None
    return tuple(value) if isinstance(value, list) else value


def as_texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as files hold them, old or new, with text forms in one spelling: equal settings are equal here.

    Raises:
        ValueError: a value that no version has written.
    """
    return {name: _as_text(name, value) if name in TEXT_FORMS else value for name, value in settings.items()}


def _as_text(name: str, value: Any) -> str:
    try:
        return TEXT_FORMS[name].write(from_json(name, value))
    except TypeError:
        raise ValueError(f"{name} {value!r}: expected {TEXT_FORMS[name].text}") from None
