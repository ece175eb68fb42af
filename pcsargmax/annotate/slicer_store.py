"""Landmarks kept as 3D Slicer's .mrk.json, one beside each scan, which LandmarkFolder and 3D Slicer read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.marks import ABSENT, Mark
from pcsargmax.datasets.cache import atomic_path
from pcsargmax.datasets.landmark_files import stem_of
from pcsargmax.datasets.markups import Frame, check_frame, read_json, read_markups, write_markups

#: Description of a control point that was said to be absent; a merely undefined one nobody has looked at yet.
_ABSENT = "absent"


class SlicerStore:
    """A .mrk.json for each scan.

    A landmark that is absent is an undefined control point described as absent; one that nothing is said of is
    undefined. A file that is there is changed in place: its other points, nodes and display stay as they are.

    Args:
        folder: where the files go; None: beside each scan. A scan from elsewhere is copied there too, so that
            the folder is a data set of its own.
        frame: the frame of the meshes, "LPS" or "RAS", see `pcsargmax.datasets.markups`.
        files: the file of a scan, where it lies in neither place, such as landmarks/B03.mrk.json.
    """

    def __init__(
        self, folder: str | Path | None = None, *, frame: Frame = "LPS", files: Mapping[Path, Path] | None = None
    ) -> None:
        check_frame("frame", frame)
        self.folder = None if folder is None else Path(folder)
        self.frame, self._files = frame, dict(files or {})

    def path(self, scan: Path) -> Path:
        """The file that holds the landmarks of a scan, whether or not it is there."""
        if scan in self._files:
            return self._files[scan]
        return (self.folder or scan.parent) / f"{stem_of(scan.name)}.mrk.json"

    def load(self, scan: Path) -> dict[str, Mark]:
        """The landmarks of a scan that were saved before.

        Raises:
            ValueError: a file that is not 3D Slicer's, with the place.
        """
        path = self.path(scan)
        if not path.is_file():
            return {}
        marks = {name: Mark(_triple(position)) for name, position in read_markups(path, self.frame).items()}
        for node in read_json(path)["markups"]:
            for point in node.get("controlPoints", []):
                if _label(point) not in marks and _is_absent(point):
                    marks[_label(point)] = ABSENT
        return marks

    def save(self, scan: Path, names: Sequence[str], marks: Mapping[str, Mark]) -> Path | None:
        """Save the landmarks of a scan, whole or not at all, and copy the scan to `folder` where it lacks it."""
        path = self.path(scan)
        if not marks and not path.is_file():
            return None
        if self.folder is not None:
            _copy(scan, self.folder / scan.name)
        content = read_json(path) if path.is_file() else {}
        if not (isinstance(content, dict) and content.get("markups")):
            positions = np.full((len(names), 3), np.nan)
            for row, name in enumerate(names):
                if name in marks and marks[name].position is not None:
                    positions[row] = marks[name].position
            told = [_ABSENT if marks.get(name) == ABSENT else "" for name in names]
            write_markups(path, names, positions, descriptions=told, frame=self.frame)
            return path
        self._update(content["markups"], names, marks)
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return path

    def _update(self, nodes: list[dict[str, Any]], names: Sequence[str], marks: Mapping[str, Mark]) -> None:
        """Bring the control points of the names up to date, and append those that are missing to the first node."""
        there = {_label(point): (node, point) for node in nodes for point in node.get("controlPoints", [])}
        for name in names:
            node, point = there.get(name, (nodes[0], None))
            if point is None:
                points = node.setdefault("controlPoints", [])
                point = {"id": _free_id(points), "label": name, "description": "", "position": [0.0, 0.0, 0.0]}
                points.append(point)
            self._set(node, point, marks.get(name))

    def _set(self, node: dict[str, Any], point: dict[str, Any], mark: Mark | None) -> None:
        if _is_absent(point):
            point["description"] = ""
        if mark is None or mark.position is None:
            point["positionStatus"] = "undefined"
            if mark is not None:
                point["description"] = _ABSENT
            return
        same = str(node.get("coordinateSystem", "LPS")).upper() in (self.frame, "1" if self.frame == "LPS" else "0")
        x, y, z = mark.position
        point["position"] = [x, y, z] if same else [-x, -y, z]
        point["positionStatus"] = "defined"


def _label(point: dict[str, Any]) -> str:
    return str(point.get("label") or point.get("id") or "")


def _is_absent(point: dict[str, Any]) -> bool:
    """Whether a control point says that there is none; 3D Slicer calls that missing."""
    status = point.get("positionStatus", "defined")
    return status == "missing" or (status == "undefined" and point.get("description") == _ABSENT)


def _free_id(points: list[dict[str, Any]]) -> str:
    taken = [int(text) for point in points if (text := str(point.get("id", ""))).isascii() and text.isdigit()]
    return str(1 + max(taken, default=0))


def _copy(source: Path, target: Path) -> None:
    """Copy a file byte by byte, unless it is there."""
    if not target.exists():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _triple(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = position.tolist()
    return x, y, z
