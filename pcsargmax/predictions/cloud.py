"""What a detector finds on one cloud, in the cloud's own units and frame, and the files that hold it.

Predictions are written as JSON, CSV, 3D Slicer's markups, and NumPy's .npz, which holds everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from pcsargmax.io.markups import Frame, write_markups
from pcsargmax.predictions.files import read_npz, write_as, write_npz, write_rows
from pcsargmax.predictions.parts import (
    ArrayShapes,
    Skeleton,
    Surface,
    SurfacePoints,
    SymmetryMark,
    chosen_number,
    mean_known,
    plain,
    take_arrays,
)

__all__ = [
    "FORMATS",
    "Format",
    "Prediction",
    "Skeleton",
    "Surface",
    "SurfacePoints",
    "SymmetryMark",
    "load_prediction",
    "write_predictions",
]

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
    "face",
    "vertex_a",
    "vertex_b",
    "vertex_c",
    "barycentric_a",
    "barycentric_b",
    "barycentric_c",
    "surface_x",
    "surface_y",
    "surface_z",
    "surface_distance",
    "length_unit",
]


@dataclass(frozen=True, eq=False)
class Prediction:
    """K keypoints found on one cloud of N points; all lengths in the units of the file.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong
    shape, points or positions that are not finite, or a point index outside the cloud.

    Example:
        >>> from pcsargmax import Prediction
        >>> prediction = Prediction(
        ...     name="scan",
        ...     points=[[0, 0, 0], [2, 0, 0]],
        ...     keypoint_names=("tip",),
        ...     position=[[1.5, 0, 0]],
        ...     confidence=[0.8],
        ...     covariance=[[[0.75, 0, 0], [0, 0, 0], [0, 0, 0]]],
        ...     visibility=[0.99],
        ...     point_index=[1],
        ...     probability=[[0.25, 0.75]],
        ...     truth=[[2, 0, 0]],
        ... )
        >>> prediction.error
        array([0.5])
        >>> prediction.save("scan.mrk.json", "mrk.json").name  # for 3D Slicer
        'scan.mrk.json'
    """

    name: str
    """What the cloud is called: the name of its file, or its model id."""
    points: np.ndarray
    """(N, 3) float64."""
    keypoint_names: tuple[str, ...]
    """K names."""
    position: np.ndarray
    """(K, 3) float64."""
    confidence: np.ndarray
    """(K,) float64, in [0, 1]: the probability that the position is right, up to the error that its model calls right.

    Of a run that was calibrated on a validation split, the share of keypoints as sure as this one that were right there
    (see `Run.predict`); else what the probability map says of itself.
    """
    covariance: np.ndarray
    """(K, 3, 3) float64, squared units."""
    visibility: np.ndarray
    """(K,) float64: the probability that the keypoint is on this cloud at all."""
    point_index: np.ndarray
    """(K,) int64: the cloud's point nearest to the position, 0-based."""
    probability: np.ndarray
    """(K, N) float32: the keypoint's probability map over the points."""
    truth: np.ndarray | None = None
    """(K, 3) float64, rows of NaN where the keypoint is absent; None where nothing is known."""
    color: np.ndarray | None = None
    """(N, 3) uint8: the cloud's own colours."""
    file_index: np.ndarray | None = None
    """(K,) int64: the file's own point or vertex nearest to the position; None where it came from no file."""
    radius: np.ndarray | None = None
    """(K,) float64: the true point lies within this distance of the position with probability `radius_coverage`; None
    where nothing was calibrated."""
    radius_coverage: float | None = None
    """The probability that belongs to `radius`, such as 0.9; None exactly where that is."""
    skeleton: Skeleton | None = None
    """The edges between the keypoints; None of a detector that has none."""
    samples: np.ndarray | None = None
    """(S, K, 3) float64: draws from the distribution of each keypoint; None where none were drawn."""
    surface: Surface | None = None
    """The mesh that the points were sampled from; None of a cloud."""
    stages: tuple[str, ...] = ()
    """What placed the keypoints, stage by stage: "map" (the maps), "prior" (the shape prior), "look" (the second look);
    empty where nothing is known of it."""
    stage_positions: np.ndarray | None = None
    """(S, K, 3) float64: where they were after each of the S stages; None without stages. The last is `position`."""
    symmetries: tuple[SymmetryMark, ...] = ()
    """Groups of keypoints that symmetries of the shape exchange."""
    annotated: bool = False
    """Whether this is an annotation and no prediction: confidence, covariance and maps then only say where it is."""
    length_unit: str | None = None
    """The unit of all lengths, such as "mm"; None where the files name none."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        names = tuple(str(name) for name in self.keypoint_names)
        object.__setattr__(self, "keypoint_names", names)
        n, k = len(self.points), len(names)
        if n == 0 or k == 0:
            raise ValueError(f"Prediction {self.name!r}: expected at least one point and one keypoint name")
        shapes: ArrayShapes = {
            "points": (np.float64, (n, 3)),
            "position": (np.float64, (k, 3)),
            "confidence": (np.float64, (k,)),
            "covariance": (np.float64, (k, 3, 3)),
            "visibility": (np.float64, (k,)),
            "point_index": (np.int64, (k,)),
            "probability": (np.float32, (k, n)),
            "truth": (np.float64, (k, 3)),
            "color": (np.uint8, (n, 3)),
            "file_index": (np.int64, (k,)),
            "radius": (np.float64, (k,)),
            "stage_positions": (np.float64, (len(self.stages), k, 3)),
            "samples": (np.float64, (0 if self.samples is None else len(self.samples), k, 3)),
        }
        take_arrays(
            self, f"Prediction {self.name!r}", shapes, finite=["points", "position", "stage_positions", "samples"]
        )
        object.__setattr__(self, "stages", tuple(str(stage) for stage in self.stages))
        if self.stages and self.stage_positions is None:
            raise ValueError(f"Prediction {self.name!r}: expected stages and stage_positions together, got only stages")
        object.__setattr__(self, "symmetries", tuple(self.symmetries))
        object.__setattr__(self, "annotated", bool(self.annotated))
        object.__setattr__(self, "length_unit", None if self.length_unit is None else str(self.length_unit))
        self._check_coverage()
        self._check_parts()
        if self.point_index.min() < 0 or self.point_index.max() >= n:
            raise ValueError(
                f"Prediction {self.name!r}: point_index: expected 0 to {n - 1}, got {self.point_index.tolist()}"
            )

    def _check_parts(self) -> None:
        """The keypoints that the skeleton and the symmetries name are there."""
        k = self.num_keypoints
        if self.skeleton is not None and self.skeleton.edges.size and self.skeleton.edges.max() >= k:
            raise ValueError(
                f"Prediction {self.name!r}: skeleton: expected edges between keypoints 0 to {k - 1}, "
                f"got {self.skeleton.edges.max()}"
            )
        wrong = [mark.keypoints for mark in self.symmetries if max(mark.keypoints) >= k]
        if wrong:
            told = f"expected keypoints 0 to {k - 1}, got {list(wrong[0])}"
            raise ValueError(f"Prediction {self.name!r}: symmetries: {told}")

    def _check_coverage(self) -> None:
        if (self.radius is None) != (self.radius_coverage is None):
            had = "radius" if self.radius_coverage is None else "radius_coverage"
            raise ValueError(f"Prediction {self.name!r}: expected radius and radius_coverage together, got only {had}")
        if self.radius_coverage is None:
            return
        object.__setattr__(self, "radius_coverage", float(self.radius_coverage))
        if not 0 < self.radius_coverage < 1:
            told = f"expected a share within (0, 1), got {self.radius_coverage}"
            raise ValueError(f"Prediction {self.name!r}: radius_coverage: {told}")

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoint_names)

    @property
    def unit_text(self) -> str:
        """What lengths are in, in words: `length_unit`, else "file units"."""
        return self.length_unit or "file units"

    @property
    def exported_index(self) -> np.ndarray:
        """(K,) the nearest point as a reader of the file counts: `file_index`, else `point_index`."""
        return self.point_index if self.file_index is None else self.file_index

    @cached_property
    def on_surface(self) -> SurfacePoints | None:
        """The point of the surface nearest to each position; None for a cloud, and for a mesh without any area."""
        surface = self.surface
        return None if surface is None or not surface.has_area.any() else surface.closest(self.position)

    @property
    def error(self) -> np.ndarray | None:
        """(K,) distance of each position to its truth, NaN where absent; None without truth."""
        return None if self.truth is None else np.linalg.norm(self.position - self.truth, axis=1)

    def mean_error(self, min_visibility: float = 0.5) -> float | None:
        """Mean of `error` of the keypoints that are likely to be there and have a truth; None where there is none."""
        return mean_known(None if self.error is None else self.error[self.visibility >= min_visibility])

    def keypoint_number(self, keypoint: str | int) -> int:
        """Row of a keypoint given by its name, or by its number as int."""
        return chosen_number(keypoint, self.keypoint_names)

    def to_dict(self) -> dict[str, Any]:
        """The keypoints as plain numbers and texts, without cloud and maps; None for what is not finite.

        For a mesh each has its nearest point on it as "surface", see `SurfacePoints`; for a cloud that is None. Where
        there is a skeleton, its edges and their points are with them.
        """
        skeleton = {} if self.skeleton is None else {"skeleton": self.skeleton.to_dict(self.keypoint_names)}
        on_surface = self.on_surface
        return {
            "name": self.name,
            "units": self.length_unit or "as in the file",
            "radius_coverage": self.radius_coverage,
            "keypoints": [
                {
                    "name": name,
                    "position": plain(self.position[k]),
                    "confidence": plain(self.confidence[k]),
                    "covariance": plain(self.covariance[k]),
                    "radius": None if self.radius is None else plain(self.radius[k]),
                    "visibility": plain(self.visibility[k]),
                    "point_index": int(self.exported_index[k]),
                    "surface": None if on_surface is None else on_surface.to_dict(k),
                }
                for k, name in enumerate(self.keypoint_names)
            ],
            **skeleton,
            **self._stages_dict(),
        }

    def _stages_dict(self) -> dict[str, Any]:
        """Name and positions of each stage, where there are several."""
        if self.stage_positions is None or len(self.stages) < 2:
            return {}
        pairs = zip(self.stages, self.stage_positions, strict=True)
        return {"stages": [{"name": name, "positions": plain(positions)} for name, positions in pairs]}

    def save(self, path: str | Path, format: Format = "json", *, frame: Frame = "LPS") -> Path:
        """Write one file, whole or not at all; see `write_predictions` for the formats."""
        return write_predictions(self, path, format, frame=frame)


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
        "csv"       a row a keypoint, its cloud in the first column, the unit of length (empty: not known) in the last
        "mrk.json"  3D Slicer markups 1.0.3, in the frame of the file, which `frame` names, and in its unit, mm where
                    none is known, as Slicer takes it; one cloud only
        "npz"       everything, cloud and maps included, for `load_prediction`; one cloud only

    Raises:
        ValueError: an unknown format, no prediction, or several where the format holds one.
    """
    writers: dict[str, Callable[[Path, list[Any]], object]] = {
        "csv": _csv,
        "mrk.json": partial(_slicer, frame=frame),
        "npz": _npz,
    }
    alone = isinstance(predictions, Prediction)
    return write_as(predictions, path, format, writers, alone=alone, single=["mrk.json", "npz"])


def load_prediction(path: str | Path) -> Prediction:
    """Read a prediction that was saved with format "npz"; nothing in the file is executed.

    Raises:
        ValueError: the file is not such a prediction.
    """

    def make(content: dict[str, Any]) -> Prediction:
        for field in {"keypoint_names", "stages"} & content.keys():
            content[field] = tuple(content[field].tolist())
        for field, kind in _PARTS.items():
            parts = _take_out(content, f"{field}_")
            content[field] = kind(**parts) if parts else None
        content["symmetries"] = _marks(_take_out(content, _MARKS))
        return Prediction(**content)

    return read_npz(path, "a saved prediction", make)


def _csv(path: Path, predictions: Sequence[Prediction]) -> None:
    rows = [_CSV_HEADER]
    upper = np.triu_indices(3)
    for one in predictions:
        for k, name in enumerate(one.keypoint_names):
            numbers = [*one.position[k], one.confidence[k], one.visibility[k]]
            row = [repr(float(number)) for number in numbers] + [str(one.exported_index[k])]
            row += [repr(float(value)) for value in one.covariance[k][upper]]
            row += ["", ""] if one.radius is None else [repr(float(one.radius[k])), repr(one.radius_coverage)]
            row += [*_surface_cells(one.on_surface, k), one.length_unit or ""]
            rows.append([one.name, name, *row])
    write_rows(path, rows)


def _surface_cells(points: SurfacePoints | None, k: int) -> list[str]:
    """The cells of a row that hold the keypoint's point on the mesh; empty for a cloud."""
    if points is None:
        return [""] * (_CSV_HEADER.index("length_unit") - _CSV_HEADER.index("face"))
    numbers = [*points.barycentric[k], *points.position[k], points.distance[k]]
    return [str(points.face[k]), *map(str, points.vertices[k]), *(repr(float(number)) for number in numbers)]


def _npz(path: Path, predictions: Sequence[Prediction]) -> None:
    (prediction,) = predictions
    content: dict[str, Any] = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    for field, kind in _PARTS.items():
        part = content.pop(field)
        if part is not None:
            content |= {f"{field}_{each.name}": getattr(part, each.name) for each in fields(kind)}
    content |= _mark_arrays(content.pop("symmetries"))
    write_npz(path, content)


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


def _slicer(path: Path, predictions: Sequence[Prediction], frame: Frame) -> None:
    (prediction,) = predictions
    told = [
        f"confidence {prediction.confidence[k]:.3f}, {_radius_text(prediction, k)}"
        f"visibility {prediction.visibility[k]:.3f}, nearest point {prediction.exported_index[k]}"
        f"{_distance_text(prediction, k)}"
        for k in range(prediction.num_keypoints)
    ]
    present = prediction.visibility >= 0.5  # the others are written as undefined
    names, position = prediction.keypoint_names, prediction.position
    unit = prediction.length_unit or "mm"
    write_markups(path, names, position, descriptions=told, visible=present, frame=frame, unit=unit)


def _radius_text(prediction: Prediction, k: int) -> str:
    """The radius of a keypoint with its probability and a comma behind it, or nothing."""
    if prediction.radius is None or prediction.radius_coverage is None:
        return ""
    return f"within {prediction.radius[k]:.4g} {prediction.unit_text} ({100 * prediction.radius_coverage:g} %), "


def _distance_text(prediction: Prediction, k: int) -> str:
    """The distance of a keypoint from the mesh, after a comma; empty for a cloud."""
    points = prediction.on_surface
    return "" if points is None else f", {points.distance[k]:.4g} {prediction.unit_text} from the surface"
