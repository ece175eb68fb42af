"""What of a prediction is drawn, and how: one choice for window, pictures, turntables and sheets."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Look:
    """What is drawn of a prediction beside its points and keypoints; what it does not have is left out.

    Raises ValueError, naming the field, for a value that is none of those below.

    Example:
        >>> from pcsargmax.visualize import Look
        >>> Look(keypoint="handle", ellipsoids=2).labels
        True
        >>> Look(ellipsoids=3)
        Traceback (most recent call last):
        ValueError: ...
    """

    keypoint: str | int | None = None
    """Name or number of the keypoint whose map colours the points, and whose samples and ellipsoids are drawn; None:
    the largest of all maps, and the samples and ellipsoids of all keypoints."""
    log_scale: bool = False
    """Colour by the logarithm of the probability, over three decades."""
    truth: bool = True
    """The annotated positions, each joined to the estimate by a line."""
    ellipsoids: int = 0
    """The outlines of the ellipsoids of 1 … n σ: 0, 1 or 2."""
    samples: bool = False
    """Draws from the distributions."""
    skeleton: bool = True
    """The edges between the keypoints."""
    surface: bool = True
    """The mesh that the points were sampled from, pale under them."""
    symmetries: bool = True
    """What symmetries exchange: thin links between the keypoints of a group, rings for circles."""
    labels: bool = True
    """The names of the keypoints, beside them."""
    min_visibility: float = 0.5
    """Keypoints less likely than this to be on the cloud are not drawn."""

    def __post_init__(self) -> None:
        """Check the values."""
        # The fields are told apart by the type of their default.
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool) and not isinstance(value, bool):
                raise ValueError(f"{field.name}: expected True or False, got {value!r}")
        if self.keypoint is not None and (isinstance(self.keypoint, bool) or not isinstance(self.keypoint, str | int)):
            raise ValueError(f"keypoint: expected a name, a number or None, got {self.keypoint!r}")
        if isinstance(self.ellipsoids, bool) or self.ellipsoids not in (0, 1, 2):
            raise ValueError(f"ellipsoids: expected 0, 1 or 2, got {self.ellipsoids!r}")
        visibility = self.min_visibility
        number = isinstance(visibility, int | float) and not isinstance(visibility, bool)
        if not number or np.isnan(visibility):
            raise ValueError(f"min_visibility: expected a probability, got {visibility!r}")
