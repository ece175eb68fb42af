"""`pcsargmax evaluate`: how good a run is, a detector's with the template baseline beside it."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pcsargmax.commands.shared.errors import friendly_errors
from pcsargmax.commands.shared.evaluation_options import (
    BootstrapSeed,
    Checkpoint,
    Copies,
    Data,
    Device,
    Split,
    Symmetry,
    Thresholds,
    check_copies,
    check_once,
    parse_thresholds,
)

#: What runs are called in messages, by kind.
_PLURALS = {
    "keypoint_detector": "detectors",
    "skeleton_merger": "discovery runs",
    "image_keypoints": "runs on images with keypoints",
    "image_surfaces": "runs on slices",
}
_LINE_END = re.compile(r"\n\s*")


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or checkpoints.", metavar="RUN...")],
    split: Split = "",
    data: Data = None,
    thresholds: Thresholds = "",
    checkpoint: Checkpoint = "best",
    seed: BootstrapSeed = 0,
    device: Device = "cpu",
    copies: Copies = 1,
    self_pairs: Annotated[
        bool, typer.Option(help="Count pairs of a shape with itself in the DAS of a discovery, as published.")
    ] = True,
    repeatability: Annotated[
        bool,
        typer.Option("--repeatability", help="Of a discovery: look again on turned, noisy, thinned, partial copies."),
    ] = False,
    average: Annotated[
        str, typer.Option(help="What counts the same in PCK of a detector: pooled (keypoints), model (shapes) or id.")
    ] = "pooled",
    strict: Annotated[
        bool, typer.Option("--strict", help="PCK of a detector counts errors below the threshold, not at it.")
    ] = False,
    geodesic: Annotated[
        bool, typer.Option("--geodesic", help="Measure a detector along the cloud too, as KeypointNet's benchmark.")
    ] = False,
    symmetry: Symmetry = "none",
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Of keypoints in images: look at each image mirrored too, and average.")
    ] = False,
    boxes: Annotated[
        Path | None, typer.Option(help="Of COCO: a detector's boxes (JSON) in place of the annotated ones.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON: an object, of several runs a list.")
    ] = False,
) -> None:
    """Measure a run. A detector: PCK, mean error and mIoU with 95 % intervals, beside the template baseline.

    Below them stands the quality of presence, confidence and radius: average precision of presence, precision and
    recall of detections, correlation and calibration of confidence, and the mean error of the most confident half.
    --geodesic and --symmetry add tables of their own.

    A discovery: DAS and DAS corrected for chance, mIoU, coverage and inclusivity, the distance of the nearest
    keypoints, and whether they have collapsed.

    Images: NME and PCK, COCO's AP and OKS, or MPJPE and PA-MPJPE, whichever the data have, and the correlation of
    confidence with correctness. Slices: mean absolute distance of each surface and its deviation.

    The result is kept in RUN/metrics-SPLIT.json. Several runs are also compared: mean and spread over the seeds.

    Examples:

        pcsargmax evaluate runs/mug-sampling-seed0

        pcsargmax evaluate runs/mug-*

        pcsargmax evaluate runs/mug-sampling-seed0 --geodesic --strict --average model --symmetry all

        pcsargmax evaluate runs/mug-discover-sampling-seed0

        pcsargmax evaluate runs/faces-image-* --flip-test
    """
    with friendly_errors():
        from pcsargmax.commands.shared.progress import progress_bars
        from pcsargmax.runs.load import load_run

        options: dict[str, Any] = {"thresholds": parse_thresholds(thresholds)} if thresholds else {}
        opened = [load_run(run, checkpoint=checkpoint, device=device) for run in runs]
        check_once(opened)
        check_copies(copies)
        own: dict[str, dict[str, Any]] = {
            "keypoint_detector": {
                "copies": copies,
                "average": average,
                "strict": strict,
                "geodesic": geodesic,
                "symmetry": symmetry,
            },
            "skeleton_merger": {"self_pairs": self_pairs, "repeatability": repeatability},
            "image_keypoints": {"flip_test": flip_test, "boxes": boxes},
            "image_surfaces": {},
        }
        kinds = {run.kind for run in opened}
        for kind, own_options in own.items():
            if kind not in kinds:
                _check_unused(own_options, kind)
        if thresholds and "image_surfaces" in kinds:
            raise ValueError("--thresholds does not apply to runs on slices, got one; leave it out")
        if data is not None:
            opened = [run.with_data(data) for run in opened]
        results = []
        with progress_bars() as bars:
            for one in opened:
                update = partial(bars.update, f"evaluating {one.folder.name}")
                results.append(one.evaluate(split, seed=seed, progress=update, **options, **own[one.kind]))
                write_metrics(results[-1], one.folder)
        if as_json:
            typer.echo(json.dumps(results[0] if len(results) == 1 else results))
        else:
            print_results(results)


def _check_unused(options: dict[str, Any], kind: str) -> None:
    """Refuse an option that applies to none of the runs: anything but its default, False where none is listed."""
    defaults = {"copies": 1, "average": "pooled", "symmetry": "none", "self_pairs": True, "boxes": None}
    for name, value in options.items():
        if value != defaults.get(name, False):
            option = "--no-self-pairs" if name == "self_pairs" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} only applies to {_PLURALS[kind]}, got none; leave it out")


def print_results(results: list[dict[str, Any]]) -> None:
    """Print each result, and below them comparisons where there are several of a kind."""
    from pcsargmax.commands.printed.detector import print_comparison, print_metrics
    from pcsargmax.commands.printed.discovery import print_discovery, print_discovery_comparison
    from pcsargmax.commands.printed.images import print_image_comparison, print_images, print_surfaces

    printers: dict[str, tuple[Any, Any]] = {
        "keypoint_detector": (print_metrics, print_comparison),
        "skeleton_merger": (print_discovery, print_discovery_comparison),
        "image_keypoints": (print_images, print_image_comparison),
        "image_surfaces": (print_surfaces, print_image_comparison),
    }
    for kind, (print_one, compare) in printers.items():
        of_kind = [metrics for metrics in results if metrics.get("kind", "keypoint_detector") == kind]
        for metrics in of_kind:
            print_one(metrics)
        if len(of_kind) > 1:
            compare(of_kind)


def write_metrics(metrics: dict[str, Any], folder: Path) -> Path:
    """Keep the result as FOLDER/metrics-SPLIT.json."""
    from pcsargmax.io.atomic import atomic_path

    path = folder / f"metrics-{Path(metrics['split']).stem}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(_json(metrics))
    return path


def _json(metrics: dict[str, Any]) -> str:
    """A figure a line, to be read and compared, but a line for a list of figures, such as those of a shape."""
    text = json.dumps(metrics, indent=1, allow_nan=False)
    return re.sub(r"\[\n\s*([^][{}]*?)\n\s*\]", lambda found: f"[{_LINE_END.sub(' ', found[1])}]", text) + "\n"
