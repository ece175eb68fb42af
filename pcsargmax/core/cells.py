"""The densities over the cells of a grid: uniform and triangular (Eq. 7 and 8)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pcsargmax.core.grid import Grid


@dataclass(frozen=True)
class _CellBasis:
    """A density over the cell of a grid: that of a sum of `_order` variables, each uniform over one cell width."""

    _order: ClassVar[int]

    def variance(
        self,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return the variance of f_i along each axis: c²/12 for `Uniform`, c²/6 for `Triangular`.

        Args:
            sites: the grid.
            mask: not used.
            dtype: of the result.
            device: of the result.

        Returns:
            (1, 1, D). On a grid with circular axes (1, L, E), the variances of the embedded position: of a pair
            they add up to that of the coordinate, less its share of the curvature (of relative size 1/n² for n
            cells round the circle), and are larger along the circle than across it.

        Raises:
            ValueError: the sites are a cloud.
        """
        grid = self.grid_of(sites)
        straight = [self._order * c * c / 12 for c in grid.cell]
        if not any(grid.periods):
            return torch.tensor(straight, dtype=dtype, device=device).reshape(1, 1, -1)
        columns = []
        positions = grid.positions(dtype, device).unbind(-1)
        for n, period, position, value in zip(grid.counts, grid.periods, positions, straight, strict=True):
            if period is None:
                columns.append(torch.full_like(position, value))
                continue
            # With δ the noise as an angle, independent of the site's angle a and symmetric: cos(a + δ) has the
            # variance sin²a E[sin²δ] + cos²a Var[cos δ], and E[cos kδ] = (sin(kπ/n) / (kπ/n)) ** order.
            cosine, double = (math.sin(k * math.pi / n) * n / (k * math.pi) for k in (1, 2))
            along = (1 - double**self._order) / 2
            across = (1 + double**self._order) / 2 - cosine ** (2 * self._order)
            radius = period / (2 * math.pi)
            c2, s2 = torch.cos(position / radius).square(), torch.sin(position / radius).square()
            columns += [radius**2 * (s2 * along + c2 * across), radius**2 * (c2 * along + s2 * across)]
        return torch.stack(columns, dim=-1).unsqueeze(0)

    def density(self, positions: Tensor, sites: Tensor | Grid, mask: Tensor | None = None) -> Tensor:
        """Return f_i at each position.

        Args:
            positions: (B, Q, D) coordinates.
            sites: the grid.
            mask: (B, L) bool, True where a cell is real.

        Returns:
            (B, Q, L) per unit of length, area or volume, 0 at cells that are masked.

        Raises:
            ValueError: the sites are a cloud, or positions of another shape.
        """
        grid = self.grid_of(sites)
        positions = check_positions(positions, grid.dimension)
        density = positions.new_ones(*positions.shape[:2], 1)
        # Each is a product over the axes; the last coordinate is the map's first axis.
        for d in reversed(range(grid.dimension)):
            along = self._axis_density(positions[..., d], grid, d)
            density = (density.unsqueeze(-1) * along.unsqueeze(-2)).flatten(-2)  # (B, Q, l, n) -> (B, Q, l n)
        return zero_masked(density, mask)

    def site_noise(
        self,
        shape: tuple[int, ...],
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw y_i − x_i, y_i ~ f_i, for each cell, independently (Eq. 12 as it is written).

        Args:
            shape: of the draws, such as (B, S, K).
            sites: the grid.
            mask: not used: there is noise at masked cells too.
            generator: source of the noise, on `device`.
            dtype: of the noise.
            device: of the noise.

        Returns:
            (*shape, L, D) in coordinates, also where they are circular: there the caller embeds positions + noise.

        Raises:
            ValueError: the sites are a cloud.
        """
        grid = self.grid_of(sites)
        return self._draw((*shape, grid.num_sites, grid.dimension), grid, generator, dtype, device)

    def noise(
        self,
        weights: Tensor,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw Σ w_i (y_i − x_i) with one draw y_i ~ f_i per cell.

        For these densities no exact shortcut exists, other than for `Gaussian`: the distribution of the sum
        depends on all the weights. So this takes D random numbers per cell and sample, and keeps them for the
        gradient.

        Args:
            weights: (B, S, K, L) relaxed categorical weights, 0 at masked cells.
            sites: the grid.
            mask: not used: the weights have it.
            generator: source of the noise, on the device of `weights`.

        Returns:
            (B, S, K, E) the noise to add to Σ w_i x_i of the embedded positions x_i.

        Raises:
            ValueError: the sites are a cloud, or weights of another number of cells.
        """
        grid = self.grid_of(sites)
        if weights.shape[-1] != grid.num_sites:
            raise ValueError(f"weights: expected L = {grid.num_sites} cells, got shape {tuple(weights.shape)}")
        dtype, device = weights.dtype, weights.device
        noise = self.site_noise(weights.shape[:-1], grid, mask, generator, dtype=dtype, device=device)
        if any(grid.periods):
            positions = grid.positions(dtype, device)
            noise = grid.embed(positions + noise) - grid.embed(positions)
        with torch.autocast(weights.device.type, enabled=False):
            return torch.matmul(weights.unsqueeze(-2), noise).squeeze(-2)  # (..., 1, L) (..., L, E) -> (..., E)

    def draw(
        self,
        index: Tensor,
        sites: Tensor | Grid,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw y ~ f_i at chosen cells: with i drawn from π, exact samples of the mixture.

        Args:
            index: (B, N) long, the cells.
            sites: the grid.
            mask: not used.
            generator: source of the noise, on `device`.
            dtype: of the result.
            device: of the result; None is that of `index`.

        Returns:
            (B, N, D) coordinates; circular ones within the range of `Grid.recover`.

        Raises:
            ValueError: the sites are a cloud.
        """
        grid = self.grid_of(sites)
        device = index.device if device is None else device
        noise = self._draw((*index.shape, grid.dimension), grid, generator, dtype, device)
        return grid.wrap(grid.positions(dtype, device)[index] + noise)

    def grid_of(self, sites: Tensor | Grid) -> Grid:
        """Return the sites, or raise ValueError where they are a cloud."""
        if isinstance(sites, Grid):
            return sites
        raise ValueError(
            f"sites: {self} needs the cells of a Grid, got a tensor of shape {tuple(sites.shape)}: a cloud has no "
            "cells, its points no common distance in each direction, so these densities do not tile the space; "
            "use Gaussian, or give the sites as a Grid"
        )

    def _draw(
        self,
        shape: tuple[int, ...],
        grid: Grid,
        generator: torch.Generator | None,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> Tensor:
        """Draw noise of `shape`, whose last axis is D, around 0."""
        noise = torch.rand(shape, generator=generator, dtype=dtype, device=device)
        if self._order == 1:
            noise.sub_(0.5)
        else:  # the difference of two uniform variables is distributed as their sum, and has its mean at 0
            noise.sub_(torch.rand(shape, generator=generator, dtype=dtype, device=device))
        for d, c in enumerate(grid.cell):
            noise[..., d].mul_(c)  # by numbers: a tensor of them would have to be copied to a GPU each time
        return noise

    def _axis_density(self, column: Tensor, grid: Grid, axis: int) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Uniform(_CellBasis):
    """Uniform over the cell around each site of a `Grid` (Eq. 7): the mixture is a histogram.

    Cells are half-open, [x − c/2, x + c/2) along each axis, so that each position belongs to one.

    Example:
        >>> import torch
        >>> from pcsargmax import Grid, Uniform
        >>> at = torch.tensor([[[0.4], [0.6]]])  # (B, Q, D)
        >>> Uniform().density(at, Grid((3,)))  # of three cells, 0.4 lies in the first, 0.6 in the second
        tensor([[[1., 0., 0.],
                 [0., 1., 0.]]])
    """

    _order: ClassVar[int] = 1

    def _axis_density(self, column: Tensor, grid: Grid, axis: int) -> Tensor:
        """Return (B, Q, n), the factor of one axis, for the coordinates (B, Q)."""
        n, c = grid.counts[axis], grid.cell[axis]
        # By the number of its cell: comparing with each cell's ends could put a position into two cells or none.
        number = torch.floor((column - grid.first[axis]) / c + 0.5)
        if grid.periods[axis] is not None:
            number = torch.remainder(number, n)
        cells = torch.arange(n, dtype=column.dtype, device=column.device)
        return (number.unsqueeze(-1) == cells).to(column.dtype) / c


@dataclass(frozen=True)
class Triangular(_CellBasis):
    """A tent around each site of a `Grid`, which ends at its neighbours (Eq. 8).

    In 2-D and 3-D it is the product of one tent per axis. So the mixture is the map, divided by the volume of a cell,
    interpolated linearly between the sites, and falls to 0 within a cell beyond the outermost ones.

    Example:
        >>> import torch
        >>> from pcsargmax import Grid, Triangular
        >>> at = torch.tensor([[[0.25]]])  # (B, Q, D), between the first two of three cells
        >>> Triangular().density(at, Grid((3,)))
        tensor([[[0.7500, 0.2500, 0.0000]]])
    """

    _order: ClassVar[int] = 2

    def _axis_density(self, column: Tensor, grid: Grid, axis: int) -> Tensor:
        """Return (B, Q, n), the factor of one axis, for the coordinates (B, Q)."""
        c, period = grid.cell[axis], grid.periods[axis]
        away = column.unsqueeze(-1) - grid.axes(column.dtype, column.device)[axis]
        if period is not None:
            away = away - period * torch.round(away / period)
        return (1 - away.abs() / c).clamp(min=0) / c


def check_positions(positions: Tensor, dimension: int) -> Tensor:
    """Return the (B, Q, D) positions in at least float32, or raise ValueError."""
    if positions.ndim != 3 or positions.shape[-1] != dimension:
        raise ValueError(f"positions: expected shape (B, Q, D = {dimension}), got {tuple(positions.shape)}")
    return positions.to(torch.promote_types(positions.dtype, torch.float32))


def zero_masked(density: Tensor, mask: Tensor | None) -> Tensor:
    """Return the (B, Q, L) densities, 0 where the (B, L) mask says that a site is not real."""
    return density if mask is None else torch.where(mask.unsqueeze(1), density, 0)
