"""The fields of a settings class: type, default, help, bounds, and the check of a value against them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pcsargmax.settings.texts import TEXT_FORMS

#: The groups of settings, in the order of help and files.
SECTIONS = ("Data", "Network", "Objective", "Training", "Augmentation", "Machine")

_WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string"}

_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("of at least", lambda value, bound: value >= bound),
    "above": ("above", lambda value, bound: value > bound),
    "below": ("below", lambda value, bound: value < bound),
    "at_most": ("at most", lambda value, bound: value <= bound),
}


def setting(default: Any, help: str = "", **about: Any) -> Any:
    """Declare a field of a settings class.

    A subclass that declares the field again keeps what it does not say anew.

    Args:
        default: its value if none is given.
        help: its help on the command line; "{choices}" stands for the names that the type allows.
        about: `section`, and the bounds `at_least`, `above`, `below` and `at_most`.
    """
    return field(default=default, metadata=about | ({"help": help} if help else {}))


data_setting = partial(setting, section="Data")
network_setting = partial(setting, section="Network")
objective_setting = partial(setting, section="Objective")
training_setting = partial(setting, section="Training")
augmentation_setting = partial(setting, section="Augmentation")
machine_setting = partial(setting, section="Machine")


@dataclass(frozen=True)
class SettingField:
    """What is known of a setting of a class."""

    name: str
    type: Any
    section: str
    help: str
    bounds: dict[str, float]

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that it takes; empty where it is no choice."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def check(self, value: Any, label: str | None = None, given: str | None = None) -> None:
        """Raise ValueError for a value of another type or out of bounds.

        Args:
            value: to check.
            label: what the message calls the setting, its name if None.
            given: the text on the command line that the value was read from.
        """
        form = TEXT_FORMS.get(self.name)
        inside = (_BOUNDS[name][1](value, bound) for name, bound in self.bounds.items())
        if not (_has_type(value, self.type) and all(inside) and (form is None or form.valid(value))):
            raise self._error(value if given is None else given, label, as_text=given is not None)

    def parse(self, text: str, label: str | None = None) -> Any:
        """Return the value that a text on the command line stands for.

        Raises:
            ValueError: a text of another form, or a value that is not allowed.
        """
        parse = TEXT_FORMS[self.name].parse if self.name in TEXT_FORMS else _PARSERS.get(self.type, str)
        try:
            value = parse(text)
        except (ValueError, KeyError):
            raise self._error(text, label, as_text=True) from None
        self.check(value, label, text)
        return value

    def _error(self, given: Any, label: str | None, *, as_text: bool) -> ValueError:
        if self.choices:
            expected = f"choose from {', '.join(self.choices)}"
        elif form := TEXT_FORMS.get(self.name):
            expected = f"expected {form.text if as_text else form.value}"
        else:
            bounds = " and ".join(f"{_BOUNDS[name][0]} {bound}" for name, bound in self.bounds.items())
            expected = f"expected {_WORDS[self.type]} {bounds}".rstrip()
        return ValueError(f"{label or self.name} {given!r}: {expected}")


_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_PARSERS: dict[Any, Callable[[str], Any]] = {bool: lambda text: _TRUTH[text.lower()], int: int, float: float}


def setting_fields(settings: type[Any]) -> dict[str, SettingField]:
    """Return the fields of a settings class by name, in the order of the sections."""
    if settings not in _FIELDS:
        _FIELDS[settings] = _declared_fields(settings)
    return _FIELDS[settings]


#: The fields of the classes that were asked for: every construction asks, and type hints take long to resolve.
_FIELDS: dict[type, dict[str, SettingField]] = {}


def _declared_fields(settings: type[Any]) -> dict[str, SettingField]:
    types = get_type_hints(settings)
    found = []
    for one in fields(settings):
        about: dict[str, Any] = {}
        for owner in reversed(settings.__mro__):
            declared = vars(owner).get("__dataclass_fields__", {}).get(one.name)
            about |= declared.metadata if declared else {}
        bounds = {name: about[name] for name in _BOUNDS if name in about}
        found.append(SettingField(one.name, types[one.name], about["section"], about["help"], bounds))
    found.sort(key=lambda each: SECTIONS.index(each.section))
    return {each.name: each for each in found}


def setting_help(settings: type[Any]) -> dict[str, str]:
    """Return the help of each setting of a class."""
    return {name: one.help.replace("{choices}", _listed(one.choices)) for name, one in setting_fields(settings).items()}


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a value is of the type of a setting; a whole number counts as float, an infinite one does not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (Union, UnionType):
        return any(_has_type(value, each) for each in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        return len(value) == len(arguments) and all(map(_has_type, value, arguments))
    if kind in (int, float):
        number = (int, float) if kind is float else int
        return isinstance(value, number) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind)
