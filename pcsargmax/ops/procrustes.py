"""The similarity transform between two sets of corresponding points."""

from typing import NamedTuple

import torch
from torch import Tensor


class Similarity(NamedTuple):
    """Similarity transforms x ↦ scale · rotation · x + translation, one per item of a batch.

    Attributes:
        scale: (B,).
        rotation: (B, D, D), orthogonal with determinant +1.
        translation: (B, D).
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Move points (B, N, D)."""
        return self.scale[:, None, None] * points @ self.rotation.mT + self.translation[:, None]

    def undo(self, points: Tensor) -> Tensor:
        """Move points (B, N, D) back."""
        return (points - self.translation[:, None]) @ self.rotation / self.scale[:, None, None]

    def apply_to_covariance(self, covariance: Tensor) -> Tensor:
        """Transform covariances (B, N, D, D)."""
        rotation = self.rotation[:, None]
        return self.scale.square()[:, None, None, None] * rotation @ covariance @ rotation.mT

    def undo_on_covariance(self, covariance: Tensor) -> Tensor:
        """Transform covariances (B, N, D, D) back."""
        rotation = self.rotation[:, None]
        return rotation.mT @ covariance @ rotation / self.scale.square()[:, None, None, None]


class Alignment(NamedTuple):
    """The similarity x ↦ scale · rotation · (x − source_center) + target_center, one per item of a batch.

    The centers are kept apart, so that nothing is lost where positions are far from the origin.

    Attributes:
        scale: (B,).
        rotation: (B, D, D).
        source_center: (B, 1, D).
        target_center: (B, 1, D).
    """

    scale: Tensor
    rotation: Tensor
    source_center: Tensor
    target_center: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Move points (B, N, D)."""
        moved = self.scale[:, None, None] * (points - self.source_center) @ self.rotation.mT
        return moved + self.target_center

    def similarity(self) -> Similarity:
        """Return the same transform with one translation."""
        origin = self.apply(torch.zeros_like(self.source_center))
        return Similarity(self.scale, self.rotation, origin[:, 0])


def procrustes(
    source: Tensor, target: Tensor, weight: Tensor, *, scale: bool = True, reflection: bool = False
) -> Alignment:
    """Return the similarity from source to target with the least weighted sum of squared distances.

    Rotation by the singular values of the cross-covariance (Kabsch 1976), the smallest taken negative where the best
    orthogonal matrix would mirror; scale and translation after Umeyama (1991).

    Args:
        source: (B, K, D) float64, finite also where the weight is 0.
        target: (B, K, D) float64, likewise.
        weight: (B, K) float64, not negative.
        scale: let the similarity scale; False: rigid.
        reflection: let it mirror too.

    Returns:
        The similarity. Its scale is 0 where the source, or the target, is in one place; both centers are at the origin
        where no weight is positive.
    """
    tiny = torch.finfo(torch.float64).tiny
    weight = weight[..., None]
    total = weight.sum(dim=1, keepdim=True)
    total = torch.where(total > 0, total, 1)
    source_center = (source * weight).sum(dim=1, keepdim=True) / total
    target_center = (target * weight).sum(dim=1, keepdim=True) / total
    root = weight.sqrt()
    moved, fixed = (source - source_center) * root, (target - target_center) * root
    u, s, vh = torch.linalg.svd(fixed.mT @ moved)  # (B, D, D)
    sign = torch.ones_like(s)
    if not reflection:
        sign[:, -1] = torch.linalg.det(u @ vh).sign()
    rotation = (u * sign[:, None]) @ vh
    factor = torch.ones_like(s[:, 0])
    if scale:
        spread = moved.square().sum(dim=(1, 2))
        factor = (s * sign).sum(dim=1) / spread.clamp_min(tiny)
    return Alignment(factor, rotation, source_center, target_center)
