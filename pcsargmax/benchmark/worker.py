"""One experiment from wherever it stands to its result; every engine runs this function."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pcsargmax.benchmark.experiments import Experiment, differing
from pcsargmax.benchmark.results import BrokenResult, commit, kept_result, machine, make_result, write_result
from pcsargmax.benchmark.status import Status
from pcsargmax.settings.common import RunSettings

Outcome = Literal["done", "elsewhere"]


@dataclass(frozen=True)
class Places:
    """Where a benchmark keeps what.

    Attributes:
        results: folder of the results, one JSON file for each experiment.
        runs: folder of the run folders, and of their logs below `logs`.
    """

    results: Path
    runs: Path

    def result(self, experiment: Experiment) -> Path:
        """The result file."""
        return self.results / f"{experiment.name}.json"

    def run(self, experiment: Experiment) -> Path:
        """The run folder."""
        return self.runs / experiment.name

    def log(self, experiment: Experiment) -> Path:
        """What the experiment printed."""
        return self.runs / "logs" / f"{experiment.name}.log"

    def status(self, experiment: Experiment) -> Path:
        """How far it is."""
        return self.runs / "logs" / f"{experiment.name}.status"

    @contextmanager
    def lock(self, experiment: Experiment) -> Iterator[None]:
        """Keep an experiment to one process; a lock is the operating system's, and ends with its process.

        Both folders are locked, as two benchmarks may share the one and not the other.

        Raises:
            Timeout: another process has it.
        """
        with _locked(self.results, experiment.name), _locked(self.runs, experiment.name):
            yield

    def is_locked(self, experiment: Experiment) -> bool:
        """Whether another process is at the experiment."""
        try:
            with self.lock(experiment):
                return False
        except Timeout:
            return True


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    ignored = locks / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")
    with FileLock(locks / f"{name}.lock", timeout=0):
        yield


def run_experiment(experiment: Experiment, places: Places, threads: int = 1) -> Outcome:
    """Train, evaluate and keep the result; do only what is missing of it.

    A result that is there is left as it is; a run folder that was trained to its end is only evaluated; one that was
    not goes on from its last whole epoch, as if nothing had happened. What is broken is moved aside, and named in log
    and status.

    Args:
        experiment: what to run.
        places: where its files are.
        threads: of torch.

    Returns:
        "done", or "elsewhere" where another process is at it.

    Raises:
        ValueError, OSError: settings or data that do not fit; a result of other settings has the name.
    """
    try:
        with places.lock(experiment):
            _clear_temporaries(experiment, places)
            status = Status(places.status(experiment))
            if not _has_result(experiment, places, status):
                _run(experiment, places, status, threads)
            status.phase("done")
            return "done"
    except Timeout:
        return "elsewhere"


def _run(experiment: Experiment, places: Places, status: Status, threads: int) -> None:
    import torch

    from pcsargmax.runs.base import usable_device

    torch.set_num_threads(threads)
    folder, device = places.run(experiment), experiment.settings.device
    stage = _stage(folder, experiment, status)
    if stage == "new":
        status.write(train_seconds=0.0, commits=[], data_hash=experiment.data_hash)
    else:
        _follow_data(folder, experiment.settings)
    _add_commit(status)
    if stage != "trained":
        _train(experiment, folder, stage == "resumable", status)
    metrics = _evaluate(experiment, folder, device, status)
    seconds = {"train": status.values["train_seconds"], "evaluate": status.values["evaluate_seconds"]}
    code = ", ".join(status.values["commits"] or ()) or None
    told = make_result(experiment, metrics, seconds, machine(threads, str(usable_device(device))), code)
    write_result(places.result(experiment), told)


def _add_commit(status: Status) -> None:
    """Take note of the code of this sitting, if that of those before is known."""
    known, code = status.values["commits"], commit()
    if known is not None and code is not None and code not in known:
        status.write(commits=[*known, code])


def _has_result(experiment: Experiment, places: Places, status: Status) -> bool:
    file = places.result(experiment)
    try:
        return kept_result(file, experiment) is not None
    except BrokenResult as error:
        status.note(f"{error}; moved to {_move_aside(file).name}, run anew")
        return False


def _clear_temporaries(experiment: Experiment, places: Places) -> None:
    """Remove what writers left half-written when they were killed."""
    for file in [
        *places.results.glob(f".{experiment.name}-*.json"),
        *places.status(experiment).parent.glob(f".{experiment.name}.status-*"),
        *places.run(experiment).glob("checkpoints/.*.ckpt"),
    ]:
        file.unlink()


def _move_aside(path: Path) -> Path:
    """Rename a file or folder to the first free of NAME.broken, NAME.broken-2, …"""
    number, aside = 1, path.with_name(f"{path.name}.broken")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.broken-{number}")
    path.rename(aside)
    return aside


def _stage(folder: Path, experiment: Experiment, status: Status) -> Literal["new", "resumable", "trained"]:
    """What there is of a run; a folder that is no use is taken out of the way."""
    if not folder.exists():
        return "new"
    last = folder / "checkpoints" / "last.ckpt"
    try:
        if not folder.is_dir():
            raise ValueError(f"{folder}: not a folder")
        own = {path.name for path in folder.iterdir()} <= {"settings.json", "checkpoints", "log"}
        begun = status.values["train_seconds"] == 0 or not any(folder.rglob("*.ckpt"))
        if not last.is_file() and own and begun:
            shutil.rmtree(folder)  # the first epoch never ended
            return "new"
        return _stage_of_checkpoint(last, experiment, status)
    except (ValueError, KeyError, FileNotFoundError) as error:  # but not what may pass, such as a full disk
        status.note(f"{error}; moved to {_move_aside(folder).name}, run anew")
        return "new"


def _stage_of_checkpoint(last: Path, experiment: Experiment, status: Status) -> Literal["resumable", "trained"]:
    from pcsargmax.runs.checkpoint import read_checkpoint
    from pcsargmax.runs.load import load_run

    folder, content = last.parents[1], read_checkpoint(last)
    for checkpoint in ("best", "last"):
        load_run(folder, checkpoint=checkpoint)  # both must be whole, and of the network as it is now
    told = content["pcsargmax"]
    kept = told["settings"] | {"data": experiment.data, "data_hash": status.values["data_hash"]}
    if changed := differing(kept, experiment.counted | {"data_hash": experiment.data_hash}):
        raise ValueError(f"{folder}: a run of other settings: {'; '.join(changed)}")
    if not _ended(content, experiment.settings):
        return "resumable"
    unnamed = told["kind"] == "skeleton_merger" and told["correspondence"] is None and told["annotations"]
    return "resumable" if unnamed else "trained"  # a discovery names its keypoints when its last epoch is over


def _follow_data(folder: Path, settings: RunSettings) -> None:
    """Let a run go on where its data have moved."""
    from pcsargmax.io.atomic import atomic_path

    with atomic_path(folder / "settings.json") as temporary:
        settings.save(temporary)


def _ended(content: dict[str, Any], settings: RunSettings) -> bool:
    """Whether a checkpoint is that of the last epoch, be it the last for want of patience."""
    stopped = any(
        state.get("stopped_epoch", 0) > 0
        for name, state in content.get("callbacks", {}).items()
        if name.startswith("EarlyStopping")
    )
    return stopped or content["epoch"] + 1 >= settings.epochs


def _train(experiment: Experiment, folder: Path, resume: bool, status: Status) -> None:
    from pcsargmax.training.detector.train import train
    from pcsargmax.training.discovery.train import discover
    from pcsargmax.training.images.train import train_images

    def reading(what: str, done: int, total: int) -> None:
        if done == total:
            print(f"{what}: {done}", flush=True)

    status.phase("reading")
    training: dict[str, Callable[..., Any]] = {"detector": train, "discovery": discover, "images": train_images}
    callbacks = [_epochs(status)]
    training[experiment.kind](experiment.settings, folder, resume=resume, callbacks=callbacks, progress=reading)


def _epochs(status: Status) -> Any:
    """A Lightning callback that keeps the status."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

    class Epochs(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.start, self.before, self.spent = time.monotonic(), status.values["train_seconds"], 0.0
            epoch = trainer.current_epoch
            status.phase("training", done=epoch, before=epoch, total=int(trainer.max_epochs or 0))

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.spent = time.monotonic() - self.start
            status.write(done=trainer.current_epoch + 1)
            loss = trainer.callback_metrics.get("train/loss")
            told = "" if loss is None else f"  loss {float(loss):.4f}"
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}{told}  {self.spent:.0f} s", flush=True)

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._keep_seconds()

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._keep_seconds()

        def _keep_seconds(self) -> None:
            """Only now: at the end of the epoch its checkpoint was yet to be written."""
            if self.before is not None and self.spent:
                status.write(train_seconds=self.before + self.spent)

    return Epochs()


def _evaluate(experiment: Experiment, folder: Path, device: str, status: Status) -> dict[str, Any]:
    from pcsargmax.runs.load import load_run

    status.phase("evaluating")

    def count(done: int, total: int) -> None:
        status.write(done=done, total=total)

    start = time.monotonic()
    run = load_run(folder, device=device)
    settings = experiment.settings
    run = run.with_data(settings.data if run.source == "folder" else settings.root)
    evaluate: Callable[..., dict[str, Any]] = run.evaluate
    protocols: dict[str, Any] = {}
    if experiment.kind == "detector":  # a folder of landmarks annotates no symmetries
        protocols = {"geodesic": True, "symmetry": "none" if run.source == "folder" else "all"}
    metrics = evaluate(run.default_split, **protocols, progress=count)
    status.values["evaluate_seconds"] = time.monotonic() - start
    return metrics
