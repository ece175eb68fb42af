"""Repeatability: whether a detector finds the same keypoints on a perturbed copy of a cloud (see `perturbations`).

A collapsed detector is perfectly repeatable, so read it beside the spacing of the keypoints (`Coverage`, `DAS`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcsargmax.metrics.pck import checked_thresholds


def movement(preds: Tensor, target: Tensor, *, ordered: bool = True) -> Tensor:
    """Return the distance of each keypoint on a copy to its position on the original.

    Args:
        preds: (B, K, 3) keypoints found on the copies.
        target: (B, K, 3) keypoints of the originals, moved along with the copies.
        ordered: to the keypoint of the same index, not to the nearest of any index.

    Returns:
        (B, K) float64, the unit of the positions.

    Raises:
        ValueError: shapes that do not agree, or positions that are not finite.
    """
    if preds.ndim != 3 or preds.shape != target.shape or preds.shape[2] != 3 or not preds.shape[1]:
        raise ValueError(
            f"preds and target must both be (B, K, 3), K at least 1, got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    for name, positions in (("preds", preds), ("target", target)):
        broken = int((~positions.isfinite().all(dim=-1)).sum())
        if broken:
            raise ValueError(f"{name} must be finite, got NaN or infinity at {broken} keypoints")
    preds, target = preds.double(), target.double()
    if ordered:
        return torch.linalg.vector_norm(preds - target, dim=-1)
    return torch.linalg.vector_norm(preds[:, :, None] - target[:, None], dim=-1).amin(dim=2)


def repeatability(
    preds: Tensor, target: Tensor, thresholds: Sequence[float] = (0.05, 0.1), *, ordered: bool = True
) -> Tensor:
    """Return the share of the keypoints on a copy that lie within a threshold (≤) of their position on the original.

    Args:
        preds: (B, K, 3) keypoints found on the copies.
        target: (B, K, 3) keypoints of the originals, moved along with the copies.
        thresholds: T distances, the unit of the positions, positive and ascending.
        ordered: keypoint k of the copy must lie at keypoint k of the original. False, as for detectors of points
            without order (USIP, Li and Lee, ICCV 2019): at any keypoint of the original.

    Returns:
        (B, T) float64.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import repeatability
        >>> target = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
        >>> preds = torch.tensor([[[0.0, 0.0, 0.07], [0.02, 0.0, 0.0]]])
        >>> repeatability(preds, target, (0.05, 0.1))
        tensor([[0.0000, 0.5000]], dtype=torch.float64)
        >>> repeatability(preds, target, (0.05, 0.1), ordered=False)
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    limits = torch.tensor(checked_thresholds(thresholds), dtype=torch.float64, device=target.device)
    return (movement(preds, target, ordered=ordered)[..., None] <= limits).double().mean(dim=1)


def repeatability_values(preds: Tensor, target: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return all of these metrics of each copy; arguments as of `repeatability`.

    Returns:
        (B, 2 T + 1) float64: repeatability at each threshold, ordered and not, and the mean movement.
    """
    columns = [repeatability(preds, target, thresholds, ordered=ordered) for ordered in (True, False)]
    return torch.cat([*columns, movement(preds, target).mean(dim=1, keepdim=True)], dim=1)
