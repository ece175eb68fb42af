"""Where the data of a benchmark are, and what they are called in its results."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pcsargmax.runs.sources import check_source
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.settings.images import OFFICIAL, PROCEDURAL, ImageSettings

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
        ValueError, FileNotFoundError: there are no such data, or two of the same name.
    """
    sources = []
    for text in data:
        check_source(DiscoverSettings(data=text, root=root or DiscoverSettings().root))
        sources.append(Source(_plain_name(text), text, root))
    return _named_once(sources)


def _named_once(sources: list[Source]) -> list[Source]:
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"data must differ in their names, which results are kept by; got {', '.join(twice)} twice")
    return sources


def _plain_name(text: str) -> str:
    """The last part of a path, as a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", Path(os.path.abspath(text)).name).strip("._") or "data"


def data_hash(data: str, root: str) -> str | None:
    """16 hex digits of what the data are: other ones under the same name have others.

    Of a category its annotations and splits are read, of a folder its small files; of all else name and size count.

    Args:
        data: the setting `data`.
        root: the setting `root`.

    Returns:
        The digits; None where there are no such data.
    """
    from pcsargmax.datasets.shapenet import h5_files

    annotations = Path(root) / "annotations" / f"{data}.json"
    if Path(data).is_dir():
        files = sorted(file for file in Path(data).rglob("[!.]*") if file.is_file())
        parts = [part for file in files for part in (str(file.relative_to(data)).encode(), _told(file))]
    elif files := h5_files(root):
        parts = [part for file in files for part in (file.name.encode(), b"%d" % file.stat().st_size)]
    elif annotations.is_file():
        text = annotations.read_bytes()
        classes = tuple(set(re.findall(rb'"class_id":\s*"(\w+)"', text))) or (b"-",)
        splits = sorted((Path(root) / "splits").glob("*.txt"))
        lines = [line for file in splits for line in (file.name.encode(), *sorted(file.read_bytes().split()))]
        parts = [text, *(line for line in lines if line.startswith(classes) or line.endswith(b".txt"))]
    else:
        return None
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _told(file: Path) -> bytes:
    """The content of a small file, the size of a large one."""
    size = file.stat().st_size
    return file.read_bytes() if size <= 2**16 else b"%d" % size


def image_sources(data: Sequence[str], root: str = "") -> list[Source]:
    """The sources of data for `train-image`: official files below `root`, procedural sets, folders of one's own.

    Raises:
        ValueError: there are no such data, or two of the same name.
    """
    sources = []
    for text in data:
        settings = ImageSettings(data=text, root=root)
        if settings.source == "folder" and not settings.place.is_dir():
            raise ValueError(
                f"{text}: no such folder, and no data set of that name: {', '.join((*OFFICIAL, *PROCEDURAL))}"
            )
        made = settings.source == "procedural"
        sources.append(Source(f"procedural-{text}" if made else _plain_name(text), text, "" if made else root))
    return _named_once(sources)


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
    from filelock import FileLock

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
