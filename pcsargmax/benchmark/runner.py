"""A benchmark from wherever it stands to its last result: a queue of experiments, an engine, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcsargmax.benchmark.engine import Ended, Engine
from pcsargmax.benchmark.experiments import Experiment
from pcsargmax.benchmark.results import BrokenResult, kept_result
from pcsargmax.benchmark.status import read_status
from pcsargmax.benchmark.worker import Places

Phase = Literal["waiting", "running", "elsewhere", "kept", "done", "failed"]

#: Seconds after which an experiment that another process was at is looked at again.
RETRY_SECONDS = 5.0


@dataclass
class State:
    """Where an experiment stands.

    Attributes:
        experiment: which.
        phase: "waiting", "running", "elsewhere" (another benchmark is at it), "kept" (its result was there before),
            "done" or "failed".
        status: of a running one, see `Status`.
        notes: what was found broken and moved aside.
        error: of a failed one: its cause, and the last lines of its log.
    """

    experiment: Experiment
    phase: Phase = "waiting"
    status: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    retry: float = 0.0

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do for it."""
        return self.phase in ("kept", "done", "failed")


def run_benchmark(
    experiments: Sequence[Experiment],
    places: Places,
    engine: Engine,
    *,
    progress: Callable[[Sequence[State]], None] | None = None,
    stopping: Callable[[], None] | None = None,
    poll: float = 0.5,
) -> list[State]:
    """Run all experiments that have no result yet.

    A benchmark that was interrupted goes on by being run again. Several may run at once on the same folders: none runs
    what another is at, and each waits until all its experiments are over.

    Args:
        experiments: of distinct names.
        places: where results and runs are kept.
        engine: what runs them; it is stopped at the end, also by an exception.
        progress: called with all states every `poll` seconds.
        stopping: called at once when it is interrupted; to stop the engine may take seconds.
        poll: seconds.

    Returns:
        The states, all of them over.

    Raises:
        KeyboardInterrupt: interrupted; every running experiment is stopped.
    """
    states = {one.name: State(one) for one in experiments}
    tell = progress or (lambda _: None)
    try:
        for state in states.values():
            _look(state, places, "kept")
        while not all(state.over for state in states.values()):
            _start(states.values(), places, engine)
            tell(list(states.values()))
            if not any(state.phase == "running" for state in states.values()):
                time.sleep(poll)  # all that is left runs elsewhere
            for end in engine.ended(poll):
                _end(states[end.experiment.name], end, places)
            for state in states.values():
                if state.phase == "running":
                    state.status = read_status(places.status(state.experiment))
        tell(list(states.values()))
    except KeyboardInterrupt:
        if stopping is not None:
            stopping()
        raise
    finally:
        engine.stop()
    return list(states.values())


def _look(state: State, places: Places, found: Literal["kept", "done"]) -> None:
    """See whether the result is there."""
    try:
        if kept_result(places.result(state.experiment), state.experiment) is not None:
            state.phase = found
    except BrokenResult:
        pass  # it is moved aside, under the lock, by the process that runs the experiment
    except (ValueError, OSError) as error:
        state.phase, state.error = "failed", str(error)


def _start(states: Iterable[State], places: Places, engine: Engine) -> None:
    """Start what there is room for."""
    room = engine.jobs - sum(state.phase == "running" for state in states)
    for state in states:
        if room <= 0:
            return
        if state.over or state.phase == "running" or time.monotonic() < state.retry:
            continue
        _look(state, places, "done")  # another benchmark may have come to it first
        if state.over:
            continue
        if places.is_locked(state.experiment):
            _leave(state)
            continue
        engine.start(state.experiment, places)
        state.phase, room = "running", room - 1


def _leave(state: State) -> None:
    state.phase, state.retry = "elsewhere", time.monotonic() + RETRY_SECONDS


def _end(state: State, end: Ended, places: Places) -> None:
    """Take note of how a run ended."""
    if end.outcome == "elsewhere":
        _leave(state)
        return
    state.notes += read_status(places.status(state.experiment)).get("notes", [])
    if end.outcome == "done":
        state.phase = "done"
    else:
        log = places.log(state.experiment)
        state.phase, state.error = "failed", "\n".join([f"{end.cause}; {log} ends with", *last_lines(log)])


def last_lines(file: Path, count: int = 15) -> list[str]:
    """The last lines of a text file, as far as they are within its last 20 kB; none where it is not there."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 20_000))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
