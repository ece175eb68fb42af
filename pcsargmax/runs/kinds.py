"""The kinds of finished runs, apart from `load_run`, which imports them only once it has found a checkpoint."""

from __future__ import annotations

from typing import TypeAlias

from pcsargmax.runs.detector import Run
from pcsargmax.runs.discovery import DiscoverRun
from pcsargmax.runs.images import ImageRun
from pcsargmax.runs.surfaces import SurfaceRun

#: A run on clouds.
CloudRun: TypeAlias = Run | DiscoverRun
#: A run on images.
AnyImageRun: TypeAlias = ImageRun | SurfaceRun
#: A run of any kind.
AnyRun: TypeAlias = CloudRun | AnyImageRun

#: The class of each kind, by its name in checkpoints.
RUN_BY_KIND: dict[str, type[AnyRun]] = {run.kind: run for run in (Run, DiscoverRun, ImageRun, SurfaceRun)}
