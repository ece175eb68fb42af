"""3D Slicer's markups, read and written: .mrk.json and the older .fcsv.

Frames. Markups name their coordinate system: LPS (x to the patient's left, y to the back) or RAS (right,
front); one is the other with x and y negated. Mesh files do not name theirs. 3D Slicer saves markups and
models as LPS unless told otherwise, so meshes are taken as LPS; `mesh_frame="RAS"` is for those saved as
RAS. Positions are given in the frame of the mesh.

Units. Lengths are in mm, which is the default of Slicer's schema of .mrk.json; a node of it may name another unit
(`coordinateUnits`: "mm" or "um"). Slicer itself works in mm, and so are its .fcsv.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsargmax.io.atomic import atomic_path
from pcsargmax.io.axes import Frame as Frame

Landmarks = dict[str, np.ndarray]  # name -> (3,) float64

_SYSTEMS = {"LPS": "LPS", "RAS": "RAS", "1": "LPS", "0": "RAS"}
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_DEFINED = ("", "2")  # fcsv's numbers of a control point's status: 2 is "defined", absent in older files


def read_markups(path: Path, mesh_frame: Frame) -> Landmarks:
    """Read .mrk.json: name -> (3,) position in the frame of the mesh; several nodes are put together."""
    content = read_json(path)
    nodes = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(nodes, list):
        raise ValueError(f"{path}: expected 3D Slicer markups, an object with a list named markups")
    landmarks: Landmarks = {}
    for node in nodes:
        points = node.get("controlPoints", []) if isinstance(node, dict) else None
        if not isinstance(points, list):
            raise ValueError(f"{path}: expected each markup to be an object with a list named controlPoints")
        sign = system_sign(node.get("coordinateSystem", "LPS"), mesh_frame, str(path))
        for number, point in enumerate(points, 1):
            where = f"{path}: control point {number}"
            if not isinstance(point, dict):
                raise ValueError(f"{where}: expected an object, got {point!r}")
            name = str(point.get("label") or point.get("id") or "")
            if not name:
                raise ValueError(f"{where}: has neither a label nor an id")
            if point.get("positionStatus", "defined") == "defined":
                position = parse_position(point.get("position") or (), f"{where} ({name})") * sign
                add_landmark(landmarks, name, position, where)
    return landmarks


def markups_unit(path: Path) -> str | None:
    """Return the unit of length of .mrk.json: "mm" where it names none, None where its nodes do not have the same."""
    units = set()
    for node in read_json(path)["markups"]:
        named = node.get("coordinateUnits", "mm")
        code = named[0] if isinstance(named, list) and named else named  # of DICOM: [code, coding scheme, meaning]
        units.add(code.strip() or None if isinstance(code, str) else None)
    return units.pop() if len(units) == 1 else None


def read_fcsv(path: Path, mesh_frame: Frame) -> Landmarks:
    """Read .fcsv: name -> (3,) position in the frame of the mesh."""
    sign, columns = None, ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label"]
    landmarks: Landmarks = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"{path}:{number}"
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip().lower() == "coordinatesystem":
                sign = system_sign(value.strip(), mesh_frame, where)
            elif key.strip().lower() == "columns":
                columns = [column.strip() for column in value.split(",")]
        elif line.strip():
            if sign is None or not {"x", "y", "z"} <= set(columns):
                raise ValueError(
                    f"{where}: expected header lines '# CoordinateSystem = ' and '# columns = ' with x, y, z"
                )
            values = next(csv.reader([line]))
            row = dict(zip(columns, values, strict=False))
            name = (row.get("label") or row.get("id") or "").strip()
            if not name:
                raise ValueError(f"{where}: has neither a label nor an id")
            # Slicer 5 writes the status behind the named columns.
            if (values[14] if len(values) > 14 else "") in _DEFINED:
                add_landmark(
                    landmarks,
                    name,
                    parse_position([row.get(axis) for axis in "xyz"], f"{where} ({name})") * sign,
                    where,
                )
    return landmarks


def write_markups(
    path: str | Path,
    names: Sequence[str],
    positions: np.ndarray,
    *,
    descriptions: Sequence[str] | None = None,
    visible: Sequence[bool] | np.ndarray | None = None,
    frame: Frame = "LPS",
    unit: str = "mm",
) -> None:
    """Write a 3D Slicer point list (.mrk.json, schema 1.0.3), atomically.

    Args:
        path: the file.
        names: K labels.
        positions: (K, 3) in the frame of the mesh; a row that is not finite is written as undefined.
        descriptions: K texts that Slicer shows beside the points, such as confidences.
        visible: (K,); False is written as undefined.
        frame: the frame of the mesh, "LPS" or "RAS"; written as the coordinate system, so that Slicer, which reads a
            mesh as LPS or RAS by its own settings, shows both in one place.
        unit: of length, "mm" or "um" (micrometres), the two that Slicer knows.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.io import read_landmarks, write_markups
        >>> positions = np.array([[1.5, 2, 3], [np.nan] * 3])
        >>> write_markups("B03.mrk.json", ["cusp", "root"], positions, descriptions=["confidence 0.9", ""])
        >>> read_landmarks("B03.mrk.json")  # the root is written as undefined
        {'cusp': array([1.5, 2. , 3. ])}
    """
    positions = _check_positions(names, positions)
    check_frame("frame", frame)
    shown = np.isfinite(positions).all(axis=1)
    if visible is not None:
        shown &= np.asarray(visible, dtype=bool)
    texts = descriptions if descriptions is not None else [""] * len(names)
    points = [
        {
            "id": str(number),
            "label": str(name),
            "description": text,
            "associatedNodeID": "",
            "position": position.tolist() if defined else [0.0, 0.0, 0.0],
            "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
            "selected": True,
            "locked": False,
            "visibility": True,
            "positionStatus": "defined" if defined else "undefined",
        }
        for number, (name, text, position, defined) in enumerate(zip(names, texts, positions, shown, strict=True), 1)
    ]
    node = {"type": "Fiducial", "coordinateSystem": frame, "coordinateUnits": unit, "controlPoints": points}
    with atomic_path(path) as temporary:
        text = json.dumps({"@schema": _SCHEMA, "markups": [node]}, indent=1, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_text(path: Path) -> str:
    """Read a UTF-8 file; what is not one is a ValueError naming it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (UTF-8): {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file; what is malformed is a ValueError with its line."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: malformed JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError(f"{path}: malformed JSON: nested too deeply") from None


def parse_position(values: Iterable[Any], where: str) -> np.ndarray:
    """Make a position (3,) float64 of 3 finite numbers or their texts; `where` opens the error."""
    try:
        position = np.zeros(0) if isinstance(values, str) else np.array([float(value) for value in values])
    except (TypeError, ValueError):
        position = np.zeros(0)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise ValueError(f"{where}: expected a position of 3 finite numbers, got {values!r}")
    return position


def add_landmark(landmarks: Landmarks, name: str, position: np.ndarray, where: str) -> None:
    """Add a landmark that must not be there yet."""
    if name in landmarks:
        raise ValueError(f"{where}: the landmark {name!r} comes a second time")
    landmarks[name] = position


def check_frame(argument: str, frame: str) -> None:
    """Raise ValueError unless `frame` is "LPS" or "RAS"."""
    if frame not in ("LPS", "RAS"):
        raise ValueError(f'{argument}: expected "LPS" or "RAS", got {frame!r}')


def system_sign(system: Any, mesh_frame: Frame, where: str) -> np.ndarray:
    """The factors (3,) that take a position from `system` to the frame of the mesh."""
    known = _SYSTEMS.get(str(system).strip().upper())
    if known is None:
        raise ValueError(f"{where}: coordinate system: expected LPS, RAS, 0 (RAS) or 1 (LPS), got {system!r}")
    return np.array([1.0, 1.0, 1.0] if known == mesh_frame else [-1.0, -1.0, 1.0])


def _check_positions(names: Sequence[str], positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=np.float64)
    if positions.shape != (len(names), 3):
        raise ValueError(f"positions: expected ({len(names)}, 3) for {len(names)} names, got {positions.shape}")
    return positions
