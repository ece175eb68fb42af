"""MPJPE and PA-MPJPE: the error of the joints of a body in space, in the unit that it is given in, mostly mm.

MPJPE compares poses whose root joints lie in one place; PA-MPJPE poses that a similarity has brought as near as can be.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import bootstrap_interval, check_num_bootstrap, flat_rows
from pcsargmax.metrics.pck import keypoint_errors


def root_relative(positions: Tensor, root: int | None = 0) -> Tensor:
    """Positions (B, K, D) with the joint `root` moved to the origin; None leaves them where they are."""
    if root is None:
        return positions
    if not -positions.shape[1] <= root < positions.shape[1]:
        raise ValueError(f"root must be one of {positions.shape[1]} joints, got {root}")
    return positions - positions[:, root, None]


def joint_errors(prediction: Tensor, target: Tensor, visible: Tensor, *, root: int | None = 0) -> Tensor:
    """Distance of each joint to its annotation after the roots are put in one place (Ionescu et al., TPAMI 2014).

    Args:
        prediction: (B, K, D) joints, in space (camera frame, mm), not in pixels.
        target: (B, K, D) annotated joints, same unit; what stands at absent joints is ignored.
        visible: (B, K) bool, True where the joint is annotated.
        root: the joint put in one place, 0 being the pelvis of Human3.6M; None: no joint, absolute errors.

    Returns:
        (B, K) float64 errors, NaN where the joint is absent. The root's own is 0 and counts, as is usual.

    Raises:
        ValueError: shapes that do not agree, `visible` not bool, a visible position that is not finite, or a pose
            whose root is absent.
    """
    keypoint_errors(prediction, target, visible)  # checks
    target = _known(target, visible)
    if root is not None:
        root_relative(prediction, root)  # checks
        _check_root(visible, root)
    return keypoint_errors(root_relative(prediction.double(), root), root_relative(target, root), visible)


def procrustes_aligned(
    prediction: Tensor,
    target: Tensor,
    visible: Tensor | None = None,
    *,
    scale: bool = True,
    reflection: bool = False,
) -> Tensor:
    """Move each pose onto its target by the similarity that leaves the least sum of squared distances.

    Rotation by the singular values of the cross-covariance (Kabsch 1976), the smallest taken negative where the best
    orthogonal matrix would mirror; scale and translation after Umeyama (1991).

    Args:
        prediction: (B, K, D) joints.
        target: (B, K, D) where they ought to be; what stands at absent joints is ignored.
        visible: (B, K) bool, the joints that count; None: all. The others are moved along.
        scale: let the similarity scale; False: rigid.
        reflection: let it mirror too, as `scipy.spatial.procrustes` does.

    Returns:
        (B, K, D) float64. Joints of a prediction that all lie in one place stay together, at the target's centroid; a
        pose without visible joints stays as it is.

    Raises:
        ValueError: as of `joint_errors`.
    """
    if visible is None:
        visible = torch.ones(prediction.shape[:2], dtype=torch.bool, device=prediction.device)
    keypoint_errors(prediction, target, visible)  # checks
    weight = visible.double()[..., None]
    count = weight.sum(dim=1, keepdim=True).clamp_min(1)
    moved, fixed = _known(prediction, visible), _known(target, visible)
    from_centre, to_centre = moved.sum(dim=1, keepdim=True) / count, fixed.sum(dim=1, keepdim=True) / count
    moved, fixed = (moved - from_centre) * weight, (fixed - to_centre) * weight
    u, s, vh = torch.linalg.svd(fixed.mT @ moved)  # (B, D, D)
    sign = torch.ones_like(s)
    if not reflection:
        sign[:, -1] = torch.linalg.det(u @ vh).sign()
    rotation = (u * sign[:, None]) @ vh
    factor = torch.ones_like(s[:, 0])
    if scale:
        spread = moved.square().sum(dim=(1, 2))
        factor = (s * sign).sum(dim=1) / spread.clamp_min(torch.finfo(torch.float64).tiny)
    aligned = factor[:, None, None] * (prediction.double() - from_centre) @ rotation.mT + to_centre
    return torch.where(visible.any(dim=1)[:, None, None], aligned, prediction.double())


def aligned_joint_errors(prediction: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """Distance of each joint to its annotation after `procrustes_aligned`: (B, K) float64, NaN where absent.

    NaN too for a pose of fewer than three visible joints, which a similarity brings in place whatever they are.
    Arguments and errors as of `joint_errors`.
    """
    errors = keypoint_errors(procrustes_aligned(prediction, target, visible), target.double(), visible)
    few = visible.sum(dim=1, keepdim=True) < 3
    return errors.masked_fill(few, torch.nan)


class JointError(Metric):
    """MPJPE and PA-MPJPE with 95 % bootstrap intervals over poses.

    `compute` returns tensors in the unit given:

    - "mpjpe": mean error of the joints, roots in one place; "pa_mpjpe": the same after a similarity. The mean of the
      poses' means, which is the mean of all joints where every pose has all of them, as in Human3.6M;
    - each with "/low" and "/high", the ends of its interval; NaN for a single pose;
    - "median_error", "mpjpe_per_joint" (K,), "pa_mpjpe_per_joint" (K,): NaN for a joint that no pose has;
    - "error_per_axis" (D,): mean absolute error along each axis, roots in one place;
    - "num_poses", "num_joints": poses given, visible joints among them; "num_unaligned": poses of fewer than three
      visible joints, which PA-MPJPE leaves out.

    Args:
        root: see `joint_errors`.
        joints: which count, of those given, such as the 17 of Human3.6M without the added thorax; None: all. The root
            need not be one of them.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    flat_values: list[Tensor]
    width: Tensor

    def __init__(
        self,
        root: int | None = 0,
        joints: tuple[int, ...] | None = None,
        num_bootstrap: int = 1000,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        check_num_bootstrap(num_bootstrap)
        if joints is not None and (not joints or len(set(joints)) < len(joints)):
            raise ValueError(f"joints must be at least one, each once, got {joints}")
        self.root = root
        self.joints = None if joints is None else tuple(joints)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the sizes apart: a process without any pose can then still be gathered.
        self.add_state("flat_values", default=[], dist_reduce_fx="cat")
        self.add_state("width", default=torch.zeros(2, dtype=torch.long), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add poses: prediction and target (B, K, D) in space, visible (B, K) bool; see `joint_errors`."""
        errors = joint_errors(prediction, target, visible, root=self.root)
        offsets = root_relative(prediction.double(), self.root) - root_relative(_known(target, visible), self.root)
        chosen = self._chosen(errors.shape[1])
        aligned = aligned_joint_errors(prediction[:, chosen], target[:, chosen], visible[:, chosen])
        axes = offsets.abs().masked_fill(~visible[..., None], torch.nan)[:, chosen]
        values = torch.cat([errors[:, chosen, None], aligned[..., None], axes], dim=-1)  # (B, K, 2 + D)
        shape = torch.tensor(values.shape[1:], device=self.width.device)
        if self.width.any() and not torch.equal(self.width, shape):
            expected = f"{int(self.width[0])} joints of {int(self.width[1]) - 2} dimensions as before"
            raise ValueError(f"prediction must have {expected}, got {values.shape[1]} of {values.shape[2] - 2}")
        self.width.copy_(shape)
        self.flat_values.append(values.detach().to(self.dtype).flatten())

    def _chosen(self, num_joints: int) -> list[int]:
        chosen = list(range(num_joints)) if self.joints is None else list(self.joints)
        if not all(0 <= joint < num_joints for joint in chosen):
            raise ValueError(f"joints must be among the {num_joints} given, got {chosen}")
        return chosen

    @property
    def errors(self) -> tuple[Tensor, Tensor]:
        """(M, K) errors, roots in one place and after a similarity, of the poses so far; NaN where absent."""
        values = self._values()
        return values[..., 0], values[..., 1]

    def _values(self) -> Tensor:
        joints, width = (max(int(size), least) for size, least in zip(self.width, (1, 2), strict=True))
        return flat_rows(self.flat_values, joints * width).unflatten(1, (joints, width))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no visible joint was given.
        """
        values = self._values()
        if values.isnan().all():
            raise ValueError(f"JointError needs at least one visible joint, got none in {len(values)} poses")
        errors, aligned = values[..., 0], values[..., 1]
        result = self._mean("mpjpe", errors) | self._mean("pa_mpjpe", aligned)
        result |= {
            "median_error": errors[~errors.isnan()].quantile(0.5),
            "mpjpe_per_joint": errors.nanmean(dim=0),
            "pa_mpjpe_per_joint": aligned.nanmean(dim=0),
            "error_per_axis": values[..., 2:].flatten(0, 1).nanmean(dim=0),
        }
        result = {name: value.to(self.device, self.dtype) for name, value in result.items()}
        seen = ~errors.isnan()
        counts = {
            "num_poses": torch.tensor(len(values)),
            "num_joints": seen.sum(),
            "num_unaligned": (seen.any(dim=1) & aligned.isnan().all(dim=1)).sum(),
        }
        return result | {name: value.to(self.device) for name, value in counts.items()}

    def _mean(self, name: str, errors: Tensor) -> dict[str, Tensor]:
        """Mean over poses of the mean over their joints of errors (M, K), with its interval."""
        poses = errors.nanmean(dim=1)
        poses = poses[~poses.isnan()]
        if not len(poses):
            missing = poses.new_tensor(torch.nan)
            return {name: missing} | ({f"{name}/low": missing, f"{name}/high": missing} if self.num_bootstrap else {})
        result = {name: poses.mean()}
        if self.num_bootstrap:
            low, high = bootstrap_interval(poses, num=self.num_bootstrap, seed=self.seed)
            result |= {f"{name}/low": low, f"{name}/high": high}
        return result


def _known(positions: Tensor, visible: Tensor) -> Tensor:
    """Positions in float64, zero where absent, which may be NaN."""
    return positions.double().masked_fill(~visible[..., None], 0)


def _check_root(visible: Tensor, root: int) -> None:
    lacking = int((visible.any(dim=1) & ~visible[:, root]).sum())
    if lacking:
        raise ValueError(
            f"root: joint {root} must be visible wherever others are, got {lacking} of {len(visible)} poses without it"
        )
