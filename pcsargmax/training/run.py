"""From settings to a run folder: what is the same around the loop for every kind of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from lightning.pytorch.callbacks import Callback

from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.checkpoint import CHECKPOINT_VERSION, open_checkpoint
from pcsargmax.settings.common import RunSettings
from pcsargmax.training.loaders import Prepared
from pcsargmax.training.loop import Loop, Progress, Selection
from pcsargmax.training.module import RunModule
from pcsargmax.training.splits import Splits

RunT = TypeVar("RunT", bound=BaseRun[Any, Any])


class Task(NamedTuple):
    """A module with a new network, and the prepared items to train it on and to choose the best checkpoint by."""

    module: RunModule
    training: Prepared
    validation: Prepared | None


def train_run(
    kind: type[RunT],
    settings: RunSettings,
    folder: str | Path,
    prepare: Callable[[Progress], Task],
    best: Selection,
    *,
    resume: bool,
    callbacks: Sequence[Callback],
    progress: Progress | None,
    workers: int = 0,
    finish: Callable[[Path, Task, Progress], None] | None = None,
) -> RunT:
    """Train a run of any kind, leave its folder, and open it at its best checkpoint; see `train`.

    Args:
        kind: of the run.
        prepare: opens and prepares the data and builds the network.
        best: what chooses the best checkpoint where there is a validation split.
        workers: as of `Loop.fit`.
        finish: called with the folder, the task and `progress` when the training is over.
        settings, folder, resume, callbacks, progress: as of `train`.
    """
    folder = Path(folder)
    loop = Loop(settings, folder, None if settings.val_split == "none" else best, resume, callbacks)
    progress = progress or (lambda *_: None)
    task = prepare(progress)
    loop.fit(task.module, task.training, task.validation, workers=workers)
    if finish is not None:
        finish(folder, task, progress)
    return kind.from_checkpoint(open_checkpoint(folder), torch.device("cpu"))


def metadata_of(kind: type[BaseRun[Any, Any]], settings: RunSettings, splits: Splits, **own: Any) -> dict[str, Any]:
    """Return the plain values in a checkpoint from which a run is opened; `own` are those of its kind."""
    names = f"{kind.target}_names"
    return {
        "version": CHECKPOINT_VERSION,
        "kind": kind.kind,
        "settings": settings.to_dict(),
        names: list(getattr(splits.training, names)),
        "trained_on": splits.trained_on,
        "chosen_by": splits.chosen_by,
        "length_unit": getattr(splits.training, "length_unit", None),
        **own,
    }
