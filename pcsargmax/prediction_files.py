"""Predictions in files: JSON, CSV, 3D Slicer's markups, and NumPy's .npz, which holds everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pcsargmax.predictions.files import check_number, json_bytes, npz_bytes, read_npz, write_whole
from pcsargmax.predictions.parts import Skeleton, Surface, SymmetryMark

if TYPE_CHECKING:
    from pcsargmax.io.markups import Frame
    from pcsargmax.predictions.cloud import Prediction

Format = Literal["json", "csv", "mrk.json", "npz"]
FORMATS: tuple[str, ...] = get_args(Format)

#: The parts of a prediction whose arrays are saved one by one, under the part's name and their own.
_PARTS: dict[str, type[Skeleton] | type[Surface]] = {"skeleton": Skeleton, "surface": Surface}
#: Prefix of the arrays of its marks of symmetries.
_MARKS = "symmetries_"

_CSV_HEADER = [
    "cloud",
    "name",
    "x",
    "y",
    "z",
    "confidence",
    "visibility",
    "point_index",
    "cov_xx",
    "cov_xy",
    "cov_xz",
    "cov_yy",
    "cov_yz",
    "cov_zz",
    "radius",
    "radius_coverage",
]


def write_predictions(
    predictions: Prediction | Sequence[Prediction],
    path: str | Path,
    format: Format = "json",
    *,
    frame: Frame = "LPS",
) -> Path:
    """Write predictions to one file, whole or not at all, and return its path.

    Formats:
        "json"      what `Prediction.to_dict` gives; several clouds become {"predictions": [...]}
        "csv"       a row a keypoint, its cloud in the first column
        "mrk.json"  3D Slicer markups 1.0.3, in the frame of the file, which `frame` names; one cloud only
        "npz"       everything, cloud and maps included, for `load_prediction`; one cloud only

    Raises:
        ValueError: an unknown format, no prediction, or several where the format holds one.
    """
    if format not in get_args(Format):
        raise ValueError(f"format: expected one of {', '.join(get_args(Format))}, got {format!r}")
    from pcsargmax.predictions.cloud import Prediction

    alone = isinstance(predictions, Prediction)
    listed: list[Prediction] = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    check_number(len(listed), format, ("mrk.json", "npz"))
    if format == "mrk.json":
        _write_slicer(listed[0], Path(path), frame)
        return Path(path)
    if format == "npz":
        return write_whole(path, _npz(listed[0]))
    return write_whole(path, _csv(listed).encode() if format == "csv" else json_bytes(listed, alone=alone))


def load_prediction(path: str | Path) -> Prediction:
    """Read a prediction that was saved with format "npz"; nothing in the file is executed.

    Raises:
        ValueError: the file is not such a prediction.
    """
    from pcsargmax.predictions.cloud import Prediction

    def make(content: dict[str, Any]) -> Prediction:
        content["keypoint_names"] = tuple(content["keypoint_names"].tolist())
        for field, kind in _PARTS.items():
            parts = _take_out(content, f"{field}_")
            content[field] = kind(**parts) if parts else None
        content["symmetries"] = _marks(_take_out(content, _MARKS))
        return Prediction(**content)

    return read_npz(path, "a saved prediction", make)


def _csv(predictions: Sequence[Prediction]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    upper = np.triu_indices(3)
    for one in predictions:
        for k, name in enumerate(one.keypoint_names):
            numbers = [*one.position[k], one.confidence[k], one.visibility[k]]
            row = [repr(float(number)) for number in numbers] + [str(one.exported_index[k])]
            row += [repr(float(value)) for value in one.covariance[k][upper]]
            row += ["", ""] if one.radius is None else [repr(float(one.radius[k])), repr(one.radius_coverage)]
            writer.writerow([one.name, name, *row])
    return text.getvalue()


def _npz(prediction: Prediction) -> bytes:
    content: dict[str, Any] = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    for field, kind in _PARTS.items():
        part = content.pop(field)
        if part is not None:
            content |= {f"{field}_{each.name}": getattr(part, each.name) for each in fields(kind)}
    content |= _mark_arrays(content.pop("symmetries"))
    return npz_bytes(content)


def _take_out(content: dict[str, Any], prefix: str) -> dict[str, Any]:
    """What of the content begins with a prefix, named without it, and no longer in the content."""
    return {key.removeprefix(prefix): content.pop(key) for key in [*content] if key.startswith(prefix)}


def _mark_arrays(marks: Sequence[SymmetryMark]) -> dict[str, Any]:
    """Marks of symmetries as arrays, a row a mark; −1 stands for no further keypoint, NaN for no circle."""
    if not marks:
        return {}
    most = max(len(mark.keypoints) for mark in marks)
    rows = {
        "kind": [mark.kind for mark in marks],
        "keypoints": [[*mark.keypoints, *[-1] * (most - len(mark.keypoints))] for mark in marks],
        "circle": [_circle(mark) for mark in marks],
    }
    return {f"{_MARKS}{name}": row for name, row in rows.items()}


def _circle(mark: SymmetryMark) -> np.ndarray:
    """(7,) center, normal and radius; NaN where there is no circle."""
    if mark.center is None or mark.normal is None or mark.radius is None:
        return np.full(7, np.nan)
    return np.concatenate([mark.center, mark.normal, [mark.radius]])


def _marks(arrays: dict[str, Any]) -> tuple[SymmetryMark, ...]:
    """What `_mark_arrays` made of them."""
    if not arrays:
        return ()
    marks = []
    for kind, keypoints, circle in zip(arrays["kind"], arrays["keypoints"], arrays["circle"], strict=True):
        members = tuple(keypoints[keypoints >= 0].tolist())
        whole = {} if np.isnan(circle).all() else {"center": circle[:3], "normal": circle[3:6], "radius": circle[6]}
        marks.append(SymmetryMark(str(kind), members, **whole))  # type: ignore[arg-type]  # checked there
    return tuple(marks)


def _write_slicer(prediction: Prediction, path: Path, frame: Frame) -> None:
    from pcsargmax.io.markups import write_markups

    told = [
        f"confidence {prediction.confidence[k]:.3f}, {_radius_text(prediction, k)}"
        f"visibility {prediction.visibility[k]:.3f}, nearest point {prediction.exported_index[k]}"
        for k in range(prediction.num_keypoints)
    ]
    present = prediction.visibility >= 0.5  # the others are written as undefined
    names, position = prediction.keypoint_names, prediction.position
    write_markups(path, names, position, descriptions=told, visible=present, frame=frame)


def _radius_text(prediction: Prediction, k: int) -> str:
    """The radius of a keypoint with its probability and a comma behind it, or nothing."""
    if prediction.radius is None or prediction.radius_coverage is None:
        return ""
    return f"within {prediction.radius[k]:.4g} ({100 * prediction.radius_coverage:g} %), "
