"""What is said of one landmark on one scan: where it is, that it is absent, or where a model expects it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Mark:
    """A landmark that was placed on a scan or marked as absent.

    Attributes:
        position: in the units and the frame of the file; None: the scan does not have this landmark.
        point_index: the file's point at this very position, 0-based; None where it lies between points.
        face_index: the triangle of the file that it lies on, 0-based; None where that is not known.
        face_uv: its barycentric coordinates there, of the three corners in turn; their sum is 1.

    Raises:
        ValueError: a position that is not three finite numbers, or a triangle without coordinates.

    Example:
        >>> from pcsargmax.annotate import ABSENT, Mark
        >>> Mark((1, 2, 3), point_index=7).position
        (1.0, 2.0, 3.0)
        >>> ABSENT.position is None
        True
    """

    position: Triple | None
    point_index: int | None = None
    face_index: int | None = None
    face_uv: Triple | None = None

    def __post_init__(self) -> None:
        """Turn the position into plain numbers and check it."""
        if (self.face_index is None) != (self.face_uv is None):
            raise ValueError(f"face_index, face_uv: expected both or neither, got {self.face_index}, {self.face_uv}")
        if self.position is None:
            return
        position = tuple(float(value) for value in self.position)
        if len(position) != 3 or not np.isfinite(position).all():
            raise ValueError(f"position: expected 3 finite numbers or None, got {self.position}")
        object.__setattr__(self, "position", position)


#: The mark of a landmark that the scan does not have.
ABSENT = Mark(None)


@dataclass(frozen=True)
class Proposal:
    """A landmark that a model proposes and nobody has confirmed yet.

    Attributes:
        mark: on the scan, or `ABSENT`.
        confidence: in [0, 1], of the position, or that it is absent.

    Example:
        >>> from pcsargmax.annotate import Mark, Proposal
        >>> Proposal(Mark((1, 2, 3)), confidence=0.8).confidence
        0.8
    """

    mark: Mark
    confidence: float
