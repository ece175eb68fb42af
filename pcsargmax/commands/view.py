"""`pcsargmax view`: look at the probability maps of a run on a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pcsargmax.commands.errors import friendly_errors


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint.", metavar="RUN")],
    files: Annotated[list[Path], typer.Argument(help="Meshes or clouds.", metavar="FILE...")],
    save: Annotated[
        Path | None,
        typer.Option(help="Write a PNG instead of opening a window (first file; no screen needed)."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page instead of opening a window.")] = None,
    keypoint: Annotated[
        str, typer.Option(help="Keypoint whose map colours the points; default the strongest at each point.")
    ] = "",
    log_scale: Annotated[bool, typer.Option("--log", help="Colour by the logarithm of the probability.")] = False,
    ellipsoids: Annotated[bool, typer.Option("--ellipsoids", help="Draw the 1 σ ellipsoid of each keypoint.")] = False,
    azimuth: Annotated[float, typer.Option(help="Of a PNG: degrees about y, from +z towards +x.")] = 35.0,
    elevation: Annotated[float, typer.Option(help="Of a PNG: degrees above the horizon.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling of meshes.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Show keypoints and their probability maps: an Open3D window, a PNG or a page.

    Example:

        pcsargmax view runs/mug-sampling-seed0 mug.ply --html mug.html
    """
    with friendly_errors():
        from pcsargmax.training.run import load_run

        opened = load_run(run, device=device)
        names = opened.keypoint_names
        if keypoint and keypoint not in names:
            raise ValueError(f"keypoint must be one of {', '.join(names)}, got {keypoint!r}")
        found = [opened.predict_file(file, seed=seed) for file in files]
        title = f"{opened.settings.data}: {', '.join(file.name for file in files)}"
        if html is not None:
            from pcsargmax.visualize import write_page

            typer.echo(write_page(found, html, title=title))
        if save is not None or html is None:
            from pcsargmax.visualize import RendererUnavailable, render, show

            look: dict[str, Any] = {"keypoint": keypoint or None, "log_scale": log_scale, "ellipsoids": ellipsoids}
            try:
                if save is not None:
                    typer.echo(render(found[0], save, azimuth=azimuth, elevation=elevation, **look))
                else:
                    show(found, title=title, **look)
            except RendererUnavailable as error:
                raise OSError(str(error)) from error
