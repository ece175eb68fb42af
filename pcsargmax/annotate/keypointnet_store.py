"""Landmarks kept as a category in KeypointNet's layout: annotations, clouds, meshes and splits of one folder."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.marks import ABSENT, Mark
from pcsargmax.datasets.cache import atomic_path, source_stamp
from pcsargmax.datasets.files import Cloud, read_cloud, sample_surface, write_cloud
from pcsargmax.datasets.keypointnet_files import CLASS_IDS, SPLITS, cloud_path, mesh_path, read_category
from pcsargmax.datasets.landmark_files import stem_of
from pcsargmax.datasets.markups import read_json, read_text
from pcsargmax.datasets.pcd import write_pcd

#: Shares of the splits that models without one are shared out to.
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


class KeypointNetStore:
    """One category of a folder in KeypointNet's layout, the card datasets/keypointnet.md describes it.

    A landmark's place among the names is its semantic id, kept in annotations/<category>.txt, a name a line;
    names that are numbers are ids themselves. An entry tells beside KeypointNet's own fields the `name` of each
    keypoint, in `absent` the ids that the model was said to lack, and in `source` the file that its cloud was made
    of. Other models, keypoints of other ids and
    symmetries of an annotation file that is there stay as they are.

    The cloud of a scan is written to pcds/, unless another is there already: all points of a cloud of up to
    `num_points`, else an even sample; each landmark of a sample takes the place of the point nearest to it, so that
    `pcd_info.point_index` names the very position, as in KeypointNet. A mesh is written to ShapeNetCore.v2.ply/,
    where `mesh_info` holds. Models that no split lists are shared out to train, val and test, 70/10/20.

    Args:
        root: the folder.
        category: its name; one of KeypointNet's 16 has that class id, another is its own.
        num_points: of a cloud.
        seed: of the sample of a surface.

    Raises:
        ValueError: an annotation file that cannot be read, or num_points less than 1.
    """

    def __init__(self, root: str | Path, category: str, *, num_points: int = 2048, seed: int = 0) -> None:
        if num_points < 1:
            raise ValueError(f"num_points: expected 1 or more, got {num_points}")
        self.root, self.category = Path(root), category
        self.annotations = self.root / "annotations" / f"{category}.json"
        self.num_points, self.seed = num_points, seed
        self._read: tuple[tuple[str, int, int], list[dict[str, Any]]] | None = None
        self._scan: tuple[Path, Cloud, Cloud] | None = None
        entries = self._entries()
        self.class_id = str(entries[0].get("class_id")) if entries else CLASS_IDS.get(category, category)
        self._num_ids = 1 + max((k["semantic_id"] for entry in entries for k in entry["keypoints"]), default=-1)

    @property
    def names(self) -> list[str]:
        """The landmarks that the category has: of its list of names, else the semantic ids in use."""
        listed = self._listed()
        return listed if listed is not None else [str(number) for number in range(self._num_ids)]

    def load(self, scan: Path) -> dict[str, Mark]:
        """The landmarks of a scan that were saved before."""
        entry = next((e for e in self._entries() if e["model_id"] == stem_of(scan.name)), None)
        if entry is None:
            return {}
        listed = self._listed()

        def name_of(number: int) -> str:
            return listed[number] if listed is not None and number < len(listed) else str(number)

        marks = {name_of(k["semantic_id"]): self._read_mark(scan, k) for k in reversed(entry["keypoints"])}
        return marks | {name_of(number): ABSENT for number in entry.get("absent", []) if name_of(number) not in marks}

    def save(self, scan: Path, names: Sequence[str], marks: Mapping[str, Mark]) -> Path | None:
        """Save the landmarks of a scan: its cloud and mesh first, then names, annotations and split.

        Raises:
            ValueError: names that cannot be told from the semantic ids in use.
        """
        model_id, entries = stem_of(scan.name), self._entries()
        entry = next((e for e in entries if e["model_id"] == model_id), None)
        if entry is None:
            if not marks:
                return None
            entry = {"class_id": self.class_id, "model_id": model_id, "keypoints": []}
            entries.append(entry)
        self._read = None  # what is changed below is no longer what the file has
        ids = self._semantic_ids(names)
        placed = {name: mark for name, mark in marks.items() if name in ids and mark.position is not None}
        rows = self._write_cloud(scan, entry, [mark.position for mark in placed.values()])
        cloud = self._cloud_and_sample(scan)[0]
        keypoints = [
            _keypoint(ids[name], name, mark, row, cloud) for (name, mark), row in zip(placed.items(), rows, strict=True)
        ]
        _replace(entry, set(ids.values()), keypoints)
        entry["absent"] = sorted(ids[name] for name, mark in marks.items() if name in ids and mark == ABSENT)
        self._write_names(ids)
        _write_text(self.annotations, json.dumps(entries, allow_nan=False, ensure_ascii=False))
        self._write_split(model_id)
        return self.annotations

    def _entries(self) -> list[dict[str, Any]]:
        """The annotation file as it is now, checked: another annotator may have written meanwhile."""
        if not self.annotations.is_file():
            return []
        stamp = source_stamp(self.annotations)
        if self._read is None or self._read[0] != stamp:
            content = read_json(self.annotations)
            known = isinstance(content, list) and all(isinstance(e, dict) and e.get("keypoints") == [] for e in content)
            if not known:  # a file without any keypoint yet is no category to others
                read_category(self.root, self.category)
            self._read = stamp, content
        return self._read[1]

    def _listed(self) -> list[str] | None:
        path = self.annotations.with_suffix(".txt")
        return [line.strip() for line in read_text(path).splitlines() if line.strip()] if path.is_file() else None

    def _semantic_ids(self, names: Sequence[str]) -> dict[str, int]:
        """The semantic id of each name: its line in the list of names, else its own number, else the next one."""
        listed = self._listed()
        if listed is None:
            if all(name.isascii() and name.isdigit() for name in names):
                return {name: int(name) for name in names}
            listed = [str(number) for number in range(self._num_ids)]
            if listed and not set(listed) & set(names):
                raise ValueError(
                    f"names: {self.annotations} has semantic ids 0 to {self._num_ids - 1} without names; list those in "
                    f"{self.annotations.with_suffix('.txt').name} beside it, a name a line, or give the ids"
                )
        listed = [*listed, *(name for name in names if name not in listed)]
        return {name: listed.index(name) for name in names}

    def _write_names(self, ids: Mapping[str, int]) -> None:
        listed = self._listed()
        if listed is None and all(name == str(number) for name, number in ids.items()):
            return
        table = dict(enumerate(listed if listed is not None else map(str, range(self._num_ids))))
        table |= {number: name for name, number in ids.items()}
        lines = [table[number] for number in sorted(table)]
        if lines != listed:
            _write_text(self.annotations.with_suffix(".txt"), "".join(f"{line}\n" for line in lines))

    def _read_mark(self, scan: Path, keypoint: dict[str, Any]) -> Mark:
        mesh = keypoint.get("mesh_info") or {}
        x, y, z = keypoint["xyz"]
        # The index counts in the cloud of pcds/, which is the scan itself only where that lies there.
        index = (keypoint.get("pcd_info") or {}).get("point_index") if self._is_own(scan) else None
        face = (mesh["face_index"], tuple(mesh["face_uv"])) if mesh else (None, None)
        return Mark((x, y, z), index, *face)

    def _is_own(self, scan: Path) -> bool:
        path = cloud_path(self.root, self.class_id, stem_of(scan.name))
        return path.exists() and path.resolve() == scan.resolve()

    def _write_cloud(self, scan: Path, entry: dict[str, Any], positions: Sequence[Any]) -> Sequence[int | None]:
        """Write what pcds/ and the meshes' folder lack; return the row of each position in the cloud of pcds/."""
        cloud, sample = self._cloud_and_sample(scan)
        model_id = stem_of(scan.name)
        path, mesh = cloud_path(self.root, self.class_id, model_id), mesh_path(self.root, self.class_id, model_id)
        if cloud.faces is not None and not mesh.exists():
            write_cloud(mesh, cloud)
        if path.exists() and entry.get("source") != scan.name:  # not made here: it stays as it is
            points = cloud.points if self._is_own(scan) else read_cloud(path).points
            return [_row_at(points, position) for position in positions]
        entry["source"] = scan.name
        points = sample.points.copy()
        rows = _insert(points, positions)
        size = float(np.linalg.norm(np.ptp(points, axis=0))) or 1.0
        write_pcd(path, points, sample.color, digits=9 + max(0, math.ceil(-math.log10(size))))
        return rows

    def _cloud_and_sample(self, scan: Path) -> tuple[Cloud, Cloud]:
        """A scan's file and the points of it that go to pcds/; kept of the last scan alone, for they can be large."""
        if self._scan is None or self._scan[0] != scan:
            cloud = sample = read_cloud(scan)
            if cloud.faces is not None or len(cloud.points) > self.num_points:
                drawn = sample_surface(cloud, self.num_points, self.seed, name=str(scan))
                sample = Cloud(drawn.points, drawn.color)
            self._scan = scan, cloud, sample
        return self._scan[1:]

    def _write_split(self, model_id: str) -> None:
        """List a model that no split lists in the one that most lacks its share of the category."""
        prefix = f"{self.class_id}-"
        paths = {split: self.root / "splits" / f"{split}.txt" for split in SPLITS}
        texts = {split: read_text(path) if path.is_file() else "" for split, path in paths.items()}
        listed = {split: text.split() for split, text in texts.items()}
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


def _keypoint(number: int, name: str, mark: Mark, row: int | None, cloud: Cloud) -> dict[str, Any]:
    """An entry of a list of keypoints; what is not known is left out."""
    assert mark.position is not None
    keypoint: dict[str, Any] = {"semantic_id": number, "name": name, "xyz": list(mark.position)}
    color = _color(mark, cloud)
    if color is not None:
        keypoint["rgb"] = [round(float(value)) for value in color]
    if row is not None:
        keypoint["pcd_info"] = {"point_index": row}
    if mark.face_index is not None and mark.face_uv is not None:
        keypoint["mesh_info"] = {"face_index": mark.face_index, "face_uv": list(mark.face_uv)}
    return keypoint


def _color(mark: Mark, cloud: Cloud) -> np.ndarray | None:
    """(3,) the colour of the scan at a mark, 0 to 255; None where that is not known."""
    if cloud.color is None:
        return None
    if mark.point_index is not None:
        return cloud.color[mark.point_index].astype(float)
    if mark.face_index is None or cloud.faces is None:
        return None
    return np.asarray(mark.face_uv) @ cloud.color[cloud.faces[mark.face_index]]


def _replace(entry: dict[str, Any], ids: set[int], keypoints: list[dict[str, Any]]) -> None:
    """Put keypoints in place of those of the same ids, and let the symmetries follow: they count places in the list."""
    before = entry["keypoints"]
    fresh = {keypoint["semantic_id"]: keypoint for keypoint in keypoints}
    after = [
        _merge(old, fresh.pop(old["semantic_id"])) if old["semantic_id"] in fresh else old
        for old in before
        if old["semantic_id"] in fresh or old["semantic_id"] not in ids
    ]
    entry["keypoints"] = [*after, *fresh.values()]
    place = {keypoint["semantic_id"]: number for number, keypoint in enumerate(entry["keypoints"])}
    for kind, groups in (entry.get("symmetries") or {}).items():
        for group in groups:
            members = [before[number]["semantic_id"] for number in group["kp_indexes"]]
            group["kp_indexes"] = [place[number] for number in members if number in place]
        entry["symmetries"][kind] = [group for group in groups if group["kp_indexes"]]


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A keypoint that did not move keeps what was known of it."""
    return {**old, **new} if list(old["xyz"]) == new["xyz"] else new


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
