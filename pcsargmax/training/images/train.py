"""Training on images, from settings to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from pcsargmax.datasets.images.item import can_flip
from pcsargmax.ops.seeds import seeded_weights
from pcsargmax.runs.image_sources import open_images
from pcsargmax.runs.images import ImageRun
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.networks import build_pose, build_retina
from pcsargmax.runs.surfaces import SurfaceRun
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.data import PreparedImages, PreparedSlices, image_augmentation, open_training_images
from pcsargmax.training.images.pose_module import PoseModule
from pcsargmax.training.images.surface_module import SurfaceModule
from pcsargmax.training.loop import Progress, Selection
from pcsargmax.training.run import Task, metadata_of, train_run
from pcsargmax.training.splits import Splits, open_splits


def train_images(
    settings: ImageSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
) -> ImageRun | SurfaceRun:
    r"""Train a network on images with keypoints or slices with surfaces, and leave a run folder.

    The folder holds settings.json, checkpoints/last.ckpt and best.ckpt (by the mean validation error), and log/ (CSV;
    TensorBoard by request). It is made once the data have been found, and taken away again if training ends before its
    first checkpoint, so a mistake leaves nothing.

    Args:
        settings: of the run; with `resume`, they must be those of the folder, but for patience, where and how fast it
            runs, and the number of epochs where neither a one-cycle rate nor an annealed temperature is made for it.
        folder: the run folder; must not exist, or with `resume` must hold a checkpoint.
        resume: go on from last.ckpt, exactly as if training had not been interrupted.
        callbacks: more Lightning callbacks, such as a progress display.
        progress: called with (what, done, total) while data are opened.

    Returns:
        The run, opened at its best checkpoint.

    Raises:
        ValueError, OSError: settings, data or folder that do not fit, named in the message.
        KeyboardInterrupt: interrupted; `resume` goes on from the last whole epoch.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from pcsargmax import ImageSettings, train_images
        >>> Path("dots").mkdir()
        >>> table = ["file,dot_x,dot_y"]
        >>> for number in range(10):
        ...     Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(f"dots/{number}.png")
        ...     table.append(f"{number}.png,{10 + number},16")
        >>> _ = Path("dots/points.csv").write_text("\n".join(table))
        >>> settings = ImageSettings(data="./dots", trunk="tiny", deconv_channels=8, num_samples=2, epochs=1)
        >>> run = train_images(settings, "runs/dots")
        >>> run.checkpoint.name, run.keypoint_names
        ('best.ckpt', ('dot',))
    """
    kind: type[ImageRun | SurfaceRun] = SurfaceRun if settings.surfaces else ImageRun
    return train_run(
        kind,
        settings,
        folder,
        partial(_prepare, settings),
        Selection("val/error", "min"),
        resume=resume,
        callbacks=callbacks,
        progress=progress,
        workers=settings.workers,
    )


def _prepare(settings: ImageSettings, progress: Progress) -> Task:
    """Open the data; build the network."""
    opened = 0

    def open_split(split: str) -> Any:
        nonlocal opened
        opener = open_training_images if split == settings.train_split else open_images
        dataset = opener(settings, split)
        opened += 1
        progress("opening splits", opened, 1 if settings.val_split == "none" else 2)
        return dataset

    splits = open_splits(settings, open_split, lambda dataset: list(dataset.names), "images")
    return (_surfaces if settings.surfaces else _keypoints)(settings, splits)


def _keypoints(settings: ImageSettings, splits: Splits) -> Task:
    dataset, frame = splits.training, MapFrame.of(settings)
    with seeded_weights(settings.seed):
        network = build_pose(settings, len(dataset.keypoint_names))
    training = PreparedImages(dataset, frame, settings.padding, image_augmentation(settings, dataset), settings.seed)
    validation = None if splits.validation is None else PreparedImages(splits.validation, frame, settings.padding)
    pairs = [list(pair) for pair in dataset.flip_pairs]
    metadata = metadata_of(ImageRun, settings, splits, flip_pairs=pairs, can_flip=can_flip(dataset))
    return Task(PoseModule(network, settings, metadata), training, validation)


def _surfaces(settings: ImageSettings, splits: Splits) -> Task:
    dataset = splits.training
    with seeded_weights(settings.seed):
        network = build_retina(settings, len(dataset.surface_names))
    training = PreparedSlices(dataset, settings.flip, settings.seed)
    validation = None if splits.validation is None else PreparedSlices(splits.validation)
    return Task(SurfaceModule(network, settings, metadata_of(SurfaceRun, settings, splits)), training, validation)
