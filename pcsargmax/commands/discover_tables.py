"""Tables of how good discovered keypoints are."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import typer

#: What a table shows of one evaluation: its heading, and the way to the number.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "DAS": ("das", "das"),
    "forward": ("das", "das_forward"),
    "backward": ("das", "das_backward"),
    "above\nchance": ("das", "das_corrected"),
    "nearest": ("min_distance",),
    "cover-\nage": ("coverage", "coverage"),
    "inclu-\nsivity": ("coverage", "inclusivity@0.03"),
}


def print_discovery(metrics: dict[str, Any]) -> None:
    """Print one evaluation: DAS and its protocol, DAS corrected for chance, mIoU, coverage, and collapse in words."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{metrics['data']}, split {metrics['split']!r}, discovered by {metrics['objective']}: "
        f"{metrics['num_shapes']} shapes, {len(metrics['keypoint_names'])} keypoints",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # within 80 columns
    )
    shown = {heading: _number(metrics, way) for heading, way in _COLUMNS.items()}
    shown |= {f"mIoU\n{name.removeprefix('iou')}": metrics["iou"][name] for name in _iou_names(metrics)}
    known = {heading: value for heading, value in shown.items() if value is not None}
    for heading in known:
        table.add_column(heading, justify="right")
    table.add_row(*(_text(heading, value) for heading, value in known.items()))
    Console().print(table)
    for line in _remarks(metrics):
        typer.echo(line)


def print_discovery_comparison(results: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the runs that differ in nothing but the seed."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    groups: dict[str, list[dict[str, Any]]] = {}
    for metrics in results:
        settings = {name: value for name, value in metrics["settings"].items() if name != "seed"}
        groups.setdefault(json.dumps([settings, metrics["split"], metrics["protocol"]]), []).append(metrics)
    table = Table(title="mean ± standard deviation over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", *_COLUMNS):
        table.add_column(heading, justify="right" if heading else "left")
    for alike in groups.values():
        spreads = [_spread(heading, [_number(one, way) for one in alike]) for heading, way in _COLUMNS.items()]
        collapsed = sum(one["collapsed"] for one in alike)
        told = f", {collapsed} collapsed" if collapsed else ""
        table.add_row(f"{Path(alike[0]['data']).name}, {_objective(alike[0])}\n{len(alike)} runs{told}", *spreads)
    Console().print(table)


def _remarks(metrics: dict[str, Any]) -> list[str]:
    """What a number alone does not say, a line each."""
    nearest = metrics["min_distance"]
    lines = [f"nearest keypoints {nearest:.3f} apart (mean over the shapes, min-max frame)"]
    if metrics["collapsed"]:
        lines[0] += "\nCOLLAPSED: keypoints lie in one place, which DAS rewards; read the corrected one"
    if metrics["num_annotated"]:
        lines.append(f"DAS by the protocol {metrics['protocol']!r}, {metrics['num_annotated']} annotated shapes")
    else:
        lines.append("no annotations: nothing to align by")
    lines += _repeatability(metrics["repeatability"])
    matched = metrics["correspondence"]
    if matched is not None:
        named = [name for name in matched["names"] if name is not None]
        lines.append(f"{len(named)} keypoints named after annotations: {', '.join(named) or '–'}")
    loss = metrics["reconstruction"]
    lines.append(
        f"reconstruction: fidelity {loss['fidelity']:.4f}, coverage {loss['coverage']:.4f}; "
        f"{metrics['seconds_per_cloud'] * 1e3:.0f} ms a shape; {metrics['seen_in_training']} shapes seen in training"
    )
    return lines


def _repeatability(found: dict[str, dict[str, float]] | None) -> list[str]:
    """How many keypoints were found again on changed copies, a line each change."""
    from pcsargmax.training.discover_repeatability import CHANGES

    return [
        f"repeatability@0.1 {100 * values['repeatability@0.1']:.1f}, moved {values['movement']:.3f} of the diagonal: "
        f"{CHANGES[name][1]}"
        for name, values in (found or {}).items()
    ]


def _objective(metrics: dict[str, Any]) -> str:
    samples = metrics["settings"]["num_samples"]
    return f"sampling {samples}" if metrics["objective"] == "sampling" else str(metrics["objective"])


def _iou_names(metrics: dict[str, Any]) -> list[str]:
    return [name for name in metrics["iou"] or () if name.startswith("iou@") and "/" not in name]


def _number(metrics: dict[str, Any], way: tuple[str, ...]) -> float | None:
    value: Any = metrics
    for step in way:
        value = None if value is None else value[step]
    return value


def _text(heading: str, value: float) -> str:
    return f"{value:.3f}" if heading == "nearest" else f"{100 * value:.1f}"


def _spread(heading: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    text = _text(heading, fmean(known))
    return f"{text}\n± {_text(heading, stdev(known))}" if len(known) > 1 else text
