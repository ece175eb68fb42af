"""The command line: `pcsargmax COMMAND`; each command lives in `pcsargmax.commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from pcsargmax.commands import (
    annotate,
    benchmark,
    data,
    demo,
    discover,
    evaluate,
    figure,
    predict,
    robustness,
    tables,
    train,
    train_image,
)
from pcsargmax.commands.report import clouds as report
from pcsargmax.commands.view import clouds as view

app = typer.Typer(
    name="pcsargmax",
    help="3-D keypoints on point clouds, localised by sampling-argmax.",
    epilog="Start with: pcsargmax demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.command)
app.command("train-image")(train_image.command)
app.command("discover")(discover.command)
app.command("evaluate")(evaluate.command)
app.command("benchmark")(benchmark.command)
app.command("tables")(tables.command)
app.command("predict")(predict.command)
app.command("robustness")(robustness.command)
app.command("view")(view.command)
app.command("annotate")(annotate.command)
app.command("report")(report.command)
app.command("demo")(demo.command)
app.add_typer(figure.app, name="figure")
app.add_typer(data.app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pcsargmax {version('pcsargmax')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """3-D keypoints on point clouds, localised by sampling-argmax."""


def main() -> None:
    """Run the command line."""
    app()
