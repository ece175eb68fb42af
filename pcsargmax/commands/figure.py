"""`pcsargmax figure`: figures for papers, of runs and of what `evaluate` and `benchmark` keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsargmax.commands.shared.alike import alike, data_name, method_label, told_apart
from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.evaluation_options import Data, Device

if TYPE_CHECKING:
    import torch_geometric.data

app = typer.Typer(help="Draw figures for papers: PDF, SVG or PNG.", no_args_is_help=True)

_Out = Annotated[Path, typer.Option(help="File to write; its ending says the format.", show_default=False)]
_Runs = Annotated[list[Path], typer.Argument(help="Run folders or checkpoints.", metavar="RUN...", show_default=False)]
_Results = Annotated[
    list[Path],
    typer.Argument(
        help="Run folders that were evaluated, or files that `evaluate` or `benchmark` left.",
        metavar="RESULTS...",
        show_default=False,
    ),
]
_Names = Annotated[str, typer.Option(help="What the methods are called, such as soft,ours; by their objective if not.")]
_Split = Annotated[str, typer.Option(help="Which evaluation of a run folder.")]


@app.command()
def maps(
    runs: _Runs,
    out: _Out,
    keypoint: Annotated[str, typer.Option(help="Name of the keypoint whose maps are drawn.", show_default=False)],
    shape: Annotated[str, typer.Option(help="Id of a shape of the split; the first if not given.")] = "",
    file: Annotated[Path | None, typer.Option(help="A mesh or cloud instead of a shape of the split.")] = None,
    split: Annotated[str, typer.Option(help="Of the first run's data.")] = "test",
    data: Data = None,
    log_scale: Annotated[bool, typer.Option("--log", help="Colour by the logarithm of the probability.")] = False,
    same_scale: Annotated[bool, typer.Option("--same-scale", help="One colour scale for all runs.")] = False,
    views: Annotated[str, typer.Option(help="Azimuth,elevation of each view, in degrees.")] = "35,20 125,20 35,75",
    closeup: Annotated[float, typer.Option(help="Share of the diagonal that the close-up shows; 0: none.")] = 0.12,
    names: _Names = "",
    seed: Annotated[int, typer.Option(help="Seed of the sampling of a mesh.")] = 0,
    device: Device = "cpu",
) -> None:
    """Compare the probability maps of one keypoint on one shape, a row a run (the paper's Figure 4).

    Example:

        pcsargmax figure maps runs/mug-soft-seed0 runs/mug-sampling-seed0 --keypoint 9 --out maps.pdf
    """
    with friendly_errors():
        from pcsargmax.runs.load import load_cloud_run
        from pcsargmax.visualize import probability_figure
        from pcsargmax.visualize.figures import check_figure_path

        check_figure_path(out)
        seen = parse_views(views)
        opened = [load_cloud_run(run, device=device) for run in runs]
        if file is not None and shape:
            raise ValueError("give --shape or --file, not both")
        _check_keypoint(keypoint, opened)
        if data is not None:
            opened = [run.with_data(data) for run in opened]
        if file is not None:
            found = [run.predict_file(file, seed=seed) for run in opened]
        else:
            item = _item(opened[0].dataset(split), shape, split)
            found = [run.predict(item) for run in opened]
        methods = [_method({"settings": run.settings.to_dict()}) for run in opened]
        labels = _named(methods, [run.folder.name for run in opened], names)
        drawn = dict(zip(labels, found, strict=True))
        options: dict[str, Any] = {"log_scale": log_scale, "same_scale": same_scale, "views": seen}
        probability_figure(drawn, keypoint=keypoint, closeup=closeup or None, path=out, **options)
        typer.echo(out)


@app.command()
def training(runs: _Runs, out: _Out, names: _Names = "") -> None:
    """Draw the training curves of runs, as their logs hold them.

    Example:

        pcsargmax figure training runs/mug-soft-seed0 runs/mug-sampling-seed0 --out training.pdf
    """
    with friendly_errors():
        from pcsargmax.visualize import training_curves

        labels = _named([run.resolve().name for run in runs], [str(run) for run in runs], names)
        training_curves(dict(zip(labels, runs, strict=True)) if len(runs) > 1 else runs[0], out)
        typer.echo(out)


@app.command()
def pck(
    results: _Results,
    out: _Out,
    estimate: Annotated[str, typer.Option(help="expectation, snapped or mode.")] = "expectation",
    template: Annotated[bool, typer.Option(help="Draw the baseline of mean keypoints too.")] = True,
    most: Annotated[float, typer.Option(help="The largest threshold, in the unit of the results.")] = 0.1,
    split: _Split = "test",
    names: _Names = "",
) -> None:
    """Draw PCK over the threshold, a line a method: the mean of its runs, in a band from the lowest to the highest.

    Runs that differ in nothing but the seed share a line.

    Example:

        pcsargmax figure pck benchmarks/results/mug-detector-*.json --out pck.pdf
    """
    with friendly_errors():
        import numpy as np

        from pcsargmax.visualize import pck_curve

        if not most > 0:
            raise ValueError(f"most must be positive, got {most}")
        drawn: dict[str, Any] = by_method(read_evaluations(results, split), names)
        if template:
            kept = {data_name(runs[0]): runs[0]["shapes"]["errors"].get("template") for runs in drawn.values()}
            for data, errors in kept.items():
                name = "template" if len(kept) == 1 else f"{data}, template"
                drawn |= {} if errors is None else {name: np.array(errors, dtype=np.float64)}
        pck_curve(drawn, np.linspace(0, most, 201), estimate=estimate, path=out)
        typer.echo(out)


@app.command()
def reliability(
    results: _Results,
    out: _Out,
    bins: Annotated[str, typer.Option(help="width: of equal width; count: of equal count.")] = "width",
    split: _Split = "test",
    names: _Names = "",
) -> None:
    """Draw how often keypoints were right against their confidence, a line a method, its runs put together.

    Example:

        pcsargmax figure reliability benchmarks/results/mug-detector-*.json --out reliability.pdf
    """
    from pcsargmax.visualize import reliability_curve

    _draw_confidence(reliability_curve, results, out, split, names, bins=bins)


@app.command()
def sparsification(
    results: _Results,
    out: _Out,
    relative: Annotated[bool, typer.Option("--relative", help="In shares of the mean error.")] = False,
    split: _Split = "test",
    names: _Names = "",
) -> None:
    """Draw the mean error of the most confident keypoints, one line per method, averaged over its runs.

    Example:

        pcsargmax figure sparsification benchmarks/results/mug-detector-*.json --out sparsification.pdf
    """
    from pcsargmax.visualize import sparsification_curve

    _draw_confidence(sparsification_curve, results, out, split, names, relative=relative)


@app.command()
def bases(out: _Out) -> None:
    """Draw the uniform, triangular and Gaussian basis and their mixtures (the paper's Figure 2).

    Example:

        pcsargmax figure bases --out bases.pdf
    """
    with friendly_errors():
        from pcsargmax.visualize import basis_figure

        basis_figure(path=out)
        typer.echo(out)


def _draw_confidence(
    draw: Callable[..., Any], results: list[Path], out: Path, split: str, names: str, **options: Any
) -> None:
    with friendly_errors():
        draw(by_method(read_evaluations(results, split), names), path=out, **options)
        typer.echo(out)


def parse_views(text: str) -> list[tuple[float, float]]:
    """Read "35,20 125,20" as pairs of azimuth and elevation."""
    try:
        pairs = [tuple(float(part) for part in view.split(",")) for view in text.split()]
    except ValueError:
        pairs = []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"views must be AZIMUTH,ELEVATION, several with spaces between, got {text!r}")
    return [(azimuth, elevation) for azimuth, elevation in pairs]


def read_evaluations(paths: Sequence[Path], split: str) -> list[tuple[str, dict[str, Any]]]:
    """What `Run.evaluate` returned, with the settings of the training, by the file that holds it.

    Args:
        paths: run folders with a metrics-SPLIT.json, or files that `evaluate` or `benchmark` left.
        split: which evaluation of a run folder.

    Raises:
        ValueError: a run folder that was not evaluated, or a file that holds no evaluation of a detector.
        OSError: a file that cannot be read.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        file = path / f"metrics-{split}.json" if path.is_dir() else path
        if path.is_dir() and not file.is_file():
            made = f"which of a run folder is made by: pcsargmax evaluate {path} --split {split}"
            raise ValueError(f"{path}: no {file.name} in it, {made}")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not an evaluation: {error}") from None
        try:
            kept = content.get("metrics", content) | {"settings": content["settings"]}
            whole = {"data", "split", "unit"} <= kept.keys() and "objective" in kept["settings"]
            whole = whole and "errors" in kept["shapes"]
        except (AttributeError, KeyError, TypeError):  # JSON of anything else
            whole = False
        if not whole:
            raise ValueError(f"{file}: expected the evaluation of a detector, with the errors of each shape")
        found.append((path.resolve().name if path.is_dir() else path.stem, kept))
    return found


def by_method(evaluations: Sequence[tuple[str, dict[str, Any]]], names: str = "") -> dict[str, list[dict[str, Any]]]:
    """The evaluations of the runs that differ in nothing but the seed, by a name for them.

    Raises:
        ValueError: two of one method and seed, which would count twice, or names that do not fit.
    """
    groups = alike(metrics | {"run": name} for name, metrics in evaluations)
    for runs in groups:
        by_seed: dict[Any, str] = {}
        for one in runs:
            seed = one["settings"].get("seed")
            if seed in by_seed:
                told = f"{by_seed[seed]} and {one['run']}: two evaluations of one method with seed {seed}"
                raise ValueError(f"{told}; give one")
            by_seed[seed] = one["run"]
    labels, data = [_method(runs[0]) for runs in groups], [data_name(runs[0]) for runs in groups]
    if len(set(data)) > 1:
        labels = [f"{of}, {label}" for of, label in zip(data, labels, strict=True)]
    return dict(zip(_named(labels, [runs[0]["run"] for runs in groups], names), groups, strict=True))


def _method(result: dict[str, Any]) -> str:
    """What the method of a training is called in a figure."""
    return method_label(result).replace("N_s", "$N_s$")


def _named(labels: Sequence[str], own: Sequence[str], names: str) -> list[str]:
    """The names that were given, else the labels, where two are the same each with what is its own."""
    if names:
        given = [name.strip() for name in names.split(",")]
        if len(given) != len(labels) or len(set(given)) < len(given):
            raise ValueError(f"names must be {len(labels)} different ones, for {'; '.join(own)}; got {names!r}")
        return given
    return told_apart(labels, own)


def _check_keypoint(keypoint: str, runs: Sequence[Any]) -> None:
    """Raise ValueError where a run does not have a keypoint, naming those that all have."""
    for run in runs:
        if keypoint not in run.keypoint_names:
            common = [name for name in run.keypoint_names if all(name in other.keypoint_names for other in runs)]
            known = f"one of {', '.join(common)}" if common else "one that all runs have, which there is none of"
            raise ValueError(f"keypoint must be {known}; got {keypoint!r}, which {run.folder.name} does not have")


def _item(dataset: Any, shape: str, split: str) -> torch_geometric.data.Data:
    """A shape of a data set by its id, or the first."""
    from pcsargmax.runs.sources import model_ids

    known = list(model_ids(dataset))
    if shape and shape not in known:
        near = [name for name in known if name.startswith(shape)]
        if len(near) != 1:
            some = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
            raise ValueError(f"shape must be one of split {split!r}, such as {some}; got {shape!r}")
        shape = near[0]
    return dataset[known.index(shape) if shape else 0]
