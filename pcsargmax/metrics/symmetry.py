"""Errors up to the annotated symmetries of a model: reflections, rotations and circles.

KeypointNet annotates with each model which keypoints its symmetries exchange. A labelling is a way to name the same
keypoints that the model itself cannot tell from the annotated one. The rules:

- A reflection exchanges the two keypoints of each of its groups, all groups at once. Where groups share a keypoint they
  are of several planes, distinguished by the direction from one keypoint of a group to the other, and planes combine. A
  keypoint without a group, or alone in one, stays.
- A rotation turns all groups at once, by the same angle. Groups of m_1, m_2, … keypoints (not circles) allow
  n = gcd(m_1, m_2, …) angles, the multiples of 2π/n, by which a group's labels move on by m/n places, in the order
  around the axis. Keypoints in no group stay: of a chair only the feet of its base turn.
- A circle's keypoints may lie anywhere on it: each is turned about the circle's axis, all circles by the same angle,
  and the keypoint's own distance and height, not the rounded radius, are kept. Where there are groups that are no
  circles, the angles are theirs; where there are none, every angle is allowed. A circle without center and normal is
  about the vertical axis, y, through the mean of its keypoints.
- Reflections and rotations combine.
- A reflection or rotation that would need a keypoint that is absent, or not among the channels, is left out as a
  whole; of a circle any part may be there.

One labelling holds for a whole model. Taking the best one lowers the error of every method, of a bad one more than of a
good one, so compare an error up to symmetry only with other errors up to symmetry.

The data set's own benchmark differs: it turns all keypoints, snaps them to points of the cloud, takes the size of the
first group for n, 36 angles for circles, no rotation for chairs, no reflection, and chooses by the cross-entropy.
Source: You et al., KeypointNet, CVPR 2020, and the behaviour of its published code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.pck import keypoint_errors
from pcsargmax.metrics.symmetry_groups import KINDS, Kind, read_symmetry, turned_targets

#: Angles of a free rotation that are tried before the best is refined.
_ANGLES = 360


def label_permutations(
    symmetries: Mapping[str, Any] | None,
    semantic_ids: Sequence[int],
    visible: Tensor,
    kinds: Sequence[Kind] = KINDS,
    *,
    keypoints: Tensor | None = None,
) -> Tensor:
    """Return the relabelings of a model that its symmetries allow; circles, which relabel nothing, are left out.

    Args:
        symmetries: as an item of `KeypointNet` has them: "reflection": groups of semantic ids; "rotation": dicts of
            ids, is_circle and circle (center, radius, normal). None or empty: none.
        semantic_ids: K ids, that of each channel.
        visible: (K,) bool, True where the keypoint is annotated.
        kinds: which symmetries count: "reflection", "rotation" or both.
        keypoints: (K, 3) annotated positions, any units, from which the order around the axis is taken, and what is
            mirrored across which plane; None: the order is that of each group's list, and there is one plane.

    Returns:
        (P, K) long, each row once, the identity first: in labelling p, what channel k is to find is the keypoint
        of channel `[p, k]`. Absent keypoints stay.

    Raises:
        ValueError: shapes that do not agree, a repeated id, an unknown kind, a reflection group of more than two, a
            keypoint in two rotation groups, or in two reflection groups without positions.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import label_permutations
        >>> label_permutations({"reflection": [[0, 1]]}, range(3), torch.ones(3, dtype=torch.bool))
        tensor([[0, 1, 2],
                [1, 0, 2]])
    """
    found = read_symmetry(symmetries, semantic_ids, visible, kinds, keypoints)
    rows = found.turns[:, found.reflections].flatten(0, 1).tolist()
    return torch.tensor(list(dict.fromkeys(map(tuple, rows))), device=visible.device)


def symmetric_targets(
    target: Tensor,
    visible: Tensor,
    symmetries: Mapping[str, Any] | None,
    semantic_ids: Sequence[int],
    kinds: Sequence[Kind] = KINDS,
    *,
    num_angles: int = 36,
) -> Tensor:
    """Return the positions of a model's keypoints in each labelling that its symmetries allow.

    Args:
        target: (K, 3) annotated positions, in the units of the circles.
        visible: (K,) bool, True where the keypoint is annotated.
        symmetries: as in `label_permutations`.
        semantic_ids: K ids, that of each channel.
        kinds: which symmetries count.
        num_angles: evenly spaced ones tried where any angle is allowed; 36 in KeypointNet's benchmark.

    Returns:
        (P, K, 3) positions, those of the annotation itself first; absent keypoints stay.

    Raises:
        ValueError: as `label_permutations`; fewer than one angle; or a circle whose center or normal is no vector.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import symmetric_targets
        >>> target = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> symmetric_targets(target, torch.tensor([True, True]), {"reflection": [[0, 1]]}, (0, 1))[:, :, 0]
        tensor([[-1.,  1.],
                [ 1., -1.]])
    """
    if num_angles < 1:
        raise ValueError(f"num_angles must be at least 1, got {num_angles}")
    found = read_symmetry(symmetries, semantic_ids, visible, kinds, target)
    steps = num_angles if found.free else len(found.turns)
    return turned_targets(found, target, torch.arange(steps, dtype=torch.float64) * (2 * math.pi / steps)).flatten(0, 1)


def nearest_target(
    preds: Tensor,
    target: Tensor,
    visible: Tensor,
    symmetries: Mapping[str, Any] | None,
    semantic_ids: Sequence[int],
    kinds: Sequence[Kind] = KINDS,
) -> Tensor:
    """Return the annotated positions in the labelling that is nearest to a prediction.

    Nearest by the mean Euclidean error of the visible keypoints. Where any angle is allowed, the best of 360 is
    refined to 0.001 degrees.

    Args:
        preds: (K, 3) positions, raw units.
        target, visible, symmetries, semantic_ids, kinds: as in `symmetric_targets`.

    Returns:
        (K, 3) positions, of the type of `target`: what stands in for the annotation in any metric.

    Raises:
        ValueError: as `symmetric_targets` and `keypoint_errors`.

    Example:
        The keypoints are predicted in exchanged order, as a mirror symmetry allows:

        >>> import torch
        >>> from pcsargmax.metrics import nearest_target
        >>> target = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> nearest_target(target.flip(0), target, torch.tensor([True, True]), {"reflection": [[0, 1]]}, (0, 1))
        tensor([[ 1.,  0.,  0.],
                [-1.,  0.,  0.]])
    """
    keypoint_errors(preds[None], target[None], visible[None])  # for its checks
    found = read_symmetry(symmetries, semantic_ids, visible, kinds, target)

    def best_of(angles: Tensor) -> tuple[int, Tensor]:
        candidates = turned_targets(found, target, angles).flatten(0, 1)
        best = int(nearest_labeling(preds[None], candidates[None], visible[None]))
        return best, candidates[best]

    steps = _ANGLES if found.free else len(found.turns)
    step = 2 * math.pi / steps
    angles = torch.arange(steps, dtype=torch.float64) * step
    best, nearest = best_of(angles)
    if found.free:
        place, reflection = divmod(best, len(found.reflections))
        found = found._replace(reflections=found.reflections[[reflection]])
        for _ in range(2):
            angles, step = angles[place] + torch.linspace(-step, step, 65, dtype=torch.float64), step / 32
            place, nearest = best_of(angles)
    return nearest


def symmetric_errors(
    preds: Tensor,
    target: Tensor,
    visible: Tensor,
    symmetries: Mapping[str, Any] | None,
    semantic_ids: Sequence[int],
    kinds: Sequence[Kind] = KINDS,
) -> Tensor:
    """Return the errors of a model's keypoints in the labelling that is nearest to the prediction.

    Arguments and errors are those of `nearest_target`.

    Returns:
        (K,) Euclidean distances, raw units, NaN where absent. Their mean is at most that of `keypoint_errors`; single
        ones may be larger.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import symmetric_errors
        >>> target = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> symmetric_errors(target.flip(0), target, torch.tensor([True, True]), {"reflection": [[0, 1]]}, (0, 1))
        tensor([0., 0.])
    """
    nearest = nearest_target(preds, target, visible, symmetries, semantic_ids, kinds)
    return keypoint_errors(preds[None], nearest[None], visible[None])[0]


def nearest_labeling(preds: Tensor, targets: Tensor, visible: Tensor) -> Tensor:
    """Return the labelling of each model with the least mean error.

    Args:
        preds: (B, K, D) positions.
        targets: (B, P, K, D) positions in each labelling, as `symmetric_targets` gives them.
        visible: (B, K) bool.

    Returns:
        (B,) long; 0 of a model without visible keypoints.
    """
    return least_loss_labeling(torch.linalg.vector_norm(preds[:, None] - targets, dim=-1), visible)


def least_loss_labeling(losses: Tensor, visible: Tensor) -> Tensor:
    """Return the labelling of each model with the least mean visible loss: losses (B, P, K) -> (B,) long."""
    return losses.where(visible[:, None], 0).sum(dim=2).argmin(dim=1)
