"""One CUDA kernel each way for the moments of relaxed samples; written in Triton, which is optional.

A sample of sampling-argmax with a Gaussian basis is normal once its weights ŵ are known (see `pcsargmax.core.bases`):
all that is needed of the L weights are Σ ŵ_i x_i and Σ ŵ_i² v_i. The kernels draw the noise, weigh and sum in
registers, and draw the same noise again on the way back, so that nothing of size S·L is ever in memory.

Noise. E ~ Exponential(1) of cloud b, keypoint k, sample s and site i is word s mod 4 of Philox4x32-10 with the seed as
its key and (i, ⌊s/4⌋, k, b) as its counter. No two draws share a word, however large the shapes, and a draw depends
neither on B, S, K and L nor on how the work is split. u = (word + ½) / 2³² and E = −log(1 − u), with a series where u
is small: E keeps full precision where it decides which site wins, and lies within [1.1e-10, 18.1].

Gradient. With ∂ the gradient by the moments, gw_i = ∂mean · x_i + 2 ŵ_i ∂squares · v_i and the relaxed weights w:
∂logits_i = slope · w_i (gw_i − Σ_j w_j gw_j), summed over the samples; slope is 1/τ ("published": 1). The difference is
taken term by term, x_i − Σ_j w_j x_j, so that it is exactly 0, however steep the slope, where one site has all the
weight. No sum depends on the order in which a GPU runs its programs (there are no atomics): a seed repeats bit for bit.

How it was tested: in Triton's interpreter (`TRITON_INTERPRET=1`, Triton 3.9), values and gradients against the plain
form with the very same noise; and compiled for NVIDIA sm_80, but not run on a GPU. The tests take a GPU where there is
one.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcsargmax.core.engine.triton_kernels import gradient_kernel, moments_kernel, noise_kernel
from pcsargmax.core.relaxation import Relaxation, check_relaxation

try:
    import triton
except ImportError:
    triton = None

# Samples that one program draws together: one call of Philox makes four words.
_GROUP = 4
# Sites that one program takes at once, powers of 2. With one site per thread the first kernel needs no exchange between
# threads before its end; the second shares what it loads of a sample between two.
_BLOCK = 128
_GRADIENT_BLOCK = 256
# Fused multiply-adds, by name because Triton is to change its default.
_OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


def available(device: torch.device | str) -> bool:
    """Tell whether the kernels can run on that device.

    Args:
        device: where the tensors are.

    Returns:
        True where Triton is installed and the device is a GPU that is there, or any device where
        `TRITON_INTERPRET=1` was set before this module was imported.
    """
    if triton is None:
        return False
    if not isinstance(moments_kernel, triton.JITFunction):  # Triton's interpreter
        return True
    return torch.device(device).type == "cuda" and torch.cuda.is_available()


def relaxed_moments(
    logits: Tensor,
    positions: Tensor,
    variance: Tensor | None,
    *,
    num_samples: int,
    temperature: float,
    relaxation: Relaxation,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """Draw weights ŵ of each sample (Eq. 10-11) and return Σ ŵ_i x_i and Σ ŵ_i² v_i.

    Args:
        logits: (B, K, L) float32 scores, −inf at masked sites; at least one site of each map is not masked.
        positions: (B or 1, L, D) float32, the sites x_i, finite also where masked; D is small.
        variance: (B or 1, L, V) float32 with V = 1 or D, v_i of each site's density; None is 1 everywhere, V = 1.
        num_samples: S, samples of each map.
        temperature: τ > 0.
        relaxation: as in `relaxed_categorical`.
        seed: (1,) int64 on the device of `logits`; it alone decides the noise, and it stays as it is until
            the backward pass is done.

    Returns:
        (B, K, S, D) and (B, K, S, V), differentiable once by logits, positions and variance. The gradient by
        positions takes B·K·L·D numbers on its way, that by the variance B·K·L·V.

    Raises:
        ValueError: shapes, types or devices that do not fit, `num_samples` < 1, `temperature` not positive and finite,
            an unknown relaxation, or a device on which the kernels cannot run.
    """
    check_relaxation(num_samples, temperature, relaxation)
    _check_tensor("logits", logits, ("B", "K", "L"), logits.device)
    batch_size, _, num_sites = logits.shape
    if num_sites == 0:
        raise ValueError(f"logits: expected at least one site, got shape {tuple(logits.shape)}")
    _check_tensor("positions", positions, ("B or 1", "L", "D"), logits.device)
    _check_sites("positions", positions, batch_size, num_sites, None)
    if variance is not None:
        _check_tensor("variance", variance, ("B or 1", "L", "V"), logits.device)
        _check_sites("variance", variance, batch_size, num_sites, positions.shape[-1])
    _check_seed(seed)
    if seed.device != logits.device:
        raise ValueError(f"seed: expected a tensor on {logits.device}, got {seed.device}")
    _check_device(seed.device)
    moments: tuple[Tensor, Tensor] = _Moments.apply(
        logits, positions, variance, seed, num_samples, temperature, relaxation
    )
    return moments


def log_exponential(seed: Tensor, batch: int, keypoints: int, samples: int, sites: int) -> Tensor:
    """Return the very log E_i that `relaxed_moments` draws, E ~ Exponential(1); g = −log E is a Gumbel variable.

    Args:
        seed: (1,) int64, on the device of the result.
        batch: B.
        keypoints: K.
        samples: S.
        sites: L.

    Returns:
        (B, K, S, L) float32, within [−22.9, 2.9].

    Raises:
        ValueError: a seed that is not one, or a device on which the kernels cannot run.
    """
    _check_seed(seed)
    _check_device(seed.device)
    noise = torch.empty(batch, keypoints, samples, sites, device=seed.device)
    groups, blocks = -(-samples // _GROUP), -(-sites // _BLOCK)
    _launch(
        noise_kernel,
        batch * keypoints * groups * blocks,
        (noise, seed, samples, groups, keypoints, sites, blocks),
        {"GROUP": _GROUP, "BLOCK": _BLOCK},
    )
    return noise


class _Moments(torch.autograd.Function):
    """The moments; what it keeps is of the size of its arguments and results."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        positions: Tensor,
        variance: Tensor | None,
        seed: Tensor,
        num_samples: int,
        temperature: float,
        relaxation: Relaxation,
    ) -> tuple[Tensor, Tensor]:
        batch_size, num_keypoints, num_sites = logits.shape
        logits = logits.contiguous()
        points = positions.mT.contiguous()  # (B or 1, D, L): one coordinate of neighbouring sites in a row
        spreads = None if variance is None else variance.mT.contiguous()
        steep = 1 / temperature
        ctx.noise_scale, ctx.slope = (steep, 1.0) if relaxation == "published" else (1.0, steep)
        ctx.hard, ctx.num_samples = relaxation == "straight_through", num_samples
        per_sample = (batch_size, num_keypoints, num_samples)
        mean = logits.new_empty(*per_sample, points.shape[1])
        squares = logits.new_empty(*per_sample, 1 if spreads is None else spreads.shape[1])
        peak, share = logits.new_empty(per_sample), logits.new_empty(per_sample)
        soft_mean = torch.empty_like(mean) if ctx.hard else None
        winner = torch.empty(per_sample, dtype=torch.int32, device=logits.device) if ctx.hard else None
        group, groups = _groups(num_samples)
        _launch(
            moments_kernel,
            batch_size * num_keypoints * groups,
            (
                *(logits, points, spreads, seed, mean, squares, peak, share, soft_mean, winner),
                *(num_samples, groups, num_keypoints, num_sites, _stride(points), _stride(spreads)),
                *(ctx.noise_scale, ctx.slope),
            ),
            {
                "D": mean.shape[-1],
                "V": squares.shape[-1],
                "HARD": ctx.hard,
                "GROUP": group,
                "BLOCK": _block(_BLOCK, num_sites),
            },
        )
        ctx.save_for_backward(logits, points, spreads, seed, mean, squares, peak, share, soft_mean, winner)
        return mean, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_squares: Tensor) -> tuple[Tensor | None, ...]:
        logits, points, spreads, seed, mean, squares, peak, share, soft_mean, winner = ctx.saved_tensors
        batch_size, num_keypoints, num_sites = logits.shape
        # Σ_j w_j ŵ_j v_j: of one-hot ŵ only the winner's term is left, and its w is the largest.
        pull = squares * share.unsqueeze(-1) if ctx.hard else squares
        wanted = ctx.needs_input_grad
        by_logits = torch.empty_like(logits) if wanted[0] else None
        partial = (batch_size, num_keypoints)
        by_points = logits.new_empty(*partial, mean.shape[-1], num_sites) if wanted[1] else None
        by_spreads = logits.new_empty(*partial, squares.shape[-1], num_sites) if wanted[2] else None
        group, groups = _groups(ctx.num_samples)
        block = _block(_GRADIENT_BLOCK, num_sites)
        _launch(
            gradient_kernel,
            batch_size * num_keypoints * -(-num_sites // block),
            (
                *(logits, points, spreads, seed, peak, share, mean if soft_mean is None else soft_mean, pull, winner),
                *(grad_mean.contiguous(), grad_squares.contiguous(), by_logits, by_points, by_spreads),
                *(ctx.num_samples, groups, num_keypoints, num_sites, _stride(points), _stride(spreads)),
                *(ctx.noise_scale, ctx.slope),
            ),
            {"D": mean.shape[-1], "V": squares.shape[-1], "HARD": ctx.hard, "GROUP": group, "BLOCK": block},
        )
        return by_logits, _over_keypoints(by_points, points), _over_keypoints(by_spreads, spreads), *[None] * 4


def _over_keypoints(partial: Tensor | None, values: Tensor | None) -> Tensor | None:
    """Sum (B, K, C, L) gradients to (B or 1, L, C), as `values` (B or 1, C, L) has it."""
    if partial is None or values is None:
        return None
    return partial.sum(1).sum_to_size(values.shape).mT


def _groups(num_samples: int) -> tuple[int, int]:
    """Return how many samples a program draws together, and how many such groups there are."""
    group = min(_GROUP, triton.next_power_of_2(num_samples))
    return group, -(-num_samples // group)


def _block(most: int, num_sites: int) -> int:
    return int(min(most, triton.next_power_of_2(num_sites)))


def _stride(values: Tensor | None) -> int:
    """Return the distance of clouds in (B or 1, C, L), 0 where all share one."""
    return 0 if values is None or values.shape[0] == 1 else values.stride(0)


def _launch(kernel: Any, programs: int, arguments: tuple[object, ...], sizes: dict[str, object]) -> None:
    """Run so many programs of a kernel of this module, on the device of its first argument."""
    if programs > 0:
        with torch.cuda.device_of(arguments[0]):
            kernel[(programs,)](*arguments, **sizes, **_OPTIONS)


def _check_device(device: torch.device) -> None:
    if not available(device):
        reason = "Triton, and a GPU or TRITON_INTERPRET=1 set before it is imported"
        raise ValueError(f"device: expected one on which the kernels can run ({reason}), got {device}")


def _check_tensor(name: str, tensor: Tensor, axes: tuple[str, ...], device: torch.device) -> None:
    shape = ", ".join(axes)
    if tensor.ndim != len(axes) or tensor.dtype != torch.float32:
        found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
        raise ValueError(f"{name}: expected torch.float32 of shape ({shape}), got {found}")
    if tensor.device != device:
        raise ValueError(f"{name}: expected a tensor on {device}, got {tensor.device}")


def _check_sites(name: str, values: Tensor, batch_size: int, num_sites: int, dimension: int | None) -> None:
    """Check (B or 1, L, any) values, of 1 or `dimension` columns where one is given."""
    batch, sites, columns = values.shape
    fits = columns > 0 if dimension is None else columns in (1, dimension)
    if batch not in (1, batch_size) or sites != num_sites or not fits:
        last = "D" if dimension is None else f"1 or {dimension}"
        expected = f"({batch_size} or 1, {num_sites}, {last})"
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(values.shape)}")


def _check_seed(seed: Tensor) -> None:
    if seed.dtype != torch.int64 or seed.shape != (1,):
        found = f"{seed.dtype} of shape {tuple(seed.shape)}"
        raise ValueError(f"seed: expected torch.int64 of shape (1,), got {found}")
