"""Sampling-argmax as the last layer of a network that returns 1-D, 2-D or 3-D maps."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pcsargmax.argmax import fixed_basis, sampling_argmax, soft_argmax
from pcsargmax.bases import Basis, weighted_sum
from pcsargmax.cells import Triangular
from pcsargmax.grid import Grid
from pcsargmax.relaxation import Relaxation, mask_logits, relaxed_categorical

CoordinateGradient = Literal["exact", "sign"]


class GridArgmax(nn.Module):
    """Sampling-argmax of maps in training, soft-argmax in evaluation, as one layer without parameters.

    Both modes return (B, S, K, D), with S = 1 in evaluation, as `SamplingArgmax` does. Coordinates are in the order
    (x, y, z), the reverse of the map's axes.

    `coordinate_gradient="sign"` is a trick of the authors' published code for 2-D maps (COCO), which the paper does not
    mention. Values have the same distribution. In the backward pass the derivative of a coordinate by the weight of a
    site, which is the site's coordinate x_i, is replaced by two cell widths, ±2c, with the sign of x_i minus the
    coordinate (+2c where they are equal). So a far site is pulled no more strongly than a near one. It is the gradient
    of no objective; a learned σ of the basis still has its own. All weights are kept: memory grows with `num_samples`.

    Args:
        grid: where the cells are; a shape stands for `Grid(shape)`, whose unit is the cell.
        basis: the density around each cell; None is `Triangular()`. A learned σ is given to each call instead,
            `layer(logits, basis=Gaussian(sigma))`: the layer would not register it.
        num_samples: S, samples of each keypoint in training.
        temperature: τ > 0. To anneal it, set the attribute: `layer.temperature = schedule(progress)`.
        relaxation: as in `relaxed_categorical`.
        coordinate_gradient: "exact" or "sign".

    Raises:
        ValueError: an unknown `coordinate_gradient`, "sign" on a grid with circular axes, a σ of the basis that asks
            for a gradient, or as of `Grid`. The other settings are checked where they are used.
    """

    def __init__(
        self,
        grid: Grid | tuple[int, ...],
        basis: Basis | None = None,
        num_samples: int = 1,
        temperature: float = 1.0,
        relaxation: Relaxation = "gumbel_softmax",
        coordinate_gradient: CoordinateGradient = "exact",
    ) -> None:
        super().__init__()
        self.grid = grid if isinstance(grid, Grid) else Grid(grid)
        self.basis = fixed_basis(Triangular() if basis is None else basis)
        self.num_samples = num_samples
        self.temperature = temperature
        self.relaxation = relaxation
        if coordinate_gradient not in get_args(CoordinateGradient):
            raise ValueError(f"coordinate_gradient: expected 'exact' or 'sign', got {coordinate_gradient!r}")
        if coordinate_gradient == "sign" and any(self.grid.periods):
            raise ValueError(
                "coordinate_gradient: 'sign' needs a grid without circular axes, where no site lies before or after "
                f"another, got {self.grid}"
            )
        self.coordinate_gradient = coordinate_gradient

    def forward(
        self,
        logits: Tensor,
        *,
        basis: Basis | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return (B, S, K, D) samples in training, the (B, 1, K, D) expectation in evaluation.

        Args:
            logits: (B, K, *shape) one map of scores per keypoint.
            basis: the density around each cell in this call; None is the layer's own.
            mask: (B, *shape) bool, True where a cell is real.
            generator: source of all noise, on the device of `logits`.

        Raises:
            ValueError: a map of another shape than the grid's, or as `sampling_argmax`.
        """
        logits, mask = self._flatten(logits, mask)
        basis = self.basis if basis is None else basis
        if self.coordinate_gradient == "sign":
            return self._with_sign_gradient(logits, basis, mask, generator)
        if not self.training:
            return soft_argmax(logits, self.grid, mask=mask).unsqueeze(1)
        return sampling_argmax(
            logits,
            self.grid,
            basis=basis,
            num_samples=self.num_samples,
            temperature=self.temperature,
            relaxation=self.relaxation,
            mask=mask,
            generator=generator,
        )

    def extra_repr(self) -> str:
        """Return the settings, for `print(layer)`."""
        return (
            f"{self.grid}, basis={self.basis}, num_samples={self.num_samples}, temperature={self.temperature}, "
            f"relaxation={self.relaxation!r}, coordinate_gradient={self.coordinate_gradient!r}"
        )

    def _flatten(self, logits: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (B, K, L) logits and the (B, L) mask."""
        shape = self.grid.shape
        if logits.ndim != 2 + len(shape) or logits.shape[2:] != shape:
            raise ValueError(f"logits: expected shape (B, K, *shape) with shape {shape}, got {tuple(logits.shape)}")
        whole = (len(logits), *shape)
        if mask is not None and mask.shape != whole:
            raise ValueError(f"mask: expected shape (B, *shape) = {whole}, got {tuple(mask.shape)}")
        return logits.flatten(2), None if mask is None else mask.flatten(1)

    def _with_sign_gradient(
        self, logits: Tensor, basis: Basis, mask: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        if self.training:
            weights = relaxed_categorical(
                logits,
                num_samples=self.num_samples,
                temperature=self.temperature,
                relaxation=self.relaxation,
                mask=mask,
                generator=generator,
            )
            # Detached: the sign stands for the weight's whole effect on the coordinate, that of the noise included.
            noise = basis.noise(weights.detach(), self.grid, mask, generator)
        else:
            weights = torch.softmax(mask_logits(logits, mask), dim=-1).unsqueeze(1)
            noise = weights.new_zeros(*weights.shape[:-1], self.grid.dimension)
        samples: Tensor = _SignGradient.apply(weights, noise, self.grid)
        return samples


class _SignGradient(torch.autograd.Function):
    """Σ w_i x_i + noise, with the sign of x_i minus this, times two cell widths, as derivative by w_i."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, noise: Tensor, grid: Grid) -> Tensor:
        coordinate = weighted_sum(weights, grid.positions(weights.dtype, weights.device).unsqueeze(0)) + noise
        ctx.save_for_backward(coordinate)
        ctx.grid = grid
        return coordinate

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (coordinate,) = ctx.saved_tensors
        axes = ctx.grid.axes(grad.dtype, grad.device)
        total = grad.new_zeros(*grad.shape[:-1], 1)
        # The sign of an axis is the same all across the others; the last coordinate is the map's first axis.
        for d in reversed(range(len(axes))):
            before = axes[d] < coordinate[..., d : d + 1]  # (B, S, K, n)
            step = 2 * ctx.grid.cell[d] * grad[..., d : d + 1]
            total = (total.unsqueeze(-1) + torch.where(before, -step, step).unsqueeze(-2)).flatten(-2)
        return total, grad, None
