"""MTFL: faces with five landmarks (Zhang et al., ECCV 2014), read from its official text files."""

from pathlib import Path
from typing import Literal

import numpy as np

from pcsargmax.datasets.images.listed import ListedImages
from pcsargmax.datasets.images.points import PointRow
from pcsargmax.datasets.keypointnet_files import SPLITS
from pcsargmax.datasets.splits import split_by_share
from pcsargmax.io.markups import read_text

NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
#: What follows the landmarks of a line, and how many values each has, from 1 on.
ATTRIBUTES = {"gender": 2, "smile": 2, "glasses": 2, "pose": 5}

Box = Literal["image", "landmarks"]


class Mtfl(ListedImages):
    """The MTFL set: `training.txt` and `testing.txt` beside their folders lfw_5590/, net_7876/ and AFLW/.

    A line is an image's path (its folders parted by / or \\), five x, five y (left eye, right eye, nose, left and right
    corner of the mouth: left and right as one sees them), and four attributes. Coordinates are taken as they are
    written. The attributes are an item's `extra`, as whole numbers: gender (1 male, 2 female), smile (1 yes, 2 no),
    glasses (1 yes, 2 no), pose (1 left profile, 2 left, 3 frontal, 4 right, 5 right profile).

    There is no official validation set: "val" is a share of training.txt by seed, "train" the rest, and "trainval" all
    of it, as in the paper.

    Args:
        root: the folder of the text files.
        split: "train", "val", "trainval", "test" or "all".
        box: "image", the whole image, as in the authors' published code; or "landmarks", the square around the
            landmarks, twice their extent, for images that show more than a face. The second looks at the truth, also
            in a test.
        val_share: share of training.txt that is "val", from 0 to below 1.
        split_seed: of that share.

    Attributes:
        keypoint_names, flip_pairs, dimension: 5 landmarks, two pairs, 2.
        names, dropped: as in `ListedImages`.

    Raises:
        FileNotFoundError: no folder, text file or image, by name. ValueError: naming path and line, for a line of
            another form or an image that comes twice; for an unknown or empty split.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import Mtfl
        >>> Path("mtfl/AFLW").mkdir(parents=True)
        >>> Image.new("RGB", (44, 40)).save("mtfl/AFLW/0001-face.jpg")
        >>> line = "AFLW/0001-face.jpg 10 30 20 12 28 12 12 22 32 32 1 2 2 3"  # path, five x, five y, attributes
        >>> _ = Path("mtfl/testing.txt").write_text(line)
        >>> faces = Mtfl("mtfl", "test")
        >>> faces[0].keypoints[2], faces[0].extra["pose"]  # the nose, a frontal view
        (array([20., 22.]), 3)
    """

    keypoint_names = NAMES
    flip_pairs = ((0, 1), (3, 4))

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        box: Box = "image",
        val_share: float = 0.05,
        split_seed: int = 0,
    ) -> None:
        """Read the text files; images are read when an item is taken."""
        self.root = Path(root).expanduser()
        known = [*SPLITS, "trainval", "all"]
        if split not in known:
            raise ValueError(f"split: expected one of {known}, got {split!r}")
        if box not in ("image", "landmarks"):
            raise ValueError(f"box: expected 'image' or 'landmarks', got {box!r}")
        if not 0 <= val_share < 1:
            raise ValueError(f"val_share: expected a share from 0 to below 1, got {val_share}")
        files = {"test": ["testing.txt"], "all": ["training.txt", "testing.txt"]}.get(split, ["training.txt"])
        rows = [row for name in files for row in read_mtfl(self.root / name, box=box)]
        if split in ("train", "val"):
            parts = split_by_share([row.file for row in rows], (1 - val_share, val_share, 0), split_seed)
            rows = [row for row in rows if parts[row.file] == split]
        self._take(rows, [self.root / row.file for row in rows], self.root, split)

    def __repr__(self) -> str:
        """Name the folder and its size."""
        return f"Mtfl({self.root.resolve().name}, {len(self)} items)"


def read_mtfl(path: str | Path, *, box: Box = "image") -> list[PointRow]:
    """Read `training.txt` or `testing.txt`.

    Args:
        path: the file.
        box: see `Mtfl`.

    Returns:
        a row for each line that is not empty.

    Raises:
        FileNotFoundError: no such file. ValueError: naming path and line, for a line of another form, attributes out
            of range, or an image that comes twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of the MTFL set: {path.absolute()}")
    rows: dict[str, PointRow] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            row = _read_line(line, box, f"{path}:{number}")
            if row.file in rows:
                raise ValueError(f"{row.where}: {row.file!r} is in {rows[row.file].where} already")
            rows[row.file] = row
    if not rows:
        raise ValueError(f"{path}: expected a line for each image, got none")
    return list(rows.values())


def _read_line(line: str, box: Box, where: str) -> PointRow:
    file, *texts = line.strip().rsplit(maxsplit=10 + len(ATTRIBUTES))
    if len(texts) < 10 + len(ATTRIBUTES):
        raise ValueError(f"{where}: expected a path, 5 x, 5 y and {len(ATTRIBUTES)} attributes, got {line.strip()!r}")
    try:
        points = np.array(texts[:10], dtype=np.float64).reshape(2, 5).T
    except ValueError as error:
        raise ValueError(f"{where}: expected 5 x and 5 y: {error}") from None
    if not np.isfinite(points).all():
        raise ValueError(f"{where}: expected finite coordinates, got {' '.join(texts[:10])}")
    extra = {name: _attribute(name, text, where) for name, text in zip(ATTRIBUTES, texts[10:], strict=True)}
    around = _square(points, where) if box == "landmarks" else None
    return PointRow(file.replace("\\", "/"), points, around, extra, where)


def _attribute(name: str, text: str, where: str) -> int:
    if text not in [str(value) for value in range(1, ATTRIBUTES[name] + 1)]:
        raise ValueError(f"{where}: {name}: expected a whole number from 1 to {ATTRIBUTES[name]}, got {text!r}")
    return int(text)


def _square(points: np.ndarray, where: str) -> np.ndarray:
    """The square around landmarks, twice their extent."""
    low, high = points.min(0), points.max(0)
    side = 2 * (high - low).max()
    if not side > 0:
        raise ValueError(f"{where}: all landmarks are in one place, so they give no box")
    return np.array([*((low + high + 1 - side) / 2), side, side])
