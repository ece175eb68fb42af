"""How good discovered keypoints are: by themselves, and against annotations where there are some."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.metrics import DAS, Coverage, KeypointIoU
from pcsargmax.metrics.alignment import smallest_distance
from pcsargmax.skeleton import skeleton_loss
from pcsargmax.training.estimates import nearest_point

#: What an evaluation tells of shapes with annotations.
ANNOTATED = ("protocol", "das", "iou")


class DiscoverScorer:
    """Collects the keypoints of the shapes of an evaluation.

    Args:
        offsets: (P, 200, 3) of the network.
        unit: "raw" or "diagonal", what the thresholds of mIoU are multiples of.
        thresholds: of mIoU.
        self_pairs: whether DAS counts the pairs of a model with itself, as published.
        seed: of the bootstrap.
    """

    def __init__(
        self, offsets: Tensor, unit: str, thresholds: tuple[float, ...], self_pairs: bool = True, seed: int = 0
    ) -> None:
        self.offsets, self.unit = offsets, unit
        self.das = DAS(self_pairs).set_dtype(torch.float64)
        self.iou = KeypointIoU(thresholds, seed=seed).set_dtype(torch.float64)
        self.coverage = Coverage(seed=seed).set_dtype(torch.float64)
        self.rows: list[list[float]] = []
        self.annotated = 0

    def update(self, keypoints: Tensor, strengths: Tensor, item: Data) -> None:
        """Add a shape: keypoints (1, K, 3) and the cloud in the min-max frame, strengths (P,)."""
        with torch.no_grad():
            loss = skeleton_loss(keypoints, strengths[None], self.offsets, item.pos[None])
        self.rows.append([float(loss.fidelity), float(loss.coverage), float(smallest_distance(keypoints)), item.sigma])
        self.coverage.update(keypoints, item.pos[None])
        if "keypoint_visible" not in item or not item.keypoint_visible.any():
            return
        self.annotated += 1
        self.das.update(keypoints, item.keypoint_pos, item.keypoint_visible)
        # Distances do not depend on where the frame lies, only on its scale.
        diagonal = float((item.pos.amax(dim=0) - item.pos.amin(dim=0)).norm())
        length = float(item.frame_scale) if self.unit == "raw" else 1 / diagonal
        snapped = item.pos[nearest_point(keypoints[0], item.pos)][None]
        self.iou.update(snapped.double() * length, item.keypoint_pos.double() * length, item.keypoint_visible)

    def compute(self) -> dict[str, Any]:
        """Return what was found, as JSON-able values.

        "num_shapes", "num_annotated", "reconstruction" ("fidelity" and "coverage", the parts of the loss), "coverage"
        (what `Coverage.compute` gives), "min_distance" (mean smallest distance of two keypoints, min-max frame) and
        "collapsed". Of annotated shapes also "das", what `DAS.compute` gives, with its "protocol", and "iou", what
        `KeypointIoU.compute` gives of the keypoints snapped to the cloud, in "unit"; else None.

        Collapsed is what `DAS` calls so; without annotations, keypoints nearer to one another than neighbouring points
        of the cloud are.
        """
        fidelity, coverage, nearest, spacing = torch.tensor(self.rows, dtype=torch.float64).mean(dim=0).tolist()
        found: dict[str, Any] = {
            "unit": self.unit,
            "num_shapes": len(self.rows),
            "num_annotated": self.annotated,
            "reconstruction": {"fidelity": fidelity, "coverage": coverage},
            "coverage": _plain(self.coverage.compute()),
            "min_distance": nearest,
            "collapsed": nearest < spacing,
            **dict.fromkeys(ANNOTATED),
        }
        if self.annotated:
            das = _plain(self.das.compute())
            found |= {
                "protocol": self.das.protocol,
                "das": das,
                "iou": _plain(self.iou.compute()),
                "collapsed": das["collapsed"] or found["collapsed"],
            }
        return found


def _plain(values: dict[str, Tensor]) -> dict[str, Any]:
    """Plain numbers, None for what is not finite, which JSON cannot hold."""
    numbers = {name: value.item() for name, value in values.items()}
    return {
        name: number if isinstance(number, (bool, int)) or math.isfinite(number) else None
        for name, number in numbers.items()
    }
