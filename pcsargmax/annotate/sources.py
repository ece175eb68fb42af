"""What a session begins with: the scans, the landmarks' names, and landmarks that lie beside the scans already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pcsargmax.annotate.marks import Mark
from pcsargmax.datasets.keypointnet_files import categories, read_category
from pcsargmax.datasets.splits import is_split_file
from pcsargmax.io.clouds import CLOUD_SUFFIXES
from pcsargmax.io.landmarks import (
    LANDMARK_SUFFIXES,
    is_landmark_table,
    read_landmark_table,
    read_landmarks,
    stem_of,
)
from pcsargmax.io.markups import Frame, Landmarks, read_text


class Found(NamedTuple):
    """Landmarks of one scan that are there already.

    Attributes:
        path: the file that holds them, perhaps those of other scans too.
        landmarks: name -> (3,) position.
    """

    path: Path
    landmarks: Landmarks

    @property
    def marks(self) -> dict[str, Mark]:
        """The landmarks as marks."""
        return {name: Mark((x, y, z)) for name, (x, y, z) in self.landmarks.items()}


def find_scans(paths: Sequence[str | Path]) -> list[Path]:
    """The clouds and meshes among files and folders, these with all that is in them but hidden files.

    Returns:
        Files in the order given, those of a folder in natural order (B2 before B10).

    Raises:
        ValueError: no such file or folder, a file of another kind, a folder without any, or two of one stem.
    """
    scans: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = [file for file in _files_under(path) if file.suffix.lower() in CLOUD_SUFFIXES]
            if not found:
                raise ValueError(f"{path}: holds no clouds or meshes ({' '.join(CLOUD_SUFFIXES)})")
            scans += sorted(found, key=lambda file: _natural(str(file)))
        elif not path.is_file():
            raise ValueError(f"{path}: no such file or folder")
        elif path.suffix.lower() not in CLOUD_SUFFIXES:
            raise ValueError(f"{path}: expected a cloud or mesh, one of {' '.join(CLOUD_SUFFIXES)}")
        else:
            scans.append(path)
    scans = list(dict.fromkeys(scans))
    stems: dict[str, Path] = {}
    for scan in scans:
        if stems.setdefault(stem_of(scan.name), scan) != scan:
            raise ValueError(f"{scan}: has the same stem as {stems[stem_of(scan.name)]}: landmarks could be of either")
    return scans


def find_landmarks(paths: Sequence[str | Path], *, frame: Frame = "LPS") -> dict[str, Found]:
    """The landmarks of scans in any form that LandmarkFolder reads, by stem.

    Args:
        paths: folders, which are looked through, and scans, beside which is looked.
        frame: of the meshes, see `pcsargmax.io.markups`.

    Raises:
        ValueError: a malformed file, or landmarks of one scan in two files.
    """
    folders = [path if path.is_dir() else path.parent for path in map(Path, paths)]
    deep = {path for path in map(Path, paths) if path.is_dir()}
    files = dict.fromkeys(file for path in folders for file in _files_under(path, deep=path in deep))
    found: dict[str, Found] = {}
    for path in files:
        if not path.name.lower().endswith(LANDMARK_SUFFIXES) or is_split_file(path):
            continue
        several = is_landmark_table(path)
        if several is None:
            continue
        table = read_landmark_table(path) if several else {stem_of(path.name): read_landmarks(path, mesh_frame=frame)}
        for stem, landmarks in table.items():
            if stem in found:
                raise ValueError(f"{path}: landmarks of {stem!r} are in {found[stem].path} already")
            found[stem] = Found(path, landmarks)
    return found


def names_of(folder: str | Path, category: str = "", *, frame: Frame = "LPS") -> list[str]:
    """The landmarks of a data set: of KeypointNet's layout the names or semantic ids, else in the files' order.

    Args:
        folder: of the data set.
        category: which of several, where it has KeypointNet's layout; passed over where it has one of another name.
        frame: of the meshes, see `pcsargmax.io.markups`.

    Raises:
        ValueError: no such folder, no landmarks in it, or several categories and none of them named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    known = categories(folder)
    if known:
        if category not in known and len(known) > 1:
            raise ValueError(f"{folder}: has several categories, {', '.join(known)}; name one with --category")
        read = read_category(folder, category if category in known else known[0])
        listed = read.path.with_suffix(".txt")
        if listed.is_file():
            return split_names(read_text(listed))
        return [str(number) for number in range(read.num_ids)]
    names = [name for found in find_landmarks([folder], frame=frame).values() for name in found.landmarks]
    if not names:
        raise ValueError(f"{folder}: holds no landmarks, so no names")
    return list(dict.fromkeys(names))


def parse_names(text: str) -> list[str]:
    """Names from a text with commas, or from a file with a name a line.

    Raises:
        ValueError: no names, or one that comes twice.
    """
    path = Path(text)
    names = split_names(read_text(path)) if path.is_file() else split_names(text.replace(",", "\n"))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"names: expected distinct names with commas, or a file with a name a line, got {text!r}")
    return names


def split_names(text: str) -> list[str]:
    """The lines of a text that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _files_under(folder: Path, *, deep: bool = True) -> list[Path]:
    found: Iterable[Path] = folder.rglob("*") if deep else folder.glob("*")
    files = (path for path in found if path.is_file())
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that takes runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]
