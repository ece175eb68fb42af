"""The ways to guess the keypoints of a cloud that an evaluation holds beside each other, and how they are scored."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics import PCK, KeypointIoU
from pcsargmax.prediction import Prediction
from pcsargmax.template import Template

#: What `Run.evaluate` reports, and what each is.
ESTIMATES = {
    "expectation": "of the probability map: the paper's soft-argmax at test time",
    "snapped": "the cloud's point nearest to the expectation",
    "mode": "the most probable point",
    "template": "the training set's mean keypoints scaled into the bounding box",
    "template_snapped": "the cloud's point nearest to the template",
}


def estimates(found: Prediction, baseline: Template) -> dict[str, Tensor]:
    """(K, 3) positions by each of `ESTIMATES`, raw units, float64."""
    points, position = torch.from_numpy(found.points), torch.from_numpy(found.position)
    template = baseline.predict(points)
    return {
        "expectation": position,
        "snapped": points[torch.from_numpy(found.point_index)],
        "mode": points[torch.from_numpy(found.probability.argmax(axis=1))],
        "template": template,
        "template_snapped": points[nearest_point(template, points)],
    }


def nearest_point(query: Tensor, points: Tensor) -> Tensor:
    """(Q,) row of the nearest of points (N, 3); by differences, to be exact far from the origin."""
    return torch.cdist(query, points, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


class Scorer:
    """PCK and mIoU of one way to guess, as JSON-able values."""

    def __init__(self, thresholds: tuple[float, ...], iou_threshold: float, seed: int) -> None:
        # Metric.double() would do nothing: only set_dtype changes the type of a metric's states.
        self.pck = PCK(thresholds, seed=seed).set_dtype(torch.float64)
        self.iou = KeypointIoU((iou_threshold,), seed=seed).set_dtype(torch.float64)

    def update(self, guess: Tensor, target: Tensor, visible: Tensor, claimed: Tensor) -> None:
        """Add clouds: guess and target (B, K, 3), visible (B, K) in truth, claimed (B, K) to exist by the guess."""
        self.pck.update(guess, target, visible)
        self.iou.update(guess, target, visible, claimed)

    def compute(self) -> dict[str, Any]:
        """The values of both metrics."""
        values = self.pck.compute() | self.iou.compute()
        return {name: _plain(value.tolist()) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """None for each number that is not finite, which JSON cannot hold: nothing to measure it by."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if math.isfinite(value) else None
