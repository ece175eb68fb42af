"""Normalised mean error of keypoints in images, with intervals over images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.metrics.normalized_error import OUTER_EYE_CORNERS, normalized_errors, pair_length
from pcsargmax.metrics.pck import keypoint_errors, threshold_name


class NormalizedMeanError(BootstrapMetric):
    """Normalised mean error (NME) of images, with 95 % bootstrap intervals over images.

    Each image counts the same, by the mean error of its visible keypoints divided by its length: the distance between
    two of its annotated keypoints, or the length that is passed to `update` (`box_length`, or any other). Images of
    unknown length (one of the two is absent) and images without a visible keypoint are left out and counted.

    `compute` returns, all shares 0 to 1, not percents:

    - "nme": mean over the images; "median_nme";
    - "failure@0.1": share of the images whose NME is above 0.1;
    - "auc@0.1": area under the cumulative error curve from 0 to 0.1, divided by 0.1: 1 is perfect;
    - "mean_error": mean over the visible keypoints of the images that count, pixels;
    - "nme/low", "nme/high" and so on: ends of the interval of each of these but the median; NaN for a single image;
    - "nme_per_keypoint" (K,): NaN for a keypoint that no image has;
    - "num_images": number of images that count; "num_left_out": number of the others.

    Args:
        pair: the two keypoints whose annotated distance is the length, by default the outer eye corners of 68 points;
            None: the lengths are passed to `update`.
        failure: NME above which an image has failed, and where the cumulative curve ends.
        num_bootstrap: number of resamples for the intervals; 0 leaves them out.
        seed: seed of the resampling.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Example:
        Errors of 0 and 4 pixels, 20 pixels between the two annotated keypoints:

        >>> import torch
        >>> from pcsargmax.metrics import NormalizedMeanError
        >>> target = torch.tensor([[[0.0, 0.0], [20.0, 0.0]]])
        >>> preds = torch.tensor([[[0.0, 0.0], [20.0, 4.0]]])
        >>> result = NormalizedMeanError(pair=(0, 1), num_bootstrap=0)(preds, target, torch.tensor([[True, True]]))
        >>> {name: round(float(result[name]), 4) for name in ("nme", "mean_error", "failure@0.1")}
        {'nme': 0.1, 'mean_error': 2.0, 'failure@0.1': 0.0}
    """

    higher_is_better = False
    size_names = ("keypoints",)

    def __init__(
        self,
        *,
        pair: tuple[int, int] | None = OUTER_EYE_CORNERS,
        failure: float = 0.1,
        num_bootstrap: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_bootstrap=num_bootstrap, seed=seed, **kwargs)
        if not 0 < failure < float("inf"):
            raise ValueError(f"failure must be positive and finite, got {failure}")
        self.pair, self.failure = pair, float(failure)

    def update(self, preds: Tensor, target: Tensor, visible: Tensor, length: Tensor | None = None) -> None:
        """Add images.

        Args:
            preds: (B, K, D) positions, pixels.
            target: (B, K, D) annotated positions, same unit; what stands at absent keypoints is ignored.
            visible: (B, K) bool, True where the keypoint is annotated.
            length: (B,) pixels, NaN where unknown; needed if `pair` is None, else not allowed.

        Raises:
            ValueError: shapes that do not agree, positions that are not finite where visible, or lengths that are not
                positive.
        """
        preds, target, visible = (part.detach().cpu() for part in (preds, target, visible))
        errors = keypoint_errors(preds, target, visible)
        self._check_sizes(errors.shape[1])
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
        self._append(torch.cat([errors.double(), length.double()[:, None]], dim=1), errors.shape[1])

    def compute(self) -> dict[str, Tensor]:
        """Return the results, see the class.

        Raises:
            ValueError: no image that counts was given.
        """
        (keypoints,) = self._known_sizes()
        rows = self._rows(keypoints + 1)
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
        result = self._results(self._means(names, values), num_images=len(nme))
        total, count = errors.nansum(dim=1), (~errors.isnan()).sum(dim=1).double()
        more = {
            "median_nme": nme.quantile(0.5),
            "nme_per_keypoint": (errors / length[:, None]).nanmean(dim=0),
            "mean_error": total.sum() / count.sum(),
        }
        more |= self._ratio_intervals(["mean_error"], total, count)
        return result | self._results(more, num_left_out=(~known).sum())
