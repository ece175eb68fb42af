"""Which measures each of the tables is made of."""

from __future__ import annotations

from dataclasses import replace

from pcsargmax.benchmark.groups import Group
from pcsargmax.benchmark.image_measures import image_measures
from pcsargmax.benchmark.measures import (
    PLAIN,
    Measure,
    confidence_measure,
    corrected_das_measure,
    das_measure,
    pck_measure,
    peak_measure,
)

#: The kinds of results that a table is made of.
KINDS: dict[str, tuple[str, ...]] = {
    "pck": ("detector",),
    "das": ("discovery",),
    "samples": ("detector", "discovery"),
    "confidence": ("detector", "images"),
    "images": ("images",),
}


def table_measures(
    table: str, group: Group, estimate: str, threshold: float | None, distance: str = ""
) -> list[Measure]:
    """What a table shows of a group, each of them alone.

    Of detectors that were trained up to a symmetry both kinds of errors are shown, and the titles say which.

    Args:
        table: one of `KINDS`, with a kind of the group's.
        group: of results.
        estimate: of a detector.
        threshold: of its error; None: the usual one.
        distance: of PCK; empty: Euclidean, and up to symmetry too where trained so.
    """
    if group.kind == "images":
        return image_measures(table, group, threshold)
    if group.kind == "discovery":
        return [das_measure(), corrected_das_measure()] if table == "das" else [das_measure()]
    trained = group.symmetry != "none"
    if table == "confidence":
        known = ("euclidean", "trust") if trained and estimate == "expectation" else ("euclidean",)
        makers = (peak_measure, confidence_measure)
        found = [make(estimate, threshold, each) for make in makers for each in known]
    else:
        usual = ("euclidean", "symmetric") if trained else ("euclidean",)
        found = [pck_measure(estimate, threshold, each) for each in ((distance,) if distance else usual)]
    told = trained or any(measure.errors != PLAIN for measure in found)
    return [replace(one, title=f"{one.title}, {one.errors}") for one in found] if told else found
