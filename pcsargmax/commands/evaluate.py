"""`pcsargmax evaluate`: how good a run is, a detector's with the template baseline beside it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from pcsargmax.commands.errors import friendly_errors


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or checkpoints.", metavar="RUN...")],
    split: Annotated[
        str, typer.Option(help="Split of the run's data set; of a detector 'test', of a discovery 'all' if not given.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Where the data are now, if they have moved since.")] = None,
    thresholds: Annotated[
        str,
        typer.Option(
            help="In the run's unit: of PCK, 0.01,0.02,0.05 if not given; of a discovery of mIoU, 0.02,0.05,0.1."
        ),
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    self_pairs: Annotated[
        bool, typer.Option(help="Count pairs of a shape with itself in the DAS of a discovery, as published.")
    ] = True,
    repeatability: Annotated[
        bool,
        typer.Option("--repeatability", help="Of a discovery: look again on turned, noisy, thinned, partial copies."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON: an object, of several runs a list.")
    ] = False,
) -> None:
    """Measure a run. A detector: PCK, mean error and mIoU with 95 % intervals, beside the template baseline.

    Below them stand the correlation of confidence with being right and how often the radius held the true point.

    A discovery: DAS and DAS corrected for chance, mIoU, coverage and inclusivity, the distance of the nearest
    keypoints, and whether they have collapsed.

    The result is kept in RUN/metrics-SPLIT.json. Several runs are also compared: mean and spread over the seeds.

    Examples:

        pcsargmax evaluate runs/mug-sampling-seed0

        pcsargmax evaluate runs/mug-*

        pcsargmax evaluate runs/mug-discover-sampling-seed0
    """
    with friendly_errors():
        from pcsargmax.commands.progress import progress_bars
        from pcsargmax.training.discover_run import DiscoverRun
        from pcsargmax.training.run import load_run

        options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
        opened = [load_run(run, checkpoint=checkpoint, device=device) for run in runs]
        if data is not None:
            opened = [run.with_data(data) for run in opened]
        results = []
        with progress_bars() as bars:
            for one in opened:
                own: dict[str, Any] = {}
                if isinstance(one, DiscoverRun):
                    own = {"self_pairs": self_pairs, "repeatability": repeatability}
                where = split or ("all" if isinstance(one, DiscoverRun) else "test")
                update = partial(bars.update, f"evaluating {one.folder.name}")
                results.append(one.evaluate(where, seed=seed, progress=update, **options, **own))
                write_metrics(results[-1], one.folder)
        if as_json:
            typer.echo(json.dumps(results[0] if len(results) == 1 else results))
        else:
            print_results(results)


def print_results(results: list[dict[str, Any]]) -> None:
    """Print each result, and below them comparisons where there are several of a kind."""
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


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read "0.01,0.05" as (0.01, 0.05)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"thresholds must be numbers with commas between, got {text!r}") from None


def write_metrics(metrics: dict[str, Any], folder: Path) -> Path:
    """Keep the result as FOLDER/metrics-SPLIT.json."""
    from pcsargmax.datasets.cache import atomic_path

    path = folder / f"metrics-{Path(metrics['split']).stem}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    return path


def metric_names(metrics: dict[str, Any]) -> list[str]:
    """The numbers that a table shows, in order: PCK and mIoU at their thresholds, the mean error."""
    shares = [key for key in metrics["expectation"] if key.startswith(("pck@", "iou@")) and "/" not in key]
    return [*shares, "mean_error"]


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the result as a table: a row a way to guess, the template baseline among them."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from pcsargmax.training.estimates import ESTIMATES

    found = metrics["expectation"]
    unit = "raw units" if metrics["unit"] == "raw" else "shares of the bounding-box diagonal"
    table = Table(
        title=f"{metrics['data']}, {metrics['split']} split, trained by {metrics['objective']}: "
        f"{found['num_models']} shapes, {found['num_keypoints']} keypoints\n"
        f"lengths in {unit}, 95 % intervals over shapes",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # within 80 columns
    )
    names = metric_names(metrics)
    table.add_column("")
    for key in names:
        table.add_column(key.replace("_", " "), justify="right")
    for estimate in ESTIMATES:
        values = [_cell(metrics[estimate], key) for key in names]
        table.add_row(estimate.replace("_", " "), *values)
    Console().print(table)
    typer.echo(
        f"presence: {metrics['presence_accuracy']:.1%} right; {metrics['seconds_per_cloud'] * 1e3:.0f} ms a shape"
    )
    typer.echo(confidence_text(metrics))


def confidence_text(metrics: dict[str, Any]) -> str:
    """One line: what confidence and radius were worth."""
    found, radius = metrics["confidence"], metrics["radius"]
    told = "–" if found["pearson"] is None else f"{found['pearson']:.2f}"
    text = f"confidence: r = {told} (error <= {100 * found['threshold']:g}% diagonal)"
    if not found["calibrated"]:
        return f"{text}; not calibrated: no val split"
    if radius is None:
        return f"{text}; no radius: too few val shapes"
    return f"{text}; radius {radius['mean']:.3f} holds {radius['coverage']:.0%}, {radius['nominal']:.0%} meant"


def print_comparison(results: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the runs that differ in nothing but the seed."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    groups: dict[str, list[dict[str, Any]]] = {}
    for metrics in results:
        settings = {name: value for name, value in metrics["settings"].items() if name != "seed"}
        groups.setdefault(json.dumps([settings, metrics["split"]]), []).append(metrics)
    names = metric_names(results[0])
    table = Table(title="mean ± standard deviation over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for alike in groups.values():
        data, objective = Path(alike[0]["data"]).name, alike[0]["objective"]
        for estimate in ("expectation", "snapped"):
            spreads = [_spread([one[estimate][name] for one in alike], name) for name in names]
            table.add_row(f"{data}, {objective}\n{estimate}, {len(alike)} runs", *spreads)
    Console().print(table)


def _spread(values: list[float | None], name: str) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    digits, factor = (1, 100) if name.startswith(("pck", "iou")) else (4, 1)
    text = f"{factor * fmean(known):.{digits}f}"
    return f"{text}\n± {factor * stdev(known):.{digits}f}" if len(known) > 1 else text


def _cell(values: dict[str, Any], key: str) -> str:
    if values[key] is None:
        return "–"
    share = key.startswith(("pck", "iou"))
    text = f"{100 * values[key]:.1f}" if share else f"{values[key]:.4f}"
    if values.get(f"{key}/low") is not None:
        low, high = values[f"{key}/low"], values[f"{key}/high"]
        text += f"\n{100 * low:.1f}–{100 * high:.1f}" if share else f"\n{low:.3f}–{high:.3f}"
    return text
