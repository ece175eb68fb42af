import os
import time

from rich.console import Console

from pcsargmax.benchmark.experiments import plan
from pcsargmax.benchmark.runner import State
from pcsargmax.benchmark.sources import Source
from pcsargmax.commands.shared.benchmark_progress import duration, overview, told


def states():
    experiments = plan([Source("box", "box")], ["soft"], range(6))
    phases = ("kept", "done", "failed", "running", "running", "waiting")
    found = [State(one, phase) for one, phase in zip(experiments, phases, strict=True)]
    found[3].status = {"phase": "training", "done": 6, "total": 10, "before": 2, "since": time.time() - 120}
    return found


def test_the_overview_shows_what_runs_and_counts_the_rest():
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(overview(states()))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines == [
        ["box-detector-soft-seed3", "training", "6/10", "2", "min", "left"],
        ["box-detector-soft-seed4", "starting"],
        ["3/6", "over:", "1", "kept,", "1", "done,", "1", "failed,", "2", "running,", "1", "waiting"],
    ]


def test_time_left_counts_the_epochs_of_this_sitting():
    status = {"phase": "training", "done": 6, "total": 10, "before": 5, "since": time.time() - 10}
    assert told(status) == ("training", "6/10", "40 s left")
    assert told(status | {"before": 6}) == ("training", "6/10", "")
    assert told({}) == ("starting", "", "")


def test_durations_are_told_in_few_signs():
    assert [duration(seconds) for seconds in (45, 89.4, 200, 9000)] == ["45 s", "89 s", "3 min", "2.5 h"]
