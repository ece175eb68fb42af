"""How good discovered keypoints are: by themselves, and against annotations where there are some."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.metrics import DAS, Coverage, KeypointIoU, SelfAlignment
from pcsargmax.metrics.geodesic import CloudGraph, nearest_index
from pcsargmax.metrics.iou import IouProtocol, pairwise_distances, saliency, salient_points
from pcsargmax.metrics.spacing import smallest_distance
from pcsargmax.ops.skeleton import EDGE_SPACING, edge_count, skeleton_loss
from pcsargmax.runs.evaluation.plain import computed, diagonal

#: What an evaluation tells of shapes with annotations.
ANNOTATED = ("protocol", "das", "miou", "shapes")


class DiscoverScorer:
    """Collects the keypoints of the shapes of an evaluation.

    Args:
        offsets: (P, 200, 3) of the network.
        unit: "raw" or "diagonal", what the thresholds of mIoU are multiples of.
        thresholds: of mIoU.
        self_pairs: whether DAS counts the pairs of a model with itself, as published.
        seed: of the bootstrap.
        spacing: of the points of an edge, as in training.
    """

    def __init__(
        self,
        offsets: Tensor,
        unit: str,
        thresholds: tuple[float, ...],
        self_pairs: bool = True,
        seed: int = 0,
        spacing: float = EDGE_SPACING,
    ) -> None:
        self.offsets, self.unit, self.spacing = offsets, unit, spacing
        self.das = DAS(self_pairs=self_pairs, seed=seed)
        self.self_alignment = SelfAlignment(seed=seed)
        self.coverage = Coverage(seed=seed)
        protocols: tuple[IouProtocol, ...] = get_args(IouProtocol)
        self.iou = {protocol: KeypointIoU(thresholds, seed=seed, protocol=protocol) for protocol in protocols}
        for metric in (self.das, self.self_alignment, self.coverage, *self.iou.values()):
            metric.set_dtype(torch.float64)
        self.rows: list[list[float]] = []
        self.annotated: list[str] = []

    def update(self, keypoints: Tensor, strengths: Tensor, item: Data, probability: Tensor) -> None:
        """Add a shape: keypoints (1, K, 3), strengths (P,), the cloud in the min-max frame, the maps (K, N) over it."""
        with torch.no_grad():
            counts = edge_count(keypoints, self.spacing)
            loss = skeleton_loss(keypoints, strengths[None], self.offsets, item.pos[None], counts=counts)
        self.rows.append([float(loss.fidelity), float(loss.coverage), float(smallest_distance(keypoints)), item.sigma])
        self.coverage.update(keypoints, item.pos[None])
        self.self_alignment.update(keypoints, item.pos[None])
        if "keypoint_visible" not in item or not item.keypoint_visible.any():
            return
        self.annotated.append(str(item.get("model_id") or len(self.annotated)))
        self.das.update(keypoints, item.keypoint_pos, item.keypoint_visible)
        self._match(keypoints[0], item, probability)

    def _match(self, keypoints: Tensor, item: Data, probability: Tensor) -> None:
        """Add a shape to the metrics of mIoU; lengths do not depend on where the frame lies, only on its scale."""
        pos = item.pos.double()
        length = float(item.frame_scale) if self.unit == "raw" else 1 / diagonal(pos)
        target = item.keypoint_pos[0, item.keypoint_visible[0]].double()
        snapped = pos[nearest_index(pos, keypoints)]
        (straight,) = pairwise_distances(snapped[None] * length, target[None] * length)
        along = CloudGraph(pos * length).distances(nearest_index(pos, target))  # (G, N)
        for protocol, metric in self.iou.items():
            geodesic = protocol == "keypointnet"
            metric.update_distances([along[:, salient_points(saliency(probability))].T if geodesic else straight])

    def compute(self) -> dict[str, Any]:
        """Return what was found, as JSON-able values.

        "num_shapes", "num_annotated", "reconstruction" ("fidelity" and "coverage", the parts of the loss), "coverage"
        (what `Coverage.compute` gives), "self_alignment" (what `SelfAlignment.compute` gives, SC3K's DAS),
        "min_distance" (mean smallest distance of two keypoints, min-max frame) and "collapsed".

        Of annotated shapes, else None: "das", what `DAS.compute` gives, with its "protocol"; "miou", by the name of the
        protocol what `KeypointIoU.compute` gives, in "unit", of the keypoints snapped to the cloud, and by
        "keypointnet" of the points whose `saliency` is above 0.1; and "shapes", from which DAS can be had
        again (`das_from_labels`): "model_id" [M], "ids" [M][K], "keypoints" [M][G], "merged_ids" and "merged_keypoints"
        alike, −1 for none.

        Collapsed is what `DAS` calls so of annotated shapes, and, with annotations or without, keypoints that are
        nearer to one another, in the mean over all shapes, than neighbouring points of the cloud are.
        """
        fidelity, coverage, nearest, spacing = torch.tensor(self.rows, dtype=torch.float64).mean(dim=0).tolist()
        found: dict[str, Any] = {
            "unit": self.unit,
            "num_shapes": len(self.rows),
            "num_annotated": len(self.annotated),
            "reconstruction": {"fidelity": fidelity, "coverage": coverage},
            "coverage": computed(self.coverage),
            "self_alignment": computed(self.self_alignment),
            "min_distance": nearest,
            "collapsed": nearest < spacing,
            **dict.fromkeys(ANNOTATED),
        }
        if self.annotated:
            das = computed(self.das)
            miou = {protocol: computed(metric) for protocol, metric in self.iou.items()}
            found |= {
                "protocol": self.das.protocol,
                "das": das,
                "miou": miou,
                "collapsed": das["collapsed"] or found["collapsed"],
                "shapes": self._shapes(),
            }
        return found

    def _shapes(self) -> dict[str, list[Any]]:
        labels = self.das.labels._asdict()
        return {"model_id": self.annotated} | {name: labels[name].tolist() for name in labels if name != "distances"}
