"""An experiment is one training and its evaluation; a benchmark is categories × methods × seeds of them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from pcsargmax.benchmark.sources import Source, data_hash
from pcsargmax.settings.common import BASES, OBJECTIVES, SAMPLED, RunSettings
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.settings.discovery import DISCOVER_OBJECTIVES, DISCOVER_RECIPES, DiscoverSettings
from pcsargmax.settings.fields import setting_fields
from pcsargmax.settings.images import ImageSettings
from pcsargmax.settings.presets import PRESETS, preset
from pcsargmax.settings.texts import as_texts, parse_ids

Kind = Literal["detector", "discovery", "images"]

SETTINGS: dict[str, type[RunSettings]] = {
    "detector": TrainSettings,
    "discovery": DiscoverSettings,
    "images": ImageSettings,
}
"""The settings of each kind of experiment."""

#: The recipes of the kinds that have the same ones for all data; the first is taken where none is named.
_RECIPES: dict[str, dict[str, dict[str, Any]]] = {"detector": RECIPES, "discovery": DISCOVER_RECIPES}

_REGULARIZED = ("regularizer_weight", "target_variance")
_BESIDE = ("expectation_weight",)
_RELAXED = ("relaxation", "temperature_schedule", "temperature_start", "temperature_end", "temperature_share")

#: Settings that have an effect on some objectives only, by objective; those of others have their defaults.
OWN: dict[str, tuple[str, ...]] = {
    "soft_vr": _REGULARIZED,
    "soft_dr": _REGULARIZED,
    "discrete": _BESIDE,
    **dict.fromkeys((*SAMPLED, *BASES), _RELAXED + _BESIDE),
}

#: Settings that came later with another default than what the code did before.
BEFORE: dict[str, Any] = {"edge_spacing": 0.01}

#: Settings that say where data are and how a run is watched: not what it learns.
_PLACES = ("root", "device", "tensorboard", "workers")
#: Settings that the name of an experiment says in words.
_NAMED = ("data", "objective", "basis", "num_samples", "seed")


@dataclass(frozen=True)
class Experiment:
    """One training and its evaluation.

    Attributes:
        kind: "detector" (supervised), "discovery" (without labels), or "images" (keypoints or surfaces in images).
        data: the data's name, without the path.
        method: an objective; of one that draws samples with their number, as in "sampling-10". On images
            sampling-argmax goes by its basis, as in "triangular-30".
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

        The digits are of the settings that are not the defaults, as texts: a setting that comes to the package later
        changes no name, nor does another form in JSON.
        """
        defaults, counted = as_texts(SETTINGS[self.kind]().to_dict()), as_texts(self.counted)
        rest = {name: value for name, value in counted.items() if name not in _NAMED and value != defaults[name]}
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
    known = BEFORE | as_texts(kept)
    return [
        f"{name}: was {known[name]!r}, now {value!r}"
        for name, value in as_texts(wanted).items()
        if value is not None and known.get(name) not in (None, value)
    ]


def other_settings(counted: dict[str, Any]) -> dict[str, Any]:
    """The counted settings that are neither data nor method nor seed: alike in results that may stand in one table."""
    return {name: value for name, value in counted.items() if name not in _NAMED}


def own_settings(kind: str, objective: str) -> list[str]:
    """Settings of a kind of experiment that have an effect on this objective and not on all, by name."""
    known = setting_fields(SETTINGS[kind])
    return sorted(name for name in OWN.get(objective, ()) if name in known)


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
        methods: each an objective, or an objective that draws samples and their number, as in "sampling-30"; on
            images a basis stands for sampling-argmax with it, as in "triangular-30".
        seeds: of the trainings.
        kind: of the experiments.
        recipe: of `train` or `discover`, or preset of `train-image`; empty for the first, which of images goes by the
            data.
        changes: settings that win over the recipe's.

    Raises:
        ValueError: an unknown method, recipe or setting, a value that does not fit, or something named twice.
    """
    allowed = _allowed(changes or {})
    bases = {source: _base(kind, source, recipe, allowed) for source in sources}
    parsed = [parse_method(method, kind) for method in methods]
    hashes = {source: data_hash(source.data, source.root or base.root) for source, base in bases.items()}
    planned = [
        _experiment(kind, source, bases[source], method, seed, hashes[source])
        for seed in seeds
        for source in sources
        for method in parsed
    ]
    if not planned:
        raise ValueError("nothing to run: name data, methods and seeds")
    _check_once("seeds", seeds)
    _check_once("data", [source.name for source in sources])
    _check_once("methods", [one.method for one in planned[: len(parsed)]])
    return planned


def recipe_names(kind: Kind) -> tuple[str, ...]:
    """What `recipe` can be for a kind; the first is taken where none is named."""
    return PRESETS if kind == "images" else tuple(_RECIPES[kind])


def _base(kind: Kind, source: Source, recipe: str, changes: dict[str, Any]) -> RunSettings:
    """The settings of recipe and changes, the latter winning."""
    names = recipe_names(kind)
    if recipe and recipe not in names:
        raise ValueError(f"recipe must be one of {', '.join(names)}, got {recipe!r}")
    chosen = recipe or names[0]
    values = preset(chosen, source.data) if kind == "images" else _RECIPES[kind][chosen]
    return SETTINGS[kind].from_dict(values | changes)


def _check_once(what: str, names: Sequence[Any]) -> None:
    if twice := [str(name) for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} named twice: {', '.join(twice)}")


def _allowed(changes: dict[str, Any]) -> dict[str, Any]:
    elsewhere = {
        "data": "DATA",
        "root": "--root",
        "objective": "--methods",
        "basis": "--methods",
        "seed": "--seeds",
    }
    for name, option in elsewhere.items():
        if name in changes:
            raise ValueError(f"{name} cannot be set: it is what {option} gives, got {changes[name]!r}")
    return changes


def _experiment(
    kind: Kind, source: Source, base: RunSettings, method: Method, seed: int, data: str | None
) -> Experiment:
    defaults = SETTINGS[kind]()
    samples = method.num_samples or base.num_samples if method.objective in SAMPLED else defaults.num_samples
    name = method.basis if method.objective == "sampling" and method.basis else method.objective
    others = {name for objective in OWN for name in own_settings(kind, objective)}
    idle = others - set(own_settings(kind, method.objective))
    changes: dict[str, Any] = {name: getattr(defaults, name) for name in idle}
    changes |= {"objective": method.objective, "num_samples": samples}
    changes |= {"basis": method.basis} if method.basis else {}
    settings = replace(base, data=source.data, root=source.root or base.root, seed=seed, **changes)
    method_name = f"{name}-{samples}" if method.objective in SAMPLED else name
    return Experiment(kind, source.name, method_name, seed, settings, data)


class Method(NamedTuple):
    """An objective, with what of it the name of a method says.

    Attributes:
        objective: its name.
        num_samples: None where the name does not say it.
        basis: of images; empty where it has no say or, on clouds, no choice.
    """

    objective: str
    num_samples: int | None = None
    basis: str = ""


def parse_method(text: str, kind: Kind = "detector") -> Method:
    """Read "sampling-30" or, of images, "triangular-30"; and "soft".

    Raises:
        ValueError: no such method, or a number that does not fit.
    """
    name, dash, number = text.strip().partition("-")
    names = _methods(kind)
    if name not in names:
        raise ValueError(f"methods of {_KINDS[kind]} must be of {', '.join(names)}, got {text!r}")
    method = names[name]
    if not dash:
        return method
    if method.objective not in SAMPLED:
        raise ValueError(f"{name} draws no samples to give a number of, got {text!r}")
    if not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise ValueError(f"methods must look like soft or {name}-10, got {text!r}")
    return method._replace(num_samples=int(number))


#: What an experiment of each kind is about, in messages.
_KINDS: dict[str, str] = {"detector": "a detector", "discovery": "a discovery", "images": "a network for images"}


def _methods(kind: Kind) -> dict[str, Method]:
    """The methods of a kind by the names that they have before the number of samples."""
    objectives = DISCOVER_OBJECTIVES if kind == "discovery" else OBJECTIVES
    if kind != "images":
        return {name: Method(name) for name in objectives}
    plain: dict[str, Method] = {name: Method(name) for name in objectives if name not in SAMPLED}
    sampled: dict[str, Method] = {basis: Method("sampling", basis=basis) for basis in BASES}
    return plain | {"closed_form": Method("closed_form", basis="gaussian")} | sampled


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
    """Read "NAME=VALUE" texts as settings of the kind, values as on the command line of its training.

    Raises:
        ValueError: no such setting, set twice, or a value that is not allowed.
    """
    known = setting_fields(SETTINGS[kind])
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"--set must look like NAME=VALUE, got {text!r}")
        if name not in known:
            close = difflib.get_close_matches(name, known, 3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"--set: {_KINDS[kind]} has no setting {name!r}{hint}")
        if name in changes:
            raise ValueError(f"--set: {name} is set twice")
        changes[name] = known[name].parse(value.strip(), f"--set {name}")
    return changes
