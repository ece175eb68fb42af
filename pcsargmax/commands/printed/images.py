"""Tables of how good a run on images is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from pcsargmax.commands.shared.alike import alike, data_name, method_label, over_seeds, runs_text

if TYPE_CHECKING:
    from rich.table import Table

#: Of more figures, as 3-D joints have, an interval stands in two lines, so that a table fits into 80 columns.
_BESIDE = 7


class Figure(NamedTuple):
    """A number of a result.

    Attributes:
        title: over its column.
        block: of the result that holds it, parts of a path between dots.
        key: in that block.
        factor: it is multiplied by.
        digits: behind the point.
    """

    title: str
    block: str
    key: str
    factor: float = 100.0
    digits: int = 1

    def value(self, metrics: dict[str, Any], ending: str = "") -> float | None:
        """The number, or an end of its interval; None where the result has none."""
        found: Any = metrics
        for part in self.block.split("."):
            found = found.get(part) if found else None
        number = None if not found else found.get(self.key + ending)
        return None if number is None else self.factor * float(number)

    def text(self, value: float) -> str:
        """A number of it as it is written."""
        return f"{value:.{self.digits}f}"

    def interval(self, low: float, high: float, dash: str = "–") -> str:
        """The ends of its interval as they are written: with a digit less, so that a table fits into 80 columns."""
        digits = max(self.digits - 1, 1)
        return dash.join(f"{end:.{digits}f}".replace("100.0", "100") for end in (low, high))


def figures_of(metrics: dict[str, Any]) -> list[Figure]:
    """The numbers that a table shows of a result, in order: those that its data have."""
    if metrics["kind"] == "image_surfaces":
        unit = {"pixels": "px", "micrometres": "µm"}[metrics["unit"]]
        return [
            Figure(f"MAD, {unit}", "surfaces", "mad", 1, 3),
            Figure(f"std over subjects, {unit}", "surfaces", "std", 1, 3),
        ]
    found: list[Figure] = []
    if metrics["people"] is not None:
        block = "people.ap"
        found += [Figure("AP", block, "ap"), Figure("AP@.5", block, "ap50"), Figure("AP@.75", block, "ap75")]
        found += [Figure("AR", block, "ar"), Figure("r with OKS", "people.oks", "pearson", 1, 3)]
    if metrics["joints"] is not None:
        found += [Figure("MPJPE, mm", "joints", "mpjpe", 1), Figure("PA-MPJPE, mm", "joints", "pa_mpjpe", 1)]
    if metrics["people"] is None:
        found += [Figure("NME", "nme", "nme", 100, 2), Figure("fail", "nme", "failure@0.1")]
        shares = [key for key in metrics["pck"] or {} if key.startswith("pck@")]
        found += [Figure(f"PCK@{key[4:]}", "pck", key) for key in shares if "/" not in key]
        found += [Figure("px", "nme", "mean_error", 1, 2), Figure("r", "confidence", "pearson", 1, 3)]
    return found


def print_images(metrics: dict[str, Any]) -> None:
    """Print a result of keypoints in images as a table, and below it what its numbers mean."""
    length = metrics["length"]
    number = len(metrics["images"]["name"])
    between = "" if length["keypoints"] is None else f" ({length['keypoints'][0]} to {length['keypoints'][1]})"
    told = "square root of the box's area" if length["name"] == "box" else f"inter-ocular distance{between}"
    flipped = ", flip test" if metrics["flip_test"] else ""
    boxes = "" if metrics["boxes"] == "annotated" else f", boxes of {metrics['boxes']}"
    title = (
        f"{metrics['data']}, {metrics['split']} split, trained by {method_label(metrics)}: {number} images, "
        f"{len(metrics['keypoint_names'])} keypoints{flipped}{boxes}\n95 % intervals over images"
    )
    _print(_table(title, [metrics]))
    if metrics["people"] is None and metrics["nme"] is not None:
        left_out = metrics["nme"]["num_left_out"]
        typer.echo(f"NME (fail: above 10) and PCK in % of the {told}; px: mean error, pixels")
        if left_out:
            typer.echo(f"{left_out} images without such a length, or without keypoints, are left out")
    if metrics["confidence"] is not None and metrics["people"] is None:
        limit = 100 * metrics["confidence"]["threshold"]
        typer.echo(f"r: Pearson's, of the map's peak with an error of at most {limit:g}% of it")
    typer.echo(f"{metrics['seconds_per_image'] * 1e3:.0f} ms an image")


def print_surfaces(metrics: dict[str, Any]) -> None:
    """Print a result of surfaces in slices: all of them, and each by itself."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = metrics["surfaces"]
    title = (
        f"{metrics['data']}, {metrics['split']} split, trained by {method_label(metrics)}: "
        f"{found['num_slices']} slices of {found['num_subjects']} subjects\n95 % intervals over subjects"
    )
    _print(_table(title, [metrics]))
    table = Table(title=f"each surface, {metrics['unit']}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "MAD", "std over subjects", "bias", "RMSE"):
        table.add_column(name, justify="left" if not name else "right")
    columns = [found[f"{key}_per_surface"] for key in ("mad", "std", "bias", "rmse")]
    for name, *numbers in zip(metrics["surface_names"], *columns, strict=True):
        table.add_row(name, *("–" if number is None else f"{number:.3f}" for number in numbers))
    _print(table)
    typer.echo(f"{metrics['seconds_per_image'] * 1e3:.0f} ms a slice")


def print_image_comparison(results: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the runs that differ in nothing but the seed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    figures = figures_of(results[0])
    table = Table(title="mean ± standard deviation over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for figure in figures:
        table.add_column(figure.title, justify="right", overflow="fold")  # no figure may be cut off
    also = ("kind", "flip_test", "boxes") if results[0]["kind"] == "image_keypoints" else ("kind",)
    for runs in alike(results, *also):
        cells = [over_seeds([figure.value(one) for one in runs], figure.text) for figure in figures]
        table.add_row(f"{data_name(runs[0])}, {method_label(runs[0])}\n{runs_text(runs)}", *cells)
    _print(table)


def _table(title: str, results: list[dict[str, Any]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    figures = figures_of(results[0])
    for figure in figures:
        table.add_column(figure.title, justify="right", overflow="fold")  # no figure may be cut off
    for metrics in results:
        table.add_row(*(_cell(figure, metrics, "–\n" if len(figures) > _BESIDE else "–") for figure in figures))
    return table


def _cell(figure: Figure, metrics: dict[str, Any], dash: str) -> str:
    value = figure.value(metrics)
    if value is None:
        return "–"
    low, high = figure.value(metrics, "/low"), figure.value(metrics, "/high")
    return figure.text(value) + ("" if low is None or high is None else f"\n{figure.interval(low, high, dash)}")


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)
