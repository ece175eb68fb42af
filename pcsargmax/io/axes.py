"""Axis orders as text, such as -zyx, and the frames of meshes."""

import re
from typing import Literal, TypeAlias

Frame: TypeAlias = Literal["LPS", "RAS"]
"""The anatomical frames, see `markups`."""


def parse_axes(text: str) -> tuple[tuple[int, int], ...]:
    """Read "-zyx" as ((2, -1), (1, 1), (0, 1)): for new x, y and z the number and the sign of the old axis.

    Raises:
        ValueError: not each axis once.
    """
    parts = re.findall(r"(-?)([xyz])", text)
    if "".join(sign + axis for sign, axis in parts) != text or sorted(axis for _, axis in parts) != ["x", "y", "z"]:
        raise ValueError(f"axes must have each of x, y and z once, as in xyz or -zyx, got {text!r}")
    return tuple(("xyz".index(axis), -1 if sign else 1) for sign, axis in parts)
