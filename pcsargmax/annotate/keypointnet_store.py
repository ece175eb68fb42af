"""Landmarks kept as a category in KeypointNet's layout: annotations, clouds, meshes and splits of one folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.keypointnet_entry import make_keypoint, replace_keypoints
from pcsargmax.annotate.marks import ABSENT, Mark
from pcsargmax.annotate.sources import split_names
from pcsargmax.datasets.cache import source_stamp
from pcsargmax.datasets.keypointnet_files import CLASS_IDS, SPLITS, cloud_path, mesh_path, read_category
from pcsargmax.datasets.sampling import sample_surface
from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.clouds import Cloud, read_cloud, write_cloud
from pcsargmax.io.landmarks import stem_of
from pcsargmax.io.markups import read_json, read_text
from pcsargmax.io.pcd import write_pcd

#: Shares of the splits that models without one are shared out to.
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


class KeypointNetStore:
    r"""A store that keeps landmarks as one category in KeypointNet's layout (see datasets/keypointnet.md).

    A landmark's place among the names is its semantic id, kept in annotations/<category>.txt, a name a line;
    names that are numbers are ids themselves. An entry tells beside KeypointNet's own fields the `name` of each
    keypoint, in `absent` the ids that the model was said to lack, in `source` the file that its cloud was made of, and
    in `symmetries_by_id` the groups whose members are not all there now. Other models, keypoints of other ids and
    other fields of an annotation file that is there stay as they are.

    The cloud of a scan is written to pcds/, unless another is there already: all points of a cloud of up to
    `num_points`, else an even sample; each landmark takes the place of the point nearest to it, so that
    `pcd_info.point_index` names the very position, as in KeypointNet. A mesh is written to ShapeNetCore.v2.ply/;
    `mesh_info` is told where the mesh there is the scan. Models that no split lists are shared out to train, val and
    test, 70/10/20.

    Args:
        root: the folder.
        category: its name, which names a file; one of KeypointNet's 16 has that class id, another is its own.
        num_points: of a cloud.
        seed: of the sample of a surface.

    Raises:
        ValueError: an annotation file that cannot be read, a category that cannot name a file, or num_points less
            than 1.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax import KeypointNet
        >>> from pcsargmax.annotate import KeypointNetStore, Mark
        >>> _ = Path("B03.xyz").write_text("0 0 0\n8 0 0\n0 6 0\n")
        >>> store = KeypointNetStore("data", "tooth")
        >>> _ = store.save(Path("B03.xyz"), ["cusp"], {"cusp": Mark((8, 0, 0), point_index=1)})
        >>> KeypointNet("data", "tooth", "all")[0].keypoint_pos
        tensor([[[8., 0., 0.]]], dtype=torch.float64)
    """

    def __init__(self, root: str | Path, category: str, *, num_points: int = 2048, seed: int = 0) -> None:
        if num_points < 1:
            raise ValueError(f"num_points: expected 1 or more, got {num_points}")
        if not category.strip(". ") or category != Path(category).name:
            raise ValueError(f"category: expected a name without slashes, got {category!r}")
        self.root, self.category = Path(root), category
        self.annotations = self.root / "annotations" / f"{category}.json"
        self.num_points, self.seed = num_points, seed
        self._read: tuple[tuple[str, int, int], list[dict[str, Any]]] | None = None
        self._scan: _Made | None = None
        entries = self._entries()
        self.class_id = entries[0]["class_id"] if entries else CLASS_IDS.get(category, category)

    def names(self, scans: Sequence[Path] = ()) -> list[str]:
        """The landmarks that the category has: of its list of names, else the semantic ids in use."""
        listed = self._listed()
        return listed if listed is not None else [str(number) for number in range(self._num_ids())]

    def load(self, scan: Path) -> dict[str, Mark] | None:
        """The landmarks of a scan that were saved before; None where the category lacks it.

        Raises:
            ValueError: the category has another scan of this name.
        """
        entry = _of_model(self._entries(), scan)
        if entry is None:
            return None
        self._check_source(scan, entry)
        listed = self._listed() or []

        def name_of(number: int) -> str:
            return listed[number] if number < len(listed) else str(number)

        marks = {name_of(k["semantic_id"]): self._read_mark(scan, entry, k) for k in reversed(entry["keypoints"])}
        return dict.fromkeys(map(name_of, entry.get("absent", [])), ABSENT) | marks

    def save(self, scan: Path, names: Sequence[str], marks: Mapping[str, Mark]) -> Path | None:
        """Save the landmarks of a scan: its cloud and mesh first, then names, annotations and split.

        Raises:
            ValueError: names that cannot be told from the semantic ids in use, or the category has another scan of
                this name.
        """
        entries = self._entries()
        entry = _of_model(entries, scan)
        if entry is None and not marks:
            return None
        made = self._made(scan)
        self._read = None  # what is changed below is no longer what the file has
        if entry is None:
            entry = {"class_id": self.class_id, "model_id": stem_of(scan.name), "keypoints": []}
            entries.append(entry)
        self._check_source(scan, entry, made.digest)
        ids = self._semantic_ids(names)
        placed = {name: mark for name, mark in marks.items() if name in ids and mark.position is not None}
        rows = self._write_cloud(made, entry, [mark.position for mark in placed.values()])
        on_mesh = self._write_mesh(made)
        keypoints = [
            make_keypoint(ids[name], name, mark, row, made.cloud, on_mesh)
            for (name, mark), row in zip(placed.items(), rows, strict=True)
        ]
        replace_keypoints(entry, set(ids.values()), keypoints)
        others = set(entry.get("absent", [])) - set(ids.values())
        entry["absent"] = sorted(others | {ids[name] for name in ids if marks.get(name) == ABSENT})
        self._write_names(ids)
        _write_text(self.annotations, json.dumps(entries, allow_nan=False, ensure_ascii=False))
        self._write_split(entry["model_id"])
        return self.annotations

    def _entries(self) -> list[dict[str, Any]]:
        """The annotation file as it is now, checked: another annotator may have written meanwhile."""
        if not self.annotations.is_file():
            return []
        stamp = source_stamp(self.annotations)
        if self._read is None or self._read[0] != stamp:
            content = read_json(self.annotations)
            if not (isinstance(content, list) and all(map(_is_empty, content))):
                read_category(self.root, self.category)  # its checks; one without any keypoint is no category to it
            self._read = stamp, content
        return self._read[1]

    def _num_ids(self) -> int:
        """The largest semantic id in use, plus one."""
        entries = self._entries()
        used = [k["semantic_id"] for entry in entries for k in entry["keypoints"]]
        return 1 + max([*used, *(number for entry in entries for number in entry.get("absent", []))], default=-1)

    def _listed(self) -> list[str] | None:
        path = self.annotations.with_suffix(".txt")
        return split_names(read_text(path)) if path.is_file() else None

    def _semantic_ids(self, names: Sequence[str]) -> dict[str, int]:
        """The semantic id of each name: its line in the list of names, else its own number, else the next one."""
        listed = self._listed()
        if listed is None:
            if all(name.isascii() and name.isdigit() and name == str(int(name)) for name in names):
                return {name: int(name) for name in names}
            listed = [str(number) for number in range(self._num_ids())]
            if listed and not set(listed) & set(names):
                raise ValueError(
                    f"names: {self.annotations} has semantic ids 0 to {len(listed) - 1} without names; list those in "
                    f"{self.annotations.with_suffix('.txt').name} beside it, a name a line, or give the ids"
                )
        listed = [*listed, *(name for name in names if name not in listed)]
        return {name: listed.index(name) for name in names}

    def _write_names(self, ids: Mapping[str, int]) -> None:
        listed = self._listed()
        if listed is None and all(name == str(number) for name, number in ids.items()):
            return
        table = dict(enumerate(listed if listed is not None else map(str, range(self._num_ids()))))
        table |= {number: name for name, number in ids.items()}
        lines = [table[number] for number in sorted(table)]
        if lines != listed:
            _write_text(self.annotations.with_suffix(".txt"), "".join(f"{line}\n" for line in lines))

    def _read_mark(self, scan: Path, entry: dict[str, Any], keypoint: dict[str, Any]) -> Mark:
        """A keypoint's mark; its numbers of points and triangles count only where the scan is what they count in."""
        mesh, cloud = keypoint.get("mesh_info"), keypoint.get("pcd_info")
        index = cloud["point_index"] if cloud and self._is_at(cloud_path, scan) else None
        face, uv = None, None
        if mesh and ((entry.get("source") or {}).get("file") == scan.name or self._is_at(mesh_path, scan)):
            face, uv = mesh["face_index"], tuple(mesh["face_uv"])
        return Mark(tuple(keypoint["xyz"]), index, face, uv)

    def _is_at(self, path_of: Callable[[Path, str, str], Path], scan: Path) -> bool:
        """Whether a scan is the category's own cloud or mesh."""
        path = path_of(self.root, self.class_id, stem_of(scan.name))
        return path.exists() and path.samefile(scan)

    def _is_own(self, scan: Path) -> bool:
        return self._is_at(cloud_path, scan) or self._is_at(mesh_path, scan)

    def _check_source(self, scan: Path, entry: dict[str, Any], digest: str | None = None) -> None:
        """Refuse a scan where the category has another of this name, by its size, and by its content if given."""
        source = entry.get("source")
        if not source or self._is_own(scan):
            return
        told = {"file": scan.name, "size": scan.stat().st_size, "sha256": digest or source["sha256"]}
        if told != source:
            raise ValueError(
                f"{scan}: {self.annotations} has landmarks of another {source['file']} as {entry['model_id']!r}; "
                "rename this one, or name another --category or --out"
            )

    def _write_cloud(self, made: _Made, entry: dict[str, Any], positions: Sequence[Any]) -> Sequence[int | None]:
        """Write the cloud to pcds/ unless another is there; return the row of each position in what is there."""
        path = cloud_path(self.root, self.class_id, entry["model_id"])
        if path.exists() and (self._is_own(made.path) or not entry.get("source")):  # not made here: it stays as it is
            points = read_cloud(path).points
            return [_row_at(points, position) for position in positions]
        entry["source"] = {"file": made.path.name, "size": made.path.stat().st_size, "sha256": made.digest}
        points = made.sample.points.copy()
        rows = _insert(points, positions)
        size = float(np.linalg.norm(np.ptp(points, axis=0))) or 1.0
        write_pcd(path, points, made.sample.color, digits=9 + max(0, math.ceil(-math.log10(size))))
        return rows

    def _write_mesh(self, made: _Made) -> bool:
        """Write a mesh unless one is there; whether what is there is the scan."""
        path, cloud = mesh_path(self.root, self.class_id, stem_of(made.path.name)), made.cloud
        if cloud.faces is None:
            return False
        if not path.exists():
            write_cloud(path, cloud)
            made.on_mesh = True
        if made.on_mesh is None:
            stored = read_cloud(path)
            made.on_mesh = np.array_equal(stored.points, cloud.points) and np.array_equal(
                np.zeros(0) if stored.faces is None else stored.faces, cloud.faces
            )
        return made.on_mesh

    def _made(self, scan: Path) -> _Made:
        """What is made of a scan; kept of the last one alone, for they can be large."""
        if self._scan is None or self._scan.path != scan:
            cloud = sample = read_cloud(scan)
            if cloud.faces is not None or len(cloud.points) > self.num_points:
                drawn = sample_surface(cloud, self.num_points, self.seed, name=str(scan))
                sample = Cloud(drawn.points, drawn.color)
            self._scan = _Made(scan, hashlib.sha256(scan.read_bytes()).hexdigest(), cloud, sample)
        return self._scan

    def _write_split(self, model_id: str) -> None:
        """List a model that no split lists in the one that most lacks its share of the category."""
        prefix = f"{self.class_id}-"
        paths = {split: self.root / "splits" / f"{split}.txt" for split in SPLITS}
        texts = {split: read_text(path) if path.is_file() else "" for split, path in paths.items()}
        listed = {split: split_names(text) for split, text in texts.items()}
        if any(line in (prefix + model_id, model_id) for lines in listed.values() for line in lines):
            return
        counts = Counter({split: sum(line.startswith(prefix) for line in lines) for split, lines in listed.items()})
        total = sum(counts.values()) + 1
        least = max(SPLITS, key=lambda split: _SHARES[split] * total - counts[split])
        for split, path in paths.items():
            if split == least or not path.is_file():
                line = f"{prefix}{model_id}\n" if split == least else ""
                text = texts[split]
                _write_text(path, text + ("\n" if text and not text.endswith("\n") else "") + line)


@dataclass
class _Made:
    """A scan's file, and the points of it that go to pcds/."""

    path: Path
    digest: str
    cloud: Cloud
    sample: Cloud
    on_mesh: bool | None = None  # whether the category's mesh is this one; None: not looked at yet


def _of_model(entries: list[dict[str, Any]], scan: Path) -> dict[str, Any] | None:
    return next((entry for entry in entries if entry["model_id"] == stem_of(scan.name)), None)


def _is_empty(entry: Any) -> bool:
    """Whether an entry is whole, but without keypoints."""
    return (
        isinstance(entry, dict)
        and entry.get("keypoints") == []
        and all(isinstance(entry.get(key), str) for key in ("class_id", "model_id"))
    )


def _insert(points: np.ndarray, positions: Sequence[Any]) -> list[int]:
    """Move the nearest point to each position, none twice; return their rows."""
    rows: list[int] = []
    for position in positions:
        distance = np.square(points - np.asarray(position)).sum(axis=1)
        if distance.min() > 0 and len(rows) < len(points):
            distance[rows] = np.inf
        row = int(distance.argmin())
        points[row] = position
        rows.append(row)
    return rows


def _row_at(points: np.ndarray, position: Any) -> int | None:
    """The row of the point at a position; None where there is none."""
    distance = np.square(points - np.asarray(position)).sum(axis=1)
    row = int(distance.argmin())
    return row if distance[row] == 0 else None


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
