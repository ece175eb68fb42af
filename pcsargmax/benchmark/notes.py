"""What a table's numbers alone do not say: how they were made, on what, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pcsargmax.benchmark.groups import Group, Result, Variant
from pcsargmax.benchmark.measures import Measure


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
    yield f"{over}; 95 % interval over shapes, by bootstrap ({num_bootstrap} resamples)."
    counts = {name: len(cell[0].metrics["shapes"]["model_id"]) for (_, name), cell in cells.items()}
    unit = {"raw": "raw units", "diagonal": "shares of the bounding-box diagonal"}[group.unit]
    lengths = f" Lengths in {unit}." if group.kind == "detector" else ""
    yield f"Shapes: {', '.join(f'{name} {counts[name]}' for name in data if name in counts)}.{lengths}"
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
    if against:
        yield from _of_tests(group, cells, against, baseline)
    commits = sorted(
        {result.commit[:7] + result.commit[40:] for cell in cells.values() for result in cell if result.commit}
    )
    if commits:
        yield f"Code: {', '.join(commits)}."


def _of_tests(
    group: Group, cells: dict[tuple[Variant, str], list[Result]], against: str, baseline: Variant | None
) -> Iterator[str]:
    if baseline is None:
        yield f"No test: {against!r} has no results with these settings, or several variants."
        return
    if all(one == baseline or (baseline, name) not in group.cells for one, name in cells):
        return
    yield (
        f"Differences are from {baseline.label}, on the same shapes, with their 95 % interval; * where it excludes 0 "
        "(paired bootstrap; not corrected for the number of comparisons)."
    )
    others = [
        f"{one.label} on {name}"
        for (one, name), cell in cells.items()
        if (baseline, name) in group.cells
        and group.cells[baseline, name][0].metrics["shapes"]["model_id"] != cell[0].metrics["shapes"]["model_id"]
    ]
    if others:
        yield f"Not tested, since measured on other shapes: {'; '.join(others)}."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
