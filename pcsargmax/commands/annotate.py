"""`pcsargmax annotate`: put landmarks on scans, so that there is something to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pcsargmax.commands.errors import friendly_errors

if TYPE_CHECKING:
    from pcsargmax.annotate.keypointnet_store import KeypointNetStore
    from pcsargmax.annotate.session import Session
    from pcsargmax.annotate.slicer_store import SlicerStore

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
    category: Annotated[str, typer.Option(help="Of --format keypointnet: the category; default --out's name.")] = "",
    frame: Annotated[str, typer.Option(help="Frame of the meshes for 3D Slicer, LPS or RAS.")] = "LPS",
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
        from pcsargmax.datasets.markups import check_frame

        check_frame("frame", frame)
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
        if names and like is not None:
            raise ValueError("give either --names or --like")
        propose, known = (None, []) if run is None else _proposer(run, seed, device)
        listed = _names(names, like, category, frame) or known
        session, told = _session(paths, listed, out, format, category, frame, num_points, seed)
        from pcsargmax.visualize.scene import RendererUnavailable

        try:
            _open(session, propose)
        except RendererUnavailable as error:
            raise OSError(str(error)) from error
        finally:
            session.save()
    _tell(session, told)


def _names(names: str, like: Path | None, category: str, frame: str) -> list[str]:
    from pcsargmax.annotate.sources import names_of, parse_names

    if like is not None:
        return names_of(like, category, frame=cast(Any, frame))
    return parse_names(names) if names else []


def _proposer(run: Path, seed: int, device: str) -> tuple[Callable[[Path], Any], list[str]]:
    """What predicts a file, and the names that it knows."""
    from pcsargmax.training.run import load_run

    opened = load_run(run, device=device)
    return (lambda path: opened.predict_file(path, seed=seed)), list(opened.keypoint_names)


def _session(
    paths: list[Path],
    names: list[str],
    out: Path | None,
    format: str,
    category: str,
    frame: str,
    num_points: int,
    seed: int,
) -> tuple[Session, str]:
    """The session, and the command that trains on what it leaves."""
    from pcsargmax.annotate.session import Session
    from pcsargmax.annotate.sources import find_landmarks, find_scans
    from pcsargmax.datasets.landmark_files import stem_of

    scans = find_scans(paths)
    beside = find_landmarks(paths, frame=cast(Any, frame))
    found = {scan: beside[stem_of(scan.name)] for scan in scans if stem_of(scan.name) in beside}
    store: KeypointNetStore | SlicerStore
    if format == "keypointnet":
        from pcsargmax.annotate.keypointnet_store import KeypointNetStore

        if out is None:
            raise ValueError("--format keypointnet needs --out, the folder that gets the layout")
        store = KeypointNetStore(out, category or out.resolve().name, num_points=num_points, seed=seed)
        known, told = store.names, f"pcsargmax train {store.category} --root {out}"
    else:
        from pcsargmax.annotate.slicer_store import SlicerStore

        if category:
            raise ValueError("--category is for --format keypointnet")
        files = {} if out is not None else {scan: its.path for scan, its in found.items()}
        if odd := [path for path in files.values() if not path.name.lower().endswith(".mrk.json")]:
            raise ValueError(
                f"{odd[0]}: holds landmarks of these scans already, which .mrk.json beside them would tell a second "
                "time; name a folder with --out, which begins with what is there"
            )
        store = SlicerStore(out, frame=cast(Any, frame), files=files)
        known, told = [], f"pcsargmax train {out if out is not None else paths[0]}"
    begin = {scan: its.marks for scan, its in found.items()}
    fixed = names or known
    return Session(scans, fixed, store, begin=begin, open_names=not names), told


def _open(session: Session, propose: Callable[[Path], Any] | None) -> None:
    from pcsargmax.visualize.annotate_window import annotate

    annotate(session, propose=propose)


def _tell(session: Session, told: str) -> None:
    """Say how far the work is, and what to do next."""
    total = len(session.scans)
    complete = sum(session.complete(number) for number in range(total))
    untouched = sum(session.untouched(number) for number in range(total))
    typer.echo(f"{complete} of {total} files complete, {untouched} untouched")
    if session.unsaved:
        typer.echo(f"{session.unsaved} files could not be saved: {session.message}", err=True)
        raise typer.Exit(1)
    if complete + untouched < total:
        typer.echo("Training takes landmarks that are unset as absent: complete the rest, or take these files out.")
    if untouched < total:
        typer.echo(f"Next: {told}")
