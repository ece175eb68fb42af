"""What a detector minimises: the objectives on maps, of the scores of a cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distances import distance, gaussian_expected_distance
from pcsargmax.core.engine.sampler import Sampler
from pcsargmax.core.losses import error_of_expectation
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.models.second_look import LocalScores
from pcsargmax.settings.common import SAMPLED
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.objective import PLAIN, MapObjective, expectation_weight, map_distance, sampling_arguments

#: scores, target (B, K, 3), sigma (B,), progress in [0, 1], generator -> loss of each item and keypoint (B, K)
Objective = Callable[[Scores, Tensor, Tensor, float, torch.Generator | None], Tensor]


#: The same as `Objective` of several targets (B, P, K, 3) -> (B, P, K), of one and the same samples, without gradient.
Comparison = Callable[[Scores, Tensor, Tensor, float, torch.Generator | None], Tensor]


def make_objective(settings: TrainSettings) -> Objective:
    """Return the objective that `settings.objective` names, everything in the unit frame."""
    objective, sampled = MapObjective(settings), settings.objective in SAMPLED

    def of_scores(
        scores: Scores, target: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        basis = Gaussian(sigma) if sampled else None  # it looks at the values of sigma
        maps = scores.logits, scores.sites
        return objective(*maps, target, basis, progress, generator, mask=scores.mask, spacing=sigma)

    return of_scores


#: As `Objective`, of a second look, sigma being that of the dense points.
LookObjective = Callable[[LocalScores, Tensor, Tensor, float, torch.Generator | None], Tensor]


def make_look_objective(settings: TrainSettings) -> LookObjective:
    """Return the objective of the second look: that which the settings name, over the local sites of each keypoint."""
    name = settings.objective if settings.look_objective == "same" else settings.look_objective
    settings = replace(settings, objective=name)
    objective, sampled = MapObjective(settings), name in SAMPLED

    def of_scores(
        look: LocalScores, target: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        logits, sites, mask = look.maps()
        width = sigma.repeat_interleave(target.shape[1])
        basis = Gaussian(width) if sampled else None
        place = target.flatten(0, 1)[:, None]
        errors = objective(logits, sites, place, basis, progress, generator, mask=mask, spacing=width)
        return errors.unflatten(0, target.shape[:2])[..., 0]

    return of_scores


def make_comparison(settings: TrainSettings) -> Comparison:
    """Return what tells which of several targets has the least loss by the objective that the settings name.

    With a generator in the same state it draws the same samples as the objective, once for all targets. What is the
    same for all of them, a regularizer, is left out.
    """
    drawn = _samples_compared(settings) if settings.objective in SAMPLED else None
    plain, weight = PLAIN.get(settings.objective, error_of_expectation), expectation_weight(settings)
    kind = map_distance(settings)

    @torch.no_grad()
    def compare(
        scores: Scores, targets: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        def each(error: Callable[..., Tensor]) -> Tensor:
            of = [error(scores.logits, scores.sites, t, distance=kind, mask=scores.mask) for t in targets.unbind(1)]
            return torch.stack(of, dim=1)

        errors = each(plain) if drawn is None else drawn(scores, targets, sigma, progress, generator)
        return errors + weight * each(error_of_expectation) if weight else errors

    return compare


def _samples_compared(settings: TrainSettings) -> Comparison:
    arguments, kind = sampling_arguments(settings), map_distance(settings)
    closed_form = settings.objective == "closed_form"

    def compare(
        scores: Scores, targets: Tensor, sigma: Tensor, progress: float, generator: torch.Generator | None
    ) -> Tensor:
        sampler = Sampler.of(scores.logits, scores.sites, mask=scores.mask, **arguments(Gaussian(sigma), progress))
        normal = None if closed_form else sampler.normal(generator)
        mean, squares = sampler.moments(generator)  # (B, K, S, 3)
        std = sampler.std(squares)
        if normal is not None:
            mean = mean + std * normal
        each = []
        for target in targets.unbind(1):
            offset = mean - (target - sampler.center).unsqueeze(2)
            nothing = torch.zeros_like(offset)
            away = gaussian_expected_distance(offset, std, kind) if closed_form else distance(offset, nothing, kind)
            each.append(away.mean(dim=2))
        return torch.stack(each, dim=1)

    return compare
