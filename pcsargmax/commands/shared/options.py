"""Commands whose options are the fields of a settings class, so that nothing is said twice."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pcsargmax.settings.common import MESH_FRAME_HELP, RunSettings, setting_help, setting_types

S = TypeVar("S", bound=RunSettings)

#: The setting of that name, for commands that read a folder of scans without training.
MeshFrame = Annotated[str, typer.Option(help=MESH_FRAME_HELP)]


def with_settings(
    function: Callable[..., None], settings: type[RunSettings], own: list[tuple[str, Any, Any]]
) -> Callable[..., None]:
    """The command that calls `function` with the context, every setting and the command's own options.

    Args:
        function: its text is that of the command.
        settings: a settings class; `data` becomes the argument.
        own: name, type and typer option of each of the command's own.
    """
    signature = _signature(settings, own)

    def command(**arguments: Any) -> None:
        function(**arguments)

    command.__doc__ = function.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
    return command


def _signature(settings: type[RunSettings], own: list[tuple[str, Any, Any]]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    helps, defaults = setting_help(settings), settings().to_dict()
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    for name, kind in setting_types(settings).items():
        if name == "data":
            option: Any = typer.Argument(..., help=helps[name], metavar="DATA")
        else:
            flag = f"--{name.replace('_', '-')}"
            option = typer.Option(defaults[name], f"{flag}/--no-{flag[2:]}" if kind is bool else flag, help=helps[name])
        parameters.append(inspect.Parameter(name, keyword, default=option, annotation=kind))
    parameters += [inspect.Parameter(name, keyword, default=option, annotation=kind) for name, kind, option in own]
    return inspect.Signature(parameters)


def run_options(
    run_help: str, names: Iterable[str], *, option: str = "recipe", more: str = ""
) -> list[tuple[str, Any, Any]]:
    """The options that every command has that leaves a run folder.

    Args:
        run_help: what the folder is called by default.
        names: of the recipes, the default first.
        option: what a recipe is called.
        more: what is to be said of the names.
    """
    first, *others = names
    told = f"Named defaults: {', '.join([first, *others])}; {more}options given here win."
    return [
        ("run", Path | None, typer.Option(None, "--run", help=f"Run folder; default {run_help}.")),
        (option, str, typer.Option(first, help=told)),
        (
            "resume",
            bool,
            typer.Option(False, "--resume", help="Go on with the run folder, exactly where it stopped."),
        ),
        ("as_json", bool, typer.Option(False, "--json", help="Print the result as JSON.")),
    ]


def chosen_settings(
    kind: type[S], context: typer.Context, options: dict[str, Any], recipes: dict[str, dict[str, Any]], recipe: str
) -> tuple[S, dict[str, Any]]:
    """The settings of defaults, recipe and command line, the later ones winning, and what the command line said."""
    said = {name: options[name] for name in options if was_said(context, name)}
    if recipe not in recipes:
        raise ValueError(f"recipe must be one of {', '.join(recipes)}, got {recipe!r}")
    settings = kind.from_dict(options | recipes[recipe] | said)
    if not settings.data:
        raise ValueError("DATA is missing: name a category or a folder")
    return settings, said


def was_said(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, in place of being its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def resumed(kind: type[S], folder: Path, said: dict[str, Any]) -> S:
    """The settings of the folder, with what was said anew on the command line."""
    file = folder / "settings.json"
    if not file.is_file():
        raise ValueError(f"{folder}: nothing to resume, no {file.name} in it")
    return replace(kind.load(file), **said)  # type: ignore[type-var]


def make_run(
    function: Callable[..., Any], told: str, settings: RunSettings, folder: Path, resume: bool, as_json: bool
) -> None:
    """Train with progress bars, and print where the run is and what to do next.

    Args:
        function: `train`, `discover` or `train_images`.
        told: the word before the checkpoint.
        settings: of the run.
        folder: of the run.
        resume: go on with it.
        as_json: print JSON instead.
    """
    from pcsargmax.commands.shared.progress import console, progress_bars, quiet_lightning, training_progress
    from pcsargmax.training.loop import is_rank_zero

    quiet_lightning()
    if not is_rank_zero():  # the first process tells what there is to tell
        function(settings, folder, resume=resume)
        return
    with progress_bars() as bars:
        run = function(settings, folder, resume=resume, callbacks=[training_progress(bars)], progress=bars.update)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "checkpoint": str(run.checkpoint)}))
        return
    console.print(f"{told}: {run.checkpoint}")
    console.print(f"Next:    pcsargmax evaluate {folder}\n         pcsargmax view {folder}", highlight=False)
