"""How well confidence is calibrated, as figures by matplotlib: reliability and sparsification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pcsargmax.visualize.figures.curves import as_runs, common_unit
from pcsargmax.visualize.figures.parts import check_figure_path, dress, empty_figure, method_line, panels, save_figure
from pcsargmax.visualize.palette import TRUTH_COLOR, keypoint_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pcsargmax.metrics.calibration import Bins, Reliability
    from pcsargmax.metrics.sparsification import Sparsification

#: What `Run.evaluate` returned, or its block "calibration" or "sparsification".
Result: TypeAlias = Mapping[str, Any]

#: What the keys of a result end in, by how its bins were made.
_ENDINGS = {"width": "", "count": "_equal_count"}


class _Bins(NamedTuple):
    """A reliability curve of one or more runs; NaN in an empty bin."""

    confidence: np.ndarray
    correct: np.ndarray
    number: np.ndarray
    error: float
    """Calibration error, mean over the runs."""


def reliability_curve(
    results: Mapping[str, Result | Reliability | Sequence[Result | Reliability]],
    *,
    bins: Bins = "width",
    path: str | Path | None = None,
) -> Figure:
    """Draw how often a keypoint was right against how sure it was (Niculescu-Mizil and Caruana 2005), a line a method.

    On the dotted line confidence is perfectly calibrated; below it, overconfident. In a panel below stands how the
    keypoints are spread over the bins, where these are of equal width. The legend tells the expected calibration error
    (ECE), of several runs their mean.

    Args:
        results: the name of a method to what `Run.evaluate` returned, its block "calibration", or a curve by
            `pcsargmax.metrics.calibration.reliability_curve`; several runs of a method as a list, whose keypoints are
            put together bin by bin.
        bins: "width": of equal width; "count": of equal count. Of curves, what they are.
        path: where to save the figure as well.

    Raises:
        ValueError: no result, one without a calibration curve, results that do not agree in the number of bins, the
            threshold or the symmetry of their errors, or arguments that are none.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics.calibration import reliability_curve as curve
        >>> from pcsargmax.visualize.figures import reliability_curve
        >>> confidence, correct = torch.tensor([0.9, 0.9, 0.1, 0.1]), torch.tensor([1, 1, 0, 1])
        >>> figure = reliability_curve({"sampling-argmax": curve(confidence, correct)}, path="reliability.png")
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['sampling-argmax (ECE 25.0 %)']
    """
    check_figure_path(path)
    if bins not in _ENDINGS:
        raise ValueError(f"bins: expected one of {', '.join(_ENDINGS)}, got {bins!r}")
    runs = {name: _runs(name, given, "calibration") for name, given in _checked(results).items()}
    right = _right(runs)
    curves = {name: _pooled(name, [_bins(name, run, bins) for run in each]) for name, each in runs.items()}
    figure = empty_figure(3.8, (4.6 if bins == "width" else 3.7) + 0.2 * len(curves))
    lower = None
    if bins == "width":
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        dress(lower, "", "confidence", "keypoints (%)")
    else:
        upper = figure.add_subplot()
    dress(upper, "", "" if lower else "confidence", f"share right ({right})" if right else "share right")
    upper.axline((0, 0), slope=1, color=TRUTH_COLOR, lw=1, ls=":")
    for number, (name, curve) in enumerate(curves.items()):
        full = curve.number > 0
        label = f"{name} (ECE {100 * curve.error:.1f} %)".strip()
        look = method_line(number, marker=True)
        upper.plot(curve.confidence[full], curve.correct[full], lw=1.4, ms=5, label=label, **look)
        if lower is not None:
            _draw_counts(lower, curve, number, len(curves))
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    _legend_above(figure, upper)
    return save_figure(figure, path)


def sparsification_curve(
    results: Mapping[str, Result | Sparsification | Sequence[Result | Sparsification]],
    *,
    relative: bool = False,
    unit: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draw how the mean error falls when the least confident keypoints are left out (Ilg et al. 2018), a line a method.

    Dashed is the best there could be, the keypoints of largest error left out first. Dotted is the mean error of all,
    which a random ranking would stay at. The area between the two lines of a method (AUSE) is what its
    confidence is short of; the legend tells it, of several runs its mean.

    Args:
        results: the name of a method to what `Run.evaluate` returned, its block "sparsification", or a curve by
            `pcsargmax.metrics.sparsification.sparsification_curve`; several runs of a method as a list, whose curves
            are averaged.
        relative: divide by the mean error of all, so that methods of unlike error compare.
        unit: of the errors; "" is that of the results, where they tell it.
        path: where to save the figure as well.

    Raises:
        ValueError: no result, one without a sparsification curve, curves of unlike steps, results of unlike symmetry of
            errors or, if not relative, of unlike units, or relative curves of a mean error of 0.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics.sparsification import sparsification_curve as curve
        >>> from pcsargmax.visualize.figures import sparsification_curve
        >>> confidence, error = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.01, 0.02, 0.06])
        >>> figure = sparsification_curve({"sampling-argmax": curve(confidence, error)}, path="sparsification.png")
        >>> [len(line.get_xdata()) for line in figure.axes[0].lines[:2]]  # by confidence and by the errors themselves
        [20, 20]
    """
    check_figure_path(path)
    runs = {name: _runs(name, given, "sparsification") for name, given in _checked(results).items()}
    error = _error(runs)
    unit = unit or ("" if relative else common_unit(results))
    figure, (ax,) = panels(1, columns=1, width=4.6, height=3.5 + 0.2 * len(results))
    for number, (name, each) in enumerate(runs.items()):
        kept, mean, oracle, area = _mean_curve(name, each, relative=relative)
        left_out = 100 * (1 - kept)
        label = name if area is None else f"{name} (AUSE {f'{area:#.3g}'.rstrip('.')})".strip()
        ax.plot(left_out, mean, lw=1.8, ms=4, label=label, markevery=2, **method_line(number, marker=True))
        ax.plot(left_out, oracle, lw=1.2, ls="--", color=keypoint_color(number))
        ax.axhline(mean[-1], lw=0.8, ls=":", color=keypoint_color(number) if not relative else TRUTH_COLOR)
    ax.plot([], [], lw=1.2, ls="--", color=TRUTH_COLOR, label="best possible order")
    ax.plot([], [], lw=0.8, ls=":", color=TRUTH_COLOR, label="random order")
    said = f"share of the mean {error}" if relative else f"mean {error} ({unit})" if unit else f"mean {error}"
    dress(ax, "", "least confident keypoints left out (%)", said)
    ax.set(xlim=(0, 100))
    ax.set_ylim(bottom=0)
    _legend_above(figure, ax)
    return save_figure(figure, path)


def _legend_above(figure: Figure, ax: Any) -> None:
    """A line a method above the panel, since the curves may go anywhere in it."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", frameon=False, fontsize=9)


def _checked(results: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(results, Mapping) or not results:
        got = "none" if isinstance(results, Mapping) else type(results).__name__
        raise ValueError(f"results: expected the name of at least one method to its result, got {got}")
    return results


def _runs(name: str, given: Any, block: Literal["calibration", "sparsification"]) -> list[Any]:
    """The curves or blocks of a method's runs."""
    found = []
    for run in as_runs(given):
        inner = run.get(block, run) if isinstance(run, Mapping) else run
        if inner is None:
            raise ValueError(f"results {name!r}: expected a result with {block}, got one without any truth")
        found.append(inner)
    return found


def _taken(name: str, run: Any, parts: Sequence[str], key: str, kind: str) -> list[np.ndarray]:
    """The parts of a curve, which in a block have the names that `key` makes of theirs."""
    if isinstance(run, Mapping):
        keys = [key.format(part) for part in parts]
        if missing := [key for key in keys if run.get(key) is None]:
            raise ValueError(f"results {name!r}: expected a result with a {kind} curve, got one without {missing[0]!r}")
        values = [run[key] for key in keys]
    elif all(hasattr(run, part) for part in parts):
        values = [getattr(run, part) for part in parts]
    else:
        raise ValueError(f"results {name!r}: expected a result or a {kind} curve, got {type(run).__name__}")
    return [np.asarray(value.cpu() if hasattr(value, "cpu") else value, dtype=np.float64) for value in values]


def _bins(name: str, run: Any, bins: Bins) -> _Bins:
    key = f"reliability_{{}}{_ENDINGS[bins]}"
    confidence, correct, number = _taken(name, run, ("confidence", "correct", "number"), key, "calibration")
    stated = run.get(f"ece{_ENDINGS[bins]}") if isinstance(run, Mapping) else None
    gaps = np.abs(confidence - correct)[number > 0]
    share = number[number > 0] / number.sum()
    return _Bins(confidence, correct, number, float(gaps @ share) if stated is None else float(stated))


def _pooled(name: str, curves: Sequence[_Bins]) -> _Bins:
    """The keypoints of all runs, put together bin by bin."""
    if len({len(curve.number) for curve in curves}) > 1:
        raise ValueError(f"results {name!r}: expected curves of as many bins, got {[len(c.number) for c in curves]}")
    number = np.stack([curve.number for curve in curves])
    total = number.sum(axis=0)
    sums = [
        np.where(number > 0, number * np.stack([getattr(curve, part) for curve in curves]), 0).sum(axis=0)
        for part in ("confidence", "correct")
    ]
    mean = [np.divide(each, total, out=np.full(len(total), np.nan), where=total > 0) for each in sums]
    return _Bins(mean[0], mean[1], total, float(np.mean([curve.error for curve in curves])))


def _common(runs: Mapping[str, Sequence[Any]], what: str) -> Any:
    """The threshold or symmetry of the errors, the same for all results that tell it; None where none does."""
    every = [run for each in runs.values() for run in each if isinstance(run, Mapping)]
    found = {run[what] for run in every if what in run}
    if len(found) > 1:
        raise ValueError(f"results: expected errors of one {what}, got {', '.join(map(str, sorted(found)))}")
    return next(iter(found), None)


def _right(runs: Mapping[str, Sequence[Any]]) -> str:
    """What counts as right, in words, where the results tell it."""
    error, threshold = _error(runs), _common(runs, "threshold")
    return "" if threshold is None else f"{error} ≤ {100 * threshold:.3g} % of the diagonal"


def _error(runs: Mapping[str, Sequence[Any]]) -> str:
    """Which errors the results are about, in words."""
    return "error" if _common(runs, "symmetry") in (None, "none") else "error up to symmetry"


def _draw_counts(ax: Any, curve: _Bins, number: int, methods: int) -> None:
    """The share of the keypoints in each bin, a method's bars beside those of the others."""
    edges = np.linspace(0, 1, len(curve.number) + 1)
    width = 0.9 * (edges[1] - edges[0]) / methods
    middle = (edges[:-1] + edges[1:]) / 2 + (number - (methods - 1) / 2) * width
    ax.bar(middle, 100 * curve.number / curve.number.sum(), width=width, color=keypoint_color(number))


def _mean_curve(
    name: str, runs: Sequence[Any], *, relative: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float | None]:
    """Shares kept, mean errors by confidence and by the best order, and the area between them where it is told."""
    curves = [_taken(name, run, ("kept", "error", "oracle"), "{}", "sparsification") for run in runs]
    kept = curves[0][0]
    if any(not np.array_equal(kept, other[0]) for other in curves):
        raise ValueError(f"results {name!r}: expected curves of the same steps, got others")
    scale = [curve[1][-1] if relative else 1.0 for curve in curves]
    if 0 in scale:
        raise ValueError(f"results {name!r}: expected a mean error above 0 to divide by, got 0")
    error, oracle = (
        np.mean([curve[part] / by for curve, by in zip(curves, scale, strict=True)], axis=0) for part in (1, 2)
    )
    key = "ause_relative" if relative else "ause"
    areas = [run.get(key) if isinstance(run, Mapping) else None for run in runs]
    told = [area for area in areas if area is not None]
    return kept, error, oracle, float(np.mean(told)) if len(told) == len(areas) else None
