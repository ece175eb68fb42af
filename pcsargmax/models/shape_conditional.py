"""The conditional Gaussian of a shape given some of its keypoints and noise, where the pose is unknown.

The linear algebra of `pcsargmax.models.shape_prior`, in the frame of the prior.
"""

from typing import NamedTuple

import torch
from torch import Tensor

#: Share of the size of the shape, and of each variance, that is added to the variances: it makes the Cholesky
#: factorisation exist where both the prior and the noise are singular, and is far below any measurement.
_FLOOR = 1e-12
#: Singular values below this share of the largest are directions of the pose that the keypoints do not determine.
_RANK_TOLERANCE = 1e-8


class Conditional(NamedTuple):
    """What is known of B shapes of n = 3K coordinates.

    Attributes:
        deviation: (B, n) from the mean shape, the pose included.
        covariance: (B, n, n), the uncertainty of the pose included.
        pose: (B, 7) the coefficients of `pose_tangents`.
        undetermined: (B, n) bool, the coordinates that move with a pose that the keypoints do not determine.
        distance: (B,) squared Mahalanobis distance of the measurement.
        degrees: (B,) long, its degrees of freedom.
    """

    deviation: Tensor
    covariance: Tensor
    pose: Tensor
    undetermined: Tensor
    distance: Tensor
    degrees: Tensor


def pose_tangents(mean: Tensor) -> Tensor:
    """Return the directions (3K, 7) in which similarities move the shape mean (K, 3), whose centroid is the origin.

    The columns are scaling, rotation about x, y and z, and translation by the root mean square radius along x, y, z.
    """
    axes = torch.eye(3, dtype=mean.dtype, device=mean.device)
    turns = torch.linalg.cross(axes[None], mean[:, None], dim=-1).mT  # (K, 3, axis)
    shifts = (rms_radius(mean) * axes).expand(len(mean), 3, 3)
    return torch.cat([mean[..., None], turns, shifts], dim=-1).flatten(0, 1)


def rms_radius(mean: Tensor) -> Tensor:
    """Root mean square distance of the keypoints (K, 3) from the origin; 1 where all are there."""
    radius = mean.square().sum(dim=-1).mean().sqrt()
    return torch.where(radius > 0, radius, 1)


def conditional(residual: Tensor, prior: Tensor, noise: Tensor, seen: Tensor, tangents: Tensor) -> Conditional:
    """Condition the Gaussian N(T b, prior), of which the pose b is unknown, on noisy coordinates.

    The pose is estimated by generalised least squares and its uncertainty is part of the covariance, which is the limit
    of a Gaussian prior of ever larger variance along T ("universal kriging"; Rasmussen & Williams 2006, Eq. 2.41 and
    2.42). Nothing is inverted but P + noise of the coordinates seen, by its Cholesky factor.

    Args:
        residual: (B, 3K) measurement minus mean shape; what stands at coordinates not seen is ignored.
        prior: (3K, 3K) covariance P of the shapes, may be singular.
        noise: (B, K, 3, 3) covariance of the measured keypoints.
        seen: (B, 3K) bool.
        tangents: (3K, Q) directions T of the pose; Q = 0 for a pose that is known.
    """
    seen_noise = torch.where(seen.unflatten(1, (-1, 3))[..., None], noise, 0)
    total = prior.expand(len(residual), -1, -1).clone()
    blocks = total.unflatten(1, (-1, 3)).unflatten(3, (-1, 3)).diagonal(dim1=1, dim2=3)  # (B, 3, 3, K), a view
    blocks += seen_noise.movedim(1, -1)
    diagonal = total.diagonal(dim1=1, dim2=2)
    diagonal += _FLOOR * (diagonal + tangents.square().sum() / max(1, len(tangents)))
    identity = torch.eye(total.shape[1], dtype=total.dtype, device=total.device)
    factor = torch.linalg.cholesky(torch.where(seen[:, :, None] & seen[:, None], total, identity))

    def whitened(columns: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, torch.where(seen[..., None], columns, 0), upper=False)

    values, directions, gain = whitened(residual[..., None]), whitened(tangents[None]), whitened(prior[None])
    u, s, vh = torch.linalg.svd(directions, full_matrices=False)
    kept = s > _RANK_TOLERANCE * s.amax(dim=1, keepdim=True) if s.shape[1] else s > 0
    inverse = torch.where(kept, 1 / torch.where(kept, s, 1), 0)
    along = u.mT @ values  # (B, Q, 1)
    pose = vh.mT @ (inverse[..., None] * along)
    rest = values - u @ torch.where(kept[..., None], along, 0)
    response = tangents - gain.mT @ directions  # how the estimate moves with the pose: (B, 3K, Q)
    projected = response @ vh.mT
    spread = projected * inverse[:, None]
    unknown = (response - torch.where(kept[:, None], projected, 0) @ vh).norm(dim=-1)
    return Conditional(
        deviation=(tangents @ pose + gain.mT @ rest)[..., 0],
        covariance=prior - gain.mT @ gain + spread @ spread.mT,
        pose=pose[..., 0],
        undetermined=unknown > 1e-6 * tangents.norm(dim=1).amax() if tangents.shape[1] else torch.zeros_like(seen),
        distance=rest.square().sum(dim=(1, 2)),
        degrees=seen.sum(dim=1) - kept.sum(dim=1),
    )
