"""Keypoint mIoU by three protocols, for keypoints without a fixed order.

Each is Σ numerator / Σ denominator over models of P predicted and G annotated keypoints:

    "hungarian"        TP / (P + G − TP) over 1: the mean of the models' IoU, keypoints matched one to one
    "skeleton-merger"  (G − FN) over (G + FP): FN annotations without a prediction within the threshold, FP predictions
                       without an annotation, several to one allowed; predictions snapped to the cloud
    "keypointnet"      the same of geodesic distances, the predictions being all points above a probability

The last two pool the keypoints of all models. A prediction may serve many annotations there and the other way round, so
ten predictions in one place cost nothing; and FN and FP are counted apart, so the value is no intersection over union.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pcsargmax.metrics.pck import checked_thresholds

IouProtocol = Literal["hungarian", "skeleton-merger", "keypointnet"]

#: The probability above which a point is predicted to be a keypoint, in KeypointNet's own benchmark.
SALIENT = 0.1


def match_within(distance: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Pair rows with columns one to one: as many pairs within the threshold as possible, of the least total distance.

    Args:
        distance: (P, G) distances, not NaN, any unit.
        threshold: same unit; a pair is within if its distance is ≤.

    Returns:
        row and column (n,) long of the pairs within the threshold.
    """
    from scipy.optimize import linear_sum_assignment

    distance = distance.detach().cpu()
    within = distance <= threshold  # in the type of the distances: a float32 0.05 is above a float64 one
    distance = distance.double()
    # A pair beyond costs more than all pairs within together, so none is kept to save distance.
    beyond = (min(distance.shape, default=0) + 1) * threshold
    row, column = linear_sum_assignment(torch.where(within, distance, beyond).numpy())
    row, column = torch.as_tensor(row), torch.as_tensor(column)
    kept = within[row, column]
    return row[kept], column[kept]


def hungarian_iou(
    preds: Tensor,
    target: Tensor,
    visible: Tensor | None = None,
    present: Tensor | None = None,
    *,
    thresholds: Sequence[float] = (0.1,),
) -> Tensor:
    """Return IoU = TP / (P + G − TP) of P predicted and G annotated keypoints per model, matched one to one.

    TP is the number of pairs within the threshold (Euclidean, ≤) in the best matching (Hungarian method),
    each keypoint in one pair at most. Keypoint ids play no part.

    Args:
        preds: (B, P, D) positions, raw units.
        target: (B, G, D) annotated positions, same units.
        visible: (B, G) bool, True where annotated; None: all.
        present: (B, P) bool, True where the keypoint is predicted to exist; None: all.
        thresholds: T distances, raw units, positive and ascending.

    Returns:
        (B, T) float64; NaN for a model with neither predictions nor annotations.

    Raises:
        ValueError: shapes that do not agree, masks not bool, or a position in use that is not finite.

    Example:
        >>> import torch
        >>> from pcsargmax.metrics import hungarian_iou
        >>> preds = torch.tensor([[[0.0, 0.0], [5.0, 0.0]]])
        >>> target = torch.tensor([[[0.1, 0.0], [9.0, 0.0]]])
        >>> hungarian_iou(preds, target, thresholds=(0.2, 4.0))  # 1 / (2 + 2 − 1) and 2 / (2 + 2 − 2)
        tensor([[0.3333, 1.0000]], dtype=torch.float64)
    """
    terms = [iou_terms(distance, thresholds) for distance in pairwise_distances(preds, target, visible, present)]
    numerator, denominator = (torch.stack(terms) if terms else _no_terms(thresholds)).unbind(dim=-1)
    return numerator / denominator


def keypoint_iou(
    distances: Sequence[Tensor], thresholds: Sequence[float] = (0.1,), protocol: IouProtocol = "hungarian"
) -> Tensor:
    """Return the mIoU of models by one of three protocols; see the module.

    Args:
        distances: of each model (P, G), from each predicted to each annotated keypoint, in one unit: Euclidean
            (`pairwise_distances`), of "skeleton-merger" between cloud points, of "keypointnet" along the cloud
            (`CloudGraph`), infinite where there is no way.
        thresholds: T distances, same unit, positive and ascending; within is ≤, in the published codes too.
        protocol: "hungarian", "skeleton-merger" (Shi et al., CVPR 2021) or "keypointnet" (You et al., CVPR 2020).

    Returns:
        (T,) float64, 0 to 1; NaN without any keypoint.

    Raises:
        ValueError: an unknown protocol, or distances that are not (P, G), NaN or negative.

    Example:
        Two predictions at one annotation, while another is missed:

        >>> import torch
        >>> from pcsargmax.metrics import keypoint_iou
        >>> distances = [torch.tensor([[0.0, 5.0], [0.0, 5.0]])]
        >>> keypoint_iou(distances), keypoint_iou(distances, protocol="skeleton-merger")  # 1 / 3 and 1 / 2
        (tensor([0.3333], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    terms = [iou_terms(distance, thresholds, protocol) for distance in distances]
    numerator, denominator = (torch.stack(terms) if terms else _no_terms(thresholds)).sum(dim=0).unbind(dim=-1)
    return numerator / denominator


def iou_terms(distance: Tensor, thresholds: Sequence[float], protocol: IouProtocol = "hungarian") -> Tensor:
    """Return the contributions of a model to numerator and denominator of the mIoU: (P, G) distances -> (T, 2) float64.

    Both are 0 for a model that has neither predictions nor annotations; see `keypoint_iou`.
    """
    limits = checked_thresholds(thresholds)
    checked_protocol(protocol)
    if distance.ndim != 2 or distance.isnan().any() or (distance < 0).any():
        raise ValueError(
            f"distances must be (P, G) for each model, none NaN or negative, got {tuple(distance.shape)} "
            f"with {int((distance.isnan() | (distance < 0)).sum())} such"
        )
    predicted, annotated = distance.shape
    if protocol == "hungarian":
        matched = [len(match_within(distance, limit)[0]) for limit in limits]
        keypoints = predicted + annotated
        rows = [(tp / (keypoints - tp), 1.0) if keypoints else (0.0, 0.0) for tp in matched]
    else:
        within = [distance <= limit for limit in limits]
        found = [int(near.any(dim=0).sum()) for near in within]  # G − FN
        false = [predicted - int(near.any(dim=1).sum()) for near in within]
        rows = [(hits, annotated + wrong) for hits, wrong in zip(found, false, strict=True)]
    return torch.tensor(rows, dtype=torch.float64)


def pairwise_distances(
    preds: Tensor, target: Tensor, visible: Tensor | None = None, present: Tensor | None = None
) -> list[Tensor]:
    """Return the Euclidean distances of each model from the keypoints predicted to exist to those annotated.

    Args:
        preds: (B, P, D) positions.
        target: (B, G, D) annotated positions, same units.
        visible: (B, G) bool, True where annotated; None: all.
        present: (B, P) bool, True where the keypoint is predicted to exist; None: all.

    Returns:
        B matrices (P′, G′) of those that are there.

    Raises:
        ValueError: as in `hungarian_iou`.
    """
    if preds.ndim != 3 or target.ndim != 3 or preds.shape[::2] != target.shape[::2] or not preds.shape[2]:
        raise ValueError(
            f"preds and target must be (B, P, D) and (B, G, D), got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    present = _checked_mask("present", present, "preds", preds)
    visible = _checked_mask("visible", visible, "target", target)
    # Differences, not the matrix product that cdist may use: it cancels far from the origin.
    return [
        torch.linalg.vector_norm(p[has_p][:, None] - g[has_g][None], dim=-1)
        for p, has_p, g, has_g in zip(preds, present, target, visible, strict=True)
    ]


def saliency(probability: Tensor, presence: Tensor | None = None) -> Tensor:
    """Return the probability that some keypoint lies at each point, 1 − Π (1 − presence · probability).

    KeypointNet's benchmark has a network that tells keypoints from other points, with one number per point. A map per
    keypoint gives such a number too, keypoints being independent of one another given the cloud; but each map sums to 1
    over the points, so wide maps may nowhere exceed `SALIENT` where that network would.

    Args:
        probability: (K, N) a map per keypoint, each summing to 1.
        presence: (K,) probability that the keypoint exists; None: 1.

    Returns:
        (N,) float64, 0 to 1.
    """
    if probability.ndim != 2 or (presence is not None and presence.shape != probability.shape[:1]):
        raise ValueError(
            f"probability and presence must be (K, N) and (K,), got {tuple(probability.shape)} "
            f"and {None if presence is None else tuple(presence.shape)}"
        )
    there = probability.double()
    if presence is not None:
        there = there * presence.double()[:, None]
    return 1 - (1 - there).prod(dim=0)


def salient_points(saliency: Tensor, threshold: float = SALIENT) -> Tensor:
    """Rows of the points whose `saliency` (N,) is above (>) a threshold, as in KeypointNet's benchmark: (S,) long."""
    return (saliency > threshold).nonzero().squeeze(1)


def _no_terms(thresholds: Sequence[float]) -> Tensor:
    return torch.zeros(0, len(checked_thresholds(thresholds)), 2, dtype=torch.float64)


def checked_protocol(protocol: IouProtocol) -> IouProtocol:
    """Return the protocol; raise ValueError unless it is one of the three."""
    if protocol not in get_args(IouProtocol):
        raise ValueError(f"protocol must be one of {', '.join(get_args(IouProtocol))}, got {protocol!r}")
    return protocol


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
