"""The shape prior: how the keypoints of a category lie to one another, as a Gaussian of shapes.

A point distribution model with a full covariance: given where a detector measured the keypoints, and how surely, it
tells where they are likely to be, also those that were not measured.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from pcsargmax.models.shape_conditional import fit_pose
from pcsargmax.models.shape_fit import MIN_SHAPES, check_finite, check_visible, checked_shapes, fit_moments, usable
from pcsargmax.ops.procrustes import Similarity


class Posterior(NamedTuple):
    """Shapes given their measured keypoints, in the frame and unit of the measurement, float64.

    Attributes:
        mean: (B, K, 3) the keypoints. Where `covariance` is infinite, a finite guess.
        covariance: (B, K, 3, 3), the uncertainty of the pose included. Its diagonal is infinite at keypoints that the
            measured ones do not determine: all others, where fewer than three are measured.
        similarity: of the prior's frame to that of the measurement: scale (B,), rotation (B, 3, 3) and translation
            (B, 3).
        squared_distance: (B,) squared Mahalanobis distance of the measurement under prior and noise. It is chi-square
            distributed for shapes of the category.
        degrees_of_freedom: (B,) long, of that: three per measured keypoint, less seven of the pose.
    """

    mean: Tensor
    covariance: Tensor
    similarity: Similarity
    squared_distance: Tensor
    degrees_of_freedom: Tensor


@dataclass(frozen=True, eq=False)
class ShapePrior:
    """Gaussian of the shapes of a category, up to similarity transforms (posterior shape models, Albrecht et al. 2013).

    Args:
        mean: (K, 3) float64 mean shape in the mean orientation and size of the training shapes, centroid at the origin.
        covariance: (3K, 3K) float64 of its coordinates (x, y, z of the first keypoint, then of the second), positive
            semidefinite, in the same unit.
        num_seen: (K,) long, how many training shapes have the keypoint. The prior knows nothing of those that fewer
            than three have: a measurement of them passes through unchanged. They are 0 in mean and covariance.

    Example:
        >>> import torch
        >>> from pcsargmax import ShapePrior
        >>> generator = torch.Generator().manual_seed(0)
        >>> shapes = torch.tensor([[0.0, 0, 0], [4, 0, 0], [4, 3, 0], [0, 3, 0]]).repeat(20, 1, 1)
        >>> shapes += 0.01 * torch.randn(20, 4, 3, generator=generator)  # rectangles of 4 by 3
        >>> prior = ShapePrior.fit(shapes, torch.ones(20, 4, dtype=torch.bool))
        >>> measured = torch.tensor([[[0.0, 0, 0], [0, 8, 0], [-6, 8, 0], [9, 9, 9]]])  # twice as large, turned
        >>> noise = 0.1**2 * torch.eye(3).expand(1, 4, 3, 3)
        >>> found = prior.posterior(measured, noise, torch.tensor([[True, True, True, False]]))
        >>> (found.mean[0, 3] - torch.tensor([-6.0, 0, 0])).norm() < 0.1  # the fourth corner
        tensor(True)
        >>> round(found.similarity.scale.item(), 1)
        2.0
    """

    mean: Tensor
    covariance: Tensor
    num_seen: Tensor

    @classmethod
    def fit(cls, keypoints: Tensor, visible: Tensor, *, max_iterations: int = 500, tolerance: float = 1e-6) -> Self:
        """Align shapes by similarities, never mirrored, and estimate their mean and covariance.

        Generalised Procrustes analysis (Gower 1975), each shape by its closed-form similarity (Umeyama 1991); the
        covariance is shrunk towards a multiple of the identity (Ledoit & Wolf 2004); keypoints that a shape lacks are
        estimated by expectation-maximisation. Deterministic, on the CPU.

        Args:
            keypoints: (M, K, 3) shapes in any pose and unit; what stands at invisible keypoints is ignored.
            visible: (M, K) bool.
            max_iterations: of alignment and estimation.
            tolerance: relative change at which they end.

        Raises:
            TooFewShapes: fewer than three shapes, or with fewer than three keypoints in common (a ValueError).
            ValueError: shapes that do not agree, values that are not finite at visible keypoints, or a shape with all
                its keypoints in one place.

        Warns:
            UserWarning: shapes with fewer than three keypoints, which have no pose and are left out; no convergence.

        Example:
            >>> import torch
            >>> from pcsargmax import ShapePrior
            >>> shapes = torch.rand(9, 5, 3, generator=torch.Generator().manual_seed(0))
            >>> prior = ShapePrior.fit(shapes, torch.ones(9, 5, dtype=torch.bool))
            >>> prior.mean.shape, prior.covariance.shape
            (torch.Size([5, 3]), torch.Size([15, 15]))
        """
        keypoints, visible = checked_shapes(keypoints, visible)
        shapes, known = usable(keypoints, visible)
        if not shapes.all():
            warnings.warn(
                f"{int((~shapes).sum())} of {len(shapes)} shapes have too few visible keypoints to have a pose and are "
                "left out of the shape prior",
                stacklevel=2,
            )
        kept, seen = keypoints[shapes][:, known], visible[shapes][:, known]
        moments = fit_moments(kept, seen, max_iterations=max_iterations, tolerance=tolerance)
        mean = keypoints.new_zeros(len(known), 3)
        mean[known] = moments.mean
        coordinates = known.repeat_interleave(3).nonzero().flatten()
        covariance = mean.new_zeros(mean.numel(), mean.numel())
        covariance[coordinates[:, None], coordinates] = moments.covariance
        return cls(mean, covariance, visible[shapes].sum(dim=0))

    @property
    def known(self) -> Tensor:
        """(K,) bool: the keypoints of which the prior knows something."""
        return self.num_seen >= MIN_SHAPES

    @torch.no_grad()
    def posterior(
        self, mean: Tensor, covariance: Tensor, visible: Tensor | None = None, *, iterations: int = 2
    ) -> Posterior:
        """Combine the prior with measured keypoints (Albrecht et al. 2013; Saragih et al. 2011).

        The similarity is found by Procrustes alignment of the mean shape, each keypoint weighted by the inverse of its
        total variance, and refined by generalised least squares under the full covariance; its uncertainty is part of
        the posterior's. Given it, the posterior is the conditional Gaussian, P Hᵀ (H P Hᵀ + R)⁻¹ being its gain.
        Transforming the measurement by a similarity transforms the posterior likewise. No gradient is kept.

        Args:
            mean: (B, K, 3) measured keypoints in any frame, on any device; ignored where not visible.
            covariance: (B, K, 3, 3) of their errors R, that is of the probability map plus noise (see
                `pcsargmax.models.shape_noise`). Infinite on its diagonal: not measured.
            visible: (B, K) bool, the keypoints that were measured; None: all. The others get the conditional estimate.
            iterations: how often the similarity is refined.

        Raises:
            ValueError: shapes that do not agree with one another or the prior; values that are not finite, or a
                covariance that is not symmetric and positive semidefinite, at a measured keypoint.

        Example:
            >>> import torch
            >>> from pcsargmax import ShapePrior
            >>> shapes = torch.rand(9, 5, 3, generator=torch.Generator().manual_seed(0))
            >>> prior = ShapePrior.fit(shapes, torch.ones(9, 5, dtype=torch.bool))
            >>> found = prior.posterior(shapes, 1e-8 * torch.eye(3).expand(9, 5, 3, 3))  # measured almost exactly
            >>> torch.allclose(found.mean, shapes.double(), atol=1e-3)
            True
            >>> found.degrees_of_freedom[0]  # 3 * 5 - 7
            tensor(8)
        """
        if iterations < 1:
            raise ValueError(f"iterations: got {iterations}; the posterior takes at least 1")
        mean, covariance, visible = _checked_measurement(mean, covariance, visible, len(self.mean))
        known = self.known.to(mean.device)
        seen = visible[:, known]
        base = self.mean.to(mean.device)[known]
        coordinates = known.repeat_interleave(3).nonzero().flatten()
        prior = self.covariance.to(mean.device)[coordinates[:, None], coordinates]
        fitted, similarity, refined = fit_pose(base, prior, mean[:, known], covariance[:, known], seen, iterations)

        place = similarity.apply(base + fitted.deviation.unflatten(1, (-1, 3)))
        blocks = fitted.covariance.unflatten(1, (-1, 3)).unflatten(3, (-1, 3)).diagonal(dim1=1, dim2=3)
        spread = similarity.apply_to_covariance(blocks.movedim(-1, 1))
        lost = fitted.undetermined.unflatten(1, (-1, 3)).any(dim=-1)
        infinite = torch.full((3,), torch.inf, dtype=mean.dtype, device=mean.device).diag()
        # Keypoints that the prior does not know are where they were measured, or somewhere about the shape.
        mean = torch.where(visible[..., None], mean, similarity.translation[:, None])
        covariance = torch.where(visible[..., None, None], covariance, infinite)
        mean[:, known] = place
        covariance[:, known] = torch.where(lost[..., None, None], infinite, (spread + spread.mT) / 2)
        return Posterior(mean, covariance, refined, fitted.distance, fitted.degrees)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON and checkpoints; `from_dict` gives the same prior back, bit for bit."""
        return {name: getattr(self, name).tolist() for name in ("mean", "covariance", "num_seen")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The prior that `to_dict` wrote.

        Raises:
            ValueError: keys that are missing or unknown, values of the wrong shape, not finite, or a covariance that is
                not symmetric and positive semidefinite.
        """
        if set(values) != {"mean", "covariance", "num_seen"}:
            raise ValueError(f"a shape prior must have the keys mean, covariance and num_seen, got {sorted(values)}")
        mean = torch.tensor(values["mean"], dtype=torch.float64)
        covariance = torch.tensor(values["covariance"], dtype=torch.float64)
        num_seen = torch.tensor(values["num_seen"], dtype=torch.long)
        size = 3 * len(num_seen)
        if mean.shape != (len(num_seen), 3) or covariance.shape != (size, size):
            raise ValueError(
                "mean, covariance and num_seen must be (K, 3), (3K, 3K) and (K,), "
                f"got {tuple(mean.shape)}, {tuple(covariance.shape)} and {tuple(num_seen.shape)}"
            )
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("mean and covariance must be finite, got NaN or infinity; fit the shape prior again")
        if not _is_semidefinite(covariance, 1e-12):
            raise ValueError("covariance must be symmetric and positive semidefinite; fit the shape prior again")
        return cls(mean, covariance, num_seen)


def _checked_measurement(
    mean: Tensor, covariance: Tensor, visible: Tensor | None, num_keypoints: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Measured keypoints and covariances in float64, and which of them were measured."""
    if mean.ndim != 3 or mean.shape[1:] != (num_keypoints, 3):
        raise ValueError(
            f"mean: got shape {tuple(mean.shape)}; this shape prior takes (B, {num_keypoints}, 3): pass the keypoints "
            "that it was fitted to, in the same order"
        )
    if covariance.shape != (*mean.shape, 3):
        raise ValueError(f"covariance: got shape {tuple(covariance.shape)}; pass {(*mean.shape, 3)}, one per keypoint")
    if visible is None:
        visible = torch.ones(mean.shape[:2], dtype=torch.bool, device=mean.device)
    check_visible(visible, mean)
    mean, covariance = mean.double(), covariance.to(mean.device).double()
    visible = visible.to(mean.device) & ~covariance.diagonal(dim1=-2, dim2=-1).isposinf().all(dim=-1)
    covariance = torch.where(visible[..., None, None], covariance, 0)
    check_finite("mean", mean.isfinite().all(dim=-1) | ~visible)
    check_finite("covariance", covariance.isfinite().all(dim=-1).all(dim=-1))
    # What is negative by no more than the rounding of float32 is 0.
    if not _is_semidefinite(covariance, 1e-5):
        raise ValueError(
            "covariance: got matrices that are not symmetric and positive semidefinite; pass the covariance of the map "
            "plus that of the noise"
        )
    values, vectors = torch.linalg.eigh(covariance)
    repaired = vectors @ (values.clamp_min(0)[..., None] * vectors.mT)
    return mean, torch.where(values[..., :1, None] < 0, repaired, covariance), visible


def _is_semidefinite(covariance: Tensor, tolerance: float) -> bool:
    """Whether matrices (..., N, N) are symmetric without negative eigenvalues, each relative to its largest entry."""
    most = covariance.abs().amax(dim=(-2, -1))
    skew = (covariance - covariance.mT).abs().amax(dim=(-2, -1))
    least = torch.linalg.eigvalsh(covariance).amin(dim=-1)
    return bool(((skew <= tolerance * most) & (least >= -tolerance * most)).all())
