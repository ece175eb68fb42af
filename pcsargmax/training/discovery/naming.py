"""Names for discovered keypoints."""

from __future__ import annotations

import torch
from torch import Tensor

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.loaders import eval_loader


@torch.inference_mode()
def expectations(merger: SkeletonMerger, clouds: PreparedClouds, batch_size: int = 8) -> Tensor:
    """(M, K, 3) keypoints of all clouds at the expectation of their maps, in their frame."""
    found = []
    for batch in eval_loader(clouds, batch_size):
        scores = merger(batch.clouds.pos, batch.clouds.batch, batch.neighborhoods)
        found.append(soft_argmax(scores.logits, scores.sites, mask=scores.mask))
    return torch.cat(found)
