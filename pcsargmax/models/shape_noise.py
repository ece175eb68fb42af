"""How far a detector is to be trusted beside the shape prior: the noise of its keypoints, by cross-validation."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.models.shape_fit import TooFewShapes
from pcsargmax.models.shape_prior import ShapePrior

#: Noise levels that are tried, as multiples of the root mean square error of the predictions.
_LEVELS = (0.0, *(2 ** (step / 2) for step in range(-5, 5)))
#: Of the priors that only serve to choose a level: half the time of the usual one, covariances that differ by 0.2 %.
_TOLERANCE = 1e-4
#: With fewer shapes than this all keypoints share one level: errors of each would be too few to tell.
_PER_KEYPOINT_SHAPES = 20


class FittedNoise(NamedTuple):
    """The noise of a detector beside the shape prior, and what the prior makes of shapes held out.

    Attributes:
        noise: (K,) float64 standard deviations per axis in the unit of the positions, for `with_noise`.
        mean: (M, K, 3) posterior of each shape, given a prior of the shapes of other folds.
        covariance: (M, K, 3, 3) of it.
    """

    noise: Tensor
    mean: Tensor
    covariance: Tensor


def with_noise(covariance: Tensor, noise: Tensor) -> Tensor:
    """Add isotropic noise of standard deviation (K,) to covariances (B, K, 3, 3)."""
    identity = torch.eye(3, dtype=torch.float64, device=covariance.device)
    return covariance.double() + noise.to(covariance.device).double().square()[:, None, None] * identity


def fold_priors(
    truth: Tensor, visible: Tensor, *, others: tuple[Tensor, Tensor] | None = None, folds: int = 5
) -> list[ShapePrior] | None:
    """Return a shape prior of the shapes outside each fold, or None where there are too few.

    Arguments are those of `fit_noise`.

    Raises:
        ValueError: as of `ShapePrior.fit`, but for too few shapes, or one fold.
    """
    if folds < 2:
        raise ValueError(f"folds: got {folds}; cross-validation takes at least 2")
    if len(truth) < 3:
        return None
    fold = _fold_of(truth, min(folds, len(truth)))
    try:
        return [_prior(truth[fold != number].double(), visible[fold != number], others) for number in fold.unique()]
    except TooFewShapes:
        return None


def fit_noise(
    predicted: Tensor,
    covariance: Tensor,
    truth: Tensor,
    visible: Tensor,
    *,
    others: tuple[Tensor, Tensor] | None = None,
    folds: int = 5,
    priors: Sequence[ShapePrior] | None = None,
) -> FittedNoise | None:
    """Return the noise with which the shape prior's posterior errs least on shapes held out, or None if none helps.

    Each fold is predicted with a prior of the other folds' true shapes. The noise adds to the covariances of the maps,
    which tell little of how far a map is off as a whole. It is the same for all keypoints or, with twenty shapes or
    more and where that errs less, in proportion to the root mean square error of each. The prior helps where the mean
    error over the held-out shapes falls by more than the standard error of its change.

    Args:
        predicted: (M, K, 3) keypoints, of shapes that the detector was not trained on, all of about one size.
        covariance: (M, K, 3, 3) of their maps.
        truth: (M, K, 3) annotated keypoints, ignored where not visible.
        visible: (M, K) bool.
        others: keypoints (N, K, 3) and visible (N, K) of further shapes for the prior, such as those that the detector
            was trained on, when the M are not among them.
        folds: into how many parts the M shapes are divided.
        priors: of each fold, as of `fold_priors`, in place of `others` and `folds`, where several predictions of the
            same shapes share them.

    Returns:
        The noise, and what comes of it on shapes held out; None where the prior does not help, or where there are too
        few shapes to fit it or to tell.

    Raises:
        ValueError: as of `ShapePrior.fit` (but for too few shapes) and `ShapePrior.posterior`, or one fold.
    """
    priors = fold_priors(truth, visible, others=others, folds=folds) if priors is None else priors
    if priors is None:
        return None
    predicted, truth = predicted.double(), truth.double()
    raw = _errors(predicted, truth, visible)
    each = len(predicted) >= _PER_KEYPOINT_SHAPES
    profiles = _profiles(predicted, truth, visible, each)
    fold = _fold_of(predicted, len(priors))
    errors = raw.new_zeros(len(profiles), len(_LEVELS), len(predicted))
    means = raw.new_zeros(len(profiles), len(_LEVELS), *predicted.shape)
    covariances = raw.new_zeros(len(profiles), len(_LEVELS), *covariance.shape)
    for number, prior in enumerate(priors):
        held, rest = fold == number, fold != number
        # Of the other folds alone, as everything that is tried on this one.
        for i, profile in enumerate(_profiles(predicted[rest], truth[rest], visible[rest], each)):
            for j, level in enumerate(_LEVELS):
                found = prior.posterior(predicted[held], with_noise(covariance[held], level * profile), visible[held])
                errors[i, j, held] = _errors(found.mean, truth[held], visible[held])
                means[i, j, held], covariances[i, j, held] = found.mean, found.covariance
    best = int(errors.mean(dim=2).argmin())
    gain = raw - errors.flatten(0, 1)[best]
    if not gain.mean() > gain.std() / len(gain) ** 0.5:
        return None
    row, column = divmod(best, len(_LEVELS))
    return FittedNoise(_LEVELS[column] * profiles[row], means[row, column], covariances[row, column])


def _fold_of(shapes: Tensor, folds: int) -> Tensor:
    """The fold (M,) of each of M shapes."""
    return torch.arange(len(shapes), device=shapes.device) % folds


def _errors(predicted: Tensor, truth: Tensor, visible: Tensor) -> Tensor:
    """Mean distance (M,) over the visible keypoints of each shape."""
    distance = torch.where(visible, (predicted - truth).norm(dim=-1), 0)
    return distance.sum(dim=1) / visible.sum(dim=1).clamp_min(1)


def _profiles(predicted: Tensor, truth: Tensor, visible: Tensor, each: bool) -> list[Tensor]:
    """Root mean square errors per axis (K,): that of all keypoints and, where asked for, those of each."""
    squared = torch.where(visible, (predicted - truth).square().mean(dim=-1), 0)
    count = visible.sum(dim=0)
    common = (squared.sum() / count.sum().clamp_min(1)).sqrt().expand(len(count))
    if not each:
        return [common]
    return [common, torch.where(count > 0, (squared.sum(dim=0) / count.clamp_min(1)).sqrt(), common)]


def _prior(truth: Tensor, visible: Tensor, others: tuple[Tensor, Tensor] | None) -> ShapePrior:
    if others is not None:
        keypoints, seen = (part.to(truth.device) for part in others)
        truth, visible = torch.cat([truth, keypoints.double()]), torch.cat([visible, seen])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the prior of all shapes, which is the one that is used, gives them once
        return ShapePrior.fit(truth, visible, tolerance=_TOLERANCE)
