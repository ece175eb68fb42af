"""Circular coordinates, such as angles: the sinusoidal soft-argmax named in the paper.

The mean of 359° and 1° is not 180°. So a coordinate a of period P is replaced by a point of a circle,

    P/2π · (cos 2πa/P, sin 2πa/P),

before it is averaged, and the mean is turned back into a coordinate by its direction from the centre. The circle has
the circumference P, so that small distances along it keep their length. `Grid` does this for its periodic axes; for
the points of a cloud: `recover(soft_argmax(logits, embed(angles, periods)), periods)`.

Example:
    >>> import torch
    >>> from pcsargmax import circular, soft_argmax
    >>> angles = torch.tensor([[350.0], [20.0]])  # degrees
    >>> mean = soft_argmax(torch.zeros(1, 1, 2), circular.embed(angles, [360.0]))
    >>> circular.recover(mean, [360.0]).round(decimals=3)
    tensor([[[5.]]])
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Periods: TypeAlias = Sequence[float | None]
"""The period of each of the D coordinates, in its own unit, None where it is not circular."""


def embed(positions: Tensor, periods: Periods) -> Tensor:
    """Replace each circular coordinate a by the pair P/2π (cos 2πa/P, sin 2πa/P), in its place.

    Args:
        positions: (..., D) coordinates, any floating type.
        periods: P of each coordinate, positive, None where it is not circular.

    Returns:
        (..., E), E = D + the number of circular coordinates, in at least float32.

    Raises:
        ValueError: a last axis other than D, or a period that is not positive and finite.

    Example:
        >>> import torch
        >>> from pcsargmax import circular
        >>> circular.embed(torch.tensor([[0.0, 5.0]]), [360.0, None])  # an angle, on a radius of 360 / 2π, and a length
        tensor([[57.2958,  0.0000,  5.0000]])
    """
    _check("positions", positions, len(periods), periods)
    positions = positions.to(torch.promote_types(positions.dtype, torch.float32))
    if all(period is None for period in periods):
        return positions
    columns = []
    for period, column in zip(periods, positions.unbind(-1), strict=True):
        if period is None:
            columns.append(column)
        else:
            radius = period / (2 * math.pi)
            columns += [radius * torch.cos(column / radius), radius * torch.sin(column / radius)]
    return torch.stack(columns, dim=-1)


def recover(embedded: Tensor, periods: Periods, lower: Sequence[float] | float = 0.0) -> Tensor:
    """Turn averages of embedded positions back into coordinates: the direction from the circle's centre.

    The gradient along the circle is the radius by the distance from the centre, as steep as that is small. Within
    rounding of the centre, 64 eps of the radius, where there is no direction, the angle is 0 and its gradient too: so
    it is for a uniform map. Losses had better measure distances between embedded positions.

    Args:
        embedded: (..., E) as `embed` returns, or averages of such.
        periods: P of each of the D coordinates, positive, None where it is not circular.
        lower: the least value of each coordinate, one for all or D; the circular ones come out within
            [lower, lower + P), up to rounding.

    Returns:
        (..., D), in at least float32.

    Raises:
        ValueError: a last axis other than E, a period that is not positive and finite, or `lower` of another length.

    Example:
        >>> import torch
        >>> from pcsargmax import circular
        >>> circular.recover(torch.tensor([[0.0, 10.0]]), [360.0]).round(decimals=2)  # straight up from the centre
        tensor([[90.]])
    """
    _check("embedded", embedded, len(periods) + sum(period is not None for period in periods), periods)
    lowers = _per_coordinate("lower", lower, len(periods))
    embedded = embedded.to(torch.promote_types(embedded.dtype, torch.float32))
    if all(period is None for period in periods):
        return embedded
    columns, remaining = [], list(embedded.unbind(-1))
    for period, least in zip(periods, lowers, strict=True):
        column = remaining.pop(0)
        if period is not None:
            radius = period / (2 * math.pi)
            angle = _angle(column / radius, remaining.pop(0) / radius)
            column = wrap(radius * angle, period, least)
        columns.append(column)
    return torch.stack(columns, dim=-1)


def difference(a: Tensor, b: Tensor, periods: Periods) -> Tensor:
    """Return a − b, the shortest way round where a coordinate is circular: within [−P/2, P/2].

    Args:
        a: (..., D) coordinates.
        b: (..., D), the leading axes broadcast.
        periods: P of each coordinate, positive, None where it is not circular.

    Returns:
        (..., D).

    Raises:
        ValueError: a last axis other than D, or a period that is not positive and finite.

    Example:
        >>> import torch
        >>> from pcsargmax import circular
        >>> circular.difference(torch.tensor([10.0]), torch.tensor([350.0]), [360.0])
        tensor([20.])
    """
    _check("a", a, len(periods), periods)
    _check("b", b, len(periods), periods)
    columns = []
    for period, column in zip(periods, (a - b).unbind(-1), strict=True):
        columns.append(column if period is None else column - period * torch.round(column / period))
    return torch.stack(columns, dim=-1)


def wrap(column: Tensor, period: float, lower: float = 0.0) -> Tensor:
    """Return the coordinates (...) of one period within [lower, lower + period), up to rounding."""
    above = torch.remainder(column - lower, period)
    # What lies a rounding error below `lower` has the remainder `period` itself.
    return torch.where(above < period, above, above - period) + lower


def _angle(cosine: Tensor, sine: Tensor) -> Tensor:
    """Return atan2(sine, cosine) with the value and gradient 0 where both are 0 within rounding, of a radius of 1."""
    outside = cosine.square() + sine.square() > (64 * torch.finfo(cosine.dtype).eps) ** 2
    return torch.atan2(torch.where(outside, sine, 0), torch.where(outside, cosine, 1))


def _check(name: str, values: Tensor, length: int, periods: Periods) -> None:
    for period in periods:
        if period is not None and not 0 < period < math.inf:
            raise ValueError(f"periods: expected positive finite numbers or None, got {tuple(periods)}")
    if values.ndim == 0 or values.shape[-1] != length:
        raise ValueError(f"{name}: expected a last axis of {length}, got shape {tuple(values.shape)}")
    if not values.is_floating_point():
        raise ValueError(f"{name}: expected a floating type, got {values.dtype}")


def _per_coordinate(name: str, value: Sequence[float] | float, length: int) -> tuple[float, ...]:
    """Return D numbers from one or D."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * length
    if len(numbers) != length:
        raise ValueError(f"{name}: expected a number or {length} of them, got {len(numbers)}: {numbers}")
    return numbers
