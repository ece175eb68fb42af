"""An experiment is one training and its evaluation; a benchmark is categories × methods × seeds of them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pcsargmax.benchmark.sources import Source, data_hash
from pcsargmax.training.discover_settings import DISCOVER_OBJECTIVES, DISCOVER_RECIPES, DiscoverSettings
from pcsargmax.training.run_settings import SAMPLED, RunSettings, setting_types
from pcsargmax.training.settings import OBJECTIVES, RECIPES, TrainSettings, parse_ids

Kind = Literal["detector", "discovery"]

SETTINGS: dict[str, type[RunSettings]] = {"detector": TrainSettings, "discovery": DiscoverSettings}
"""The settings of each kind of experiment."""

EXPERIMENT_RECIPES: dict[str, dict[str, dict[str, Any]]] = {"detector": RECIPES, "discovery": DISCOVER_RECIPES}
"""The recipes of each kind of experiment; the first is taken where none is named."""

#: Objectives that draw samples, so that a method of theirs has a number of them.

_REGULARIZED = ("regularizer_weight", "target_variance")
_RELAXED = ("relaxation", "temperature_schedule", "temperature_start", "temperature_end", "temperature_share")

#: Settings that have an effect on some objectives only, by objective; those of others have their defaults.
OWN: dict[str, tuple[str, ...]] = {
    "soft_vr": _REGULARIZED,
    "soft_dr": _REGULARIZED,
    "sampling": _RELAXED,
    "closed_form": _RELAXED,
}

#: Settings that came later with another default than what the code did before.
BEFORE: dict[str, Any] = {"edge_spacing": 0.01}

#: Settings that say where data are and how a run is watched: not what it learns.
_PLACES = ("root", "device", "tensorboard")
#: Settings that the name of an experiment says in words.
_NAMED = ("data", "objective", "num_samples", "seed")


@dataclass(frozen=True)
class Experiment:
    """One training and its evaluation.

    Attributes:
        kind: "detector" (supervised) or "discovery" (without labels).
        data: the data's name, without the path.
        method: an objective; of one that draws samples with their number, as in "sampling-10".
        seed: of the training.
        settings: all of them, with paths and device.
        data_hash: see `sources.data_hash`; None where it is not known.
    """

    kind: Kind
    data: str
    method: str
    seed: int
    settings: RunSettings
    data_hash: str | None = None

    @property
    def counted(self) -> dict[str, Any]:
        """The settings that count, as plain JSON values: all but paths, device and logs; `data` is the name."""
        return counted_settings(self.settings, self.data)

    @property
    def name(self) -> str:
        """That of run folder and result file: data, kind, method, seed, and 8 hex digits of what else was set.

        The digits are of the settings that are not the defaults: a setting that comes to the package later changes no
        name.
        """
        defaults = SETTINGS[self.kind]().to_dict()
        rest = {name: value for name, value in self.counted.items() if name not in _NAMED and value != defaults[name]}
        digits = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.data}-{self.kind}-{self.method}-seed{self.seed}-{digits}"


def counted_settings(settings: RunSettings, data: str) -> dict[str, Any]:
    """Settings that say what is learnt, as plain JSON values: no paths, device or logs; `data` by its name."""
    return {name: value for name, value in settings.to_dict().items() if name not in _PLACES} | {"data": data}


def differing(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What tells the settings of a result from those wanted, as "name: was …, now …"; none if they are the same.

    A setting that only one of the two knows, or is None in one, is no difference: it came to the package, or left it,
    in between. Those of `BEFORE` are known of all.
    """
    known = BEFORE | kept
    return [
        f"{name}: was {known[name]!r}, now {value!r}"
        for name, value in wanted.items()
        if value is not None and known.get(name) not in (None, value)
    ]


def other_settings(counted: dict[str, Any]) -> dict[str, Any]:
    """The counted settings that are neither data nor method nor seed: alike in results that may stand in one table."""
    return {name: value for name, value in counted.items() if name not in _NAMED}


def plan(
    sources: Sequence[Source],
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    kind: Kind = "detector",
    recipe: str = "",
    changes: dict[str, Any] | None = None,
) -> list[Experiment]:
    """The experiments of a benchmark: all methods on all data with the first seed, then with the next.

    Args:
        sources: of the data.
        methods: each an objective, or an objective that draws samples and their number, as in "sampling-30".
        seeds: of the trainings.
        kind: "detector" or "discovery".
        recipe: of `train` or `discover`; empty for the first.
        changes: settings that win over the recipe's.

    Raises:
        ValueError: an unknown method, recipe or setting, a value that does not fit, or something named twice.
    """
    recipes = EXPERIMENT_RECIPES[kind]
    if recipe and recipe not in recipes:
        raise ValueError(f"recipe must be one of {', '.join(recipes)}, got {recipe!r}")
    values = recipes[recipe or next(iter(recipes))] | _allowed(changes or {})
    base = SETTINGS[kind].from_dict(values)
    pairs = [parse_method(method, kind) for method in methods]
    hashes = {source: data_hash(source.data, source.root or base.root) for source in sources}
    planned = [
        _experiment(kind, source, base, objective, number, seed, hashes[source])
        for seed in seeds
        for source in sources
        for objective, number in pairs
    ]
    if not planned:
        raise ValueError("nothing to run: name data, methods and seeds")
    _check_once("seeds", seeds)
    _check_once("data", [source.name for source in sources])
    _check_once("methods", [one.method for one in planned[: len(pairs)]])
    return planned


def _check_once(what: str, names: Sequence[Any]) -> None:
    if twice := [str(name) for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} named twice: {', '.join(twice)}")


def _allowed(changes: dict[str, Any]) -> dict[str, Any]:
    elsewhere = {"data": "DATA", "root": "--root", "objective": "--methods", "seed": "--seeds"}
    for name, option in elsewhere.items():
        if name in changes:
            raise ValueError(f"{name} cannot be set: it is what {option} gives, got {changes[name]!r}")
    return changes


def _experiment(
    kind: Kind, source: Source, base: RunSettings, objective: str, number: int | None, seed: int, data: str | None
) -> Experiment:
    defaults = SETTINGS[kind]()
    samples = number or base.num_samples if objective in SAMPLED else defaults.num_samples
    method = f"{objective}-{samples}" if objective in SAMPLED else objective
    idle = set().union(*OWN.values()) - set(OWN.get(objective, ()))
    settings = replace(  # type: ignore[type-var]
        base,
        data=source.data,
        root=source.root or base.root,
        objective=objective,
        num_samples=samples,
        seed=seed,
        **{name: getattr(defaults, name) for name in idle},
    )
    return Experiment(kind, source.name, method, seed, settings, data)


def parse_method(text: str, kind: Kind = "detector") -> tuple[str, int | None]:
    """Read "sampling-30" as ("sampling", 30), and "soft" as ("soft", None).

    Raises:
        ValueError: no such objective, or a number that does not fit.
    """
    objectives = OBJECTIVES if kind == "detector" else DISCOVER_OBJECTIVES
    objective, dash, number = text.strip().partition("-")
    if objective not in objectives:
        raise ValueError(f"methods of a {kind} must be of {', '.join(objectives)}, got {text!r}")
    if not dash:
        return objective, None
    if objective not in SAMPLED:
        raise ValueError(f"{objective} draws no samples to give a number of, got {text!r}")
    if not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise ValueError(f"methods must look like soft or {objective}-10, got {text!r}")
    return objective, int(number)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "0-2,7" as (0, 1, 2, 7).

    Raises:
        ValueError: it does not look like that.
    """
    try:
        seeds = parse_ids(text)
    except ValueError:
        seeds = None
    if not seeds:
        raise ValueError(f"seeds must look like 0-2 or 0,3,5, got {text!r}")
    return seeds


def parse_changes(texts: Iterable[str], kind: Kind = "detector") -> dict[str, Any]:
    """Read "NAME=VALUE" texts as settings of the kind, each value of its setting's type.

    Raises:
        ValueError: no such setting, set twice, or a value of another type.
    """
    types = setting_types(SETTINGS[kind])
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"--set must look like NAME=VALUE, got {text!r}")
        if name not in types:
            close = difflib.get_close_matches(name, types, 3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"--set: a {kind} has no setting {name!r}{hint}")
        if name in changes:
            raise ValueError(f"--set: {name} is set twice")
        changes[name] = _value(name, value.strip(), types[name])
    return changes


def _value(name: str, text: str, kind: type) -> Any:
    """The value that a text stands for."""
    if kind is bool:
        truth = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in truth:
            raise ValueError(f"--set: {name} must be true or false, got {text!r}")
        return truth[text.lower()]
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"--set: {name} must be of type {kind.__name__}, got {text!r}") from None
