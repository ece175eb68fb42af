"""`pcsargmax demo`: the whole way, from data to pictures, in minutes on a laptop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.settings.fields import setting_fields

if TYPE_CHECKING:
    from pcsargmax.visualize.report import RunReport


def command(
    category: Annotated[str, typer.Option(help="airplane, chair, table or mug.")] = "chair",
    folder: Annotated[Path, typer.Option(help="Where data, run and pictures go.")] = Path("runs/demo"),
    models: Annotated[int, typer.Option(help="Shapes to make.")] = 160,
    epochs: Annotated[int, typer.Option(help="Passes over the training shapes.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Make shapes, train a detector on them, measure it and draw what it found.

    Example:

        pcsargmax demo --category mug
    """
    with friendly_errors():
        _demo(category, folder, models, epochs, seed, device)


def _demo(category: str, folder: Path, models: int, epochs: int, seed: int, device: str) -> None:
    from pcsargmax.commands.evaluate import write_metrics
    from pcsargmax.commands.printed.detector import print_metrics
    from pcsargmax.commands.shared.progress import console, progress_bars, quiet_lightning, training_progress
    from pcsargmax.datasets import make_procedural
    from pcsargmax.training.detector.train import train
    from pcsargmax.visualize.report import measure_run

    quiet_lightning()
    start = time.monotonic()
    data, run_folder = folder / "data", folder / f"{category}-{time.strftime('%Y%m%d-%H%M%S')}"
    settings = TrainSettings(
        data=category,
        root=str(data),
        **RECIPES["accurate"]
        | {
            "template_start": True,
            "look_points": 48,
            "num_samples": 5,
            "epochs": epochs,
            "lr": 6e-3,
            "mirror": "x",
            "shape_prior": "none",
            "samples": 1,
        },
        seed=seed,
        device=setting_fields(TrainSettings)["device"].parse(device, "--device"),
    )
    with progress_bars() as bars:
        make_procedural(
            data,
            (category,),
            models=models,
            seed=seed,
            progress=lambda i, n: bars.update("making shapes", i, n),
        )
        run = train(settings, run_folder, callbacks=[training_progress(bars)], progress=bars.update)
        report = measure_run(run, "test", progress=lambda i, n: bars.update("evaluating", i, n))
    metrics = dict(report.metrics)
    written = [write_metrics(metrics, run_folder), *_draw(report, run_folder)]
    print_metrics(metrics)
    typer.echo("Written: " + "\n         ".join(str(path) for path in [run_folder, *written]))
    console.print(f"{time.monotonic() - start:.0f} s in all", highlight=False)


def _draw(report: RunReport, folder: Path) -> list[Path]:
    """Write the page, and pictures of the first test shapes."""
    from pcsargmax.commands.shared.progress import console
    from pcsargmax.visualize import Look, contact_sheet, render
    from pcsargmax.visualize.report import write_report

    found = report.predictions
    page = write_report(report, folder / "report.html")
    console.print("drawing …")
    picture = render(found[0], folder / "picture.png", Look(ellipsoids=1))
    return [page, picture, contact_sheet(found[:8], folder / "pictures.png")]
