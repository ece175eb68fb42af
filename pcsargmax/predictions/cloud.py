"""What a detector says about one cloud, in the cloud's own units and frame, and the files that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.prediction_files import FORMATS, Format, load_prediction, write_predictions
from pcsargmax.predictions.parts import (
    ArrayShapes,
    Skeleton,
    Surface,
    SymmetryMark,
    chosen_number,
    mean_known,
    plain,
    take_arrays,
)

if TYPE_CHECKING:
    from pcsargmax.io.markups import Frame

__all__ = [
    "FORMATS",
    "Format",
    "Prediction",
    "Skeleton",
    "Surface",
    "SymmetryMark",
    "load_prediction",
    "write_predictions",
]


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
    samples: np.ndarray | None = None
    """(S, K, 3) float64: draws from the distribution of each keypoint; None where none were drawn."""
    surface: Surface | None = None
    """The mesh that the points were sampled from; None of a cloud."""
    symmetries: tuple[SymmetryMark, ...] = ()
    """Groups of keypoints that symmetries of the shape exchange."""
    annotated: bool = False
    """Whether this is an annotation and no prediction: confidence, covariance and maps then only say where it is."""

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
            "samples": (np.float64, (0 if self.samples is None else len(self.samples), k, 3)),
        }
        take_arrays(self, f"Prediction {self.name!r}", shapes, finite=["points", "position", "samples"])
        object.__setattr__(self, "symmetries", tuple(self.symmetries))
        object.__setattr__(self, "annotated", bool(self.annotated))
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
    def exported_index(self) -> np.ndarray:
        """(K,) the nearest point as a reader of the file counts: `file_index`, else `point_index`."""
        return self.point_index if self.file_index is None else self.file_index

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
                    "position": plain(self.position[k]),
                    "confidence": plain(self.confidence[k]),
                    "covariance": plain(self.covariance[k]),
                    "radius": None if self.radius is None else plain(self.radius[k]),
                    "visibility": plain(self.visibility[k]),
                    "point_index": int(self.exported_index[k]),
                }
                for k, name in enumerate(self.keypoint_names)
            ],
            **skeleton,
        }

    def save(self, path: str | Path, format: Format = "json", *, frame: Frame = "LPS") -> Path:
        """Write one file, whole or not at all; see `write_predictions` for the formats."""
        return write_predictions(self, path, format, frame=frame)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: a picture and a table."""
        from pcsargmax.visualize.notebook.clouds import prediction_html, shown

        return shown(prediction_html, self)
