"""`pcsargmax view`: look at the probability maps of a run on a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

            try:
                if save is not None:
                    typer.echo(render(found[0], save, keypoint=keypoint or None))
                else:
                    show(found, keypoint=keypoint or None, title=title)
            except RendererUnavailable as error:
                raise OSError(str(error)) from error
