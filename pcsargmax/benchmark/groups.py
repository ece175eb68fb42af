"""Results read from their files and sorted: what may stand in one table, and what may not."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.experiments import BEFORE, OWN, SETTINGS, counted_settings, other_settings, own_settings
from pcsargmax.benchmark.results import read_results
from pcsargmax.settings.common import METHODS, method_name
from pcsargmax.settings.texts import as_texts

#: What the metrics of each kind must have; those of images name the unit or the length.
_NEEDED = {
    "detector": ("split", "unit", "shapes"),
    "discovery": ("split", "unit", "shapes"),
    "images": ("split", "images"),
}

_DEFAULTS = {kind: as_texts(other_settings(counted_settings(settings(), ""))) for kind, settings in SETTINGS.items()}


@dataclass(frozen=True)
class Result:
    """What a result file says; `settings` are texts (`as_texts`), `metrics` is what the evaluation returned."""

    path: Path
    kind: str
    data: str
    method: str
    seed: int
    settings: dict[str, Any]
    data_hash: str | None
    commit: str | None
    metrics: dict[str, Any]

    @property
    def items(self) -> dict[str, Any]:
        """What was measured of each shape or image."""
        found: dict[str, Any] = self.metrics["images" if self.kind == "images" else "shapes"]
        return found

    @property
    def models(self) -> list[str]:
        """Names of the shapes or images that it was measured on."""
        return list(self.items["name" if self.kind == "images" else "model_id"])

    @property
    def unit(self) -> str:
        """Of the errors; of keypoints in images what they are divided by."""
        return str(self.metrics["unit"] if "unit" in self.metrics else self.metrics["length"]["name"])

    @property
    def objective(self) -> str:
        """The method without its number of samples."""
        return self.method.partition("-")[0]

    @property
    def in_paper(self) -> bool:
        """Whether the data are a category of KeypointNet, which the paper's rows are about.

        A folder of one's own may have the same name, and has another unit; procedural shapes are named after theirs.
        """
        made = any(re.fullmatch(rf"{self.data}\d{{5}}", name) for name in self.models)
        return self.data in paper.CATEGORIES and self.unit == "raw" and not made

    def same_data(self, other: Result) -> bool:
        """Whether both were measured on the same shapes, of data that are not known to differ."""
        hashes = {self.data_hash, other.data_hash} - {None}
        return self.models == other.models and len(hashes) < 2


@dataclass(frozen=True)
class Variant:
    """A row: a method, with the settings of its own that differ from their defaults.

    Attributes:
        method: such as "soft" or "sampling-10".
        changes: such as "target_variance=4", or empty.
    """

    method: str
    changes: str = ""

    @property
    def objective(self) -> str:
        """The method without its number of samples."""
        return self.method.partition("-")[0]

    @property
    def num_samples(self) -> int:
        """N_s, 0 of a method that draws none."""
        number = self.method.partition("-")[2]
        return int(number) if number.isdigit() else 0

    @property
    def in_paper(self) -> bool:
        """Whether the paper has its loss: it sets no error of the expectation beside that of samples."""
        return "expectation_weight" not in self.changes

    @property
    def label(self) -> str:
        """As a table names it."""
        name = method_name(self.objective, self.num_samples)
        return f"{name}, {self.changes}" if self.changes else name

    @property
    def order(self) -> tuple[int, int, str, str]:
        """By the paper's order of objectives, then by the number of samples."""
        names = list(METHODS)
        place = names.index(self.objective) if self.objective in names else len(names)
        return place, self.num_samples, self.method, self.changes


@dataclass(frozen=True)
class Group:
    """Results that may stand in one table: nothing but data, method and seed tells them apart.

    Attributes:
        kind: of its results.
        split: of the evaluation.
        unit: of the lengths.
        settings: what all of them have in common, those of `OWN` left out.
        cells: the results by variant and data, ordered by seed.
        differs: what tells this group from others of its kind, empty where there is only one.
    """

    kind: str
    split: str
    unit: str
    settings: dict[str, Any]
    cells: dict[tuple[Variant, str], list[Result]] = field(default_factory=dict)
    differs: str = ""

    @property
    def things(self) -> str:
        """What the results were measured on, in words."""
        return "images" if self.kind == "images" else "shapes"

    @property
    def symmetry(self) -> str:
        """Up to which the detectors were trained; "none" of those that were not, and of discoveries."""
        return str(self.settings.get("symmetry", "none"))

    @property
    def variants(self) -> list[Variant]:
        """Those that have results, in the order of a table."""
        return sorted({variant for variant, _ in self.cells}, key=lambda variant: variant.order)

    @property
    def data(self) -> list[str]:
        """Those that have results: the paper's categories in its order, then others by name."""
        return sorted({data for _, data in self.cells}, key=data_order)

    @property
    def results(self) -> list[Result]:
        """All of them."""
        return [result for cell in self.cells.values() for result in cell]

    def on_other_shapes(self, variants: Iterable[Variant], name: str) -> list[Variant]:
        """Those of the variants that were not measured on the shapes of data that most of them were measured on."""
        first = {one: self.cells[one, name][0] for one in variants if (one, name) in self.cells}
        alike = {one: [result.same_data(other) for other in first.values()] for one, result in first.items()}
        usual = max(first, key=lambda one: sum(alike[one]), default=None)
        return [one for one in first if usual is not None and not first[one].same_data(first[usual])]

    @property
    def changes(self) -> dict[str, Any]:
        """The settings in common that differ from their defaults."""
        defaults = _DEFAULTS[self.kind]
        return {name: value for name, value in self.settings.items() if value != defaults.get(name)}


def data_order(name: str) -> tuple[int, str]:
    """The paper's categories in its order, then others by name."""
    known = name in paper.CATEGORIES
    return paper.CATEGORIES.index(name) if known else len(paper.CATEGORIES), name


def open_results(paths: Iterable[str | Path]) -> list[Result]:
    """Read result files, and of each folder all that lie in it.

    Args:
        paths: files or folders; what is named twice, or there are copies of, is taken once.

    Raises:
        FileNotFoundError: a path that is not there.
        ValueError: there are no results, or a file is none or has no values by shape; it is named.
    """
    found: dict[str, Result] = {}
    for path, content in read_results(paths):
        metrics = content["metrics"]
        if content["kind"] not in SETTINGS:
            raise ValueError(f"{path}: kind must be one of {', '.join(SETTINGS)}, got {content['kind']!r}")
        if missing := [name for name in _NEEDED[content["kind"]] if name not in metrics]:
            raise ValueError(f"{path}: no {' and no '.join(missing)} among its metrics: evaluate the run again")
        names = ("kind", "data", "method", "seed", "data_hash", "commit", "metrics")
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        try:
            settings = as_texts(content["settings"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        found.setdefault(key, Result(path, settings=settings, **{name: content[name] for name in names}))
    if not found:
        raise ValueError(f"no results (*.json) in {', '.join(map(str, paths))}")
    return list(found.values())


def grouped(results: Iterable[Result], kind: str) -> list[Group]:
    """Sort the results of a kind into groups that may be averaged and compared.

    Results that differ in the data, the method or the seed alone share a group. So do those that differ in settings
    that have an effect on one method only: they are variants of it.

    Args:
        results: of any kinds; a discovery on shapes without annotations has no scores, and no place in a group.
        kind: which of them.

    Returns:
        The groups, the one of most results first.

    Raises:
        ValueError: two results of one experiment, or seeds that were measured on different shapes.
    """
    groups: dict[str, Group] = {}
    apart = set().union(*OWN.values(), ("unit",))  # the unit that it came to stands in the metrics
    for result in results:
        if result.kind != kind or result.items is None:
            continue
        before = {name: value for name, value in BEFORE.items() if name in _DEFAULTS[kind]}
        settings = _DEFAULTS[kind] | before | other_settings(result.settings)
        common = {name: settings[name] for name in sorted(settings) if name not in apart}
        split, unit = result.metrics["split"], result.unit
        group = groups.setdefault(json.dumps([split, unit, common]), Group(kind, split, unit, common))
        group.cells.setdefault((_variant(result, settings), result.data), []).append(result)
    for group in groups.values():
        for cell in group.cells.values():
            cell.sort(key=lambda result: result.seed)
            _check_cell(cell)
    return _told_apart(sorted(groups.values(), key=lambda group: -len(group.results)))


def _variant(result: Result, settings: dict[str, Any]) -> Variant:
    defaults = _DEFAULTS[result.kind]
    names = own_settings(result.kind, result.objective)
    changes = [f"{name}={settings[name]}" for name in names if settings[name] != defaults[name]]
    return Variant(result.method, ", ".join(changes))


def _check_cell(cell: list[Result]) -> None:
    first = cell[0]
    for before, result in pairwise(cell):
        if before.seed == result.seed:
            raise ValueError(
                f"{result.data}, {result.method}, seed {result.seed}: two results, {before.path} and {result.path}; "
                "move one away"
            )
        if not result.same_data(first):
            raise ValueError(
                f"{result.data}, {result.method}: {first.path} and {result.path} were measured on different shapes; "
                "move away what is not to be shown"
            )


def _told_apart(groups: list[Group]) -> list[Group]:
    """The groups with what differs between them."""
    described = [group.settings | {"split": group.split, "unit": group.unit} for group in groups]
    names = [name for name in described[0] if len({repr(one.get(name)) for one in described}) > 1] if groups else []
    return [
        Group(
            group.kind,
            group.split,
            group.unit,
            group.settings,
            group.cells,
            ", ".join(f"{name}={one[name]}" for name in names),
        )
        for group, one in zip(groups, described, strict=True)
    ]
