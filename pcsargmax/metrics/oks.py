"""Object keypoint similarity (OKS), what COCO measures poses by, and how far confidence goes with it.

OKS turns the distance of a keypoint into 0 to 1 by the size of the object and a width for each keypoint. COCO's average
precision over it is `CocoKeypointAP`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import check_num_bootstrap, flat_rows, percentile_interval
from pcsargmax.metrics.calibration import case_weights, pearson, spearman
from pcsargmax.metrics.pck import keypoint_errors

#: COCO's width of each of its 17 keypoints, in shares of the object's size: nose, eyes, ears, shoulders, elbows,
#: wrists, hips, knees, ankles, left before right (Lin et al. 2014; the data set's evaluation).
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


def keypoint_similarity(
    prediction: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Sequence[float] = COCO_SIGMAS
) -> Tensor:
    """exp(−d² / (2 · area · (2σ)²)) of each keypoint: 1 in place, 0.61 at a distance of 2σ · √area.

    Args:
        prediction: (B, K, 2) positions, pixels.
        target: (B, K, 2) annotated positions; what stands at absent keypoints is ignored.
        visible: (B, K) bool, True where the keypoint is annotated, seen or hidden.
        area: (B,) of the objects, pixels² (COCO: of the segment, not of the box), positive.
        sigmas: K widths, positive.

    Returns:
        (B, K) float64, 0 to 1, NaN where the keypoint is absent.

    Raises:
        ValueError: shapes that do not agree, a visible position that is not finite, or an area or width that is not
            positive.
    """
    distance = keypoint_errors(prediction.double(), target.double(), visible)
    widths = checked_sigmas(sigmas, distance.shape[1])
    if area.shape != distance.shape[:1]:
        raise ValueError(f"area must be ({len(distance)},), got {tuple(area.shape)}")
    broken = ~((area > 0) & area.isfinite())
    if broken.any():
        raise ValueError(f"area must be positive, got {area[broken][0].item()} of item {int(broken.nonzero()[0])}")
    variance = 4 * distance.new_tensor(widths).square()
    return torch.exp(-distance.square() / (2 * area.double()[:, None] * variance))


def oks(
    prediction: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Sequence[float] = COCO_SIGMAS
) -> Tensor:
    """Object keypoint similarity: the mean of `keypoint_similarity` over the visible keypoints.

    Returns:
        (B,) float64, 0 to 1, NaN for an item without any. Arguments and errors as of `keypoint_similarity`.
    """
    return keypoint_similarity(prediction, target, visible, area, sigmas).nanmean(dim=1)


def checked_sigmas(sigmas: Sequence[float], num_keypoints: int) -> tuple[float, ...]:
    """The widths as numbers; ValueError unless there is a positive one for each keypoint."""
    widths = tuple(float(sigma) for sigma in sigmas)
    if len(widths) != num_keypoints or not all(0 < sigma < float("inf") for sigma in widths):
        raise ValueError(f"sigmas must be {num_keypoints} positive widths, one a keypoint, got {len(widths)}: {widths}")
    return widths


class OksCorrelation(Metric):
    """Whether a pose is surer where it is right: correlation of confidence with OKS (Li et al. 2021, Table 3).

    `compute` returns tensors:

    - "pearson", "spearman": of each visible keypoint's confidence with its `keypoint_similarity`;
    - "pearson_item", "spearman_item": of an item's mean confidence over its visible keypoints with its OKS;
    - each with "/low" and "/high", the ends of its 95 % bootstrap interval over items; NaN for a single one;
    - "mean_oks", "mean_confidence": over items; "num_items", "num_keypoints": with a visible keypoint, and these.

    The paper says no more than "correctness, e.g. OKS": whose it took is not known, so both stand here.

    Args:
        sigmas: K widths, see `keypoint_similarity`.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    is_differentiable = False
    flat_cases: list[Tensor]

    def __init__(self, sigmas: Sequence[float] = COCO_SIGMAS, num_bootstrap: int = 1000, seed: int = 0) -> None:
        """See the class."""
        super().__init__()
        check_num_bootstrap(num_bootstrap)
        self.sigmas = checked_sigmas(sigmas, len(tuple(sigmas)))
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        self.add_state("flat_cases", default=[], dist_reduce_fx="cat")

    def update(self, confidence: Tensor, prediction: Tensor, target: Tensor, visible: Tensor, area: Tensor) -> None:
        """Add items: confidence (B, K), mostly the map's peak; the others as of `keypoint_similarity`."""
        similarity = keypoint_similarity(prediction, target, visible, area, self.sigmas)
        if confidence.shape != similarity.shape:
            raise ValueError(f"confidence must be {tuple(similarity.shape)}, got {tuple(confidence.shape)}")
        if not confidence[visible].isfinite().all():
            raise ValueError("confidence must be finite at visible keypoints, got NaN or infinity")
        cases = torch.stack([confidence.to(similarity), similarity], dim=-1)
        self.flat_cases.append(cases.detach().to(self.dtype).flatten())

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no visible keypoint was given.
        """
        width = len(self.sigmas)
        confidence, similarity = flat_rows(self.flat_cases, 2 * width).reshape(-1, width, 2).unbind(dim=-1)
        seen = ~similarity.isnan()
        some = seen.any(dim=1)
        if not some.any():
            raise ValueError(f"OksCorrelation needs at least one visible keypoint, got none in {len(seen)} items")
        confidence, similarity, seen = confidence[some], similarity[some], seen[some]
        means = confidence.masked_fill(~seen, torch.nan).nanmean(dim=1), similarity.nanmean(dim=1)
        item = seen.nonzero()[:, 0]
        result = self._scores("", confidence[seen], similarity[seen], item, len(seen))
        result |= self._scores("_item", *means, torch.arange(len(seen)), len(seen))
        result |= {"mean_confidence": means[0].mean(), "mean_oks": means[1].mean()}
        result = {name: value.to(self.device, self.dtype) for name, value in result.items()}
        counts = {"num_items": torch.tensor(len(seen)), "num_keypoints": seen.sum()}
        return result | {name: value.to(self.device) for name, value in counts.items()}

    def _scores(self, ending: str, a: Tensor, b: Tensor, item: Tensor, num_items: int) -> dict[str, Tensor]:
        """Correlations of a and b (n,), each of the items `item (n,)`, with their intervals."""
        result = {f"pearson{ending}": pearson(a, b), f"spearman{ending}": spearman(a, b)}
        if not self.num_bootstrap:
            return result
        drawn: dict[str, list[Tensor]] = {name: [] for name in result}
        weights = case_weights(item, num_items, self.num_bootstrap, seed=self.seed)
        for part in weights.split(max(1, 4_000_000 // len(item))):  # ranks of all at once would fill the memory
            drawn[f"pearson{ending}"].append(pearson(a, b, weights=part))
            drawn[f"spearman{ending}"].append(spearman(a, b, weights=part))
        for name, parts in drawn.items():
            ends = percentile_interval(torch.cat(parts))
            if num_items < 2:
                ends = (torch.full_like(ends[0], torch.nan),) * 2
            result |= {f"{name}/low": ends[0], f"{name}/high": ends[1]}
        return result
