"""Which files belong to which split: as files say it, or by seed and share."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pcsargmax.datasets.keypointnet_files import SPLITS
from pcsargmax.io.landmarks import stem_of
from pcsargmax.io.markups import read_json, read_text


def find_split_file(root: Path) -> Path | None:
    """The split file of a folder: its splits.json or splits.csv, or the folder that has its train.txt."""
    for path in (root / "splits.json", root / "splits.csv"):
        if path.is_file():
            return path
    return next((folder for folder in (root, root / "splits") if (folder / "train.txt").is_file()), None)


def is_split_file(path: Path) -> bool:
    """Whether a file's name is one of those that name splits."""
    return path.name in (
        "splits.json",
        "splits.csv",
        "split.json",
        "split.csv",
        *(f"{s}.txt" for s in SPLITS),
    )


def read_splits(path: str | Path) -> dict[str, str]:
    """Read which split each file is in.

    Args:
        path: a .json, `{"train": ["a.ply", ...], "test": [...]}` or `{"a.ply": "train", ...}`; a .csv with
            the columns file and split; a .txt with a line `a.ply train` a file; or a folder with train.txt,
            val.txt and test.txt (as far as they are there), a file a line.

    Returns:
        stem -> split. Stems are names without folders and known suffixes.

    Raises:
        ValueError: naming file and line, for malformed content or a file that is in two splits.
    """
    path = Path(path)
    if path.is_dir():
        lists = [path / f"{split}.txt" for split in SPLITS if (path / f"{split}.txt").is_file()]
        if not lists:
            raise ValueError(f"{path}: expected train.txt, val.txt or test.txt in this folder")
        pairs = [(where, name, file.stem) for file in lists for where, name in _lines(file)]
    elif path.suffix.lower() == ".json":
        pairs = _json_pairs(path)
    elif path.suffix.lower() == ".csv":
        pairs = _csv_pairs(path)
    elif path.suffix.lower() == ".txt":
        pairs = []
        for where, line in _lines(path):
            name, _, split = line.replace("\t", " ").rpartition(" ")
            if not name.strip():
                raise ValueError(f"{where}: expected a file and its split, as in 'a.ply train', got {line!r}")
            pairs.append((where, name.strip(), split))
    else:
        raise ValueError(f"{path}: unknown kind of split file, expected .json, .csv, .txt or a folder")
    splits: dict[str, str] = {}
    for where, name, split in pairs:
        stem = stem_of(name)
        if splits.setdefault(stem, split) != split:
            raise ValueError(f"{where}: {stem!r} is in two splits, {splits[stem]!r} and {split!r}")
    return splits


def split_by_share(stems: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Split names at random into train, val and test.

    The names are sorted first, so the split depends on the set of names and the seed, never on the order of
    a disk. Shares are rounded to whole files, so a small share of few files can be none.

    Args:
        stems: the names. shares: three numbers of 0 or more, of train, val and test; their proportion
        counts: (2, 0, 1) is two thirds
            and one third.
        seed: of the shuffle.
    """
    if len(shares) != 3 or any(not 0 <= share < float("inf") for share in shares) or not sum(shares) > 0:
        raise ValueError(f"shares: expected three numbers of 0 or more, not all 0, got {tuple(shares)}")
    names = sorted(set(stems))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    ends = (np.cumsum(shares[::-1]) / sum(shares) * len(names) + 0.5).astype(int)  # of test, val, train
    labels = np.repeat(SPLITS[::-1], np.diff(ends, prepend=0)).tolist()
    return {names[place]: label for place, label in zip(order, labels, strict=True)}


def _lines(path: Path) -> list[tuple[str, str]]:
    lines = enumerate((line.split("#")[0].strip() for line in read_text(path).splitlines()), 1)
    return [(f"{path}:{number}", line) for number, line in lines if line]


def _json_pairs(path: Path) -> list[tuple[str, str, str]]:
    content = read_json(path)
    if isinstance(content, dict) and all(isinstance(value, str) for value in content.values()):
        return [(str(path), name, split) for name, split in content.items()]
    if isinstance(content, dict) and all(isinstance(value, list) for value in content.values()):
        pairs = [(str(path), name, split) for split, names in content.items() for name in names]
        if all(isinstance(name, str) for _, name, _ in pairs):
            return pairs
    raise ValueError(f'{path}: expected {{"train": [files], ...}} or {{file: split, ...}}')


def _csv_pairs(path: Path) -> list[tuple[str, str, str]]:
    reader = csv.DictReader(read_text(path).splitlines())
    if not {"file", "split"} <= set(reader.fieldnames or ()):
        raise ValueError(f"{path}:1: expected the columns file and split, got {reader.fieldnames}")
    pairs = []
    for row in reader:
        if not row["file"] or not row["split"]:
            raise ValueError(f"{path}:{reader.line_num}: expected a file and its split, got {row}")
        pairs.append((f"{path}:{reader.line_num}", row["file"], row["split"].strip()))
    return pairs
