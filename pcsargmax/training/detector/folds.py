"""Shorter trainings on parts of the shapes, so that a detector is seen on each shape without having learnt it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.ops.seeds import mix_seed, seeded_weights
from pcsargmax.runs.detector import build_detector
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedCloud, PreparedClouds
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.detector.held_out import HeldOut, see_held_out
from pcsargmax.training.detector.module import DetectorModule
from pcsargmax.training.loop import Loop

#: A fold is trained for this share of the epochs: it only has to err about as the detector itself does.
EPOCH_SHARE = 0.5


def see_by_folds(
    settings: TrainSettings,
    items: Sequence[PreparedCloud],
    unit: str,
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[HeldOut]:
    """Train on all folds but one, for each, and look at the shapes of that one.

    Folds are trained side by side where there are several cores.

    Args:
        settings: of the run; `folds` says how many.
        items: that the run was trained on.
        unit: of its results, "raw" or "diagonal".
        folder: where the trainings leave their files while they last.
        progress: called with (folds trained, folds).

    Returns:
        The shapes, in an order of their own.
    """
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(mix_seed(settings.seed, len(items))))
    parts = [part.tolist() for part in order.tensor_split(min(settings.folds, len(items)))]
    workers = 1 if settings.device in ("cuda", "mps") else min(len(parts), os.cpu_count() or 1)
    threads = max(1, torch.get_num_threads() // workers)
    weights: dict[int, dict[str, Tensor]] = {}
    with TemporaryDirectory(dir=folder, prefix="folds-") as place:
        file = Path(place) / "items.pt"
        torch.save(list(items), file)
        # Not forked: threads of torch do not survive that.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = {
                pool.submit(_train_fold, settings, file, part, Path(place) / str(number), threads): number
                for number, part in enumerate(parts)
            }
            for done, job in enumerate(as_completed(jobs), 1):
                weights[jobs[job]] = job.result()
                progress(done, len(parts))
    held: list[HeldOut] = []
    for number, part in enumerate(parts):
        template = Template.fit(item for row, (item, _) in enumerate(items) if row not in part)
        detector = _built(settings, items, template)
        detector.load_state_dict(weights[number])
        clouds = PreparedClouds([items[row] for row in part], detector.backbone, dense_points=settings.dense_points)
        held.extend(see_held_out(detector, settings, clouds, template, unit))
    return held


def _train_fold(
    settings: TrainSettings, file: Path, part: Sequence[int], folder: Path, threads: int
) -> dict[str, Tensor]:
    """Train without a part of the items, in a process of its own, and return the weights of the detector."""
    torch.set_num_threads(threads)
    items: list[PreparedCloud] = torch.load(file, weights_only=False)  # written by the parent a moment ago
    rest = [item for row, item in enumerate(items) if row not in part]
    epochs = max(1, round(EPOCH_SHARE * settings.epochs))
    settings = replace(settings, epochs=epochs, val_split="none", folds=0, shape_prior="none")
    detector = _built(settings, rest, Template.fit(item for item, _ in rest))
    augment = augmentation(settings, [item for item, _ in rest])
    training = PreparedClouds(rest, detector.backbone, augment, settings.seed, settings.dense_points)
    Loop(settings, folder, None, False, []).fit(DetectorModule(detector, settings, "diagonal", {}), training, None)
    return {name: value.cpu() for name, value in detector.state_dict().items()}


def _built(settings: TrainSettings, items: Sequence[PreparedCloud], template: Template) -> KeypointDetector:
    with seeded_weights(settings.seed):
        return build_detector(settings, items[0][0].keypoint_pos.shape[1], template)
