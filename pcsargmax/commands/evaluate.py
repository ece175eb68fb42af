"""`pcsargmax evaluate`: how good a run is, with the template baseline beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pcsargmax.commands.errors import friendly_errors


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint.", metavar="RUN")],
    split: Annotated[str, typer.Option(help="Split of the run's data set.")] = "test",
    thresholds: Annotated[str, typer.Option(help="PCK thresholds, in the run's unit.")] = "0.01,0.02,0.05",
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a run: PCK, mean error and mIoU with 95 % intervals, beside the template baseline.

    The result is kept in RUN/metrics-SPLIT.json.

    Example:

        pcsargmax evaluate runs/mug-sampling-seed0
    """
    with friendly_errors():
        from pcsargmax.commands.progress import progress_bars
        from pcsargmax.datasets.cache import atomic_path
        from pcsargmax.training.run import load_run

        opened = load_run(run, checkpoint=checkpoint, device=device)
        with progress_bars() as bars:
            metrics = opened.evaluate(
                split,
                thresholds=parse_thresholds(thresholds),
                progress=lambda i, n: bars.update("evaluating", i, n),
            )
        with atomic_path(opened.folder / f"metrics-{Path(split).stem}.json") as temporary:
            temporary.write_text(json.dumps(metrics, indent=1) + "\n")
        typer.echo(json.dumps(metrics)) if as_json else print_metrics(metrics)


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read "0.01,0.05" as (0.01, 0.05)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"thresholds must be numbers with commas between, got {text!r}") from None


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the result as a table: a row a way to guess, the template baseline among them."""
    from rich.console import Console
    from rich.table import Table

    from pcsargmax.training.run import ESTIMATES

    found = metrics["expectation"]
    unit = "raw units" if metrics["unit"] == "raw" else "shares of the bounding-box diagonal"
    table = Table(
        title=f"{metrics['data']}, {metrics['split']} split, trained by {metrics['objective']}: "
        f"{found['num_models']} shapes, {found['num_keypoints']} keypoints\n"
        f"lengths in {unit}, 95 % intervals over shapes"
    )
    names = [key for key in found if key.startswith(("pck@", "iou@")) and "/" not in key]
    table.add_column("")
    for key in (*names, "mean_error"):
        table.add_column(key.replace("_", " "), justify="right")
    for estimate in ESTIMATES:
        values = [_cell(metrics[estimate], key) for key in (*names, "mean_error")]
        table.add_row(estimate.replace("_", " "), *values)
    Console().print(table)
    typer.echo(
        f"presence: {metrics['presence_accuracy']:.1%} right; {metrics['seconds_per_cloud'] * 1e3:.0f} ms a shape"
    )


def _cell(values: dict[str, Any], key: str) -> str:
    if values[key] is None:
        return "–"
    share = key.startswith(("pck", "iou"))
    text = f"{100 * values[key]:.1f}" if share else f"{values[key]:.4f}"
    if values.get(f"{key}/low") is not None:
        low, high = values[f"{key}/low"], values[f"{key}/high"]
        text += f"\n{100 * low:.1f}–{100 * high:.1f}" if share else f"\n{low:.3f}–{high:.3f}"
    return text
