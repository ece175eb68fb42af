"""Names for discovered keypoints: each is matched to an annotated one over a training split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from pcsargmax.metrics.alignment import nearest_labels


@dataclass(frozen=True)
class Correspondence:
    """Annotated keypoint that corresponds to each of K discovered ones.

    Attributes:
        ids: (K,) channel of the annotated keypoint, None without a match.
        names: (K,) its name, None without a match.
        agreement: (K,) share of the models with this annotation on which both are nearest to one another; 0
            without a match.
        distance: (K,) mean distance to it, the unit of the positions; NaN without a match.

    Example:
        >>> from pcsargmax import Correspondence
        >>> found = Correspondence((1, None), ("tip", None), agreement=(0.9, 0.0), distance=(0.1, float("nan")))
        >>> found.to_dict()
        {'ids': [1, None], 'names': ['tip', None], 'agreement': [0.9, 0.0], 'distance': [0.1, None]}
        >>> Correspondence.from_dict(found.to_dict()).names
        ('tip', None)
    """

    ids: tuple[int | None, ...]
    names: tuple[str | None, ...]
    agreement: tuple[float, ...]
    distance: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists for JSON, None for NaN; `from_dict` reads them back."""
        distance = [None if i is None else d for i, d in zip(self.ids, self.distance, strict=True)]
        return {
            "ids": list(self.ids),
            "names": list(self.names),
            "agreement": list(self.agreement),
            "distance": distance,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the correspondence that `to_dict` wrote.

        Raises:
            ValueError: keys that are missing or unknown, or lists of unequal length.
        """
        keys = ("ids", "names", "agreement", "distance")
        if set(values) != set(keys):
            raise ValueError(f"a correspondence must have the keys {', '.join(keys)}, got {sorted(values)}")
        lengths = {key: len(values[key]) for key in keys}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the lists of a correspondence must be equally long, got {lengths}")
        distance = tuple(float("nan") if d is None else d for d in values["distance"])
        return cls(tuple(values["ids"]), tuple(values["names"]), tuple(values["agreement"]), distance)


def match_keypoints(
    preds: Tensor,
    target: Tensor,
    visible: Tensor,
    *,
    names: Sequence[str] | None = None,
    by: Literal["agreement", "distance"] = "agreement",
    min_agreement: float = 0.5,
) -> Correspondence:
    """Match discovered to annotated keypoints one to one, by the Hungarian method over all models.

    By "agreement" the matching has the largest sum of counts: models on which the annotation is the nearest to the
    keypoint and the keypoint the nearest to the annotation, the two directions of DAS at once. By "distance" it
    has the smallest sum of mean distances. Use the training split: names chosen on the test split are optimistic.

    Args:
        preds: (M, K, D) discovered keypoints.
        target: (M, G, D) annotations, same frame.
        visible: (M, G) bool, True where the model has the annotation.
        names: G distinct names of the annotated keypoints; None: their channels as text.
        by: criterion of the matching.
        min_agreement: smallest agreement of a match; any pair must agree at least once.

    Returns:
        The correspondence. An annotation that no model has is never matched, and with K above G some keypoints remain
        without a name.

    Raises:
        ValueError: names of the wrong number or repeated, no annotated model, settings out of range, or as in
            `pcsargmax.metrics.alignment.nearest_labels`.

    Example:
        >>> import torch
        >>> from pcsargmax import match_keypoints
        >>> target = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]).expand(3, 2, 2)
        >>> preds = target.flip(1) + 0.1  # keypoint 0 lies next to annotation 1, and the other way round
        >>> match_keypoints(preds, target, torch.ones(3, 2, dtype=torch.bool), names=["base", "tip"]).names
        ('tip', 'base')
    """
    from scipy.optimize import linear_sum_assignment

    nearest = nearest_labels(preds, target, visible)
    labels = _checked_names(names, target.shape[1])
    if by not in ("agreement", "distance"):
        raise ValueError(f'by must be "agreement" or "distance", got {by!r}')
    if not 0 <= min_agreement <= 1:
        raise ValueError(f"min_agreement must lie between 0 and 1, got {min_agreement}")
    if not visible.any():
        raise ValueError(f"visible must mark at least one annotation, got none in {len(visible)} models")
    known = visible.any(dim=0).nonzero().squeeze(1).cpu()
    counts = _mutual_counts(nearest.ids, nearest.keypoints).cpu()
    seen = visible.sum(dim=0).double().cpu()
    distance = _mean_distance(preds, target, visible).cpu()
    cost = -counts[:, known] if by == "agreement" else distance[:, known]
    rows, columns = linear_sum_assignment(cost.numpy())
    pairs = zip(rows.tolist(), known[torch.as_tensor(columns)].tolist(), strict=True)
    found = {k: g for k, g in pairs if counts[k, g] >= max(min_agreement * float(seen[g]), 1)}
    ids = tuple(found.get(k) for k in range(preds.shape[1]))
    return Correspondence(
        ids,
        tuple(None if g is None else labels[g] for g in ids),
        tuple(0.0 if g is None else float(counts[k, g] / seen[g]) for k, g in enumerate(ids)),
        tuple(float("nan") if g is None else float(distance[k, g]) for k, g in enumerate(ids)),
    )


def _mutual_counts(ids: Tensor, keypoints: Tensor) -> Tensor:
    """Models on which keypoint k and annotation g are nearest to one another: (K, G) float64.

    Args:
        ids: (M, K) nearest annotation of each keypoint, −1 for none.
        keypoints: (M, G) nearest keypoint of each annotation, −1 for none.
    """
    forward = ids[..., None] == torch.arange(keypoints.shape[1], device=ids.device)
    backward = keypoints[:, None] == torch.arange(ids.shape[1], device=ids.device)[:, None]
    return (forward & backward).sum(dim=0).double()


def _mean_distance(preds: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """Mean distance (K, G), float64, of each keypoint to each annotation over the models that have it, else NaN."""
    offset = preds.double()[:, :, None] - target.double()[:, None]
    distance = torch.linalg.vector_norm(offset, dim=-1).masked_fill(~visible[:, None], 0)
    return distance.sum(dim=0) / visible.sum(dim=0)


def _checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(g) for g in range(count))
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"names must be {count} distinct names, one for each annotated keypoint, got {list(names)}")
    return tuple(names)
