"""Where the data of a benchmark are, and what they are called in its results."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from pcsargmax.training.discover_settings import DiscoverSettings

#: Shapes of a procedural category, where no other number is asked for.
PROCEDURAL_MODELS = 160


class Source(NamedTuple):
    """One category or folder.

    Attributes:
        name: in results; no path.
        data: the setting `data`.
        root: the setting `root`; empty for the default.
    """

    name: str
    data: str
    root: str = ""


def named_sources(data: Sequence[str], root: str = "") -> list[Source]:
    """The sources of categories below `root` and of folders of one's own.

    Raises:
        ValueError: there are no such data, or two of the same name.
    """
    sources = []
    for text in data:
        _check_there(DiscoverSettings(data=text, root=root or DiscoverSettings().root))
        sources.append(Source(_plain_name(text), text, root))
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"data must differ in their names, which results are kept by; got {', '.join(twice)} twice")
    return sources


def _plain_name(text: str) -> str:
    """The last part of a path, as a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", Path(os.path.abspath(text)).name).strip("._") or "data"


def _check_there(settings: DiscoverSettings) -> None:
    from pcsargmax.datasets.shapenet import h5_files
    from pcsargmax.training.data import is_folder

    annotations = Path(settings.root) / "annotations" / f"{settings.data}.json"
    if not (is_folder(settings) or annotations.is_file() or h5_files(settings.root)):
        raise ValueError(f"{settings.data}: no such folder, and no such category, {annotations} is not there")


def procedural_sources(
    folder: str | Path,
    categories: Sequence[str] = (),
    *,
    models: int = PROCEDURAL_MODELS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Source]:
    """The sources of procedural categories, made in a folder where they are not there yet.

    They are the same wherever they are made: `make_procedural` with seed 0 and 2048 points, no meshes.

    Args:
        folder: gets `procedural-MODELS/`.
        categories: some of `datasets.procedural.FAMILIES`; none for all.
        models: shapes of each.
        progress: called with (done, total).

    Returns:
        Sources named "procedural-chair", and with another number of shapes "procedural20-chair".

    Raises:
        ValueError: an unknown category, or too few models.
    """
    from pcsargmax.datasets import make_procedural
    from pcsargmax.datasets.procedural import FAMILIES

    root = Path(folder) / f"procedural-{models}"
    wanted = tuple(categories) or tuple(FAMILIES)
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f"{root.name}.lock")):  # whoever comes second finds them made
        missing = [name for name in wanted if not (root / "annotations" / f"{name}.json").is_file()]
        if missing:
            make_procedural(root, missing, models=models, mesh=False, progress=progress)
    kind = "procedural" if models == PROCEDURAL_MODELS else f"procedural{models}"
    return [Source(f"{kind}-{name}", name, str(root)) for name in dict.fromkeys(wanted)]
