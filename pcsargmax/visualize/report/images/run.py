"""What a report on images is made of: the evaluation of a run, and a way to what it finds in each image."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.settings.common import method_name
from pcsargmax.visualize.training_log import log_files

if TYPE_CHECKING:
    from pcsargmax.visualize.images.picture import Drawable
    from pcsargmax.visualize.images.sources import AnyRun


@dataclass(frozen=True, eq=False)
class ImageReport:
    """The result of an evaluation, and what was predicted in it.

    Attributes:
        name: of the run.
        metrics: what `evaluate` of the run returned.
        predictions: of the images of the evaluation, in its order; may be lazy, as only some of them are drawn.
        within: of surfaces, the shares of columns whose true row lies within 1 and 2 σ; empty of keypoints.
        logs: CSV logs of the training, in the order in which they were written.
        trained: when the checkpoint was written; None where nobody knows.
    """

    name: str
    metrics: Mapping[str, Any]
    predictions: Sequence[Drawable]
    within: tuple[float, ...] = ()
    logs: tuple[Path, ...] = ()
    trained: datetime.datetime | None = None

    @property
    def surfaces(self) -> bool:
        """Whether it is of surfaces and not of keypoints."""
        return self.metrics["kind"] == "image_surfaces"

    @property
    def names(self) -> list[str]:
        """Of the K keypoints or S surfaces."""
        return list(self.metrics["surface_names" if self.surfaces else "keypoint_names"])

    @property
    def image_names(self) -> list[str]:
        """Of the M images."""
        return list(self.metrics["images"]["name"])

    def values(self, key: str, rows: Sequence[int] | None = None) -> np.ndarray:
        """Float64 of a list in the result's "images", NaN for None."""
        array = np.array(self.metrics["images"][key], dtype=np.float64)
        return array if rows is None else array[rows]

    def rows_of(self, names: Sequence[str]) -> list[int]:
        """Where the images of those names stand."""
        place = {name: row for row, name in enumerate(self.image_names)}
        return [place[name] for name in names]


#: Reports by their labels; "" is that of a single one.
ImageReports = Mapping[str, ImageReport]


def measure_image_run(run: AnyRun, split: str = "", **options: Any) -> ImageReport:
    r"""Evaluate a run.

    What it finds is not kept, as the images of a large set would not fit in memory: the few that are drawn are looked
    at again.

    Args:
        run: of keypoints or of surfaces in images.
        split: of its data; "" is its `default_split`.
        options: of the `evaluate` of the run, such as `progress`.

    Raises:
        ValueError: what `evaluate` raises.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax import ImageSettings, train_images
        >>> from pcsargmax.visualize import measure_image_run
        >>> Path("dots").mkdir()
        >>> table = ["file,dot_x,dot_y"]
        >>> for number in range(10):
        ...     Image.new("RGB", (32, 32)).save(f"dots/{number}.png")
        ...     table.append(f"{number}.png,{10 + number},16")
        >>> _ = Path("dots/points.csv").write_text("\n".join(table))
        >>> settings = ImageSettings(data="./dots", trunk="tiny", deconv_channels=8, num_samples=2, epochs=1)
        >>> report = measure_image_run(train_images(settings, "runs/dots"))
        >>> report.surfaces, len(report.image_names)
        (False, 2)
    """
    from pcsargmax.runs.surfaces import SurfaceRun
    from pcsargmax.visualize.images.sources import dataset_sources, predicted_images

    sums = np.zeros(3)

    def count(item: Any, found: Any) -> None:
        away = np.abs(found.rows - item.surfaces) / np.maximum(found.std, 1e-9)
        known = np.isfinite(away)
        sums[:] += [known.sum(), (away[known] <= 1).sum(), (away[known] <= 2).sum()]

    surfaces = isinstance(run, SurfaceRun)
    given: dict[str, Any] = options | ({"on_prediction": count} if surfaces else {})
    metrics = run.evaluate(split, **given)
    boxes = {"boxes": options["boxes"]} if options.get("boxes") else {}
    dataset = run.dataset(metrics["split"], **boxes)
    flipped = {"flip_test": True} if metrics.get("flip_test") else {}
    return ImageReport(
        name=run.folder.resolve().name,
        metrics=metrics,
        predictions=predicted_images(run, dataset_sources(dataset), **flipped),
        within=tuple((sums[1:] / sums[0]).tolist()) if sums[0] else (),
        logs=log_files(run.folder),
        trained=datetime.datetime.fromtimestamp(run.checkpoint.stat().st_mtime).astimezone(),
    )


def method_of(settings: Mapping[str, Any]) -> str:
    """The method of a training on images: its objective; of sampling the basis and the number of samples."""
    objective = settings["objective"]
    return method_name(settings["basis"] if objective == "sampling" else objective, settings["num_samples"])


def check_alike(*runs: AnyRun) -> None:
    """Find out, before anything is measured, whether runs can stand beside one another in a report.

    Raises:
        ValueError: keypoints and surfaces, or others of these.
    """
    from pcsargmax.runs.surfaces import SurfaceRun

    traits = [
        ("surfaces", run.surface_names) if isinstance(run, SurfaceRun) else ("keypoints", run.keypoint_names)
        for run in runs
    ]
    for other, trait in zip(runs[1:], traits[1:], strict=True):
        _check_traits(runs[0].folder.resolve().name, traits[0], other.folder.resolve().name, trait)


def _check_traits(mine: str, first: tuple[str, Sequence[str]], other: str, second: tuple[str, Sequence[str]]) -> None:
    if first[0] != second[0]:
        raise ValueError(f"against: expected a run of {first[0]} as {mine} is, got {other}, of {second[0]}")
    if list(first[1]) != list(second[1]):
        told = f"expected the {first[0]} of {mine}, {', '.join(first[1])}; got {', '.join(second[1])}"
        raise ValueError(f"against: {told}")


def comparable(first: ImageReport, second: ImageReport) -> tuple[ImageReport, ImageReport]:
    """The same reports on the images that both have, in the same order.

    Raises:
        ValueError: runs of unlike kinds, keypoints or lengths, or without a common image.
    """
    traits = [("surfaces" if one.surfaces else "keypoints", one.names) for one in (first, second)]
    _check_traits(first.name, traits[0], second.name, traits[1])
    units = [str(one.metrics["unit"] if one.surfaces else one.metrics["length"]) for one in (first, second)]
    if units[0] != units[1]:
        raise ValueError(f"against: expected errors in {units[0]}, got {units[1]}")
    known = set(second.image_names)
    common = [name for name in first.image_names if name in known]
    if not common:
        raise ValueError(
            f"against: expected a run on the same images, {first.name} and {second.name} have none in common"
        )
    return _only(first, common), _only(second, common)


def _only(report: ImageReport, names: Sequence[str]) -> ImageReport:
    """The report on some of its images; the figures stay those of all."""
    if list(names) == report.image_names:
        return report
    rows = report.rows_of(names)
    images = {key: [values[row] for row in rows] for key, values in report.metrics["images"].items()}
    chosen = _Rows(report.predictions, rows)
    return replace(report, metrics={**report.metrics, "images": images}, predictions=chosen)


class _Rows(Sequence[Any]):
    """Some of a lazy sequence."""

    def __init__(self, of: Sequence[Any], rows: Sequence[int]) -> None:
        self.of, self.rows = of, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        return self.of[self.rows[number]]
