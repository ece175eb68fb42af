"""Keypoint mIoU with optimal one-to-one matching, for keypoints that carry no fixed order."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import flat_rows, mean_with_interval
from pcsargmax.metrics.pck import _checked_thresholds, threshold_name


def match_within(distance: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Pair rows with columns one to one: as many pairs within the threshold as can be, the nearest such.

    Args:
        distance: (P, G) distances, finite, any unit.
        threshold: same unit; a pair is within if its distance is ≤.

    Returns:
        row and column (n,) long of the pairs within the threshold.
    """
    from scipy.optimize import linear_sum_assignment

    distance = distance.detach().double().cpu()
    within = distance <= threshold
    # A pair beyond costs more than all pairs within together, so none is kept to save distance.
    beyond = (min(distance.shape, default=0) + 1) * threshold
    row, column = linear_sum_assignment(torch.where(within, distance, beyond).numpy())
    row, column = torch.as_tensor(row), torch.as_tensor(column)
    kept = within[row, column]
    return row[kept], column[kept]


def hungarian_iou(
    prediction: Tensor,
    target: Tensor,
    thresholds: Sequence[float] = (0.1,),
    *,
    visible: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """IoU = TP / (P + G − TP) of P predicted and G annotated keypoints per model, matched one to one.

    TP is the number of pairs within the threshold (Euclidean, ≤) in the best matching (Hungarian method),
    each keypoint in one pair at most. Keypoint ids play no part.

    Args:
        prediction: (B, P, D) positions, raw units.
        target: (B, G, D) annotated positions, same units.
        thresholds: T distances, raw units, positive and ascending.
        visible: (B, G) bool, True where annotated; None: all.
        present: (B, P) bool, True where the keypoint is predicted to exist; None: all.

    Returns:
        (B, T) float64; NaN for a model with neither predictions nor annotations.

    Raises:
        ValueError: shapes that do not agree, masks not bool, or a position in use that is not finite.
    """
    limits = _checked_thresholds(thresholds)
    if (
        prediction.ndim != 3
        or target.ndim != 3
        or prediction.shape[::2] != target.shape[::2]
        or not prediction.shape[2]
    ):
        raise ValueError(
            "prediction and target must be (B, P, D) and (B, G, D), got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    present = _checked_mask("present", present, "prediction", prediction)
    visible = _checked_mask("visible", visible, "target", target)
    rows = [
        _iou(p[has_p], g[has_g], limits)
        for p, has_p, g, has_g in zip(prediction, present, target, visible, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(prediction), len(limits))


def _checked_mask(name: str, mask: Tensor | None, of: str, positions: Tensor) -> Tensor:
    """The mask, all True for None, after checking it against its positions."""
    if mask is None:
        mask = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
    if mask.dtype != torch.bool or mask.shape != positions.shape[:2]:
        raise ValueError(
            f"{name} must be bool of shape {tuple(positions.shape[:2])}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    broken = int((mask & ~positions.isfinite().all(dim=-1)).sum())
    if broken:
        raise ValueError(
            f"{of} must be finite where {name}, got NaN or infinity at {broken} of {int(mask.sum())} keypoints"
        )
    return mask


def _iou(prediction: Tensor, target: Tensor, limits: Sequence[float]) -> list[float]:
    """IoU of prediction (P, D) and target (G, D) within each limit."""
    # Differences, not the matrix product that cdist may use: it cancels far from the origin.
    distance = torch.linalg.vector_norm(prediction[:, None] - target[None], dim=-1)
    matched = [len(match_within(distance, limit)[0]) for limit in limits]
    keypoints = len(prediction) + len(target)
    return [tp / (keypoints - tp) if keypoints else float("nan") for tp in matched]


class KeypointIoU(Metric):
    """Mean over models of the Hungarian-matched IoU, with 95 % bootstrap intervals over models.

    `compute` returns, per threshold, "iou@0.1" and the ends of its interval "iou@0.1/low" and "iou@0.1/high"
    (NaN for a single model), and "num_models"; models with neither predictions nor annotations do not count.

    Args:
        thresholds: raw units, positive and ascending; 0.1 is what published tables use.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_iou: list[Tensor]

    def __init__(self, thresholds: Sequence[float] = (0.1,), num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = _checked_thresholds(thresholds)
        if num_bootstrap < 0:
            raise ValueError(f"num_bootstrap must not be negative, got {num_bootstrap}")
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, so that a process without any model can still be gathered.
        self.add_state("flat_iou", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor, present: Tensor | None = None) -> None:
        """Add models, as in `hungarian_iou`: (B, P, D), (B, G, D), (B, G) bool and (B, P) bool or None."""
        iou = hungarian_iou(prediction, target, self.thresholds, visible=visible, present=present)
        self.flat_iou.append(iou.flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model with a keypoint was given.
        """
        iou = flat_rows(self.flat_iou, len(self.thresholds))
        iou = iou[~iou.isnan().any(dim=1)]
        if not len(iou):
            raise ValueError("KeypointIoU needs at least one model with keypoints, got none")
        names = [f"iou@{threshold_name(t)}" for t in self.thresholds]
        return mean_with_interval(self, names, iou, self.num_bootstrap, self.seed)
