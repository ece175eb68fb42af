"""The scores of the tables, each as a function of how often every model counts, which is all that a bootstrap needs.

A statistic takes weights (R, M), as `resample_weights` draws them for R resamples of M models, and gives the score of
each resample, (R,). All ones give the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pcsargmax.metrics.alignment import corrected_das_from_labels, das_from_labels
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.metrics.pck import correct


def pck_statistic(errors: Tensor, threshold: float) -> Statistic:
    """PCK over all visible keypoints of all models: a share, 0 to 1.

    Args:
        errors: (M, K), NaN where absent.
        threshold: what an error may be at most, the unit of the errors.

    Raises:
        ValueError: a threshold that is not positive.
    """
    hits = correct(errors.double(), (threshold,))[..., 0]
    return ratio_statistic(hits.nansum(dim=1), (~hits.isnan()).sum(dim=1))


def correlation_statistic(confidence: Tensor, errors: Tensor, threshold: float) -> Statistic:
    """Pearson's r, over the visible keypoints, of confidence with an error of at most the threshold.

    From sums per model, as a resample counts whole models: the cost does not grow with the keypoints.

    Args:
        confidence: (M, K); what stands at absent keypoints is ignored.
        errors: (M, K), NaN where absent.
        threshold: the unit of the errors.

    Returns:
        A statistic that is NaN where confidence or correctness is the same for all.

    Raises:
        ValueError: shapes that differ, or a threshold that is not positive.
    """
    if confidence.shape != errors.shape:
        raise ValueError(
            f"confidence and errors must both be (M, K), got {tuple(confidence.shape)} and {tuple(errors.shape)}"
        )
    hits = correct(errors.double(), (threshold,))[..., 0]
    visible = ~hits.isnan()
    centred = []
    for values in (confidence.double(), hits):
        known = values.where(visible, 0.0)
        centred.append((known - known.sum() / visible.sum()).where(visible, 0.0))  # r is the same, rounding is less
    a, b = centred
    per_model = torch.stack([visible.double(), a, b, a * a, b * b, a * b]).sum(dim=2)  # (6, M)

    def statistic(weights: Tensor) -> Tensor:
        count, *sums = (weights @ per_model.T).T
        mean_a, mean_b, square_a, square_b, product = (total / count for total in sums)
        spread_a, spread_b = square_a - mean_a.square(), square_b - mean_b.square()
        flat = (spread_a < 1e-12) | (spread_b < 1e-12)
        r = (product - mean_a * mean_b) / (spread_a * spread_b).sqrt()
        return r.masked_fill(flat, torch.nan)

    return statistic


def das_statistic(ids: Tensor, keypoints: Tensor, *, corrected: bool = False) -> Statistic:
    """Dual alignment score of the labels of the models, pairs of a model with itself counted, as published.

    Args:
        ids: (M, K) long, id of the annotation nearest to each keypoint.
        keypoints: (M, G) long, the keypoint nearest to each annotation, −1 where that is absent.
        corrected: above chance; the labels are then to be those of merged keypoints.
    """

    def statistic(weights: Tensor) -> Tensor:
        if corrected:
            return corrected_das_from_labels(ids, keypoints, weights)["das_corrected"]
        return das_from_labels(ids, keypoints, weights)["das"]

    return statistic


@dataclass(frozen=True)
class Score:
    """A score of one method on one or several data: the mean over its seeds.

    Attributes:
        by_seed: a statistic a seed, all over the same models.
        models: their names, in the order of the weights, by data set.
    """

    by_seed: dict[int, Statistic]
    models: tuple[tuple[str, ...], ...]

    @classmethod
    def of_seeds(cls, by_seed: dict[int, Statistic], models: tuple[str, ...]) -> Score:
        """The score of one data set."""
        return cls(by_seed, (models,))

    @classmethod
    def of_several(cls, scores: Sequence[Score]) -> Score | None:
        """The mean of the scores of several data sets, over the seeds that all of them have; None without such."""
        seeds = sorted(set.intersection(*(set(score.by_seed) for score in scores)))
        models = tuple(names for score in scores for names in score.models)
        sizes = [len(names) for names in models]
        by_seed = {seed: _mean([score.by_seed[seed] for score in scores], sizes) for seed in seeds}
        return cls(by_seed, models) if seeds else None

    @property
    def num_models(self) -> int:
        """Those of all data sets."""
        return sum(map(len, self.models))

    def resamples(self, num: int, seed: int) -> Tensor:
        """(num, M) how often each model is drawn, within each data set by itself."""
        drawn = [resample_weights(len(names), num, seed=seed + place) for place, names in enumerate(self.models)]
        return torch.cat(drawn, dim=1)

    def overall(self, weights: Tensor) -> Tensor:
        """The statistic of the method: the mean over its seeds."""
        return torch.stack([statistic(weights) for statistic in self.by_seed.values()]).mean(dim=0)

    def values(self) -> dict[int, float]:
        """The score of each seed."""
        return {seed: self._whole(statistic) for seed, statistic in self.by_seed.items()}

    def value(self) -> float:
        """The score of the method."""
        return self._whole(self.overall)

    def _whole(self, statistic: Statistic) -> float:
        return statistic(torch.ones(1, self.num_models, dtype=torch.float64)).item()


def _mean(statistics: Sequence[Statistic], sizes: Sequence[int]) -> Statistic:
    """The mean of statistics, each of the next so many models."""

    def statistic(weights: Tensor) -> Tensor:
        parts = weights.split(list(sizes), dim=1)
        return torch.stack([one(part) for one, part in zip(statistics, parts, strict=True)]).mean(dim=0)

    return statistic
