"""The report of a run on clouds: its evaluation, and everything that was predicted in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.report.base import Report, Traits, described

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from pcsargmax.runs.discovery import DiscoverRun
    from pcsargmax.runs.kinds import CloudRun


@dataclass(frozen=True, eq=False)
class RunReport(Report):
    """The report of a detector or of a discovery.

    Attributes:
        predictions: of the shapes of the evaluation.
        annotations: names of the annotations that a discovery is measured against.

    Example:
        >>> from pcsargmax.visualize.report import RunReport
        >>> RunReport("mug", metrics={"kind": "skeleton_merger"}, predictions=()).is_discovery
        True
    """

    items: ClassVar[str] = "shapes"

    predictions: tuple[Prediction, ...]
    annotations: tuple[str, ...] = ()

    @property
    def is_discovery(self) -> bool:
        """Whether the keypoints were found without labels."""
        return self.metrics.get("kind") == "skeleton_merger"

    @property
    def item_names(self) -> list[str]:
        """Of the shapes."""
        return [one.name for one in self.predictions]

    @property
    def traits(self) -> Traits:
        """What a second run must share."""
        return _traits(self.name, self.is_discovery, self.metrics["keypoint_names"], self.metrics["unit"])

    def only(self, names: Sequence[str]) -> Self:
        """The report with some of its shapes; its figures stay those of all."""
        by_name = {one.name: one for one in self.predictions}
        return replace(self, predictions=tuple(by_name[name] for name in names))

    def check_items(self, other: Self) -> None:
        """Raise ValueError if shapes of the same names have other bounding boxes."""
        for one, same in zip(self.predictions, other.predictions, strict=True):
            if not _same_box(one.points, same.points):
                raise ValueError(
                    f"against: expected a run on the same shapes, {one.name} of {other.name} is not that of {self.name}"
                )


def _traits(run: str, is_discovery: bool, names: Sequence[str], unit: str) -> Traits:
    kind = "discovery" if is_discovery else "detector"
    return Traits(run, kind, "keypoints", None if is_discovery else list(names), unit)


#: Reports by their labels; "" is that of a single one.
Runs = Mapping[str, RunReport]


def measure_run(run: CloudRun, split: str = "", **options: Any) -> RunReport:
    """Evaluate a run, and keep what it predicted: each shape is predicted once.

    Args:
        run: of a detector or of a discovery. The truth of what a discovery predicts is the annotation that each
            keypoint is named after.
        split: of its data; "" is its `default_split`.
        options: of the `evaluate` of the run, such as `progress`; not `average` and `strict`, since curves and
            differences count every keypoint the same, with errors of at most the threshold.

    Raises:
        ValueError: such an option, or what `evaluate` raises.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> from pcsargmax.visualize.report import measure_run
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> report = measure_run(run)
        >>> report.name, report.is_discovery, len(report.predictions)
        ('mug-skeleton', True, 3)
    """
    if refused := {"average", "strict"} & options.keys():
        raise ValueError(f"{' and '.join(sorted(refused))}: a report counts in one way, got another")
    found: list[Prediction] = []

    def keep(item: Data, prediction: Prediction) -> None:
        found.append(_named(item, prediction, run) if run.kind == "skeleton_merger" else prediction)

    metrics = run.evaluate(split or run.default_split, on_prediction=keep, **options)
    annotations = run.annotations if run.kind == "skeleton_merger" else ()
    return RunReport(**described(run), metrics=metrics, predictions=tuple(found), annotations=annotations)


def _named(item: Data, prediction: Prediction, run: DiscoverRun) -> Prediction:
    """A discovery's prediction with the annotation that each keypoint is named after as its truth."""
    matched = run.correspondence
    if matched is None or "keypoint_pos" not in item:
        return prediction
    truth = np.full_like(prediction.position, np.nan)
    position, visible = item.keypoint_pos[0].double().numpy(), item.keypoint_visible[0].numpy()
    for k, g in enumerate(matched.ids):
        if g is not None and visible[g]:
            truth[k] = position[g]
    return replace(prediction, truth=truth)


def check_alike(first: CloudRun, *others: CloudRun) -> None:
    """Find out, before anything is measured, whether runs can stand beside one another in a report.

    Raises:
        ValueError: unlike kinds, detectors of other keypoints, or other units.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> from pcsargmax.visualize.report import check_alike
        >>> counts = make_procedural("data", ["mug"], models=3, num_points=128)
        >>> runs = []
        >>> for seed in (0, 1):
        ...     settings = DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1, seed=seed)
        ...     runs.append(discover(settings, f"runs/mug-{seed}"))
        >>> check_alike(*runs)  # no error: both are discoveries, in the same unit
    """
    traits = [
        _traits(one.folder.resolve().name, one.kind == "skeleton_merger", one.keypoint_names, one.unit)
        for one in (first, *others)
    ]
    for other in traits[1:]:
        traits[0].check(other)


def _same_box(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the bounding boxes of two clouds agree to a twentieth of their size, as samples of one surface do."""
    boxes = [np.stack([points.min(axis=0), points.max(axis=0)]) for points in (first, second)]
    return bool(np.abs(boxes[0] - boxes[1]).max() <= 0.05 * max(np.ptp(box, axis=0).max() for box in boxes))
