"""`pcsargmax train`: its options are the fields of TrainSettings, declared once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pcsargmax.commands.printed.detector import template_warning
from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import chosen_settings, make_run, resumed, run_options, with_settings
from pcsargmax.runs.sources import check_source
from pcsargmax.settings.detector import RECIPES, TrainSettings

if TYPE_CHECKING:
    from pcsargmax.runs.detector import Run


def train_command(
    context: typer.Context, run: Path | None, recipe: str, resume: bool, as_json: bool, **options: Any
) -> None:
    """Train a keypoint detector for one category of point clouds.

    DATA is a category of KeypointNet (below --root) or a folder of your own scans with landmarks beside them.
    Without --recipe, the settings are chosen by what is measured on the data, and printed with the reasons; options
    given here win. --recipe paper trains as in the paper. The run folder gets settings, checkpoints and a log; look at
    it with `evaluate`, `predict` and `view`.

    Examples:

        pcsargmax train mug --root datasets/keypointnet

        pcsargmax train ~/scans --mirror x
    """
    with friendly_errors():
        recipes: dict[str, dict[str, Any]] = {"auto": {}, **RECIPES}
        settings, given = chosen_settings(TrainSettings, context, options, recipes, recipe)
        folder = run or Path("runs") / f"{Path(settings.data).name}-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(TrainSettings, folder, given)
        check_source(settings)
        from pcsargmax.training.detector.train import train

        if recipe == "auto" and not resume:
            settings = _recommended(settings, given, as_json)

        make_run(train, "Trained", settings, folder, resume, as_json, notes=_notes)


def _recommended(settings: TrainSettings, given: Collection[str], as_json: bool) -> TrainSettings:
    """Choose what is not given by the data, and print the reasons."""
    from pcsargmax.commands.shared.progress import console, progress_bars
    from pcsargmax.training.detector.recommend import recommend
    from pcsargmax.training.loop import is_rank_zero

    if not is_rank_zero():  # the first process tells what there is to tell
        return recommend(settings, given).settings
    with progress_bars() as bars:
        chosen = recommend(settings, given, bars.update)
    if not as_json:
        for reason in chosen.reasons:
            console.print(f"- {reason}", highlight=False, markup=False, soft_wrap=True)
    return chosen.settings


def _notes(run: Run) -> list[str]:
    """Say whether the shape prior is used, and so where the detector does not beat the template on shapes held out."""
    if run.validation is None:
        unused = run.settings.shape_prior == "auto"
        return ["Shape prior: not used, no shapes were held out (--folds)."] if unused else []
    held_out = "shapes held out" if run.settings.folds else f"the split {run.settings.val_split!r}"
    fallback = run.template_deviation is not None
    notes = template_warning(*run.validation, run.unit, held_out, fallback=fallback)
    if run.settings.shape_prior == "auto":
        notes.insert(0, f"Shape prior: {'used' if run.prior_use else 'not used, it does not help'} on {held_out}.")
    return notes


_OWN = run_options("runs/DATA-OBJECTIVE-seedSEED", ["auto", *RECIPES], more="auto chooses the settings by the data; ")

command = with_settings(train_command, TrainSettings, _OWN)
