"""Commands whose options are the fields of a settings class: each is declared once."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pcsargmax.settings.common import MESH_FRAME_HELP, RunSettings
from pcsargmax.settings.fields import setting_fields, setting_help
from pcsargmax.settings.texts import as_texts

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
    helps, defaults = setting_help(settings), as_texts(settings().to_dict())
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    for name, one in setting_fields(settings).items():
        if name == "data":
            option: Any = typer.Argument(..., help=helps[name], metavar="DATA")
        else:
            flags = f"{_flag(name)}/--no-{_flag(name)[2:]}" if one.type is bool else _flag(name)
            option = typer.Option(defaults[name], flags, help=helps[name], rich_help_panel=one.section)
        kind = one.type if one.type in (bool, int, float) else str
        parameters.append(inspect.Parameter(name, keyword, default=option, annotation=kind))
    parameters += [inspect.Parameter(name, keyword, default=option, annotation=kind) for name, kind, option in own]
    return inspect.Signature(parameters)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run_options(
    run_help: str, names: Iterable[str], *, option: str = "recipe", more: str = ""
) -> list[tuple[str, Any, Any]]:
    """The options that every command has that leaves a run folder.

    Args:
        run_help: what the folder is called by default.
        names: of the recipes, the default first.
        option: what a recipe is called.
        more: a note on the names.
    """
    first, *others = names
    help = f"Named defaults: {', '.join([first, *others])}; {more}options given here win."
    return [
        ("run", Path | None, typer.Option(None, "--run", help=f"Run folder; default {run_help}.")),
        (option, str, typer.Option(first, help=help)),
        (
            "resume",
            bool,
            typer.Option(False, "--resume", help="Go on with the run folder, exactly where it stopped."),
        ),
        ("as_json", bool, typer.Option(False, "--json", help="Print the result as JSON.")),
    ]


def chosen_settings(
    kind: type[S],
    context: typer.Context,
    options: dict[str, Any],
    recipes: dict[str, dict[str, Any]],
    recipe: str,
    *own: str,
) -> tuple[S, dict[str, Any]]:
    """Return the settings of defaults, recipe and command line, the later ones winning, and those given on the last.

    `own` are names of the command's that stand for one of the recipes.
    """
    given = given_settings(kind, context, options)
    if recipe not in recipes:
        raise ValueError(f"--recipe {recipe!r}: unknown recipe; choose from {', '.join([*own, *recipes])}")
    if not options["data"]:
        raise ValueError("DATA is missing: name a category or a folder")
    return kind(**(recipes[recipe] | given)), given


def given_settings(kind: type[RunSettings], context: typer.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the command line gives, as values of their types.

    Raises:
        ValueError: naming the option, what was given and what is accepted.
    """
    given = {}
    for name, one in setting_fields(kind).items():
        if given_on_cli(context, name):
            value, label = options[name], "DATA" if name == "data" else _flag(name)
            given[name] = one.parse(value, label) if isinstance(value, str) else value
            one.check(given[name], label)
    return given


def given_on_cli(context: typer.Context, name: str) -> bool:
    """Return whether an option was given on the command line, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def resumed(kind: type[S], folder: Path, given: dict[str, Any]) -> S:
    """Return the settings of the folder, with those given anew on the command line."""
    file = folder / "settings.json"
    if not file.is_file():
        raise ValueError(f"{folder}: nothing to resume, no {file.name} in it")
    return replace(kind.load(file), **given)


def make_run(
    function: Callable[..., Any],
    told: str,
    settings: RunSettings,
    folder: Path,
    resume: bool,
    as_json: bool,
    notes: Callable[[Any], list[str]] = lambda run: [],
) -> None:
    """Train with progress bars, and print where the run is and what to do next.

    Args:
        function: `train`, `discover` or `train_images`.
        told: the word before the checkpoint.
        settings: of the run.
        folder: of the run.
        resume: go on with it.
        as_json: print JSON instead.
        notes: called with the finished run; the lines to print about it.
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
    for line in notes(run):
        console.print(line, highlight=False)
    console.print(f"Next:    pcsargmax evaluate {folder}\n         pcsargmax view {folder}", highlight=False)
