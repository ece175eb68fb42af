"""Metrics of a detector, shape by shape, beyond the scores of single estimates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.metrics import PCK, KeypointAP, KeypointIoU, KeypointPresence
from pcsargmax.metrics.average_precision import saliency_average_precision
from pcsargmax.metrics.geodesic import NEIGHBORS, CloudGraph, nearest_index
from pcsargmax.metrics.iou import saliency, salient_points
from pcsargmax.metrics.pck import Average, keypoint_errors, threshold_name
from pcsargmax.metrics.symmetry import symmetric_errors
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.estimates import ESTIMATES, ConfidenceScorer, Scorer, estimates
from pcsargmax.runs.evaluation.lengths import LengthScorer
from pcsargmax.runs.evaluation.plain import computed, diagonal, plain, rounded
from pcsargmax.runs.evaluation.shapes import Shapes
from pcsargmax.runs.symmetry import SYMMETRY_KINDS

#: Guesses that are points of the cloud, between which there are distances along it.
ON_CLOUD = ("snapped", "mode", "template_snapped")

#: How KeypointNet's own benchmark counts points without ids, whatever PCK is asked to be.
_SALIENCY: dict[str, Any] = {"protocol": "keypointnet", "average": "pooled"}


@dataclass(frozen=True)
class Protocol:
    """How an evaluation counts.

    Args:
        thresholds: of PCK, in the unit of the evaluation, positive and ascending.
        iou_threshold: of the mIoU, same unit.
        average: of PCK and mean error, "pooled", "model" or "id"; see `average_visible`.
        strict: a keypoint is right if its error is < instead of ≤ the threshold.
        geodesic: also measure along the cloud, over 20 neighbours, as KeypointNet's own benchmark.
        symmetry: also measure against the nearest labelling that the annotated symmetries allow: "reflection",
            "rotation" or "all"; "none" does not.
        seed: of the bootstrap.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """

    thresholds: tuple[float, ...] = (0.01, 0.02, 0.05)
    iou_threshold: float = 0.1
    average: Average = "pooled"
    strict: bool = False
    geodesic: bool = False
    symmetry: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what no metric checks when it is made."""
        if self.symmetry not in SYMMETRY_KINDS:
            raise ValueError(f"symmetry must be one of {', '.join(SYMMETRY_KINDS)}, got {self.symmetry!r}")

    def conventions(self, distance: str = "euclidean") -> dict[str, Any]:
        """Return what a reader must know to compare results."""
        return {"distance": distance, "average": self.average, "strict": self.strict}

    def scorer(self) -> Scorer:
        """PCK and mIoU by this protocol."""
        return Scorer(self.thresholds, self.iou_threshold, self.seed, average=self.average, strict=self.strict)

    def pck(self) -> PCK:
        """PCK alone by this protocol."""
        metric = PCK(self.thresholds, average=self.average, strict=self.strict, seed=self.seed)
        metric.set_dtype(torch.float64)
        return metric


class Evaluation:
    """Everything that `Run.evaluate` counts.

    Args:
        protocol: how.
        template: the baseline.
        calibration: of the run.
        semantic_ids: that of each channel; None where the data have none, nor symmetries.
        trained: the symmetry of the training, up to which confidence and radius were fitted, and are scored here.
        presence: whether the presence head was trained; if not, every keypoint is claimed.
        length_unit: of the data, such as "mm"; None where it is not known.

    Raises:
        ValueError: symmetries are asked for and the data have none.
    """

    def __init__(
        self,
        protocol: Protocol,
        template: Template,
        calibration: Calibration | None,
        semantic_ids: Sequence[int] | None,
        *,
        trained: str = "none",
        presence: bool = True,
        length_unit: str | None = None,
    ) -> None:
        self.protocol, self.template, self.semantic_ids, self.trained = protocol, template, semantic_ids, trained
        seed, strict = protocol.seed, protocol.strict
        self.scorers = {name: protocol.scorer() for name in ESTIMATES}
        self.symmetric = None if protocol.symmetry == "none" else SymmetricScorer(protocol, semantic_ids)
        self.geodesic = GeodesicScorer(protocol, presence=presence) if protocol.geodesic else None
        self.lengths = None if length_unit is None else LengthScorer(length_unit, protocol.pck)
        self.trust = ConfidenceScorer(calibration, seed=seed, symmetry=trained)
        self.presence = KeypointPresence(protocol.thresholds, strict=strict, seed=seed) if presence else None
        self.precision = KeypointAP(protocol.thresholds, strict=strict, seed=seed)
        self.snapped_iou = KeypointIoU((protocol.iou_threshold,), seed=seed, protocol="skeleton-merger")
        for metric in (self.presence, self.precision, self.snapped_iou):
            if metric is not None:
                metric.set_dtype(torch.float64)
        self.stages: list[tuple[str, Scorer]] = []
        self.shapes = Shapes(trust_errors=None if trained == "none" else [], presence=[] if presence else None)

    def update(self, item: Data, found: Prediction, length: float) -> None:
        """Add a shape, in raw units, and what was found on it; `length` is the raw length of a unit of the results."""
        target, visible = item.keypoint_pos.double(), item.keypoint_visible
        guesses = estimates(found, self.template)
        exists = None if self.presence is None else torch.from_numpy(found.visibility)[None] >= 0.5
        away, errors = {}, {}
        for name, guess in guesses.items():
            claimed = self.template.usual[None] if name.startswith("template") else exists
            self.scorers[name].update(guess[None] / length, target / length, visible, claimed)
            away[name] = keypoint_errors(guess[None], target, visible)[0]
            errors[name] = away[name] / length
        self._score_stages(found, target / length, visible, exists, length)
        if self.lengths is not None:
            self.lengths.update(away, found)
        if self.symmetric is not None:
            self.symmetric.update(item, guesses, length)
        if self.geodesic is not None:
            self.geodesic.update(item, found, guesses, length)
        snapped = guesses["snapped"][None] / length
        self.snapped_iou.update(snapped, target / length, visible, exists)
        self._trust(item, found, guesses["expectation"], length)
        score = torch.from_numpy(found.confidence)[None]
        if self.presence is not None:
            there = torch.from_numpy(found.visibility)[None]
            self.presence.update(there, errors["expectation"][None])
            score = score * there
        self.precision.update_errors(errors["expectation"][None], score)
        self.shapes.update(item, found, errors, length)

    def _score_stages(
        self, found: Prediction, target: Tensor, visible: Tensor, exists: Tensor | None, length: float
    ) -> None:
        """Score the keypoints after each stage but the last, which is the result; a run has the same on all shapes."""
        if found.stage_positions is None or len(found.stages) < 2:
            return
        self.stages = self.stages or [(name, self.protocol.scorer()) for name in found.stages[:-1]]
        for (_, scorer), positions in zip(self.stages, found.stage_positions, strict=False):
            scorer.update(torch.from_numpy(positions)[None] / length, target, visible, exists)

    def _trust(self, item: Data, found: Prediction, guess: Tensor, length: float) -> None:
        """Score how far to trust a guess (K, 3), by the errors that confidence and radius were fitted to."""
        target, visible = item.keypoint_pos[0].double(), item.keypoint_visible[0]
        if self.shapes.trust_errors is None:
            error = keypoint_errors(guess[None], target[None], visible[None])[0]
        else:
            kinds, symmetries = SYMMETRY_KINDS[self.trained], item.get("symmetries")
            error = symmetric_errors(guess, target, visible, symmetries, self.semantic_ids or (), kinds)
            self.shapes.trust_errors.append(rounded(error / length))
        self.trust.update(found, error, length, diagonal(item.pos))

    def compute(self) -> dict[str, Any]:
        """The values, JSON-able; see `Run.evaluate`."""
        presence = None if self.presence is None else {"estimate": "expectation", **computed(self.presence)}
        score = "confidence" if presence is None else "confidence x presence"
        result: dict[str, Any] = {name: scorer.compute() for name, scorer in self.scorers.items()}
        result["stages"] = [{"name": name, **scorer.compute()} for name, scorer in self.stages]
        result |= self.trust.compute()
        if self.lengths is not None:
            result["lengths"] = self.lengths.compute()
        return result | {
            "protocol": self.protocol.conventions(),
            "presence": presence,
            "map": {"estimate": "expectation", "score": score, **computed(self.precision)},
            "snapped_iou": {"estimate": "snapped", "protocol": "skeleton-merger", **computed(self.snapped_iou)},
            "symmetric": None if self.symmetric is None else self.symmetric.compute(),
            "geodesic": None if self.geodesic is None else self.geodesic.compute(),
            "shapes": vars(self.shapes),
        }


class ErrorScorer:
    """PCK of errors that were measured otherwise, of several estimates.

    Args:
        protocol: thresholds, average and strictness.
        names: of the estimates.
    """

    def __init__(self, protocol: Protocol, names: Iterable[str]) -> None:
        self.scorers = {name: protocol.pck() for name in names}
        self.errors: dict[str, list[list[float | None]]] = {name: [] for name in self.scorers}

    def update(self, errors: dict[str, Tensor]) -> None:
        """Add a shape: errors (K,) of each estimate, NaN where absent, infinite where not reached."""
        for name, scorer in self.scorers.items():
            scorer.update_errors(errors[name][None])
            self.errors[name].append(rounded(errors[name]))

    def compute(self) -> dict[str, Any]:
        """The values of `PCK.compute` of each estimate, and "errors" of each, (M, K), None where not finite."""
        return {name: computed(scorer) for name, scorer in self.scorers.items()} | {"errors": self.errors}


class SymmetricScorer:
    """PCK against the labelling nearest to each guess, of those that a shape's annotated symmetries allow.

    Args:
        protocol: kinds of symmetry; thresholds, average and strictness of PCK.
        semantic_ids: that of each channel.

    Raises:
        ValueError: no semantic ids, so that the data have no symmetries.
    """

    def __init__(self, protocol: Protocol, semantic_ids: Sequence[int] | None) -> None:
        if semantic_ids is None:
            raise ValueError(f"symmetry must be 'none' for data that annotate none, got {protocol.symmetry!r}")
        self.protocol, self.semantic_ids = protocol, semantic_ids
        self.kinds = SYMMETRY_KINDS[protocol.symmetry]
        self.guesses = ErrorScorer(protocol, ESTIMATES)
        self.annotated = 0

    def update(self, item: Data, guesses: dict[str, Tensor], length: float) -> None:
        """Add a shape and the guesses (K, 3) on it, in raw units."""
        target, visible = item.keypoint_pos[0].double(), item.keypoint_visible[0]
        symmetries = item.get("symmetries") or {}
        errors = {
            name: symmetric_errors(guess, target, visible, symmetries, self.semantic_ids, self.kinds) / length
            for name, guess in guesses.items()
        }
        self.guesses.update(errors)
        self.annotated += any(symmetries.get(kind) for kind in self.kinds)

    def compute(self) -> dict[str, Any]:
        """The values, JSON-able, with the kinds and how many shapes are annotated with any."""
        symmetries = {"kinds": list(self.kinds), "num_symmetric": self.annotated}
        return self.protocol.conventions() | symmetries | self.guesses.compute()


class GeodesicScorer:
    """PCK, mIoU and mAP along the cloud, the last two those of KeypointNet's own benchmark (You et al., CVPR 2020).

    Args:
        protocol: thresholds, average and strictness of PCK; the others are strict or not as published.
        presence: whether saliency takes the presence of the keypoints into account.
    """

    def __init__(self, protocol: Protocol, *, presence: bool = True) -> None:
        self.protocol, self.presence = protocol, presence
        self.guesses = ErrorScorer(protocol, ON_CLOUD)
        self.iou = KeypointIoU((protocol.iou_threshold,), seed=protocol.seed, protocol="keypointnet")
        self.iou.set_dtype(torch.float64)
        self.distances: list[Tensor] = []
        self.saliency: list[Tensor] = []

    def update(self, item: Data, found: Prediction, guesses: dict[str, Tensor], length: float) -> None:
        """Add a shape, what was found on it and the guesses (K, 3), all in raw units."""
        points, visible = torch.from_numpy(found.points), item.keypoint_visible[0]
        away = torch.full((len(visible), len(points)), torch.nan, dtype=torch.float64)
        away[visible] = CloudGraph(points).distances(_annotated(item, points)[visible]) / length
        rows = {name: nearest_index(points, guesses[name]) for name in ON_CLOUD}
        self.guesses.update({name: away.gather(1, row[:, None]).squeeze(1) for name, row in rows.items()})
        there = torch.from_numpy(found.visibility) if self.presence else None
        score = saliency(torch.from_numpy(found.probability), there)
        self.distances.append(away[visible].T)
        self.saliency.append(score)
        self.iou.update_distances([away[visible].T[salient_points(score)]])

    def compute(self) -> dict[str, Any]:
        """The values, JSON-able; None for a mean error that is infinite, since some points were not reached.

        "average" and "strict" are those of PCK; "saliency_iou" and "saliency_map" have their own, as published.
        """
        found = saliency_average_precision(self.distances, self.saliency, self.protocol.thresholds)
        names = [f"map@{threshold_name(t)}" for t in self.protocol.thresholds]
        return {
            **self.protocol.conventions("geodesic"),
            "neighbors": NEIGHBORS,
            **self.guesses.compute(),
            "saliency_iou": _SALIENCY | {"strict": False} | computed(self.iou),
            "saliency_map": _SALIENCY | {"strict": True} | dict(zip(names, plain(found), strict=True)),
        }


def _annotated(item: Data, points: Tensor) -> Tensor:
    """(K,) rows of the annotated points, anything at absent ones."""
    if item.get("farthest_order") and "keypoint_site" in item:
        return item.keypoint_site[0].clamp_min(0)  # the annotation names them
    return nearest_index(points, item.keypoint_pos[0].double())
