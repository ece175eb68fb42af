"""Trainings on parts of the shapes, so that a detector is seen on each shape without having learnt it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import torch
from torch import Tensor
from torch import distributed as dist

from pcsargmax.io.atomic import atomic_path
from pcsargmax.models.template import Template
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.base import usable_device
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.clouds import PreparedCloud, PreparedClouds
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.detector.held_out import HeldOut, see_held_out
from pcsargmax.training.detector.module import DetectorModule, new_detector
from pcsargmax.training.loop import Loop

#: The file that tells a process what to train.
_TASK = "task.pt"

#: Of a detector, by name, on the CPU.
Weights: TypeAlias = dict[str, Tensor]


def see_by_folds(
    settings: TrainSettings, training: PreparedClouds, unit: str, folder: Path, progress: Callable[[int, int], None]
) -> list[HeldOut]:
    """Train on all folds but one, for each, and look at the shapes of that one.

    Folds are trained side by side, in processes of their own, where there are several cores and no accelerator.

    Args:
        settings: of the run; `folds` says how many.
        training: what the run was trained on, at least two shapes.
        unit: of its results, "raw" or "diagonal".
        folder: where the trainings leave their files while they last.
        progress: called with (folds trained, folds).

    Returns:
        The shapes, in an order of their own.

    Raises:
        ChildProcessError: a process ended before its training did.
    """
    items = training.items
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(mix_seed(settings.seed, len(items))))
    parts = [part.tolist() for part in order.tensor_split(min(settings.folds, len(items)))]
    weights: dict[int, Weights] = {}
    with TemporaryDirectory(dir=folder, prefix="folds-") as place:
        for number, trained in _train_folds(settings, training, parts, Path(place)):
            weights[number] = trained
            progress(len(weights), len(parts))
    held: list[HeldOut] = []
    for number, part in enumerate(parts):
        template = Template.fit(item for row, (item, _) in enumerate(items) if row not in part)
        detector = new_detector(settings, template)
        detector.load_state_dict(weights[number])
        clouds = PreparedClouds([items[row] for row in part], detector.backbone, dense_points=settings.dense_points)
        held.extend(see_held_out(detector, settings, clouds, template, unit))
    return held


def _train_folds(
    settings: TrainSettings, training: PreparedClouds, parts: Sequence[list[int]], place: Path
) -> Iterator[tuple[int, Weights]]:
    """Train without each part of the items, and yield the number of the part and the weights when one is done."""
    cpu = usable_device(settings.device).type == "cpu"
    workers = min(len(parts), os.cpu_count() or 1) if cpu else 1
    # Where several processes have trained together, this one would go on waiting for the others.
    if workers == 1 and not (dist.is_available() and dist.is_initialized()):
        for number, part in enumerate(parts):
            yield number, _train_fold(settings, training.items, training.resampled, part, place / str(number))
        return
    threads = max(1, torch.get_num_threads() // workers)
    torch.save((settings.to_dict(), training.items, training.resampled, parts, threads), place / _TASK)
    running: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(_in_process, place, number, running): number for number in range(len(parts))}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()


def _in_process(place: Path, number: int, running: list[subprocess.Popen[bytes]]) -> Weights:
    """Train without a part of the items in a process of its own, which needs no main module, unlike multiprocessing."""
    command = [sys.executable, "-c", f"from {__name__} import main; main()", str(place), str(number)]
    path = os.pathsep.join([*filter(None, sys.path)])
    with (place / f"{number}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": path})
        running.append(process)
        process.wait()
    weights = place / f"{number}.pt"
    if process.returncode or not weights.is_file():
        last = (place / f"{number}.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise ChildProcessError(
            f"folds: the training without fold {number + 1} ended with code {process.returncode}: {''.join(last)}. "
            "The detector itself is trained; resume (--resume) goes on with the folds"
        )
    found: Weights = torch.load(weights, weights_only=True)
    return found


def main() -> None:
    """Train without a part of the items, in a process of its own: python -c … PLACE NUMBER."""
    place, number = Path(sys.argv[1]), int(sys.argv[2])
    values, items, resampled, parts, threads = torch.load(place / _TASK, weights_only=False)  # written a moment ago
    torch.set_num_threads(threads)
    settings = TrainSettings.from_dict(values)
    with atomic_path(place / f"{number}.pt") as file:
        torch.save(_train_fold(settings, items, resampled, parts[number], place / str(number)), file)


def _train_fold(
    settings: TrainSettings,
    items: Sequence[PreparedCloud],
    resampled: Sequence[list[PreparedCloud]],
    part: Sequence[int],
    folder: Path,
) -> Weights:
    """Train without a part of the items and return the weights of the detector."""
    rows = [row for row in range(len(items)) if row not in part]
    rest = [items[row] for row in rows]
    settings = replace(settings, val_split="none", folds=0, shape_prior="none", tensorboard=False, devices=1, nodes=1)
    template = Template.fit(item for item, _ in rest)
    detector = new_detector(settings, template)
    augment = augmentation(settings, [item for item, _ in items])  # which keypoints a mirror exchanges, as for the run
    training = PreparedClouds(rest, detector.backbone, augment, settings.seed, settings.dense_points)
    training.resampled = [resampled[row] for row in rows] if resampled else []
    Loop(settings, folder, None, False, []).fit(DetectorModule(detector, settings, "diagonal", {}), training, None)
    return {name: value.cpu() for name, value in detector.state_dict().items()}
