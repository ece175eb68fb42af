"""What an evaluation of keypoints in images counts, image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.metrics import PCK, ConfidenceCalibration, NormalizedMeanError
from pcsargmax.metrics.normalized_error import OUTER_EYE_CORNERS, box_length, pair_length
from pcsargmax.metrics.pck import checked_thresholds, keypoint_errors
from pcsargmax.predictions.image import ImagePrediction
from pcsargmax.runs.evaluation.plain import computed, rounded
from pcsargmax.settings.images import ImageSettings

#: Data whose keypoints have names of eyes and are bodies all the same.
_BODIES = ("coco", "h36m", "figures", "figures3d")
#: Significant digits of what is kept of every keypoint: of hundreds of images with 68 each these are most of a result.
_DIGITS = 4


class ImageEvaluation:
    """Everything that `ImageRun.evaluate` counts.

    Errors are pixels of the image, in x and y, over a length of each image: the distance of the outer eye corners of
    68 points, or of `left_eye` and `right_eye` where a face has these; else the square root of the area of its box.

    Args:
        dataset: that is measured on.
        settings: of the run.
        thresholds: of PCK, shares of that length; the middle one is what confidence is compared with.
        seed: of the bootstrap.

    Raises:
        ValueError: thresholds that are none.
    """

    def __init__(
        self, dataset: Any, settings: ImageSettings, *, thresholds: tuple[float, ...] = (0.05, 0.1, 0.2), seed: int = 0
    ) -> None:
        self.dataset, self.settings = dataset, settings
        self.thresholds = checked_thresholds(thresholds)
        self.pair = length_pair(dataset.keypoint_names, settings.data)
        self.nme = NormalizedMeanError(pair=None, seed=seed).set_dtype(torch.float64)
        self.pck = PCK(self.thresholds, seed=seed)
        self.pck.set_dtype(torch.float64)
        middle = self.thresholds[len(self.thresholds) // 2]
        self.trust = ConfidenceCalibration(middle, seed=seed).set_dtype(torch.float64)
        self.people = _People(dataset, seed) if settings.data == "coco" else None
        self.joints = _Joints(dataset, seed) if settings.depth_bins else None
        self.names: list[str] = []
        self.kept: dict[str, list[Any]] = {name: [] for name in ("length", "errors", "confidence")}
        self.known = False

    def update(self, item: ImageItem, found: ImagePrediction) -> None:
        """Add an image and what was found in it."""
        if self.people is not None:
            self.people.update(item, found)
        if self.joints is not None:
            self.joints.update(item, found)
        position, target = (torch.from_numpy(part[None, :, :2]) for part in (found.position, item.keypoints))
        visible = torch.from_numpy(item.visible)[None]
        length = self._length(item, target, visible)
        errors = keypoint_errors(position, target.nan_to_num(), visible)
        confidence = torch.from_numpy(found.confidence)[None]
        self.names.append(item.name)
        self.kept["length"] += rounded(length)
        self.kept["errors"].append(rounded(errors[0], _DIGITS))
        self.kept["confidence"].append(rounded(confidence[0], _DIGITS))
        self.nme.update(position, target.nan_to_num(), visible, length)
        if visible.any() and length.isfinite().all():
            self.known = True
            self.pck.update_errors(errors / length)
            self.trust.update(confidence, errors / length)

    def _length(self, item: ImageItem, target: Tensor, visible: Tensor) -> Tensor:
        """(1,) what the errors of an image are divided by; NaN where it is not known."""
        if self.pair is None:
            return box_length(torch.from_numpy(item.box)[None])
        length = pair_length(target, visible, self.pair)
        return length.masked_fill(length == 0, torch.nan)

    def compute(self) -> dict[str, Any]:
        """The values, JSON-able.

        - "length": "name", "inter-ocular" or "box", and "keypoints", the two that it lies between, or None;
        - "nme": what `NormalizedMeanError` computes; "pck": what `PCK` does, thresholds in shares of that length;
          "confidence": what `ConfidenceCalibration` does at "threshold", confidence being the peak of the maps. Each
          None where no truth is known;
        - "people": of COCO, see `_People`; "joints": of keypoints with depth, see `_Joints`; else None;
        - "images": "name" (M), "length" (M), and per keypoint "errors" (M, K), pixels, and "confidence" (M, K), four
          digits, None where unknown; of keypoints with depth also "mpjpe" and "pa_mpjpe" (M), millimetres.
        """
        between = None if self.pair is None else [self.dataset.keypoint_names[k] for k in self.pair]
        trust = {"threshold": self.trust.threshold, **computed(self.trust)} if self.known else None
        return {
            "length": {"name": "box" if self.pair is None else "inter-ocular", "keypoints": between},
            "nme": computed(self.nme) if self.known else None,
            "pck": computed(self.pck) if self.known else None,
            "confidence": trust,
            "people": None if self.people is None else self.people.compute(),
            "joints": None if self.joints is None else self.joints.compute(),
            "images": {"name": self.names, **self.kept, **({} if self.joints is None else self.joints.poses())},
        }


def length_pair(keypoint_names: tuple[str, ...], data: str) -> tuple[int, int] | None:
    """The two keypoints of a face whose distance its errors are divided by; None where it is no such face."""
    if data in _BODIES:
        return None
    names = list(keypoint_names)
    if len(names) == 68:
        return OUTER_EYE_CORNERS
    if {"left_eye", "right_eye"} <= set(names):
        return names.index("left_eye"), names.index("right_eye")
    return None


class _People:
    """COCO's average precision of the poses found, and the correlation of confidence with OKS (Table 3).

    "ap" is what `CocoKeypointAP` computes; the score of a pose is the mean and the maximum of its peaks, plus that of a
    detector's box. "oks" is what `OksCorrelation` computes, None with a detector's boxes, whose people are not known.
    "matches" is what `CocoMatches.to_dict` gives, from which tables count average precision of resamples.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        from pcsargmax.metrics import CocoKeypointAP, OksCorrelation

        self.precision = CocoKeypointAP(dataset.annotation_file, seed=seed)
        self.precision.set_dtype(torch.float64)
        self.correlation = OksCorrelation(seed=seed).set_dtype(torch.float64)
        self.known = False

    def update(self, item: ImageItem, found: ImagePrediction) -> None:
        """Add a person."""
        from pcsargmax.metrics.coco_ap import coco_score

        position = torch.from_numpy(found.position[None, :, :2])
        confidence = torch.from_numpy(found.confidence)[None]
        score = coco_score(confidence, float(item.extra["score"]))
        self.precision.update(position, score, torch.tensor([item.extra["image_id"]]))
        area = torch.tensor([item.extra["area"]], dtype=torch.float64)
        if item.visible.any() and bool(area > 0):
            self.known = True
            visible = torch.from_numpy(item.visible)[None]
            target = torch.from_numpy(item.keypoints[None]).nan_to_num()
            self.correlation.update(position, target, visible, area, confidence)

    def compute(self) -> dict[str, Any]:
        """The values."""
        precision, matches = computed(self.precision), self.precision.matches
        return {
            "ap": precision,
            "oks": computed(self.correlation) if self.known else None,
            "matches": None if matches is None else matches.to_dict(),
        }


class _Joints:
    """MPJPE and PA-MPJPE in millimetres in the camera's frame, what `JointError` computes.

    The depth of the root joint is the annotated one, as is usual. Poses without depth or root are left out and counted,
    "num_left_out".
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        from pcsargmax.metrics import JointError

        self.dataset = dataset
        self.counted: list[bool] = []  # of every pose
        self.errors: Any = JointError(joints=getattr(dataset, "evaluated", None), seed=seed).set_dtype(torch.float64)

    def update(self, item: ImageItem, found: ImagePrediction) -> None:
        """Add a pose."""
        visible = item.visible & np.isfinite(item.keypoints).all(axis=1)
        self.counted.append(bool(visible[0]) and "root_depth" in item.extra)
        if not self.counted[-1]:
            return
        target = np.where(visible[:, None], item.keypoints, 0)
        spaces = (self._space(item, points) for points in (found.position, target))
        self.errors.update(*(torch.from_numpy(space)[None] for space in spaces), torch.from_numpy(visible)[None])

    def _space(self, item: ImageItem, keypoints: np.ndarray) -> np.ndarray:
        """Keypoints (K, 3) in the camera's frame, mm."""
        from pcsargmax.datasets.images.camera import to_camera

        own = getattr(self.dataset, "to_camera", None)
        found = to_camera(keypoints, item.extra) if own is None else own(item, keypoints)
        return np.asarray(found, dtype=np.float64)

    def compute(self) -> dict[str, Any] | None:
        """The values; None where every pose was left out."""
        return {**computed(self.errors), "num_left_out": self.counted.count(False)} if any(self.counted) else None

    def poses(self) -> dict[str, list[float | None]]:
        """Both errors of every pose, the mean over its joints; None of one that was left out."""
        found = {}
        for name, errors in zip(("mpjpe", "pa_mpjpe"), self.errors.errors, strict=True):
            each = torch.full((len(self.counted),), torch.nan, dtype=torch.float64)
            each[torch.tensor(self.counted, dtype=torch.bool)] = errors.double().nanmean(dim=1)
            found[name] = rounded(each)
        return found
