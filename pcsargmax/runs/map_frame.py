"""From the pixels of an image to the cells of a network's maps and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop


@dataclass(frozen=True)
class MapFrame:
    """Where the cells of a network's maps stand in its input, and in depth.

    Cell i stands at pixel `stride` · i of the input along x and y, and at depth (i / depth_bins − 0.5) · depth_range:
    no half-cell shift, as in the authors' published code. Coordinates are (x, y), with depth bins (x, y, z).

    Args:
        size: (height, width) of the input in pixels.
        stride: pixels a cell.
        depth_bins: cells along the depth; 0 of 2-D maps.
        depth_range: that they span, mm.
    """

    size: tuple[int, int]
    stride: int = 4
    depth_bins: int = 0
    depth_range: float = 2000.0

    @classmethod
    def of(cls, settings: ImageSettings) -> MapFrame:
        """The frame of a run."""
        return cls(settings.size, depth_bins=settings.depth_bins, depth_range=settings.depth_range)

    @property
    def dimension(self) -> int:
        """D of the maps, 2 or 3."""
        return 3 if self.depth_bins else 2

    @property
    def cell(self) -> np.ndarray:
        """(D,) the size of a cell: pixels of the input, and mm of depth."""
        depth = [self.depth_range / self.depth_bins] if self.depth_bins else []
        return np.array([self.stride, self.stride, *depth], dtype=np.float64)

    @property
    def _first(self) -> np.ndarray:
        """(D,) where the first cell stands."""
        return np.array([0.0, 0.0, -self.depth_range / 2])[: self.dimension]

    def to_cells(self, crop: Crop, keypoints: np.ndarray) -> np.ndarray:
        """Bring keypoints (K, 2 or 3) of an image into cells (K, D); NaN stays NaN, and a depth that is missing is."""
        points = crop.to_input(keypoints)[:, : self.dimension]
        if points.shape[1] < self.dimension:
            points = np.column_stack([points, np.full(len(points), np.nan)])
        return (points - self._first) / self.cell

    def to_image(self, crop: Crop, cells: np.ndarray) -> np.ndarray:
        """Bring cells (K, D) to pixels of the image, and mm of depth: (K, D)."""
        return crop.to_image(np.asarray(cells, dtype=np.float64) * self.cell + self._first)

    def covariance_to_image(self, crop: Crop, covariance: np.ndarray) -> np.ndarray:
        """Bring covariances (K, D, D) in cells² to pixels² of the image, and mm² of depth."""
        scale = self.cell
        return crop.covariance_to_image(np.asarray(covariance, dtype=np.float64) * scale[:, None] * scale)

    def inside(self, crop: Crop, keypoints: np.ndarray) -> np.ndarray:
        """(K,) bool, whether keypoints (K, 2 or 3) of an image lie on the input."""
        points, (height, width) = crop.to_input(keypoints)[:, :2], self.size
        edge = np.array([width, height]) - 0.5
        return np.asarray(((points >= -0.5) & (points <= edge)).all(axis=1))  # False for NaN
