"""Open runs of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pcsargmax.runs.checkpoint import open_checkpoint

if TYPE_CHECKING:
    from pcsargmax.runs.kinds import AnyRun, CloudRun


def load_run(path: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> AnyRun:
    """Open a run folder or a checkpoint file; nothing in the file is executed.

    Args:
        path: a run folder, or a .ckpt file of one.
        checkpoint: "best" or "last"; where there is no best one, the last is taken.
        device: where the network is put.

    Returns:
        A Run for what `train` left, a DiscoverRun for what `discover` left, and an ImageRun or, for slices, a
        SurfaceRun for what `train_images` left.

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
    content = open_checkpoint(path, checkpoint)
    from pcsargmax.runs.base import usable_device
    from pcsargmax.runs.kinds import RUN_BY_KIND

    place = usable_device(device)
    try:
        return RUN_BY_KIND[content.metadata["kind"]].from_checkpoint(content, place)
    except RuntimeError as error:
        raise ValueError(f"{content.file}: a damaged checkpoint: its weights do not fit its settings") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{content.file}: a damaged checkpoint: {type(error).__name__}: {error}") from error


def load_cloud_run(path: str | Path, *, checkpoint: str = "best", device: str = "cpu") -> CloudRun:
    """Open a run on clouds, as `load_run`; a run on images is a ValueError."""
    run = load_run(path, checkpoint=checkpoint, device=device)
    if run.modality == "image":
        raise ValueError(f"{path}: expected a run on clouds, got one on images")
    return run
