"""`pcsargmax data`: make, fetch, list and check data sets."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import MeshFrame

if TYPE_CHECKING:
    from pcsargmax.datasets.check import Report
    from pcsargmax.io.markups import Frame

app = typer.Typer(help="Make, fetch, list and check data sets.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def make(
    categories: Annotated[
        list[str] | None, typer.Argument(help="airplane, chair, table, mug; all four if none is named.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("datasets/procedural"),
    models: Annotated[int, typer.Option(help="Models of each category.")] = 200,
    points: Annotated[int, typer.Option(help="Points of each cloud.")] = 2048,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 0,
    mesh: Annotated[bool, typer.Option(help="Write meshes too.")] = True,
    as_json: _Json = False,
) -> None:
    """Make procedural categories in KeypointNet's own layout, with splits: 70 % train, 10 % val, 20 % test.

    Example:

        pcsargmax data make chair mug --root datasets/procedural --models 200
    """
    with friendly_errors():
        from pcsargmax.commands.shared.progress import progress_bars
        from pcsargmax.datasets.procedural import FAMILIES, make_procedural

        with progress_bars() as bars:
            counts = make_procedural(
                root,
                categories or tuple(FAMILIES),
                models=models,
                num_points=points,
                seed=seed,
                mesh=mesh,
                progress=lambda i, n: bars.update("making shapes", i, n),
            )
        if as_json:
            typer.echo(json.dumps({"root": str(root), "categories": counts}))
            return
        for category, splits in counts.items():
            numbers = ", ".join(f"{number} {split}" for split, number in splits.items())
            typer.echo(f"{category}: {numbers}")
        typer.echo(f"Written to {root}; train with: pcsargmax train {next(iter(counts))} --root {root}")


@app.command()
def download(
    category: Annotated[str, typer.Argument(help="One of KeypointNet's 16 categories, or its class id.")],
    root: Annotated[Path, typer.Option(help="Folder to fetch into.")] = Path("datasets/keypointnet"),
    meshes: Annotated[bool, typer.Option(help="Fetch the coloured meshes too.")] = False,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of the data set.")] = "main",
    as_json: _Json = False,
) -> None:
    """Fetch a category of KeypointNet from Hugging Face; a broken download goes on where it stopped.

    Example:

        pcsargmax data download mug --root datasets/keypointnet
    """
    with friendly_errors():
        from pcsargmax.datasets.download import download_keypointnet

        found = download_keypointnet(root, category, meshes=meshes, revision=revision, progress=not as_json)
        if as_json:
            typer.echo(json.dumps({"root": str(root), **asdict(found)}))
            return
        lacking = f", {len(found.missing)} of them not in the data set" if found.missing else ""
        typer.echo(f"{found.category}: {found.models} annotated models in {root}{lacking}")


@app.command("list")
def list_(
    root: Annotated[Path, typer.Argument(help="A data set, or a folder of data sets.")] = Path("datasets"),
    as_json: _Json = False,
) -> None:
    """List the data sets of a folder: categories with the models that each split can use, and scans.

    Example:

        pcsargmax data list datasets
    """
    with friendly_errors():
        from pcsargmax.datasets.check import Report, find_landmarks, is_keypointnet, survey
        from pcsargmax.datasets.keypointnet_files import categories

        if not root.is_dir():
            raise FileNotFoundError(f"no such folder: {root}")
        folders = [folder for folder in (root, *sorted(root.iterdir())) if is_keypointnet(folder)]
        found: dict[str, list[Report]] = {}
        for folder in folders:
            found[str(folder)] = []
            for name in categories(folder):
                try:
                    found[str(folder)].append(survey(folder, name))
                except ValueError as error:
                    found[str(folder)].append(Report(name, defects=[str(error)]))
        others = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and folder not in folders]
        scans = {str(f): report for f in others if root not in folders and (report := find_landmarks(f))}
        if not folders and not scans and (report := find_landmarks(root)):
            scans = {str(root): report}
        if as_json:
            both = {**found, **{folder: [report] for folder, report in scans.items()}}
            typer.echo(json.dumps({folder: [asdict(r) for r in reports] for folder, reports in both.items()}))
            return
        if not found and not scans:
            typer.echo(f"No data set in {root} or the folders in it.")
        for folder_name, reports in found.items():
            _print_overview(folder_name, reports)
        for folder_name, report in scans.items():
            typer.echo(f"{folder_name}: {report.clouds} scans, {report.models} landmark files")


@app.command()
def check(
    root: Annotated[Path, typer.Argument(help="A folder in KeypointNet's layout, or of scans with landmarks.")],
    category: Annotated[str | None, typer.Argument(help="Only this category.")] = None,
    mesh_frame: MeshFrame = "LPS",
    as_json: _Json = False,
) -> None:
    """Read a whole data set: counts, keypoints that are often absent, what is missing, what is wrong.

    Exit code 1 if there are defects. Example:

        pcsargmax data check datasets/keypointnet mug

        pcsargmax data check ~/scans --mesh-frame RAS
    """
    with friendly_errors():
        from pcsargmax.commands.shared.progress import progress_bars
        from pcsargmax.datasets.check import check_keypointnet, check_landmarks, is_keypointnet
        from pcsargmax.datasets.keypointnet_files import categories
        from pcsargmax.io.markups import check_frame

        check_frame("mesh_frame", mesh_frame)
        if not root.is_dir():
            raise FileNotFoundError(f"no such folder: {root}")
        with progress_bars() as bars:
            if is_keypointnet(root):
                if mesh_frame != "LPS":
                    raise ValueError(f"mesh_frame {mesh_frame!r} was given, but {root} is in KeypointNet's layout")
                names = [category] if category else list(categories(root))
                if not names:
                    raise ValueError(f"{root / 'annotations'} holds no annotation file")
                reports = [check_keypointnet(root, name, progress=partial(bars.update, name)) for name in names]
            elif category:
                raise ValueError(f"category {category!r} was given, but {root} is not in KeypointNet's layout")
            else:
                frame = cast("Frame", mesh_frame)
                reports = [check_landmarks(root, mesh_frame=frame, progress=lambda i, n: bars.update(root.name, i, n))]
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports]))
    else:
        for report in reports:
            _print_report(report)
    if any(report.defects for report in reports):
        raise typer.Exit(1)


def _print_overview(folder: str, reports: list[Report]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=folder, title_justify="left")
    table.add_column("category")
    for column in ("keypoints", "models", "clouds", "meshes", "train", "val", "test"):
        table.add_column(column, justify="right")
    for report in reports:
        if report.defects:
            table.add_row(report.name, "malformed")
            continue
        usable = [str(report.splits[s]["usable"]) if s in report.splits else "-" for s in ("train", "val", "test")]
        counts = (len(report.keypoints), report.models, report.clouds, report.meshes)
        table.add_row(report.name, *(str(number) for number in counts), *usable)
    Console().print(table)
    for report in reports:
        for defect in report.defects:
            typer.echo(defect)


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    class_id = f" ({report.class_id})" if report.class_id else ""
    typer.echo(f"{report.name}{class_id}: {report.models} annotated models, {report.clouds} with a cloud")
    if report.length_unit is not None:
        typer.echo(f"  lengths in {report.length_unit}, by the landmark files")
    for split, numbers in report.splits.items():
        typer.echo(f"  {split}: {numbers['usable']} of {numbers['listed']} models usable")
    if report.keypoints:
        table = Table("keypoint", "models", "absent in")
        for name, number in report.keypoints.items():
            table.add_row(name, str(number), f"{1 - number / max(report.models, 1):.1%}")
        Console().print(table)
    if report.missing:
        shown = ", ".join(report.missing[:5]) + (", ..." if len(report.missing) > 5 else "")
        typer.echo(f"  missing: {len(report.missing)} models have no cloud or annotation: {shown}")
    for note in report.notes:
        typer.echo(f"  note: {note}")
    for defect in report.defects[:20]:
        typer.echo(f"  defect: {defect}")
    if len(report.defects) > 20:
        typer.echo(f"  and {len(report.defects) - 20} more defects (all with --json)")
    typer.echo(f"  {len(report.defects)} defects")
