"""How far a benchmark is: a table that is drawn anew on a terminal, a line for each experiment that ends elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pcsargmax.benchmark.runner import State
from pcsargmax.commands.shared.progress import console


@contextmanager
def benchmark_progress() -> Iterator[Callable[[Sequence[State]], None]]:
    """Show the states that the function is called with, while the block runs."""
    said: set[str] = set()

    def say(states: Sequence[State]) -> None:
        for state in states:
            if state.over and state.phase != "kept" and state.experiment.name not in said:
                said.add(state.experiment.name)
                console.print(f"{state.phase}: {state.experiment.name}", highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield say
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def draw(states: Sequence[State]) -> None:
            say(states)
            live.update(overview(states))

        yield draw


def overview(states: Sequence[State]) -> RenderableType:
    """The running experiments, and how many are where."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for state in states:
        if state.phase == "running":
            table.add_row(state.experiment.name.rpartition("-")[0], *told(state.status))
    counts = Counter(state.phase for state in states)
    ended = sum(state.over for state in states)
    parts = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    return Group(table, Text(f"{ended}/{len(states)} over: {parts}"))


def told(status: dict[str, Any]) -> tuple[str, str, str]:
    """What a running experiment is at, how far it is, and how long that will take yet."""
    phase, done, total = status.get("phase", "starting"), status.get("done", 0), status.get("total", 0)
    if not total:
        return phase, "", ""
    fresh = done - status.get("before", 0)
    left = (time.time() - status["since"]) / fresh * (total - done) if fresh > 0 else None
    return phase, f"{done}/{total}", "" if left is None else f"{duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
