"""Where the clouds of a run come from: folders, categories, HDF5 files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pcsargmax.datasets.keypointnet_files import find_category
from pcsargmax.settings.common import CloudSettings
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.settings.discovery import DiscoverSettings

#: Dense points kept of a surface for each one that a second look, or each copy, chooses from.
_DENSE_POOL = 4


def check_source(settings: CloudSettings) -> None:
    """Refuse data that are not there, before anything slow is imported.

    Raises:
        ValueError, FileNotFoundError: `settings.data` is neither a folder nor a category below `settings.root`.
    """
    if is_folder(settings):
        return
    if Path(settings.data).name != settings.data:
        raise ValueError(f"{settings.data}: no such folder, and not the name of a category")
    if not (isinstance(settings, DiscoverSettings) and any(Path(settings.root).glob("*.h5"))):
        try:
            find_category(Path(settings.root), settings.data)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{settings.data}: no such folder, and no such category: {error}") from None


def dense_pool(settings: CloudSettings, copies: int = 1) -> int:
    """Number of dense points to take of a surface: none unless the run has a second look, or looks at several copies.

    They are more than a second look takes, so that a training, or a copy, takes others every time.
    """
    if isinstance(settings, TrainSettings) and (settings.looks == 2 or copies > 1):
        return _DENSE_POOL * settings.dense_points
    return 0


def open_dataset(
    settings: TrainSettings, split: str, progress: Callable[[int, int], None] | None = None, *, copies: int = 1
) -> Any:
    """Open a split of what `settings.data` names: a LandmarkFolder where it is a folder, else a KeypointNet category.

    Raises:
        ValueError: neither a folder nor a category; errors of the data sets themselves.
    """
    from pcsargmax.datasets.keypointnet import KeypointNet

    check_source(settings)
    if is_folder(settings):
        if settings.ids is not None:
            raise ValueError(f"ids are for KeypointNet's semantic ids; {settings.data} is a folder of landmarks")
        if settings.symmetry != "none":
            raise ValueError(
                f"symmetry {settings.symmetry!r} is for KeypointNet's annotated symmetries; {settings.data} is a "
                "folder of landmarks"
            )
        return open_folder(settings, split, progress, dense_points=dense_pool(settings, copies))
    return KeypointNet(settings.root, settings.data, split, ids=settings.ids, progress=progress)


def open_folder(
    settings: CloudSettings,
    split: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    unlabelled: bool = False,
    dense_points: int = 0,
) -> Any:
    """Open a split of the folder `settings.data` as a LandmarkFolder, whose clouds may lack landmarks if unlabelled."""
    from pcsargmax.datasets.landmarks import LandmarkFolder

    return LandmarkFolder(
        settings.data,
        split,
        num_points=settings.num_points,
        dense_points=dense_points,
        seed=settings.split_seed,
        shares=settings.shares,
        mesh_frame=settings.mesh_frame,
        unlabelled=unlabelled,
        progress=progress,
    )


def is_folder(settings: CloudSettings) -> bool:
    """Whether the data are a folder of the user's own; a category below `root` of the same name goes first."""
    annotations = Path(settings.root) / "annotations" / f"{settings.data}.json"
    return Path(settings.data).is_dir() and not annotations.is_file()


def model_ids(dataset: Any) -> list[str]:
    """The name of each shape of a data set."""
    return [dataset[i].model_id for i in range(len(dataset))]


def source_of(settings: DiscoverSettings) -> str:
    """What the data are: "folder", "shapenet_h5" or "category"."""
    from pcsargmax.datasets.shapenet import h5_files

    if is_folder(settings):
        return "folder"
    return "shapenet_h5" if h5_files(settings.root) else "category"


def open_clouds(settings: DiscoverSettings, split: str, progress: Callable[[int, int], None] | None = None) -> Any:
    """Open a split of what `settings.data` names.

    A folder is a LandmarkFolder whose clouds may lack landmarks, a category is one of KeypointNet's layout, or of the
    HDF5 files where `settings.root` holds such.

    Raises:
        ValueError: neither a folder nor a category; errors of the data sets themselves.
    """
    from pcsargmax.datasets.keypointnet import KeypointNet
    from pcsargmax.datasets.shapenet import ShapeNetH5

    check_source(settings)
    source = source_of(settings)
    if source == "folder":
        return open_folder(settings, split, progress, unlabelled=True)
    if source == "shapenet_h5":
        return ShapeNetH5(settings.root, settings.data, split, axes=settings.axes, progress=progress)
    return KeypointNet(settings.root, settings.data, split, progress=progress)
