"""What data sets have in common whose images and points are listed in a text file: they read an image when asked."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.datasets.images.points import PointRow
from pcsargmax.io.images import read_image


class ListedImages:
    """The items of a split, given the rows of a list and where their images are.

    Attributes:
        names: of the items: the image's path relative to `root`; with "#2", ... for further rows of the same image.
        dropped: why rows were left out, and how many.
    """

    dimension = 2

    def __len__(self) -> int:
        """Number of items."""
        return len(self._rows)

    def __getitem__(self, index: int) -> ImageItem:
        """Read an item's image.

        Raises:
            IndexError: for an item that does not exist. FileNotFoundError, ValueError: naming the image, for one that
                is not there any more or cannot be read, or a box outside it.
        """
        row = self._rows[index]
        image = read_image(self._paths[index])
        box = np.array([0.0, 0.0, image.shape[1], image.shape[0]]) if row.box is None else row.box
        try:
            return ImageItem(self.names[index], image, row.points, box=box, extra=dict(row.extra))
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}") from None

    def _take(self, rows: Sequence[PointRow], paths: Sequence[Path], root: Path, split: str) -> list[str]:
        """Take the rows that have points and return the names of the others; an image that is not there is an error."""
        missing = [(row, path) for row, path in zip(rows, paths, strict=True) if not path.is_file()]
        if missing:
            row, path = missing[0]
            more = f", nor are {len(missing) - 1} more of split {split!r}" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{row.where}: no such image: {path.absolute()}{more}")
        names = _unique([relative_name(path, root) for path in paths])
        good = [bool(np.isfinite(row.points).any()) for row in rows]
        if not any(good):
            raise ValueError(f"split: {split!r} holds no image with points in {root}")
        self._rows, self._paths = list(compress(rows, good)), list(compress(paths, good))
        self.names = tuple(compress(names, good))
        empty = [name for name, its in zip(names, good, strict=True) if not its]
        self.dropped = {"without any point": len(empty)} if empty else {}
        return empty


def relative_name(path: Path, root: Path) -> str:
    """The path relative to a folder, with forward slashes; as it is where it is not under the folder."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def some(names: Sequence[str]) -> str:
    """Count and first names, as in: 5 (a, b, c, ...)."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _unique(names: list[str]) -> list[str]:
    """Names with #2, #3, ... at each that comes again."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique
