"""The training loop around any module: run folder, checkpoints, logs, resuming, and what a failure leaves."""

from __future__ import annotations

import shutil
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from pcsargmax.settings.common import RunSettings
from pcsargmax.training.loaders import Prepared, eval_loader, train_loader

Progress = Callable[[str, int, int], None]


class Selection(NamedTuple):
    """The validation value that chooses the best checkpoint, and which way is better."""

    value: str
    mode: Literal["min", "max"]


class Loop:
    """One training in one run folder.

    The folder holds settings.json, checkpoints/last.ckpt and best.ckpt, and log/ (CSV; TensorBoard by request). It is
    made once the data have been read, and taken away again if training ends before its first checkpoint, so a mistake
    leaves nothing.

    Args:
        settings: of the run.
        folder: the run folder; must not exist, or with `resume` must hold a checkpoint.
        best: what chooses the best checkpoint; None keeps the last one only.
        resume: go on from last.ckpt, exactly as if training had not been interrupted.
        callbacks: more Lightning callbacks.

    Raises:
        ValueError: a folder, device or settings that do not fit.
    """

    def __init__(
        self, settings: RunSettings, folder: Path, best: Selection | None, resume: bool, callbacks: Sequence[Callback]
    ) -> None:
        self.settings, self.folder, self.resume = settings, folder, resume
        self.last = folder / "checkpoints" / "last.ckpt"
        if is_rank_zero():  # the others find the folder that the first one makes
            _check_folder(folder, self.last, settings, resume)
        self.trainer = _trainer(settings, folder, callbacks, best)

    def fit(
        self, module: lightning.LightningModule, training: Prepared, validation: Prepared | None, *, workers: int = 0
    ) -> None:
        """Train a module on prepared items, which `workers` processes make; 0 makes them here."""
        loaders = (
            train_loader(training, self.settings.batch_size, self.settings.seed, workers),
            None if validation is None else eval_loader(validation, self.settings.batch_size, workers),
        )
        made = not self.folder.exists()
        if is_rank_zero():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.settings.save(self.folder / "settings.json")
        try:
            _fit(self.trainer, module, loaders, self.last if self.resume else None)
        except BaseException:
            if is_rank_zero() and not self.last.is_file():  # nothing to resume
                _clear(self.folder, keep=not made)
            raise


def _clear(folder: Path, keep: bool) -> None:
    """Remove what a training without a checkpoint left; the folder itself stays if it was there before."""
    if keep:
        (folder / "settings.json").unlink(missing_ok=True)
        for part in ("checkpoints", "log", "tensorboard"):
            shutil.rmtree(folder / part, ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def is_rank_zero() -> bool:
    """Return whether this process is the first of those that train together, mostly the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _fit(trainer: lightning.Trainer, module: Any, loaders: tuple[Any, Any], checkpoint: Path | None) -> None:
    """Run Lightning's loop, from a checkpoint if one is given."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            # Clouds are in memory, prepared: workers would only copy them; of images their number is a setting. Epochs
            # may be shorter than 50 steps.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
            warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
            trainer.fit(module, *loaders, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        # Lightning answers an interrupt by leaving the process, deaf to further ones: undo both.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop


def _check_folder(folder: Path, last: Path, settings: RunSettings, resume: bool) -> None:
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder}: the run folder exists; resume it (--resume), or choose another one (--run)")
        return
    if not last.is_file():
        raise ValueError(f"{folder}: nothing to resume, no {last.relative_to(folder)} in it; remove it to start anew")
    before = type(settings).load(folder / "settings.json")
    changed = settings.changed(before)
    if changed:
        raise ValueError(
            f"{folder}: cannot resume with other settings: "
            + ", ".join(f"{name} was {getattr(before, name)!r}, now {getattr(settings, name)!r}" for name in changed)
            + "; leave these out, or train anew in another folder (--run)"
        )


class _Checkpoint(ModelCheckpoint):
    """Known by its name in the folder, so that a run folder which was moved is resumed like any other."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a folder that may have been elsewhere."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def _trainer(
    settings: RunSettings, folder: Path, callbacks: Sequence[Callback], best: Selection | None
) -> lightning.Trainer:
    keep = folder / "checkpoints"
    # The best before the last: so last.ckpt knows what the best is.
    every: list[Callback] = []
    if settings.ema:
        every.append(WeightAveraging(use_buffers=True, avg_fn=moving_average(settings.ema)))
    if best is not None:
        every.append(_Checkpoint(keep, "best", monitor=best.value, mode=best.mode, enable_version_counter=False))
        if settings.patience:
            every.append(EarlyStopping(best.value, mode=best.mode, patience=settings.patience))
    every.append(_Checkpoint(keep, "last", every_n_epochs=1, enable_version_counter=False))
    loggers: list[Any] = [CSVLogger(folder, name="log")]
    if settings.tensorboard:
        try:
            loggers.append(TensorBoardLogger(folder, name="tensorboard"))
        except ModuleNotFoundError:
            raise ValueError("tensorboard is not installed: pip install 'pcsargmax[tensorboard]'") from None
    try:
        return _lightning_trainer(settings, [*every, *callbacks], loggers)
    except MisconfigurationException as error:
        raise ValueError(f"device {settings.device!r}, devices {settings.devices}: {error}") from None


def _lightning_trainer(settings: RunSettings, callbacks: list[Callback], loggers: list[Any]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if settings.device == "cuda" else settings.device,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=settings.precision,
        max_epochs=settings.epochs,
        callbacks=callbacks,
        logger=loggers,
        use_distributed_sampler=False,  # EpochSampler shares out the items itself
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The exponential moving average with a warm start: young averages forget the random weights they began with.

    Returns:
        (average, current, updates so far) -> average; the decay is min(decay, (1 + n) / (10 + n)).
    """

    def update(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        n = int(updates)
        return average + (1 - min(decay, (1 + n) / (10 + n))) * (current - average)

    return update
