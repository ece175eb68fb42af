"""`pcsargmax robustness`: what is left of a run on noisy, cluttered, sparse, partial and turned clouds."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsargmax.commands.shared.alike import alike, data_name, method_label, over_seeds, told_apart
from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.evaluation_options import Checkpoint, Data, Device, check_once, parse_thresholds
from pcsargmax.runs.checkpoint import find_checkpoint

if TYPE_CHECKING:
    from rich.table import Table

#: The columns of the tables by the kind of the runs: heading, what it shows, how; "%": a share as per cent.
_COLUMNS: dict[str, list[tuple[str, str, str]]] = {
    "keypoint_detector": [
        ("mean\nerror", "mean_error", ".4f"),
        ("cor-\nrect", "correct", "%"),
        ("confi-\ndence", "confidence", "%"),
        ("calib.\nerror", "ece", "%"),
        ("radius\nholds", "radius_coverage", "%"),
        ("moved", "movement", ".4f"),
    ],
    "skeleton_merger": [
        ("DAS", "das", "%"),
        ("above\nchance", "das_corrected", "%"),
        ("nearest", "min_distance", ".3f"),
        ("moved", "movement", ".4f"),
        ("repeat.\n@0.05", "repeatability@0.05", "%"),
        ("repeat.\n@0.1", "repeatability@0.1", "%"),
        ("points", "points", ".0f"),
    ],
}


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or checkpoints.", metavar="RUN...")],
    split: Annotated[str, typer.Option(help="Split of the run's data set.")] = "test",
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = Path("runs/robustness"),
    change: Annotated[
        list[str] | None,
        typer.Option(
            help="A change to make: noise, outliers, stray, density, view or rotation, with severities where others "
            "are wanted, such as noise=0.01,0.02; may be given several times. All if not given."
        ),
    ] = None,
    shapes: Annotated[int, typer.Option(help="Only so many shapes, the first ones; 0: all.")] = 0,
    thresholds: Annotated[str, typer.Option(help="Of a detector's PCK, in the run's unit.")] = "0.01,0.02,0.05",
    data: Data = None,
    checkpoint: Checkpoint = "best",
    seed: Annotated[int, typer.Option(help="Seed of the changes and of the bootstrap.")] = 0,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Write over the tables and figures of another sweep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, a list.")] = False,
) -> None:
    """Measure runs on changed clouds: error and confidence of detectors, alignment of discoveries, by severity.

    Severities: of noise its σ, in shares of the bounding-box diagonal; of outliers the share of the points moved to
    anywhere in the bounding box; of stray points, one in a hundred, the box that they lie in, in lengths of the
    bounding box; of density the share of the points dropped; of a view the number of sides that the shape is seen from;
    of a rotation the largest angle about y, in degrees.

    Writes OUT/robustness.json and .csv, and a figure of the detectors and one of the discoveries, each as PNG and PDF.
    Runs that differ in nothing but the seed share a line and a table.

    Examples:

        pcsargmax robustness runs/mug-sampling-seed0

        pcsargmax robustness runs/mug-soft-* runs/mug-sampling-* --change noise --change view=4,2,1
    """
    with friendly_errors():
        for run in runs:
            find_checkpoint(run, checkpoint)
        from pcsargmax.benchmark.robustness import sweep
        from pcsargmax.commands.shared.progress import console, progress_bars
        from pcsargmax.runs.load import load_cloud_run

        options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds), "severities": parse_changes(change)}
        if shapes < 0:
            raise ValueError(f"shapes must not be negative, got {shapes}")
        if (out / "robustness.json").exists() and not force:
            raise ValueError(f"{out / 'robustness.json'} is there: name another --out, or write over it by --force")
        opened = [load_cloud_run(run, checkpoint=checkpoint, device=device) for run in runs]
        check_once(opened)
        if data is not None:
            opened = [run.with_data(data) for run in opened]
        results: list[dict[str, Any]] = []
        with progress_bars() as bars:
            for one in opened:
                update = partial(bars.update, f"sweeping {one.folder.name}")
                results.append(sweep(one, split, most=shapes or None, seed=seed, progress=update, **options))
                _write_numbers(results, out)
        draw(results, out)
        if as_json:
            typer.echo(json.dumps(results))
        else:
            print_robustness(results)
        console.print(f"written to {out}", highlight=False)


def parse_changes(said: Sequence[str] | None) -> dict[str, tuple[float, ...]] | None:
    """Read "noise" and "view=4,2,1" as what `sweep` takes; None for none."""
    wanted: dict[str, tuple[float, ...]] = {}
    for text in said or ():
        name, equals, values = text.partition("=")
        if name.strip() in wanted:
            raise ValueError(f"change {name.strip()} is named twice: give its severities at once, with commas between")
        try:
            wanted[name.strip()] = tuple(float(value) for value in values.split(",")) if equals else ()
        except ValueError:
            raise ValueError(f"change must be NAME or NAME=NUMBER,NUMBER, got {text!r}") from None
    return wanted or None


def by_name(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The results of the runs that differ in nothing but the seed, by a name for them."""
    groups = alike(results, "kind")
    labels = [f"{data_name(runs[0])}, {method_label(runs[0])}" for runs in groups]
    return dict(zip(told_apart(labels, [runs[0]["run"] for runs in groups]), groups, strict=True))


def print_robustness(results: list[dict[str, Any]]) -> None:
    """Print a table of each method: a row a change and severity, the mean over its runs."""
    from rich.console import Console

    for name, runs in by_name(results).items():
        Console().print(_table(name, runs))
        seen = max(one["seen_in_training"] for one in runs)
        if seen:
            typer.echo(f"{seen} of the {runs[0]['num_shapes']} shapes were seen in training")


def _table(name: str, runs: list[dict[str, Any]]) -> Table:
    """The table of one method."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    first = runs[0]
    raw = first["unit"] == "raw" and first["kind"] == "keypoint_detector"
    unit = "errors in raw units, movement in diagonals" if raw else "lengths in diagonals"
    told = f"mean of {len(runs)} runs" if len(runs) > 1 else first["run"]
    table = Table(
        title=f"{name}, {first['split']} split: {first['num_shapes']} shapes, {told}\n{unit}",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # within 80 columns
    )
    columns = [(pck.replace("pck", "PCK\n"), pck, "%") for pck in _pck_names(first)] + _COLUMNS[first["kind"]]
    table.add_column("change")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    before = "none"
    for rows in zip(*(one["rows"] for one in runs), strict=True):
        change, severity = rows[0]["change"], rows[0]["severity"]
        if change != before:
            table.add_row(change)
            before = change
        cells = [
            over_seeds([row.get(key) for row in rows], partial(_text, how), deviation=False) for _, key, how in columns
        ]
        table.add_row("none" if change == "none" else f"  {severity:g}", *cells)
    return table


def _text(how: str, value: float) -> str:
    return f"{100 * value:.1f}" if how == "%" else f"{value:{how}}"


def _pck_names(result: dict[str, Any]) -> list[str]:
    return [name for name in result["rows"][0] if name.startswith("pck@") and "/" not in name]


def _write_numbers(results: list[dict[str, Any]], out: Path) -> None:
    """Keep the results as OUT/robustness.json and, a line a run, change and severity, robustness.csv."""
    from pcsargmax.io.atomic import atomic_path

    with atomic_path(out / "robustness.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    about = ("run", "kind", "data", "objective", "split", "unit", "num_shapes")
    lines = [
        {**{name: one[name] for name in about}, "training_seed": one["settings"]["seed"], "seed": one["seed"], **row}
        for one in results
        for row in one["rows"]
    ]
    header = list(dict.fromkeys(name for line in lines for name in line))
    with atomic_path(out / "robustness.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, header)
        writer.writeheader()
        writer.writerows(lines)


def draw(results: list[dict[str, Any]], out: Path) -> None:
    """Write a figure of the runs of each kind and unit, as PNG and PDF."""
    from pcsargmax.visualize.figures import robustness_figure, save_figure

    for kind, stem in (("keypoint_detector", "detectors"), ("skeleton_merger", "discoveries")):
        of_kind = [one for one in results if one["kind"] == kind]
        units = list(dict.fromkeys(one["unit"] for one in of_kind))
        for unit in units:
            chosen = [one for one in of_kind if one["unit"] == unit]
            names = _pck_names(chosen[0])
            pck = {"pck": names[len(names) // 2]} if names else {}
            figure = robustness_figure(by_name(chosen), **pck)
            for ending in ("png", "pdf"):
                file = out / f"robustness-{stem}{f'-{unit}' if len(units) > 1 else ''}.{ending}"
                save_figure(figure, file)
