"""`pcsargmax predict`: keypoints of new files, in the formats that other tools read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.evaluation_options import Copies, Device, check_copies

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyImageRun, CloudRun

#: A file, and where the result is written or None -> the result as plain values.
Predictor = Callable[[Path, Path | None], dict[str, Any]]


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint.", metavar="RUN")],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Meshes or clouds (.ply .obj .stl .off .pcd .xyz .npy .npz); of a run on images, images.",
            metavar="FILE...",
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Folder for the results; default RUN/predictions.")] = None,
    format: Annotated[
        str, typer.Option(help="json, csv, mrk.json (3D Slicer; clouds only) or npz (with cloud or image, and maps).")
    ] = "json",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are in --output already.")] = False,
    num_points: Annotated[
        int, typer.Option(help="Points sampled from a mesh; 0 takes what the run was trained with.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling of meshes.")] = 0,
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Of keypoints in images: look at each image mirrored too, and average.")
    ] = False,
    copies: Copies = 1,
    device: Device = "cpu",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print all predictions as one JSON list; write no file unless --output."),
    ] = False,
) -> None:
    """Find the keypoints of files: position, confidence, radius, covariance, visibility and nearest point.

    For a mesh each keypoint also gets the nearest point on the surface: its face and that face's vertices (numbered
    from 0), its barycentric coordinates, position and distance. The predicted position itself is not moved.

    Lengths are in the units and the frame of each file. Scans name no unit: "units" of JSON and length_unit of CSV are
    those of the landmark files of the training (mm of 3D Slicer's), where they had one.

    Confidence is the probability of an error of at most 2 % of the cloud's bounding-box diagonal, and the true point
    lies within the radius with a probability of 90 %, both as found on the run's validation split. A run without one
    gives no radius and the confidence of the map itself. A discovery gives the skeleton too: for each edge its strength
    and its points.

    Of an image the object fills all; positions are in pixels, and confidence is the peak of the map, no probability of
    being right.

    Examples:

        pcsargmax predict runs/mug-sampling-seed0 scan1.ply scan2.stl --format mrk.json

        pcsargmax predict runs/faces-image-sampling-seed0 portrait.jpg --format csv
    """
    with friendly_errors():
        from pcsargmax.commands.shared.progress import console, progress_bars
        from pcsargmax.predictions.cloud import FORMATS
        from pcsargmax.runs.load import load_run

        check_copies(copies)
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
        stems = [file.stem for file in files]
        if len(set(stems)) < len(stems):
            raise ValueError("files must differ in name, their results would overwrite each other")
        if output is not None and not overwrite:
            there = [path for stem in stems if (path := output / f"{stem}.{format}").exists()]
            if there:
                raise ValueError(f"{there[0]} exists; --overwrite replaces it")
        opened = load_run(run, device=device)
        folder = output or (None if as_json else opened.folder / "predictions")
        if opened.modality == "cloud":
            one = _cloud_predictor(opened, format, num_points, seed, copies, flip_test)
        else:
            one = _image_predictor(opened, format, num_points, copies, flip_test)
        predictions = []
        with progress_bars() as bars:
            for number, file in enumerate(files, start=1):
                predictions.append(one(file, None if folder is None else folder / f"{file.stem}.{format}"))
                bars.update("predicting", number, len(files))
        if as_json:
            typer.echo(json.dumps(predictions))
        if opened.kind == "keypoint_detector" and opened.calibration is None:
            console.print("confidence is not calibrated: the run had no validation split", highlight=False)
        if folder is not None:
            console.print(f"{len(files)} written to {folder}", highlight=False)


def _cloud_predictor(run: CloudRun, format: str, num_points: int, seed: int, copies: int, flip_test: bool) -> Predictor:
    """Find the keypoints of a cloud or mesh, and write them where a path is given."""
    from pcsargmax.predictions.cloud import Format

    if flip_test:
        raise ValueError("--flip-test only applies to image runs, got one on clouds; leave it out")
    if copies > 1 and run.kind != "keypoint_detector":
        raise ValueError("--copies only applies to keypoint detectors, got a discovery run; leave it out")
    frame = run.settings.mesh_frame
    options: dict[str, Any] = {"copies": copies} if copies > 1 else {}

    def predict(file: Path, path: Path | None) -> dict[str, Any]:
        found = run.predict_file(file, num_points=num_points or None, seed=seed, **options)
        if path is not None:
            found.save(path, format=cast(Format, format), frame=frame)
        return found.to_dict()

    return predict


def _image_predictor(run: AnyImageRun, format: str, num_points: int, copies: int, flip_test: bool) -> Predictor:
    """Find the keypoints or surfaces of an image, and write them where a path is given."""
    from pcsargmax.predictions.image import IMAGE_FORMATS, ImageFormat

    if format not in IMAGE_FORMATS:
        raise ValueError(f"format must be one of {', '.join(IMAGE_FORMATS)} of a run on images, got {format!r}")
    if num_points:
        raise ValueError("--num-points only applies to runs on clouds, got one on images; leave it out")
    if copies > 1:
        raise ValueError("--copies only applies to keypoint detectors on clouds, got a run on images; leave it out")
    if flip_test and run.target == "surface":
        raise ValueError("--flip-test only applies to keypoints in images, got a run on slices; leave it out")
    options: dict[str, Any] = {"flip_test": True} if flip_test else {}

    def predict(file: Path, path: Path | None) -> dict[str, Any]:
        found = run.predict_file(file, **options)
        if path is not None:
            found.save(path, cast(ImageFormat, format))
        return found.to_dict()

    return predict
