"""The clouds that keypoints are discovered on: any data set of the package, landmarks or annotations or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch_geometric.transforms import BaseTransform, Compose

from pcsargmax.datasets.keypointnet import KeypointNet
from pcsargmax.datasets.shapenet import ShapeNetH5, h5_files
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.training.detector.data import is_folder, open_folder
from pcsargmax.transforms.augment import RandomJitter, RandomRotation
from pcsargmax.transforms.frames import NormalizeMinMax


def source_of(settings: DiscoverSettings) -> str:
    """What the data are: "folder", "shapenet_h5" or "category"."""
    if is_folder(settings):
        return "folder"
    return "shapenet_h5" if h5_files(settings.root) else "category"


def frame_of(settings: DiscoverSettings) -> NormalizeMinMax:
    """The transform into the frame of the run."""
    centered = settings.frame == "centered" or (settings.frame == "auto" and source_of(settings) == "folder")
    return NormalizeMinMax(centered=centered)


def open_clouds(settings: DiscoverSettings, split: str, progress: Callable[[int, int], None] | None = None) -> Any:
    """Open a split of what `settings.data` names.

    A folder is a LandmarkFolder whose clouds may lack landmarks, a category is one of KeypointNet's layout, or of the
    HDF5 files where `settings.root` holds such.

    Raises:
        ValueError: neither a folder nor a category; errors of the data sets themselves.
    """
    source = source_of(settings)
    if source == "folder":
        return open_folder(settings, split, progress, unlabelled=True)
    if Path(settings.data).name != settings.data:
        raise ValueError(f"{settings.data}: no such folder, and not the name of a category")
    if source == "shapenet_h5":
        return ShapeNetH5(settings.root, settings.data, split, axes=settings.axes, progress=progress)
    return KeypointNet(settings.root, settings.data, split, progress=progress)


def discover_augmentation(settings: DiscoverSettings) -> Compose | None:
    """The random transforms of the settings; None where there are none."""
    steps: list[BaseTransform] = []
    if settings.rotate:
        steps.append(RandomRotation(settings.rotate, settings.rotate_axis))
    if settings.jitter:
        steps.append(RandomJitter(settings.jitter, clip=3 * settings.jitter))
    return Compose(steps) if steps else None
