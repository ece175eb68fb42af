"""Your own images: a folder with tables of points, as a data set."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcsargmax.datasets.images.item import flip_order
from pcsargmax.datasets.images.listed import ListedImages, relative_name, some
from pcsargmax.datasets.images.points import PointRow, PointTable, is_point_table, read_points
from pcsargmax.datasets.keypointnet_files import SPLITS
from pcsargmax.datasets.splits import find_split_file, is_split_file, read_splits, split_by_share
from pcsargmax.io.images import IMAGE_SUFFIXES, image_size
from pcsargmax.io.markups import read_text

#: Rows of the 68 points of a face (jaw, brows, nose, eyes, mouth) that change places in a mirrored image.
FACE_68_PAIRS = (
    *((left, 16 - left) for left in range(8)),
    *((left, 43 - left) for left in range(17, 22)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
    *((60, 64), (61, 63), (65, 67)),
)

#: How many images of a split are looked at for points outside them.
_LOOKED_AT = 20


class ImageFolder(ListedImages):
    r"""Images of a folder with CSV tables of keypoints, in pixels.

    Two layouts:

        train.csv  test.csv  [val.csv]      beside folders train/ test/ [val/] with their images
        points.csv                          or another single .csv, with the images beside it, in images/ or in a
                                            folder of the table's name

    A table's first line names its columns: `file, x0, y0, x1, y1, ...` (keypoints "0", "1", ...) or
    `file, NAME_x, NAME_y, ...`; optionally `x, y, width, height`, the box of the object (else the whole image). Pixels,
    the centre of the first pixel at (0, 0); a point whose two cells are empty is absent. Further columns stay, as
    text, in an item's `extra`. One file may have several rows where there are boxes.

    Splits: in the first layout the tables say them; without a val.csv, val is a share of train.csv by seed
    (shares[1] against shares[0]), and "trainval" is all of train.csv. In the second layout `splits.json`, `splits.csv`
    or train.txt, val.txt, test.txt say them (see `pcsargmax.datasets.splits.read_splits`), else the shares and the
    seed; all rows of an image are in one split.

    Which keypoints change places in a mirrored image: `flip_pairs.txt` in the folder, a line `NAME,NAME` a pair (empty:
    none do); else the standard pairs where there are 68 points named by number; else names that differ in the words
    left and right alone. If these give no pair, or a name with such a word has no partner, `can_flip` is False: then
    images are not to be mirrored in training.

    Rows without any point are left out and counted (`dropped`), as are images that no row names; a `UserWarning` says
    so, and that most points of the first images lie outside them.

    Args:
        root: the folder.
        split: "train", "val", "test", "trainval" or "all".
        shares: of train, val and test; their proportion counts.
        split_seed: of the split by shares.

    Attributes:
        keypoint_names: K names, of all tables, which must agree.
        flip_pairs: see above.
        can_flip: whether the pairs are known.
        dimension: 2.
        names, dropped: as in `ListedImages`.

    Raises:
        FileNotFoundError: no folder, no table, or images that a table names and that are not there (named with
            their line). ValueError: with path and line, for malformed tables; for an unknown or empty split.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import ImageFolder
        >>> Path("faces").mkdir()
        >>> for name in ("a.png", "b.png"):
        ...     Image.new("RGB", (64, 48)).save(f"faces/{name}")
        >>> table = ["file,left_eye_x,left_eye_y,right_eye_x,right_eye_y", "a.png,20,16,40,16", "b.png,,,42,18"]
        >>> _ = Path("faces/points.csv").write_text("\n".join(table))
        >>> faces = ImageFolder("faces", "all")
        >>> faces.keypoint_names, faces.flip_pairs, faces[1].visible
        (('left_eye', 'right_eye'), ((0, 1),), array([False,  True]))
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        shares: Sequence[float] = (0.7, 0.1, 0.2),
        split_seed: int = 0,
    ) -> None:
        """Read the tables and select the split; images are read when an item is taken."""
        self.root = Path(root).expanduser()
        if split not in (*SPLITS, "trainval", "all"):
            raise ValueError(f"split: expected one of {[*SPLITS, 'trainval', 'all']}, got {split!r}")
        tables = find_tables(self.root)
        read = {name: read_points(path) for name, path in tables.items()}
        self.keypoint_names = _same_names(read)
        self.flip_pairs, self.can_flip = _flip_pairs(self.root, self.keypoint_names)
        notes: list[str] = []
        if "" in read:
            rows = _of_one_table(self.root, read[""], split, shares, split_seed, notes)
        else:
            rows = _of_tables(read, split, shares, split_seed)
        if not rows:
            its = ", ".join(path.name for path in tables.values())
            raise ValueError(f"split: {split!r} has no row of {its} in {self.root} (shares {tuple(shares)})")
        paths = {row.where: image_path(self.root, row) for table in read.values() for row in table.rows}
        _check_leak(read, paths)
        if empty := self._take(rows, [paths[row.where] for row in rows], self.root, split):
            notes.append(f"{some(empty)} of split {split!r} have no point and were left out")
        if unlisted := _unlisted(self._paths, set(paths.values()), self.root):
            notes.append(f"{some(unlisted)} have no row in a table")
        if strange := _outside(self._rows, self._paths):
            notes.append(strange)
        for note in notes:
            warnings.warn(f"{self.root}: {note}", UserWarning, stacklevel=2)

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        return f"ImageFolder({self.root.resolve().name}, {len(self)} items, {len(self.keypoint_names)} keypoints)"


def find_tables(root: Path) -> dict[str, Path]:
    """Split -> table of a folder with a table a split; "" -> table of one with a single table.

    Raises:
        FileNotFoundError: no such folder, or no table in it. ValueError: several tables, of which none is named
            points.csv or after a split.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"root: no such folder: {root.absolute()}")
    found = {split: root / f"{split}.csv" for split in SPLITS if (root / f"{split}.csv").is_file()}
    if found:
        return found
    if (root / "points.csv").is_file():
        return {"": root / "points.csv"}
    tables = [path for path in sorted(root.glob("*.csv")) if not is_split_file(path) and is_point_table(path)]
    if not tables:
        raise FileNotFoundError(
            f"no table of points in {root.absolute()}: expected train.csv and test.csv, or points.csv, with the "
            "columns file, x0, y0, ... or file, NAME_x, NAME_y, ..."
        )
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise ValueError(f"{root}: expected one table of points, or train.csv and test.csv, got {names}")
    return {"": tables[0]}


def _same_names(tables: dict[str, PointTable]) -> tuple[str, ...]:
    first, *others = tables.values()
    for other in others:
        if other.names != first.names:
            odd = sorted(set(other.names) ^ set(first.names)) or ["in another order"]
            raise ValueError(f"{other.path}:1: expected the keypoints of {first.path}, differing: {', '.join(odd)}")
    return first.names


def _of_tables(tables: dict[str, PointTable], split: str, shares: Sequence[float], seed: int) -> list[PointRow]:
    """Rows of a split where each split has its table; val is a share of train where it has none."""
    rows = {name: table.rows for name, table in tables.items()}
    if "val" not in rows and "train" in rows and split in ("train", "val"):
        parts = split_by_share([row.file for row in rows["train"]], (*shares[:2], 0), seed)
        return [row for row in rows["train"] if parts[row.file] == split]
    wanted = {"all": SPLITS, "trainval": ("train", "val")}.get(split, (split,))
    return [row for name in wanted for row in rows.get(name, [])]


def _of_one_table(
    root: Path, table: PointTable, split: str, shares: Sequence[float], seed: int, notes: list[str]
) -> list[PointRow]:
    """Rows of a split of a single table, by a split file or by shares; what does not fit is noted."""
    if split == "all":
        return table.rows
    wanted = ("train", "val") if split == "trainval" else (split,)
    source = find_split_file(root)
    if source is None:
        splits = split_by_share([row.file for row in table.rows], shares, seed)
        return [row for row in table.rows if splits[row.file] in wanted]
    splits = {_stem(name): its for name, its in read_splits(source).items()}
    stems: dict[str, str] = {}
    for row in table.rows:
        stem = _stem(row.file)
        if stems.setdefault(stem, row.file) != row.file:
            raise ValueError(f"{row.where}: {row.file!r} and {stems[stem]!r} have one name in {source}")
    if lost := sorted(stem for stem, its in splits.items() if its in wanted and stem not in stems):
        notes.append(f"{some(lost)} of split {split!r} ({source}) have no row in {table.path.name}")
    if others := [file for stem, file in stems.items() if stem not in splits]:
        notes.append(f"{some(others)} are in no split of {source}")
    return [row for row in table.rows if splits.get(_stem(row.file)) in wanted]


def _flip_pairs(root: Path, names: tuple[str, ...]) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The pairs of rows that change places, and whether they are known."""
    path = root / "flip_pairs.txt"
    if path.is_file():
        return read_flip_pairs(path, names), True
    if names == tuple(str(number) for number in range(68)):
        return FACE_68_PAIRS, True
    sided = {name: re.sub("left|right", _other_side, name, flags=re.IGNORECASE) for name in names}
    if all(other == name or other not in names for name, other in sided.items()):
        return (), False
    lone = [name for name, other in sided.items() if other not in names]
    pairs = [(names.index(a), names.index(b)) for a, b in sided.items() if a != b and b in names]
    return tuple(pair for pair in pairs if pair[0] < pair[1]), not lone


def _other_side(match: re.Match[str]) -> str:
    word = match[0]
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def read_flip_pairs(path: str | Path, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read which keypoints change places in a mirrored image: a text file, a line `NAME,NAME` a pair.

    Returns:
        pairs of rows of `names`.

    Raises:
        ValueError: naming path and line, for an unknown name or one that comes twice.
    """
    pairs: list[tuple[int, int]] = []
    for number, line in enumerate(read_text(Path(path)).splitlines(), 1):
        pair = [name.strip() for name in line.split("#")[0].split(",")]
        if pair == [""]:
            continue
        if len(pair) != 2 or not set(pair) <= set(names):
            raise ValueError(f"{path}:{number}: expected two keypoints, NAME,NAME, of {list(names)}, got {line!r}")
        pairs.append((names.index(pair[0]), names.index(pair[1])))
        try:
            flip_order(len(names), pairs)
        except ValueError:
            raise ValueError(f"{path}:{number}: a keypoint of {line!r} comes twice") from None
    return tuple(pairs)


def image_path(root: Path, row: PointRow) -> Path:
    """Where the image of a row is: in the folder of the table's name, beside the table, or in images/."""
    stem = Path(row.where.rpartition(":")[0]).stem
    places = [os.path.join(root, folder, row.file) for folder in (stem, "", "images")]
    likely = 0 if os.path.isdir(os.path.join(root, stem)) else 1
    return Path(next((place for place in places if os.path.isfile(place)), places[likely]))


def _check_leak(tables: dict[str, PointTable], paths: dict[str, Path]) -> None:
    """Raise a ValueError where the tables of two splits name the same image."""
    seen: dict[Path, tuple[str, str]] = {}
    for split, table in tables.items():
        for row in table.rows:
            first, where = seen.setdefault(paths[row.where], (split, row.where))
            if first != split:
                raise ValueError(f"{row.where}: {row.file!r} is in {where} already, of split {first!r}")


def _unlisted(paths: Sequence[Path], listed: set[Path], root: Path) -> list[str]:
    """Images that lie among those of a split and that no table names."""
    folders = {path.parent for path in paths}
    there = {path for folder in folders for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    return sorted(relative_name(path, root) for path in there - listed if not path.name.startswith("."))


def _outside(rows: Sequence[PointRow], paths: Sequence[Path]) -> str:
    """A note where most points of the first images lie outside them, as those of images that were made smaller."""
    points = outside = 0
    for row, path in zip(rows[:_LOOKED_AT], paths, strict=False):
        known = row.points[np.isfinite(row.points).all(axis=1)]
        size = image_size(path)
        if size is not None:
            points += len(known)
            outside += int(((known < -0.5) | (known > np.array(size[::-1]) - 0.5)).any(axis=1).sum())
    if 2 * outside <= points:
        return ""
    return f"{outside} of the first {points} points lie outside their image: are they of images of another size?"


def _stem(file: str) -> str:
    name = file.rpartition("/")[2]
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]
