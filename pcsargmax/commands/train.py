"""`pcsargmax train`: its options are the fields of TrainSettings, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pcsargmax.commands.printed.detector import template_warning
from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import chosen_settings, make_run, resumed, run_options, with_settings
from pcsargmax.runs.sources import check_source, is_folder
from pcsargmax.settings.detector import RECIPES, TrainSettings

if TYPE_CHECKING:
    from pcsargmax.runs.detector import Run


def train_command(
    context: typer.Context, run: Path | None, recipe: str, resume: bool, as_json: bool, **options: Any
) -> None:
    """Train a keypoint detector for one category of point clouds.

    DATA is a category of KeypointNet (below --root) or a folder of your own scans with landmarks beside them.
    Without --recipe, a folder is trained by the recipe scans, a category as in the paper. The run folder gets
    settings, checkpoints and a log; look at it with `evaluate`, `predict` and `view`.

    Examples:

        pcsargmax train mug --root datasets/keypointnet

        pcsargmax train ~/scans --mirror x
    """
    with friendly_errors():
        if recipe == "auto":
            recipe = "scans" if is_folder(TrainSettings(data=options["data"], root=options["root"])) else "paper"
        settings, given = chosen_settings(TrainSettings, context, options, RECIPES, recipe, "auto")
        folder = run or Path("runs") / f"{Path(settings.data).name}-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(TrainSettings, folder, given)
        check_source(settings)
        from pcsargmax.training.detector.train import train

        make_run(train, "Trained", settings, folder, resume, as_json, notes=_notes)


def _notes(run: Run) -> list[str]:
    """Say so where the detector does not beat the template on the validation split."""
    if run.validation is None:
        return []
    return template_warning(*run.validation, run.unit, run.settings.val_split)


_OWN = run_options(
    "runs/DATA-OBJECTIVE-seedSEED", ["auto", *RECIPES], more="auto is scans for a folder of your own, else paper; "
)

command = with_settings(train_command, TrainSettings, _OWN)
