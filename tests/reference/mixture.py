"""The mixture density of Eq. 6, one number at a time."""

import math


def density(position, probabilities, sites, kind, width, periods=None):
    """f(y) = Σ π_i Π_d f(y_d − x_id): lists of D numbers, `kind` of density, its width per axis, periods per axis."""
    total = 0.0
    for p, site in zip(probabilities, sites, strict=True):
        value = 1.0
        for y, x, c, period in zip(position, site, width, periods or [None] * len(position), strict=True):
            away = y - x
            if period is not None:
                away = (away + period / 2) % period - period / 2
            value *= {"uniform": uniform, "triangular": triangular, "gaussian": gaussian}[kind](away, c)
        total += p * value
    return total


def uniform(away, c):
    """Eq. 7, half-open."""
    return 1 / c if -c / 2 <= away < c / 2 else 0.0


def triangular(away, c):
    """Eq. 8."""
    return max(0.0, 1 - abs(away) / c) / c


def gaussian(away, sigma):
    """Eq. 9."""
    return math.exp(-0.5 * (away / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
