"""How far an experiment is, told by the process that runs it to whoever watches."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Status:
    """How far an experiment is, in a file.

    Its values: "phase" ("starting", "reading", "training", "evaluating" or "done"), "done" and "total" (of epochs or
    shapes), "since" (Unix time at which the phase began here), "before" (what was done by then), "train_seconds" (over
    all sittings, up to the last epoch that was kept), "evaluate_seconds", "commits" (of the code in all sittings),
    "data_hash" (of what it is trained on), and "notes" (what was moved aside, and why). Those of training are None
    where they are not known.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        before = read_status(file)
        self.values = {"train_seconds": None, "commits": None, "data_hash": None, "notes": []} | before
        if self.values.get("phase") == "done":
            self.values["notes"] = []  # they were told; those of a sitting that was cut off were not
        self.phase("starting")

    def phase(self, name: str, **values: Any) -> None:
        """Begin a phase."""
        self.write(phase=name, since=time.time(), **{"done": 0, "total": 0, "before": 0, **values})

    def note(self, text: str) -> None:
        """Tell of something that was found broken."""
        print(text, flush=True)  # the log's
        self.write(notes=[*self.values["notes"], text])

    def write(self, **values: Any) -> None:
        """Keep values. Not synced to the disk: it is worth nothing after a crash of the machine."""
        self.values |= values
        temporary = self.file.with_name(f".{self.file.name}-{os.getpid()}")
        temporary.write_text(json.dumps(self.values))
        temporary.replace(self.file)


def read_status(file: Path) -> dict[str, Any]:
    """What a status file holds; empty where there is none."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
