"""Slices of the retina with nine surfaces: the MSHC set (He et al., Data in Brief 2019), pre-processed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.io.images import read_image
from pcsargmax.io.markups import read_text

MSHC_SURFACES = ("ILM", "RNFL-GCL", "IPL-INL", "INL-OPL", "OPL-ONL", "ELM", "IS-OS", "OS-RPE", "BM")
"""The nine surfaces from top to bottom, between the eight layers of the retina."""

_HEALTHY = tuple(f"hc{number:02d}" for number in range(1, 15))
_PATIENTS = tuple(f"ms{number:02d}" for number in range(1, 22))
_VALIDATION = ("hc09", "ms13", "ms14")
_TRAINING = (*_HEALTHY[8:], *_PATIENTS[12:])

MSHC_SPLITS = {
    "train": tuple(subject for subject in _TRAINING if subject not in _VALIDATION),
    "val": _VALIDATION,
    "trainval": _TRAINING,
    "test": (*_HEALTHY[:8], *_PATIENTS[:12]),
    "all": (*_HEALTHY, *_PATIENTS),
}
"""Subjects of each split: the last 6 healthy and last 9 with MS train, three of which choose; the other 20 test."""


class Mshc:
    """Pre-processed slices of 14 healthy people (hc01 to hc14) and 21 with multiple sclerosis (ms01 to ms21).

    Layout, as the public pre-processing of the data set's authors writes it:

        image/hc01_spectralis_macula_v1_s1_R_1.png     a slice, 49 a subject, flattened, grey, 128 rows × 1024 columns
        label/hc01_spectralis_macula_v1_s1_R_1.txt     JSON {"bds": [9 lists of 1024 rows]}, rows counted from 1, null
                                                       where unknown; anything else in it is ignored

    The subject is the name up to its first "_", the slice the number behind the last. Items are `SurfaceItem`s with
    grey images (H, W) and rows counted from 0; `extra` has "subject" (its place in the list of the subjects),
    "subject_name", "slice", and "moved": how many rows lay beyond the image's edge and were moved onto it, as the
    published code does. Other data in this layout can be read with their own `subjects` and `surface_names`.

    Args:
        root: the folder with image/ and label/.
        split: "train" (12 subjects), "val" (3), "trainval" (the 15 the paper trains on), "test" (20) or "all".
        subjects: take these instead, by name.
        surface_names: S names from top to bottom; each label must have as many lists.
        micrometres: height of a pixel; the published evaluation takes 3.9.

    Attributes:
        missing: subjects of the split without any slice here.

    Raises:
        FileNotFoundError: naming the folder, image or label that is missing. ValueError: an unknown split or no slice;
            naming the file, for malformed content.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from pcsargmax.datasets.images import Mshc
        >>> for folder in ("image", "label"):
        ...     Path("retina", folder).mkdir(parents=True)
        >>> Image.new("L", (4, 32)).save("retina/image/hc01_s1_R_1.png")
        >>> rows = [[surface + 1] * 4 for surface in range(9)]  # counted from 1
        >>> _ = Path("retina/label/hc01_s1_R_1.txt").write_text(json.dumps({"bds": rows}))
        >>> slices = Mshc("retina", "test")
        >>> slices.names, slices[0].surfaces[:, 0]  # counted from 0
        (('hc01_s1_R_1',), array([0., 1., 2., 3., 4., 5., 6., 7., 8.]))
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        subjects: Sequence[str] | None = None,
        surface_names: Sequence[str] = MSHC_SURFACES,
        micrometres: float | None = 3.9,
    ) -> None:
        """List the slices; they are read when they are taken."""
        self.root, self.split = Path(root).expanduser(), split
        if split not in MSHC_SPLITS:
            raise ValueError(f"split must be one of {', '.join(MSHC_SPLITS)}, got {split!r}")
        self.subjects = tuple(MSHC_SPLITS[split] if subjects is None else subjects)
        self.surface_names = tuple(surface_names)
        self.micrometres = micrometres
        for folder in ("image", "label"):
            if not (self.root / folder).is_dir():
                raise FileNotFoundError(f"root: no such folder: {(self.root / folder).absolute()}")
        self._slices = self._find()
        self._names = tuple(path.stem for _, _, path in self._slices)
        there = {subject for subject, _, _ in self._slices}
        self.missing = tuple(name for place, name in enumerate(self.subjects) if place not in there)

    def _find(self) -> list[tuple[int, int, Path]]:
        """Subject, number and image of each slice, in their order."""
        slices = []
        for path in (self.root / "image").glob("*.png"):
            name = path.stem.split("_")[0]
            number = re.search(r"_(\d+)$", path.stem)
            if number is None:
                raise ValueError(f"{path}: expected a name such as hc01_..._12.png, with the number of the slice")
            if name in self.subjects:
                slices.append((self.subjects.index(name), int(number[1]), path))
        if not slices:
            raise ValueError(f"{self.root / 'image'}: no .png of any of the subjects {', '.join(self.subjects)}")
        for _, _, path in slices:
            if not self._label(path).is_file():
                raise FileNotFoundError(f"{path}: its label is missing: {self._label(path).absolute()}")
        images = {path.stem for _, _, path in slices}
        for label in sorted((self.root / "label").glob("*.txt")):
            if label.stem.split("_")[0] in self.subjects and label.stem not in images:
                image = self.root / "image" / f"{label.stem}.png"
                raise FileNotFoundError(f"{label}: its image is missing: {image.absolute()}")
        return sorted(slices)

    def _label(self, path: Path) -> Path:
        return self.root / "label" / f"{path.stem}.txt"

    @property
    def names(self) -> tuple[str, ...]:
        """The files without their folders and suffixes."""
        return self._names

    def __len__(self) -> int:
        """Number of slices."""
        return len(self._slices)

    def __getitem__(self, index: int) -> SurfaceItem:
        """Read a slice and its surfaces."""
        subject, number, path = self._slices[index]
        image = np.ascontiguousarray(read_image(path)[..., 0])
        rows = _read_rows(self._label(path), (len(self.surface_names), image.shape[1]))
        with np.errstate(invalid="ignore"):
            inside = np.clip(rows, 0, image.shape[0] - 1)
        moved = int((~np.isnan(rows) & (rows != inside)).sum())
        extra = {"subject": subject, "subject_name": self.subjects[subject], "slice": number, "moved": moved}
        return SurfaceItem(path.stem, image, inside, extra)

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        lacking = f", {len(self.missing)} subjects missing" if self.missing else ""
        return f"Mshc({self.root}, {self.split}, {len(self)} slices{lacking})"


def _read_rows(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Rows (S, W) of a label file, counted from 0, NaN where unknown."""
    try:
        content: Any = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(content, dict) or "bds" not in content:
        raise ValueError(f'{path}: expected {{"bds": [[rows of a surface], ...]}}, got no "bds"')
    try:
        rows = np.array(content["bds"], dtype=np.float64)  # null becomes NaN
    except (TypeError, ValueError):
        raise ValueError(f'{path}: "bds": expected {shape[0]} lists of {shape[1]} numbers or nulls') from None
    if rows.shape != shape or np.isinf(rows).any():
        raise ValueError(f'{path}: "bds": expected {shape[0]} surfaces of {shape[1]} finite rows, got {rows.shape}')
    return rows - 1
