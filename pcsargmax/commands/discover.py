"""`pcsargmax discover`: its options are the fields of DiscoverSettings, as those of `train` are of TrainSettings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import chosen_settings, make_run, resumed, run_options, with_settings
from pcsargmax.runs.sources import check_source
from pcsargmax.settings.discovery import DISCOVER_RECIPES, DiscoverSettings


def discover_command(
    context: typer.Context, run: Path | None, recipe: str, resume: bool, as_json: bool, **options: Any
) -> None:
    """Discover aligned keypoints of a category without labels, by Skeleton Merger.

    DATA is a category of KeypointNet or of ShapeNet's HDF5 files (below --root), or a folder of your own meshes or
    clouds; landmarks, where there are some, only give names. The run folder gets settings, checkpoints and a log; look
    at it with `evaluate`, `predict` and `view`.

    Examples:

        pcsargmax discover mug --root datasets/keypointnet

        pcsargmax discover ~/scans --keypoints 16 --recipe original
    """
    with friendly_errors():
        settings, given = chosen_settings(DiscoverSettings, context, options, DISCOVER_RECIPES, recipe)
        folder = run or Path("runs") / f"{Path(settings.data).name}-discover-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(DiscoverSettings, folder, given)
        check_source(settings)
        from pcsargmax.training.discovery.train import discover

        make_run(discover, "Discovered", settings, folder, resume, as_json)


command = with_settings(
    discover_command, DiscoverSettings, run_options("runs/DATA-discover-OBJECTIVE-seedSEED", DISCOVER_RECIPES)
)
