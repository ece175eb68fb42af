"""MPJPE and PA-MPJPE, with intervals over poses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.joint_error import joint_values
from pcsargmax.metrics.modules.base import BootstrapMetric, named_ends


class JointError(BootstrapMetric):
    """MPJPE and PA-MPJPE with 95 % bootstrap intervals over poses.

    `compute` returns tensors in the unit of the positions:

    - "mpjpe": mean error of the joints, roots in one place; "pa_mpjpe": the same after a similarity. The mean of the
      poses' means, which is the mean of all joints where every pose has all of them, as in Human3.6M;
    - each with "/low" and "/high", the ends of its interval; NaN for a single pose;
    - "median_error", "mpjpe_per_joint" (K,), "pa_mpjpe_per_joint" (K,): NaN for a joint that no pose has;
    - "error_per_axis" (D,): mean absolute error along each axis, roots in one place;
    - "num_poses", "num_joints": number of poses, and of visible joints among them; "num_unaligned": poses of fewer than
      three visible joints, which PA-MPJPE leaves out.

    Args:
        root: see `joint_errors`.
        joints: the joints that count, such as the 17 of Human3.6M without the added thorax; None: all. The root need
            not be one of them.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        A pose of twice the size: wrong by 1 and 2 beside its root, right after a similarity.

        >>> import torch
        >>> from pcsargmax.metrics import JointError
        >>> target = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]])
        >>> result = JointError(num_bootstrap=0)(2 * target + 7, target, torch.ones(1, 3, dtype=torch.bool))
        >>> {name: round(float(result[name]), 4) for name in ("mpjpe", "pa_mpjpe")}
        {'mpjpe': 1.0, 'pa_mpjpe': 0.0}
    """

    higher_is_better = False
    size_names = ("joints", "dimensions")

    def __init__(
        self,
        *,
        root: int | None = 0,
        joints: tuple[int, ...] | None = None,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if joints is not None and (not joints or len(set(joints)) < len(joints)):
            raise ValueError(f"joints must be at least one, each once, got {joints}")
        self.root = root
        self.joints = None if joints is None else tuple(joints)

    def update(self, preds: Tensor, target: Tensor, visible: Tensor) -> None:
        """Add poses: preds and target (B, K, D) in space, visible (B, K) bool; see `joint_errors`."""
        values = joint_values(preds, target, visible, root=self.root, joints=self.joints)  # (B, K, 2 + D)
        self._append(values, values.shape[1], values.shape[2] - 2)

    @property
    def errors(self) -> tuple[Tensor, Tensor]:
        """(M, K) errors, roots in one place and after a similarity, of the poses so far; NaN where absent."""
        values = self._values()
        return values[..., 0], values[..., 1]

    def _values(self) -> Tensor:
        joints, dimensions = self._known_sizes()
        return self._rows(joints, 2 + dimensions)

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no visible joint was given.
        """
        values = self._values()
        if values.isnan().all():
            raise ValueError(f"JointError needs at least one visible joint, got none in {len(values)} poses")
        errors, aligned = values[..., 0], values[..., 1]
        seen = ~errors.isnan()
        result = self._mean("mpjpe", errors) | self._mean("pa_mpjpe", aligned)
        result |= {
            "median_error": errors[seen].quantile(0.5),
            "mpjpe_per_joint": errors.nanmean(dim=0),
            "pa_mpjpe_per_joint": aligned.nanmean(dim=0),
            "error_per_axis": values[..., 2:].flatten(0, 1).nanmean(dim=0),
        }
        unaligned = (seen.any(dim=1) & aligned.isnan().all(dim=1)).sum()
        return self._results(result, num_poses=len(values), num_joints=seen.sum(), num_unaligned=unaligned)

    def _mean(self, name: str, errors: Tensor) -> dict[str, Tensor]:
        """Mean over poses of the mean over their joints of errors (M, K), with its interval."""
        poses = errors.nanmean(dim=1)
        poses = poses[~poses.isnan()]
        if len(poses):
            return {name: poses.mean()} | self._ratio_intervals([name], poses)
        missing = poses.new_full((2, 1), torch.nan)
        return {name: missing[0, 0]} | (named_ends([name], *missing) if self.num_bootstrap else {})
