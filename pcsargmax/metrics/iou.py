"""Keypoint mIoU by three protocols, for keypoints that carry no fixed order.

Each is Σ numerator / Σ denominator over models of P predicted and G annotated keypoints:

    "hungarian"        TP / (P + G − TP) over 1: the mean of the models' IoU, keypoints matched one to one
    "skeleton-merger"  (G − FN) over (G + FP): FN annotations without a prediction within the threshold, FP predictions
                       without an annotation, several to one allowed; predictions snapped to the cloud
    "keypointnet"      the same of geodesic distances, the predictions being all points above a probability

The last two pool the keypoints of all models. A prediction may serve many annotations there and the other way round, so
ten predictions in one place cost nothing; and FN and FP are counted apart, so the figure is no intersection over union.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import bootstrap_interval, check_num_bootstrap, flat_rows
from pcsargmax.metrics.pck import checked_thresholds, count_update, threshold_name

IouProtocol = Literal["hungarian", "skeleton-merger", "keypointnet"]

#: The probability above which a point is predicted to be a keypoint, in KeypointNet's own benchmark.
SALIENT = 0.1


def match_within(distance: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Pair rows with columns one to one: as many pairs within the threshold as can be, the nearest such.

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
    terms = [iou_terms(distance, thresholds) for distance in pairwise_distances(prediction, target, visible, present)]
    numerator, denominator = (torch.stack(terms) if terms else _no_terms(thresholds)).unbind(dim=-1)
    return numerator / denominator


def keypoint_iou(
    distances: Sequence[Tensor], thresholds: Sequence[float] = (0.1,), protocol: IouProtocol = "hungarian"
) -> Tensor:
    """mIoU of models by one of three protocols; see the head of this file.

    Args:
        distances: of each model (P, G), from each predicted to each annotated keypoint, in one unit: Euclidean
            (`pairwise_distances`), of "skeleton-merger" between cloud points, of "keypointnet" along the cloud
            (`CloudGraph`), infinite where there is no way.
        thresholds: T distances, same unit, positive and ascending; within is ≤, in the published codes too.
        protocol: "hungarian", "skeleton-merger" (Shi et al., CVPR 2021) or "keypointnet" (You et al., CVPR 2020).

    Returns:
        (T,) float64, 0 to 1; NaN without any keypoint.

    Raises:
        ValueError: an unknown protocol, or distances that are no (P, G), NaN or negative.
    """
    terms = [iou_terms(distance, thresholds, protocol) for distance in distances]
    numerator, denominator = (torch.stack(terms) if terms else _no_terms(thresholds)).sum(dim=0).unbind(dim=-1)
    return numerator / denominator


def iou_terms(distance: Tensor, thresholds: Sequence[float], protocol: IouProtocol = "hungarian") -> Tensor:
    """What one model adds to numerator and denominator of the mIoU: (P, G) distances -> (T, 2) float64.

    Both are 0 for a model that has neither predictions nor annotations; see `keypoint_iou`.
    """
    limits = checked_thresholds(thresholds)
    _check_protocol(protocol)
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
    prediction: Tensor, target: Tensor, visible: Tensor | None = None, present: Tensor | None = None
) -> list[Tensor]:
    """Euclidean distances of each model from the keypoints predicted to exist to those annotated.

    Args:
        prediction: (B, P, D) positions.
        target: (B, G, D) annotated positions, same units.
        visible: (B, G) bool, True where annotated; None: all.
        present: (B, P) bool, True where the keypoint is predicted to exist; None: all.

    Returns:
        B matrices (P′, G′) of those that are there.

    Raises:
        ValueError: as in `hungarian_iou`.
    """
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
    # Differences, not the matrix product that cdist may use: it cancels far from the origin.
    return [
        torch.linalg.vector_norm(p[has_p][:, None] - g[has_g][None], dim=-1)
        for p, has_p, g, has_g in zip(prediction, present, target, visible, strict=True)
    ]


def saliency(probability: Tensor, presence: Tensor | None = None) -> Tensor:
    """Probability of each point that some keypoint is there, 1 − Π (1 − presence · probability).

    KeypointNet's benchmark has a network that tells keypoints from other points, one number a point. A map per keypoint
    gives such a number too, keypoints being independent of one another given the cloud; but each map sums to 1 over
    the points, so wide maps may be nowhere above `SALIENT` where that network would be.

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


def _check_protocol(protocol: str) -> None:
    if protocol not in get_args(IouProtocol):
        raise ValueError(f"protocol must be one of {', '.join(get_args(IouProtocol))}, got {protocol!r}")


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


class KeypointIoU(Metric):
    """mIoU of keypoints without order, with 95 % bootstrap intervals over models.

    `compute` returns, per threshold, "iou@0.1" and the ends of its interval "iou@0.1/low" and "iou@0.1/high"
    (NaN for a single model), and "num_models"; models with neither predictions nor annotations do not count.

    Args:
        thresholds: raw units, positive and ascending; 0.1 is what published tables use.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
        protocol: "hungarian", "skeleton-merger" or "keypointnet"; see `keypoint_iou`.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_terms: list[Tensor]

    def __init__(
        self,
        thresholds: Sequence[float] = (0.1,),
        num_bootstrap: int = 1000,
        seed: int = 0,
        protocol: IouProtocol = "hungarian",
    ) -> None:
        """See the class."""
        super().__init__()
        self.thresholds = checked_thresholds(thresholds)
        check_num_bootstrap(num_bootstrap)
        _check_protocol(protocol)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        self.protocol: IouProtocol = protocol
        # Flat, so that a process without any model can still be gathered.
        self.add_state("flat_terms", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor, present: Tensor | None = None) -> None:
        """Add models, Euclidean: (B, P, D), (B, G, D), (B, G) bool and (B, P) bool or None.

        The protocols "skeleton-merger" and "keypointnet" mean cloud points, so predictions are to be snapped first.
        """
        self._add(pairwise_distances(prediction, target, visible, present))

    def update_distances(self, distances: Sequence[Tensor]) -> None:
        """Add models by distances (P, G) of their keypoints, e.g. along the cloud; see `keypoint_iou`."""
        count_update(self)
        self._add(distances)

    def _add(self, distances: Sequence[Tensor]) -> None:
        terms = [iou_terms(distance, self.thresholds, self.protocol) for distance in distances]
        flat = torch.cat([term.flatten() for term in terms]) if terms else torch.empty(0)
        self.flat_terms.append(flat.to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model with a keypoint was given.
        """
        terms = flat_rows(self.flat_terms, 2 * len(self.thresholds)).unflatten(1, (-1, 2))  # (M, T, 2)
        numerator, denominator = terms[terms.any(dim=2).any(dim=1)].unbind(dim=2)
        if not len(numerator):
            raise ValueError("KeypointIoU needs at least one model with keypoints, got none")
        names = [f"iou@{threshold_name(t)}" for t in self.thresholds]
        result = dict(zip(names, numerator.sum(dim=0) / denominator.sum(dim=0), strict=True))
        if self.num_bootstrap:
            low, high = bootstrap_interval(numerator, denominator, num=self.num_bootstrap, seed=self.seed)
            for i, name in enumerate(names):
                result |= {f"{name}/low": low[i], f"{name}/high": high[i]}
        result = {key: value.to(self.device, self.dtype) for key, value in result.items()}
        return result | {"num_models": torch.tensor(len(numerator), device=self.device)}
