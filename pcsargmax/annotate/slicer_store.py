"""Landmarks kept as 3D Slicer's .mrk.json, one beside each scan, which LandmarkFolder and 3D Slicer read."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.annotate.marks import ABSENT, Mark
from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.clouds import CLOUD_SUFFIXES
from pcsargmax.io.landmarks import stem_of
from pcsargmax.io.markups import Frame, check_frame, read_json, read_markups, system_sign, write_markups

#: What the description of a control point that was said to be absent begins with, before its own, if any; a merely
#: undefined one nobody has looked at yet.
_ABSENT = "absent"


class SlicerStore:
    """A store that keeps the landmarks of each scan in a .mrk.json file.

    A landmark that is absent is an undefined control point described as absent; one that nothing is said of is
    undefined. A file that is there is changed in place, and in it only what was said anew: other points, nodes and
    fields stay as they are.

    Args:
        folder: where the files go; None: beside each scan. A scan from elsewhere is copied there too, so that
            the folder is a data set of its own; two scans of one name cannot both go there.
        frame: the frame of the meshes, "LPS" or "RAS", see `pcsargmax.io.markups`.
        files: the file of a scan, where it lies in neither place, such as landmarks/B03.mrk.json.

    Example:
        >>> from pathlib import Path
        >>> from pcsargmax.annotate import ABSENT, Mark, SlicerStore
        >>> store = SlicerStore()
        >>> store.save(Path("B03.ply"), ["cusp", "root"], {"cusp": Mark((1, 2, 3)), "root": ABSENT}).name
        'B03.mrk.json'
        >>> store.names([Path("B03.ply")]), store.load(Path("B03.ply"))["cusp"].position
        (['cusp', 'root'], (1.0, 2.0, 3.0))
    """

    def __init__(
        self, folder: str | Path | None = None, *, frame: Frame = "LPS", files: Mapping[Path, Path] | None = None
    ) -> None:
        check_frame("frame", frame)
        self.folder = None if folder is None else Path(folder)
        self.frame, self._files = frame, dict(files or {})
        self._copied: set[Path] = set()

    def path(self, scan: Path) -> Path:
        """The file that holds the landmarks of a scan, whether or not it is there."""
        if scan in self._files:
            return self._files[scan]
        return (self.folder or scan.parent) / f"{stem_of(scan.name)}.mrk.json"

    def names(self, scans: Sequence[Path]) -> list[str]:
        """The labels of all control points, also of those that are nowhere yet, in the order of the files."""
        found = [path for path in map(self.path, scans) if path.is_file()]
        return list(dict.fromkeys(_label(point) for path in found for _, point in _points(read_json(path))))

    def load(self, scan: Path) -> dict[str, Mark] | None:
        """The landmarks of a scan that were saved before; None where there is no file of it.

        Raises:
            ValueError: a file that is not 3D Slicer's, with the place, or `folder` holds another scan of this name.
        """
        path = self.path(scan)
        self._check_copy(scan)
        if not path.is_file():
            return None
        marks = {name: Mark(_triple(position)) for name, position in read_markups(path, self.frame).items()}
        absent = [_label(point) for _, point in _points(read_json(path)) if _is_absent(point)]
        return dict.fromkeys(absent, ABSENT) | marks

    def save(self, scan: Path, names: Sequence[str], marks: Mapping[str, Mark]) -> Path | None:
        """Save the landmarks of a scan, whole or not at all, and copy the scan to `folder` where it lacks it.

        Raises:
            ValueError: as `load`.
        """
        path = self.path(scan)
        before = self.load(scan)
        if before is None and not marks:
            return None
        self._copy(scan)
        if before is None:
            placed = [mark.position if (mark := marks.get(name)) else None for name in names]
            positions = np.array([place or (np.nan,) * 3 for place in placed]).reshape(-1, 3)
            told = [_ABSENT if marks.get(name) == ABSENT else "" for name in names]
            write_markups(path, names, positions, descriptions=told, frame=self.frame)
            return path
        content = read_json(path)
        self._update(content["markups"], names, before, marks)
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return path

    def _update(
        self,
        nodes: list[dict[str, Any]],
        names: Sequence[str],
        before: Mapping[str, Mark],
        marks: Mapping[str, Mark],
    ) -> None:
        """Change the control points of the names that are said anew, and append those that are missing."""
        there: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        for node, point in _points({"markups": nodes}):
            if _label(point) not in there or _is_defined(point):  # the one that readers take
                there[_label(point)] = node, point
        for name in names:
            if name not in there:
                node = _list_of(nodes, self.frame)
                points = node.setdefault("controlPoints", [])
                point = {"id": _free_id(points), "label": name, "description": "", "position": [0.0, 0.0, 0.0]}
                points.append(point)
                self._set(node, point, marks.get(name))
            elif _position(before.get(name)) != _position(marks.get(name)):
                self._set(*there[name], marks.get(name))

    def _set(self, node: dict[str, Any], point: dict[str, Any], mark: Mark | None) -> None:
        own = str(point.get("description") or "")
        if _is_absent(point):
            own = own.removeprefix(_ABSENT).removeprefix(": ")
        gone = mark is not None and mark.position is None
        point["description"] = (f"{_ABSENT}: {own}" if own else _ABSENT) if gone else own
        if mark is None or mark.position is None:
            point["positionStatus"] = "undefined"
            return
        sign = system_sign(node.get("coordinateSystem", "LPS"), self.frame, "coordinateSystem")
        point["position"] = (sign * mark.position).tolist()
        point["positionStatus"] = "defined"

    def _check_copy(self, scan: Path, *, whole: bool = False) -> None:
        """Refuse a scan that `folder` has another of: landmarks go by the name. Whole files are compared on request."""
        if self.folder is None or not self.folder.is_dir() or (self.folder / scan.name) in self._copied:
            return
        stem = stem_of(scan.name)
        named = (self.folder / f"{stem}{suffix}" for suffix in CLOUD_SUFFIXES)
        rivals = [path for path in named if path.name != scan.name and path.is_file()]
        copy = self.folder / scan.name
        if not rivals and copy.exists() and not copy.samefile(scan):
            same = copy.stat().st_size == scan.stat().st_size and (not whole or filecmp.cmp(copy, scan, shallow=False))
            rivals = [] if same else [copy]
        if rivals:
            raise ValueError(
                f"{rivals[0]}: is another scan than {scan}, and landmarks go by the name; name another folder with "
                "--out, or rename one"
            )

    def _copy(self, scan: Path) -> None:
        """Copy a scan to `folder` byte by byte, unless it is there."""
        if self.folder is None:
            return
        self._check_copy(scan, whole=True)
        target = self.folder / scan.name
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(scan, temporary)
        self._copied.add(target)


def _points(content: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each control point with its node."""
    return ((node, point) for node in content["markups"] for point in node.get("controlPoints", []))


def _list_of(nodes: list[dict[str, Any]], frame: Frame) -> dict[str, Any]:
    """The first point list; a new one where there are only lines, curves and the like."""
    for node in nodes:
        if node.get("type", "Fiducial") == "Fiducial":
            return node
    nodes.append({"type": "Fiducial", "coordinateSystem": frame, "coordinateUnits": "mm", "controlPoints": []})
    return nodes[-1]


def _label(point: dict[str, Any]) -> str:
    return str(point.get("label") or point.get("id") or "")


def _is_defined(point: dict[str, Any]) -> bool:
    return bool(point.get("positionStatus", "defined") == "defined")


def _is_absent(point: dict[str, Any]) -> bool:
    """Whether a control point says that there is none; 3D Slicer calls that missing."""
    status, told = point.get("positionStatus"), str(point.get("description") or "")
    return status == "missing" or (status == "undefined" and (told == _ABSENT or told.startswith(f"{_ABSENT}: ")))


def _position(mark: Mark | None) -> Any:
    """What of a mark is kept: (its position,), (None,) of one that is absent, None of none."""
    return None if mark is None else (mark.position,)


def _free_id(points: list[dict[str, Any]]) -> str:
    taken = [int(text) for point in points if (text := str(point.get("id", ""))).isascii() and text.isdigit()]
    return str(1 + max(taken, default=0))


def _triple(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = position.tolist()
    return x, y, z
