"""Experiments side by side on this machine, each in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Literal

from pcsargmax.benchmark.engine import Ended, Work, check_jobs, write_to
from pcsargmax.benchmark.experiments import Experiment
from pcsargmax.benchmark.worker import Places, run_experiment

#: Exit status of a process that found its experiment taken (EX_TEMPFAIL).
_ELSEWHERE = 75
#: Seconds that a process is given to end by itself.
_PATIENCE = 10.0


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Worker:
    experiment: Experiment
    process: BaseProcess
    slot: int


class ProcessEngine:
    """Runs each experiment in a fresh process; one that dies takes no other with it.

    The processes end when the one that started them does, in whatever way. Where there are GPUs, they are dealt out in
    turn, so that several processes may share one.

    Args:
        jobs: how many at once.
        threads: of each; 0 for its share of the cores.
        work: what a process does; must be importable by its name.

    Raises:
        ValueError: a number that does not fit.
    """

    def __init__(self, jobs: int = 1, threads: int = 0, work: Work = run_experiment) -> None:
        check_jobs(jobs, threads)
        self.jobs = jobs
        self.threads = threads or max(1, usable_cores() // jobs)
        self._work = work
        self._context = get_context("spawn")  # a forked torch may hang
        self._workers: list[_Worker] = []

    def start(self, experiment: Experiment, places: Places) -> None:
        """Begin an experiment."""
        taken = {worker.slot for worker in self._workers}
        slot = next(number for number in range(self.jobs) if number not in taken)
        process = self._context.Process(
            target=_main, args=(self._work, experiment, places, self.threads, slot), name=experiment.name
        )
        process.start()
        self._workers.append(_Worker(experiment, process, slot))

    def ended(self, timeout: float) -> list[Ended]:
        """Wait until an experiment ends, or for `timeout` seconds; those that have ended."""
        connection.wait([worker.process.sentinel for worker in self._workers], timeout)
        over = [worker for worker in self._workers if not worker.process.is_alive()]
        self._workers = [worker for worker in self._workers if worker not in over]
        return [Ended(worker.experiment, *_outcome(worker.process)) for worker in over]

    def stop(self) -> None:
        """End all processes; what they have done up to the last whole epoch stays."""
        processes = [worker.process for worker in self._workers]
        for process in processes:
            process.terminate()
        until = time.monotonic() + _PATIENCE
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._workers = []


def _outcome(process: BaseProcess) -> tuple[Literal["done", "elsewhere", "failed"], str]:
    process.join()
    code = process.exitcode
    if code in (0, _ELSEWHERE):
        return ("elsewhere" if code else "done"), ""
    if code is not None and code < 0:
        return "failed", f"killed by {signal.Signals(-code).name}"
    return "failed", f"ended with exit code {code}"


def _main(work: Work, experiment: Experiment, places: Places, threads: int, slot: int) -> None:
    """What the process of an experiment does; torch is imported only here, after the environment is set."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    write_to(places.log(experiment))
    if experiment.settings.device != "cpu":
        _choose_gpu(slot)
    if work(experiment, places, threads) == "elsewhere":
        sys.exit(_ELSEWHERE)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _choose_gpu(slot: int) -> None:
    """Take one of the GPUs, if there are several; torch counts them without beginning to use CUDA."""
    import torch

    count = torch.cuda.device_count()
    if count > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % count]
