"""Progress on the terminal: bars where there is one, lines where the output goes to a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

#: Where commands write what is not a result: standard error, so that `--json` stays clean.
console = Console(stderr=True)


class Bars:
    """One line for each thing that is counted; without a terminal a line of text ten times over the whole."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        if self._progress is not None:
            if what not in self._tasks:
                self._tasks[what] = self._progress.add_task(what, total=total, note="")
            self._progress.update(self._tasks[what], completed=done, total=total, note=note)
            return
        share = done / max(total, 1)
        if done == total or share >= self._said.get(what, 0.0) + 0.1:
            self._said[what] = share
            console.print(f"{what}: {done}/{total}  {note}".rstrip(), highlight=False)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Show progress while the block runs."""
    if not console.is_terminal:
        yield Bars(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def quiet_lightning() -> None:
    """Keep Lightning's notes on hardware and other products off the terminal; its warnings stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def training_progress(bars: Bars) -> Any:
    """A Lightning callback that shows epochs, loss, validation PCK or loss, and the time of an epoch."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

    class TrainingProgress(Callback):
        def __init__(self) -> None:
            self._started = time.monotonic()

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._started = time.monotonic()

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            shown = {
                "train/loss": "loss {:.4f}",
                "train/min_distance": "nearest keypoints {:.3f} apart",
                "val/pck@0.02": "val PCK@0.02 {:.3f}",
                "val/loss": "val loss {:.4f}",
                "val/error": "val error {:.3f}",
            }
            notes = [t.format(trainer.callback_metrics[k]) for k, t in shown.items() if k in trainer.callback_metrics]
            notes.append(f"{time.monotonic() - self._started:.0f} s")
            bars.update("training epochs", trainer.current_epoch + 1, int(trainer.max_epochs or 0), "  ".join(notes))

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch < int(trainer.max_epochs or 0):
                console.print(f"stopped early after {trainer.current_epoch} epochs: validation got no better")

    return TrainingProgress()
