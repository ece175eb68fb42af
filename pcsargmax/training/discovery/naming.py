"""Names for discovered keypoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.io.atomic import atomic_path
from pcsargmax.metrics.correspondence import match_keypoints
from pcsargmax.models.skeleton_merger import SkeletonMerger
from pcsargmax.runs.checkpoint import open_checkpoint, read_checkpoint
from pcsargmax.runs.discovery import DiscoverRun
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.loaders import eval_loader
from pcsargmax.training.loop import is_rank_zero


def name_keypoints(folder: Path, training: PreparedClouds) -> None:
    """Name the keypoints in the checkpoints of a run after the annotations of the training shapes, if there are any."""
    annotated = any(item.keypoint_visible.any() for item, _ in training.items if "keypoint_visible" in item)
    if annotated and is_rank_zero():
        for file in sorted((folder / "checkpoints").glob("*.ckpt")):
            _name_in_checkpoint(file, training)


def _name_in_checkpoint(file: Path, training: PreparedClouds) -> None:
    """Match a checkpoint's keypoints to the annotations of the training shapes, and keep the names in the file."""
    run = DiscoverRun.from_checkpoint(open_checkpoint(file), torch.device("cpu"))
    items = [item for item, _ in training.items]
    correspondence = match_keypoints(
        expectations(run.merger, PreparedClouds(training.items, training.backbone)),
        torch.cat([item.keypoint_pos for item in items]),
        torch.cat([item.keypoint_visible for item in items]),
        names=list(run.annotations),
    )
    names = [name or f"kp{k}" for k, name in enumerate(correspondence.names)]
    content = read_checkpoint(file)
    content["pcsargmax"] |= {"keypoint_names": names, "correspondence": correspondence.to_dict()}
    with atomic_path(file) as temporary:
        torch.save(content, temporary)


@torch.inference_mode()
def expectations(merger: SkeletonMerger, clouds: PreparedClouds, batch_size: int = 8) -> Tensor:
    """Return the (M, K, 3) keypoints of all clouds at the expectation of their maps, in their frame."""
    keypoints = []
    for batch in eval_loader(clouds, batch_size):
        scores = merger(batch.clouds.pos, batch.clouds.batch, batch.neighborhoods)
        keypoints.append(soft_argmax(scores.logits, scores.sites, mask=scores.mask))
    return torch.cat(keypoints)
