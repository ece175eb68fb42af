"""`pcsargmax report`: everything there is to say of a run, as one page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.evaluation_options import (
    BootstrapSeed,
    Checkpoint,
    Data,
    Device,
    Split,
    Symmetry,
    Thresholds,
    check_once,
    parse_thresholds,
)
from pcsargmax.runs.checkpoint import find_checkpoint


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint.", metavar="RUN")],
    against: Annotated[
        Path | None, typer.Option(help="A second run on the same shapes, to stand beside the first everywhere.")
    ] = None,
    split: Split = "",
    out: Annotated[Path | None, typer.Option(help="The .html file; default RUN/report-SPLIT.html.")] = None,
    shapes: Annotated[
        int, typer.Option(help="Shapes in three dimensions; of more, the worst half, the best quarter and others.")
    ] = 200,
    data: Data = None,
    thresholds: Thresholds = "",
    symmetry: Symmetry = "none",
    checkpoint: Checkpoint = "best",
    seed: BootstrapSeed = 0,
    device: Device = "cpu",
) -> None:
    """Write one HTML file that opens in any browser, without a network.

    Of a detector: PCK, errors and confidence with 95 % intervals beside the template, curves of PCK, reliability and
    sparsification, a table of the keypoints. Of a discovery: DAS and DAS above chance, what each keypoint lies nearest
    to. Of both: training curves, settings, and the shapes from worst to best, to turn and look at. Of a run on images
    the same with its errors, confidence and images.

    Examples:

        pcsargmax report runs/mug-sampling-seed0

        pcsargmax report runs/mug-sampling-seed0 --against runs/mug-soft-seed0 --out mugs.html
    """
    with friendly_errors():
        if shapes < 1:
            raise ValueError(f"shapes must be at least 1, got {shapes}")
        if out is not None and out.is_dir():
            raise ValueError(f"out must be a file, {out} is a folder")
        if out is not None and out.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"out must be an .html file, got {out}")
        paths = [run] if against is None else [run, against]
        for path in paths:
            find_checkpoint(path, checkpoint)
        from pcsargmax.commands.report.images import are_images, report_images
        from pcsargmax.commands.report.page import write_page
        from pcsargmax.runs.load import load_run
        from pcsargmax.visualize.report import check_alike, measure_run, write_report

        opened: list[Any] = [load_run(path, checkpoint=checkpoint, device=device) for path in paths]
        check_once(opened)
        if are_images(opened):
            measured: dict[str, Any] = {"data": data, "thresholds": thresholds, "symmetry": symmetry, "seed": seed}
            report_images(opened, split, out, images=shapes, **measured)
            return
        check_alike(*opened)
        if symmetry != "none" and opened[0].kind != "keypoint_detector":
            raise ValueError("--symmetry only applies to detectors, got a discovery run; leave it out")
        options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
        if symmetry != "none":
            options["symmetry"] = symmetry
        measure = partial(measure_run, split=split, seed=seed, **options)
        write_page(opened, data, out, measure, partial(write_report, shapes=shapes, seed=seed))
