"""Distances of positions, and their exact expectations where the prediction has normal noise."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from pcsargmax.core.names import DistanceName

#: Nodes below ½ and weights of the Gauss-Legendre rule of order 8 on [0, 1]; the others mirror them.
_LEGENDRE = (
    (0.019855071751231912, 0.05061426814518853),
    (0.10166676129318664, 0.11119051722668721),
    (0.2372337950418355, 0.15685332293894344),
    (0.4082826787521751, 0.18134189168918083),
)


@dataclass(frozen=True)
class SmoothL1:
    """Smooth L1, per axis and summed: x² / 2β where |x| < β, else |x| − β/2.

    Args:
        beta: β > 0, in the unit of the positions. Times β it is Huber's loss; for β = 0 take "l1".

    Raises:
        ValueError: `beta` is not positive and finite.

    Example:
        >>> import torch
        >>> from pcsargmax import SmoothL1
        >>> from pcsargmax.core.distances import distance
        >>> distance(torch.tensor([0.5, 3.0]), torch.zeros(2), SmoothL1(beta=1.0))  # 0.5² / 2 + (3 − 1/2)
        tensor(2.6250)
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError where beta is not one."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta: expected a length, positive and finite, got {self.beta}")


Distance: TypeAlias = DistanceName | SmoothL1
"""The kinds of `distance`."""


def distance(prediction: Tensor, target: Tensor, kind: Distance = "l1") -> Tensor:
    """Return the distance of two sets of positions over their last axis.

    Args:
        prediction: (..., D).
        target: (..., D); the leading axes broadcast.
        kind: "l1", the sum over the axes of the absolute differences; "l2", the Euclidean norm, whose
            gradient at 0 is 0; "squared_l2", its square; `SmoothL1(beta)`, "l1" with a round bottom.

    Returns:
        (...), in the unit of the positions or its square.

    Raises:
        ValueError: an unknown kind, or last axes that differ.

    Example:
        >>> import torch
        >>> from pcsargmax.core.distances import distance
        >>> a, b = torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0])
        >>> [distance(a, b, kind).item() for kind in ("l1", "l2", "squared_l2")]
        [7.0, 5.0, 25.0]
    """
    if prediction.shape[-1:] != target.shape[-1:]:
        shapes = f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}"
        raise ValueError(f"target: expected the last axis D of the prediction, got {shapes}")
    offset = prediction - target
    if isinstance(kind, SmoothL1):
        return functional.smooth_l1_loss(offset, torch.zeros_like(offset), reduction="none", beta=kind.beta).sum(dim=-1)
    if kind == "l1":
        return offset.abs().sum(dim=-1)
    if kind == "l2":
        return torch.linalg.vector_norm(offset, dim=-1)
    if kind == "squared_l2":
        return offset.square().sum(dim=-1)
    raise _unknown_distance(kind)


def pairwise_distance(positions: Tensor, sites: Tensor, kind: Distance = "l1") -> Tensor:
    """Return the distances of each position to each site, without a tensor (B, K, L, D).

    Args:
        positions: (B, K, D).
        sites: (B, L, D) or (1, L, D).
        kind: as in `distance`.

    Returns:
        (B, K, L), with finite gradients also where a position is a site.

    Raises:
        ValueError: an unknown kind.
    """
    if isinstance(kind, SmoothL1):
        away = positions.new_zeros(())
        for axis in range(positions.shape[-1]):
            of_axis = slice(axis, axis + 1)
            away = away + distance(positions[..., None, of_axis], sites[:, None, :, of_axis], kind)
        return away
    if kind not in ("l1", "l2", "squared_l2"):
        raise _unknown_distance(kind)
    # Without the product form, which loses half the digits of small distances.
    power = 1.0 if kind == "l1" else 2.0
    away = torch.cdist(positions, sites, p=power, compute_mode="donot_use_mm_for_euclid_dist")
    return away.square() if kind == "squared_l2" else away


def gaussian_expected_distance(offset: Tensor, std: Tensor, kind: Distance = "l1") -> Tensor:
    """Return E[d(0, offset + std · ε)], ε ~ N(0, I), exactly.

    L1 is the mean of a folded normal per axis. L2 is the mean of a folded normal (D = 1), of a Rice variable
    (D = 2) or of a noncentral chi variable with three degrees of freedom (D = 3). At std = 0 it is the plain
    distance.

    Args:
        offset: (..., D) mean minus target.
        std: (..., 1), or (..., D) for one per axis (all kinds but "l2"), >= 0; leading axes broadcast.
        kind: "l1", "l2" (D up to 3), "squared_l2" or `SmoothL1(beta)`, as in `distance`.

    Returns:
        (...), in at least float32. Gradients are exact and finite everywhere, also at std = 0 and at offset 0;
        second derivatives are exact where std > 0 and offset is not 0.

    Raises:
        ValueError: an unknown kind, a `std` whose last axis is neither 1 nor D, or "l2" with D > 3 or one std
            per axis.

    Example:
        >>> import torch
        >>> from pcsargmax import gaussian_expected_distance
        >>> offset, std = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
        >>> gaussian_expected_distance(offset, std, "squared_l2")  # 3² + 4² + 2 · 0.5²
        tensor(25.5000)
        >>> gaussian_expected_distance(torch.zeros(1), torch.ones(1), "l1")  # √(2/π)
        tensor(0.7979)
    """
    dimension = offset.shape[-1]
    if std.shape[-1] not in (1, dimension):
        raise ValueError(f"std: expected a last axis of 1 or D = {dimension}, got shape {tuple(std.shape)}")
    dtype = torch.promote_types(torch.promote_types(offset.dtype, std.dtype), torch.float32)
    offset, std = offset.to(dtype), std.to(dtype)
    if isinstance(kind, SmoothL1):
        scaled = torch.broadcast_tensors(offset.abs() / kind.beta, std / kind.beta)
        value: Tensor = _ExpectedSmoothL1.apply(*scaled)
        return kind.beta * value.sum(dim=-1)
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


def _unknown_distance(kind: str) -> ValueError:
    return ValueError(f"distance: expected 'l1', 'l2', 'squared_l2' or SmoothL1(beta), got {kind!r}")


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


class _ExpectedSmoothL1(torch.autograd.Function):
    """E h(x) for x ~ N(mean, std²), mean >= 0, with h smooth L1 of β = 1: any other β is a unit of length."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, std: Tensor) -> Tensor:
        ctx.save_for_backward(mean, std)
        return _smooth_l1(mean, std)[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        _, mean_slope, std_slope = _smooth_l1(*ctx.saved_tensors)
        return grad * mean_slope, grad * std_slope


def _smooth_l1(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return E h(x) and its derivatives by mean and std: the slopes are E h′(x) and std · P(|x| < 1)."""
    wide = std > 1
    pairs = zip(_smooth_l1_wide(mean, std.clamp(min=1)), _smooth_l1_narrow(mean, std.clamp(max=1)), strict=True)
    value, mean_slope, inside = (torch.where(wide, *pair) for pair in pairs)
    return value, mean_slope, std * inside


def _smooth_l1_narrow(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For std up to 1, by the means of positive parts (·)₊, which do not cancel there.

    h is x²/2 − (x − 1)₊²/2 − (−x − 1)₊²/2, and the same as x − ½ + (1 − x)₊²/2 − (−x − 1)₊²/2: the first for a
    mean within 1, the second beyond.
    """
    near = mean <= 1
    low, ramp, wing = _positive_part(torch.where(near, mean - 1, 1 - mean), std)
    other_low, other_ramp, other_wing = _positive_part(-1 - mean, std)
    inner = mean.clamp(max=1)
    value = torch.where(near, inner.square() + std.square() - wing, 2 * mean - 1 + wing) / 2
    return value - other_wing / 2, inner - ramp + other_ramp, torch.where(near, 1 - low, low) - other_low


def _positive_part(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return P(x > 0), E x₊ and E x₊² for x ~ N(mean, std²), mean <= 0, std <= 1."""
    mean = mean.clamp(min=-40)  # beyond 40 std all three are 0
    ratio = (mean / std.clamp(min=torch.finfo(std.dtype).tiny)).clamp(min=-40)
    positive = torch.special.erfc(-ratio / math.sqrt(2)) / 2
    density = std * torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    first = mean * positive + density
    return positive, first, mean * first + std.square() * positive


def _smooth_l1_wide(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For std from 1, h as |x| − ½ and half the square of the tent (1 − |x|)₊.

    On the tent the density is so smooth that the sums over Gauss-Legendre nodes are exact to 15 digits.
    """
    e, phi = _slopes(mean, std, 1)
    value, mean_slope, inside = mean * e + std * phi - 0.5, e, torch.zeros_like(mean)
    for node, weight in _LEGENDRE:
        for x in (node, 1 - node):
            right, left = (torch.exp(-((x - m) / std).clamp(-40, 40).square() / 2) for m in (mean, -mean))
            scale = weight / math.sqrt(2 * math.pi) / std
            value = value + (right + left) * scale * ((1 - x) ** 2 / 2)
            mean_slope = mean_slope - (right - left) * scale * (1 - x)
            inside = inside + (right + left) * scale
    return value, mean_slope, inside
