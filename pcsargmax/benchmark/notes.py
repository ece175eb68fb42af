"""What a table's numbers alone do not say: how they were made, on what, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pcsargmax.benchmark.groups import Group, Result, Variant
from pcsargmax.benchmark.measures import Measure
from pcsargmax.settings.detector import UNITS


def table_notes(
    measure: Measure,
    group: Group,
    shown: Sequence[Variant],
    data: Sequence[str],
    *,
    against: str,
    baseline: Variant | None,
    num_bootstrap: int,
    beside: bool,
    undefined: Sequence[str],
) -> Iterator[str]:
    """The notes below a table, a sentence or two each.

    Args:
        measure: what is shown.
        group: of which results.
        shown: the methods.
        data: the columns.
        against: the method that tests were asked against, or empty.
        baseline: the variant of it that they were made against; None where there is none.
        num_bootstrap: resamples.
        beside: whether there are numbers of the paper in the table.
        undefined: where there are results, but no number.
    """
    cells = {(one, name): group.cells[one, name] for one in shown for name in data if (one, name) in group.cells}
    seeds = sorted({result.seed for cell in cells.values() for result in cell})
    over = f"Mean ± standard deviation over seeds {_listed(seeds)}" if len(seeds) > 1 else f"Seed {seeds[0]}"
    things = group.things
    yield f"{over}; 95 % interval over {things}, by bootstrap ({num_bootstrap} resamples)."
    counts = {
        name: " or ".join(sorted({str(len(cell[0].models)) for (_, other), cell in cells.items() if other == name}))
        for name in data
    }
    lengths = f" Lengths in {UNITS[group.unit]}." if group.kind == "detector" else ""
    yield f"{things.capitalize()}: {', '.join(f'{name} {counts[name]}' for name in data if counts[name])}.{lengths}"
    if others := [f"{one.label} on {name}" for name in data for one in group.on_other_shapes(shown, name)]:
        yield f"Measured on other {things} than the rest, and not to be compared: {'; '.join(others)}."
    seen = {cell: sum(result.metrics.get("seen_in_training", 0) for result in found) for cell, found in cells.items()}
    if group.kind != "discovery" and any(seen.values()):
        told = [f"{one.label} on {name}" for (one, name), number in seen.items() if number]
        yield f"Flattered, as some of the {things} were seen in training: {'; '.join(told)}."
    fallen = {
        cell: [result.seed for result in found if result.metrics.get("collapsed")] for cell, found in cells.items()
    }
    if told := [f"{one.label} on {name}, seeds {_listed(of)}" for (one, name), of in fallen.items() if of]:
        yield f"COLLAPSED, keypoints lie in one place, which the published score rewards: {'; '.join(told)}."
    if measure.definition:
        yield measure.definition
    if beside:
        yield measure.source
    elif measure.paper and group.split != measure.split:
        yield f"No numbers of the paper: it measures on split {measure.split!r}."
    if undefined:
        yield f"Not defined, as all keypoints are alike in it: {'; '.join(undefined)}."
    changes = ", ".join(f"{name}={value}" for name, value in group.changes.items())
    yield f"Settings other than the defaults: {changes}." if changes else "All settings are the defaults."
    fewer = [
        f"{one.label} on {name}: {_listed([result.seed for result in cell])}"
        for (one, name), cell in cells.items()
        if len(cell) < len(seeds)
    ]
    if fewer:
        yield f"Fewer seeds: {'; '.join(fewer)}."
    yield from _of_means(cells, shown, data)
    if against:
        yield from _of_tests(group, cells, against, baseline)
    codes = {text for cell in cells.values() for result in cell for text in (result.commit or "").split(", ")}
    if commits := sorted(text[:7] + text[40:] for text in codes if text):
        yield f"Code: {', '.join(commits)}."


def _of_means(
    cells: dict[tuple[Variant, str], list[Result]], shown: Sequence[Variant], data: Sequence[str]
) -> Iterator[str]:
    """Of the methods that have results on all data, with unlike seeds."""
    for one in shown:
        seeds = [{result.seed for result in cells[one, name]} for name in data if (one, name) in cells]
        if len(seeds) == len(data) and any(some != seeds[0] for some in seeds):
            common = sorted(set.intersection(*seeds))
            over = f"over seeds {_listed(common)} only" if common else "missing"
            yield f"The mean of {one.label} is {over}: all data are to have the same ones."


def _of_tests(
    group: Group, cells: dict[tuple[Variant, str], list[Result]], against: str, baseline: Variant | None
) -> Iterator[str]:
    if baseline is None:
        yield f"No test: {against!r} has no results with these settings, or several variants."
        return
    if all(one == baseline or (baseline, name) not in group.cells for one, name in cells):
        return
    yield (
        f"Differences are from {baseline.label}, on the same {group.things}, with their 95 % interval; * where it "
        "excludes 0 (paired bootstrap; not corrected for the number of comparisons)."
    )
    others = [
        f"{one.label} on {name}"
        for (one, name), cell in cells.items()
        if (baseline, name) in group.cells and not group.cells[baseline, name][0].same_data(cell[0])
    ]
    if others:
        yield f"Not tested, since measured on other {group.things}: {'; '.join(others)}."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
