"""Open runs of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch

from pcsargmax.runs.base import Checkpoint, open_checkpoint, usable_device
from pcsargmax.runs.detector import Run, open_detector
from pcsargmax.runs.discovery import DiscoverRun, open_discovery
from pcsargmax.runs.images import ImageRun, open_image_run
from pcsargmax.runs.surfaces import SurfaceRun, open_surface_run

#: A run of any kind.
AnyRun: TypeAlias = Run | DiscoverRun | ImageRun | SurfaceRun


def load_run(path: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> AnyRun:
    """Open a run folder or a checkpoint file; nothing in the file is executed.

    Args:
        path: a run folder, or a .ckpt file of one.
        checkpoint: "best" or "last"; where there is no best one, the last is taken.
        device: where the network is put.

    Returns:
        Of a run that `train` left a Run, of one that `discover` left a DiscoverRun, and of one that `train_images` left
        an ImageRun or, of slices, a SurfaceRun.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: not a pcsargmax checkpoint, or one of another version.

    Example:
        >>> from pcsargmax import TrainSettings, load_run, make_procedural, train
        >>> counts = make_procedural("data", ["mug"], models=10, num_points=128)
        >>> _ = train(TrainSettings(data="mug", root="data", backbone="light", epochs=1), "runs/mug")
        >>> run = load_run("runs/mug")
        >>> item = run.dataset("test")[0]
        >>> run.predict(item).position.shape  # K keypoints, x y z in the units of the file
        (11, 3)
    """
    found = open_checkpoint(path, checkpoint)
    place = usable_device(device)
    openers: dict[str, Callable[[Checkpoint, torch.device], AnyRun]] = {
        "keypoint_detector": open_detector,
        "skeleton_merger": open_discovery,
        "image_keypoints": open_image_run,
        "image_surfaces": open_surface_run,
    }
    try:
        return openers[found.metadata["kind"]](found, place)
    except RuntimeError as error:
        raise ValueError(f"{found.file}: a damaged checkpoint: its weights do not fit its settings") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{found.file}: a damaged checkpoint: {type(error).__name__}: {error}") from error


def load_cloud_run(path: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> Run | DiscoverRun:
    """Open a run on clouds, as `load_run`; a run on images is a ValueError."""
    found = load_run(path, checkpoint=checkpoint, device=device)
    if not isinstance(found, Run | DiscoverRun):
        raise ValueError(f"{path}: expected a run on clouds, got one on images")
    return found
