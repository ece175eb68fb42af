"""Sampling-argmax as the last layer of a network that returns 1-D, 2-D or 3-D maps."""

from typing import Any, get_args

import torch
from torch import Tensor, nn

from pcsargmax.core.argmax import fixed_basis, sampling_argmax, soft_argmax
from pcsargmax.core.bases import Basis, weighted_sum
from pcsargmax.core.cells import Triangular
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.core.grid import Grid
from pcsargmax.core.names import CoordinateGradient
from pcsargmax.core.relaxation import Relaxation, mask_logits, relaxed_categorical


class GridArgmax(nn.Module):
    """Sampling-argmax of maps in training, soft-argmax in evaluation, as one layer without parameters.

    Both modes return (B, S, K, D), with S = 1 in evaluation, as `SamplingArgmax` does. Coordinates are in the order
    (x, y, z), the reverse of the map's axes. Their unit and zero are those of the grid: `GridArgmax((64, 48))` counts
    cells from the centre of the first, as pixels do; `Grid((64, 48), spacing=4)` is in pixels of an image of four times
    the resolution; `Grid.normalized` has the conventions that do not depend on the resolution.

    In a network that ends in a soft-argmax or DSNT layer, this takes its place: with `squeeze=True` both modes return
    what such a layer does, (B, K, D). It takes scores; of a map that is normalised already, give it the logarithm.
    The losses of `pcsargmax.core.losses`, whose memory does not grow with the number of samples, take the same maps:
    `expected_error(logits, layer.grid, target, basis=layer.basis, num_samples=30)`. What a map says besides the
    coordinate, such as confidence and covariance, is in `layer.distribution(logits)`.

    The default basis is `Triangular`, as of image runs: a density which only the cells of a grid can have, with which
    the mixture interpolates the map linearly. `SamplingArgmax` and the losses, which also take clouds, default to
    `Gaussian("auto")`, which on a grid is wider (standard deviation c instead of c/√6). So pass `basis=layer.basis` to
    a loss of the same maps.

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
        squeeze: leave out the axis of samples, of which there must be one.

    Raises:
        ValueError: an unknown `coordinate_gradient`, "sign" on a grid with circular axes, a σ of the basis that asks
            for a gradient, `squeeze` with several samples, or as of `Grid`. The other settings are checked where they
            are used.

    Example:
        >>> import torch
        >>> from pcsargmax import GridArgmax
        >>> layer = GridArgmax((64, 48), num_samples=10)
        >>> maps = torch.full((1, 1, 64, 48), -torch.inf)
        >>> maps[0, 0, 20, 30] = 0.0  # all probability in row 20 and column 30
        >>> layer(maps).shape  # samples in training
        torch.Size([1, 10, 1, 2])
        >>> layer.eval()(maps)  # x and y of the expectation in evaluation
        tensor([[[[30., 20.]]]])
    """

    def __init__(
        self,
        grid: Grid | tuple[int, ...],
        basis: Basis | None = None,
        num_samples: int = 1,
        temperature: float = 1.0,
        relaxation: Relaxation = "gumbel_softmax",
        coordinate_gradient: CoordinateGradient = "exact",
        squeeze: bool = False,
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
        self.squeeze = squeeze
        self._check_squeeze()

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
            logits: (B, K, *shape) one map of scores per keypoint. −inf is a score: that cell has no probability.
            basis: the density around each cell in this call; None is the layer's own.
            mask: (B, *shape) bool, True where a cell is real.
            generator: source of all noise, on the device of `logits`.

        Returns:
            positions in the unit of the grid, with `squeeze` (B, K, D).

        Raises:
            ValueError: a map of another shape than the grid's or of −inf alone, or as `sampling_argmax`.
        """
        self._check_squeeze()
        logits, mask = self._flatten(logits, mask)
        samples = self._samples(logits, self.basis if basis is None else basis, mask, generator)
        return samples.squeeze(1) if self.squeeze else samples

    def distribution(
        self, logits: Tensor, *, basis: Basis | None = None, mask: Tensor | None = None
    ) -> KeypointDistribution:
        """Return all that the maps say: mean, confidence (`peak`, `mass_within`), `covariance`, `marginal`, and more.

        Arguments and errors are those of the call itself; the mean is what it returns in evaluation.
        """
        logits, mask = self._flatten(logits, mask)
        return KeypointDistribution(logits, self.grid, mask, self.basis if basis is None else basis)

    def _samples(self, logits: Tensor, basis: Basis, mask: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Return (B, S, K, D) of (B, K, L)."""
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
            + (", squeeze=True" if self.squeeze else "")
        )

    def _check_squeeze(self) -> None:
        if self.squeeze and self.num_samples != 1:
            raise ValueError(f"squeeze: expected num_samples 1, got {self.num_samples}")

    def _flatten(self, logits: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (B, K, L) logits and the (B, L) mask."""
        shape = self.grid.shape
        if logits.ndim != 2 + len(shape) or logits.shape[2:] != shape:
            raise ValueError(f"logits: expected shape (B, K, *shape) with shape {shape}, got {tuple(logits.shape)}")
        whole = (len(logits), *shape)
        if mask is not None and mask.shape != whole:
            raise ValueError(f"mask: expected shape (B, *shape) = {whole}, got {tuple(mask.shape)}")
        logits, mask = logits.flatten(2), None if mask is None else mask.flatten(1)
        _check_scores(logits, mask)
        return logits, mask

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


def _check_scores(logits: Tensor, mask: Tensor | None) -> None:
    """Raise ValueError for a map without a cell that has a probability: all its softmax would be NaN."""
    if torch.compiler.is_compiling() or (mask is not None and mask.dtype != torch.bool):
        return  # This check reads values: torch.compile would break its graph here. What is no mask is told as such.
    scores = logits.detach()
    if mask is not None:
        scores = torch.where(mask.unsqueeze(1), scores, -torch.inf)
    empty = scores.amax(dim=-1).isneginf()
    if mask is not None:
        empty &= mask.any(dim=1, keepdim=True)  # a mask without a real cell is told as such
    if empty.any():
        item, keypoint = empty.nonzero()[0].tolist()
        raise ValueError(
            f"logits: expected a score above -inf in every map, got none in {int(empty.sum())} of {empty.numel()}, "
            f"the first of item {item}, keypoint {keypoint}"
        )


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
