"""The densities around the sites, one site and one axis at a time."""

import math


def uniform(y, x, c):
    """Eq. 7 along one axis."""
    return 1 / c if x - c / 2 <= y < x + c / 2 else 0.0


def triangular(y, x, c):
    """Eq. 8 along one axis."""
    return max(0.0, 1 - abs(y - x) / c) / c


def gaussian(y, x, sigma):
    """Eq. 9 along one axis."""
    return math.exp(-(((y - x) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))


def density(axis_density, position, site, width):
    """The product over the axes, for numbers (D,)."""
    return math.prod(axis_density(y, x, w) for y, x, w in zip(position, site, width, strict=True))
