"""`pcsargmax predict`: keypoints of new files, in the formats that other tools read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast

import typer

from pcsargmax.commands.errors import friendly_errors


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint.", metavar="RUN")],
    files: Annotated[
        list[Path],
        typer.Argument(help="Meshes or clouds (.ply .obj .stl .off .pcd .xyz .npy .npz).", metavar="FILE..."),
    ],
    output: Annotated[Path | None, typer.Option(help="Folder for the results; default RUN/predictions.")] = None,
    format: Annotated[str, typer.Option(help="json, csv, mrk.json (3D Slicer) or npz (with cloud and maps).")] = "json",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are in --output already.")] = False,
    num_points: Annotated[
        int, typer.Option(help="Points sampled from a mesh; 0 takes what the run was trained with.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling of meshes.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print all predictions as one JSON list; write no file unless --output."),
    ] = False,
) -> None:
    """Find the keypoints of files: position, confidence, radius, covariance, visibility and nearest point.

    Lengths are in the units and the frame of each file. Confidence is the probability of an error of at most 2 % of the
    cloud's bounding-box diagonal, and the true point lies within the radius with a probability of 90 %, both as found
    on the run's validation split. A run without one gives no radius and the confidence of the map itself. A discovery
    gives the skeleton too: for each edge its strength and its points.

    Example:

        pcsargmax predict runs/mug-sampling-seed0 scan1.ply scan2.stl --format mrk.json
    """
    with friendly_errors():
        from pcsargmax.commands.progress import console, progress_bars
        from pcsargmax.datasets.markups import Frame
        from pcsargmax.prediction import FORMATS, Format
        from pcsargmax.training.run import Run, load_run

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
        frame = cast(Frame, opened.settings.mesh_frame)
        predictions = []
        with progress_bars() as bars:
            for number, file in enumerate(files, start=1):
                found = opened.predict_file(file, num_points=num_points or None, seed=seed)
                predictions.append(found.to_dict())
                if folder is not None:
                    found.save(folder / f"{file.stem}.{format}", format=cast(Format, format), frame=frame)
                bars.update("predicting", number, len(files))
        if as_json:
            typer.echo(json.dumps(predictions))
        if isinstance(opened, Run) and opened.calibration is None:
            console.print("confidence is not calibrated: the run had no validation split", highlight=False)
        if folder is not None:
            console.print(f"{len(files)} written to {folder}", highlight=False)
