"""The scores of the tables, each as a function of how often every model counts, which is all that a bootstrap needs.

A statistic takes weights (R, M), as `resample_weights` draws them for R resamples of M models, and gives the score of
each resample, (R,). All ones give the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.paired import Statistic


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
