"""What runs experiments side by side: processes of this machine, or Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pcsargmax.benchmark.experiments import Experiment
from pcsargmax.benchmark.worker import Outcome, Places

Work = Callable[[Experiment, Places, int], Outcome]
"""What an engine runs for an experiment, `run_experiment` but in tests: experiment, places and threads."""


class Ended(NamedTuple):
    """An experiment that is no longer running.

    Attributes:
        experiment: which.
        outcome: "done", "elsewhere" (another process is at it) or "failed".
        cause: of a failure, in a few words.
    """

    experiment: Experiment
    outcome: Literal["done", "elsewhere", "failed"]
    cause: str = ""


class Engine(Protocol):
    """Runs `run_experiment` for experiments, at most `jobs` at once."""

    jobs: int

    def start(self, experiment: Experiment, places: Places) -> None:
        """Begin an experiment; there must be room for it."""

    def ended(self, timeout: float) -> list[Ended]:
        """Wait until an experiment ends, or for `timeout` seconds; those that have ended since the last call."""

    def stop(self) -> None:
        """End what still runs, and the engine; what was done up to the last whole epoch stays."""


def check_jobs(jobs: int, threads: int) -> None:
    """Raise ValueError for numbers that no engine can take."""
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if threads < 0:
        raise ValueError(f"threads must be at least 1, or 0 for a share of the cores, got {threads}")


def write_to(log: Path) -> None:
    """Send all that this process prints from now on, down to the messages of a crash, to the end of a file."""
    import faulthandler

    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable()
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}", flush=True)
