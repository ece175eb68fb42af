"""A trained Skeleton Merger, which discovers keypoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics.correspondence import Correspondence
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.ops.skeleton import decode_cloud, edge_count, edge_pairs
from pcsargmax.predictions.calibration import THRESHOLD, confidence_measure
from pcsargmax.predictions.cloud import Prediction, Skeleton
from pcsargmax.runs.base import BaseRun
from pcsargmax.runs.checkpoint import Checkpoint
from pcsargmax.runs.clouds import cloud_prediction, draw_samples, predict_cloud_file
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_clouds
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.transforms.frames import NormalizeMinMax, to_raw

#: Thresholds of mIoU where none are given.
IOU_THRESHOLDS = (0.02, 0.05, 0.1)


@dataclass(frozen=True, eq=False, kw_only=True)
class DiscoverRun(BaseRun[Data, Prediction]):
    """A trained Skeleton Merger with its settings, keypoint names and checkpoint.

    Attributes:
        keypoint_names: K names: that of the annotation that a keypoint was matched to, else kp0, kp1, …
        annotations: names of the annotations of the data; empty where they have none.
        correspondence: of keypoints and annotations on the training shapes; None where these had none.
        centered: whether the bounding box is moved to the origin of the min-max frame.
        merger: the network, in evaluation mode.

    Example:
        >>> from pcsargmax import DiscoverSettings, discover, make_procedural
        >>> counts = make_procedural("data", ["mug"], models=4, num_points=128)
        >>> run = discover(DiscoverSettings(data="mug", root="data", keypoints=5, epochs=1), "runs/mug-skeleton")
        >>> prediction = run.predict(run.dataset("all")[0])
        >>> prediction.position.shape, prediction.skeleton.strength.shape  # five keypoints, ten edges
        ((5, 3), (10,))
    """

    kind = "skeleton_merger"
    modality = "cloud"
    supervised = False
    network_name = "merger"
    settings_type = DiscoverSettings

    settings: DiscoverSettings
    keypoint_names: tuple[str, ...]
    annotations: tuple[str, ...]
    correspondence: Correspondence | None
    centered: bool
    merger: SkeletonMerger

    @classmethod
    def _build(cls, settings: DiscoverSettings, content: Checkpoint) -> SkeletonMerger:
        return SkeletonMerger(settings.keypoints, settings.backbone, dropout=settings.dropout)

    @classmethod
    def _fields(cls, settings: DiscoverSettings, metadata: dict[str, Any]) -> dict[str, Any]:
        matched = metadata["correspondence"]
        return {
            "annotations": tuple(metadata["annotations"]),
            "correspondence": None if matched is None else Correspondence.from_dict(matched),
            "centered": metadata["centered"],
            "source": metadata["source"],
        }

    @property
    def default_split(self) -> str:
        """The published protocol evaluates on the whole annotation file, "all"."""
        return "all"

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
        device = self.device
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
        return self._prediction(
            maps, strengths, prepared, name=name or str(item.get("model_id") or ""), samples=samples
        )

    predict_file = predict_cloud_file

    @torch.inference_mode()
    def _prediction(self, maps: KeypointDistribution, strengths: Tensor, prepared: Data, **own: Any) -> Prediction:
        """Return the prediction, in raw units, of what `distribution` gave."""
        number = maps.mean.shape[1]
        counts = edge_count(maps.mean, self.settings.edge_spacing)
        reconstruction, edge = decode_cloud(maps.mean[0], self.merger.offsets.detach().cpu(), counts)
        diagonal = float((prepared.pos.amax(dim=0) - prepared.pos.amin(dim=0)).norm())
        return cloud_prediction(
            maps,
            prepared,
            keypoint_names=self.keypoint_names,
            confidence=confidence_measure(maps, threshold=THRESHOLD * diagonal)[0].numpy(),
            visibility=torch.ones(number).numpy(),
            skeleton=Skeleton(
                edges=edge_pairs(number).numpy(),
                strength=strengths.numpy(),
                points=to_raw(reconstruction, prepared.frame_center, prepared.frame_scale).numpy(),
                edge=edge.numpy(),
            ),
            **own,
        )

    def _keypoints(self, pos: Tensor) -> Tensor:
        """(K, 3) keypoints of points (N, 3), in their units."""
        maps, _, prepared = self.distribution(Data(pos=pos))
        return to_raw(maps.mean[0], prepared.frame_center, prepared.frame_scale)

    def dataset(self, split: str) -> Any:
        """Open a split of the run's data, whose annotations need not be those of the training."""
        return open_clouds(self.settings, split)

    def evaluate(
        self,
        split: str = "",
        *,
        thresholds: tuple[float, ...] = IOU_THRESHOLDS,
        self_pairs: bool = True,
        repeatability: bool = False,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        on_prediction: Callable[[Data, Prediction], None] | None = None,
    ) -> dict[str, Any]:
        """Evaluate the discovered keypoints on a split of the run's data, against annotations where it has some.

        Args:
            split: of the data set; empty is "all", as in the published protocol.
            thresholds: of mIoU, in `unit`.
            self_pairs: whether DAS counts the pairs of a model with itself, as published.
            repeatability: whether to look for the keypoints on changed copies of each shape too, which takes five times
                as long.
            seed: of the bootstrap, and of the changes.
            progress: called with (done, total).
            on_prediction: called with each shape and its prediction, so that nothing need be predicted twice.

        Returns:
            JSON-able: what `BaseRun.evaluate` says, "correspondence", what `DiscoverScorer.compute` gives, and
            "repeatability", what `RepeatabilityScorer.compute` gives, or None.
        """
        from pcsargmax.runs.evaluation.discovery import DiscoverScorer
        from pcsargmax.runs.evaluation.repeatability import RepeatabilityScorer

        split = split or self.default_split
        dataset = self.dataset(split)
        scorer = DiscoverScorer(
            self.merger.offsets.detach().cpu(), self.unit, thresholds, self_pairs, seed, self.settings.edge_spacing
        )
        again = RepeatabilityScorer(self._keypoints, seed) if repeatability else None

        def update(item: Data, output: tuple[KeypointDistribution, Tensor, Data]) -> None:
            maps, strengths, prepared = output
            scorer.update(maps.mean, strengths, prepared, maps.probabilities[0])
            if on_prediction is not None:
                on_prediction(item, self._prediction(*output, name=str(item.get("model_id") or "")))
            if again is not None:
                frame = prepared.frame_center, prepared.frame_scale
                again.update(to_raw(prepared.pos, *frame), to_raw(maps.mean[0], *frame))

        def distributions(items: Sequence[Data]) -> list[tuple[KeypointDistribution, Tensor, Data]]:
            return [self.distribution(item) for item in items]

        head = self._measure(dataset, split, distributions, update, progress)
        return head | {
            "correspondence": None if self.correspondence is None else self.correspondence.to_dict(),
            **scorer.compute(),
            "repeatability": None if again is None else again.compute(),
        }
