"""COCO's keypoint AP and AR, with intervals over images."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcsargmax.io.coco import read_coco
from pcsargmax.metrics.coco_ap import COCO_METRICS, coco_results, evaluate_coco
from pcsargmax.metrics.coco_matches import CocoMatches
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.similarity import COCO_SIGMAS, checked_sigmas


class CocoKeypointAP(BootstrapMetric):
    """COCO's keypoint AP and AR over OKS 0.50, 0.55, …, 0.95, by pycocotools' COCOeval.

    `compute` returns tensors, 0 to 1, −1 where there are no objects of the size, as in pycocotools:

    - "ap" (COCO's mAP), "ap50", "ap75", "ap_medium", "ap_large", and "ar…" the same of recall; areas in pixels², medium
      from 32² to 96²;
    - "ap", "ap50" and "ap75" with "/low" and "/high", the ends of a 95 % bootstrap interval over images
      (`basic_interval`); NaN for a single image;
    - "num_images", "num_poses", "num_objects": number of images asked for, of poses, and of annotated objects that
      count.

    Every image asked for counts: a person of an image without poses is missed.

    Attributes:
        matches: which poses were matched to a person by the last `compute`; None before.

    Args:
        ground_truth: the annotation file, such as person_keypoints_val2017.json, or its content.
        sigmas: K widths, see `keypoint_similarity`.
        image_ids: the images asked for; None: all of the file.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        A person of two keypoints, found exactly:

        >>> import torch
        >>> from pcsargmax.metrics import CocoKeypointAP
        >>> person = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0}
        >>> person |= {"keypoints": [10, 10, 2, 60, 60, 2], "num_keypoints": 2}
        >>> category = {"id": 1, "name": "person", "keypoints": ["head", "foot"]}
        >>> image = {"id": 7, "width": 100, "height": 100, "file_name": "7.png"}
        >>> truth = {"images": [image], "annotations": [person], "categories": [category]}
        >>> metric = CocoKeypointAP(truth, sigmas=(0.1, 0.1), num_bootstrap=0)
        >>> preds = torch.tensor([[[10.0, 10.0], [60.0, 60.0]]])
        >>> float(metric(preds, torch.tensor([0.9]), torch.tensor([7]))["ap"])
        1.0
    """

    higher_is_better = True

    def __init__(
        self,
        ground_truth: str | Path | dict[str, Any],
        *,
        sigmas: Sequence[float] = COCO_SIGMAS,
        image_ids: Sequence[int] | None = None,
        num_bootstrap: int = 200,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        self.sigmas = checked_sigmas(sigmas, len(tuple(sigmas)))
        self.ground_truth = read_coco(ground_truth, num_keypoints=len(self.sigmas))
        self.image_ids = sorted(self.ground_truth.imgs if image_ids is None else set(image_ids))
        unknown = [i for i in self.image_ids if i not in self.ground_truth.imgs]
        if unknown or not self.image_ids:
            raise ValueError(f"image_ids must be at least one, of the ground truth's images, got {unknown or 'none'}")
        self.matches: CocoMatches | None = None

    def update(self, preds: Tensor, scores: Tensor, image_id: Tensor) -> None:
        """Add poses: preds (B, K, 2) in the image's pixels, scores (B,), higher is better, image_id (B,) long.

        Raises:
            ValueError: shapes that do not agree, values that are not finite, or an image that was not asked for.
        """
        expected = (len(image_id), len(self.sigmas), 2)
        if preds.shape != expected or scores.shape != image_id.shape or image_id.ndim != 1:
            raise ValueError(
                f"preds, scores and image_id must be (B, {len(self.sigmas)}, 2), (B,) and (B,), got "
                f"{tuple(preds.shape)}, {tuple(scores.shape)} and {tuple(image_id.shape)}"
            )
        if not (preds.isfinite().all() and scores.isfinite().all()):
            raise ValueError("preds and scores must be finite, got NaN or infinity")
        if unknown := sorted(set(image_id.tolist()) - set(self.image_ids)):
            raise ValueError(f"image_id must be among the images asked for, got {unknown[:3]}")
        # The place of the image, not its id: ids may be too large for the type of the others.
        place = [bisect_left(self.image_ids, i) for i in image_id.tolist()]
        heads = torch.stack([preds.new_tensor(place), scores.to(preds)], dim=1)
        self._append(torch.cat([heads, preds.flatten(1)], dim=1))

    def results(self) -> list[dict[str, Any]]:
        """Return the poses so far in COCO's result format, ready to be saved as JSON for its server."""
        poses = self._rows(2 + 2 * len(self.sigmas))
        ids = torch.tensor([self.image_ids[int(place)] for place in poses[:, 0]], dtype=torch.long)
        category = self.ground_truth.dataset["categories"][0]["id"]
        return coco_results(poses[:, 2:].reshape(len(ids), len(self.sigmas), 2), poses[:, 1], ids, category)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class."""
        results = self.results()
        evaluation = evaluate_coco(self.ground_truth, results, self.image_ids, self.sigmas)
        values = dict(zip(COCO_METRICS, torch.from_numpy(evaluation.stats), strict=True))
        self.matches = matches = CocoMatches.of(evaluation)
        if self.num_bootstrap:
            precision = matches.average_precision(self._weights(len(self.image_ids)))  # (R, T)
            for name, columns in {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}.items():
                replicates = precision[:, columns].mean(dim=1, keepdim=True)
                around = values[name][None].where(values[name] >= 0, torch.nan)  # −1: there is nothing to find
                values |= self._intervals([name], replicates, len(self.image_ids), around=around)
        return self._results(
            values,
            num_images=len(self.image_ids),
            num_poses=len(results),
            num_objects=int(matches.objects.sum()),
        )
