"""Where the images of a run come from: official files, procedural images, a folder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pcsargmax.datasets.images.dropped import left_out
from pcsargmax.settings.images import ImageSettings


def check_image_source(settings: ImageSettings) -> None:
    """Refuse images that are not there, before anything slow is imported.

    Raises:
        ValueError, FileNotFoundError: `settings.data` is neither a known name nor a folder, or the root of official
            files is not there.
    """
    if settings.source == "procedural" or settings.place.is_dir():
        return
    if settings.source == "official":
        raise FileNotFoundError(f"root: no such folder: {settings.place.absolute()}")
    raise ValueError(f"{settings.data}: no such folder, and not the name of a data set of images")


def open_images(settings: ImageSettings, split: str, *, boxes: str | Path | None = None) -> Any:
    """Open a split of what `settings.data` names: official files, procedural images, or a folder.

    Args:
        settings: of a run.
        split: of the data set.
        boxes: of COCO, a detector's boxes (JSON) in place of the annotated ones; not for training.

    Raises:
        ValueError: neither a known name nor a folder; errors of the data sets themselves.

    Warns:
        UserWarning: items of official files that were left out; a folder says so itself.
    """
    from pcsargmax.datasets import images

    check_image_source(settings)
    name, place = settings.data, settings.place
    if boxes is not None and name != "coco":
        raise ValueError(f"boxes: expected none for {name}, a detector's boxes are for coco; got {boxes}")
    if settings.source == "procedural":
        size = settings.size
        makers: dict[str, Any] = {
            "figures": lambda: images.ProceduralFigures(split, size=size),
            "figures3d": lambda: images.ProceduralFigures(split, size=size, dimension=3),
            "faces": lambda: images.ProceduralFaces(split, size=size),
            "slices": lambda: images.ProceduralSlices(split, size=size),
        }
        return makers[name]()
    if settings.source == "official":
        openers: dict[str, Any] = {
            "coco": lambda: images.CocoKeypoints(place, split, boxes=boxes),
            "h36m": lambda: images.Human36m(place, split),
            "mtfl": lambda: images.Mtfl(place, split),
            "retina": lambda: images.Mshc(place, split),
        }
        dataset = openers[name]()
        warn_left_out(dataset, f"{name}, split {split!r}")
        return dataset
    return images.ImageFolder(place, split, shares=settings.shares, split_seed=settings.split_seed)


def warn_left_out(dataset: Any, where: str) -> None:
    """Warn about items that were left out, by reason and number, and about subjects without any."""
    missing = getattr(dataset, "missing", ())
    lacking = left_out(getattr(dataset, "dropped", {})) + (f", no slice of {', '.join(missing)}" if missing else "")
    if lacking:
        warnings.warn(f"{where}: {lacking.removeprefix(', ')}", UserWarning, stacklevel=3)
