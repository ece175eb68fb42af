"""Curves of a training and of the errors it led to, as figures by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pcsargmax.visualize.figures.parts import check_figure_path, dress, method_line, panels, save_figure
from pcsargmax.visualize.palette import keypoint_color
from pcsargmax.visualize.training_log import Curves, log_files, measured, read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Errors of any shape, or what `Run.evaluate` returned.
Errors: TypeAlias = "np.ndarray | Sequence[float] | Mapping[str, Any]"

#: What the errors of an evaluation are in, by its "unit".
UNITS = {"raw": "raw units", "diagonal": "diagonals"}

#: Up to how many points of a line are marked.
_FEW = 30


def training_curves(csv_path: str | Path | Mapping[str, str | Path], path: str | Path | None = None) -> Figure:
    r"""Draw every number of a CSV log (Lightning's CSVLogger) over the training steps.

    Columns that differ only in train/val/test or in a threshold (`val/pck@0.01`) share a panel.

    Args:
        csv_path: a log with a header line; empty cells are skipped. Or a run folder, whose logs are joined, as each
            resumption leaves one. Or a name to such for several runs: each has a colour, and the columns of a panel
            each a dash.
        path: where to save the figure as well.

    Raises:
        ValueError: no log, or no number in one; the message names the file, and the line of a cell that is no number.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.visualize.figures import training_curves
        >>> _ = Path("metrics.csv").write_text("step,train/loss,val/loss\n9,0.5,0.6\n19,0.3,0.4\n")
        >>> figure = training_curves("metrics.csv", path="training.png")
        >>> len(figure.axes), len(figure.axes[0].lines)  # one panel with the losses of both splits
        (1, 2)
    """
    check_figure_path(path)
    named = csv_path if isinstance(csv_path, Mapping) else {"": csv_path}
    if not named:
        raise ValueError("csv_path: expected at least one log, got none")
    logs = {name: _read_logs(Path(file)) for name, file in named.items()}
    shown: dict[str, dict[str, None]] = {}  # the columns of each panel, in order
    for curves, _ in logs.values():
        for column in curves:
            shown.setdefault(measured(column), {})[column] = None
    figure, axes = panels(len(shown), columns=min(3, len(shown)), width=4.2, height=2.9)
    counters = " or ".join(dict.fromkeys(counter for _, counter in logs.values()))
    for (title, columns), ax in zip(shown.items(), axes, strict=True):
        for place, (name, (curves, _)) in enumerate(logs.items()):
            for number, column in enumerate(columns):
                if column in curves:
                    look = {"color": keypoint_color(number)}
                    if len(logs) > 1:
                        look = method_line(number) | {"color": keypoint_color(place)}
                    _draw_column(ax, curves[column], _told(name, column if len(columns) > 1 else ""), look)
        dress(ax, title.replace("_", " "), counters)
        if len(columns) > 1 or len(logs) > 1:
            ax.legend(fontsize=8, frameon=False)
    return save_figure(figure, path)


def pck_curve(
    errors: Errors | Mapping[str, Errors | Sequence[Errors]],
    thresholds: Sequence[float] | np.ndarray | None = None,
    *,
    unit: str = "",
    estimate: str = "expectation",
    strict: bool = False,
    path: str | Path | None = None,
) -> Figure:
    """Draw the share of keypoints with an error up to each threshold (PCK), a line a method.

    Every keypoint counts the same, as in the pooled PCK of `Run.evaluate`.

    Args:
        errors: (n,) distances, or what `Run.evaluate` returned; or a name to such for several methods. A method may
            have a list of arrays or results, one a run: its line is then their mean, and a band goes from the lowest
            to the highest. NaN and None (absent keypoints) are left out.
        thresholds: increasing distances; None: 101 from 0 to 0.1.
        unit: what the distances are in; "" is that of the results, "file units" of arrays.
        estimate: whose errors of a result.
        strict: an error counts if it is below the threshold instead of up to it.
        path: where to save the figure as well.

    Raises:
        ValueError: no method, no threshold, a method without any error that is a number, results of unlike units, or an
            estimate that one lacks.

    Example:
        >>> from pcsargmax.visualize.figures import pck_curve
        >>> figure = pck_curve({"soft-argmax": [0.01, 0.03], "sampling-argmax": [0.01, 0.02]}, [0.01, 0.02, 0.03])
        >>> [line.get_ydata().tolist() for line in figure.axes[0].lines]  # per cent
        [[50.0, 50.0, 100.0], [50.0, 100.0, 100.0]]
    """
    check_figure_path(path)
    named: Mapping[str, Any] = errors if _by_name(errors) else {"": errors}  # type: ignore[assignment]
    if not named:
        raise ValueError("errors: expected at least one method, got none")
    at = np.linspace(0, 0.1, 101) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if at.ndim != 1 or not len(at) or not (np.diff(at) > 0).all():
        raise ValueError(f"thresholds: expected increasing distances, got {np.array2string(at, threshold=8)}")
    figure, (ax,) = panels(1, columns=1, width=4.6, height=3.4)
    for number, (name, given) in enumerate(named.items()):
        runs = [_known_errors(name, one, estimate) for one in as_runs(given)]
        below = np.stack([100 * _share_within(known, at, strict=strict) for known in runs])
        ax.plot(at, below.mean(axis=0), lw=1.8, label=_counted(name, runs), **method_line(number))
        if len(runs) > 1:
            ax.fill_between(at, below.min(axis=0), below.max(axis=0), color=keypoint_color(number), alpha=0.15, lw=0)
    unit = unit or common_unit(named) or "file units"
    dress(ax, "", f"threshold ({unit})", "PCK (%)")
    ax.set_ylim(0, 101)
    if len(at) > 1:
        ax.set_xlim(at[0], at[-1])
    ax.legend(frameon=False, loc="lower right", fontsize=9)
    return save_figure(figure, path)


def as_runs(given: Any) -> list[Any]:
    """The runs of a method: what is in a list of arrays, results or curves, or the one that came alone."""
    several = isinstance(given, Sequence) and not hasattr(given, "_fields") and len(given) > 0
    several = several and (isinstance(given[0], (Mapping, tuple)) or getattr(given[0], "ndim", 0) > 0)
    return list(given) if several else [given]


def common_unit(named: Mapping[str, Any]) -> str:
    """What the errors of the results among some methods are in, "" where there is none.

    Raises:
        ValueError: they are in unlike units.
    """
    every = [(name, run) for name, given in named.items() for run in as_runs(given) if isinstance(run, Mapping)]
    found = {_unit(run): name for name, run in every if "unit" in run}
    if len(found) > 1:
        told = ", ".join(f"{unit} of {name}" for unit, name in found.items())
        raise ValueError(f"results: expected errors in one unit, got {told}")
    return "".join(UNITS.get(unit, unit) for unit in found)


def _unit(result: Mapping[str, Any]) -> str:
    """What the errors of a result are in: raw units are those of the files, where these are known."""
    return str(result["lengths"]["unit"] if result["unit"] == "raw" and "lengths" in result else result["unit"])


def _by_name(errors: Any) -> bool:
    """Whether errors are named, and not the result of one evaluation."""
    return isinstance(errors, Mapping) and "shapes" not in errors


def _known_errors(method: str, given: Any, estimate: str) -> np.ndarray:
    """(n,) errors, ascending, of an array or a result."""
    if isinstance(given, Mapping):
        kept = given.get("shapes", {}).get("errors", {})
        if estimate not in kept:
            had = ", ".join(kept) or "none"
            raise ValueError(f"errors {method!r}: expected a result with errors of {estimate!r}, got {had}")
        given = kept[estimate]
    try:
        known = np.sort(np.asarray(given, dtype=np.float64).ravel())
    except (TypeError, ValueError):
        raise ValueError(f"errors {method!r}: expected numbers or a result, got {type(given).__name__}") from None
    known = known[~np.isnan(known)]
    if not len(known):
        raise ValueError(f"errors {method!r}: expected at least one number, got none")
    return known


def _share_within(known: np.ndarray, at: np.ndarray, *, strict: bool) -> np.ndarray:
    """(T,) share of the errors, ascending, at or below each threshold."""
    return np.searchsorted(known, at, side="left" if strict else "right") / len(known)


def _counted(name: str, runs: Sequence[np.ndarray]) -> str:
    number = f"{len(runs)} runs" if len(runs) > 1 else f"n = {len(runs[0])}"
    return f"{name} ({number})".strip()


def _read_logs(path: Path) -> tuple[Curves, str]:
    """The curves of a file, or of all logs of a run folder: a later one goes on where it begins."""
    if not path.is_dir():
        return _read_log(path)
    files = log_files(path)
    if not files:
        raise ValueError(f"{path}: expected a run folder with log/version_*/metrics.csv, found none")
    joined, counter = _read_log(files[0])
    for file in files[1:]:
        later, counter = _read_log(file)
        first = min(at for curve in later.values() for at, _ in curve)
        kept = {column: [point for point in curve if point[0] < first] for column, curve in joined.items()}
        joined = {column: kept.get(column, []) + later.get(column, []) for column in [*kept, *later]}
    return joined, counter


def _read_log(path: Path) -> tuple[Curves, str]:
    curves, counter = read_log(path)
    if not curves:
        raise ValueError(f"{path}: expected a CSV log with a header and numbers, found no number")
    return curves, counter


def _told(name: str, column: str) -> str:
    """What a legend says of a line: the run, the column, or both."""
    return ", ".join(part for part in (name, column.replace("_", " ")) if part)


def _draw_column(ax: Any, curve: list[tuple[float, float]], label: str, look: dict[str, Any]) -> None:
    at, values = np.array(curve).T
    ax.plot(at, values, label=label, lw=1.6, marker="o" if len(at) < _FEW else "", ms=3, **look)
