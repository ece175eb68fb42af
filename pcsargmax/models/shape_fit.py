"""Mean and covariance of aligned shapes, of which some lack keypoints: the fit of `pcsargmax.models.shape_prior`."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from pcsargmax.models.shape_conditional import fit_pose, pose_tangents, rms_radius
from pcsargmax.ops.procrustes import procrustes

#: The fewest shapes of which a covariance says something, of the whole and of each keypoint.
MIN_SHAPES = 3
#: Shapes whose missing keypoints are estimated at a time; each takes some (3K)² numbers.
_CHUNK = 64


class TooFewShapes(ValueError):
    """The shapes are too few, or have too few keypoints in common, for a shape prior."""


class Moments(NamedTuple):
    """Mean shape (K, 3) and covariance (3K, 3K) of aligned shapes."""

    mean: Tensor
    covariance: Tensor


def checked_shapes(keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes in float64 and visibility, on the CPU."""
    if keypoints.ndim != 3 or keypoints.shape[2] != 3 or not keypoints.numel():
        raise ValueError(f"keypoints: got shape {tuple(keypoints.shape)}; pass (M, K, 3) with at least one of each")
    check_visible(visible, keypoints)
    keypoints, visible = keypoints.detach().double().cpu(), visible.cpu()
    check_finite("keypoints", keypoints.isfinite().all(dim=-1) | ~visible)
    if len(keypoints) < MIN_SHAPES:
        raise TooFewShapes(
            f"keypoints: got {len(keypoints)} shape(s); a shape prior needs at least {MIN_SHAPES}: annotate more, or "
            "do without"
        )
    return keypoints, visible


def check_visible(visible: Tensor, keypoints: Tensor) -> None:
    """Raise a ValueError unless visible is (B, K) bool for keypoints (B, K, 3)."""
    if visible.dtype != torch.bool or visible.shape != keypoints.shape[:2]:
        raise ValueError(
            f"visible: got {visible.dtype} of shape {tuple(visible.shape)}; pass torch.bool of shape "
            f"{tuple(keypoints.shape[:2])}, one per keypoint"
        )


def check_finite(name: str, good: Tensor) -> None:
    """Raise a ValueError unless all keypoints are good (B, K)."""
    if not good.all():
        shape, keypoint = (~good).nonzero()[0].tolist()
        raise ValueError(
            f"{name}: got NaN or infinity at {int((~good).sum())} visible keypoint(s), the first being keypoint "
            f"{keypoint} of shape {shape}; pass finite values, or mark it as not visible"
        )


def usable(keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return which shapes (M,) and keypoints (K,) are seen often enough to fit a prior.

    A shape needs three visible keypoints to have a pose (or all, where there are fewer), a keypoint three shapes to
    have a covariance. Either may cost the other, hence the loop.

    Raises:
        TooFewShapes: fewer than three shapes are left. ValueError: a shape has all its keypoints in one place.
    """
    shapes = torch.ones(len(visible), dtype=torch.bool)
    known = torch.ones(visible.shape[1], dtype=torch.bool)
    while True:
        before = shapes.sum() + known.sum()
        known &= visible[shapes].sum(dim=0) >= MIN_SHAPES
        shapes &= (visible & known).sum(dim=1) >= min(3, max(1, int(known.sum())))
        if shapes.sum() + known.sum() == before:
            break
    if shapes.sum() < MIN_SHAPES:
        raise TooFewShapes(
            f"visible: {int(shapes.sum())} of {len(shapes)} shapes have enough keypoints in common; a shape prior "
            f"needs {MIN_SHAPES} shapes, each with 3 keypoints that {MIN_SHAPES} shapes have: annotate more, or do "
            "without"
        )
    for number in shapes.nonzero().flatten().tolist():
        own = keypoints[number][visible[number] & known]
        if len(own) > 1 and (own == own[0]).all():
            raise ValueError(
                f"keypoints: the {len(own)} of shape {number} lie in one place, so that it has no size; leave it out"
            )
    return shapes, known


def fit_moments(keypoints: Tensor, visible: Tensor, *, max_iterations: int, tolerance: float) -> Moments:
    """Align shapes and estimate their mean and covariance, missing keypoints by expectation-maximisation.

    Each round aligns the completed shapes to the mean (Gower 1975), replaces missing keypoints by their conditional
    mean, and estimates mean and covariance anew, the latter shrunk after Ledoit & Wolf (2004) with the conditional
    covariances added. Without missing keypoints these are the rounds of generalised Procrustes analysis. The result is
    in the shapes' mean orientation and mean (geometric) size, its centroid at the origin.

    Args:
        keypoints: (M, K, 3) float64, finite where visible.
        visible: (M, K) bool, as `usable` left them.
        max_iterations: rounds after which to stop, with a warning.
        tolerance: relative change of mean and covariance at which to stop.
    """
    keypoints = torch.where(visible[..., None], keypoints, 0)
    mean = _standard(_common_mean(keypoints, visible))
    completed = torch.where(visible[..., None], _aligned(keypoints, mean, visible), mean)
    moments = _moments(completed, torch.zeros(mean.numel(), mean.numel(), dtype=mean.dtype))
    for _ in range(max_iterations):
        completed, within = _complete(keypoints, visible, moments)
        before, moments = moments, _moments(completed, within)
        change = (moments.mean - before.mean).abs().amax()
        scatter, most = (moments.covariance - before.covariance).abs().amax(), before.covariance.abs().amax()
        # The shapes have unit size, so that an absolute bound tells where the covariance is zero but for rounding.
        if change <= tolerance and scatter <= tolerance * most + 1e-15:
            break
    else:
        warnings.warn(
            f"the shape prior has not converged in {max_iterations} iterations (mean changed by {change:.1e}, "
            f"covariance by {scatter:.1e}): raise max_iterations or the tolerance ({tolerance:g})",
            stacklevel=3,
        )
    return _in_mean_frame(moments, keypoints, visible, completed)


def _aligned(shapes: Tensor, mean: Tensor, visible: Tensor) -> Tensor:
    """Shapes (M, K, 3) moved onto the mean by their visible keypoints."""
    return procrustes(shapes, mean.expand_as(shapes), visible.double()).apply(shapes)


def _standard(mean: Tensor) -> Tensor:
    """The mean shape with its centroid at the origin and unit root mean square radius."""
    mean = mean - mean.mean(dim=0)
    return mean / rms_radius(mean)


def _common_mean(keypoints: Tensor, visible: Tensor) -> Tensor:
    """Mean of shapes aligned to the most complete one, grown by keypoints that it lacks."""
    first = visible.sum(dim=1).argmax()
    mean, known = keypoints[first], visible[first]
    while True:
        common = visible & known
        joined = visible & (common.sum(dim=1) >= min(3, visible.shape[1]))[:, None]
        aligned = _aligned(keypoints, mean, common) * joined[..., None]
        mean = aligned.sum(dim=0) / joined.sum(dim=0).clamp_min(1)[:, None]
        before, known = known, joined.any(dim=0)
        if torch.equal(before, known):
            break
    if not known.all():
        lone = (~known).nonzero().flatten().tolist()
        raise TooFewShapes(
            f"visible: keypoints {lone} never occur together with 3 of the others, so that there is no common shape; "
            "fit the groups of keypoints one by one, or do without a shape prior"
        )
    return mean


def _complete(keypoints: Tensor, visible: Tensor, moments: Moments) -> tuple[Tensor, Tensor]:
    """Shapes aligned to the mean, their missing keypoints estimated, and the mean covariance (3K, 3K) of these."""
    completed, within = keypoints.clone(), torch.zeros_like(moments.covariance)
    for part in (~visible.all(dim=1)).nonzero().flatten().split(_CHUNK):
        shapes, seen = keypoints[part], visible[part]
        exact = shapes.new_zeros(*shapes.shape, 3)
        found, pose, _ = fit_pose(moments.mean, moments.covariance, shapes, exact, seen, iterations=1)
        estimate = moments.mean + found.deviation.unflatten(1, (-1, 3))
        completed[part] = torch.where(seen[..., None], pose.undo(shapes), estimate)
        within += found.covariance.sum(dim=0) / len(keypoints)
    completed = _aligned(completed, moments.mean, torch.ones_like(visible))
    tangents = pose_tangents(moments.mean)
    # Aligning a shape takes out what lies along the pose, also of the uncertainty.
    u, s, _ = torch.linalg.svd(tangents, full_matrices=False)
    u = u[:, s > 1e-9 * s.amax()]
    within = within - u @ (u.mT @ within)
    return completed, within - (within @ u) @ u.mT


def _moments(completed: Tensor, within: Tensor) -> Moments:
    """Mean and shrunk covariance of aligned shapes, in the size of `_standard`."""
    from sklearn.covariance import ledoit_wolf  # takes a second to import

    covariance, shrinkage = ledoit_wolf(completed.flatten(1).numpy())
    size = len(within)
    extra = (1 - shrinkage) * within + shrinkage * within.trace() / size * torch.eye(size, dtype=within.dtype)
    mean = completed.mean(dim=0)
    radius = rms_radius(mean - mean.mean(dim=0))
    return Moments(_standard(mean), (torch.from_numpy(covariance) + extra) / radius.square())


def _in_mean_frame(moments: Moments, keypoints: Tensor, visible: Tensor, completed: Tensor) -> Moments:
    """Turn and scale the moments to the mean orientation and the geometric mean of the sizes of the shapes."""
    poses = procrustes(completed, keypoints, visible.double())
    u, _, vh = torch.linalg.svd(poses.rotation.sum(dim=0))
    sign = torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vh).sign())], dtype=u.dtype)
    rotation = (u * sign) @ vh
    # One keypoint has no size.
    scale = torch.where(poses.scale > 0, poses.scale, 1).log().mean().exp()
    blocks = moments.covariance.unflatten(0, (-1, 3)).unflatten(2, (-1, 3))
    turned = torch.einsum("ij,ajbk,lk->aibl", rotation, blocks, rotation).flatten(2).flatten(0, 1)
    return Moments(scale * moments.mean @ rotation.mT, scale.square() * (turned + turned.mT) / 2)
