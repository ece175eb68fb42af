"""A finished discovery of keypoints: open it, measure it, use it on new clouds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics.correspondence import Correspondence
from pcsargmax.metrics.geodesic import nearest_index
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.ops.skeleton import decode_cloud, edge_count, edge_pairs
from pcsargmax.predictions.calibration import THRESHOLD, confidence_measure
from pcsargmax.predictions.cloud import Prediction, Skeleton
from pcsargmax.runs.base import BaseRun, Checkpoint, draw_samples
from pcsargmax.runs.evaluation.discovery import DiscoverScorer
from pcsargmax.runs.evaluation.repeatability import RepeatabilityScorer
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_clouds
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.transforms.frames import NormalizeMinMax, to_raw

#: Thresholds of mIoU where none are given.
IOU_THRESHOLDS = (0.02, 0.05, 0.1)


@dataclass(frozen=True, eq=False)
class DiscoverRun(BaseRun):
    """A trained Skeleton Merger with its settings, keypoint names and checkpoint.

    Attributes:
        folder: the run folder.
        checkpoint: the file the weights came from.
        settings: of the training.
        keypoint_names: K names: that of the annotation that a keypoint was matched to, else kp0, kp1, …
        annotations: names of the annotations of the data; empty where they have none.
        correspondence: of keypoints and annotations on the training shapes; None where these had none.
        centered: whether the bounding box is moved to the origin of the min-max frame.
        source: "folder", "category" or "shapenet_h5", what the data are.
        trained_on: names of the shapes that the weights, or the choice of the checkpoint, have seen.
        merger: the network, in evaluation mode.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> counts = make_procedural("data", ["mug"], models=4, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> prediction = run.predict(run.dataset("all")[0])
        >>> prediction.position.shape, prediction.skeleton.strength.shape  # five keypoints, ten edges
        ((5, 3), (10,))
    """

    folder: Path
    checkpoint: Path
    settings: DiscoverSettings
    keypoint_names: tuple[str, ...]
    annotations: tuple[str, ...]
    correspondence: Correspondence | None
    centered: bool
    source: str
    trained_on: frozenset[str]
    merger: SkeletonMerger

    default_split: ClassVar[str] = "all"

    @property
    def unit(self) -> str:
        """What the thresholds of mIoU are multiples of: "raw", or the "diagonal" of a cloud in a folder of scans."""
        return "diagonal" if self.source == "folder" else "raw"

    @torch.inference_mode()
    def distribution(self, item: Data) -> tuple[KeypointDistribution, Tensor, Data]:
        """The probability maps of one cloud, in the min-max frame, and the strengths of its edges.

        Args:
            item: a cloud item in raw units.

        Returns:
            The distribution over the points of the prepared item, (P,) strengths, and that item, whose `frame_center`
            and `frame_scale` lead back to raw units.
        """
        prepared, neighborhoods = prepare(item, self.merger.backbone, NormalizeMinMax(self.centered))
        device = next(self.merger.parameters()).device
        scores = self.merger(prepared.pos.to(device), None, neighborhoods.to(device))
        maps = KeypointDistribution(scores.logits, scores.sites, basis=Gaussian(prepared.sigma.to(device)))
        return maps.to("cpu"), scores.strengths[0].cpu(), prepared

    def predict(
        self, item: Data, name: str = "", *, num_samples: int = 0, generator: torch.Generator | None = None
    ) -> Prediction:
        """Find the keypoints of one cloud, and the skeleton that it was reconstructed by.

        Args:
            item: a cloud item in raw units.
            name: of the prediction; the item's `model_id` if empty.
            num_samples: how many draws of each keypoint's distribution the prediction carries.
            generator: source of the draws, on the CPU.

        Returns:
            The prediction in raw units: the expectation of each map. Its confidence is what the map itself says of
            an error of at most 2 % of the bounding-box diagonal; nothing is calibrated, as nothing is known to be
            right. Each keypoint is on every shape: its visibility is 1.
        """
        maps, strengths, prepared = self.distribution(item)
        samples = draw_samples(maps, prepared, num_samples, generator)
        return self._prediction(maps, strengths, prepared, name or str(item.get("model_id") or ""), samples)

    @torch.inference_mode()
    def _prediction(
        self,
        maps: KeypointDistribution,
        strengths: Tensor,
        prepared: Data,
        name: str,
        samples: np.ndarray | None = None,
    ) -> Prediction:
        """The prediction, in raw units, of what `distribution` gave."""
        center, scale = prepared.frame_center, prepared.frame_scale
        points = to_raw(prepared.pos, center, scale)
        position = to_raw(maps.mean[0], center, scale)
        counts = edge_count(maps.mean, self.settings.edge_spacing)
        reconstruction, edge = decode_cloud(maps.mean[0], self.merger.offsets.detach().cpu(), counts)
        diagonal = float((prepared.pos.amax(dim=0) - prepared.pos.amin(dim=0)).norm())
        return Prediction(
            name=name,
            points=points.numpy(),
            keypoint_names=self.keypoint_names,
            position=position.numpy(),
            confidence=confidence_measure(maps, threshold=THRESHOLD * diagonal)[0].numpy(),
            covariance=(maps.covariance[0].double() * scale.square()).numpy(),
            visibility=torch.ones(len(position)).numpy(),
            point_index=nearest_index(points, position).numpy(),
            probability=maps.probabilities[0].float().numpy(),
            color=prepared.color.numpy() if "color" in prepared else None,
            skeleton=Skeleton(
                edges=edge_pairs(len(position)).numpy(),
                strength=strengths.numpy(),
                points=to_raw(reconstruction, center, scale).numpy(),
                edge=edge.numpy(),
            ),
            samples=samples,
        )

    def _keypoints(self, pos: Tensor) -> Tensor:
        """(K, 3) keypoints of points (N, 3), in their units."""
        maps, _, prepared = self.distribution(Data(pos=pos))
        return to_raw(maps.mean[0], prepared.frame_center, prepared.frame_scale)

    def dataset(self, split: str) -> Any:
        """A split of the run's data."""
        return open_clouds(self.settings, split)

    def evaluate(
        self,
        split: str = "all",
        *,
        thresholds: tuple[float, ...] = IOU_THRESHOLDS,
        self_pairs: bool = True,
        repeatability: bool = False,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[Data, Prediction], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the discovered keypoints on a split of the run's data, against annotations where it has some.

        Args:
            split: the published protocol takes the whole annotation file, "all".
            thresholds: of mIoU, in `unit`.
            self_pairs: whether DAS counts the pairs of a model with itself, as published.
            repeatability: whether to look for the keypoints on changed copies of each shape too, which takes five times
                as long.
            seed: of the bootstrap, and of the changes.
            progress: called with (done, total).
            on_prediction: called with each shape and what was found on it, so that nothing need be predicted twice.

        Returns:
            JSON-able: "kind", "data", "split", "objective", "settings" (of the training), "checkpoint",
            "keypoint_names", "correspondence", "seconds_per_cloud", "seen_in_training" (how many of the shapes), and
            what `DiscoverScorer.compute` gives. "repeatability" is what `RepeatabilityScorer.compute` gives, or None.
        """
        dataset = self.dataset(split)
        scorer = DiscoverScorer(
            self.merger.offsets.detach().cpu(), self.unit, thresholds, self_pairs, seed, self.settings.edge_spacing
        )
        again = RepeatabilityScorer(self._keypoints, seed) if repeatability else None
        seconds, seen = 0.0, 0
        for i in range(len(dataset)):
            item = dataset[i]
            start = time.perf_counter()
            maps, strengths, prepared = self.distribution(item)
            keypoints = maps.mean
            seconds += time.perf_counter() - start
            seen += item.model_id in self.trained_on
            scorer.update(keypoints, strengths, prepared, maps.probabilities[0])
            if on_prediction is not None:
                on_prediction(item, self._prediction(maps, strengths, prepared, str(item.get("model_id") or "")))
            if again is not None:
                frame = prepared.frame_center, prepared.frame_scale
                again.update(to_raw(prepared.pos, *frame), to_raw(keypoints[0], *frame))
            if progress is not None:
                progress(i + 1, len(dataset))
        return {
            "kind": "skeleton_merger",
            "data": self.settings.data,
            "split": split,
            "objective": self.settings.objective,
            "settings": self.settings.to_dict(),
            "checkpoint": self.checkpoint.name,
            "keypoint_names": list(self.keypoint_names),
            "correspondence": None if self.correspondence is None else self.correspondence.to_dict(),
            **scorer.compute(),
            "repeatability": None if again is None else again.compute(),
            "seconds_per_cloud": seconds / len(dataset),
            "seen_in_training": seen,
        }


def open_discovery(found: Checkpoint, device: torch.device) -> DiscoverRun:
    """The run of a checkpoint that `discover` left."""
    metadata = found.metadata
    settings = DiscoverSettings.from_dict(metadata["settings"])
    matched = metadata["correspondence"]
    with torch.random.fork_rng(devices=[]):  # the weights it begins with are drawn, and then replaced
        merger = SkeletonMerger(settings.keypoints, settings.backbone, dropout=settings.dropout)
    merger.load_state_dict(found.weights_of("merger"))
    return DiscoverRun(
        folder=found.folder,
        checkpoint=found.file,
        settings=settings,
        keypoint_names=tuple(metadata["keypoint_names"]),
        annotations=tuple(metadata["annotations"]),
        correspondence=None if matched is None else Correspondence.from_dict(matched),
        centered=metadata["centered"],
        source=metadata["source"],
        trained_on=frozenset(metadata["trained_on"]) | frozenset(metadata["chosen_by"]),
        merger=merger.to(device).eval(),
    )
