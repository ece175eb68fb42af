"""`pcsargmax benchmark`: the paper's experiments, run side by side, each result kept as it ends."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pcsargmax.benchmark.experiments import Experiment, Kind, parse_changes, parse_seeds, plan
from pcsargmax.benchmark.paper import TABLES
from pcsargmax.benchmark.sources import (
    PROCEDURAL_MODELS,
    Source,
    image_sources,
    named_sources,
    procedural_sources,
)
from pcsargmax.commands.shared.errors import friendly_errors

_OF_CLOUDS = "soft,soft_vr,soft_dr,sampling-1,sampling-10,sampling-30"

#: The methods of the paper's tables by kind of experiment.
PAPER_METHODS: dict[Kind, str] = {
    "detector": _OF_CLOUDS,
    "discovery": _OF_CLOUDS,
    "images": "soft,soft_vr,soft_dr,uniform-30,triangular-30,gaussian-30",
}

#: The table that is printed at the end by kind of experiment.
MAIN_TABLE: dict[Kind, str] = {"detector": "pck", "discovery": "das", "images": "images"}

if TYPE_CHECKING:
    from pcsargmax.benchmark.engine import Engine
    from pcsargmax.benchmark.runner import State
    from pcsargmax.benchmark.worker import Places


def command(
    data: Annotated[
        list[str] | None, typer.Argument(help="Categories below --root, or folders of your own.", metavar="DATA...")
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Objectives, with commas between; those that draw samples with their number, such as sampling-10; "
            "of images by the basis, such as triangular-30. All the paper's if not given.",
            show_default=False,
        ),
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0-2 or 0,3,5.")] = "0-2",
    unsupervised: Annotated[
        bool, typer.Option("--unsupervised", help="Discover keypoints, in place of training detectors.")
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Train networks for images; DATA as of `train-image`.")
    ] = False,
    root: Annotated[str, typer.Option(help="Folder that holds the categories, as of `train` and `discover`.")] = "",
    recipe: Annotated[
        str, typer.Option(help="Recipe of `train` or `discover`, preset of `train-image`; the first if not given.")
    ] = "",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, any setting; may be given again.", metavar="N=V")
    ] = None,
    procedural: Annotated[
        bool,
        typer.Option("--procedural", help="The procedural categories, those of DATA or all; made beside the runs."),
    ] = False,
    models: Annotated[int, typer.Option(help="Shapes of each procedural category.")] = PROCEDURAL_MODELS,
    results: Annotated[Path, typer.Option(help="Folder of the results, a JSON file each.")] = Path(
        "benchmarks/results"
    ),
    runs: Annotated[Path, typer.Option(help="Folder of run folders and logs.")] = Path("runs/benchmark"),
    jobs: Annotated[int, typer.Option(help="How many at once.")] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads of each; 0 for its share of the cores.")] = 0,
    engine: Annotated[str, typer.Option(help="processes (of this machine), or ray (a cluster; extra `ray`).")] = (
        "processes"
    ),
    table: Annotated[
        str,
        typer.Option(
            help=f"Table of the results to print at the end: {', '.join(TABLES)}, all, none; the main one if not given."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of each experiment as JSON.")] = False,
) -> None:
    """Train and evaluate every method on every category with every seed, and keep each result.

    What has a result already is not run again, and what was interrupted goes on: give the same command again.
    `pcsargmax tables` makes tables of the results, which need no run folder.

    Examples:

        pcsargmax benchmark mug --methods soft,sampling-10 --recipe onecycle --jobs 2

        pcsargmax benchmark mug chair --unsupervised --methods soft,sampling-1

        pcsargmax benchmark --procedural --recipe light --jobs 2

        pcsargmax benchmark ~/faces --images --recipe light --jobs 2
    """
    with friendly_errors():
        named = None if procedural else _named_sources(data or [], root, images)
        from pcsargmax.benchmark.worker import Places
        from pcsargmax.runs.base import usable_device

        places = Places(results, runs)
        if table not in ("", *TABLES, "all", "none"):
            raise ValueError(f"table must be one of {', '.join(TABLES)}, all, none, got {table!r}")
        kind = _kind(unsupervised, images, procedural)
        settings = partial(_plan, methods or PAPER_METHODS[kind], seeds, kind, recipe, changes or [])
        first = settings([Source("any", "any")])[0]  # mistakes come out before data are made
        if engine == "processes":  # the machines of a cluster may have what this one has not
            usable_device(first.settings.device)
        experiments = settings(named or _procedural_sources(data or [], root, models, runs))
        states = _run(experiments, places, _engine(engine, jobs, threads))
        _tell(states, places)
        if as_json:
            typer.echo(json.dumps([_as_json(state, places) for state in states]))
        elif table != "none":
            _print_tables(states, places, table or MAIN_TABLE[kind])
    if any(state.phase == "failed" for state in states):
        raise typer.Exit(1)


def _plan(
    methods: str, seeds: str, kind: Kind, recipe: str, changes: list[str], sources: list[Source]
) -> list[Experiment]:
    chosen = [part for part in methods.split(",") if part.strip()]
    return plan(sources, chosen, parse_seeds(seeds), kind=kind, recipe=recipe, changes=parse_changes(changes, kind))


def _kind(unsupervised: bool, images: bool, procedural: bool) -> Kind:
    if not images:
        return "discovery" if unsupervised else "detector"
    if unsupervised or procedural:
        other = "--unsupervised" if unsupervised else "--procedural"
        raise ValueError(f"--images and {other} do not go together; procedural images are DATA of `train-image`")
    return "images"


def _named_sources(data: list[str], root: str, images: bool) -> list[Source]:
    if not data:
        known = "data sets" if images else "categories"
        raise ValueError(f"DATA is missing: name {known} or folders{'' if images else ', or give --procedural'}")
    return image_sources(data, root) if images else named_sources(data, root)


def _procedural_sources(data: list[str], root: str, models: int, runs: Path) -> list[Source]:
    from pcsargmax.commands.shared.progress import progress_bars

    if root:
        raise ValueError(f"--root is of categories that are there; those of --procedural are made, got {root!r}")
    with progress_bars() as bars:
        update = partial(bars.update, "making shapes")
        return procedural_sources(runs, data, models=models, progress=update)


def _engine(name: str, jobs: int, threads: int) -> Engine:
    if name == "processes":
        from pcsargmax.benchmark.process_engine import ProcessEngine

        return ProcessEngine(jobs, threads)
    if name == "ray":
        from pcsargmax.benchmark.ray_engine import RayEngine

        return RayEngine(jobs, threads)
    raise ValueError(f"engine must be processes or ray, got {name!r}")


def _run(experiments: list[Experiment], places: Places, engine: Engine) -> list[State]:
    from pcsargmax.benchmark.runner import run_benchmark
    from pcsargmax.commands.shared.benchmark_progress import benchmark_progress
    from pcsargmax.commands.shared.progress import console

    with benchmark_progress() as progress:
        return run_benchmark(experiments, places, engine, progress=progress, stopping=lambda: console.print("stopping"))


def _tell(states: list[State], places: Places) -> None:
    """Print what was moved aside, what failed and why, and how many there are of each."""
    from pcsargmax.commands.shared.progress import console

    for state in states:
        for note in state.notes:
            console.print(Text(f"warning: {note}", style="yellow"), soft_wrap=True)
    for state in states:
        if state.phase == "failed":
            console.print(Text(f"failed: {state.experiment.name}: {state.error}", style="red"), soft_wrap=True)
    counts = Counter(state.phase for state in states)
    parts = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    console.print(f"{len(states)} experiments: {parts}; results in {places.results}", highlight=False, soft_wrap=True)


def _print_tables(states: list[State], places: Places, table: str) -> None:
    from rich.console import Console

    from pcsargmax.benchmark.formats import as_text
    from pcsargmax.benchmark.groups import open_results
    from pcsargmax.benchmark.tables import make_tables
    from pcsargmax.commands.shared.progress import console

    files = [places.result(state.experiment) for state in states if state.phase != "failed"]
    if not files:
        return
    try:
        text = as_text(make_tables(open_results(files), table), Console().width)
    except ValueError as error:  # such as that shapes without annotations have no score; the results are there
        console.print(Text(f"warning: no table: {error}", style="yellow"), soft_wrap=True)
        return
    typer.echo(text, nl=not text.endswith("\n"))


def _as_json(state: State, places: Places) -> dict[str, Any]:
    return {
        "name": state.experiment.name,
        "phase": state.phase,
        "result": None if state.phase == "failed" else str(places.result(state.experiment)),
        "notes": state.notes,
        "error": state.error or None,
    }
