"""`pcsargmax evaluate`: how good a run is, a detector's with the template baseline beside it."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pcsargmax.commands.errors import friendly_errors
from pcsargmax.commands.evaluation_options import (
    BootstrapSeed,
    Checkpoint,
    Data,
    Device,
    Split,
    Symmetry,
    Thresholds,
    parse_thresholds,
)

_LINE_END = re.compile(r"\n\s*")


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or checkpoints.", metavar="RUN...")],
    split: Split = "",
    data: Data = None,
    thresholds: Thresholds = "",
    checkpoint: Checkpoint = "best",
    seed: BootstrapSeed = 0,
    device: Device = "cpu",
    self_pairs: Annotated[
        bool, typer.Option(help="Count pairs of a shape with itself in the DAS of a discovery, as published.")
    ] = True,
    repeatability: Annotated[
        bool,
        typer.Option("--repeatability", help="Of a discovery: look again on turned, noisy, thinned, partial copies."),
    ] = False,
    average: Annotated[
        str, typer.Option(help="What counts the same in PCK of a detector: pooled (keypoints), model (shapes) or id.")
    ] = "pooled",
    strict: Annotated[
        bool, typer.Option("--strict", help="PCK of a detector counts errors below the threshold, not at it.")
    ] = False,
    geodesic: Annotated[
        bool, typer.Option("--geodesic", help="Measure a detector along the cloud too, as KeypointNet's benchmark.")
    ] = False,
    symmetry: Symmetry = "none",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON: an object, of several runs a list.")
    ] = False,
) -> None:
    """Measure a run. A detector: PCK, mean error and mIoU with 95 % intervals, beside the template baseline.

    Below them stands what presence, confidence and radius were worth: average precision of presence and how many claims
    were true, correlation and calibration of confidence, and the mean error of the surest half. --geodesic and
    --symmetry add tables of their own.

    A discovery: DAS and DAS corrected for chance, mIoU, coverage and inclusivity, the distance of the nearest
    keypoints, and whether they have collapsed.

    The result is kept in RUN/metrics-SPLIT.json. Several runs are also compared: mean and spread over the seeds.

    Examples:

        pcsargmax evaluate runs/mug-sampling-seed0

        pcsargmax evaluate runs/mug-*

        pcsargmax evaluate runs/mug-sampling-seed0 --geodesic --strict --average model --symmetry all

        pcsargmax evaluate runs/mug-discover-sampling-seed0
    """
    with friendly_errors():
        from pcsargmax.commands.progress import progress_bars
        from pcsargmax.training.discover_run import DiscoverRun
        from pcsargmax.training.run import load_run

        options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
        opened = [load_run(run, checkpoint=checkpoint, device=device) for run in runs]
        of_detectors: dict[str, Any] = {
            "average": average,
            "strict": strict,
            "geodesic": geodesic,
            "symmetry": symmetry,
        }
        of_discoveries: dict[str, Any] = {"self_pairs": self_pairs, "repeatability": repeatability}
        found = [isinstance(one, DiscoverRun) for one in opened]
        if all(found):
            _check_unused(of_detectors, {"average": "pooled", "symmetry": "none"}, "detector")
        if not any(found):
            _check_unused(of_discoveries, {"self_pairs": True}, "discovery")
        if data is not None:
            opened = [run.with_data(data) for run in opened]
        results = []
        with progress_bars() as bars:
            for one in opened:
                own = of_discoveries if isinstance(one, DiscoverRun) else of_detectors
                where = split or ("all" if isinstance(one, DiscoverRun) else "test")
                update = partial(bars.update, f"evaluating {one.folder.name}")
                results.append(one.evaluate(where, seed=seed, progress=update, **options, **own))
                write_metrics(results[-1], one.folder)
        if as_json:
            typer.echo(json.dumps(results[0] if len(results) == 1 else results))
        else:
            print_results(results)


def _check_unused(options: dict[str, Any], usual: dict[str, Any], kind: str) -> None:
    """Refuse an option that says something to no run: anything but its usual value, False if not given."""
    for name, value in options.items():
        if value != usual.get(name, False):
            option = "--no-self-pairs" if name == "self_pairs" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is of a {kind}, got no run of that kind")


def print_results(results: list[dict[str, Any]]) -> None:
    """Print each result, and below them comparisons where there are several of a kind."""
    from pcsargmax.commands.detector_tables import print_comparison, print_metrics
    from pcsargmax.commands.discover_tables import print_discovery, print_discovery_comparison

    discoveries = [metrics for metrics in results if metrics.get("kind") == "skeleton_merger"]
    detectors = [metrics for metrics in results if metrics.get("kind") != "skeleton_merger"]
    for metrics in detectors:
        print_metrics(metrics)
    if len(detectors) > 1:
        print_comparison(detectors)
    for metrics in discoveries:
        print_discovery(metrics)
    if len(discoveries) > 1:
        print_discovery_comparison(discoveries)


def write_metrics(metrics: dict[str, Any], folder: Path) -> Path:
    """Keep the result as FOLDER/metrics-SPLIT.json."""
    from pcsargmax.datasets.cache import atomic_path

    path = folder / f"metrics-{Path(metrics['split']).stem}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(_json(metrics))
    return path


def _json(metrics: dict[str, Any]) -> str:
    """A figure a line, to be read and compared, but a line for a list of figures, such as those of a shape."""
    text = json.dumps(metrics, indent=1, allow_nan=False)
    return re.sub(r"\[\n\s*([^][{}]*?)\n\s*\]", lambda found: f"[{_LINE_END.sub(' ', found[1])}]", text) + "\n"
