"""Tables of how good a detector is."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from pcsargmax.commands.shared.alike import alike, data_name, method_label, over_seeds, runs_text
from pcsargmax.settings.detector import UNITS

if TYPE_CHECKING:
    from rich.table import Table

#: What counts the same, in words, by the name of the average.
_AVERAGES = {"pooled": "over keypoints", "model": "over shapes", "id": "over keypoint ids"}


#: The estimates before the last stage, by what made them.
_STAGES = {name: f"after the {name}" for name in ("map", "prior", "look")}


def metric_names(metrics: dict[str, Any]) -> list[str]:
    """The numbers that a table shows, in order: PCK and mIoU at their thresholds, the mean error."""
    shares = [key for key in metrics["expectation"] if key.startswith(("pck@", "iou@")) and "/" not in key]
    return [*shares, "mean_error"]


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the result as tables: a row a way to guess, the template baseline among them; below them a few lines."""
    from rich.console import Console

    found, copies = metrics["expectation"], metrics.get("copies", 1)
    looked = f"mean over {copies} samples of each cloud\n" if copies > 1 else ""
    title = (
        f"{metrics['data']}, {metrics['split']} split, trained by {metrics['objective']}: "
        f"{found['num_models']} shapes, {found['num_keypoints']} keypoints\n{looked}"
        f"lengths in {_unit_text(metrics)}, 95 % intervals over shapes{_protocol_text(metrics['protocol'])}"
    )
    Console().print(_table(title, metrics, metric_names(metrics)))
    if "lengths" in metrics:
        Console().print(_lengths_table(metrics["lengths"], staged=bool(metrics.get("stages"))))
    shares = [name for name in metric_names(metrics) if not name.startswith("iou@")]
    if metrics["geodesic"] is not None:
        told = metrics["geodesic"]
        title = f"along the cloud, {told['neighbors']} neighbours a point{_protocol_text(told)}"
        Console().print(_table(title, told, shares))
        typer.echo(_saliency_text(told))
    if metrics["symmetric"] is not None:
        told = metrics["symmetric"]
        title = (
            f"up to symmetry: {' and '.join(told['kinds'])}, "
            f"{told['num_symmetric']} shapes annotated with any{_protocol_text(told)}"
        )
        Console().print(_table(title, told, shares))
    for line in (
        *_template_warning(metrics),
        *presence_lines(metrics),
        *symmetry_lines(metrics),
        confidence_text(metrics),
        *calibration_lines(metrics),
    ):
        typer.echo(line)


def template_warning(
    error: float | None, template_error: float | None, unit: str, shapes: str, *, fallback: bool = False
) -> list[str]:
    """Return lines that say so where a detector does not beat the template on some shapes, else none.

    Args:
        error: mean error of the detector.
        template_error: that of the template.
        unit: of both, a key of `UNITS`.
        shapes: on which they were measured, in words.
        fallback: whether predictions are the template's instead.
    """
    if error is None or template_error is None or error < template_error:
        return []
    return [
        f"This detector does not beat the template on {shapes}:",
        f"mean error {error:.4f}, template {template_error:.4f} ({UNITS[unit]}).",
        "Its predictions are the template's instead." if fallback else "Do not use its positions.",
        "Train longer (--epochs), or look for wrong landmarks: pcsargmax data check DATA",
    ]


def _template_warning(metrics: dict[str, Any]) -> list[str]:
    if metrics["settings"].get("symmetry", "none") != "none":
        return []  # such a detector may rightly have learnt another labelling than the annotated one
    error, template = (metrics[estimate]["mean_error"] for estimate in ("expectation", "template"))
    split, fallback = f"the split {metrics['split']!r}", metrics.get("fallback", False)
    return template_warning(error, template, metrics["unit"], split, fallback=fallback)


def _unit_text(metrics: dict[str, Any]) -> str:
    """What the lengths of a result are in: raw units are those of the files, where these are known."""
    known = metrics["unit"] == "raw" and "lengths" in metrics
    return str(metrics["lengths"]["unit"]) if known else UNITS[metrics["unit"]]


def _lengths_table(lengths: dict[str, Any], *, staged: bool) -> Table:
    """The errors in the unit of the files, a row an estimate, all to the place of the third digit of the first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from pcsargmax.runs.evaluation.estimates import ESTIMATES

    table = Table(
        title=f"errors in {lengths['unit']}, the unit of the landmark files", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("", "mean error", "95 % interval", "median error"):
        table.add_column(heading, justify="right" if heading else "left")
    places = _places(lengths["expectation"]["mean_error"])
    for name in ESTIMATES:
        mean, low, high, median = (
            f"{lengths[name][key]:.{places}f}"
            for key in ("mean_error", "mean_error/low", "mean_error/high", "median_error")
        )
        label = "result" if staged and name == "expectation" else name.replace("_", " ")
        table.add_row(label, mean, f"{low}–{high}", median)
    return table


def _places(length: float) -> int:
    """How many decimals show three digits of a length."""
    return min(max(2 - math.floor(math.log10(length)), 0), 9) if length > 0 else 2


def _table(title: str, values: dict[str, Any], names: list[str]) -> Table:
    """A row an estimate that there are values of."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from pcsargmax.runs.evaluation.estimates import ESTIMATES

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))  # within 80 columns
    table.add_column("")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    stages = values.get("stages", [])
    for stage in stages:
        table.add_row(_STAGES[stage["name"]], *(_cell(stage, name) for name in names))
    for estimate in ESTIMATES:
        if estimate in values:
            label = "result" if stages and estimate == "expectation" else estimate.replace("_", " ")
            table.add_row(label, *(_cell(values[estimate], name) for name in names))
    return table


def _protocol_text(told: dict[str, Any]) -> str:
    """How it was counted, where that is not the usual way."""
    text = "" if told["average"] == "pooled" else f", mean {_AVERAGES[told['average']]}"
    return text + (", strict <" if told["strict"] else "")


def presence_lines(metrics: dict[str, Any]) -> list[str]:
    """What the detector knew of which keypoints are there, and precision, recall and F1 of its detections."""
    found, pace = metrics["presence"], f"{metrics['seconds_per_cloud'] * 1e3:.0f} ms/shape"
    if found is None:
        return [f"presence: not trained, every keypoint counts as detected; {pace}"]
    text = f"presence: {_percent(found['accuracy'])} right"
    if found["average_precision"] is not None:
        text += (
            f", AP {_percent(found['average_precision'])} (chance {_percent(found['chance'])}), "
            f"of absence {_percent(found['average_precision_absent'])} ({_percent(found['chance_absent'])})"
        )
    threshold = next(name.removeprefix("f1@") for name in found if name.startswith("f1@"))
    shares = ", ".join(f"{name} {_percent(found[f'{name}@{threshold}'])}" for name in ("precision", "recall", "f1"))
    return [text, f"detections within {threshold}: {shares}; {pace}"]


def symmetry_lines(metrics: dict[str, Any]) -> list[str]:
    """Up to what symmetry the errors are measured that confidence is scored by, where that is not the usual way."""
    symmetry = metrics["confidence"]["symmetry"]
    if symmetry == "none":
        return []
    kinds = "reflection and rotation" if symmetry == "all" else symmetry
    return [f"below: errors up to {kinds}, as trained; all else is plain"]


def calibration_lines(metrics: dict[str, Any]) -> list[str]:
    """How well confidence is calibrated, and what leaving out the least confident would gain."""
    kept, sparse = metrics["calibration"], metrics["sparsification"]
    if kept is None:
        return []
    half = sparse["kept"].index(0.5)
    return [
        f"calibration: ECE {_percent(kept['ece'])}, Brier {kept['brier']:.3f}; "
        f"mean confidence {_percent(kept['mean_confidence'])}, accuracy {_percent(kept['share_correct'])}",
        f"sparsification: mean error {sparse['error'][-1]:.4f}, most confident half {sparse['error'][half]:.4f} "
        f"(at best {sparse['oracle'][half]:.4f})",
    ]


def _saliency_text(told: dict[str, Any]) -> str:
    """Two figures of KeypointNet's own benchmark, of points without ids."""
    names = [(part, name) for part in ("saliency_iou", "saliency_map") for name in told[part] if "@" in name]
    shown = [f"{name} {_percent(told[part][name])}" for part, name in names if "/" not in name]
    return f"salient points, pooled, IoU <=, mAP <, as published:\n  {', '.join(shown)}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def confidence_text(metrics: dict[str, Any]) -> str:
    """The correlation of confidence with correctness, and below it how often the radius covers the true point."""
    found, kept, radius = metrics["confidence"], metrics["calibration"], metrics["radius"]
    told = "–" if kept is None or kept["pearson"] is None else f"{kept['pearson']:.2f}"
    text = f"confidence: r = {told} (error <= {100 * found['threshold']:g}% diagonal)"
    if not found["calibrated"]:
        return f"{text}; not calibrated: no val split"
    if radius is None:
        return f"{text}; no radius: too few val shapes"
    mean = f"{radius['mean']:.3f}"
    if "lengths" in metrics:
        length, unit = metrics["lengths"]["radius"], metrics["lengths"]["unit"]
        mean += f" ({length:.{_places(length)}f} {unit})"
    return f"{text}\nradius {mean} covers {radius['coverage']:.0%} (nominal {radius['nominal']:.0%})"


def print_comparison(results: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the runs that differ in nothing but the seed."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    names = metric_names(results[0])
    table = Table(title="mean ± standard deviation over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for runs in alike(results, "protocol"):
        for estimate in ("expectation", "snapped"):
            spreads = [over_seeds([one[estimate][name] for one in runs], partial(_text, name)) for name in names]
            named = f"{data_name(runs[0])}\n{method_label(runs[0])}"
            table.add_row(f"{named}\n{estimate}, {runs_text(runs)}", *spreads)
    Console().print(table)


def _text(name: str, value: float) -> str:
    return f"{100 * value:.1f}" if _is_share(name) else f"{value:.4f}"


def _is_share(name: str) -> bool:
    return name.startswith(("pck", "iou"))


def _cell(values: dict[str, Any], key: str) -> str:
    if values[key] is None:
        return "–"
    text = _text(key, values[key])
    if values.get(f"{key}/low") is not None:
        low, high = values[f"{key}/low"], values[f"{key}/high"]
        text += f"\n{100 * low:.1f}–{100 * high:.1f}" if _is_share(key) else f"\n{low:.3f}–{high:.3f}"
    return text
