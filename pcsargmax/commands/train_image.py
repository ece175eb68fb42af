"""`pcsargmax train-image`: its options are the fields of ImageSettings, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.options import given_settings, make_run, resumed, run_options, with_settings
from pcsargmax.runs.image_sources import check_image_source
from pcsargmax.settings import presets
from pcsargmax.settings.images import ImageSettings


def train_command(
    context: typer.Context, run: Path | None, preset: str, resume: bool, as_json: bool, **options: Any
) -> None:
    """Train a network for keypoints in images, or for surfaces in slices.

    DATA is coco, h36m, mtfl or retina (official files below --root), figures, figures3d, faces or slices (drawn by this
    package), or a folder of your own images with a CSV of points. Official files are trained with the paper's
    hyper-parameters, all other data with the light preset: minutes on one core.

    Examples:

        pcsargmax train-image faces

        pcsargmax train-image ~/photos --size 128x128

        pcsargmax train-image coco --root datasets/coco --devices 4 --workers 8
    """
    with friendly_errors():
        given = given_settings(ImageSettings, context, options)
        if not options["data"]:
            raise ValueError("DATA is missing: name a data set or a folder")
        chosen = presets.preset(preset, options["data"])
        settings = ImageSettings(**(chosen | given))
        folder = run or Path("runs") / f"{Path(settings.data).name}-image-{settings.objective}-seed{settings.seed}"
        if resume:
            settings = resumed(ImageSettings, folder, given)
        settings.check_effect(given)
        check_image_source(settings)
        from pcsargmax.training.images.train import train_images

        make_run(train_images, "Trained", settings, folder, resume, as_json)


_OWN = run_options(
    "runs/DATA-image-OBJECTIVE-seedSEED",
    presets.PRESETS,
    option="preset",
    more="auto is the paper's of official files, else light; ",
)

command = with_settings(train_command, ImageSettings, _OWN)
