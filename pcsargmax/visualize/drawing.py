"""What is drawn of a prediction and where, in a frame of unit size; numpy only, shared by window and picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcsargmax.prediction import Prediction
from pcsargmax.visualize import geometry
from pcsargmax.visualize.geometry import Mesh
from pcsargmax.visualize.palette import (
    EDGE_COLOR,
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
EDGE_RADIUS = 0.004
#: Edges of a skeleton weaker than this are not drawn.
FAINT = 0.1
#: Clouds of up to this many points are drawn as balls, larger ones as squares on the screen.
MAX_BALLS = 20_000


class StrongEdge(NamedTuple):
    """An edge of a skeleton that is drawn.

    Attributes:
        ends: (2, 3) its keypoints.
        points: (R, 3) of the reconstruction.
        strength: up to 1.
    """

    ends: np.ndarray
    points: np.ndarray
    strength: float

    def moved(self, center: np.ndarray, scale: float) -> StrongEdge:
        """The same edge in another frame."""
        return StrongEdge((self.ends - center) / scale, (self.points - center) / scale, self.strength)


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
    edges: tuple[StrongEdge, ...] = ()
    """Those of a skeleton that are not faint."""

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
        """Keypoint balls, smaller dark ones at the truth, rods between them, and the skeleton."""
        known = np.isfinite(self.truth).all(axis=1)
        dark = hex_to_rgb(TRUTH_COLOR)
        return geometry.join(
            [
                self.skeleton(),
                geometry.balls(self.position, KEYPOINT_RADIUS, self.keypoint_rgb(), subdivisions=3),
                geometry.balls(self.truth[known], TRUTH_RADIUS, dark, subdivisions=3),
                geometry.rods(self.position[known], self.truth[known], ERROR_RADIUS, dark),
            ]
        )

    def skeleton(self) -> Mesh:
        """The edges as rods and the reconstruction as dots on and beside them, the paler the weaker.

        A picture is opaque, so strength mixes with its white.
        """
        parts = [geometry.balls(np.zeros((0, 3)), 1.0, np.zeros(3), subdivisions=0)]
        for edge in self.edges:
            color = 1 - edge.strength * (1 - hex_to_rgb(EDGE_COLOR))
            parts.append(geometry.rods(edge.ends[:1], edge.ends[1:], EDGE_RADIUS, color))
            parts.append(geometry.balls(edge.points, 1.5 * EDGE_RADIUS, color, subdivisions=1))
        return geometry.join(parts)

    def ellipsoids(self) -> Mesh:
        """The 1 σ ellipsoids in the keypoints' colours."""
        return geometry.balls(self.position, 1.0, self.keypoint_rgb(), subdivisions=3, axes=self.axes)

    def extent(self) -> np.ndarray:
        """(P, 3) positions that a camera must see."""
        known = self.truth[np.isfinite(self.truth).all(axis=1)]
        return np.concatenate([self.points, self.position, known, *(edge.points for edge in self.edges)])


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
        tuple(edge.moved(center, scale) for edge in strong_edges(prediction, shown)),
    )


def strong_edges(prediction: Prediction, shown: np.ndarray) -> list[StrongEdge]:
    """The edges between two of the keypoints shown that are not faint, in the units of the file."""
    skeleton = prediction.skeleton
    if skeleton is None:
        return []
    drawn = np.isin(skeleton.edges, shown).all(axis=1) & (skeleton.strength >= FAINT)
    return [
        StrongEdge(
            prediction.position[skeleton.edges[number]],
            skeleton.points[skeleton.edge == number],
            float(min(skeleton.strength[number], 1.0)),
        )
        for number in np.flatnonzero(drawn)
    ]


def _point_radius(points: np.ndarray) -> float:
    """Half the usual distance of neighbours, so that balls nearly touch and a surface looks closed."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return KEYPOINT_RADIUS / 2
    some = points[:: max(1, len(points) // 1000)]
    spacing = float(np.median(cKDTree(points).query(some, k=2)[0][:, 1]))
    return float(np.clip(0.55 * spacing, 0.0015, 0.6 * KEYPOINT_RADIUS))
