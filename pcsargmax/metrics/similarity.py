"""Object keypoint similarity (OKS), COCO's measure of poses.

OKS maps the distance of a keypoint to 0 to 1 by the size of the object and a width for each keypoint. `CocoKeypointAP`
is COCO's average precision over it, `OksCorrelation` its correlation with confidence.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcsargmax.metrics.pck import keypoint_errors

#: COCO's width of each of its 17 keypoints, in shares of the object's size: nose, eyes, ears, shoulders, elbows,
#: wrists, hips, knees, ankles, left before right (Lin et al. 2014; the data set's evaluation).
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


def keypoint_similarity(
    preds: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Sequence[float] = COCO_SIGMAS
) -> Tensor:
    """Return exp(−d² / (2 · area · (2σ)²)) of each keypoint: 1 in place, 0.61 at a distance of 2σ · √area.

    Args:
        preds: (B, K, 2) positions, pixels.
        target: (B, K, 2) annotated positions; what stands at absent keypoints is ignored.
        visible: (B, K) bool, True where the keypoint is annotated, seen or hidden.
        area: (B,) of the objects, pixels² (COCO: of the segment, not of the box), positive.
        sigmas: K widths, positive.

    Returns:
        (B, K) float64, 0 to 1, NaN where the keypoint is absent.

    Raises:
        ValueError: shapes that do not agree, a visible position that is not finite, or an area or width that is not
            positive.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import keypoint_similarity
        >>> preds, target = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.zeros(1, 2, 2)
        >>> visible, area = torch.tensor([[True, True]]), torch.tensor([25.0])
        >>> keypoint_similarity(preds, target, visible, area, sigmas=(0.5, 0.5))  # 1 and exp(−1 / 2)
        tensor([[1.0000, 0.6065]], dtype=torch.float64)
    """
    distance = keypoint_errors(preds.double(), target.double(), visible)
    widths = checked_sigmas(sigmas, distance.shape[1])
    if area.shape != distance.shape[:1]:
        raise ValueError(f"area must be ({len(distance)},), got {tuple(area.shape)}")
    broken = ~((area > 0) & area.isfinite())
    if broken.any():
        raise ValueError(f"area must be positive, got {area[broken][0].item()} of item {int(broken.nonzero()[0])}")
    variance = 4 * distance.new_tensor(widths).square()
    return torch.exp(-distance.square() / (2 * area.double()[:, None] * variance))


def oks(preds: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Sequence[float] = COCO_SIGMAS) -> Tensor:
    """Return the object keypoint similarity: the mean of `keypoint_similarity` over the visible keypoints.

    Returns:
        (B,) float64, 0 to 1, NaN for an item without any. Arguments and errors as of `keypoint_similarity`.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import oks
        >>> preds, target = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.zeros(1, 2, 2)
        >>> visible, area = torch.tensor([[True, True]]), torch.tensor([25.0])
        >>> oks(preds, target, visible, area, sigmas=(0.5, 0.5))
        tensor([0.8033], dtype=torch.float64)
    """
    return keypoint_similarity(preds, target, visible, area, sigmas).nanmean(dim=1)


def checked_sigmas(sigmas: Sequence[float], num_keypoints: int) -> tuple[float, ...]:
    """Return the widths as numbers; raise ValueError unless there is a positive one for each keypoint."""
    widths = tuple(float(sigma) for sigma in sigmas)
    if len(widths) != num_keypoints or not all(0 < sigma < float("inf") for sigma in widths):
        raise ValueError(
            f"sigmas must be {num_keypoints} positive widths, one per keypoint, got {len(widths)}: {widths}"
        )
    return widths
