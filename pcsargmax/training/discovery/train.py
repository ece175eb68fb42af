"""Discovering keypoints, from settings to a run folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from pcsargmax.io.atomic import atomic_path
from pcsargmax.metrics.correspondence import match_keypoints
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.ops.seeds import seeded_weights
from pcsargmax.runs.checkpoint import CHECKPOINT_VERSION, open_checkpoint, read_checkpoint
from pcsargmax.runs.discovery import DiscoverRun
from pcsargmax.runs.prepare import frame_of, prepare
from pcsargmax.runs.sources import open_clouds, source_of
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.discovery.data import discover_augmentation
from pcsargmax.training.discovery.module import DiscoverModule
from pcsargmax.training.discovery.naming import expectations
from pcsargmax.training.loop import Loop, Progress, Selection, is_rank_zero
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
    """
    folder = Path(folder)
    best = None if settings.val_split == "none" else Selection("val/loss", "min")
    loop = Loop(settings, folder, best, resume, callbacks)
    merger, training, validation, metadata = _prepare(settings, progress or (lambda *_: None))
    loop.fit(DiscoverModule(merger, settings, metadata), training, validation)
    if is_rank_zero() and any(item.keypoint_visible.any() for item, _ in training.items if "keypoint_visible" in item):
        for file in sorted((folder / "checkpoints").glob("*.ckpt")):
            _name_keypoints(file, training)
    return DiscoverRun.from_checkpoint(open_checkpoint(folder), torch.device("cpu"))


def _prepare(
    settings: DiscoverSettings, progress: Progress
) -> tuple[SkeletonMerger, PreparedClouds, PreparedClouds | None, dict[str, Any]]:
    """Open and prepare the data; build the network."""
    splits = open_splits(settings, lambda split: open_clouds(settings, split, lambda i, n: progress("reading", i, n)))
    raw, held_out = splits.training, splits.validation
    if len(raw) == 1:
        warnings.warn(
            f"the split {settings.train_split!r} of {settings.data} holds one shape: nothing says that its keypoints "
            "mean the same elsewhere",
            stacklevel=3,
        )
    with seeded_weights(settings.seed):
        merger = SkeletonMerger(settings.keypoints, settings.backbone, dropout=settings.dropout)
    frame = frame_of(settings)

    def prepared(dataset: Any, what: str) -> list[Any]:
        items = []
        for i in range(len(dataset)):
            items.append(prepare(dataset[i], merger.backbone, frame))
            _check_cloud(items[-1][0], settings.keypoints)
            progress(what, i + 1, len(dataset))
        return items

    clouds = prepared(raw, "preparing training clouds")
    training = PreparedClouds(clouds, merger.backbone, discover_augmentation(settings), settings.seed)
    validation = None
    if held_out is not None:
        validation = PreparedClouds(prepared(held_out, "preparing validation clouds"), merger.backbone)
    metadata = {
        "version": CHECKPOINT_VERSION,
        "kind": "skeleton_merger",
        "settings": settings.to_dict(),
        "keypoint_names": [f"kp{k}" for k in range(settings.keypoints)],
        "annotations": list(raw.keypoint_names),
        "correspondence": None,
        "centered": frame.centered,
        "source": source_of(settings),
        "trained_on": splits.trained_on,
        "chosen_by": splits.chosen_by,
    }
    return merger, training, validation, metadata


def _check_cloud(item: Any, keypoints: int) -> None:
    """Raise ValueError for a cloud that cannot carry the keypoints."""
    if item.num_nodes < keypoints:
        raise ValueError(
            f"keypoints must be at most the points of a cloud, {item.num_nodes} of {item.model_id}; got {keypoints}"
        )
    if not (item.pos.amax(dim=0) > item.pos.amin(dim=0)).any():
        raise ValueError(f"{item.model_id}: all {item.num_nodes} points are in one place, no shape to discover")


def _name_keypoints(file: Path, training: PreparedClouds) -> None:
    """Match a checkpoint's keypoints to the annotations of the training shapes, and keep the names in the file."""
    found = open_checkpoint(file)
    run = DiscoverRun.from_checkpoint(found, torch.device("cpu"))
    items = [item for item, _ in training.items]
    correspondence = match_keypoints(
        expectations(run.merger, PreparedClouds(training.items, training.backbone)),
        torch.cat([item.keypoint_pos for item in items]),
        torch.cat([item.keypoint_visible for item in items]),
        names=found.metadata["annotations"],
    )
    names = [name or f"kp{k}" for k, name in enumerate(correspondence.names)]
    content = read_checkpoint(file)
    content["pcsargmax"] |= {"keypoint_names": names, "correspondence": correspondence.to_dict()}
    with atomic_path(file) as temporary:
        torch.save(content, temporary)
