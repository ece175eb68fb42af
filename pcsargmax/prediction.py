"""What a detector says about one cloud, in the cloud's own units and frame, and the files that hold it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from pcsargmax.datasets.markups import Frame

Format = Literal["json", "csv", "mrk.json", "npz"]
FORMATS: tuple[str, ...] = get_args(Format)

#: Prefix of the skeleton's arrays in a saved prediction.
_PART = "skeleton_"

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


@dataclass(frozen=True, eq=False)
class Skeleton:
    """What Skeleton Merger reconstructs a cloud by: P edges between keypoints, drawn as M points.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong shape, points
    that are not finite, or an edge number outside 0 to P − 1.
    """

    edges: np.ndarray
    """(P, 2) int64: the keypoints that each edge joins."""
    strength: np.ndarray
    """(P,) float64, in [0, 1]: how far each edge takes part."""
    points: np.ndarray
    """(M, 3) float64, units of the file."""
    edge: np.ndarray
    """(M,) int64: the edge that each point belongs to."""

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        p, m = len(self.edges), len(self.points)
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "edges": (np.int64, (p, 2)),
            "strength": (np.float64, (p,)),
            "points": (np.float64, (m, 3)),
            "edge": (np.int64, (m,)),
        }
        for name, (dtype, shape) in shapes.items():
            array = np.asarray(getattr(self, name), dtype=dtype)
            if array.shape != shape:
                raise ValueError(f"Skeleton: {name}: expected shape {shape}, got {array.shape}")
            object.__setattr__(self, name, array)
        if not np.isfinite(self.points).all():
            raise ValueError("Skeleton: points: expected finite numbers, got NaN or infinity")
        if m and not (self.edge.min() >= 0 and self.edge.max() < p):
            raise ValueError(f"Skeleton: edge: expected 0 to {p - 1}, got {self.edge.min()} to {self.edge.max()}")

    def to_dict(self, keypoint_names: Sequence[str]) -> dict[str, Any]:
        """As plain numbers: a list of edges, each with the names of its ends, its strength and its points."""
        return {
            "edges": [
                {
                    "keypoints": [keypoint_names[end] for end in ends],
                    "strength": _plain(self.strength[number]),
                    "points": _plain(self.points[self.edge == number]),
                }
                for number, ends in enumerate(self.edges.tolist())
            ]
        }


@dataclass(frozen=True, eq=False)
class Prediction:
    """K keypoints found on one cloud of N points; all lengths in the units of the file.

    Sequences are turned into arrays of the type below. Raises ValueError, naming the field, for a wrong
    shape, points or positions that are not finite, or a point index outside the cloud.
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

    def __post_init__(self) -> None:
        """Turn the fields into arrays and check their shapes."""
        names = tuple(str(name) for name in self.keypoint_names)
        object.__setattr__(self, "keypoint_names", names)
        n, k = len(self.points), len(names)
        if n == 0 or k == 0:
            raise ValueError(f"Prediction {self.name!r}: expected at least one point and one keypoint name")
        self._take("points", np.float64, (n, 3), finite=True)
        self._take("position", np.float64, (k, 3), finite=True)
        self._take("confidence", np.float64, (k,))
        self._take("covariance", np.float64, (k, 3, 3))
        self._take("visibility", np.float64, (k,))
        self._take("point_index", np.int64, (k,))
        self._take("probability", np.float32, (k, n))
        self._take("truth", np.float64, (k, 3))
        self._take("color", np.uint8, (n, 3))
        self._take("file_index", np.int64, (k,))
        self._take("radius", np.float64, (k,))
        self._check_coverage()
        if self.skeleton is not None and self.skeleton.edges.size and self.skeleton.edges.max() >= k:
            raise ValueError(
                f"Prediction {self.name!r}: skeleton: expected edges between keypoints 0 to {k - 1}, "
                f"got {self.skeleton.edges.max()}"
            )
        if self.point_index.min() < 0 or self.point_index.max() >= n:
            raise ValueError(
                f"Prediction {self.name!r}: point_index: expected 0 to {n - 1}, got {self.point_index.tolist()}"
            )

    def _take(self, field: str, dtype: Any, shape: tuple[int, ...], *, finite: bool = False) -> None:
        value = getattr(self, field)
        if value is None and field in ("truth", "color", "file_index", "radius"):
            return
        array = np.asarray(value, dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"Prediction {self.name!r}: {field}: expected shape {shape}, got {array.shape}")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"Prediction {self.name!r}: {field}: expected finite numbers, got NaN or infinity")
        object.__setattr__(self, field, array)

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
    def exported_index(self) -> np.ndarray:
        """(K,) the nearest point as a reader of the file counts: `file_index`, else `point_index`."""
        return self.point_index if self.file_index is None else self.file_index

    @property
    def error(self) -> np.ndarray | None:
        """(K,) distance of each position to its truth, NaN where absent; None without truth."""
        return None if self.truth is None else np.linalg.norm(self.position - self.truth, axis=1)

    def keypoint_number(self, keypoint: str | int) -> int:
        """Row of a keypoint given by its name, or by its number as int."""
        if isinstance(keypoint, str):
            if keypoint in self.keypoint_names:
                return self.keypoint_names.index(keypoint)
        elif 0 <= keypoint < self.num_keypoints:
            return int(keypoint)
        known = ", ".join(self.keypoint_names)
        raise ValueError(f"keypoint: expected one of {known} or 0 to {self.num_keypoints - 1}, got {keypoint!r}")

    def to_dict(self) -> dict[str, Any]:
        """The keypoints as plain numbers and texts, without cloud and maps; None for what is not finite.

        Where there is a skeleton, its edges and their points are with them.
        """
        skeleton = {} if self.skeleton is None else {"skeleton": self.skeleton.to_dict(self.keypoint_names)}
        return {
            "name": self.name,
            "units": "as in the file",
            "radius_coverage": self.radius_coverage,
            "keypoints": [
                {
                    "name": name,
                    "position": _plain(self.position[k]),
                    "confidence": _plain(self.confidence[k]),
                    "covariance": _plain(self.covariance[k]),
                    "radius": None if self.radius is None else _plain(self.radius[k]),
                    "visibility": _plain(self.visibility[k]),
                    "point_index": int(self.exported_index[k]),
                }
                for k, name in enumerate(self.keypoint_names)
            ],
            **skeleton,
        }

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
        "csv"       a row a keypoint, its cloud in the first column
        "mrk.json"  3D Slicer markups 1.0.3, in the frame of the file, which `frame` names; one cloud only
        "npz"       everything, cloud and maps included, for `load_prediction`; one cloud only

    Raises:
        ValueError: an unknown format, no prediction, or several where the format holds one.
    """
    if format not in get_args(Format):
        raise ValueError(f"format: expected one of {', '.join(get_args(Format))}, got {format!r}")
    alone = isinstance(predictions, Prediction)
    listed: list[Prediction] = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if not listed or (format in ("mrk.json", "npz") and len(listed) != 1):
        wanted = "one" if format in ("mrk.json", "npz") else "at least one"
        raise ValueError(f"predictions: expected {wanted} for a {format} file, got {len(listed)}")
    if format == "mrk.json":
        _write_slicer(listed[0], Path(path), frame)
    elif format == "npz":
        _write_whole(Path(path), _npz(listed[0]))
    elif format == "csv":
        _write_whole(Path(path), _csv(listed).encode())
    else:
        content = listed[0].to_dict() if alone else {"predictions": [one.to_dict() for one in listed]}
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        _write_whole(Path(path), (text + "\n").encode())
    return Path(path)


def load_prediction(path: str | Path) -> Prediction:
    """Read a prediction that was saved with format "npz"; nothing in the file is executed.

    Raises:
        ValueError: the file is not such a prediction.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            content: dict[str, Any] = {key: stored[key] for key in stored.files}
        content["name"] = str(content["name"])
        content["keypoint_names"] = tuple(content["keypoint_names"].tolist())
        parts = {key.removeprefix(_PART): content.pop(key) for key in [*content] if key.startswith(_PART)}
        content["skeleton"] = Skeleton(**parts) if parts else None
        return Prediction(**content)
    except OSError as error:
        if not Path(path).is_file():
            raise
        raise ValueError(f"{path}: not a saved prediction (.npz): {error}") from error
    except Exception as error:  # zipfile, numpy and the dataclass each raise their own
        raise ValueError(f"{path}: not a saved prediction (.npz): {error}") from error


def _plain(array: np.ndarray) -> Any:
    """Nested lists of numbers, None where not finite: JSON has no NaN."""
    numbers = np.asarray(array, dtype=object)
    numbers[~np.isfinite(array)] = None
    return numbers.tolist()


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
    skeleton = content.pop("skeleton")
    if skeleton is not None:
        content |= {_PART + field.name: getattr(skeleton, field.name) for field in fields(Skeleton)}
    content = {key: np.asarray(value) for key, value in content.items() if value is not None}
    stream = io.BytesIO()
    np.savez_compressed(stream, **content)
    return stream.getvalue()


def _write_slicer(prediction: Prediction, path: Path, frame: Frame) -> None:
    from pcsargmax.datasets.markups import write_markups

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


def _write_whole(path: Path, content: bytes) -> None:
    from pcsargmax.datasets.cache import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
