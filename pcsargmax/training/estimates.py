"""The ways to guess the keypoints of a cloud that an evaluation holds beside each other, and how they are scored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from pcsargmax.calibration import THRESHOLD, Calibration
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


class ConfidenceScorer:
    """How far confidence tells right from wrong, and how often the radius holds the true point.

    Args:
        calibration: of the run; None where it has none, and confidence is that of the maps themselves.
    """

    def __init__(self, calibration: Calibration | None) -> None:
        self.calibration = calibration
        self.threshold = THRESHOLD if calibration is None else calibration.threshold
        self.rows: list[np.ndarray] = []

    def update(self, found: Prediction, length: float) -> None:
        """Add the keypoints of a cloud whose truth is known; `length` is the raw length of a unit of the results."""
        if found.error is None:
            return
        diagonal = float(np.linalg.norm(np.ptp(found.points, axis=0))) or 1.0
        radius = np.full(found.num_keypoints, np.nan) if found.radius is None else found.radius
        rows = np.stack([found.confidence, found.error / diagonal, radius >= found.error, radius / length], axis=1)
        self.rows.append(rows[~np.isnan(found.error)])

    def compute(self) -> dict[str, dict[str, Any] | None]:
        """Return what was found, as JSON-able values.

        "confidence": "calibrated", "measure" (None of a run that was not), "threshold" (the error that is still right,
        as a share of the bounding-box diagonal), "correct" (share of the keypoints that are), "mean" (confidence: the
        same, if it keeps its word), "pearson" (with being right) and "spearman" (with the error, its sign turned), None
        where one of the two is the same for all.

        "radius": "nominal" (coverage), "coverage" (share of the true points within it), "mean" (radius, in the unit of
        the evaluation) and "form"; None where the predictions have none.
        """
        confidence, error, within, radius = np.concatenate([*self.rows, np.empty((0, 4))]).T
        correct = error <= self.threshold
        fitted = self.calibration
        told: dict[str, Any] = {
            "calibrated": fitted is not None,
            "measure": None if fitted is None else fitted.measure,
            "threshold": self.threshold,
            "correct": _mean(correct),
            "mean": _mean(confidence),
            "pearson": _correlation(confidence, correct),
            "spearman": _correlation(rankdata(confidence), -rankdata(error)),
        }
        if fitted is None or fitted.quantile is None:
            return {"confidence": told, "radius": None}
        reach = {"nominal": fitted.coverage, "coverage": _mean(within), "mean": _mean(radius), "form": fitted.form}
        return {"confidence": told, "radius": reach}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's, None where there is none."""
    if len(a) < 2 or np.ptp(a.astype(float)) == 0 or np.ptp(b.astype(float)) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _plain(value: Any) -> Any:
    """None for each number that is not finite, which JSON cannot hold: nothing to measure it by."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if math.isfinite(value) else None
