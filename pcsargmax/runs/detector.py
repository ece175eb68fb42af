"""A trained keypoint detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics.pck import Average
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.checkpoint import Checkpoint
from pcsargmax.runs.clouds import cloud_copies, cloud_prediction, draw_samples, predict_cloud_file
from pcsargmax.runs.evaluation.plain import diagonal
from pcsargmax.runs.prepare import basis_sigma, dense_points, prepare, thin_dense
from pcsargmax.runs.sources import open_dataset
from pcsargmax.runs.stages import PriorUse, Stage, View, locate, template_stage, view_of
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.transforms.frames import IntoFrame


class Validation(NamedTuple):
    """Mean errors on the validation split, in the unit of the run."""

    mean_error: float
    template_mean_error: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Run(BaseRun[Data, Prediction]):
    """A trained detector with its settings, keypoint names, template and calibration.

    Attributes:
        keypoint_names: K names.
        unit: "raw" or "diagonal", what PCK thresholds are multiples of.
        template: the mean keypoints of the training set, the baseline of every evaluation.
        calibration: of confidence and radius on the validation split; None where the run had none.
        validation: mean errors on the validation split; None where the run had none, was trained up to symmetry, or is
            of an earlier version.
        prior_use: the shape prior and how far the detector is trusted beside it; None where it does not help.
        template_deviation: (K,) standard deviation per axis of the template's error on shapes held out, in the unit
            frame, where the detector did not beat it there: its predictions then are the template's. Else None.
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

    kind = "keypoint_detector"
    modality = "cloud"
    network_name = "detector"
    settings_type = TrainSettings

    settings: TrainSettings
    keypoint_names: tuple[str, ...]
    unit: str
    template: Template
    calibration: Calibration | None
    validation: Validation | None = None
    prior_use: PriorUse | None = None
    template_deviation: Tensor | None = None
    detector: KeypointDetector

    @classmethod
    def _build(cls, settings: TrainSettings, content: Checkpoint) -> KeypointDetector:
        # The pooled presence head is that of runs of earlier versions.
        presence = "pooled" if f"{cls.network_name}.presence.weight" in content.weights else "maps"
        names, template = content.metadata["keypoint_names"], Template.from_dict(content.metadata["template"])
        return build_detector(settings, len(names), template, presence=presence)

    @classmethod
    def _fields(cls, settings: TrainSettings, metadata: dict[str, Any]) -> dict[str, Any]:
        calibration, validation = metadata["calibration"], metadata.get("validation")
        kept, deviation = metadata.get("prior_use"), metadata.get("template_deviation")
        prior_use, names = None if kept is None else PriorUse.from_dict(kept), metadata["keypoint_names"]
        if prior_use is not None and len(prior_use.prior.mean) != len(names):
            raise ValueError(f"a shape prior of {len(prior_use.prior.mean)} keypoints, expected {len(names)}")
        if deviation is not None and len(deviation) != len(names):
            raise ValueError(f"template_deviation: expected {len(names)} numbers, one per keypoint, got {deviation}")
        return {
            "unit": metadata["unit"],
            "source": metadata["source"],
            "template": Template.from_dict(metadata["template"]),
            "calibration": None if calibration is None else Calibration.from_dict(calibration),
            "validation": None if validation is None else Validation(**validation),
            "prior_use": prior_use,
            "template_deviation": None if deviation is None else torch.tensor(deviation),
        }

    @torch.inference_mode()
    def distribution(self, item: Data) -> tuple[KeypointDistribution, Data]:
        """The probability maps of one cloud, those of the first look, and the prepared cloud they are over.

        Args:
            item: a cloud item in raw units.

        Returns:
            The distribution over the points of the prepared item, in the unit frame, and that item, whose
            `frame_center` and `frame_scale` lead back to raw units.
        """
        view, prepared = self._view(item)
        return view.maps.to("cpu"), prepared

    def _view(self, item: Data, normalize: Callable[[Data], Data] | None = None) -> tuple[View, Data]:
        """What the detector sees of a cloud, on its device, and the prepared cloud."""
        # Thinned first: finding the site of a dense point takes time.
        item = thin_dense(item, self.settings.dense_points)
        prepared, neighborhoods = prepare(item, self.detector.backbone, normalize)
        device = self.device
        scores = self.detector(prepared.pos.to(device), None, None, neighborhoods.to(device))
        sigma = basis_sigma(self.settings, prepared.sigma, prepared.frame_scale)
        dense = dense_points(prepared, self.settings.dense_points)
        return view_of(scores, sigma.to(device), None if dense is None else dense.to(device)), prepared

    @torch.inference_mode()
    def stages(self, item: Data, *, copies: int = 1) -> tuple[list[Stage], KeypointDistribution, Data]:
        """Place the keypoints of one cloud stage by stage.

        Args:
            item: a cloud item in raw units; the second look takes its `dense_pos (D, 3)`, else its points.
            copies: see `predict`.

        Returns:
            The stages in their order, in the unit frame; the maps; and the prepared cloud, as of `distribution`.

        Raises:
            ValueError: less than one copy.
        """
        view, prepared = self._view(item)
        views = [view]
        frame = IntoFrame(prepared.frame_center, prepared.frame_scale)
        views.extend(self._view(copy, frame)[0] for copy in cloud_copies(item, copies - 1))
        assert view.maps.presence is not None
        measured = view.maps.presence >= 0.5 if self.settings.presence_weight else None
        stages = locate(self.detector, views, self.prior_use, measured)
        stages = [stage.to("cpu") for stage in stages]
        if self.template_deviation is not None:
            stages.append(template_stage(self.template, self.template_deviation, [prepared.pos]))
        return stages, view.maps.to("cpu"), prepared

    def predict(
        self,
        item: Data,
        name: str = "",
        *,
        copies: int = 1,
        num_samples: int = 0,
        generator: torch.Generator | None = None,
    ) -> Prediction:
        """Find the keypoints of one cloud.

        Args:
            item: a cloud item in raw units; with `keypoint_pos` the prediction carries the truth too.
            name: of the prediction; the item's `model_id` if empty.
            copies: how many samples of the cloud are looked at, and averaged as distributions: other points of its
                surface where the item has `dense_pos`, else the same points, thinned from another start.
            num_samples: how many draws of each keypoint's distribution the prediction carries.
            generator: source of the draws, on the CPU.

        Returns:
            The prediction in raw units: where the last of its stages places the keypoints, which for a detector of one
            look without a shape prior is the expectation of each map (the paper's soft-argmax at test time). Its
            confidence is the probability of an error up to `Calibration.threshold` of the bounding-box diagonal (2 %),
            and a radius comes with it that holds the true point with probability `Calibration.coverage` (0.9). A run
            without calibration gives no radius, and as confidence what each map itself says of that probability.

        Raises:
            ValueError: less than one copy, or a negative number of samples.
        """
        stages, maps, prepared = self.stages(item, copies=copies)
        truth = None
        if "keypoint_pos" in item:
            truth = item.keypoint_pos[0].double().masked_fill(~item.keypoint_visible[0, :, None], torch.nan)
        return cloud_prediction(
            maps,
            prepared,
            stages=stages,
            name=name or str(item.get("model_id") or ""),
            keypoint_names=self.keypoint_names,
            **self._confidence(maps, stages[-1], prepared.frame_scale),
            visibility=_presence(maps, self.template).numpy(),
            truth=None if truth is None else truth.numpy(),
            samples=draw_samples(maps, prepared, num_samples, generator),
        )

    predict_file = predict_cloud_file

    def _confidence(self, maps: KeypointDistribution, last: Stage, scale: Tensor) -> dict[str, Any]:
        """Return confidence and radius of the prediction of one cloud, of which the last stage is given."""
        fitted = self.calibration
        if fitted is None:
            return {"confidence": confidence_measure(maps, center=last.mean)[0].numpy()}
        measured = confidence_measure(maps, fitted.measure, fitted.threshold, center=last.mean)[0]
        radius = fitted.radius(maps.spread[0])
        return {
            "confidence": fitted.confidence(measured).numpy(),
            "radius": None if radius is None else (radius * scale.squeeze()).numpy(),
            "radius_coverage": None if radius is None else fitted.coverage,
        }

    def dataset(self, split: str, *, copies: int = 1) -> Any:
        """Open a split of the run's data.

        Args:
            split: its name.
            copies: as many as `predict` will look at.

        Raises:
            ValueError: the data have other keypoints than those that the run was trained for.
        """
        return self._check_names(open_dataset(self.settings, split, copies=copies))

    def evaluate(
        self,
        split: str = "",
        *,
        copies: int = 1,
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
        """Evaluate the detector and the template baseline on a split of its data.

        Args:
            split: of the data set the run was trained on; empty is "test".
            copies: see `predict`.
            thresholds: of PCK, in `unit`.
            iou_threshold: of the mIoU, in `unit`.
            average: of PCK and mean error: "pooled", every keypoint counts the same; "model", every shape; "id", every
                keypoint id.
            strict: a keypoint is right if its error is < instead of ≤ the threshold.
            geodesic: also measure along the cloud, as KeypointNet's own benchmark.
            symmetry: also measure up to the annotated symmetries: "reflection", "rotation" or "all"; "none" does not.
            seed: of the bootstrap.
            progress: called with (done, total).
            on_prediction: called with each shape and its prediction, so that nothing need be predicted twice.

        Returns:
            JSON-able:

            - what `BaseRun.evaluate` says, "unit", "copies", "fallback" (whether predictions are the template's), and
              "protocol" (of what follows);
            - "stages", the same values, and its "name", of each stage but the last, which is the "expectation";
            - for each of `ESTIMATES` the values of `PCK.compute` and `KeypointIoU.compute`;
            - "confidence", "radius", "calibration" and "sparsification", see `ConfidenceScorer.compute`: of the errors
              that confidence was fitted to, up to the symmetry of the training, their "symmetry";
            - "lengths": errors and radius in the unit of the files, see `LengthScorer.compute`; only where it is known;
            - "presence", what `KeypointPresence` computes; "map", what `KeypointAP` does, the score being confidence
              times presence; "snapped_iou", the mIoU as Skeleton Merger has it. A head that was not trained
              (`presence_weight` 0) counts for nothing: "presence" is None, and every keypoint is claimed;
            - "geodesic" and "symmetric": PCK and "errors" of the estimates again, by that protocol, the latter with
              "num_symmetric", how many shapes have such symmetries annotated; None where not asked for;
            - "shapes": see `runs.evaluation.shapes.Shapes`, which says what can be computed again from them.

        Raises:
            ValueError: arguments that do not fit, or other data than those of the training.
        """
        from pcsargmax.runs.evaluation.detector import Evaluation, Protocol

        protocol = Protocol(thresholds, iou_threshold, average, strict, geodesic, symmetry, seed)
        split = split or self.default_split
        dataset = self.dataset(split, copies=copies)
        evaluation = Evaluation(
            protocol,
            self.template,
            self.calibration,
            getattr(dataset, "semantic_ids", None),
            trained=self.settings.symmetry,
            presence=self.settings.presence_weight > 0,
            length_unit=getattr(dataset, "length_unit", None),
        )

        def update(item: Data, prediction: Prediction) -> None:
            evaluation.update(item, prediction, 1.0 if self.unit == "raw" else diagonal(item.pos))
            if on_prediction is not None:
                on_prediction(item, prediction)

        head = self._measure(dataset, split, partial(self.predict_many, copies=copies), update, progress)
        return head | {
            "unit": self.unit,
            "copies": copies,
            "fallback": self.template_deviation is not None,
            **evaluation.compute(),
        }


def build_detector(
    settings: TrainSettings, num_keypoints: int, template: Template, *, presence: str = "maps"
) -> KeypointDetector:
    """Build the network that the settings name, with new weights."""
    return KeypointDetector(
        num_keypoints,
        settings.backbone,
        presence=presence,
        template_start=template.relative if settings.template_start else None,
        look_points=settings.look_points if settings.looks == 2 else 0,
    )


def _presence(maps: KeypointDistribution, template: Template) -> Tensor:
    """Probability that each keypoint exists; 0 for one that no training model had."""
    assert maps.presence is not None
    return maps.presence[0].where(template.num_seen > 0, 0.0)
