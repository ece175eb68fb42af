"""Reading the results of evaluations: their keys, units and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Results of evaluations by the labels of their runs.
Results = Mapping[str, Mapping[str, Any]]


def results_of(runs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The results of the runs, by their labels."""
    return {label: run.metrics for label, run in runs.items()}


def unit_text(metrics: Mapping[str, Any]) -> str:
    """What the lengths of a result are in."""
    if metrics["unit"] != "raw":
        return "bounding-box diagonals"
    return str(metrics["lengths"]["unit"]) if "lengths" in metrics else "raw units"


def lengths_of(results: Results) -> Results:
    """What the results have in the unit of the files, see `LengthScorer.compute`; nothing where that is not known."""
    return {label: one["lengths"] for label, one in results.items() if "lengths" in one}


def up_to(blocks: Iterable[Mapping[str, Any]]) -> str:
    """What the errors are up to in blocks of results that tell their "symmetry"; nothing where they are plain."""
    return "" if all(one["symmetry"] == "none" for one in blocks) else ", up to the symmetry of the training"


def metric_keys(metrics: Mapping[str, Any], measure: str) -> list[str]:
    """The keys of a measure of a detector at its thresholds, such as "pck@0.01"."""
    return [key for key in metrics["expectation"] if re.fullmatch(rf"{measure}@[^/]+", key)]


def middle_pck(metrics: Mapping[str, Any]) -> str:
    """The key of the PCK that stands for the others: that of the middle threshold."""
    keys = metric_keys(metrics, "pck")
    return keys[len(keys) // 2]
