"""Training up to the annotated symmetries: of each shape, the labelling of least loss is what is learnt.

KeypointNet's own benchmark trains so where rotations are annotated; `metrics.symmetry` says which labellings there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.metrics.symmetry import symmetric_targets
from pcsargmax.metrics.symmetry_groups import KINDS, Kind

#: The kinds that each value of the setting `symmetry` stands for.
SYMMETRY_KINDS: dict[str, tuple[Kind, ...]] = {
    "none": (),
    "reflection": ("reflection",),
    "rotation": ("rotation",),
    "all": KINDS,
}


def with_labelings(item: Data, semantic_ids: Sequence[int], symmetry: str, *, num_angles: int = 36) -> Data:
    """A copy of a cloud item that gains `keypoint_labelings (P, K, 3)`, its keypoints in each labelling.

    Args:
        item: raw units, with `symmetries` as `KeypointNet` gives them.
        semantic_ids: that of each channel.
        symmetry: a name of `SYMMETRY_KINDS`; "none" changes nothing.
        num_angles: tried on circles, as in `symmetric_targets`.

    Raises:
        ValueError: as `symmetric_targets`, naming the model.
    """
    item = copy(item)
    if kinds := SYMMETRY_KINDS[symmetry]:
        target, visible = item.keypoint_pos[0], item.keypoint_visible[0]
        try:
            item.keypoint_labelings = symmetric_targets(
                target, visible, item.get("symmetries"), semantic_ids, kinds, num_angles=num_angles
            )
        except ValueError as error:
            raise ValueError(f"model {item.get('model_id')}: {error}") from None
    return item


def carry_labelings(transform: Callable[[Data], Data], item: Data) -> Data:
    """Transform an item, and its labelings, if it has some, as it transforms its keypoints."""
    if "keypoint_labelings" not in item:
        return transform(item)
    item = copy(item)
    # A transform takes keypoints of any first dimension; the annotation itself is the first labelling.
    item.keypoint_pos = item.keypoint_labelings
    item = transform(item)
    item.keypoint_labelings, item.keypoint_pos = item.keypoint_pos, item.keypoint_pos[:1]
    return item


def pad_labelings(labelings: Sequence[Tensor]) -> Tensor:
    """Stack labellings (P_i, K, 3) of several items as (B, P, K, 3), the annotation itself filling up."""
    most = max(len(item) for item in labelings)
    return torch.stack([torch.cat([item, item[:1].expand(most - len(item), -1, -1)]) for item in labelings])


def choose_labeling(labelings: Tensor, which: Tensor) -> Tensor:
    """Take labelling `which (B,)` of each item of `labelings (B, P, K, 3)`: (B, K, 3)."""
    return labelings[torch.arange(len(which), device=which.device), which]
