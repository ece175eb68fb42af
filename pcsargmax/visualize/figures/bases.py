"""The bases and the mixture densities that they make of a map, as a figure by matplotlib (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcsargmax.visualize.figures.parts import check_figure_path, dress, panels, save_figure
from pcsargmax.visualize.palette import keypoint_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pcsargmax.core.bases import Basis

#: A map of ten cells with two modes.
_EXAMPLE = (0.01, 0.03, 0.08, 0.22, 0.28, 0.13, 0.03, 0.06, 0.12, 0.04)
#: Positions for each cell: even, so that the ends of the cells, where a uniform density jumps, lie between two.
_STEPS = 100


def basis_figure(
    probabilities: Sequence[float] | np.ndarray = _EXAMPLE,
    *,
    bases: Mapping[str, Basis] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw the basis densities and the mixtures they make of a 1-D map (Figure 2 of the paper), a column a basis.

    Above: the density f_i around each cell, that of the most probable one filled. Below: the parts π_i f_i, their sum,
    the mixture f (Eq. 6), and the probabilities π_i as dots over the cells. The cells are one unit wide.

    Args:
        probabilities: (L,) the map π, which is made to add up to 1.
        bases: a name to a basis; None: uniform, triangular and Gaussian (Eq. 7 to 9).
        path: where to save the figure as well.

    Raises:
        ValueError: fewer than 2 cells, probabilities that are negative, not finite or all 0, no basis, or one without a
            density.

    Example:
        >>> from pcsargmax.visualize.figures import basis_figure
        >>> figure = basis_figure([0.1, 0.6, 0.3], path="bases.png")
        >>> len(figure.axes)  # two rows, a column for each of the three bases
        6
    """
    from pcsargmax.core.bases import Gaussian
    from pcsargmax.core.cells import Triangular, Uniform

    check_figure_path(path)
    pi = np.asarray(probabilities, dtype=np.float64)
    if pi.ndim != 1 or len(pi) < 2 or not np.isfinite(pi).all() or pi.min() < 0 or not pi.sum() > 0:
        raise ValueError(f"probabilities: expected at least 2 that are not negative nor all 0, got {probabilities}")
    if bases is None:
        bases = {"uniform": Uniform(), "triangular": Triangular(), "Gaussian": Gaussian()}
    if not bases:
        raise ValueError("bases: expected at least one, got none")
    pi = pi / pi.sum()
    figure, axes = panels(2 * len(bases), columns=len(bases), width=2.5, height=1.8)
    for number, (name, basis) in enumerate(bases.items()):
        y, parts, mixture = densities(pi, basis)
        upper, lower = axes[number], axes[number + len(bases)]
        _draw_bases(upper, y, parts, int(pi.argmax()), keypoint_color(number))
        _draw_mixture(lower, y, pi, parts, mixture, keypoint_color(number))
        dress(upper, name, "")
        dress(lower, "", "cells")
    _share_scales(axes[: len(bases)], "basis $f_i(y)$")
    _share_scales(axes[len(bases) :], "mixture $f(y)$")
    return save_figure(figure, path)


def densities(pi: np.ndarray, basis: Basis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (Q,), the density there around each cell (L, Q) and their mixture (Q,), of a map (L,) of unit cells."""
    import torch

    from pcsargmax.core.distribution import KeypointDistribution
    from pcsargmax.core.grid import Grid

    grid = Grid((len(pi),))
    y = (np.arange(_STEPS * (len(pi) + 2)) + 0.5) / _STEPS - 1.5  # a cell more on each side
    positions = torch.from_numpy(y)[None, :, None]
    logits = torch.from_numpy(pi).clamp_min(1e-300).log()[None, None]
    mixture = KeypointDistribution(logits, grid, basis=basis).density(positions)[0, 0]
    return y, basis.density(positions, grid)[0].T.numpy(), mixture.numpy()


def _draw_bases(ax: Any, y: np.ndarray, parts: np.ndarray, chosen: int, color: str) -> None:
    for part in parts:
        ax.plot(y, part, color=color, lw=0.8, alpha=0.45)
    ax.fill_between(y, parts[chosen], color=color, alpha=0.35, lw=0)
    ax.plot(y, parts[chosen], color=color, lw=1.8)


def _draw_mixture(ax: Any, y: np.ndarray, pi: np.ndarray, parts: np.ndarray, mixture: np.ndarray, color: str) -> None:
    for weight, part in zip(pi, parts, strict=True):
        ax.fill_between(y, weight * part, color=color, alpha=0.18, lw=0)
        ax.plot(y, weight * part, color=color, lw=0.6, alpha=0.5)
    ax.plot(y, mixture, color=color, lw=1.8)
    ax.plot(range(len(pi)), pi, "o", ms=3.5, color="#202020", label=r"$\pi_i$")
    ax.legend(frameon=False, fontsize=9, loc="upper right", handletextpad=0.1)


def _share_scales(axes: Sequence[Any], label: str) -> None:
    """One scale of densities for a row, told at the first, and positions in whole cells."""
    axes[0].set_ylabel(label)
    for ax in axes[1:]:
        ax.sharey(axes[0])
        ax.tick_params(labelleft=False)
    axes[0].set_ylim(0, 1.08 * max(ax.dataLim.ymax for ax in axes))
    for ax in axes:
        low, high = ax.dataLim.intervalx
        ax.set_xlim(np.ceil(low), np.floor(high))
        ax.set_xticks(range(0, int(np.floor(high)) + 1, max(1, round(high / 5))))
