"""What is drawn of a prediction and where, in a frame of unit size; numpy only, shared by window and picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize import geometry
from pcsargmax.visualize.geometry import Mesh
from pcsargmax.visualize.palette import (
    TRUTH_COLOR,
    ProbabilityColors,
    color_by_probability,
    hex_to_rgb,
    keypoint_color,
)

# Lengths as shares of the cloud's bounding-box diagonal.
KEYPOINT_RADIUS = 0.018
TRUTH_RADIUS = 0.010
ERROR_RADIUS = 0.003
#: Clouds of up to this many points are drawn as balls, larger ones as squares on the screen.
MAX_BALLS = 20_000


@dataclass(frozen=True, eq=False)
class Drawing:
    """A prediction in the unit frame: bounding-box midpoint at 0, diagonal 1. M keypoints are drawn."""

    points: np.ndarray
    """(N, 3)."""
    colors: ProbabilityColors
    point_radius: float
    shown: np.ndarray
    """(M,) numbers of the keypoints that are drawn: those likely to be there."""
    position: np.ndarray
    """(M, 3)."""
    axes: np.ndarray
    """(M, 3, 3): 1 σ ellipsoids, see `geometry.covariance_axes`."""
    truth: np.ndarray
    """(M, 3), NaN where there is none."""

    @property
    def as_balls(self) -> bool:
        """Whether the points are few enough for balls."""
        return len(self.points) <= MAX_BALLS

    def cloud(self) -> Mesh:
        """The points as balls."""
        detail = 1 if len(self.points) <= MAX_BALLS // 4 else 0
        return geometry.balls(self.points, self.point_radius, self.colors.rgb, subdivisions=detail)

    def keypoint_rgb(self) -> np.ndarray:
        """(M, 3) sRGB in [0, 1]."""
        return np.array([hex_to_rgb(keypoint_color(k)) for k in self.shown]).reshape(-1, 3)

    def marks(self) -> Mesh:
        """Keypoint balls, smaller dark ones at the truth, and rods between them."""
        known = np.isfinite(self.truth).all(axis=1)
        dark = hex_to_rgb(TRUTH_COLOR)
        return geometry.join(
            [
                geometry.balls(self.position, KEYPOINT_RADIUS, self.keypoint_rgb(), subdivisions=3),
                geometry.balls(self.truth[known], TRUTH_RADIUS, dark, subdivisions=3),
                geometry.rods(self.position[known], self.truth[known], ERROR_RADIUS, dark),
            ]
        )

    def ellipsoids(self) -> Mesh:
        """The 1 σ ellipsoids in the keypoints' colours."""
        return geometry.balls(self.position, 1.0, self.keypoint_rgb(), subdivisions=3, axes=self.axes)

    def extent(self) -> np.ndarray:
        """(P, 3) positions that a camera must see."""
        known = self.truth[np.isfinite(self.truth).all(axis=1)]
        return np.concatenate([self.points, self.position, known])


def build_drawing(
    prediction: Prediction,
    *,
    keypoint: str | int | None = None,
    log_scale: bool = False,
    truth: bool = True,
    min_visibility: float = 0.5,
) -> Drawing:
    """Bring a prediction into the unit frame, so that any units and any distance from the origin draw alike.

    Args:
        prediction: what to draw.
        keypoint: name or number of the keypoint whose map colours the points; None: the largest of all maps.
        log_scale: colour by the logarithm of the probability, over three decades.
        truth: draw the annotated positions, where the prediction has them.
        min_visibility: keypoints less likely than this to be on the cloud are not drawn.

    Raises:
        ValueError: no such keypoint.
    """
    low, high = prediction.points.min(axis=0), prediction.points.max(axis=0)
    center, scale = (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0
    shown = np.flatnonzero(prediction.visibility >= min_visibility)
    annotated = prediction.truth if truth else None
    if annotated is None:
        annotated = np.full_like(prediction.position, np.nan)
    points = (prediction.points - center) / scale
    return Drawing(
        points,
        color_by_probability(prediction, keypoint, log_scale=log_scale),
        _point_radius(points),
        shown,
        (prediction.position[shown] - center) / scale,
        geometry.covariance_axes(prediction.covariance[shown]) / scale,
        (annotated[shown] - center) / scale,
    )


def _point_radius(points: np.ndarray) -> float:
    """Half the usual distance of neighbours, so that balls nearly touch and a surface looks closed."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return KEYPOINT_RADIUS / 2
    some = points[:: max(1, len(points) // 1000)]
    spacing = float(np.median(cKDTree(points).query(some, k=2)[0][:, 1]))
    return float(np.clip(0.55 * spacing, 0.0015, 0.6 * KEYPOINT_RADIUS))
