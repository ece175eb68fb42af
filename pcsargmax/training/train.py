"""Training a detector, from settings to a run folder."""

from __future__ import annotations

import shutil
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.template import Template
from pcsargmax.training.data import (
    PreparedClouds,
    augmentation,
    eval_loader,
    is_folder,
    mix_seed,
    model_ids,
    open_dataset,
    prepare,
    train_loader,
)
from pcsargmax.training.detector_module import DetectorModule
from pcsargmax.training.run import CHECKPOINT_VERSION, Run, load_run
from pcsargmax.training.settings import TrainSettings

Progress = Callable[[str, int, int], None]


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
    """
    folder = Path(folder)
    last = folder / "checkpoints" / "last.ckpt"
    if leads():  # the others find the folder that the first one makes
        _check_folder(folder, last, settings, resume)
    trainer = _trainer(settings, folder, callbacks, validate=settings.val_split != "none")
    detector, training, validation, metadata = _prepare(settings, progress or (lambda *_: None))
    module = DetectorModule(detector, settings, metadata["unit"], metadata)
    loaders = (
        train_loader(training, settings.batch_size, settings.seed),
        None if validation is None else eval_loader(validation, settings.batch_size),
    )
    made = not folder.exists()
    if leads():
        folder.mkdir(parents=True, exist_ok=True)
        settings.save(folder / "settings.json")
    try:
        _fit(trainer, module, loaders, last if resume else None)
    except BaseException:
        if leads() and not last.is_file():  # nothing to resume
            _clear(folder, keep=not made)
        raise
    return load_run(folder)


def _clear(folder: Path, keep: bool) -> None:
    """Remove what a training without a checkpoint left; the folder itself stays if it was there before."""
    if keep:
        (folder / "settings.json").unlink(missing_ok=True)
        for part in ("checkpoints", "log", "tensorboard"):
            shutil.rmtree(folder / part, ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def leads() -> bool:
    """Whether this process is the first of those that train together, mostly the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _fit(trainer: lightning.Trainer, module: DetectorModule, loaders: tuple[Any, Any], checkpoint: Path | None) -> None:
    """Run Lightning's loop, from a checkpoint if one is given."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            # The clouds are in memory, prepared: workers would only copy them. Epochs may be shorter than 50 steps.
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


def _check_folder(folder: Path, last: Path, settings: TrainSettings, resume: bool) -> None:
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder}: the run folder exists; resume it, or choose another name")
        return
    if not last.is_file():
        raise ValueError(f"{folder}: nothing to resume, no {last.relative_to(folder)} in it; remove it to start anew")
    before = TrainSettings.load(folder / "settings.json").to_dict()
    after = settings.to_dict()
    free = {"device", "devices", "nodes", "precision", "patience", "tensorboard", "epochs"}
    samples = settings.objective in ("sampling", "closed_form")
    annealed = samples and settings.temperature_schedule in ("linear", "exponential")
    if settings.lr_schedule == "onecycle" or annealed:
        free.remove("epochs")  # cycle and annealing are made for the length of the training
    changed = [name for name in before if name not in free and before[name] != after[name]]
    if changed:
        raise ValueError(
            f"{folder}: cannot resume with other settings: "
            + ", ".join(f"{name} was {before[name]!r}, now {after[name]!r}" for name in changed)
        )


def _prepare(
    settings: TrainSettings, progress: Progress
) -> tuple[KeypointDetector, PreparedClouds, PreparedClouds | None, dict[str, Any]]:
    """Open and prepare the data; build the network."""
    raw = open_dataset(settings, settings.train_split, lambda i, n: progress("reading", i, n))
    held_out = None if settings.val_split == "none" else open_dataset(settings, settings.val_split)
    trained_on, chosen_by = model_ids(raw), [] if held_out is None else model_ids(held_out)
    if shared := set(trained_on) & set(chosen_by):
        raise ValueError(
            f"val_split {settings.val_split!r} and train_split {settings.train_split!r} share {len(shared)} shapes; "
            "take val_split 'none' to train without validation"
        )
    with torch.random.fork_rng(devices=[]):  # the weights follow the seed, the caller's generator stays as it was
        torch.default_generator.manual_seed(mix_seed(settings.seed, 1))
        detector = KeypointDetector(raw.num_keypoints, settings.backbone)

    def prepared(dataset: Any, what: str, split: str) -> list[Any]:
        items = []
        for i in range(len(dataset)):
            items.append(prepare(dataset[i], detector.backbone))
            progress(what, i + 1, len(dataset))
        if not any(item.keypoint_visible.any() for item, _ in items):
            raise ValueError(f"none of the keypoints is on any cloud of the split {split!r} of {settings.data}")
        return items

    items = prepared(raw, "preparing training clouds", settings.train_split)
    augment = augmentation(settings, [item for item, _ in items])
    training = PreparedClouds(items, detector.backbone, augment, settings.seed)
    validation = None
    if held_out is not None:
        clouds = prepared(held_out, "preparing validation clouds", settings.val_split)
        validation = PreparedClouds(clouds, detector.backbone)
    unit = settings.unit if settings.unit != "auto" else "diagonal" if is_folder(settings) else "raw"
    metadata = {
        "version": CHECKPOINT_VERSION,
        "kind": "keypoint_detector",
        "settings": settings.to_dict(),
        "keypoint_names": list(raw.keypoint_names),
        "unit": unit,
        "source": "folder" if is_folder(settings) else "category",
        "trained_on": trained_on,
        "chosen_by": chosen_by,
        "template": Template.fit(raw[i] for i in range(len(raw))).to_dict(),
    }
    return detector, training, validation, metadata


class _Checkpoint(ModelCheckpoint):
    """Known by its name in the folder, so that a run folder which was moved is resumed like any other."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a folder that may have been elsewhere."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})


def _trainer(settings: TrainSettings, folder: Path, callbacks: Sequence[Callback], validate: bool) -> lightning.Trainer:
    keep = folder / "checkpoints"
    # The best before the last: so last.ckpt knows what the best is.
    every: list[Callback] = []
    if settings.ema:
        every.append(WeightAveraging(use_buffers=True, avg_fn=moving_average(settings.ema)))
    if validate:
        every.append(_Checkpoint(keep, "best", monitor="val/score", mode="max", enable_version_counter=False))
        if settings.patience:
            every.append(EarlyStopping("val/score", mode="max", patience=settings.patience))
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


def _lightning_trainer(settings: TrainSettings, callbacks: list[Callback], loggers: list[Any]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if settings.device == "cuda" else settings.device,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        callbacks=callbacks,
        logger=loggers,
        use_distributed_sampler=False,  # EpochSampler shares out the clouds itself
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
