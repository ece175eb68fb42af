"""ShapeNetCore.v2 in the HDF5 files of the Point Cloud Datasets collection, as a torch-geometric data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, InMemoryDataset

from pcsargmax.datasets.keypointnet_files import SPLITS
from pcsargmax.io.axes import parse_axes

#: The 55 categories of ShapeNetCore.v2; a category's number among them is its label.
SHAPENET_CATEGORIES = (
    "airplane",
    "bag",
    "basket",
    "bathtub",
    "bed",
    "bench",
    "birdhouse",
    "bookshelf",
    "bottle",
    "bowl",
    "bus",
    "cabinet",
    "camera",
    "can",
    "cap",
    "car",
    "cellphone",
    "chair",
    "clock",
    "dishwasher",
    "earphone",
    "faucet",
    "file",
    "guitar",
    "helmet",
    "jar",
    "keyboard",
    "knife",
    "lamp",
    "laptop",
    "mailbox",
    "microphone",
    "microwave",
    "monitor",
    "motorcycle",
    "mug",
    "piano",
    "pillow",
    "pistol",
    "pot",
    "printer",
    "remote_control",
    "rifle",
    "rocket",
    "skateboard",
    "sofa",
    "speaker",
    "stove",
    "table",
    "telephone",
    "tin_can",
    "tower",
    "train",
    "vessel",
    "washer",
)


class ShapeNetH5(InMemoryDataset):
    """One category of ShapeNetCore.v2 as clouds without annotations.

    Files: NAME.h5, where NAME begins with the split (train0.h5, val0.h5, test1.h5), with the arrays `data (M, N, 3)`
    and `label (M, 1)` or `(M,)`; beside each one, where it is there, NAME_id2name.json and NAME_id2file.json, a list of
    the M categories and of the M models. Without names a label is a number of `SHAPENET_CATEGORIES`.

    An item is a `Data` of N points:

        pos        (N, 3) float64   in farthest-point order only where the files are (`farthest_order` is False)
        model_id   str              of ShapeNet where the files tell it, else NAME-ROW
        category   str
        class_id   str              of ShapeNet where the files tell it, else the label

    Frame: each cloud of these files is centred and scaled, y is up. They do not face the way that KeypointNet's clouds
    do, so a detector trained on the one set is wrong on the other unless `axes` is given; nothing is turned unasked.

    Args:
        root: folder of the files, or one file.
        category: its name, or its label as a number.
        split: "train", "val", "test", "trainval" or "all".
        axes: which axis of the file becomes x, y and z, each with "-" before it where its sign changes: "xyz" is the
            file's own frame, "-zyx" the file's −z, y and x, a quarter turn about y. An odd permutation, such as
            "zyx", mirrors the shapes.
        transform: applied to each item when it is taken.
        progress: called with (files read, files to read) while the files are read.

    Raises:
        FileNotFoundError: no folder, or no such files in it.
        ValueError: h5py is not installed, an unknown category or split, malformed files or axes.

    Example:
        >>> import h5py
        >>> import numpy as np
        >>> from pcsargmax import ShapeNetH5
        >>> with h5py.File("train0.h5", "w") as file:
        ...     file["data"], file["label"] = np.zeros((3, 2048, 3), np.float32), np.array([0, 35, 35])
        >>> mugs = ShapeNetH5(".", "mug", "train")  # mug is category 35
        >>> len(mugs), mugs[0].model_id, mugs[0].pos.shape
        (2, 'train0-1', torch.Size([2048, 3]))
    """

    def __init__(
        self,
        root: str | Path,
        category: str | int,
        split: str = "train",
        *,
        axes: str = "xyz",
        transform: Callable[[Data], Data] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Read the category; see the class."""
        super().__init__(None, transform)
        columns, signs = zip(*parse_axes(axes), strict=True)
        files = _files_of_split(Path(root), split)
        items: list[Data] = []
        known: set[str] = set()
        for number, file in enumerate(files, start=1):
            items += _read_category(file, str(category), known)
            if progress is not None:
                progress(number, len(files))
        if not items:
            raise ValueError(
                f"category: expected one of {', '.join(sorted(known))} (or a label), which split {split!r} of {root} "
                f"holds; got {category!r}"
            )
        for item in items:
            item.pos = item.pos[:, list(columns)] * torch.tensor(signs)
        self.category = items[0].category
        self._data, self.slices = InMemoryDataset.collate(items)

    @property
    def num_keypoints(self) -> int:
        """0: there are no annotations."""
        return 0

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Empty: there are no annotations."""
        return ()

    def __repr__(self) -> str:
        """Name the category and its numbers."""
        return f"ShapeNetH5({self.category}, {len(self)} models)"


def h5_files(root: str | Path) -> list[Path]:
    """The HDF5 files of a folder by name, or the one that `root` is."""
    root = Path(root)
    if root.is_file():
        return [root] if root.suffix == ".h5" else []
    return sorted(path for path in root.glob("*.h5") if path.is_file())


def _files_of_split(root: Path, split: str) -> list[Path]:
    wanted = {"all": SPLITS, "trainval": ("train", "val")}.get(split, (split,))
    if not set(wanted) <= set(SPLITS):
        raise ValueError(f"split: expected one of {', '.join((*SPLITS, 'trainval', 'all'))}, got {split!r}")
    if not root.exists():
        raise FileNotFoundError(f"root: no such folder or file: {root.absolute()}")
    files = h5_files(root)
    if not files:
        raise FileNotFoundError(f"no .h5 files in {root.absolute()}")
    chosen = [file for file in files if split == "all" or file.name.startswith(wanted)]
    if not chosen:
        names = ", ".join(file.name for file in files)
        raise FileNotFoundError(
            f"no .h5 file of split {split!r} in {root.absolute()}, whose names begin with it: {names}"
        )
    return chosen


def _read_category(file: Path, category: str, known: set[str]) -> list[Data]:
    """The clouds of a category in one file; the categories that it holds are added to `known`."""
    points, labels = _read_arrays(file)
    names = _names_of(file, labels)
    known.update(names)
    rows = [row for row, name in enumerate(names) if category in (name, str(labels[row]))]
    models = _list_beside(file, "id2file", len(labels))
    items = []
    for row in rows:
        folder, _, model = (models[row] if models else f"{labels[row]}/{file.stem}-{row}").rpartition("/")
        pos = torch.from_numpy(points[row].astype(np.float64))
        if not pos.isfinite().all():
            raise ValueError(f"{file}, row {row}: expected finite coordinates, got NaN or infinity")
        items.append(Data(pos=pos, model_id=Path(model).stem, category=names[row], class_id=folder.rpartition("/")[2]))
    return items


def _read_arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (M, N, 3) and labels (M,)."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise ValueError(f"{file}: h5py is not installed: pip install 'pcsargmax[shapenet]'") from None
    try:
        with h5py.File(file, "r") as content:
            points, labels = content["data"][...], content["label"][...].reshape(-1)
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: expected an HDF5 file with the arrays data and label: {error}") from error
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] == 0 or points.dtype.kind != "f":
        raise ValueError(f"{file}: data: expected floating (M, N, 3), got {points.dtype} {points.shape}")
    if labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{file}: label: expected {len(points)} integers, got {labels.dtype} {labels.shape}")
    return points, labels


def _names_of(file: Path, labels: np.ndarray) -> list[str]:
    """The category of each row."""
    listed = _list_beside(file, "id2name", len(labels))
    if listed is not None:
        return listed
    count = len(SHAPENET_CATEGORIES)
    return [SHAPENET_CATEGORIES[label] if 0 <= label < count else str(label) for label in labels.tolist()]


def _list_beside(file: Path, what: str, length: int) -> list[str] | None:
    """The texts of NAME_WHAT.json beside NAME.h5, None where there is no such file."""
    path = file.with_name(f"{file.stem}_{what}.json")
    if not path.is_file():
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, list) or len(content) != length or not all(isinstance(text, str) for text in content):
        raise ValueError(f"{path}: expected a list of {length} texts, one for each row of {file.name}")
    return content
