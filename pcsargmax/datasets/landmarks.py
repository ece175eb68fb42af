"""Your own scans: a folder of meshes or clouds with landmarks, as a torch-geometric data set."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, InMemoryDataset

from pcsargmax.datasets.cache import cache_folder, cache_key, cached, source_stamp
from pcsargmax.datasets.keypointnet_files import SPLITS
from pcsargmax.datasets.sampling import read_item
from pcsargmax.datasets.splits import find_split_file, is_split_file, read_splits, split_by_share
from pcsargmax.io.clouds import CLOUD_SUFFIXES
from pcsargmax.io.landmarks import (
    LANDMARK_SUFFIXES,
    is_landmark_table,
    read_landmark_table,
    read_landmarks,
    read_length_unit,
    stem_of,
)
from pcsargmax.io.markups import Frame, Landmarks, check_frame

#: Part of the name of a processed file: raise it when its content changes.
_FORMAT = 3


class LandmarkFolder(InMemoryDataset):
    r"""Meshes or clouds of a folder with their landmarks.

    Layout: clouds (.ply .obj .stl .off .pcd .xyz .npy .npz) and landmark files (.mrk.json .fcsv .csv .json)
    anywhere under `root`, in subfolders such as meshes/ and landmarks/ or side by side, matched by their
    stem: B03.ply and B03.mrk.json. One .csv or KeypointNet .json may hold the landmarks of all. Hidden
    files are left out.

    An item is a `Data` in the file's own units and frame, N points, K landmarks:

        pos               (N, 3) float64      points in farthest-point order (`farthest_order` is True)
        color             (N, 3) uint8        where all files have colours
        dense_pos         (D, 3) float64      where asked for: random points of the surface or cloud
        keypoint_pos      (1, K, 3) float64   the landmarks' own positions, zeros where absent
        keypoint_visible  (1, K) bool
        keypoint_site     (1, K) long         row of pos nearest to the landmark, -1 where absent
        model_id          str                 the stem
        category          str                 the name of the folder
        length_unit       str                 such as "mm", where the landmark files have one

    Landmark names are all that the folder has, in natural order (L2 before L10).

    Splits: `split_file`, else `splits.json`, `splits.csv`, or `train.txt`, `val.txt`, `test.txt` in `root`
    or `root/splits` (forms: see `pcsargmax.datasets.splits.read_splits`), else by seed and share over the
    sorted stems: the split depends on the set of files and the seed alone.

    All files are read once into the cache folder (see `pcsargmax.datasets.cache`), never beside the source;
    a changed file is noticed by name, size and time. What was left out is counted and said by a
    `UserWarning`.

    Args:
        root: the folder.
        split: "train", "val", "test", "trainval", "all", or another name that the split file has.
        num_points: N; a surface is sampled evenly, a cloud with fewer points keeps them all.
        dense_points: D, at most; 0 for none.
        seed: of the surface samples and of the split.
        shares: of train, val and test, where no file tells the split; their proportion counts.
        split_file: see above.
        landmarks: file or folder of the landmarks, where they are not under `root`.
        names: the landmarks to use, in this order; None for all.
        mesh_frame: frame of the mesh files, "LPS" or "RAS", see `pcsargmax.io.markups`.
        max_distance: the median distance of a file's landmarks to its surface, as a share of the bounding-box
            diagonal, above which landmarks and mesh are taken not to fit; None for no check.
        unlabelled: keep clouds without landmarks too, which are left out otherwise; there may be no landmarks at all.
        transform: applied to each item when it is taken.
        progress: called with (files read, files to read) while the files are read.

    Attributes:
        missing: stems that the split lists and that have no cloud or no landmarks.
        length_unit: that of all landmark files in use, "mm" of 3D Slicer's (see `pcsargmax.io.read_length_unit`); None
            where they have none or not the same.

    Raises:
        FileNotFoundError: no folder, no clouds, no landmarks, or no two that match, saying what was looked
        for where. ValueError: naming the file, for malformed files, a stem that two files have, landmarks
        far from the surface,
            an unknown or empty split, an unknown landmark name.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax import LandmarkFolder
        >>> Path("teeth").mkdir()
        >>> for name in ("B03", "B04"):
        ...     _ = Path(f"teeth/{name}.xyz").write_text("0 0 0\n8 0 0\n0 5 0\n")
        ...     _ = Path(f"teeth/{name}.csv").write_text("name,x,y,z\ncusp,0.1,5,0\n")
        >>> teeth = LandmarkFolder("teeth", "all")
        >>> teeth.keypoint_names, teeth[0].keypoint_pos.tolist()
        (('cusp',), [[[0.1, 5.0, 0.0]]])
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        num_points: int = 2048,
        dense_points: int = 0,
        seed: int = 0,
        shares: Sequence[float] = (0.7, 0.1, 0.2),
        split_file: str | Path | None = None,
        landmarks: str | Path | None = None,
        names: Iterable[str] | None = None,
        mesh_frame: Frame = "LPS",
        max_distance: float | None = 0.1,
        unlabelled: bool = False,
        transform: Callable[[Data], Data] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Read the folder, or take it from the cache, and select the split."""
        super().__init__(None, transform)
        check_frame("mesh_frame", mesh_frame)
        folder = Path(root).expanduser()
        self.category = folder.resolve().name
        place = Path(landmarks).expanduser() if landmarks is not None else folder
        clouds, sources = _find_files(folder, place, unlabelled)

        def make() -> dict[str, Any]:
            options = {
                "num_points": num_points,
                "dense_points": dense_points,
                "seed": seed,
                "max_distance": max_distance,
                "unlabelled": unlabelled,
            }
            return _process(folder, clouds, sources, mesh_frame, options, progress)

        files = sorted([*clouds.values(), *sources])
        stamps = [[str(path.resolve()), *source_stamp(path)] for path in files]
        options = [num_points, dense_points, seed, mesh_frame, max_distance, unlabelled]
        key = cache_key(_FORMAT, folder.resolve(), *options, stamps)
        stored = cached(cache_folder() / "landmarks" / f"{self.category}-{key}.pt", make)
        self._data, self.slices = Data.from_dict(stored["data"]), stored["slices"]
        self._select_names(stored["names"], names, folder)
        self.length_unit: str | None = stored["length_unit"]
        notes = list(stored["notes"])
        self._select_split(folder, split, split_file, shares, seed, stored["stems"], notes)
        for note in notes:
            warnings.warn(f"{folder}: {note}", UserWarning, stacklevel=2)

    @property
    def num_keypoints(self) -> int:
        """Number of landmarks K."""
        return len(self.keypoint_names)

    def get(self, idx: int) -> Data:
        """Return the item stored in row `idx`, without transform."""
        item = super().get(idx)
        item.category, item.farthest_order = self.category, True
        if self.length_unit is not None:
            item.length_unit = self.length_unit
        return item

    def __repr__(self) -> str:
        """Name the folder and its numbers."""
        return f"LandmarkFolder({self.category}, {len(self)} items, {self.num_keypoints} landmarks)"

    def _select_names(self, known: list[str], names: Iterable[str] | None, folder: Path) -> None:
        chosen = known if names is None else list(names)
        unknown = [name for name in chosen if name not in known]
        if unknown or (known and not chosen) or len(set(chosen)) < len(chosen):
            raise ValueError(f"names: expected distinct landmarks of {folder}, {known}, got {chosen}")
        self.keypoint_names = tuple(chosen)
        columns = [known.index(name) for name in chosen]
        for key in ("keypoint_pos", "keypoint_visible", "keypoint_site"):
            self._data[key] = self._data[key][:, columns]

    def _select_split(
        self,
        folder: Path,
        split: str,
        split_file: str | Path | None,
        shares: Sequence[float],
        seed: int,
        stems: list[str],
        notes: list[str],
    ) -> None:
        source = Path(split_file).expanduser() if split_file is not None else find_split_file(folder)
        if source is not None and not source.exists():
            raise FileNotFoundError(f"split_file: no such file or folder: {source}")
        splits = split_by_share(stems, shares, seed) if source is None else read_splits(source)
        known = [*SPLITS] if source is None else sorted(set(splits.values()))
        wanted = {"all": set(known), "trainval": {"train", "val"} & set(known)}.get(split, {split})
        if not wanted & set(known):
            raise ValueError(f"split: expected one of {[*known, 'all']} ({source or 'by share'}), got {split!r}")
        listed = [stem for stem, its in splits.items() if its in wanted]
        self.missing = tuple(sorted(set(listed) - set(stems), key=_natural))
        if self.missing and source is not None:
            notes.append(f"{_some(self.missing)} of split {split!r} ({source}) have no cloud with landmarks here")
        unlisted = [stem for stem in stems if stem not in splits]
        if unlisted and split != "all":
            notes.append(f"{_some(unlisted)} with landmarks are in no split of {source}")
        self._indices = [row for row, stem in enumerate(stems) if split == "all" or splits.get(stem) in wanted]
        if not self._indices:
            how = f"as {source} has it" if source else f"of {len(stems)} files with shares {tuple(shares)}"
            remedy = f"list some of them in {source}" if source else "train with a larger share (--shares)"
            remedy += " or without validation (--val-split none)" if split == "val" else ""
            raise ValueError(f"split: {split!r} {how} holds none of the files of {folder}; {remedy}")


def _find_files(folder: Path, landmarks: Path, unlabelled: bool) -> tuple[dict[str, Path], list[Path]]:
    """Clouds by stem in natural order, and the files that may hold landmarks."""
    for argument, path in (("root", folder), ("landmarks", landmarks)):
        if not path.exists():
            raise FileNotFoundError(f"{argument}: no such folder: {path.absolute()}")
    files = _files_under(folder)
    clouds: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in CLOUD_SUFFIXES:
            stem = stem_of(path.name)
            if stem in clouds:
                raise ValueError(f"{path}: has the same stem as {clouds[stem]}: landmarks could belong to either")
            clouds[stem] = path
    if not clouds:
        raise FileNotFoundError(f"no clouds or meshes ({' '.join(CLOUD_SUFFIXES)}) under {folder.absolute()}")
    candidates = [landmarks] if landmarks.is_file() else files if landmarks == folder else _files_under(landmarks)
    sources = [p for p in candidates if p.name.lower().endswith(LANDMARK_SUFFIXES) and not is_split_file(p)]
    if not sources and not unlabelled:
        kinds = " ".join(LANDMARK_SUFFIXES)
        raise FileNotFoundError(
            f"no landmark files ({kinds}) under {landmarks.absolute()}; place some with `pcsargmax annotate {folder}`"
        )
    return {stem: clouds[stem] for stem in sorted(clouds, key=_natural)}, sources


def _files_under(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that takes runs of digits as numbers: L2 before L10."""
    return [(int(part), part) if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)] + [
        (-2, name)
    ]


def _some(names: Sequence[str]) -> str:
    """Count and first names, as in: 5 (a, b, c, ...)."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _read_all(sources: list[Path], mesh_frame: Frame) -> tuple[dict[str, Landmarks], dict[str, Path], list[str]]:
    """Landmarks by stem, the file of each, and the names of files that hold no landmarks."""
    table: dict[str, Landmarks] = {}
    origin: dict[str, Path] = {}
    others = []
    for path in sources:
        several = is_landmark_table(path)
        if several is None:
            others.append(path.name)
            continue
        single = {} if several else {stem_of(path.name): read_landmarks(path, mesh_frame=mesh_frame)}
        for stem, landmarks in (read_landmark_table(path) if several else single).items():
            if stem in table:
                raise ValueError(f"{path}: landmarks of {stem!r} are in {origin[stem]} already")
            table[stem], origin[stem] = landmarks, path
    return table, origin, others


def _process(
    folder: Path,
    clouds: dict[str, Path],
    sources: list[Path],
    mesh_frame: Frame,
    options: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Read all clouds that have landmarks, or simply all; return them collated, with stems, names and notes."""
    table, origin, others = _read_all(sources, mesh_frame)
    stems = [stem for stem in clouds if options["unlabelled"] or table.get(stem)]
    bare = [stem for stem in clouds if stem not in stems]
    lone = sorted(set(table) - set(clouds), key=_natural)
    if not stems:
        raise FileNotFoundError(
            f"no cloud under {folder.absolute()} has landmarks: clouds {_some(bare)}, landmarks of "
            f"{_some(lone)}; they are matched by the file's name without its suffix"
        )
    notes = [f"{_some(bare)} clouds have no landmarks"] if bare else []
    notes += [f"{_some(lone)} have landmarks but no cloud"] if lone else []
    notes += [f"{_some(others)} hold no landmarks that can be read and were left out"] if others else []
    length_unit, unlike = _common_unit({origin[stem] for stem in stems if table.get(stem)})
    notes += unlike
    names = sorted({name for stem in stems for name in table.get(stem, {})}, key=_natural)
    items = []
    for number, stem in enumerate(stems, 1):
        item = read_item(clouds[stem], options["num_points"], options["seed"], dense_points=options["dense_points"])
        _add_landmarks(item, table.get(stem, {}), names, options["max_distance"], f"{origin.get(stem)}: {stem}")
        items.append(item)
        if progress is not None:
            progress(number, len(stems))
    plain = [stem for stem, item in zip(stems, items, strict=True) if "color" not in item]
    if 0 < len(plain) < len(items):
        notes.append(f"{_some(plain)} clouds have no colour, so all colours are left out")
    for item in items:
        item.model_id = stem_of(item.model_id)
        if plain:
            item.color = None
        del item["category"], item["farthest_order"]  # the same for all: set when an item is taken
    data, slices = InMemoryDataset.collate(items)
    own = {"stems": stems, "names": names, "notes": notes, "length_unit": length_unit}
    return {"data": data.to_dict(), "slices": slices, **own}


def _common_unit(files: Iterable[Path]) -> tuple[str | None, list[str]]:
    """The unit of length that all landmark files have, else None, and a note where only some have it."""
    by_unit: dict[str | None, list[str]] = {}
    for path in sorted(files):
        by_unit.setdefault(read_length_unit(path), []).append(path.name)
    if len(by_unit) < 2:
        return next(iter(by_unit), None), []
    told = "; ".join(f"{unit or 'no unit'}: {_some(names)}" for unit, names in by_unit.items())
    return None, [f"landmark files differ in their unit of length, so none is known: {told}"]


def _add_landmarks(item: Data, landmarks: Landmarks, names: list[str], max_distance: float | None, where: str) -> None:
    """Give an item its landmark channels; landmarks that cannot belong to its surface are an error."""
    visible = np.array([name in landmarks for name in names], dtype=bool)
    places = np.array([landmarks.get(name, np.zeros(3)) for name in names]).reshape(len(names), 3)
    pos = item.pos.numpy()
    distance, site = _nearest(pos, places[visible])
    if max_distance is not None and visible.any():
        _check_fit(pos, places[visible], float(np.median(distance)), max_distance, where)
    item.keypoint_pos = torch.from_numpy(places)[None]
    item.keypoint_visible = torch.from_numpy(visible)[None]
    item.keypoint_site = torch.full((1, len(names)), -1)
    item.keypoint_site[0, visible] = torch.from_numpy(site)


def _nearest(pos: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (K,) and row (K,) of the point nearest to each place; by differences, to be exact at 1e6."""
    rows = np.array([np.square(pos - place).sum(axis=1).argmin() for place in places], dtype=np.int64)
    return np.linalg.norm(pos[rows] - places, axis=1), rows


def _check_fit(pos: np.ndarray, places: np.ndarray, median: float, max_distance: float, where: str) -> None:
    """Raise ValueError where landmarks lie far from the surface, with a guess why."""
    diagonal = float(np.linalg.norm(np.ptp(pos, axis=0)))
    # The surface is nearer than its samples. In farthest-point order, none of it is farther from them than
    # the last was from the rest.
    gap = float(_nearest(pos[:-1], pos[-1:])[0][0]) if len(pos) > 1 else 0.0
    limit = max_distance * diagonal + gap
    if median <= limit:
        return
    if np.median(_nearest(pos, places * [-1, -1, 1])[0]) <= limit:
        hint = 'with x and y negated they fit: try mesh_frame="RAS", or "LPS" where it is that'
    else:
        size = float(np.linalg.norm(np.ptp(places, axis=0)))
        hint = f"do their units and origin differ? The mesh is {diagonal:.6g} across, the landmarks {size:.6g}"
    raise ValueError(
        f"{where}: the landmarks lie {median:.6g} from the surface (median), more than {max_distance:g} of "
        f"its diagonal; {hint} (max_distance=None turns this check off)"
    )
