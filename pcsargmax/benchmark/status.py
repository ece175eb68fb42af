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
    all sittings, up to the last whole epoch; None where that is not known), "evaluate_seconds", and "notes" (what was
    moved aside, and why).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values = read_status(file) | {"phase": "starting", "done": 0, "total": 0, "before": 0}
        self.values.setdefault("train_seconds", None)
        self.values["notes"] = []
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
