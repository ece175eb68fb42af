"""Discovering keypoints, from settings to a run folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.callbacks import Callback
from torch_geometric.data import Data

from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.ops.seeds import seeded_weights
from pcsargmax.runs.discovery import DiscoverRun
from pcsargmax.runs.prepare import frame_of, prepare
from pcsargmax.runs.sources import open_clouds, source_of
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.clouds import PreparedCloud, PreparedClouds, prepare_all
from pcsargmax.training.discovery.data import discover_augmentation
from pcsargmax.training.discovery.module import DiscoverModule
from pcsargmax.training.discovery.naming import name_keypoints
from pcsargmax.training.loop import Progress, Selection
from pcsargmax.training.run import Task, metadata_of, train_run
from pcsargmax.training.splits import open_splits


def discover(
    settings: DiscoverSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
) -> DiscoverRun:
    """Discover aligned keypoints of a category without labels (Skeleton Merger), and leave a run folder.

    The folder is that of `train`, but that best.ckpt is there only with a validation split and is chosen by its loss.
    No label takes part in the training. Where the training shapes are annotated, the discovered keypoints are named
    after the annotations that they come to lie by, once training is over; the others are kp0, kp1, …

    Args:
        settings: of the run; with `resume`, they must be those of the folder, but for patience, where and how fast it
            runs, and the number of epochs where neither a one-cycle rate nor an annealed temperature is made for it.
        folder: the run folder; must not exist, or with `resume` must hold a checkpoint.
        resume: go on from last.ckpt, exactly as if training had not been interrupted.
        callbacks: more Lightning callbacks, such as a progress display.
        progress: called with (what, done, total) while data are read and prepared.

    Returns:
        The run, opened at its best checkpoint, the last one without validation.

    Raises:
        ValueError, OSError: settings, data or folder that do not fit, named in the message.
        KeyboardInterrupt: interrupted; `resume` goes on from the last whole epoch.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> counts = make_procedural("data", ["mug"], models=4, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> run.checkpoint.name, len(run.keypoint_names)
        ('last.ckpt', 5)
    """
    return train_run(
        DiscoverRun,
        settings,
        folder,
        partial(_prepare, settings),
        Selection("val/loss", "min"),
        resume=resume,
        callbacks=callbacks,
        progress=progress,
        finish=lambda folder, task, _: name_keypoints(folder, cast(PreparedClouds, task.training)),
    )


def _prepare(settings: DiscoverSettings, progress: Progress) -> Task:
    """Open and prepare the data; build the network."""
    splits = open_splits(settings, lambda split: open_clouds(settings, split, lambda i, n: progress("reading", i, n)))
    raw, held_out = splits.training, splits.validation
    if len(raw) == 1:
        warnings.warn(
            f"the split {settings.train_split!r} of {settings.data} holds one shape: nothing says that its keypoints "
            "mean the same elsewhere",
            stacklevel=4,
        )
    with seeded_weights(settings.seed):
        merger = SkeletonMerger(settings.keypoints, settings.backbone, dropout=settings.dropout)
    frame = frame_of(settings)

    def prepare_one(item: Data) -> PreparedCloud:
        cloud, neighborhoods = prepare(item, merger.backbone, frame)
        _check_cloud(cloud, settings.keypoints)
        return cloud, neighborhoods

    clouds = prepare_all(raw, "preparing training clouds", progress, prepare_one)
    training = PreparedClouds(clouds, merger.backbone, discover_augmentation(settings), settings.seed)
    validation = None
    if held_out is not None:
        clouds = prepare_all(held_out, "preparing validation clouds", progress, prepare_one)
        validation = PreparedClouds(clouds, merger.backbone)
    metadata = metadata_of(
        DiscoverRun,
        settings,
        splits,
        keypoint_names=[f"kp{k}" for k in range(settings.keypoints)],
        annotations=list(raw.keypoint_names),
        correspondence=None,
        centered=frame.centered,
        source=source_of(settings),
    )
    return Task(DiscoverModule(merger, settings, metadata), training, validation)


def _check_cloud(item: Any, keypoints: int) -> None:
    """Raise ValueError for a cloud that cannot carry the keypoints."""
    if item.num_nodes < keypoints:
        raise ValueError(
            f"keypoints must be at most the points of a cloud, {item.num_nodes} of {item.model_id}; got {keypoints}"
        )
    if not (item.pos.amax(dim=0) > item.pos.amin(dim=0)).any():
        raise ValueError(f"{item.model_id}: all {item.num_nodes} points are in one place, no shape to discover")
