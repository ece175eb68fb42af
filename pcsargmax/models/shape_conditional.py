"""The conditional Gaussian of a shape given some of its keypoints and noise, where the pose is unknown.

The linear algebra of `pcsargmax.models.shape_prior`, in the frame of the prior.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.ops.procrustes import Similarity, procrustes

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


def fit_pose(
    base: Tensor, prior: Tensor, mean: Tensor, noise: Tensor, seen: Tensor, iterations: int
) -> tuple[Conditional, Similarity, Similarity]:
    """Condition shapes in a pose to be found, by Gauss-Newton steps from the Procrustes alignment.

    Args:
        base: (K, 3) mean shape, its centroid at the origin.
        prior: (3K, 3K) covariance of the shapes.
        mean: (B, K, 3) measured keypoints, in their own frame.
        noise: (B, K, 3, 3) covariance of their errors.
        seen: (B, K) bool, those that were measured.
        iterations: steps, at least 1.

    Returns:
        The conditional, in the prior's frame; the similarity of this frame to that of the measurement; the same after
        the step that the conditional's pose tells.
    """
    mean = torch.where(seen[..., None], mean, 0)
    noise = torch.where(seen[..., None, None], noise, 0)
    own = prior.diagonal().unflatten(0, (-1, 3)).sum(dim=-1)
    tangents = pose_tangents(base)
    next_similarity = _aligned(base, mean, seen.double())
    variance = own + next_similarity.undo_on_covariance(noise).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    floor = 1e-12 * tangents.square().mean() + variance.amax(dim=1, keepdim=True) * 1e-12
    next_similarity = _aligned(base, mean, seen / (variance + floor))
    for _ in range(iterations):
        similarity = next_similarity
        found = conditional(
            (similarity.undo(mean) - base).flatten(1),
            prior,
            similarity.undo_on_covariance(noise),
            seen.repeat_interleave(3, dim=1),
            tangents,
        )
        next_similarity = _moved(similarity, found.pose, tangents)
    return found, similarity, next_similarity


def _aligned(base: Tensor, mean: Tensor, weight: Tensor) -> Similarity:
    """Similarity of the mean shape to the measured one; of scale 1 where either is in one place."""
    found = procrustes(base.expand_as(mean), mean, weight)
    several = (weight > 0).sum(dim=1) > 1
    scale = torch.where(several & (found.scale > 0), found.scale, 1)
    upright = torch.eye(3, dtype=mean.dtype, device=mean.device)
    return found._replace(
        scale=scale, rotation=torch.where(several[:, None, None], found.rotation, upright)
    ).similarity()


def _moved(similarity: Similarity, pose: Tensor, tangents: Tensor) -> Similarity:
    """The similarity after a step along `pose_tangents`, exact to first order."""
    growth = pose[:, 0].clamp(-1, 1).exp()  # a garbled measurement must not blow up
    zero = torch.zeros_like(growth)
    x, y, z = pose[:, 1:4].unbind(dim=1)
    turn = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
    shift = similarity.rotation @ (tangents[:3, 4:] @ pose[:, 4:, None])
    return Similarity(
        similarity.scale * growth,
        similarity.rotation @ torch.linalg.matrix_exp(turn),
        similarity.translation + similarity.scale[:, None] * shift[..., 0],
    )
