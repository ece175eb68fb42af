"""`pcsargmax view`: look at what a run finds, at two runs side by side, or at a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsargmax.commands.shared.errors import check_there, friendly_errors
from pcsargmax.commands.view.selection import (
    check_counts,
    check_keypoint,
    chosen,
    print_seen,
    run_titles,
    whose_names,
)
from pcsargmax.settings.common import method_name

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import CloudRun
    from pcsargmax.visualize.clouds.shapes import Shape
    from pcsargmax.visualize.clouds.sources import Predictions
    from pcsargmax.visualize.look import Look


#: The groups of options in the help.
_WHAT, _HOW, _OUT = "What to look at", "How it is drawn", "Files to write in place of a window"


def command(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Run folder or checkpoint; without one, DATA are shown as they are annotated.", metavar="RUN"
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Meshes, clouds or images, folders of them, a category or data set; of a run its test split if "
            "none is named.",
            metavar="DATA",
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run, beside the first on the same shapes.", rich_help_panel=_WHAT)
    ] = None,
    split: Annotated[
        str, typer.Option(help="Of a data set: 'test' of the run's own, else 'all'.", rich_help_panel=_WHAT)
    ] = "",
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of categories; of a run alone, where its data are now.", rich_help_panel=_WHAT),
    ] = None,
    first: Annotated[int, typer.Option(help="First shape, counted from 1.", rich_help_panel=_WHAT)] = 1,
    count: Annotated[int, typer.Option(help="How many shapes; 0: all.", rich_help_panel=_WHAT)] = 0,
    mesh_frame: Annotated[
        str,
        typer.Option(help="Without a run: frame of meshes with markups, LPS or RAS.", rich_help_panel=_WHAT),
    ] = "LPS",
    seed: Annotated[
        int, typer.Option(help="Seed of the points sampled of meshes, and of --samples.", rich_help_panel=_WHAT)
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.", rich_help_panel=_WHAT)] = "cpu",
    keypoint: Annotated[
        str,
        typer.Option(
            help="Keypoint whose map colours the points; default the strongest at each point.", rich_help_panel=_HOW
        ),
    ] = "",
    log_scale: Annotated[
        bool, typer.Option("--log", help="Colour by the logarithm of the probability.", rich_help_panel=_HOW)
    ] = False,
    ellipsoids: Annotated[
        int, typer.Option(help="Draw the ellipsoids of 1 … n σ: 0, 1 or 2.", rich_help_panel=_HOW)
    ] = 0,
    samples: Annotated[int, typer.Option(help="Draw so many samples of each distribution.", rich_help_panel=_HOW)] = 0,
    truth: Annotated[
        bool, typer.Option(help="Draw annotated positions and the lines to them.", rich_help_panel=_HOW)
    ] = True,
    mesh: Annotated[
        bool, typer.Option(help="Draw the mesh under the points, where there is one.", rich_help_panel=_HOW)
    ] = True,
    skeleton: Annotated[bool, typer.Option(help="Draw the skeleton of a discovery.", rich_help_panel=_HOW)] = True,
    symmetries: Annotated[bool, typer.Option(help="Draw annotated symmetries.", rich_help_panel=_HOW)] = True,
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels", help="Write names beside keypoints; on a sheet only if asked.", rich_help_panel=_HOW
        ),
    ] = None,
    same_scale: Annotated[
        bool,
        typer.Option(
            "--same-scale/--own-scale",
            help="In pictures of two runs and on a sheet, one colour means one probability.",
            rich_help_panel=_HOW,
        ),
    ] = True,
    save: Annotated[
        Path | None, typer.Option(help="A picture, .png; of several shapes numbered ones.", rich_help_panel=_OUT)
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="One picture of all shapes, .png.", rich_help_panel=_OUT)] = None,
    turntable: Annotated[Path | None, typer.Option(help="A turning view, .gif or .mp4.", rich_help_panel=_OUT)] = None,
    html: Annotated[
        Path | None, typer.Option(help="A page for any browser, .html, with switches of its own.", rich_help_panel=_OUT)
    ] = None,
    azimuth: Annotated[
        float, typer.Option(help="Camera: degrees about y, from +z towards +x.", rich_help_panel=_OUT)
    ] = 35.0,
    elevation: Annotated[float, typer.Option(help="Camera: degrees above the horizon.", rich_help_panel=_OUT)] = 20.0,
    size: Annotated[
        str, typer.Option(help="Of a picture, as 1280x960; of a sheet, of each shape.", rich_help_panel=_OUT)
    ] = "",
) -> None:
    """Look at keypoints and their probability maps in a window, or write pictures, a turning view or a page.

    On clouds and meshes, and on images with their keypoints or surfaces.

    Examples:

        pcsargmax view runs/mug-sampling-seed0

        pcsargmax view runs/mug-sampling-seed0 scan.ply --html scan.html

        pcsargmax view runs/mug-soft-seed0 --against runs/mug-sampling-seed0 --keypoint 9

        pcsargmax view mug --root datasets/keypointnet --split train

        pcsargmax view my-scans --sheet my-scans.png

        pcsargmax view runs/faces-sampling-seed0 photo.jpg --save photo.png
    """
    with friendly_errors():
        checkpoint, named = _run_and_data([text for text in (run, *(data or [])) if text is not None])
        check_there(named, categories=True)
        from pcsargmax.commands.view.images import is_images, refuse, view_images
        from pcsargmax.commands.view.outputs import View, check_outputs, show_view, write_view
        from pcsargmax.visualize.look import Look

        outputs = check_outputs(save=save, sheet=sheet, turntable=turntable, html=html)
        look = Look(
            keypoint=keypoint or None,
            log_scale=log_scale,
            truth=truth,
            ellipsoids=ellipsoids,
            samples=samples > 0,
            skeleton=skeleton,
            surface=mesh,
            symmetries=symmetries,
            labels=labels is not False,
        )
        camera: dict[str, Any] = {"azimuth": azimuth, "elevation": elevation, **_size(size)}
        _check_options(samples, checkpoint, against)
        runs = [_open(each, device) for each in (checkpoint, against) if each is not None]
        if is_images(runs, named):
            refuse(
                {"--turntable": "turntable" in outputs, "--samples": samples > 0, "--mesh-frame": mesh_frame != "LPS"}
                | {"--azimuth": azimuth != 35.0, "--elevation": elevation != 20.0, "--no-mesh": not mesh}
                | {"--no-skeleton": not skeleton, "--no-symmetries": not symmetries}
            )
            options = {"keypoint": look.keypoint, "truth": truth, "ellipsoids": ellipsoids, "log_scale": log_scale}
            where: dict[str, Any] = {"split": split, "root": root, "first": first, "count": count}
            how: dict[str, Any] = {"options": options | {"labels": labels}, "same_scale": same_scale}
            view_images(runs, named, outputs, **where, **how, size=_size(size))
            return
        shapes = chosen(_shapes(runs, named, split, root, mesh_frame), first, count, "shapes")
        check_counts(outputs, len(shapes), "shapes")
        found, others = _found(runs, shapes, look, samples, seed)
        of = ", ".join(Path(text).resolve().name for text in named or [runs[0].settings.data])
        step = "predicting" if runs else "reading"
        view = View(found, others, run_titles(runs, of, _method), of, look, same_scale, labels is True, step)
        if outputs:
            write_view(view, outputs, camera, first)
        else:
            show_view(view)


def _size(text: str) -> dict[str, tuple[int, int]]:
    """Read "1280x960" as a keyword argument; nothing where nothing is said."""
    if not text:
        return {}
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if found is None:
        raise ValueError(f"size must be WIDTHxHEIGHT in pixels, such as 1280x960, got {text!r}")
    return {"size": (int(found[1]), int(found[2]))}


def _run_and_data(what: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Which of the arguments is the run, and the others."""
    runs = [text for text in what if _is_run(Path(text))]
    if not what:
        raise ValueError("nothing to look at: name a run, or files, folders or a category; see `pcsargmax view --help`")
    if len(runs) > 1:
        raise ValueError(f"expected one run, got {', '.join(runs)}; two side by side: {runs[0]} --against {runs[1]}")
    return (Path(runs[0]) if runs else None), [text for text in what if text not in runs]


def _is_run(path: Path) -> bool:
    return path.suffix == ".ckpt" or (path / "checkpoints").is_dir() or (path / "settings.json").is_file()


def _check_options(samples: int, run: Path | None, against: Path | None) -> None:
    """Refuse what does not go together."""
    if samples < 0:
        raise ValueError(f"samples must not be negative, got {samples}")
    for option, given in (("--against", against is not None), ("--samples", samples > 0)):
        if given and run is None:
            raise ValueError(f"{option} needs a run to look at, got none: pcsargmax view RUN ... {option}")


def _open(path: Path, device: str) -> Any:
    """A run of any kind."""
    from pcsargmax.runs.load import load_run

    return load_run(path, device=device)


def _shapes(runs: Sequence[CloudRun], data: list[str], split: str, root: Path | None, frame: str) -> Sequence[Shape]:
    """The shapes of the data, or of a split of the run's own."""
    from pcsargmax.commands.shared.progress import progress_bars
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.settings.fields import setting_fields
    from pcsargmax.visualize.clouds.sources import find_shapes, run_shapes

    if runs and not data:
        try:
            return run_shapes(runs[0] if root is None else runs[0].with_data(root), split or "test")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; if the run's data have moved, --root says where they are now") from None
    settings = DiscoverSettings(mesh_frame=setting_fields(DiscoverSettings)["mesh_frame"].parse(frame, "--mesh-frame"))
    if runs:  # a folder is split and read as in the training
        same = ("root", "num_points", "split_seed", "shares", "mesh_frame")
        settings = replace(settings, **{name: getattr(runs[0].settings, name) for name in same})
    if root is not None:
        settings = replace(settings, root=str(root))
    with progress_bars() as bars:
        try:
            return find_shapes(data, settings, split, progress=lambda i, n: bars.update("reading", i, n))
        except ValueError as error:
            if root is None and _lacks_category(data, settings.root):
                raise ValueError(f"{error}; if there is one elsewhere, --root FOLDER says where") from None
            raise


def _lacks_category(data: Sequence[str], root: str) -> bool:
    """Whether one of the data can only be a category, and there is no folder of categories."""
    bare = [text for text in data if Path(text).name == text and not Path(text).suffix and not Path(text).exists()]
    return bool(bare) and not (Path(root) / "annotations").is_dir()


def _found(
    runs: Sequence[CloudRun], shapes: Sequence[Shape], look: Look, samples: int, seed: int
) -> tuple[Predictions, Predictions | None]:
    """What is annotated, or found by the runs on the same points."""
    from pcsargmax.visualize.clouds.sources import annotated_shapes, pair, predicted_shapes

    if not runs:
        annotated = annotated_shapes(shapes)
        check_keypoint(look.keypoint, annotated[0].keypoint_names)
        return annotated, None
    for run in runs:
        check_keypoint(look.keypoint, run.keypoint_names, whose_names(run, runs))
        print_seen(run, [Path(shape.name).stem for shape in shapes], "shapes")
    points = runs[0].settings.num_points
    found = [predicted_shapes(run, shapes, num_points=points, seed=seed, num_samples=samples) for run in runs]
    return pair(*found) if len(found) > 1 else (found[0], None)


def _method(run: CloudRun) -> str:
    method = method_name(run.settings.objective, run.settings.num_samples)
    return f"discovery, {method}" if run.kind == "skeleton_merger" else method
