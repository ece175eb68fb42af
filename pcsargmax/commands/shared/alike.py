"""Which results are of one method: they share a row, a table or a line, as the mean over their seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pcsargmax.settings.common import method_name
from pcsargmax.settings.texts import as_texts

#: Settings that tell no method from another: the seed, where the data lie, and how a training is carried out.
_NOT_COUNTED = ("seed", "data", "root", "device", "tensorboard", "workers")


def alike(results: Iterable[dict[str, Any]], *also: str) -> list[list[dict[str, Any]]]:
    """Sort results into those that nothing but the seed tells apart: of one method, data, split, and the same shapes.

    Args:
        results: what `evaluate`, `benchmark` or `robustness` keeps, with the settings of the training.
        also: the names of what else must be the same, such as "protocol".

    Returns:
        The groups, in the order of their first results.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        settings = {name: value for name, value in as_texts(one["settings"]).items() if name not in _NOT_COUNTED}
        shapes = (one.get("shapes") or {}).get("model_id")
        key = [data_name(one), one["split"], settings, shapes, [one[name] for name in also]]
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(one)
    return list(groups.values())


def data_name(result: dict[str, Any]) -> str:
    """The category of a result, or the name of its folder."""
    return Path(result["data"]).name


def method_label(result: dict[str, Any]) -> str:
    """The method of a result, as tables and figures name it: sampling on images by its basis."""
    settings = result["settings"]
    name = settings["objective"]
    if name == "sampling" and "basis" in settings:
        name = settings["basis"]
    return method_name(name, settings["num_samples"])


def told_apart(labels: Sequence[str], own: Sequence[str]) -> list[str]:
    """The labels, each with what is its own where two are the same, and with its place where that is not enough."""
    more = [label if labels.count(label) == 1 else f"{label}, {name}" for label, name in zip(labels, own, strict=True)]
    return [text if more.count(text) == 1 else f"{text}, {place}" for place, text in enumerate(more, start=1)]


def over_seeds(values: Sequence[float | None], text: Callable[[float], str], *, deviation: bool = True) -> str:
    """The mean of a number over the seeds, with the standard deviation of several below it; a dash if any is missing.

    Args:
        values: of each seed.
        text: how a number is written.
        deviation: whether it is shown.
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean = text(fmean(known))
    return f"{mean}\n± {text(stdev(known))}" if deviation and len(known) > 1 else mean


def runs_text(runs: Sequence[Any]) -> str:
    """How many runs there are, in words: "1 run", "3 runs"."""
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"
