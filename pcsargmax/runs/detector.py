"""A finished training run: open it, measure it, use it on new clouds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.metrics.pck import Average
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.base import (
    BaseRun,
    Checkpoint,
    draw_samples,
    warn_of_seen,
)
from pcsargmax.runs.evaluation.detector import Evaluation, Protocol
from pcsargmax.runs.evaluation.plain import diagonal
from pcsargmax.runs.prepare import basis_sigma, prepare
from pcsargmax.runs.sources import model_ids, open_dataset
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.transforms.frames import to_raw


@dataclass(frozen=True, eq=False)
class Run(BaseRun):
    """A trained detector with its settings, keypoint names, template and calibration.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        keypoint_names: K names.
        unit: "raw" or "diagonal", what PCK thresholds are multiples of.
        source: "folder" or "category", what the data are.
        trained_on: names of the shapes that the weights, or the choice of the checkpoint, have seen.
        template: the mean keypoints of the training set, the baseline of every evaluation.
        calibration: of confidence and radius on the validation split; None where the run had none.
        detector: the network, in evaluation mode.

    Example:
        >>> from pcsargmax import TrainSettings, make_procedural, train
        >>> counts = make_procedural("data", ["mug"], models=10, num_points=128)
        >>> run = train(TrainSettings(data="mug", root="data", backbone="light", epochs=1), "runs/mug")
        >>> measured = run.evaluate("test")
        >>> measured["split"], measured["checkpoint"], measured["seen_in_training"]
        ('test', 'best.ckpt', 0)
        >>> run.predict_file("data/pcds/03797390/mug00009.pcd").points.shape
        (128, 3)
    """

    folder: Path
    checkpoint: Path
    settings: TrainSettings
    keypoint_names: tuple[str, ...]
    unit: str
    source: str
    trained_on: frozenset[str]
    template: Template
    calibration: Calibration | None
    detector: KeypointDetector

    @torch.inference_mode()
    def distribution(self, item: Data) -> tuple[KeypointDistribution, Data]:
        """The probability maps of one cloud, in the unit frame, and the prepared cloud they are over.

        Args:
            item: a cloud item in raw units.

        Returns:
            The distribution over the points of the prepared item, and that item, whose `frame_center` and `frame_scale`
            lead back to raw units.
        """
        prepared, neighborhoods = prepare(item, self.detector.backbone)
        device = next(self.detector.parameters()).device
        pos = prepared.pos.to(device)
        scores = self.detector(pos, None, None, neighborhoods.to(device))
        sigma = basis_sigma(self.settings, prepared.sigma, prepared.frame_scale)
        maps = KeypointDistribution(
            scores.logits,
            scores.sites,
            basis=Gaussian(sigma.to(device)),
            presence=scores.presence.sigmoid(),
        )
        return maps.to("cpu"), prepared

    def predict(
        self, item: Data, name: str = "", *, num_samples: int = 0, generator: torch.Generator | None = None
    ) -> Prediction:
        """Find the keypoints of one cloud.

        Args:
            item: a cloud item in raw units; with `keypoint_pos` the prediction carries the truth too.
            name: of the prediction; the item's `model_id` if empty.
            num_samples: how many draws of each keypoint's distribution the prediction carries.
            generator: source of the draws, on the CPU.

        Returns:
            The prediction in raw units: the expectation of each map (the paper's soft-argmax at test time). Its
            confidence is the probability of an error up to `Calibration.threshold` of the bounding-box diagonal (2 %),
            and a radius comes with it that holds the true point with probability `Calibration.coverage` (0.9). A run
            without calibration gives no radius, and as confidence what each map itself says of that probability.
        """
        maps, prepared = self.distribution(item)
        center, scale = prepared.frame_center, prepared.frame_scale
        points = to_raw(prepared.pos, center, scale)
        position = to_raw(maps.mean[0], center, scale)
        truth = None
        if "keypoint_pos" in item:
            truth = item.keypoint_pos[0].double().masked_fill(~item.keypoint_visible[0, :, None], torch.nan)
        return Prediction(
            name=name or str(item.get("model_id") or ""),
            points=points.numpy(),
            keypoint_names=self.keypoint_names,
            position=position.numpy(),
            **self._trust(maps, scale),
            covariance=(maps.covariance[0].double() * scale.square()).numpy(),
            visibility=_presence(maps, self.template).numpy(),
            point_index=nearest_index(points, position).numpy(),
            probability=maps.probabilities[0].float().numpy(),
            truth=None if truth is None else truth.numpy(),
            color=prepared.color.numpy() if "color" in prepared else None,
            samples=draw_samples(maps, prepared, num_samples, generator),
        )

    def _trust(self, maps: KeypointDistribution, scale: Tensor) -> dict[str, Any]:
        """The fields of a prediction that say how far to trust it, of the maps of one cloud."""
        fitted = self.calibration
        if fitted is None:
            return {"confidence": confidence_measure(maps)[0].numpy()}
        measured = confidence_measure(maps, fitted.measure, fitted.threshold)[0]
        radius = fitted.radius(maps.spread[0])
        return {
            "confidence": fitted.confidence(measured).numpy(),
            "radius": None if radius is None else (radius * scale.squeeze()).numpy(),
            "radius_coverage": None if radius is None else fitted.coverage,
        }

    def dataset(self, split: str) -> Any:
        """A split of the run's data.

        Raises:
            ValueError: the data have other keypoints than the run was trained for.
        """
        dataset = open_dataset(self.settings, split)
        if dataset.keypoint_names != self.keypoint_names:
            raise ValueError(
                f"{self.settings.data}: expected the keypoints that {self.folder} was trained for, "
                f"{', '.join(self.keypoint_names)}; got {', '.join(dataset.keypoint_names)}"
            )
        return dataset

    def evaluate(
        self,
        split: str = "test",
        *,
        thresholds: tuple[float, ...] = (0.01, 0.02, 0.05),
        iou_threshold: float = 0.1,
        average: Average = "pooled",
        strict: bool = False,
        geodesic: bool = False,
        symmetry: str = "none",
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[Data, Prediction], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the detector and the template baseline on a split of its data.

        Args:
            split: of the data set the run was trained on.
            thresholds: of PCK, in `unit`.
            iou_threshold: of the mIoU, in `unit`.
            average: of PCK and mean error: "pooled", every keypoint counts the same; "model", every shape; "id", every
                keypoint id.
            strict: a keypoint is right if its error is < instead of ≤ the threshold.
            geodesic: also measure along the cloud, as KeypointNet's own benchmark.
            symmetry: also measure up to the annotated symmetries: "reflection", "rotation" or "all"; "none" does not.
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each shape and what was found on it, so that nothing need be predicted twice.

        Returns:
            JSON-able:

            - "data", "split", "unit", "objective", "settings" (of the training), "checkpoint", "keypoint_names",
              "seconds_per_cloud", "seen_in_training" (how many of the shapes), "protocol" (of what follows);
            - for each of `ESTIMATES` the values of `PCK.compute` and `KeypointIoU.compute`;
            - "confidence", "radius", "calibration" and "sparsification", see `ConfidenceScorer.compute`: of the errors
              that confidence was fitted to, up to the symmetry of the training, their "symmetry";
            - "presence", what `KeypointPresence` computes; "map", what `KeypointAP` does, the score being confidence
              times presence; "snapped_iou", the mIoU as Skeleton Merger has it. A head that was not trained
              (`presence_weight` 0) counts for nothing: "presence" is None, and every keypoint is claimed;
            - "geodesic" and "symmetric": PCK and "errors" of the estimates again, by that protocol, the latter with
              "num_symmetric", how many shapes have such symmetries annotated; None where not asked for;
            - "shapes": see `training.shapes.Shapes`, which says what can be counted again from them.

        Raises:
            ValueError: arguments that do not fit, or other data than those of the training.
        """
        protocol = Protocol(thresholds, iou_threshold, average, strict, geodesic, symmetry, seed)
        dataset = self.dataset(split)
        counted = Evaluation(
            protocol,
            self.template,
            self.calibration,
            getattr(dataset, "semantic_ids", None),
            trained=self.settings.symmetry,
            presence=self.settings.presence_weight > 0,
        )
        seen = warn_of_seen(self.trained_on, model_ids(dataset), split)
        seconds = 0.0
        for i in range(len(dataset)):
            item = dataset[i]
            start = time.perf_counter()
            found = self.predict(item)
            seconds += time.perf_counter() - start
            counted.update(item, found, 1.0 if self.unit == "raw" else diagonal(item.pos))
            if on_prediction is not None:
                on_prediction(item, found)
            if progress is not None:
                progress(i + 1, len(dataset))
        return {
            "data": self.settings.data,
            "split": split,
            "unit": self.unit,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            "keypoint_names": list(self.keypoint_names),
            "seconds_per_cloud": seconds / len(dataset),
            "seen_in_training": seen,
            **counted.compute(),
        }


def _presence(maps: KeypointDistribution, template: Template) -> Tensor:
    """Probability that each keypoint exists; 0 for one that no training model had."""
    assert maps.presence is not None
    return maps.presence[0].where(template.num_seen > 0, 0.0)


def open_detector(found: Checkpoint, device: torch.device) -> Run:
    """The run of a checkpoint that `train` left."""
    metadata = found.metadata
    settings = TrainSettings.from_dict(metadata["settings"])
    weights = found.weights_of("detector")
    presence = "pooled" if "presence.weight" in weights else "maps"  # the former in runs of earlier versions
    with torch.random.fork_rng(devices=[]):  # the weights it begins with are drawn, and then replaced
        detector = KeypointDetector(len(metadata["keypoint_names"]), settings.backbone, presence=presence)
    detector.load_state_dict(weights)
    return Run(
        folder=found.folder,
        checkpoint=found.file,
        settings=settings,
        keypoint_names=tuple(metadata["keypoint_names"]),
        unit=metadata["unit"],
        source=metadata["source"],
        trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
        template=Template.from_dict(metadata["template"]),
        calibration=None if metadata["calibration"] is None else Calibration.from_dict(metadata["calibration"]),
        detector=detector.to(device).eval(),
    )
