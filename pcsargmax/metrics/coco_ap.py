"""COCO's average precision of keypoints, computed by pycocotools, the data set's own evaluation."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsargmax.io.coco import coco_index

#: Names of the ten metrics of the evaluation of keypoints, in its order.
COCO_METRICS = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")


def coco_score(confidence: Tensor, detection: Tensor | float = 0.0) -> Tensor:
    """Return the score by which the published code ranks poses: mean and largest confidence plus detection score.

    Args:
        confidence: (B, K), the map's peaks.
        detection: (B,) scores of the boxes; 0 for annotated ones.

    Returns:
        (B,).

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import coco_score
        >>> coco_score(torch.tensor([[0.5, 1.0]]), torch.tensor([0.25]))  # 0.75 + 1 + 0.25
        tensor([2.])
    """
    return confidence.mean(dim=-1) + confidence.amax(dim=-1) + detection


def coco_results(preds: Tensor, scores: Tensor, image_id: Tensor, category_id: int = 1) -> list[dict[str, Any]]:
    """Return poses in COCO's result format, ready for JSON.

    Args:
        preds: (B, K, 2) keypoints in pixels, or (B, K, 3) with their confidence, which COCO's evaluation ignores; 1
            where it is not given.
        scores: (B,) of the poses, higher is better.
        image_id: (B,) long.
        category_id: of all poses.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import coco_results
        >>> coco_results(torch.tensor([[[3.0, 4.0]]]), torch.tensor([0.5]), torch.tensor([7]))
        [{'image_id': 7, 'category_id': 1, 'keypoints': [3.0, 4.0, 1.0], 'score': 0.5}]
    """
    if preds.shape[-1] == 2:
        preds = torch.cat([preds, torch.ones_like(preds[..., :1])], dim=-1)
    rows = zip(image_id.tolist(), preds.double().flatten(1).tolist(), scores.double().tolist(), strict=True)
    return [{"image_id": i, "category_id": category_id, "keypoints": k, "score": s} for i, k, s in rows]


def evaluate_coco(truth: Any, results: list[dict[str, Any]], image_ids: list[int], sigmas: tuple[float, ...]) -> Any:
    """Run pycocotools' COCOeval on a copy of the ground truth, which it writes into, and return it."""
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
