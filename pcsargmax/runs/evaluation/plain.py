"""Results as plain, JSON-able values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from torchmetrics import Metric


def diagonal(points: Tensor) -> float:
    """Length of the bounding-box diagonal of points (N, 3); 1 where they all lie in one place, to divide by."""
    return float((points.amax(dim=0) - points.amin(dim=0)).double().norm()) or 1.0


def computed(metric: Metric) -> dict[str, Any]:
    """What a metric computes, as JSON-able values.

    torchmetrics hands out a tensor of one element as a number; what is listed per keypoint or surface stays a list.
    """
    found = {name: plain(value) for name, value in metric.compute().items()}
    return {
        name: [value] if "_per_" in name and not isinstance(value, list) else value for name, value in found.items()
    }


def plain(values: Tensor) -> Any:
    """As numbers for JSON, which can hold none that is not finite: None, nothing to measure it by."""
    return _plain(values.tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if math.isfinite(value) else None


def rounded(values: Tensor, digits: int = 6) -> list[float | None]:
    """The values (n,) with so many significant digits, None where not finite."""
    return [float(f"{value:.{digits}g}") if abs(value) < float("inf") else None for value in values.tolist()]
