"""`pcsargmax train`: its options are the fields of TrainSettings, so that nothing is said twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from pcsargmax.commands.errors import friendly_errors
from pcsargmax.commands.options import chosen_settings, resumed, run_options, with_settings
from pcsargmax.training.settings import RECIPES, TrainSettings


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
        settings, said = chosen_settings(TrainSettings, context, options, RECIPES, recipe)
        folder = run or Path("runs") / f"{Path(settings.data).name}-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(TrainSettings, folder, said)
        _train(settings, folder, resume, as_json)


def _train(settings: TrainSettings, folder: Path, resume: bool, as_json: bool) -> None:
    from pcsargmax.commands.progress import console, progress_bars, quiet_lightning, training_progress
    from pcsargmax.training.loop import leads
    from pcsargmax.training.train import train

    quiet_lightning()
    if not leads():  # the first process tells what there is to tell
        train(settings, folder, resume=resume)
        return
    with progress_bars() as bars:
        run = train(settings, folder, resume=resume, callbacks=[training_progress(bars)], progress=bars.update)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "checkpoint": str(run.checkpoint)}))
        return
    console.print(f"Trained: {run.checkpoint}")
    console.print(f"Next:    pcsargmax evaluate {folder}\n         pcsargmax view {folder} FILE", highlight=False)


command = with_settings(train_command, TrainSettings, run_options("runs/DATA-OBJECTIVE-seedSEED", RECIPES))
