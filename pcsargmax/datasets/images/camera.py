"""From pixels and depth to the camera's frame, and back: the pinhole of data sets of poses in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera without distortion: x = f_x X / Z + c_x, y = f_y Y / Z + c_y.

    Args:
        focal: (2,) focal lengths f_x, f_y, pixels, positive.
        centre: (2,) principal point c_x, c_y, pixels.

    Raises:
        ValueError: for numbers that are none of these.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.datasets.images import Camera
        >>> camera = Camera(focal=(1000, 1000), centre=(320, 240))
        >>> camera.to_pixels(np.array([[100.0, 0.0, 2000.0]]))  # 100 mm aside, 2 m away: 50 pixels from the centre
        array([[ 370.,  240., 2000.]])
    """

    focal: np.ndarray
    centre: np.ndarray

    def __post_init__(self) -> None:
        """Convert and check."""
        for name in ("focal", "centre"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != (2,) or not np.isfinite(values).all() or (name == "focal" and (values <= 0).any()):
                raise ValueError(f"{name}: expected two finite numbers, the focal lengths positive, got {values}")
            object.__setattr__(self, name, values)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) X, Y, Z of the camera's frame -> (..., 3) x, y in pixels and Z; NaN stays NaN."""
        depth = points[..., 2:]
        return np.concatenate([points[..., :2] / depth * self.focal + self.centre, depth], axis=-1)

    def from_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) x, y in pixels and Z -> (..., 3) X, Y, Z of the camera's frame, in the unit of Z."""
        depth = points[..., 2:]
        return np.concatenate([(points[..., :2] - self.centre) / self.focal * depth, depth], axis=-1)


def to_camera(keypoints: np.ndarray, extra: dict[str, Any]) -> np.ndarray:
    """Transform keypoints of a 3-D pose, annotated or predicted, to the frame of the camera.

    The depth of the root joint, which no image tells, is the annotated one, as in the usual evaluation of Human3.6M.

    Args:
        keypoints: (..., K, 3) x, y in pixels of the whole image, depth in mm relative to the root joint.
        extra: of the item: its "camera" and "root_depth" (mm).

    Returns:
        (..., K, 3) X, Y, Z in mm, what `pcsargmax.metrics.JointError` takes.

    Raises:
        ValueError: the item does not tell its camera, or keypoints of another shape.

    Example:
        >>> import numpy as np
        >>> from pcsargmax.datasets.images import Camera, to_camera
        >>> extra = {"camera": Camera(focal=(1000, 1000), centre=(320, 240)), "root_depth": 2000.0}
        >>> to_camera(np.array([[370.0, 240.0, 0.0]]), extra)  # at the depth of the root joint
        array([[ 100.,    0., 2000.]])
    """
    if not {"camera", "root_depth"} <= set(extra):
        raise ValueError(f"extra: expected a camera and a root_depth, got {sorted(extra)}")
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim < 2 or keypoints.shape[-1] != 3:
        raise ValueError(f"keypoints: expected (..., K, 3), got {keypoints.shape}")
    absolute = keypoints.copy()
    absolute[..., 2] += extra["root_depth"]
    return extra["camera"].from_pixels(absolute)
