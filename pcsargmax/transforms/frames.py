"""The frames that networks see clouds in, and the way back to the units of the file.

Each transform returns a changed copy of one cloud item, no batch. Its keypoints are moved along; absent ones stay
zeros.
"""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class NormalizeFrame(BaseTransform):
    """Move a cloud into the unit frame: bounding-box midpoint at 0, bounding-box diagonal 1.

    Computed in float64, so coordinates at 1e6 or in millimetres lose nothing; `pos` and `keypoint_pos` are
    float32 afterwards. Records `frame_center (1, 3)` and `frame_scale (1, 1)`, float64: raw = unit * scale +
    center, see `to_raw`. The scale of a cloud without extent is 1. A cloud normalised before is moved
    again, and the recorded frame still leads back to the first.

    Raises:
        ValueError: where `pos` is missing, is not (N, 3), is empty or holds numbers that are not finite.
    """

    def forward(self, data: Data) -> Data:
        """Return `data` in the unit frame."""
        pos = _finite_positions(data)
        low, high = pos.amin(0), pos.amax(0)
        return _into_frame(data, low + (high - low) / 2, (high - low).norm())


class IntoFrame(BaseTransform):
    """Move a cloud into a given frame, such as that of another cloud of the same shape.

    Args:
        center: (1, 3) raw position of the origin.
        scale: (1, 1) raw length of one unit.
    """

    def __init__(self, center: Tensor, scale: Tensor) -> None:
        """Keep the frame; see the class."""
        self.center, self.scale = center[0], scale[0, 0]

    def forward(self, data: Data) -> Data:
        """Return `data` in the frame."""
        positions(data)
        center, scale = self.center, self.scale
        if "frame_scale" in data:  # of a cloud that is not in raw units any more
            center, scale = (center - data.frame_center[0]) / data.frame_scale[0, 0], scale / data.frame_scale[0, 0]
        return _into_frame(data, center, scale)

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"IntoFrame({self.center[None]!r}, {self.scale[None, None]!r})"


class NormalizeMinMax(BaseTransform):
    """Move a cloud into the frame of Skeleton Merger: one minimum and one maximum over all axes go to −1 and 1.

    The cloud is not centred: of a bounding box with its midpoint at 0 the longest side becomes 2, of another the
    coordinate that is farthest from the rest. So where clouds lie anywhere, as scans do, the shape would be small in a
    corner of the frame; with `centered` the midpoint of the bounding box is moved to 0 first. Clouds that have theirs
    there, such as KeypointNet's, nearly, are the same with and without.

    Records the frame as `NormalizeFrame` does, for `to_raw`, and like that takes the scale of a cloud without
    extent for 1. Source: Skeleton Merger, CVPR 2021.

    Args:
        centered: whether the midpoint of the bounding box goes to 0.

    Raises:
        ValueError: as `NormalizeFrame`.
    """

    def __init__(self, centered: bool = False) -> None:
        """Keep the setting; see the class."""
        self.centered = centered

    def forward(self, data: Data) -> Data:
        """Return `data` in the min-max frame."""
        pos = _finite_positions(data)
        low, high = pos.amin(0), pos.amax(0)
        if self.centered:
            return _into_frame(data, low + (high - low) / 2, (high - low).max() / 2)
        half = (high.max() - low.min()) / 2
        return _into_frame(data, (low.min() + half).expand(3), half)

    def __repr__(self) -> str:
        """Return the call that makes an equal transform."""
        return f"NormalizeMinMax(centered={self.centered})"


def _finite_positions(data: Data) -> Tensor:
    """(N, 3) float64."""
    pos = positions(data).double()
    if not pos.isfinite().all():
        bad = int((~pos.isfinite().all(1)).sum())
        raise ValueError(f"pos: expected finite coordinates, got {bad} of {len(pos)} points with NaN or infinity")
    return pos


def _into_frame(data: Data, center: Tensor, scale: Tensor) -> Data:
    """Move points and keypoints to (x − center) / scale, 1 in place of a scale of 0, and record the frame."""
    scale = scale if scale > 0 else torch.ones_like(scale)
    for key in ("pos", "dense_pos"):
        if key in data:
            data[key] = ((data[key].double() - center) / scale).float()
    if "keypoint_pos" in data:
        data.keypoint_pos = _visible_only((data.keypoint_pos.double() - center) / scale, data).float()
    if "frame_scale" in data:
        center, scale = center * data.frame_scale[0, 0] + data.frame_center[0], scale * data.frame_scale[0, 0]
    data.frame_center, data.frame_scale = center.reshape(1, 3), scale.reshape(1, 1)
    return data


def to_raw(points: Tensor, frame_center: Tensor, frame_scale: Tensor) -> Tensor:
    """Undo `NormalizeFrame` or `NormalizeMinMax`: points in the units and frame of the file, float64.

    Args:
        points: (..., 3) in the unit frame; with a batch of frames (B, ..., 3).
        frame_center: (1, 3), or (B, 3).
        frame_scale: (1, 1), or (B, 1): the raw length of one unit.

    Returns:
        (..., 3) or (B, ..., 3) float64, raw units.
    """
    frames = frame_center.shape[0]
    if points.shape[-1] != 3 or (frames > 1 and points.shape[0] != frames):
        raise ValueError(f"points: expected (..., 3), first {frames} for {frames} frames, got {tuple(points.shape)}")
    if frames == 1:
        return points.double() * frame_scale.double()[0] + frame_center.double()[0]
    shape = (frames, *[1] * (points.dim() - 2), -1)
    return points.double() * frame_scale.double().reshape(shape) + frame_center.double().reshape(shape)


def positions(data: Data) -> Tensor:
    """The points of one cloud, (N, 3) with N at least 1.

    Raises:
        ValueError: `pos` is missing or is of another shape, or the item is a batch.
    """
    pos: Any = data.get("pos")
    if not isinstance(pos, Tensor) or pos.dim() != 2 or pos.shape[1] != 3 or len(pos) == 0:
        came = tuple(pos.shape) if isinstance(pos, Tensor) else type(pos).__name__
        raise ValueError(f"pos: expected (N, 3) points, N at least 1, got {came}")
    if data.get("batch") is not None:
        raise ValueError("data: expected one cloud, got a batch; transform the clouds before they are batched")
    return pos


def _visible_only(keypoints: Tensor, data: Data) -> Tensor:
    """Keep absent keypoints at zero, so that no number of theirs can leak into a loss."""
    if "keypoint_visible" not in data:
        return keypoints
    return keypoints.where(data.keypoint_visible[..., None], keypoints.new_zeros(()))
