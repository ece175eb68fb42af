"""Normalised mean error (NME) of keypoints in images: the error over a length of the face or the object."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from pcsargmax.metrics.bootstrap import bootstrap_interval, check_num_bootstrap, flat_rows, mean_with_interval
from pcsargmax.metrics.pck import keypoint_errors, threshold_name

#: The outer eye corners of the 68 points that faces are often annotated with.
OUTER_EYE_CORNERS = (36, 45)


def pair_length(target: Tensor, visible: Tensor, pair: tuple[int, int] = OUTER_EYE_CORNERS) -> Tensor:
    """Distance of two annotated keypoints of each image, such as the outer eye corners (inter-ocular distance).

    Args:
        target: (B, K, D) annotated positions, pixels.
        visible: (B, K) bool, True where the keypoint is annotated.
        pair: the two keypoints.

    Returns:
        (B,) float64 lengths, pixels; NaN where either is absent.

    Raises:
        ValueError: shapes that do not agree, or a pair that is not two of the K keypoints.
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
    """Square root of the area of each box, the length that faces in profile are measured by.

    Args:
        box: (B, 4) x, y, width and height, pixels.

    Returns:
        (B,) float64, pixels.

    Raises:
        ValueError: not (B, 4), or a width or height that is not positive.
    """
    if box.ndim != 2 or box.shape[1] != 4:
        raise ValueError(f"box must be (B, 4): x, y, width and height, got {tuple(box.shape)}")
    size = box[:, 2:].double()
    if not (size > 0).all():
        raise ValueError(f"box must have positive widths and heights, got {box[~(size > 0).all(dim=1)][0].tolist()}")
    return size.prod(dim=1).sqrt()


def normalized_errors(errors: Tensor, length: Tensor) -> Tensor:
    """NME of each image: the mean error of its visible keypoints over its length.

    Args:
        errors: (B, K) as `keypoint_errors` gives them, pixels, NaN where absent.
        length: (B,) pixels, positive; NaN where it is not known.

    Returns:
        (B,) float64 shares of the length; NaN where nothing is visible or the length is not known.

    Raises:
        ValueError: shapes that do not agree, or a length that is zero, negative or infinite.
    """
    if errors.ndim != 2 or length.shape != errors.shape[:1]:
        raise ValueError(f"errors and length must be (B, K) and (B,), got {tuple(errors.shape)}, {tuple(length.shape)}")
    wrong = length[~((length > 0) & length.isfinite()) & ~length.isnan()]
    if len(wrong):
        raise ValueError(f"length must be positive and finite, got {wrong[0].item()} ({len(wrong)} of {len(length)})")
    return errors.double().nanmean(dim=1) / length.double()


class NormalizedMeanError(Metric):
    """NME of images, with 95 % bootstrap intervals over images.

    Each image counts the same, by the mean error of its visible keypoints over its length: the distance of two of its
    annotated keypoints, or the length that `update` is given with it (`box_length`, or any other). Images of unknown
    length (one of the two is absent) and images without a visible keypoint are left out and counted.

    `compute` returns, all shares 0 to 1, not percents:

    - "nme": mean over the images; "median_nme";
    - "failure@0.1": share of the images whose NME is above 0.1;
    - "auc@0.1": area under the curve of the share of images within an error, from 0 to 0.1, over 0.1: 1 is perfect;
    - "mean_error": mean over the visible keypoints of the images that count, pixels;
    - "nme/low", "nme/high" and so on: ends of the interval of each of these but the median; NaN for a single image;
    - "nme_per_keypoint" (K,): NaN for a keypoint that no image has;
    - "num_images": those that count; "num_left_out": the others.

    Args:
        pair: the two keypoints whose annotated distance is the length, by default the outer eye corners of 68 points;
            None: `update` is given the lengths.
        failure: NME above which an image has failed, and where the curve of the area ends.
        num_bootstrap: resamples for the intervals; 0 leaves them out.
        seed: of the resampling.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    flat_errors: list[Tensor]
    num_keypoints: Tensor

    def __init__(
        self,
        pair: tuple[int, int] | None = OUTER_EYE_CORNERS,
        failure: float = 0.1,
        num_bootstrap: int = 1000,
        seed: int = 0,
    ) -> None:
        """See the class."""
        super().__init__()
        if not 0 < failure < float("inf"):
            raise ValueError(f"failure must be positive and finite, got {failure}")
        check_num_bootstrap(num_bootstrap)
        self.pair, self.failure, self.num_bootstrap, self.seed = pair, float(failure), num_bootstrap, seed
        # Of each image its K errors and its length. Flat, as in PCK.
        self.add_state("flat_errors", default=[], dist_reduce_fx="cat")
        self.add_state("num_keypoints", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, visible: Tensor, length: Tensor | None = None) -> None:
        """Add images.

        Args:
            prediction: (B, K, D) positions, pixels.
            target: (B, K, D) annotated positions, same unit; what stands at absent keypoints is ignored.
            visible: (B, K) bool, True where the keypoint is annotated.
            length: (B,) pixels, NaN where unknown; needed if `pair` is None, else not allowed.

        Raises:
            ValueError: shapes that do not agree, positions that are not finite where visible, or lengths that are not
                positive.
        """
        prediction, target, visible = (part.detach().cpu() for part in (prediction, target, visible))
        errors = keypoint_errors(prediction, target, visible)
        if self.num_keypoints not in (0, errors.shape[1]):
            raise ValueError(
                f"prediction must have {int(self.num_keypoints)} keypoints as before, got {errors.shape[1]}"
            )
        if length is not None and self.pair is not None:
            raise ValueError(
                f"length must not be given: that of each image is the distance of its keypoints {self.pair}"
            )
        if self.pair is not None:
            length = pair_length(target, visible, self.pair)
        if length is None:
            raise ValueError("length must be given with each image, as pair is None")
        length = length.detach().cpu()
        normalized_errors(errors, length)  # for its checks
        self.num_keypoints.fill_(errors.shape[1])
        rows = torch.cat([errors.double(), length.double()[:, None]], dim=1)
        self.flat_errors.append(rows.flatten().to(self.device, self.dtype))

    def compute(self) -> dict[str, Tensor]:
        """The results, see the class.

        Raises:
            ValueError: no image that counts was given.
        """
        rows = flat_rows(self.flat_errors, int(self.num_keypoints) + 1)
        errors, length = rows[:, :-1], rows[:, -1]
        nme = normalized_errors(errors, length)
        known = ~nme.isnan()
        if not known.any():
            raise ValueError(f"NormalizedMeanError needs an image of known length and keypoints: none of {len(rows)}")
        errors, length, nme = errors[known], length[known], nme[known]
        limit = threshold_name(self.failure)
        names = ["nme", f"failure@{limit}", f"auc@{limit}"]
        # The area under a step that rises at e is what is right of e.
        values = torch.stack([nme, (nme > self.failure).double(), (1 - nme / self.failure).clamp_min(0)], dim=1)
        result = mean_with_interval(self, names, values, self.num_bootstrap, self.seed)
        result["num_images"] = result.pop("num_models")
        more = {"median_nme": nme.quantile(0.5), "nme_per_keypoint": (errors / length[:, None]).nanmean(dim=0)}
        more |= self._mean_error(errors)
        result |= {key: value.to(self.device, self.dtype) for key, value in more.items()}
        result["num_left_out"] = (~known).sum().to(self.device)
        return result

    def _mean_error(self, errors: Tensor) -> dict[str, Tensor]:
        """Mean error over all visible keypoints, pixels, and its interval over images."""
        total, count = errors.nansum(dim=1), (~errors.isnan()).sum(dim=1).double()
        result = {"mean_error": total.sum() / count.sum()}
        if self.num_bootstrap:
            low, high = bootstrap_interval(total, count, num=self.num_bootstrap, seed=self.seed)
            result |= {"mean_error/low": low, "mean_error/high": high}
        return result
