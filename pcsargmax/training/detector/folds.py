"""Shorter trainings on parts of the shapes, so that a detector is seen on each shape without having learnt it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch import distributed as dist

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.ops.seeds import mix_seed, seeded_weights
from pcsargmax.runs.base import usable_device
from pcsargmax.runs.detector import build_detector
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedCloud, PreparedClouds
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.detector.held_out import HeldOut, see_held_out
from pcsargmax.training.detector.module import DetectorModule
from pcsargmax.training.loop import Loop

#: A fold is trained for this share of the epochs: it only has to err about as the detector itself does.
EPOCH_SHARE = 0.5

#: Of a detector, by name, on the CPU.
Weights: TypeAlias = dict[str, Tensor]


def see_by_folds(
    settings: TrainSettings,
    items: Sequence[PreparedCloud],
    unit: str,
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[HeldOut]:
    """Train on all folds but one, for each, and look at the shapes of that one.

    Folds are trained side by side, in processes of their own, where there are several cores and no accelerator.

    Args:
        settings: of the run; `folds` says how many.
        items: that the run was trained on, at least two.
        unit: of its results, "raw" or "diagonal".
        folder: where the trainings leave their files while they last.
        progress: called with (folds trained, folds).

    Returns:
        The shapes, in an order of their own.

    Raises:
        ChildProcessError: a process ended before its training did (an OSError).
    """
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(mix_seed(settings.seed, len(items))))
    parts = [part.tolist() for part in order.tensor_split(min(settings.folds, len(items)))]
    weights: dict[int, Weights] = {}
    with TemporaryDirectory(dir=folder, prefix="folds-") as place:
        for number, trained in _train_folds(settings, items, parts, Path(place)):
            weights[number] = trained
            progress(len(weights), len(parts))
    held: list[HeldOut] = []
    for number, part in enumerate(parts):
        template = Template.fit(item for row, (item, _) in enumerate(items) if row not in part)
        detector = _built(settings, items, template)
        detector.load_state_dict(weights[number])
        clouds = PreparedClouds([items[row] for row in part], detector.backbone, dense_points=settings.dense_points)
        held.extend(see_held_out(detector, settings, clouds, template, unit))
    return held


def _train_folds(
    settings: TrainSettings, items: Sequence[PreparedCloud], parts: Sequence[list[int]], place: Path
) -> Iterator[tuple[int, Weights]]:
    """Train without each part of the items, and yield the number of the part and the weights when one is done."""
    cpu = usable_device(settings.device).type == "cpu"
    workers = min(len(parts), os.cpu_count() or 1) if cpu else 1
    # Where several processes have trained together, this one would go on waiting for the others.
    if workers == 1 and not (dist.is_available() and dist.is_initialized()):
        for number, part in enumerate(parts):
            yield number, _train_fold(settings, items, part, place / str(number))
        return
    file, threads = place / "items.pt", max(1, torch.get_num_threads() // workers)
    torch.save(list(items), file)
    # Not forked: threads of torch do not survive that.
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (threads,)) as pool:
        with _without_script():
            jobs = {
                pool.submit(_train_stored, settings, file, part, place / str(number)): number
                for number, part in enumerate(parts)
            }
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"folds {len(parts)}: a process that trained one of them ended abruptly; the memory may be too small "
                f"for {workers} at once. The detector itself is trained: resume the run to train the folds again, or "
                "with folds 0 train it without them"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _without_script() -> Iterator[None]:
    """Start processes within it that do not run the caller's script again, which may call `train` without a guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _begin(threads: int) -> None:
    """Prepare a process that trains folds: its share of the threads, and no notes of Lightning on the terminal."""
    torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def _train_stored(settings: TrainSettings, file: Path, part: Sequence[int], folder: Path) -> Weights:
    items = torch.load(file, weights_only=False)  # written by the parent a moment ago
    return _train_fold(settings, items, part, folder)


def _train_fold(settings: TrainSettings, items: Sequence[PreparedCloud], part: Sequence[int], folder: Path) -> Weights:
    """Train without a part of the items and return the weights of the detector."""
    rest = [item for row, item in enumerate(items) if row not in part]
    epochs = max(1, round(EPOCH_SHARE * settings.epochs))
    alone: dict[str, Any] = {
        "val_split": "none",
        "folds": 0,
        "shape_prior": "none",
        "devices": 1,
        "nodes": 1,
        "tensorboard": False,
    }
    settings = replace(settings, epochs=epochs, **alone)
    detector = _built(settings, rest, Template.fit(item for item, _ in rest))
    augment = augmentation(settings, [item for item, _ in items])  # which keypoints a mirror exchanges, as for the run
    training = PreparedClouds(rest, detector.backbone, augment, settings.seed, settings.dense_points)
    Loop(settings, folder, None, False, []).fit(DetectorModule(detector, settings, "diagonal", {}), training, None)
    return {name: value.cpu() for name, value in detector.state_dict().items()}


def _built(settings: TrainSettings, items: Sequence[PreparedCloud], template: Template) -> KeypointDetector:
    with seeded_weights(settings.seed):
        return build_detector(settings, items[0][0].keypoint_pos.shape[1], template)
