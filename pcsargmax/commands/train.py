"""`pcsargmax train`: its options are the fields of TrainSettings, so that nothing is said twice."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import typer

from pcsargmax.commands.errors import friendly_errors
from pcsargmax.training.settings import RECIPES, TrainSettings, setting_help


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
        said = {name: options[name] for name in options if _was_said(context, name)}
        settings = TrainSettings.from_dict(options | _recipe(recipe) | said)
        if not settings.data:
            raise ValueError("DATA is missing: name a category or a folder")
        folder = run or Path("runs") / f"{Path(settings.data).name}-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = _resumed(folder, said)
        _train(settings, folder, resume, as_json)


def _was_said(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, in place of being its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _recipe(name: str) -> dict[str, Any]:
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


def _resumed(folder: Path, said: dict[str, Any]) -> TrainSettings:
    """The settings of the folder, with what was said anew on the command line."""
    file = folder / "settings.json"
    if not file.is_file():
        raise ValueError(f"{folder}: nothing to resume, no {file.name} in it")
    return replace(TrainSettings.load(file), **said)


def _train(settings: TrainSettings, folder: Path, resume: bool, as_json: bool) -> None:
    from pcsargmax.commands.progress import console, progress_bars, quiet_lightning, training_progress
    from pcsargmax.training.train import leads, train

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


def _signature() -> inspect.Signature:
    """Options from the settings, then the command's own."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    types, helps = get_type_hints(TrainSettings), setting_help()
    defaults = TrainSettings().to_dict()
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    for name, kind in types.items():
        if name == "data":
            option: Any = typer.Argument(..., help=helps[name], metavar="DATA")
        else:
            flag = f"--{name.replace('_', '-')}"
            option = typer.Option(defaults[name], f"{flag}/--no-{flag[2:]}" if kind is bool else flag, help=helps[name])
        parameters.append(inspect.Parameter(name, keyword, default=option, annotation=kind))
    own: list[tuple[str, Any, Any]] = [
        (
            "run",
            Path | None,
            typer.Option(None, "--run", help="Run folder; default runs/DATA-OBJECTIVE-seedSEED."),
        ),
        (
            "recipe",
            str,
            typer.Option("paper", help=f"Named defaults: {', '.join(RECIPES)}; options given here win."),
        ),
        (
            "resume",
            bool,
            typer.Option(False, "--resume", help="Go on with the run folder, exactly where it stopped."),
        ),
        ("as_json", bool, typer.Option(False, "--json", help="Print the result as JSON.")),
    ]
    parameters += [inspect.Parameter(name, keyword, default=o, annotation=kind) for name, kind, o in own]
    return inspect.Signature(parameters)


def command(**arguments: Any) -> None:  # noqa: D103 - the text is that of train_command
    train_command(**arguments)


command.__doc__ = train_command.__doc__
command.__signature__ = _signature()  # type: ignore[attr-defined]
command.__annotations__ = {name: p.annotation for name, p in _signature().parameters.items()}
