"""COCO's average precision of keypoints, computed by pycocotools, the data set's own evaluation."""

from __future__ import annotations

import contextlib
import io
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.io.coco import coco_index, read_coco
from pcsargmax.metrics.bootstrap import basic_interval, check_num_bootstrap, flat_rows, resample_weights
from pcsargmax.metrics.coco_matches import CocoMatches
from pcsargmax.metrics.oks import COCO_SIGMAS, checked_sigmas

#: Names of the ten numbers that the evaluation summarises keypoints by, in its order.
COCO_FIGURES = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")


def coco_score(confidence: Tensor, detection: Tensor | float = 0.0) -> Tensor:
    """Score of a pose as the paper's published code ranks it: the mean and the largest confidence, plus the detector's.

    Args:
        confidence: (B, K), the map's peaks.
        detection: (B,) scores of the boxes; 0 for annotated ones.

    Returns:
        (B,).
    """
    return confidence.mean(dim=-1) + confidence.amax(dim=-1) + detection


def coco_results(image_id: Tensor, keypoints: Tensor, score: Tensor, category_id: int = 1) -> list[dict[str, Any]]:
    """Poses in COCO's result format, ready for JSON: image_id (B,), keypoints (B, K, 2 or 3), score (B,).

    The third number of a keypoint, its confidence where it is given, else 1, is one that the evaluation ignores.
    """
    if keypoints.shape[-1] == 2:
        keypoints = torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], dim=-1)
    rows = zip(image_id.tolist(), keypoints.double().flatten(1).tolist(), score.double().tolist(), strict=True)
    return [{"image_id": i, "category_id": category_id, "keypoints": k, "score": s} for i, k, s in rows]


class CocoKeypointAP(Metric):
    """COCO's keypoint AP and AR over OKS 0.50, 0.55, …, 0.95, by pycocotools' COCOeval.

    `compute` returns tensors, 0 to 1, −1 where there is nothing of the size to be found, as there:

    - "ap" (COCO's mAP), "ap50", "ap75", "ap_medium", "ap_large", and "ar…" the same of recall; areas in pixels², medium
      from 32² to 96²;
    - "ap", "ap50" and "ap75" with "/low" and "/high", the ends of a 95 % bootstrap interval over images
      (`basic_interval`); NaN for a single image;
    - "num_images", "num_poses", "num_objects": images asked for, poses given, annotated objects that count.

    Every image asked for counts: a person of an image without poses is missed.

    Attributes:
        matches: which poses were matched to a person when `compute` last counted; None before.

    Args:
        ground_truth: the annotation file, such as person_keypoints_val2017.json, or what it holds.
        sigmas: K widths, see `keypoint_similarity`.
        image_ids: the images asked for; None: all of the file.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_poses: list[Tensor]

    def __init__(
        self,
        ground_truth: str | Path | dict[str, Any],
        *,
        sigmas: Sequence[float] = COCO_SIGMAS,
        image_ids: Sequence[int] | None = None,
        num_bootstrap: int = 200,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        check_num_bootstrap(num_bootstrap)
        self.sigmas = checked_sigmas(sigmas, len(tuple(sigmas)))
        self.ground_truth = read_coco(ground_truth, num_keypoints=len(self.sigmas))
        self.image_ids = sorted(self.ground_truth.imgs if image_ids is None else set(image_ids))
        unknown = [i for i in self.image_ids if i not in self.ground_truth.imgs]
        if unknown or not self.image_ids:
            raise ValueError(f"image_ids must be at least one, of the ground truth's images, got {unknown or 'none'}")
        self.num_bootstrap = num_bootstrap
        self.matches: CocoMatches | None = None
        self.seed = seed
        self.add_state("flat_poses", default=[], dist_reduce_fx="cat")

    def update(self, image_id: Tensor, prediction: Tensor, score: Tensor) -> None:
        """Add poses: image_id (B,) long, prediction (B, K, 2) in the image's pixels, score (B,), higher is surer.

        Raises:
            ValueError: shapes that do not agree, values that are not finite, or an image that was not asked for.
        """
        expected = (len(image_id), len(self.sigmas), 2)
        if prediction.shape != expected or score.shape != image_id.shape or image_id.ndim != 1:
            raise ValueError(
                f"image_id, prediction and score must be (B,), (B, {len(self.sigmas)}, 2) and (B,), got "
                f"{tuple(image_id.shape)}, {tuple(prediction.shape)} and {tuple(score.shape)}"
            )
        if not (prediction.isfinite().all() and score.isfinite().all()):
            raise ValueError("prediction and score must be finite, got NaN or infinity")
        if unknown := sorted(set(image_id.tolist()) - set(self.image_ids)):
            raise ValueError(f"image_id must be among the images asked for, got {unknown[:3]}")
        # The place of the image, not its id: ids may be too large for the type of the others.
        place = [bisect_left(self.image_ids, i) for i in image_id.tolist()]
        heads = torch.stack([prediction.new_tensor(place), score.to(prediction)], dim=1)
        poses = torch.cat([heads, prediction.flatten(1)], dim=1)
        self.flat_poses.append(poses.detach().to(self.device, self.dtype).flatten())

    def results(self) -> list[dict[str, Any]]:
        """The poses given so far in COCO's result format, to be saved as JSON for its server."""
        poses = flat_rows(self.flat_poses, 2 + 2 * len(self.sigmas))
        ids = torch.tensor([self.image_ids[int(place)] for place in poses[:, 0]], dtype=torch.long)
        category = self.ground_truth.dataset["categories"][0]["id"]
        return coco_results(ids, poses[:, 2:].reshape(len(ids), len(self.sigmas), 2), poses[:, 1], category)

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class."""
        results = self.results()
        evaluation = _evaluated(self.ground_truth, results, self.image_ids, self.sigmas)
        figures = dict(zip(COCO_FIGURES, torch.from_numpy(evaluation.stats), strict=True))
        self.matches = matches = CocoMatches.of(evaluation)
        if self.num_bootstrap:
            figures |= self._intervals(figures, matches)
        figures = {name: value.to(self.device, self.dtype) for name, value in figures.items()}
        counts = {
            "num_images": len(self.image_ids),
            "num_poses": len(results),
            "num_objects": int(matches.objects.sum()),
        }
        return figures | {name: torch.tensor(count, device=self.device) for name, count in counts.items()}

    def _intervals(self, figures: dict[str, Tensor], matches: CocoMatches) -> dict[str, Tensor]:
        weights = resample_weights(len(self.image_ids), self.num_bootstrap, seed=self.seed)
        precision = matches.average_precision(weights)  # (R, T)
        ends: dict[str, Tensor] = {}
        for name, columns in {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}.items():
            drawn = precision[:, columns].mean(dim=1)
            low, high = basic_interval(figures[name], drawn)
            if len(self.image_ids) < 2 or figures[name] < 0:
                low = high = figures[name].new_tensor(torch.nan)
            ends |= {f"{name}/low": low, f"{name}/high": high}
        return ends


def _evaluated(truth: Any, results: list[dict[str, Any]], image_ids: list[int], sigmas: tuple[float, ...]) -> Any:
    """A COCOeval that has been run, on its own copy of what it writes into."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    copy = {part: [dict(entry) for entry in truth.dataset[part]] for part in ("images", "annotations", "categories")}
    with contextlib.redirect_stdout(io.StringIO()):
        own = coco_index(copy)
        found = own.loadRes(results) if results else COCO()
        evaluation = COCOeval(own, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation
