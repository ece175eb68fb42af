"""The objectives: error of the expectation (Eq. 2) and expected error (Eq. 14).

All return one value per item and keypoint, (B, K): the caller reduces, and leaves out absent keypoints by
selecting, `loss[visible].mean()`. Multiplying by 0 does not leave out a NaN target, and a NaN that was
computed before the selection still reaches the gradient: give absent keypoints any finite target, such as 0.
"""

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from pcsargmax.argmax import prepare_map, sampling_argmax, soft_argmax
from pcsargmax.bases import Gaussian, weighted_sum
from pcsargmax.relaxation import relaxed_categorical

Distance: TypeAlias = Literal["l1", "l2", "squared_l2"]


def distance(prediction: Tensor, target: Tensor, kind: Distance = "l1") -> Tensor:
    """Return the distance of two sets of positions over their last axis.

    Args:
        prediction: (..., D).
        target: (..., D); the leading axes broadcast.
        kind: "l1", the sum over the axes of the absolute differences; "l2", the Euclidean norm, whose
            gradient at 0 is 0; "squared_l2", its square.

    Returns:
        (...), in the unit of the positions or its square.

    Raises:
        ValueError: an unknown kind, or last axes that differ.
    """
    if prediction.shape[-1:] != target.shape[-1:]:
        shapes = f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}"
        raise ValueError(f"target: expected the last axis D of the prediction, got {shapes}")
    offset = prediction - target
    if kind == "l1":
        return offset.abs().sum(dim=-1)
    if kind == "l2":
        return torch.linalg.vector_norm(offset, dim=-1)
    if kind == "squared_l2":
        return offset.square().sum(dim=-1)
    raise _unknown_distance(kind)


_distance = distance  # The losses below name an argument `distance`, as their callers would.


def error_of_expectation(
    logits: Tensor,
    sites: Tensor,
    target: Tensor,
    *,
    distance: Distance = "l1",
    mask: Tensor | None = None,
) -> Tensor:
    """Return d(y_t, Σ π_i x_i), the error of the soft-argmax (Eq. 2).

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D) or (L, D), in any unit.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        distance: "l1", "l2" or "squared_l2", as in `distance`.
        mask: (B, L) bool, True where a site is real.

    Returns:
        (B, K).

    Raises:
        ValueError: as `soft_argmax`, a target of another shape, or an unknown distance.
    """
    expectation = soft_argmax(logits, sites, mask=mask)
    _check_target(target, expectation.shape)
    return _distance(expectation, target, distance)


def expected_error(
    logits: Tensor,
    sites: Tensor,
    target: Tensor,
    *,
    basis: Gaussian | None = None,
    num_samples: int = 1,
    temperature: float = 1.0,
    distance: Distance = "l1",
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    closed_form: bool = False,
) -> Tensor:
    """Return the mean of d(y_t, ŷ_s) over samples ŷ_s of sampling-argmax (Eq. 14).

    Args:
        logits: (B, K, L) one score per keypoint and site.
        sites: (B, L, D) or (L, D), in any unit.
        target: (B, K, D) true positions; finite also for absent keypoints (see the module).
        basis: the density around each site; None is `Gaussian("auto")`.
        num_samples: S, samples of each keypoint.
        temperature: τ > 0 of the relaxed weights.
        distance: "l1", "l2" or "squared_l2", as in `distance`.
        mask: (B, L) bool, True where a site is real.
        generator: source of all noise, on the device of `logits`.
        closed_form: integrate the noise of the basis out exactly, so that only the draw of the weights is
            random: the same expectation with less variance.

    Returns:
        (B, K).

    Raises:
        ValueError: as `sampling_argmax`, a target of another shape, an unknown distance, or a closed form
            that does not exist (see `gaussian_expected_distance`).
    """
    basis = basis or Gaussian()
    if not closed_form:
        samples = sampling_argmax(
            logits,
            sites,
            basis=basis,
            num_samples=num_samples,
            temperature=temperature,
            mask=mask,
            generator=generator,
        )
        _check_target(target, samples[:, 0].shape)
        return _distance(samples, target.unsqueeze(1), distance).mean(dim=1)
    logits, sites = prepare_map(logits, sites, mask)
    weights = relaxed_categorical(
        logits, num_samples=num_samples, temperature=temperature, generator=generator
    )  # (B, S, K, L): the mask is already in the logits
    mean, std = weighted_sum(weights, sites), basis.noise_std(weights, sites, mask)
    _check_target(target, mean[:, 0].shape)
    return gaussian_expected_distance(mean - target.unsqueeze(1), std, distance).mean(dim=1)


def gaussian_expected_distance(offset: Tensor, std: Tensor, kind: Distance = "l1") -> Tensor:
    """Return E[d(0, offset + std · ε)], ε ~ N(0, I), exactly.

    L1 is the mean of a folded normal per axis. L2 is the mean of a folded normal (D = 1), of a Rice variable
    (D = 2) or of a noncentral chi variable with three degrees of freedom (D = 3). At std = 0 it is the plain
    distance.

    Args:
        offset: (..., D) mean minus target.
        std: (..., 1), or (..., D) for one per axis ("l1" and "squared_l2" only), >= 0; leading axes
            broadcast.
        kind: "l1", "l2" (D up to 3) or "squared_l2", as in `distance`.

    Returns:
        (...). Gradients are exact and finite everywhere, also at std = 0 and at offset 0; second derivatives
        are exact where std > 0 and offset is not 0.

    Raises:
        ValueError: an unknown kind, a `std` whose last axis is neither 1 nor D, or "l2" with D > 3 or one std
            per axis.
    """
    dimension = offset.shape[-1]
    if std.shape[-1] not in (1, dimension):
        raise ValueError(f"std: expected a last axis of 1 or D = {dimension}, got shape {tuple(std.shape)}")
    if kind == "squared_l2":
        return (offset.square() + std.square()).sum(dim=-1)
    if kind == "l1":
        return _expected_norm(offset.abs(), std, dimension=1).sum(dim=-1)
    if kind != "l2":
        raise _unknown_distance(kind)
    if dimension > 3:
        raise ValueError(f"offset: the closed form of 'l2' exists up to D = 3, got D = {dimension}")
    if std.shape[-1] != 1:
        raise ValueError(f"std: 'l2' needs the same std along all axes, (..., 1), got {tuple(std.shape)}")
    return _expected_norm(torch.linalg.vector_norm(offset, dim=-1), std.squeeze(-1), dimension)


def _expected_norm(norm: Tensor, std: Tensor, dimension: int) -> Tensor:
    """Return E‖x‖ for x ~ N(m, std² I) in 1 to 3 dimensions with ‖m‖ = norm."""
    value: Tensor = _ExpectedNorm.apply(*torch.broadcast_tensors(norm, std), dimension)
    return value


class _ExpectedNorm(torch.autograd.Function):
    """E‖x‖ by its slopes: being of degree 1 in norm and std, f(a, b) = a ∂f/∂a + b ∂f/∂b (Euler).

    So what gives the value is its gradient too, and the 0/0 and ∞ · 0 of the plain chain rule cannot come.
    """

    @staticmethod
    def forward(ctx: Any, norm: Tensor, std: Tensor, dimension: int) -> Tensor:
        ctx.save_for_backward(norm, std)
        ctx.dimension = dimension
        norm_slope, std_slope = _slopes(norm, std, dimension)
        return norm * norm_slope + std * std_slope

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        norm, std = ctx.saved_tensors
        norm_slope, std_slope = _slopes(norm, std, ctx.dimension)
        return grad * norm_slope, grad * std_slope, None


def _slopes(norm: Tensor, std: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Return the derivatives of E‖x‖ by norm and by std, functions of their ratio alone."""
    ratio = norm / std.clamp(min=torch.finfo(norm.dtype).tiny)
    ratio = ratio.clamp(max=1e6)  # beyond, the slopes are 1 and 0 to 12 digits
    return (_slopes_1d, _slopes_2d, _slopes_3d)[dimension - 1](ratio)


def _slopes_1d(t: Tensor) -> tuple[Tensor, Tensor]:
    """Folded normal: erf(t/√2) and √(2/π) exp(−t²/2)."""
    return torch.erf(t / math.sqrt(2)), math.sqrt(2 / math.pi) * torch.exp(-t.square() / 2)


def _slopes_2d(t: Tensor) -> tuple[Tensor, Tensor]:
    """Rice: √(π/8) t (I0(z) + I1(z)) exp(−z) and √(π/2) I0(z) exp(−z), z = t²/4."""
    z = t.square() / 4
    i0, i1 = torch.special.i0e(z), torch.special.i1e(z)
    return math.sqrt(math.pi / 8) * t * (i0 + i1), math.sqrt(math.pi / 2) * i0


def _slopes_3d(t: Tensor) -> tuple[Tensor, Tensor]:
    """Noncentral chi of three degrees: φ/t + (1 − 1/t²) e and 2e/t, with e and φ the slopes of one."""
    e, phi = _slopes_1d(t)
    u = t.clamp(min=1e-4)
    std_slope = torch.where(t > 1e-4, 2 * e / u, 2 * math.sqrt(2 / math.pi))
    # Below 1 the first one loses its digits; there its series √(2/π) Σ (−t²/2)^m t · 2 / (m! (2m+1) (2m+3)).
    v = t.clamp(min=1)
    direct = phi / v + (1 - v.reciprocal().square()) * e
    series = torch.zeros_like(t)
    for m in reversed(range(13)):
        series = series * (-t.square() / 2) + 2 / (math.factorial(m) * (2 * m + 1) * (2 * m + 3))
    return torch.where(t < 1, math.sqrt(2 / math.pi) * t * series, direct), std_slope


def _check_target(target: Tensor, shape: tuple[int, ...]) -> None:
    if target.shape != shape:
        raise ValueError(f"target: expected shape (B, K, D) = {tuple(shape)}, got {tuple(target.shape)}")


def _unknown_distance(kind: str) -> ValueError:
    return ValueError(f"distance: expected 'l1', 'l2' or 'squared_l2', got {kind!r}")
