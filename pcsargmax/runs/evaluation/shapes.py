"""What an evaluation of a detector keeps of each shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.runs.evaluation.plain import diagonal, rounded


@dataclass
class Shapes:
    """What is kept of M shapes of K keypoints: lists of plain values of six digits, lengths in the evaluation's unit.

    From these can be counted again: PCK and the mean error (any threshold, average and strictness), mAP, presence and
    its claims, calibration, correlation, sparsification and the coverage of the radius. mIoU cannot, nor what is
    counted over the points of a cloud, since no positions are kept. Geodesic and symmetric errors stand with their
    figures.

    Attributes:
        model_id: M.
        diagonal: M, of the bounding boxes; an error over it is what is compared with the threshold of confidence.
        visible: (M, K) annotated.
        errors: of each estimate (M, K), None where absent.
        trust_errors: (M, K) those that confidence and radius are scored by, up to the symmetry of the training; None of
            a run without, whose expectation's they are.
        confidence: (M, K).
        radius: (M, K); None of a run that gives none.
        peak: (M, K) largest probability of a point.
        presence: (M, K); None of a run whose head was not trained.
    """

    model_id: list[str] = field(default_factory=list)
    diagonal: list[float | None] = field(default_factory=list)
    visible: list[list[bool]] = field(default_factory=list)
    errors: dict[str, list[list[float | None]]] = field(default_factory=lambda: {name: [] for name in ESTIMATES})
    trust_errors: list[list[float | None]] | None = None
    confidence: list[list[float | None]] = field(default_factory=list)
    radius: list[list[float | None]] | None = None
    peak: list[list[float | None]] = field(default_factory=list)
    presence: list[list[float | None]] | None = None

    def update(self, item: Data, found: Prediction, errors: dict[str, Tensor], length: float) -> None:
        """Add a shape; errors (K,) of each estimate, NaN where absent, and the raw length of a unit."""
        self.model_id.append(str(item.model_id))
        self.diagonal += rounded(torch.tensor([diagonal(item.pos) / length], dtype=torch.float64))
        self.visible.append(item.keypoint_visible[0].tolist())
        for name, values in errors.items():
            self.errors[name].append(rounded(values))
        self.confidence.append(rounded(torch.from_numpy(found.confidence)))
        self.peak.append(rounded(torch.from_numpy(found.probability.max(axis=1))))
        if found.radius is not None:
            self.radius = [*(self.radius or []), rounded(torch.from_numpy(found.radius) / length)]
        if self.presence is not None:
            self.presence.append(rounded(torch.from_numpy(found.visibility)))
