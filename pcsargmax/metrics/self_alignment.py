"""SC3K's DAS: does keypoint k lie where keypoint k lies on other shapes? No annotation is needed.

This is what SC3K's published code (Zohaib and Del Bue, ICCV 2023) calls DAS; it shares the name of Skeleton Merger's
score, but asks something else, and figures of the two do not compare. Keypoints of one model are held against those
of another in one frame, so the shapes must be aligned and alike. Keypoints that stand in the same places whatever the
shape get 1; K of them in one place get about 1 / K.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import (
    bootstrap_interval,
    check_num_bootstrap,
    flat_rows,
    percentile_interval,
    resample_weights,
)
from pcsargmax.metrics.coverage import checked_cloud_mask, cloud_radius


def index_agreement(keypoints: Tensor) -> Tensor:
    """Share of the keypoints of one model whose nearest keypoint on another has the same index.

    Args:
        keypoints: (M, K, D) of M models in one frame.

    Returns:
        (M, M) float64: row a, column b is the share of a's keypoints that find their own index on b; the lowest index
        among equally near ones is taken.

    Raises:
        ValueError: keypoints not (M, K, D), K at least 1, or not finite.
    """
    if keypoints.ndim != 3 or not all(keypoints.shape[1:]):
        raise ValueError(f"keypoints must be (M, K, D), K at least 1, got {tuple(keypoints.shape)}")
    broken = int((~keypoints.isfinite().all(dim=-1)).sum())
    if broken:
        raise ValueError(f"keypoints must be finite, got NaN or infinity at {broken} of them")
    keypoints = keypoints.double()
    own = torch.arange(keypoints.shape[1], device=keypoints.device)
    rows = []
    for reference in keypoints:  # one at a time: all pairs at once would take M² K² numbers
        offset = reference[None, :, None] - keypoints[:, None]  # (M, K, K, D)
        nearest = torch.linalg.vector_norm(offset, dim=-1).argmin(dim=2)
        rows.append((nearest == own).double().mean(dim=1))
    return torch.stack(rows) if rows else keypoints.new_empty(0, 0)


def into_unit_ball(keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> Tensor:
    """Keypoints in SC3K's frame: the mean of the cloud's points at the origin, the farthest of them at distance 1.

    Args:
        keypoints: (B, K, 3) positions.
        cloud: (B, N, 3) points, same unit.
        mask: (B, N) bool, True for the points of the cloud, False for padding; None: all.

    Returns:
        (B, K, 3) float64.

    Raises:
        ValueError: shapes that do not agree, positions that are not finite, or a cloud without extent.
    """
    mask = checked_cloud_mask(keypoints, cloud, mask)
    total = cloud.double().masked_fill(~mask[..., None], 0).sum(dim=1, keepdim=True)
    mean = total / mask.sum(dim=1)[:, None, None]
    return (keypoints.double() - mean) / cloud_radius(cloud, mask)[:, None, None]


class SelfAlignment(Metric):
    """SC3K's DAS, with 95 % bootstrap intervals over models.

    Their code takes the keypoints of the first model as a reference, finds the nearest keypoint of every other model to
    each, and counts how often it has the same index. What comes out hangs on which model is first, so the mean over all
    references stands beside it.

    `compute` returns tensors, 0 to 1, NaN for a single model:

    - "das_sc3k": as published, the first model given being the reference; over processes the first of the first;
    - "das_sc3k_all": mean over the ordered pairs of two models;
    - the same with "/low" and "/high"; of "das_sc3k" over the other models, the reference being kept. Of
      "das_sc3k_all" a model drawn twice is paired with the others twice, never with its own copy;
    - "num_models".

    Args:
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    flat_keypoints: list[Tensor]
    num_keypoints: Tensor

    def __init__(self, num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        check_num_bootstrap(num_bootstrap)
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        # Flat, with the number of keypoints apart: a process without any model can then still be gathered.
        self.add_state("flat_keypoints", default=[], dist_reduce_fx="cat")
        self.add_state("num_keypoints", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, keypoints: Tensor, cloud: Tensor, mask: Tensor | None = None) -> None:
        """Add models: keypoints (B, K, 3), cloud (B, N, 3), same unit, and mask (B, N) bool or None."""
        keypoints, cloud = keypoints.detach().cpu(), cloud.detach().cpu()
        placed = into_unit_ball(keypoints, cloud, None if mask is None else mask.cpu())
        before = int(self.num_keypoints)
        if before not in (0, placed.shape[1]):
            raise ValueError(f"keypoints must be {before} for each model as before, got {placed.shape[1]}")
        self.num_keypoints.fill_(placed.shape[1])
        self.flat_keypoints.append(placed.flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no model was given.
        """
        width = 3 * max(int(self.num_keypoints), 1)
        rows = flat_rows(self.flat_keypoints, width)
        if not len(rows):
            raise ValueError("SelfAlignment needs at least one model, got none")
        agreement = index_agreement(rows.reshape(len(rows), -1, 3))
        result = {
            "das_sc3k": agreement[0, 1:].mean(),
            "das_sc3k_all": _over_pairs(agreement, torch.ones(len(rows), dtype=torch.float64)),
        }
        result |= self._intervals(agreement)
        result = {key: value.to(self.device, self.dtype) for key, value in result.items()}
        return result | {"num_models": torch.tensor(len(rows), device=self.device)}

    def _intervals(self, agreement: Tensor) -> dict[str, Tensor]:
        if not self.num_bootstrap:
            return {}
        first = all_pairs = (torch.tensor(torch.nan), torch.tensor(torch.nan))
        if len(agreement) > 2:
            first = bootstrap_interval(agreement[0, 1:], num=self.num_bootstrap, seed=self.seed)
            weights = resample_weights(len(agreement), self.num_bootstrap, seed=self.seed)
            all_pairs = percentile_interval(_over_pairs(agreement, weights))
        named = {"das_sc3k": first, "das_sc3k_all": all_pairs}
        return {f"{name}/{end}": pair[i] for name, pair in named.items() for i, end in enumerate(("low", "high"))}


def _over_pairs(agreement: Tensor, weights: Tensor) -> Tensor:
    """Mean of agreement (M, M) over the ordered pairs of two models, weights (M,) or (R, M): () or (R,)."""
    apart = agreement - torch.diag(agreement.diagonal())
    pairs = weights.sum(dim=-1).square() - weights.square().sum(dim=-1)
    return ((weights @ apart) * weights).sum(dim=-1) / pairs
