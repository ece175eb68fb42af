"""Training a detector, from settings to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.callbacks import Callback
from torch_geometric.data import Data

from pcsargmax.io.atomic import atomic_path
from pcsargmax.models.template import Template
from pcsargmax.runs.checkpoint import find_checkpoint, open_checkpoint, read_checkpoint
from pcsargmax.runs.detector import Run
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import is_folder, open_dataset
from pcsargmax.runs.symmetry import with_labelings
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedCloud, PreparedClouds, prepare_all
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.detector.folds import see_by_folds
from pcsargmax.training.detector.held_out import fit_held_out, see_held_out
from pcsargmax.training.detector.module import DetectorModule, new_detector
from pcsargmax.training.loop import Progress, Selection, is_rank_zero
from pcsargmax.training.run import Task, metadata_of, train_run
from pcsargmax.training.splits import open_splits


def train(
    settings: TrainSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
) -> Run:
    """Train a keypoint detector and leave a run folder.

    The folder holds settings.json, checkpoints/last.ckpt and best.ckpt (by the mean validation PCK), and log/ (CSV;
    TensorBoard by request). It is made once the data have been read, and taken away again if training ends before its
    first checkpoint, so a mistake leaves nothing.

    Args:
        settings: of the run; with `resume`, they must be those of the folder, but for patience, where and how fast it
            runs, and the number of epochs where neither a one-cycle rate nor an annealed temperature is made for it.
        folder: the run folder; must not exist, or with `resume` must hold a checkpoint.
        resume: go on from last.ckpt, exactly as if training had not been interrupted.
        callbacks: more Lightning callbacks, such as a progress display.
        progress: called with (what, done, total) while data are read and prepared.

    Returns:
        The run, opened at its best checkpoint.

    Raises:
        ValueError, OSError: settings, data or folder that do not fit, named in the message.
        KeyboardInterrupt: interrupted; `resume` goes on from the last whole epoch.

    Example:
        >>> from pcsargmax import TrainSettings, make_procedural, train
        >>> counts = make_procedural("data", ["mug"], models=10, num_points=128)
        >>> run = train(TrainSettings(data="mug", root="data", backbone="light", epochs=1), "runs/mug")
        >>> run.checkpoint.name, run.keypoint_names[:3]
        ('best.ckpt', ('0', '1', '2'))
    """
    prepare, best = partial(_prepare, settings), Selection("val/score", "max")
    finish = partial(_fit_held_out, settings) if settings.shape_prior == "auto" or settings.folds else None
    return train_run(
        Run, settings, folder, prepare, best, resume=resume, callbacks=callbacks, progress=progress, finish=finish
    )


def _prepare(settings: TrainSettings, progress: Progress) -> Task:
    """Open and prepare the data; build the network."""
    splits = open_splits(settings, lambda split: open_dataset(settings, split, lambda i, n: progress("reading", i, n)))
    raw, held_out = splits.training, splits.validation
    if settings.folds and len(raw) < 2:
        raise ValueError(
            f"folds {settings.folds}: the split {settings.train_split!r} of {settings.data} has 1 shape, expected at "
            "least 2, as nothing is left to train on without it; set folds to 0, or annotate more"
        )
    template = Template.fit(raw[i] for i in range(len(raw)))
    detector = new_detector(settings, template)

    def labelled(dataset: Any, item: Data, num_angles: int) -> Data:
        if settings.symmetry == "none":
            return item
        return with_labelings(item, dataset.semantic_ids, settings.symmetry, num_angles=num_angles)

    def prepared(dataset: Any, what: str, split: str, num_angles: int) -> list[PreparedCloud]:
        def prepare_one(item: Data) -> PreparedCloud:
            return prepare(labelled(dataset, item, num_angles), detector.backbone)

        items = prepare_all(dataset, what, progress, prepare_one)
        if not any(item.keypoint_visible.any() for item, _ in items):
            raise ValueError(f"none of the keypoints is on any cloud of the split {split!r} of {settings.data}")
        return items

    items = prepared(raw, "preparing training clouds", settings.train_split, 36)
    if settings.symmetry != "none" and all(len(item.keypoint_labelings) == 1 for item, _ in items):
        raise ValueError(
            f"symmetry {settings.symmetry!r}: no such symmetry is annotated with any of the {len(items)} shapes of the "
            f"split {settings.train_split!r} of {settings.data}"
        )
    augment = augmentation(settings, [item for item, _ in items])
    training = PreparedClouds(items, detector.backbone, augment, settings.seed, settings.dense_points)
    if settings.samples > 1:
        training.add_samples([labelled(raw, raw[i], 36) for i in range(len(raw))], settings.samples - 1, progress)
    validation = None
    if held_out is not None:
        clouds = prepared(held_out, "preparing validation clouds", settings.val_split, 360)
        validation = PreparedClouds(clouds, detector.backbone, dense_points=settings.dense_points)
    unit = settings.unit if settings.unit != "auto" else "diagonal" if is_folder(settings) else "raw"
    template_error = None
    if held_out is not None and settings.symmetry == "none":
        template_error = template.mean_error((held_out[i] for i in range(len(held_out))), unit)
    metadata = metadata_of(
        Run,
        settings,
        splits,
        unit=unit,
        source="folder" if is_folder(settings) else "category",
        template=template.to_dict(),
    )
    hopeless = None
    if settings.symmetry == "none":
        hopeless = template.mean_error((item for item, _ in items), "raw")  # the items are in the unit frame
    module = DetectorModule(detector, settings, unit, metadata, template_error, hopeless)
    return Task(module, training, validation)


def _fit_held_out(settings: TrainSettings, folder: Path, task: Task, progress: Progress) -> None:
    """Fit the use of the shape prior and the calibration to shapes held out, and keep them in the checkpoint."""
    if not is_rank_zero():
        return
    file = find_checkpoint(folder)
    run = Run.from_checkpoint(open_checkpoint(file), torch.device("cpu"))
    training, validation = cast(PreparedClouds, task.training), cast(PreparedClouds | None, task.validation)
    others = [torch.cat([item[name] for item, _ in training.items]) for name in ("keypoint_pos", "keypoint_visible")]
    if settings.folds:
        held = see_by_folds(settings, training, run.unit, folder, partial(progress, "training folds"))
        others = [part[:0] for part in others]  # they are the shapes held out
    elif validation is not None:
        held = list(see_held_out(run.detector, settings, validation, run.template, run.unit))
    else:
        return
    fitted = fit_held_out(held, (others[0], others[1]), use_prior=settings.shape_prior == "auto")
    content = read_checkpoint(file)
    content["pcsargmax"] |= {
        "calibration": fitted.calibration.to_dict(),
        "prior_use": None if fitted.use is None else fitted.use.to_dict(),
        "template_deviation": None if fitted.template_deviation is None else fitted.template_deviation.tolist(),
        "validation": {"mean_error": fitted.mean_error, "template_mean_error": fitted.template_mean_error},
    }
    with atomic_path(file) as temporary:
        torch.save(content, temporary)
