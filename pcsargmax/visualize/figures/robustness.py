"""What robustness sweeps found, as a figure by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.figures.curves import UNITS
from pcsargmax.visualize.figures.parts import check_figure_path, dress, panels, save_figure
from pcsargmax.visualize.palette import TRUTH_COLOR, keypoint_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The rows of a figure of robustness by the kind of the runs: what is drawn, and its label; shares in per cent.
_ROBUSTNESS = {
    "keypoint_detector": {
        "pck": "{pck} (%)",
        "mean_error": "mean error ({unit})",
        "confidence": "confidence (%)\n- - correct",
        "ece": "calibration error (%)",
        "radius_coverage": "radius holds (%)",
    },
    "skeleton_merger": {
        "das": "DAS (%)",
        "das_corrected": "DAS above chance (%)",
        "movement": "movement (diagonals)",
    },
}


def robustness_figure(
    results: Mapping[str, Sequence[Mapping[str, Any]]], *, pck: str = "pck@0.02", path: str | Path | None = None
) -> Figure:
    """Draw what `pcsargmax.benchmark.robustness.sweep` found: a column a change, a row a measure, a line a method.

    The severities stand at equal steps, the clouds as they are first. Lines are means over the runs of a method, bands
    their 95 % intervals over models, where there are any, their ends averaged over the runs. Dashed beside confidence
    is the share that was right, dotted how often the radius shall hold. Errors are drawn on a logarithmic scale.

    Args:
        results: the name of a method to its runs, all of one kind and unit and with the same changes and severities.
        pck: which PCK of a detector is drawn.
        path: where to save the figure as well.

    Raises:
        ValueError: no result, results that do not agree, or such a PCK is not among them.

    Example:
        >>> from pcsargmax.visualize.figures import robustness_figure
        >>> clean = {"pck@0.02": 0.9, "mean_error": 0.01, "confidence": 0.8, "correct": 0.9}
        >>> noisy = {"pck@0.02": 0.7, "mean_error": 0.02, "confidence": 0.8, "correct": 0.7}
        >>> result = {
        ...     "kind": "keypoint_detector",
        ...     "run": "mug",
        ...     "unit": "raw",
        ...     "changes": {"noise": {"axis": "sigma", "clean": "0", "severities": [0.02]}},
        ...     "radius_nominal": None,
        ...     "rows": [
        ...         {"change": "none", "severity": 0.0} | clean,
        ...         {"change": "noise", "severity": 0.02} | noisy,
        ...     ],
        ... }
        >>> figure = robustness_figure({"sampling-argmax": [result]}, path="robustness.png")
        >>> figure.axes[0].get_title(), figure.axes[0].get_ylabel()
        ('noise', 'PCK@0.02 (%)')
    """
    check_figure_path(path)
    every = [one for runs in results.values() for one in runs]
    if not every or not all(results.values()):
        raise ValueError("results: expected at least one of each method, got none")
    first = every[0]
    for one in every:
        if any(one[key] != first[key] for key in ("kind", "unit", "changes")):
            raise ValueError(f"results: expected one kind, unit and set of changes, {one['run']} has others")
    if first["kind"] == "keypoint_detector" and pck not in first["rows"][0]:
        raise ValueError(f"pck: expected one that was measured, got {pck!r}")
    labels = {pck if name == "pck" else name: label for name, label in _ROBUSTNESS[first["kind"]].items()}
    labels = {name: label for name, label in labels.items() if any(_has(runs, name) for runs in results.values())}
    changes = list(first["changes"])
    figure, axes = panels(len(labels) * len(changes), columns=len(changes), width=2.4, height=2.0)
    for number, (measure, label) in enumerate(labels.items()):
        line = axes[number * len(changes) : (number + 1) * len(changes)]
        for ax, change in zip(line, changes, strict=True):
            _draw_severities(ax, results, change, measure, 100 if "%" in label else 1)
        _share_scale(line, logarithmic=measure == "mean_error", share="%" in label)
        line[0].set_ylabel(label.format(pck=pck.upper(), unit=UNITS[first["unit"]]))
    for ax, change in zip(axes, changes, strict=False):
        ax.set_title(change, fontsize=11)
    for ax in axes[: -len(changes)]:
        ax.set_xlabel("")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return save_figure(figure, path)


def _draw_severities(
    ax: Any, results: Mapping[str, Sequence[Mapping[str, Any]]], change: str, measure: str, factor: float
) -> None:
    """One measure over the severities of one change."""
    for number, (name, runs) in enumerate(results.items()):
        color = keypoint_color(number)
        mean, low, high = (_along(runs, change, f"{measure}{end}") * factor for end in ("", "/low", "/high"))
        at = np.arange(len(mean))
        told = f"{name} ({len(runs)} run{'s' if len(runs) > 1 else ''})"
        ax.plot(at, mean, color=color, lw=1.8, marker="o", ms=3, label=told)
        ax.fill_between(at, low, high, color=color, alpha=0.15, lw=0)
        if measure == "confidence":
            ax.plot(at, _along(runs, change, "correct") * factor, color=color, lw=1.2, ls="--")
        if measure == "radius_coverage" and runs[0]["radius_nominal"] is not None:
            ax.axhline(factor * runs[0]["radius_nominal"], color=TRUTH_COLOR, lw=1, ls=":")
    about = next(iter(results.values()))[0]["changes"][change]
    dress(ax, "", about["axis"])
    ax.set_xticks(range(len(about["severities"]) + 1), [about["clean"], *(f"{s:g}" for s in about["severities"])])


def _share_scale(axes: Sequence[Any], *, logarithmic: bool, share: bool) -> None:
    """Give a row of panels one scale of values, told at the first: from 0, of shares to 100 %, or logarithmic."""
    for ax in axes[1:]:
        ax.sharey(axes[0])
        ax.tick_params(labelleft=False, which="both")
    axes[0].autoscale(axis="y")
    if logarithmic:
        axes[0].set_yscale("log")
        for set_formatter in (axes[0].yaxis.set_major_formatter, axes[0].yaxis.set_minor_formatter):
            set_formatter(_decimal)
        return
    lowest = [low for ax in axes if np.isfinite(low := ax.dataLim.ymin)]  # none where there is only NaN
    axes[0].set_ylim(bottom=min([0.0, *lowest]), top=101 if share else None)


def _decimal(value: float, _: int) -> str:
    """A tick of a logarithmic scale as 0.02, of 1, 2 and 5 alone."""
    return f"{value:g}" if f"{value:.0e}"[0] in "125" else ""


def _has(runs: Sequence[Mapping[str, Any]], measure: str) -> bool:
    """Whether every run of a method has a measure, somewhere."""
    return all(any(row.get(measure) is not None for row in one["rows"]) for one in runs)


def _along(runs: Sequence[Mapping[str, Any]], change: str, measure: str) -> np.ndarray:
    """(S,) mean over runs of a measure of the clouds as they are and at each severity; NaN where one has none."""
    values = [[row.get(measure) for row in one["rows"] if row["change"] in ("none", change)] for one in runs]
    return np.array(values, dtype=np.float64).mean(axis=0)
