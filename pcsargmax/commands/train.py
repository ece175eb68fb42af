"""`pcsargmax train`: its options are the fields of TrainSettings, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import chosen_settings, make_run, resumed, run_options, with_settings
from pcsargmax.runs.sources import check_source
from pcsargmax.settings.detector import RECIPES, TrainSettings


def train_command(
    context: typer.Context, run: Path | None, recipe: str, resume: bool, as_json: bool, **options: Any
) -> None:
    """Train a keypoint detector for one category of point clouds.

    DATA is a category of KeypointNet (below --root) or a folder of your own scans with landmarks beside them.
    The run folder gets settings, checkpoints and a log; look at it with `evaluate`, `predict` and `view`.

    Examples:

        pcsargmax train mug --root datasets/keypointnet

        pcsargmax train ~/scans --recipe onecycle --mirror x
    """
    with friendly_errors():
        settings, given = chosen_settings(TrainSettings, context, options, RECIPES, recipe)
        folder = run or Path("runs") / f"{Path(settings.data).name}-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(TrainSettings, folder, given)
        check_source(settings)
        from pcsargmax.training.detector.train import train

        make_run(train, "Trained", settings, folder, resume, as_json)


command = with_settings(train_command, TrainSettings, run_options("runs/DATA-OBJECTIVE-seedSEED", RECIPES))
