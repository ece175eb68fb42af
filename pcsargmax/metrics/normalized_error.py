"""Normalised mean error (NME) of keypoints in images: the error divided by a length of the face or the object."""

from __future__ import annotations

import torch
from torch import Tensor

#: The outer eye corners of the 68 points that faces are often annotated with.
OUTER_EYE_CORNERS = (36, 45)


def pair_length(target: Tensor, visible: Tensor, pair: tuple[int, int] = OUTER_EYE_CORNERS) -> Tensor:
    """Return the distance between two annotated keypoints of each image, such as the outer eye corners.

    Args:
        target: (B, K, D) annotated positions, pixels.
        visible: (B, K) bool, True where the keypoint is annotated.
        pair: the two keypoints.

    Returns:
        (B,) float64 lengths, pixels; NaN where either is absent.

    Raises:
        ValueError: shapes that do not agree, or a pair that is not two of the K keypoints.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import pair_length
        >>> target = torch.tensor([[[0.0, 0.0], [9.0, 9.0], [3.0, 4.0]]])
        >>> pair_length(target, torch.ones(1, 3, dtype=torch.bool), pair=(0, 2))
        tensor([5.], dtype=torch.float64)
    """
    if target.ndim != 3 or visible.dtype != torch.bool or visible.shape != target.shape[:2]:
        raise ValueError(
            "target and visible must be (B, K, D) and bool (B, K), "
            f"got {tuple(target.shape)} and {visible.dtype} {tuple(visible.shape)}"
        )
    first, second = pair
    if first == second or not all(0 <= k < target.shape[1] for k in pair):
        raise ValueError(f"pair must be two of the {target.shape[1]} keypoints, counted from 0, got {pair}")
    length = torch.linalg.vector_norm((target[:, first] - target[:, second]).double(), dim=-1)
    return length.masked_fill(~(visible[:, first] & visible[:, second]), torch.nan)


def box_length(box: Tensor) -> Tensor:
    """Return the square root of the area of each box, the usual length for faces in profile.

    Args:
        box: (B, 4) x, y, width and height, pixels.

    Returns:
        (B,) float64, pixels.

    Raises:
        ValueError: not (B, 4), or a width or height that is not positive.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import box_length
        >>> box_length(torch.tensor([[10.0, 20.0, 4.0, 9.0]]))
        tensor([6.], dtype=torch.float64)
    """
    if box.ndim != 2 or box.shape[1] != 4:
        raise ValueError(f"box must be (B, 4): x, y, width and height, got {tuple(box.shape)}")
    size = box[:, 2:].double()
    if not (size > 0).all():
        raise ValueError(f"box must have positive widths and heights, got {box[~(size > 0).all(dim=1)][0].tolist()}")
    return size.prod(dim=1).sqrt()


def normalized_errors(errors: Tensor, length: Tensor) -> Tensor:
    """Return the NME of each image: the mean error of its visible keypoints divided by its length.

    Args:
        errors: (B, K) as `keypoint_errors` gives them, pixels, NaN where absent.
        length: (B,) pixels, positive; NaN where it is not known.

    Returns:
        (B,) float64 shares of the length; NaN where nothing is visible or the length is not known.

    Raises:
        ValueError: shapes that do not agree, or a length that is zero, negative or infinite.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import normalized_errors
        >>> normalized_errors(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([20.0]))
        tensor([0.1000], dtype=torch.float64)
    """
    if errors.ndim != 2 or length.shape != errors.shape[:1]:
        raise ValueError(f"errors and length must be (B, K) and (B,), got {tuple(errors.shape)}, {tuple(length.shape)}")
    wrong = length[~((length > 0) & length.isfinite()) & ~length.isnan()]
    if len(wrong):
        raise ValueError(f"length must be positive and finite, got {wrong[0].item()} ({len(wrong)} of {len(length)})")
    return errors.double().nanmean(dim=1) / length.double()
