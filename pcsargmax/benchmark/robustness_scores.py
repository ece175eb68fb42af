"""What a sweep of robustness counts on the clouds of one change and severity."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pcsargmax.metrics import DAS, PCK, ConfidenceCalibration, Repeatability
from pcsargmax.predictions.calibration import THRESHOLD
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.detector import Run

#: What of `ConfidenceCalibration` and `DAS` is told, and by what name.
_TRUST = {"share_correct": "correct", "mean_confidence": "confidence", "ece": "ece", "brier": "brier", "pearson": "r"}
_ALIGNMENT = ("das", "das_corrected", "min_distance", "collapsed")


class Sighting(NamedTuple):
    """What was found on a cloud, lengths in diagonals of the shape as it is.

    Attributes:
        found: the prediction, in raw units.
        position: (K, 3) float64, of what was found.
        expected: (K, 3) where the same was found on the shape as it is, moved along with the change.
        truth: (G, 3) annotations, moved along; anything finite at absent ones.
        visible: (G,) bool, which of them there are.
        diagonal: the raw length of one.
    """

    found: Prediction
    position: Tensor
    expected: Tensor
    truth: Tensor
    visible: Tensor
    diagonal: float


class Tally:
    """The parent of both kinds: movement, and the mean number of points."""

    def __init__(self, seed: int = 0) -> None:
        """Seed of the bootstrap."""
        self.again = Repeatability(seed=seed).set_dtype(torch.float64)
        self.points: list[int] = []

    def update(self, sighting: Sighting) -> None:
        """Add a cloud."""
        self.points.append(len(sighting.found.points))
        self.again.update(sighting.position[None], sighting.expected[None])

    def compute(self) -> dict[str, Any]:
        """Return what was counted, as JSON-able numbers, None for what is not finite.

        "points" (mean number of them), "movement" (mean distance of the keypoints from where they were found on the
        shape as it is) and "repeatability@0.05" and so on (share within that distance, in diagonals), with "/low" and
        "/high" the ends of the 95 % interval over models.
        """
        moved = _plain(self.again.compute())
        names = [name for name in moved if name.startswith(("movement", "repeatability@"))]
        return {"points": sum(self.points) / len(self.points), **{name: moved[name] for name in names}}


class DetectorTally(Tally):
    """Error, confidence, radius and movement of a detector.

    Args:
        run: the detector.
        thresholds: of PCK, in the run's unit.
        seed: of the bootstrap.
    """

    def __init__(self, run: Run, thresholds: tuple[float, ...], seed: int = 0) -> None:
        super().__init__(seed)
        self.raw = run.unit == "raw"
        self.pck = PCK(thresholds, seed=seed).set_dtype(torch.float64)
        threshold = THRESHOLD if run.calibration is None else run.calibration.threshold
        self.trust = ConfidenceCalibration(threshold, seed=seed).set_dtype(torch.float64)
        self.reach: list[Tensor] = []
        self.claims: list[Tensor] = []

    def update(self, sighting: Sighting) -> None:
        """Add a cloud."""
        super().update(sighting)
        found, position, _, truth, visible, diagonal = sighting
        length = diagonal if self.raw else 1.0
        self.pck.update(length * position[None], length * truth[None], visible[None])
        error = (position - truth).norm(dim=1)
        # A probability map's float32 sums may be a rounding above 1.
        confidence = torch.from_numpy(found.confidence).clamp(0, 1)
        self.trust.update(confidence[None], error.masked_fill(~visible, torch.nan)[None])
        self.claims.append((torch.from_numpy(found.visibility) >= 0.5) == visible)
        if found.radius is not None:
            radius = torch.from_numpy(found.radius) / diagonal
            self.reach.append(torch.stack([radius * length, (error <= radius).double()], dim=1)[visible])

    def compute(self) -> dict[str, Any]:
        """Return what was counted: what `Tally.compute` gives, and of the visible keypoints

        - "pck@0.01" and so on, "mean_error" and "median_error", in the run's unit;
        - "correct", the share of errors up to the threshold of confidence (2 % of the diagonal), and "confidence", its
          mean, the same if it keeps its word; "ece", their expected calibration error, "brier" score and Pearson's "r";
        - "radius", its mean in the run's unit, and "radius_coverage", how often it held the true point; None of a run
          that gives none;
        - "presence": of all keypoints, the share of which it was told right whether they exist.
        """
        errors = {name: v for name, v in _plain(self.pck.compute()).items() if not name.startswith("num_")}
        trust = _plain(self.trust.compute())
        told = {
            f"{_TRUST[kind]}{end}": trust[name] for name in trust for kind, end in [_parted(name)] if kind in _TRUST
        }
        radius, held = torch.cat(self.reach).mean(dim=0).tolist() if self.reach else (None, None)
        return {
            **errors,
            **told,
            "radius": radius,
            "radius_coverage": held,
            "presence": torch.stack(self.claims).double().mean().item(),
            **super().compute(),
        }


class DiscoveryTally(Tally):
    """Alignment and movement of a discovery."""

    def __init__(self, seed: int = 0) -> None:
        """Seed of the bootstrap."""
        super().__init__(seed)
        self.das = DAS().set_dtype(torch.float64)
        self.annotated = 0

    def update(self, sighting: Sighting) -> None:
        """Add a cloud; DAS counts those with annotations."""
        super().update(sighting)
        if sighting.visible.any():
            self.annotated += 1
            self.das.update(sighting.position[None], sighting.truth[None], sighting.visible[None])

    def compute(self) -> dict[str, Any]:
        """Return what was counted: what `Tally.compute` gives, and what `DAS.compute` gives of annotated shapes:

        "das", "das_corrected" (above chance), "min_distance" (in diagonals) and "collapsed".
        """
        values = _plain(self.das.compute()) if self.annotated else {}
        return {**{name: v for name, v in values.items() if _parted(name)[0] in _ALIGNMENT}, **super().compute()}


def _parted(name: str) -> tuple[str, str]:
    """What a number is of, and "", "/low" or "/high"."""
    kind, slash, end = name.partition("/")
    return kind, slash + end


def _plain(values: dict[str, Tensor]) -> dict[str, Any]:
    """The single numbers, None for what is not finite, which JSON cannot hold."""
    numbers = {name: value.item() for name, value in values.items() if value.ndim == 0}
    return {
        name: number if isinstance(number, (bool, int)) or math.isfinite(number) else None
        for name, number in numbers.items()
    }
