"""Fetch a category of KeypointNet from its Hugging Face data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsargmax.datasets.cache import cache_folder
from pcsargmax.datasets.keypointnet_files import (
    CLASS_IDS,
    SPLITS,
    cloud_path,
    mesh_path,
    read_category,
)

REPOSITORY = "qq456cvb/KeypointNet"
"""The Hugging Face data set (MIT licence; the meshes are ShapeNet's, under its terms)."""


@dataclass(frozen=True)
class Download:
    """What lies under the root now: annotated models, and those that lack a cloud (or mesh, if asked)."""

    category: str
    class_id: str
    models: int
    missing: tuple[str, ...]


def download_keypointnet(
    root: str | Path,
    category: str,
    *,
    meshes: bool = False,
    revision: str = "main",
    endpoint: str | None = None,
    progress: bool = False,
) -> Download:
    """Fetch annotations, clouds and splits of an official category into `root`, in KeypointNet's layout.

    Files come one by one and appear under their names only when whole; a broken download goes on where it
    stopped when called again, and what is there is not fetched again. Nothing is asked of the network where
    the category is complete.

    Args:
        root: folder to fetch into, made where it is missing.
        category: one of the 16 names of KeypointNet, or its class id.
        meshes: fetch the coloured meshes (ShapeNetCore.v2.ply) too.
        revision: branch, tag or commit of the data set.
        endpoint: another server with the Hugging Face interface.
        progress: show bars on the standard error stream.

    Raises:
        ValueError: not a category of KeypointNet.
        ConnectionError: the server cannot be reached, or broke off; it says what to do.
        FileNotFoundError: the data set does not hold the category in the layout expected.
    """
    root = Path(root)
    name = _official_name(category)
    found = _inspect(root, name, meshes)
    if found is not None and not found.missing:
        return found
    _fetch(root, name, meshes, revision, endpoint, progress)
    found = _inspect(root, name, meshes)
    if found is None or len(found.missing) == found.models:
        wanted = ", ".join(_patterns(name, meshes))
        raise FileNotFoundError(f"data set {REPOSITORY} ({revision}) does not hold {name} as expected: {wanted}")
    return found


def _official_name(category: str) -> str:
    for name, class_id in CLASS_IDS.items():
        if category in (name, class_id):
            return name
    raise ValueError(f"category must be one of KeypointNet's, {', '.join(CLASS_IDS)}; got {category!r}")


def _patterns(name: str, meshes: bool) -> list[str]:
    class_id = CLASS_IDS[name]
    patterns = [f"annotations/{name}.json", f"pcds/{class_id}/*", "splits/*"]
    return [*patterns, f"ShapeNetCore.v2.ply/{class_id}/*"] if meshes else patterns


def _inspect(root: Path, name: str, meshes: bool) -> Download | None:
    """Tell what is there; None where the annotations or a split file are missing."""
    needed = [root / "annotations" / f"{name}.json", *(root / "splits" / f"{split}.txt" for split in SPLITS)]
    if not all(path.is_file() for path in needed):
        return None
    category = read_category(root, name)
    places = [cloud_path, mesh_path] if meshes else [cloud_path]
    missing = [
        model_id
        for model_id in category.models
        if not all(place(root, category.class_id, model_id).is_file() for place in places)
    ]
    return Download(name, category.class_id, len(category.models), tuple(missing))


def _fetch(root: Path, name: str, meshes: bool, revision: str, endpoint: str | None, progress: bool) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    class Quiet(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    try:
        # Asked first: without network snapshot_download would take an incomplete folder for good.
        commit = HfApi(endpoint=endpoint).dataset_info(REPOSITORY, revision=revision).sha
        snapshot_download(
            REPOSITORY,
            repo_type="dataset",
            revision=commit,
            local_dir=root,
            cache_dir=cache_folder() / "huggingface",
            allow_patterns=_patterns(name, meshes),
            endpoint=endpoint,
            tqdm_class=None if progress else Quiet,
        )
    except _network_errors() as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConnectionError(
            f"could not fetch {name} of {REPOSITORY}: {reason}. Try again (what is there is kept), or see "
            "datasets/keypointnet.md for other ways to get it"
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a failing connection: those of the HTTP library that huggingface_hub builds on."""
    from huggingface_hub.errors import HfHubHTTPError

    return OSError, *(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
