"""Figures for reports by matplotlib, made without its global state and without a screen."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize.geometry import fit_camera
from pcsargmax.visualize.palette import KEYPOINT_COLORS, TRUTH_COLOR, color_by_probability, probability_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COUNTERS = ("epoch", "step")
_PARTS = ("train", "val", "valid", "validation", "test")


def training_curves(csv_path: str | Path, path: str | Path | None = None) -> Figure:
    """Draw every number of a CSV log (Lightning's CSVLogger) over the training steps.

    Columns that differ only in train/val/test or in a threshold (`val/pck@0.01`) share a panel.

    Args:
        csv_path: a log with a header line; empty cells are skipped.
        path: where to save the figure as well.

    Raises:
        ValueError: no number in the log; the message names the file, and the line of a cell that is no number.
    """
    curves, counter = _read_log(Path(csv_path))
    panels: dict[str, list[str]] = {}
    for column in curves:
        panels.setdefault(_panel(column), []).append(column)
    figure, axes = _panels(len(panels), columns=min(3, len(panels)), width=4.6, height=3.2)
    for (name, columns), ax in zip(panels.items(), axes, strict=True):
        for number, column in enumerate(columns):
            at, values = np.array(curves[column]).T
            label = column.replace("_", " ")
            ax.plot(at, values, color=KEYPOINT_COLORS[number % 32], label=label, lw=1.6, marker=_marker(len(at)), ms=3)
        _dress(ax, name.replace("_", " "), counter)
        if len(columns) > 1:
            ax.legend(fontsize=8, frameon=False)
    return _finish(figure, path)


def pck_curve(
    errors: np.ndarray | Mapping[str, np.ndarray],
    thresholds: Sequence[float] | np.ndarray | None = None,
    *,
    unit: str = "units of the files",
    path: str | Path | None = None,
) -> Figure:
    """Draw the share of keypoints with an error below each threshold (PCK), a line a method.

    Args:
        errors: (n,) distances, or a name to such for several methods; NaN (absent keypoints) are left out.
        thresholds: increasing distances; None: 101 from 0 to 0.1.
        unit: what the distances are in.
        path: where to save the figure as well.

    Raises:
        ValueError: a method without any error that is a number.
    """
    named = errors if isinstance(errors, Mapping) else {"": errors}
    at = np.linspace(0, 0.1, 101) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    figure, (ax,) = _panels(1, columns=1, width=5.6, height=4.0)
    for number, (name, values) in enumerate(named.items()):
        known = np.sort(np.asarray(values, dtype=np.float64).ravel())
        known = known[~np.isnan(known)]
        if not len(known):
            raise ValueError(f"errors {name!r}: expected at least one number, got none")
        below = 100 * np.searchsorted(known, at, side="left") / len(known)  # strictly below
        ax.plot(at, below, color=KEYPOINT_COLORS[number % 32], lw=2, label=f"{name} (n = {len(known)})".strip())
    _dress(ax, "", f"threshold ({unit})")
    ax.set_ylabel("PCK (%)")
    ax.set_ylim(0, 101)
    ax.set_xlim(at[0], at[-1])
    ax.legend(frameon=False, loc="lower right")
    return _finish(figure, path)


def probability_figure(
    predictions: Mapping[str, Prediction],
    *,
    keypoint: str | int,
    log_scale: bool = False,
    views: Sequence[tuple[float, float]] = ((35, 20), (125, 20), (35, 75)),
    path: str | Path | None = None,
) -> Figure:
    """Compare the maps of one keypoint on one cloud, a row a method, a column a view (as Figure 4 of the paper).

    Args:
        predictions: the method's name, such as "soft-argmax", to its prediction.
        keypoint: name or number.
        log_scale: colour by the logarithm, over three decades.
        views: (azimuth, elevation) in degrees, see `geometry.fit_camera`.
        path: where to save the figure as well.

    Raises:
        ValueError: no prediction, or no such keypoint.
    """
    if not predictions:
        raise ValueError("predictions: expected at least one, got none")
    figure, axes = _panels(len(predictions) * len(views), columns=len(views), width=3.3, height=3.3)
    for row, (name, prediction) in enumerate(predictions.items()):
        colors = color_by_probability(prediction, keypoint, log_scale=log_scale)
        line = axes[row * len(views) : (row + 1) * len(views)]
        for ax, (azimuth, elevation) in zip(line, views, strict=True):
            _draw_view(ax, prediction, prediction.keypoint_number(keypoint), colors.rgb, azimuth, elevation)
        line[0].set_ylabel(name, fontsize=12)
        _color_bar(figure, line, colors.title, colors.ticks)
    return _finish(figure, path)


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
    """
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
    figure, axes = _panels(len(labels) * len(changes), columns=len(changes), width=2.4, height=2.0)
    unit = "raw units" if first["unit"] == "raw" else "diagonals"
    for number, (measure, label) in enumerate(labels.items()):
        line = axes[number * len(changes) : (number + 1) * len(changes)]
        for ax, change in zip(line, changes, strict=True):
            _draw_severities(ax, results, change, measure, 100 if "%" in label else 1)
        _share_scale(line, logarithmic=measure == "mean_error", share="%" in label)
        line[0].set_ylabel(label.format(pck=pck.upper(), unit=unit))
    for ax, change in zip(axes, changes, strict=False):
        ax.set_title(change, fontsize=11)
    for ax in axes[: -len(changes)]:
        ax.set_xlabel("")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return _finish(figure, path)


def contact_sheet(pictures: Mapping[str, str | Path], *, columns: int = 3, path: str | Path | None = None) -> Figure:
    """Lay picture files out on one sheet, each under its caption.

    Args:
        pictures: caption to picture file. columns: pictures in a row. path: where to save the figure as well.

    Raises:
        ValueError: no picture.
    """
    from PIL import Image

    if not pictures:
        raise ValueError("pictures: expected at least one, got none")
    loaded = {}
    for caption, file in pictures.items():
        with Image.open(file) as image:
            loaded[caption] = np.asarray(image.convert("RGB"))
    first = next(iter(loaded.values()))
    figure, axes = _panels(
        len(loaded), columns=min(columns, len(loaded)), width=5.0, height=5.0 * first.shape[0] / first.shape[1] + 0.3
    )
    for ax, (caption, pixels) in zip(axes, loaded.items(), strict=True):
        ax.imshow(pixels)
        ax.set_title(caption, fontsize=11)
        ax.set_axis_off()
    return _finish(figure, path)


def _read_log(path: Path) -> tuple[dict[str, list[tuple[float, float]]], str]:
    """Each column's (counter, value) pairs, and the counter's name."""
    curves: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        counter = next((name for name in ("step", "epoch") if name in (rows.fieldnames or ())), "row")
        for number, row in enumerate(rows):
            at = _number(row.get(counter), path, rows.line_num) if counter != "row" else number
            for column, cell in row.items():
                value = None if column is None or column in _COUNTERS else _number(cell, path, rows.line_num)
                if value is not None and at is not None:
                    curves.setdefault(column, []).append((at, value))
    if not curves:
        raise ValueError(f"{path}: expected a CSV log with a header and numbers, found no number")
    return curves, counter


def _number(cell: Any, path: Path, line: int) -> float | None:
    if cell in ("", None):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{path}:{line}: expected a number, got {cell!r}") from None


def _panel(column: str) -> str:
    """What a column measures, without the part of the data and the threshold: `val/pck@0.01` is pck."""
    words = [word for word in re.split(r"[/_]", column.split("@")[0]) if word not in (*_PARTS, *_COUNTERS)]
    return "_".join(words) or column


def _marker(points: int) -> str:
    return "o" if points < 30 else ""


def _draw_view(ax: Any, prediction: Prediction, number: int, rgb: np.ndarray, azimuth: float, elevation: float) -> None:
    """One cloud seen from one side, nearest points last, with the keypoint and its truth."""
    low, high = prediction.points.min(axis=0), prediction.points.max(axis=0)
    scale = float(np.linalg.norm(high - low)) or 1.0
    points = (prediction.points - (low + high) / 2) / scale
    camera = fit_camera(points, azimuth=azimuth, elevation=elevation, size=(400, 400))
    pixels, depth = camera.project(points)
    order = np.argsort(-depth)
    size = float(np.clip(9000 / len(points), 0.5, 16))
    ax.scatter(*pixels[order].T, c=rgb[order], s=size, lw=0)
    known = prediction.truth is not None and bool(np.isfinite(prediction.truth[number]).all())
    marks = [(prediction.position, "o", KEYPOINT_COLORS[0])]
    if known and prediction.truth is not None:
        marks.append((prediction.truth, "x", TRUTH_COLOR))
    for place, marker, color in marks:
        at = camera.project((place[number : number + 1] - (low + high) / 2) / scale)[0]
        face = "none" if marker == "o" else color
        ax.scatter(
            *at.T, marker=marker, s=70, lw=1.8, facecolor=face, **({"edgecolor": color} if marker == "o" else {})
        )
    ax.set(xlim=(0, 400), ylim=(400, 0), xticks=[], yticks=[], aspect="equal")
    for side in ax.spines.values():
        side.set_visible(False)


def _draw_severities(
    ax: Any, results: Mapping[str, Sequence[Mapping[str, Any]]], change: str, measure: str, factor: float
) -> None:
    """One measure over the severities of one change."""
    for number, (name, runs) in enumerate(results.items()):
        color = KEYPOINT_COLORS[number % 32]
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
    _dress(ax, "", about["axis"])
    ax.set_xticks(range(len(about["severities"]) + 1), [about["clean"], *(f"{s:g}" for s in about["severities"])])


def _share_scale(axes: Sequence[Any], *, logarithmic: bool, share: bool) -> None:
    """Give a row of panels one scale of values, told at the first: from 0, of shares to 100 %, or logarithmic."""
    for ax in axes[1:]:
        ax.sharey(axes[0])
        ax.tick_params(labelleft=False)
    axes[0].autoscale(axis="y")
    if logarithmic:
        axes[0].set_yscale("log")
        return
    lowest = [low for ax in axes if np.isfinite(low := ax.dataLim.ymin)]  # none where there is only NaN
    axes[0].set_ylim(bottom=min([0.0, *lowest]), top=101 if share else None)


def _has(runs: Sequence[Mapping[str, Any]], measure: str) -> bool:
    """Whether every run of a method has a measure, somewhere."""
    return all(any(row.get(measure) is not None for row in one["rows"]) for one in runs)


def _along(runs: Sequence[Mapping[str, Any]], change: str, measure: str) -> np.ndarray:
    """(S,) mean over runs of a measure of the clouds as they are and at each severity; NaN where one has none."""
    values = [[row.get(measure) for row in one["rows"] if row["change"] in ("none", change)] for one in runs]
    return np.array(values, dtype=np.float64).mean(axis=0)


def _color_bar(figure: Figure, axes: Sequence[Any], title: str, ticks: Sequence[tuple[float, str]]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    bar = figure.colorbar(ScalarMappable(cmap=ListedColormap(probability_scale())), ax=list(axes), shrink=0.8)
    bar.set_ticks([place for place, _ in ticks], labels=[label for _, label in ticks])
    bar.set_label(title)
    bar.outline.set_visible(False)


def _panels(count: int, *, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure with `count` panels; made by hand, since pyplot would keep it in global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _dress(ax: Any, title: str, x_label: str) -> None:
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(x_label)
    ax.grid(alpha=0.3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _finish(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        from pcsargmax.datasets.cache import atomic_path

        with atomic_path(path) as temporary:
            figure.savefig(temporary)
    return figure
