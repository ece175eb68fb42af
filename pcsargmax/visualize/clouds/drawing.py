"""What is drawn of a prediction and where, in a frame of unit size; numpy only, shared by window and picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from pcsargmax.predictions.cloud import Prediction, Surface, SymmetryMark
from pcsargmax.visualize.clouds import geometry
from pcsargmax.visualize.clouds.geometry import Mesh
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.palette import (
    EDGE_COLOR,
    SURFACE_COLOR,
    SYMMETRY_COLOR,
    TRUTH_COLOR,
    ProbabilityColors,
    color_by_probability,
    hex_to_rgb,
    keypoint_color,
)

# Lengths as shares of the cloud's bounding-box diagonal.
KEYPOINT_RADIUS = 0.018
CHOSEN_RADIUS = 0.009
TRUTH_RADIUS = 0.010
ERROR_RADIUS = 0.003
EDGE_RADIUS = 0.004
SAMPLE_RADIUS = 0.0045
SYMMETRY_RADIUS = 0.002
#: Edges of a skeleton weaker than this are not drawn.
FAINT = 0.1
#: Clouds of up to this many points are drawn as balls, larger ones as squares on the screen.
MAX_BALLS = 20_000
#: Meshes of more triangles are drawn with fewer.
MAX_TRIANGLES = 100_000


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
    """What is drawn of a prediction, in the unit frame: bounding-box midpoint at 0, diagonal 1. M keypoints are drawn.

    Each part is a mesh of its own: `cloud`, `surface_mesh`, `keypoints`, `truths`, `errors`, `skeleton`,
    `sample_balls`, `symmetry_lines`, `ellipsoids`. A part that the look leaves out, or that the prediction lacks, has
    no vertices.
    """

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
    """(M, 3), NaN where there is none or where it is not to be drawn."""
    edges: tuple[StrongEdge, ...] = ()
    """Those of a skeleton that are not faint."""
    samples: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))
    """(S, M, 3)."""
    surface: Surface | None = None
    """With at most `MAX_TRIANGLES`."""
    symmetries: tuple[SymmetryMark, ...] = ()
    """Their keypoints are numbers of all keypoints, drawn or not."""
    chosen: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Rows of the M keypoints whose samples and ellipsoids are drawn: the one whose map is shown, or all."""
    look: Look = field(default_factory=Look)

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
        """All that is drawn beside the points, the surface and the ellipsoids."""
        parts = (
            self.symmetry_lines,
            self.skeleton,
            self.keypoints,
            self.truths,
            self.errors,
            self.sample_balls,
        )
        return geometry.join([part() for part in parts])

    def keypoints(self, detail: int = 3) -> Mesh:
        """A ball for each keypoint, in its colour; a smaller one for that whose map is shown, which it would cover.

        Args:
            detail: how round they are, see `geometry.unit_ball`.
        """
        alone = np.isin(np.arange(len(self.shown)), self.chosen) & (self.look.keypoint is not None)
        rgb = self.keypoint_rgb()
        parts = [(~alone, KEYPOINT_RADIUS), (alone, CHOSEN_RADIUS)]
        return geometry.join(
            [geometry.balls(self.position[rows], radius, rgb[rows], subdivisions=detail) for rows, radius in parts]
        )

    def truths(self, detail: int = 3) -> Mesh:
        """Smaller dark balls at the annotated positions; `detail` as of `keypoints`."""
        dark = hex_to_rgb(TRUTH_COLOR)
        return geometry.balls(self.truth[self._known], TRUTH_RADIUS, dark, subdivisions=detail)

    def errors(self) -> Mesh:
        """Dark rods from the keypoints to their annotated positions."""
        known = self._known
        return geometry.rods(self.position[known], self.truth[known], ERROR_RADIUS, hex_to_rgb(TRUTH_COLOR))

    @property
    def _known(self) -> np.ndarray:
        return np.isfinite(self.truth).all(axis=1)

    def skeleton(self) -> Mesh:
        """The edges as rods and the reconstruction as dots on and beside them, the paler the weaker.

        A picture is opaque, so strength mixes with its white.
        """
        parts = [geometry.EMPTY]
        for edge in self.edges:
            color = 1 - edge.strength * (1 - hex_to_rgb(EDGE_COLOR))
            parts.append(geometry.rods(edge.ends[:1], edge.ends[1:], EDGE_RADIUS, color))
            parts.append(geometry.balls(edge.points, 1.5 * EDGE_RADIUS, color, subdivisions=1))
        return geometry.join(parts)

    def ellipsoids(self, sigmas: float = 1.0) -> Mesh:
        """The ellipsoids of so many σ of the chosen keypoints, in their colours."""
        rows = self.chosen
        return geometry.balls(
            self.position[rows], sigmas, self.keypoint_rgb()[rows], subdivisions=3, axes=self.axes[rows]
        )

    def sample_points(self) -> tuple[np.ndarray, np.ndarray]:
        """The draws of the chosen keypoints as (P, 3) positions and (P, 3) sRGB, their keypoints' colours."""
        drawn = self.samples[:, self.chosen] if len(self.samples) else np.zeros((0, len(self.chosen), 3))
        return drawn.reshape(-1, 3), np.tile(self.keypoint_rgb()[self.chosen], (len(drawn), 1))

    def sample_balls(self) -> Mesh:
        """The draws as small balls."""
        positions, colors = self.sample_points()
        detail = 1 if len(positions) <= MAX_BALLS // 4 else 0
        return geometry.balls(positions, SAMPLE_RADIUS, colors, subdivisions=detail)

    def surface_mesh(self) -> Mesh:
        """The mesh under the points, pale."""
        if self.surface is None:
            return geometry.EMPTY
        return geometry.triangles(self.surface.vertices, self.surface.triangles, hex_to_rgb(SURFACE_COLOR))

    def symmetry_lines(self) -> Mesh:
        """Thin links between the keypoints of a group, and the circles of those that lie on one."""
        places = dict(zip(self.shown.tolist(), self.position, strict=True))
        color, parts = hex_to_rgb(SYMMETRY_COLOR), [geometry.EMPTY]
        for mark in self.symmetries:
            if mark.radius is not None and mark.center is not None and mark.normal is not None:
                parts.append(geometry.ring(mark.center, mark.normal, mark.radius, SYMMETRY_RADIUS, color))
                continue
            here = np.array([places[k] for k in mark.keypoints if k in places]).reshape(-1, 3)
            ends = np.roll(here, -1, axis=0) if len(here) > 2 else here[1:]  # two are joined once
            parts.append(geometry.rods(here[: len(ends)], ends, SYMMETRY_RADIUS, color))
        return geometry.join(parts)

    def extent(self) -> np.ndarray:
        """(P, 3) positions that a camera must see."""
        return np.concatenate(
            [
                self.points,
                self.position,
                self.truth[self._known],
                *(edge.points for edge in self.edges),
                *([] if self.surface is None else [self.surface.vertices[np.unique(self.surface.triangles)]]),
                self.symmetry_lines().vertices,
            ]
        )


def build_drawing(
    prediction: Prediction,
    look: Look | None = None,
    *,
    peak: float | None = None,
    frame: tuple[np.ndarray, np.ndarray] | None = None,
) -> Drawing:
    """Bring a prediction into the unit frame, so that any units and any distance from the origin draw alike.

    Args:
        prediction: what to draw.
        look: what of it, and how; None: `Look()`.
        peak: the probability at the end of the colour scale; None: the largest of the map.
        frame: the (3,) least and (3,) largest coordinates of the bounding box that the frame goes by; None: that of the
            points.

    Raises:
        ValueError: no such keypoint, or a peak that is not above 0.
    """
    look = look or Look()
    low, high = frame or (prediction.points.min(axis=0), prediction.points.max(axis=0))
    center, scale = (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0
    shown = np.flatnonzero(prediction.visibility >= look.min_visibility)
    annotated = prediction.truth if look.truth else None
    if annotated is None:
        annotated = np.full_like(prediction.position, np.nan)
    points = (prediction.points - center) / scale
    drawn = prediction.samples[:, shown] if look.samples and prediction.samples is not None else None
    chosen = np.arange(len(shown))
    if look.keypoint is not None:
        chosen = np.flatnonzero(shown == prediction.keypoint_number(look.keypoint))
    edges = strong_edges(prediction, shown) if look.skeleton else []
    return Drawing(
        points,
        color_by_probability(prediction, look.keypoint, log_scale=look.log_scale, peak=peak),
        _point_radius(points),
        shown,
        (prediction.position[shown] - center) / scale,
        geometry.covariance_axes(prediction.covariance[shown]) / scale,
        (annotated[shown] - center) / scale,
        tuple(edge.moved(center, scale) for edge in edges),
        np.zeros((0, len(shown), 3)) if drawn is None else (drawn - center) / scale,
        _moved_surface(prediction.surface, center, scale) if look.surface else None,
        tuple(_moved_mark(mark, center, scale) for mark in prediction.symmetries) if look.symmetries else (),
        chosen,
        look,
    )


def _moved_surface(surface: Surface | None, center: np.ndarray, scale: float) -> Surface | None:
    if surface is None:
        return None
    return Surface(*geometry.thinned((surface.vertices - center) / scale, surface.triangles, MAX_TRIANGLES))


def _moved_mark(mark: SymmetryMark, center: np.ndarray, scale: float) -> SymmetryMark:
    if mark.center is None or mark.radius is None:
        return mark
    return replace(mark, center=(mark.center - center) / scale, radius=mark.radius / scale)


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
