"""The report of a run on images: its evaluation, and a way to what it finds in each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pcsargmax.settings.common import method_name
from pcsargmax.visualize.report.base import Report, Traits, described

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyImageRun
    from pcsargmax.visualize.images.picture import Drawable


@dataclass(frozen=True, eq=False)
class ImageReport(Report):
    """The report of a run that finds keypoints or surfaces.

    Attributes:
        predictions: of the images of the evaluation, in its order; may be lazy, as only some of them are drawn.
        within: of surfaces, the shares of columns whose true row lies within 1 and 2 σ; empty of keypoints.
    """

    items: ClassVar[str] = "images"

    predictions: Sequence[Drawable]
    within: tuple[float, ...] = ()

    @property
    def surfaces(self) -> bool:
        """Whether it is of surfaces and not of keypoints."""
        return self.metrics["kind"] == "image_surfaces"

    @property
    def names(self) -> list[str]:
        """Of the K keypoints or S surfaces."""
        return list(self.metrics["surface_names" if self.surfaces else "keypoint_names"])

    @property
    def item_names(self) -> list[str]:
        """Of the M images."""
        return list(self.metrics["images"]["name"])

    @property
    def traits(self) -> Traits:
        """What a second run must share."""
        unit = self.metrics["unit" if self.surfaces else "length"]
        return _traits(self.name, self.surfaces, self.names, str(unit))

    def only(self, names: Sequence[str]) -> Self:
        """The report with some of its images; its figures stay those of all."""
        if list(names) == self.item_names:
            return self
        place = {name: row for row, name in enumerate(self.item_names)}
        rows = [place[name] for name in names]
        images = {key: [values[row] for row in rows] for key, values in self.metrics["images"].items()}
        metrics = {**self.metrics, "images": images}
        return replace(self, metrics=metrics, predictions=_Rows(self.predictions, rows))

    def values(self, key: str) -> np.ndarray:
        """Float64 of a list in the result's "images", NaN for None."""
        return np.array(self.metrics["images"][key], dtype=np.float64)


def _traits(run: str, surfaces: bool, names: Sequence[str], unit: str | None) -> Traits:
    what = "surfaces" if surfaces else "keypoints"
    return Traits(run, f"run of {what}", what, list(names), unit)


#: Reports by their labels; "" is that of a single one.
ImageReports = Mapping[str, ImageReport]


def measure_image_run(run: AnyImageRun, split: str = "", **options: Any) -> ImageReport:
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
        >>> report.surfaces, len(report.item_names)
        (False, 2)
    """
    from pcsargmax.visualize.images.sources import dataset_sources, predicted_images

    sums = np.zeros(3)

    def count(item: Any, found: Any) -> None:
        away = np.abs(found.rows - item.surfaces) / np.maximum(found.std, 1e-9)
        known = np.isfinite(away)
        sums[:] += [known.sum(), (away[known] <= 1).sum(), (away[known] <= 2).sum()]

    given: dict[str, Any] = options | ({"on_prediction": count} if run.target == "surface" else {})
    metrics = run.evaluate(split, **given)
    boxes = {"boxes": options["boxes"]} if options.get("boxes") else {}
    dataset = run.dataset(metrics["split"], **boxes)
    flipped = {"flip_test": True} if metrics.get("flip_test") else {}
    return ImageReport(
        **described(run),
        metrics=metrics,
        predictions=predicted_images(run, dataset_sources(dataset), **flipped),
        within=tuple((sums[1:] / sums[0]).tolist()) if sums[0] else (),
    )


def method_of(settings: Mapping[str, Any]) -> str:
    """The method of a training on images: its objective; of sampling the basis and the number of samples."""
    objective = settings["objective"]
    return method_name(settings["basis"] if objective == "sampling" else objective, settings["num_samples"])


def check_alike(*runs: AnyImageRun) -> None:
    """Find out, before anything is measured, whether runs can stand beside one another in a report.

    Raises:
        ValueError: keypoints and surfaces, or others of these.
    """
    traits = [_traits(run.folder.resolve().name, run.target == "surface", run.names, None) for run in runs]
    for other in traits[1:]:
        traits[0].check(other)


class _Rows(Sequence[Any]):
    """Some of a lazy sequence."""

    def __init__(self, of: Sequence[Any], rows: Sequence[int]) -> None:
        self.of, self.rows = of, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        return self.of[self.rows[number]]
