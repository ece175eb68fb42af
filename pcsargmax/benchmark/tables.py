"""The paper's tables, made of the results of runs: mean and spread over seeds, intervals over shapes, the paper beside.

Nothing is run and no data set is read: each score is computed from what a result file says of every shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.cells import Cell, make_cell
from pcsargmax.benchmark.groups import Group, Result, Variant, data_order, grouped
from pcsargmax.benchmark.measures import Measure
from pcsargmax.benchmark.notes import table_notes
from pcsargmax.benchmark.paper import TABLES
from pcsargmax.benchmark.scores import Score
from pcsargmax.benchmark.table_measures import KINDS, table_measures

#: The heading of the mean over the data.
MEAN = "mean"


@dataclass(frozen=True)
class Row:
    """A row of ours and the paper's below it, None where there is no number; a reference is the paper's alone."""

    label: str
    cells: tuple[Cell | None, ...]
    paper: tuple[float | None, ...]
    reference: bool = False


@dataclass(frozen=True)
class Table:
    """A table, ready to be written in any format.

    Attributes:
        name: of `TABLES`.
        title: what the numbers are.
        columns: headings.
        rows: in order.
        digits: after the point.
        best: along which the best number of ours is marked, "column" or "row".
        lower_is_better: whether that is the smallest.
        against: label of the baseline of the paired tests; empty for none.
        mixed: data that not all methods were measured on the same shapes of, and their mean: no best is marked there.
        notes: a sentence or two each: how the numbers were made, and what is missing.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    digits: int
    best: Literal["column", "row"]
    against: str
    mixed: tuple[str, ...]
    notes: tuple[str, ...]
    lower_is_better: bool = False


@dataclass(frozen=True)
class _Choice:
    """What the caller asked for; see `make_tables`."""

    data: tuple[str, ...]
    methods: tuple[str, ...]
    against: str
    num_bootstrap: int
    seed: int


#: Our number and the paper's, by method and data.
_Numbers = dict[tuple[Variant, str], tuple[Cell | None, float | None]]


def make_tables(
    results: Iterable[Result],
    table: str = "all",
    *,
    data: Sequence[str] = (),
    methods: Sequence[str] = (),
    estimate: str = "expectation",
    threshold: float | None = None,
    distance: str = "",
    against: str = "",
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> list[Table]:
    """Make tables of results; those that differ in their settings get a table each.

    Of detectors that were trained up to a symmetry there are two in place of one, as their titles say: of plain errors,
    and of errors up to symmetry.

    Args:
        results: as `open_results` gives them.
        table: one of `TABLES`, or "all" for those that there are results of.
        data: what to show, in this order, such as "mug"; empty: all that there are results of.
        methods: what to show, such as "soft" or "sampling-10"; empty: all that there are results of.
        estimate: the guess of a detector that is scored: expectation, snapped or mode.
        threshold: of the error, in the unit of the results; None: 0.01, the paper's, and for confidence 0.02.
        distance: of PCK, one of `DISTANCES`; empty: Euclidean, and up to symmetry too where trained so.
        against: the method that the others are tested against on the same shapes; empty for no test.
        num_bootstrap: resamples of the shapes, of intervals and of tests.
        seed: of the resampling.

    Returns:
        The tables, at least one.

    Raises:
        ValueError: an unknown table, an argument that fits none of the results, or no results for the table.
    """
    if table not in (*TABLES, "all"):
        raise ValueError(f"table must be one of {', '.join(TABLES)} or all, got {table!r}")
    if num_bootstrap < 1:
        raise ValueError(f"num_bootstrap must be at least 1, got {num_bootstrap}")
    found = list(results)
    _check_names(found, data, [*methods, *([against] if against else [])])
    choice = _Choice(tuple(dict.fromkeys(data)), tuple(methods), against, num_bootstrap, seed)
    tables = [
        _table(name, measure, group, choice)
        for name in (TABLES if table == "all" else (table,))
        for kind in KINDS[name]
        for group in grouped(found, kind)
        if _shown(name, group, choice)
        for measure in table_measures(name, group, estimate, threshold, distance)
    ]
    if not tables:
        raise ValueError(f"no results for table {table!r}, only of {_told(found)}")
    return tables


def _check_names(results: list[Result], data: Sequence[str], methods: Sequence[str]) -> None:
    known_data = sorted({result.data for result in results}, key=data_order)
    for name in data:
        if name not in known_data and name not in paper.CATEGORIES:
            raise ValueError(f"data must be of KeypointNet or the results, {', '.join(known_data)}, got {name!r}")
    known = sorted({result.method for result in results}, key=lambda method: Variant(method).order)
    for name in methods:
        if name not in known:
            raise ValueError(f"methods must be among those of the results, {', '.join(known)}, got {name!r}")


def _told(results: list[Result]) -> str:
    return ", ".join(sorted({f"{result.data} ({result.kind}, {result.method})" for result in results})) or "none"


def _shown(name: str, group: Group, choice: _Choice) -> list[Variant]:
    """The methods of a group that a table shows: those with a number of ours."""
    data = choice.data or group.data
    return [
        one
        for one in group.variants
        if (not choice.methods or one.method in choice.methods)
        and (name != "samples" or one.objective == "sampling")
        and any((one, where) in group.cells for where in data)
    ]


def _baseline(group: Group, method: str) -> Variant | None:
    """The variant of a method that others are tested against: the one without changes of its own, or the only one."""
    found = [one for one in group.variants if one.method == method]
    plain = [one for one in found if not one.changes] or found
    return plain[0] if len(plain) == 1 else None


def _table(name: str, measure: Measure, group: Group, choice: _Choice) -> Table:
    shown, base = _shown(name, group, choice), _baseline(group, choice.against)
    data = choice.data or tuple(group.data)
    found = _numbers(measure, group, shown, base, data, choice)
    columns = (*data, MEAN) if len(data) > 1 else data
    if name == "samples":
        rows, columns = _by_data(shown, columns, found), tuple(one.label.partition(", ")[2] for one in shown)
    else:
        rows = _by_method(shown, columns, found, measure.images)
        columns = (*columns, measure.images_name) if measure.images else columns
    mixed = tuple(name for name in data if group.on_other_shapes(shown, name))
    apart = f" ({group.differs})" if group.differs else ""
    notes = table_notes(
        measure,
        group,
        shown,
        data,
        against=choice.against,
        baseline=base,
        num_bootstrap=choice.num_bootstrap,
        beside=any(number is not None for row in rows if not row.reference for number in row.paper),
        undefined=[
            f"{one.label} on {where}"
            for (one, where), (cell, _) in found.items()
            if cell is None and (one, where) in group.cells
        ],
    )
    return Table(
        name=name,
        title=f"{measure.title}, split {group.split!r}{apart}",
        columns=columns,
        rows=tuple(rows),
        digits=measure.digits,
        best="row" if name == "samples" else "column",
        against=base.label if base else "",
        mixed=(*mixed, MEAN) if mixed else (),
        notes=tuple(notes),
        lower_is_better=measure.lower_is_better,
    )


def _numbers(
    measure: Measure,
    group: Group,
    shown: Sequence[Variant],
    base: Variant | None,
    data: tuple[str, ...],
    choice: _Choice,
) -> _Numbers:
    """Our number and the paper's of each method on each of the data, and the mean over these."""
    scores = {one: _scores(measure, group, one, data) for one in shown}
    others = {} if base is None else scores.get(base) or _scores(measure, group, base, data)
    found: _Numbers = {}
    for one in shown:
        for where in (*data, MEAN):
            score, cell = scores[one].get(where), None
            if score is not None:
                places = data if where == MEAN else (where,)
                tested = one != base and base is not None and _same_data(group, one, base, places)
                other = others.get(where) if tested else None
                cell = make_cell(score, other, measure.scale, choice.num_bootstrap, choice.seed)
            found[one, where] = cell, _paper(measure, group, one, data if where == MEAN else (where,))
    return found


def _same_data(group: Group, one: Variant, base: Variant, data: Sequence[str]) -> bool:
    pairs = [(group.cells.get((one, name)), group.cells.get((base, name))) for name in data]
    return all(ours and theirs and ours[0].same_data(theirs[0]) for ours, theirs in pairs)


def _scores(measure: Measure, group: Group, variant: Variant, data: Sequence[str]) -> dict[str, Score]:
    """The scores that a method has; of the mean where all data have one, of a common seed."""
    scores = {name: measure.score(group.cells[variant, name]) for name in data if (variant, name) in group.cells}
    mean = Score.of_several(list(scores.values())) if len(scores) == len(data) > 1 else None
    return scores if mean is None else scores | {MEAN: mean}


def _paper(measure: Measure, group: Group, variant: Variant, data: tuple[str, ...]) -> float | None:
    """The paper's number of a method on data, the mean of several; None where it has none that may be held against."""
    others = {result.data for result in group.results if not result.in_paper}
    if group.split != measure.split or others & set(data) or not variant.in_paper:
        return None
    return measure.number(variant.method, data)


def _by_method(
    shown: Sequence[Variant], columns: tuple[str, ...], found: _Numbers, images: dict[str, float]
) -> list[Row]:
    """Methods x data, and the paper's numbers on images where there are some."""
    rows = []
    for one in shown:
        cells, numbers = zip(*(found[one, where] for where in columns), strict=True)
        if images:
            # The paper's basis on images that is like the one on clouds.
            by_objective = images.get("gaussian" if one.objective == "sampling" else one.objective)
            number = images.get(one.method, by_objective) if one.in_paper else None
            cells, numbers = (*cells, None), (*numbers, number)
        rows.append(Row(one.label, cells, numbers))
    return rows


def _by_data(shown: Sequence[Variant], columns: tuple[str, ...], found: _Numbers) -> list[Row]:
    """Data x N_s, and the paper's numbers on images."""
    rows = []
    for where in columns:
        cells, numbers = zip(*(found[one, where] for one in shown), strict=True)
        rows.append(Row(where, cells, numbers))
    images = tuple(paper.SAMPLES["gaussian"].get(one.num_samples) for one in shown)
    if any(number is not None for number in images):
        rows.append(Row("COCO, mAP (paper, Table 2)", (None,) * len(shown), images, reference=True))
    return rows
