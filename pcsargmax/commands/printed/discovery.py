"""Tables of how good discovered keypoints are."""

from __future__ import annotations

from functools import partial
from typing import Any

import typer

from pcsargmax.commands.shared.alike import alike, data_name, method_label, over_seeds, runs_text
from pcsargmax.settings.detector import UNITS

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
    """Print one evaluation: DAS with intervals and its protocol, mIoU by each protocol, coverage, collapse in words."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{metrics['data']}, split {metrics['split']!r}, discovered by {metrics['objective']}: "
        f"{metrics['num_shapes']} shapes, {len(metrics['keypoint_names'])} keypoints\n"
        "95 % intervals over shapes",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # within 80 columns
    )
    known = {heading: way for heading, way in _COLUMNS.items() if _number(metrics, way) is not None}
    for heading in known:
        table.add_column(heading, justify="right")
    table.add_row(*(_with_interval(metrics, heading, way) for heading, way in known.items()))
    Console().print(table)
    if metrics["miou"]:
        _print_iou(metrics["miou"], metrics["unit"])
    for line in _remarks(metrics):
        typer.echo(line)


def _print_iou(by_protocol: dict[str, dict[str, Any]], unit: str) -> None:
    """Print mIoU, a row a protocol."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"mIoU by protocol, thresholds in {UNITS[unit]}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    names = [name for name in by_protocol["hungarian"] if name.startswith("iou@") and "/" not in name]
    for name in names:
        table.add_column(f"mIoU{name.removeprefix('iou')}", justify="right")
    for protocol, values in by_protocol.items():
        table.add_row(protocol, *(_with_interval(values, "mIoU", (name,)) for name in names))
    Console().print(table)


def print_discovery_comparison(results: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the runs that differ in nothing but the seed."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title="mean ± standard deviation over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", *_COLUMNS):
        table.add_column(heading, justify="right" if heading else "left")
    for runs in alike(results, "protocol"):
        spreads = [
            over_seeds([_number(one, way) for one in runs], partial(_text, heading))
            for heading, way in _COLUMNS.items()
        ]
        collapsed = sum(one["collapsed"] for one in runs)
        told = f", {collapsed} collapsed" if collapsed else ""
        table.add_row(
            f"{data_name(runs[0])}\n{method_label(runs[0])}\n{runs_text(runs)}{told}",
            *spreads,
        )
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
    alone = metrics["self_alignment"]
    if alone["das_sc3k"] is not None:
        lines.append(
            f"DAS by the protocol 'sc3k': {100 * alone['das_sc3k']:.1f} of the first shape, "
            f"{100 * alone['das_sc3k_all']:.1f} of all"
        )
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
    from pcsargmax.runs.evaluation.repeatability import CHANGES

    return [
        f"repeatability@0.1 {100 * values['repeatability@0.1']:.1f}, moved {values['movement']:.3f} of the diagonal: "
        f"{CHANGES[name][1]}"
        for name, values in (found or {}).items()
    ]


def _number(metrics: dict[str, Any], way: tuple[str, ...]) -> float | None:
    value: Any = metrics
    for step in way:
        value = None if value is None else value[step]
    return value


def _with_interval(metrics: dict[str, Any], heading: str, way: tuple[str, ...]) -> str:
    """A number, and the ends of its interval below it where there is one."""
    *before, name = way
    values: dict[str, Any] = metrics
    for step in before:
        values = values[step]
    text = _text(heading, values[name])
    if values.get(f"{name}/low") is None:
        return text
    return f"{text}\n{_text(heading, values[f'{name}/low'])}–{_text(heading, values[f'{name}/high'])}"


def _text(heading: str, value: float) -> str:
    return f"{value:.3f}" if heading == "nearest" else f"{100 * value:.1f}"
