"""`pcsargmax annotate`: put landmarks on scans, so that there is something to train on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pcsargmax.commands.shared.errors import check_there, friendly_errors
from pcsargmax.commands.shared.options import MeshFrame
from pcsargmax.runs.checkpoint import find_checkpoint

if TYPE_CHECKING:
    from pcsargmax.annotate import Session, SlicerStore
    from pcsargmax.annotate.sources import Found
    from pcsargmax.io.markups import Frame

FORMATS = ("mrk.json", "keypointnet")


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Meshes or clouds (.ply .obj .stl .off .pcd .xyz .npy .npz), or folders of them.", metavar="PATH..."
        ),
    ],
    names: Annotated[
        str,
        typer.Option(help="The landmarks: names with commas, or a file with a name a line. Default: --like, --run."),
    ] = "",
    like: Annotated[Path | None, typer.Option(help="Take the names of this data set.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder whose predictions are proposed, its names too.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to save in, the scans with the landmarks; default beside the scans.")
    ] = None,
    format: Annotated[str, typer.Option(help="mrk.json (3D Slicer), or keypointnet (its layout).")] = "mrk.json",
    category: Annotated[
        str, typer.Option(help="Of --format keypointnet: the category, default --out's name. Also that of --like.")
    ] = "",
    mesh_frame: MeshFrame = "LPS",
    num_points: Annotated[int, typer.Option(help="Of --format keypointnet: points of a cloud.")] = 2048,
    seed: Annotated[int, typer.Option(help="Seed of the sampling of meshes.")] = 0,
    device: Annotated[str, typer.Option(help="Of --run: cpu, cuda or mps.")] = "cpu",
) -> None:
    """Put landmarks on scans in a window, and save them in a form that `train` reads.

    A click puts the landmark that is marked in the list and goes on to the next: onto the surface of a mesh, or the
    nearest point of a cloud. Dragging a landmark moves it, any other drag turns the view; the window tells the keys.
    Every change is saved at once, and the same command goes on where it was left. Without names, they are typed as one
    goes.

    Example:

        pcsargmax annotate ~/scans --names tip,left,right
    """
    with friendly_errors():
        check_there(paths)
        if run is not None:
            find_checkpoint(run)
        from pcsargmax.annotate import KeypointNetStore, Session
        from pcsargmax.annotate.sources import find_landmarks, find_scans
        from pcsargmax.annotate.window.window import annotate
        from pcsargmax.io.landmarks import stem_of
        from pcsargmax.io.markups import check_frame
        from pcsargmax.visualize.clouds.renderer import RendererUnavailable

        check_frame("mesh_frame", mesh_frame)
        frame = cast("Frame", mesh_frame)
        _check(names, like, out, format, category)
        propose, known = (None, []) if run is None else _proposer(run, seed, device)
        listed = _names(names, like, category, frame) or known
        scans = find_scans(paths)
        beside = find_landmarks(paths, frame=frame)
        found = {scan: beside[stem_of(scan.name)] for scan in scans if stem_of(scan.name) in beside}
        if format == "keypointnet":
            assert out is not None
            category = category or out.resolve().name
            store: Any = KeypointNetStore(out, category, num_points=num_points, seed=seed)
            told = ["train", category, "--root", str(out)]
        else:
            store = _slicer_store(out, frame, found)
            told = ["train", str(out) if out is not None else commonpath([scan.parent for scan in scans])]
            told += [] if frame == "LPS" else ["--mesh-frame", frame]
        begin = {scan: _begin(scan, its, frame) for scan, its in found.items()}
        session = Session(scans, listed, store, begin=begin, open_names=not listed)
        try:
            annotate(session, propose=propose)
        except RendererUnavailable as error:
            raise OSError(str(error)) from error
        finally:
            session.save()
    _tell(session, shlex.join(["pcsargmax", *told]))


def _check(names: str, like: Path | None, out: Path | None, format: str, category: str) -> None:
    """Raise ValueError where options do not go together."""
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if names and like is not None:
        raise ValueError("give either --names or --like")
    if format == "keypointnet" and out is None:
        raise ValueError("--format keypointnet needs --out, the folder that gets the layout")
    if category and format != "keypointnet" and like is None:
        raise ValueError("--category is for --format keypointnet, or of --like")


def _names(names: str, like: Path | None, category: str, frame: Frame) -> list[str]:
    from pcsargmax.annotate.sources import names_of, parse_names

    if like is not None:
        return names_of(like, category, frame=frame)
    return parse_names(names) if names else []


def _proposer(run: Path, seed: int, device: str) -> tuple[Callable[[Path], Any], list[str]]:
    """What predicts a file, and the names that it knows."""
    from pcsargmax.runs.load import load_cloud_run

    opened = load_cloud_run(run, device=device)
    return (lambda path: opened.predict_file(path, seed=seed)), list(opened.keypoint_names)


def _slicer_store(out: Path | None, frame: Frame, found: Mapping[Path, Found]) -> SlicerStore:
    """Saves beside the scans, or in the files that hold their landmarks already."""
    from pcsargmax.annotate import SlicerStore

    files = {} if out is not None else {scan: its.path for scan, its in found.items()}
    if odd := [path for path in files.values() if not path.name.lower().endswith(".mrk.json")]:
        raise ValueError(
            f"{odd[0]}: holds landmarks of these scans already, which .mrk.json beside them would tell a second "
            "time; name a folder with --out, which begins with what is there"
        )
    return SlicerStore(out, frame=frame, files=files)


def _begin(scan: Path, found: Found, frame: Frame) -> Mapping[str, Any]:
    """The marks that a file holds; 3D Slicer's tells of absence too."""
    from pcsargmax.annotate import SlicerStore

    if found.path.name.lower().endswith(".mrk.json"):
        return SlicerStore(frame=frame, files={scan: found.path}).load(scan) or {}
    return found.marks


def _tell(session: Session, told: str) -> None:
    """Say how far the work is, and what to do next."""
    total = len(session.scans)
    complete = sum(session.complete(number) for number in range(total))
    untouched = sum(session.untouched(number) for number in range(total))
    typer.echo(f"{complete} of {total} files complete, {untouched} untouched")
    if session.unsaved:
        typer.echo(f"{session.unsaved} files could not be saved: {session.failure}", err=True)
        raise typer.Exit(1)
    if session.others:
        typer.echo(f"Left as they are, for they are not among the names: {', '.join(session.others)}")
    if complete + untouched < total:
        typer.echo("Training takes landmarks that are unset as absent: complete the rest, or take these files out.")
    if untouched < total:
        typer.echo(f"Next: {told}")
