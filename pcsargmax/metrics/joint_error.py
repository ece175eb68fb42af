"""Errors of the joints of a body in space, in the unit of the positions, mostly mm.

MPJPE compares poses with their root joints in one place, PA-MPJPE after the best similarity transform.
"""

import torch
from torch import Tensor

from pcsargmax.metrics.pck import keypoint_errors
from pcsargmax.ops.procrustes import procrustes


def root_relative(positions: Tensor, root: int | None = 0) -> Tensor:
    """Move the joint `root` of positions (B, K, D) to the origin; None leaves them unchanged."""
    if root is None:
        return positions
    if not -positions.shape[1] <= root < positions.shape[1]:
        raise ValueError(f"root must be one of {positions.shape[1]} joints, got {root}")
    return positions - positions[:, root, None]


def joint_errors(preds: Tensor, target: Tensor, visible: Tensor, *, root: int | None = 0) -> Tensor:
    """Return the distance of each joint to its annotation with the roots in one place (Ionescu et al., TPAMI 2014).

    Args:
        preds: (B, K, D) joints, in space (camera frame, mm), not in pixels.
        target: (B, K, D) annotated joints, same unit; what stands at absent joints is ignored.
        visible: (B, K) bool, True where the joint is annotated.
        root: the joint put in one place, 0 being the pelvis of Human3.6M; None: no joint, absolute errors.

    Returns:
        (B, K) float64 errors, NaN where the joint is absent. The root's own is 0 and counts, as is usual.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, a visible position that is not finite, or a pose
            whose root is absent.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import joint_errors
        >>> target = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> preds = torch.tensor([[[5.0, 5.0, 5.0], [5.0, 5.0, 8.0]]])
        >>> joint_errors(preds, target, torch.tensor([[True, True]]))
        tensor([[0., 2.]], dtype=torch.float64)
    """
    keypoint_errors(preds, target, visible)  # checks
    target = _known(target, visible)
    if root is not None:
        root_relative(preds, root)  # checks
        _check_root(visible, root)
    return keypoint_errors(root_relative(preds.double(), root), root_relative(target, root), visible)


def procrustes_aligned(
    preds: Tensor,
    target: Tensor,
    visible: Tensor | None = None,
    *,
    scale: bool = True,
    reflection: bool = False,
) -> Tensor:
    """Move each pose onto its target by the similarity with the least sum of squared distances.

    Rotation by the singular values of the cross-covariance (Kabsch 1976), the smallest taken negative where the best
    orthogonal matrix would mirror; scale and translation after Umeyama (1991).

    Args:
        preds: (B, K, D) joints.
        target: (B, K, D) where they ought to be; what stands at absent joints is ignored.
        visible: (B, K) bool, the joints that count; None: all. The others are moved along.
        scale: let the similarity scale; False: rigid.
        reflection: let it mirror too, as `scipy.spatial.procrustes` does.

    Returns:
        (B, K, D) float64. Joints of a prediction that all lie in one place stay together, at the target's centroid; a
        pose without visible joints stays as it is.

    Raises:
        ValueError: as of `joint_errors`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import procrustes_aligned
        >>> target = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]])
        >>> turned = torch.stack([-target[..., 1], target[..., 0]], dim=-1)  # by 90 degrees
        >>> torch.allclose(procrustes_aligned(3 * turned + 5, target), target.double())
        True
    """
    if visible is None:
        visible = torch.ones(preds.shape[:2], dtype=torch.bool, device=preds.device)
    keypoint_errors(preds, target, visible)  # checks
    alignment = procrustes(
        _known(preds, visible), _known(target, visible), visible.double(), scale=scale, reflection=reflection
    )
    aligned = alignment.apply(preds.double())
    return torch.where(visible.any(dim=1)[:, None, None], aligned, preds.double())


def aligned_joint_errors(preds: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """Return the distance of each joint to its annotation after `procrustes_aligned`: (B, K) float64, NaN where absent.

    NaN too for a pose of fewer than three visible joints, which some similarity always aligns exactly.
    Arguments and errors as of `joint_errors`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import aligned_joint_errors
        >>> target = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]])
        >>> aligned_joint_errors(4 * target + 3, target, torch.ones(1, 3, dtype=torch.bool)).round(decimals=6).abs()
        tensor([[0., 0., 0.]], dtype=torch.float64)
    """
    errors = keypoint_errors(procrustes_aligned(preds, target, visible), target.double(), visible)
    few = visible.sum(dim=1, keepdim=True) < 3
    return errors.masked_fill(few, torch.nan)


def joint_values(
    preds: Tensor, target: Tensor, visible: Tensor, *, root: int | None = 0, joints: tuple[int, ...] | None = None
) -> Tensor:
    """Return all of these errors of the joints, or of `joints` only; the other arguments are those of `joint_errors`.

    Returns:
        (B, K, 2 + D) float64: the error with the roots in one place, the error after a similarity, the absolute offset
        along each axis; NaN where absent.
    """
    errors = joint_errors(preds, target, visible, root=root)
    offsets = root_relative(preds.double(), root) - root_relative(_known(target, visible), root)
    num_joints = errors.shape[1]
    chosen = list(range(num_joints)) if joints is None else list(joints)
    if not all(0 <= joint < num_joints for joint in chosen):
        raise ValueError(f"joints must be among the {num_joints} given, got {chosen}")
    aligned = aligned_joint_errors(preds[:, chosen], target[:, chosen], visible[:, chosen])
    axes = offsets.abs().masked_fill(~visible[..., None], torch.nan)[:, chosen]
    return torch.cat([errors[:, chosen, None], aligned[..., None], axes], dim=-1)


def _known(positions: Tensor, visible: Tensor) -> Tensor:
    """Positions in float64, zero where absent, which may be NaN."""
    return positions.double().masked_fill(~visible[..., None], 0)


def _check_root(visible: Tensor, root: int) -> None:
    lacking = int((visible.any(dim=1) & ~visible[:, root]).sum())
    if lacking:
        raise ValueError(
            f"root: joint {root} must be visible wherever others are, got {lacking} of {len(visible)} poses without it"
        )
