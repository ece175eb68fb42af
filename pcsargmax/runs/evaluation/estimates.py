"""The ways to guess the keypoints of a cloud that an evaluation holds beside each other, and how they are scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsargmax.metrics import PCK, ConfidenceCalibration, KeypointIoU, SparsificationError
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.metrics.pck import Average
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import THRESHOLD, Calibration
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.plain import computed

#: What `Run.evaluate` reports, and what each is.
ESTIMATES = {
    "expectation": (
        "of the probability map: the paper's soft-argmax at test time; of a detector of several stages where the last "
        "of them places the keypoint"
    ),
    "snapped": "the cloud's point nearest to that",
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
        "template_snapped": points[nearest_index(points, template)],
    }


class Scorer:
    """PCK and mIoU of one way to guess, as JSON-able values.

    Args:
        thresholds: of PCK.
        iou_threshold: of the mIoU.
        seed: of the bootstrap.
        average: of PCK and mean error.
        strict: of PCK, < instead of ≤.
    """

    def __init__(
        self,
        thresholds: tuple[float, ...],
        iou_threshold: float,
        seed: int,
        *,
        average: Average = "pooled",
        strict: bool = False,
    ) -> None:
        # Metric.double() would do nothing: only set_dtype changes the type of a metric's states.
        self.pck = PCK(thresholds, average=average, strict=strict, seed=seed)
        self.iou = KeypointIoU((iou_threshold,), seed=seed)
        self.pck.set_dtype(torch.float64)
        self.iou.set_dtype(torch.float64)

    def update(self, guess: Tensor, target: Tensor, visible: Tensor, claimed: Tensor | None) -> None:
        """Add clouds: guess and target (B, K, 3), visible (B, K) in truth, claimed (B, K) to exist, None: all."""
        self.pck.update(guess, target, visible)
        self.iou.update(guess, target, visible, claimed)

    def compute(self) -> dict[str, Any]:
        """The values of both metrics."""
        return computed(self.pck) | computed(self.iou)


class ConfidenceScorer:
    """How far confidence tells right from wrong and keeps its word, and how often the radius holds the true point.

    Args:
        calibration: of the run; None where it has none, and confidence is that of the maps themselves.
        seed: of the bootstrap.
        symmetry: up to which the errors are measured that it is given; said with each figure.
    """

    def __init__(self, calibration: Calibration | None, *, seed: int = 0, symmetry: str = "none") -> None:
        self.calibration, self.symmetry = calibration, symmetry
        self.threshold = THRESHOLD if calibration is None else calibration.threshold
        self.kept = ConfidenceCalibration(self.threshold, seed=seed).set_dtype(torch.float64)
        self.sparse = SparsificationError(seed=seed).set_dtype(torch.float64)
        self.reach: list[np.ndarray] = []
        self.known = False

    def update(self, found: Prediction, error: Tensor, length: float, diagonal: float) -> None:
        """Add the keypoints of a cloud.

        Args:
            found: on the cloud.
            error: (K,) of its positions, raw units, NaN where absent.
            length: raw length of a unit of the results.
            diagonal: of the cloud's bounding box, raw units.
        """
        self.known = self.known or not bool(error.isnan().all())
        confidence = torch.from_numpy(found.confidence)[None]
        self.kept.update(confidence, error[None] / diagonal)
        self.sparse.update(confidence, error[None] / length)
        if found.radius is not None:
            reach = np.stack([found.radius >= error.numpy(), found.radius / length], axis=1)
            self.reach.append(reach[~error.isnan().numpy()])

    def compute(self) -> dict[str, dict[str, Any] | None]:
        """Return what was found, as JSON-able values.

        "confidence": "calibrated", "measure" (None of a run that was not) and "threshold" (the error that is still
        right, as a share of the bounding-box diagonal).

        "radius": "nominal" (coverage), "coverage" (share of the true points within it), "mean" (radius, in the unit of
        the evaluation) and "form"; None where the predictions have none.

        "calibration": what `ConfidenceCalibration` computes. "sparsification": what `SparsificationError` does, errors
        in the unit of the evaluation. Both None where no truth is known.

        Each has "symmetry", up to which the errors are measured that it is about.
        """
        fitted, symmetry = self.calibration, {"symmetry": self.symmetry}
        confidence: dict[str, Any] = {
            "calibrated": fitted is not None,
            "measure": None if fitted is None else fitted.measure,
            "threshold": self.threshold,
        }
        blocks: dict[str, dict[str, Any] | None] = {
            "confidence": confidence,
            "radius": self._radius(),
            "calibration": {"threshold": self.threshold, **computed(self.kept)} if self.known else None,
            "sparsification": computed(self.sparse) if self.known else None,
        }
        return {name: block if block is None else symmetry | block for name, block in blocks.items()}

    def _radius(self) -> dict[str, Any] | None:
        """How often the radius held the true point, and how large it was."""
        fitted = self.calibration
        if fitted is None or fitted.quantile is None:
            return None
        within, radius = np.concatenate([*self.reach, np.empty((0, 2))]).T
        return {"nominal": fitted.coverage, "coverage": _mean(within), "mean": _mean(radius), "form": fitted.form}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
