"""What a report is made of: the evaluation of a run, and everything that was predicted in it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.training_log import log_files

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from pcsargmax.runs.detector import Run
    from pcsargmax.runs.discovery import DiscoverRun


@dataclass(frozen=True, eq=False)
class RunReport:
    """The result of an evaluation, and what was predicted in it.

    Attributes:
        name: of the run.
        metrics: what `evaluate` of the run returned.
        predictions: of the shapes of the evaluation.
        annotations: names of the annotations that a discovery is measured against.
        logs: CSV logs of the training, in the order in which they were written.
        trained: when the checkpoint was written; None where nobody knows.

    Example:
        >>> from pcsargmax.visualize.report import RunReport
        >>> RunReport("mug", metrics={"kind": "skeleton_merger"}, predictions=()).is_discovery
        True
    """

    name: str
    metrics: Mapping[str, Any]
    predictions: tuple[Prediction, ...]
    annotations: tuple[str, ...] = ()
    logs: tuple[Path, ...] = ()
    trained: datetime.datetime | None = None

    @property
    def is_discovery(self) -> bool:
        """Whether the keypoints were found without labels."""
        return self.metrics.get("kind") == "skeleton_merger"


#: Reports by their labels; "" is that of a single one.
Runs = Mapping[str, RunReport]


def measure_run(run: Run | DiscoverRun, split: str = "", **options: Any) -> RunReport:
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
    from pcsargmax.runs.discovery import DiscoverRun

    if refused := {"average", "strict"} & options.keys():
        raise ValueError(f"{' and '.join(sorted(refused))}: a report counts in one way, got another")
    found: list[Prediction] = []

    def keep(item: Data, prediction: Prediction) -> None:
        found.append(_named(item, prediction, run) if isinstance(run, DiscoverRun) else prediction)

    metrics = run.evaluate(split or run.default_split, on_prediction=keep, **options)
    return RunReport(
        name=run.folder.resolve().name,
        metrics=metrics,
        predictions=tuple(found),
        annotations=run.annotations if isinstance(run, DiscoverRun) else (),
        logs=log_files(run.folder),
        trained=datetime.datetime.fromtimestamp(run.checkpoint.stat().st_mtime).astimezone(),
    )


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


def check_alike(first: Run | DiscoverRun, *others: Run | DiscoverRun) -> None:
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
    from pcsargmax.runs.discovery import DiscoverRun

    traits = [
        _Traits(one.folder.resolve().name, isinstance(one, DiscoverRun), one.unit, list(one.keypoint_names))
        for one in (first, *others)
    ]
    for other in traits[1:]:
        traits[0].check(other)


class _Traits(NamedTuple):
    """What two runs must have in common."""

    name: str
    discovery: bool
    unit: str
    keypoint_names: list[str]

    def check(self, other: _Traits) -> None:
        kinds = ["discovery" if one.discovery else "detector" for one in (self, other)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"against: expected a {kinds[0]} as {self.name} is, got {other.name}, a {kinds[1]}")
        if not self.discovery and self.keypoint_names != other.keypoint_names:
            mine, names = (", ".join(one.keypoint_names) for one in (self, other))
            told = f"expected the keypoints of {self.name}, {mine}"
            raise ValueError(f"against: {told}; got those of {other.name}, {names}")
        if self.unit != other.unit:
            told = f"expected errors in the unit of {self.name}, {self.unit!r}"
            raise ValueError(f"against: {told}; got {other.unit!r}, that of {other.name}")


def comparable(first: RunReport, second: RunReport) -> tuple[RunReport, RunReport]:
    """The same reports with the predictions of the shapes that both have, in the same order.

    Raises:
        ValueError: runs of unlike kinds, detectors of other keypoints, other units, without a common shape, or with
            other shapes of the same names.
    """
    mine, other = (
        _Traits(one.name, one.is_discovery, one.metrics["unit"], list(one.metrics["keypoint_names"]))
        for one in (first, second)
    )
    mine.check(other)
    by_name = {one.name: one for one in second.predictions}
    if not any(one.name in by_name for one in first.predictions):
        raise ValueError(
            f"against: expected a run on the same shapes, {first.name} and {second.name} have none in common"
        )
    kept = [(one, by_name[one.name]) for one in first.predictions if one.name in by_name]
    for one, same in kept:
        if not _same_box(one.points, same.points):
            raise ValueError(
                f"against: expected a run on the same shapes, {one.name} of {second.name} is not that of {first.name}"
            )
    mine_kept, other_kept = zip(*kept, strict=True)
    return replace(first, predictions=mine_kept), replace(second, predictions=other_kept)


def _same_box(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the bounding boxes of two clouds agree to a twentieth of their size, as samples of one surface do."""
    boxes = [np.stack([points.min(axis=0), points.max(axis=0)]) for points in (first, second)]
    return bool(np.abs(boxes[0] - boxes[1]).max() <= 0.05 * max(np.ptp(box, axis=0).max() for box in boxes))
