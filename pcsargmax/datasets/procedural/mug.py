"""Mugs: straight, tapered, waisted, bellied or squarish; handles of many forms or none; some with a lid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pcsargmax.datasets.procedural.parts import Array, Shape, loft, palette, ring, tube, vec

NAMES = {
    0: "rim handle side left",
    1: "rim handle side right",
    2: "rim far side right",
    3: "rim far side left",
    4: "base handle side left",
    5: "base handle side right",
    6: "base far side right",
    7: "base far side left",
    8: "handle upper joint",
    9: "handle outermost",
    10: "handle lower joint",
    11: "lid knob",
    12: "lip",
}
"""What each semantic id is; the handle points to −z, right is +x. 0 to 10 are those of KeypointNet's mugs."""

_SIDES = 48
_DIAGONALS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / np.sqrt(2)


def mug(rng: np.random.Generator) -> Shape:
    """Draw a mug: y up, its handle towards −z, of size about 1."""
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    clay, dark = palette(rng, 2)
    tall, power = rng.uniform(0.4, 0.85), (2.0 if rng.random() < 0.75 else rng.uniform(3, 7))
    half = np.array([1.0, rng.uniform(0.88, 1.12) if rng.random() < 0.3 else 1.0]) * rng.uniform(0.26, 0.36)
    base_scale, belly = rng.uniform(0.55, 1.1), rng.uniform(-0.14, 0.2)
    lip = rng.uniform(0.12, 0.3) if rng.random() < 0.15 else 0.0

    def radius(share: np.ndarray | float) -> np.ndarray:
        """Scale of the section at a share of the height: a taper with a belly or a waist."""
        return np.asarray(base_scale + (1 - base_scale) * share + belly * np.sin(np.pi * np.asarray(share)))

    def section(share: float, scale: float = 1.0, rise: float = 0.0) -> Array:
        size = half * float(radius(share)) * scale
        points = ring([0, share * tall + rise, 0], [size[0], 0, 0], [0, 0, size[1]], sides=_SIDES, power=power)
        far = np.clip(points[:, 2] / size[1], 0, 1) ** 8 * lip * share**6  # a lip opposite the handle
        points[:, 2] += far * size[1]
        points[:, 1] += 0.3 * far * size[1]
        return points

    levels = np.linspace(0, 1, 9)
    wall, floor = rng.uniform(0.82, 0.94), rng.uniform(0.03, 0.12)
    outer = [section(share) for share in levels]
    inner = [section(share, wall) for share in levels[::-1] if share * tall > floor]
    shape = Shape(reflection=pairs)
    body = shape.add(loft([*outer, *inner, section(floor / tall, wall)], clay, hides=False))
    for i, diagonal in enumerate(_DIAGONALS):
        for first, ends in ((0, outer[-1]), (4, outer[0])):
            shape.mark(first + i, body, ends[np.argmax(ends[:, [0, 2]] @ (diagonal / half))])
    if lip:
        shape.mark(12, body, outer[-1][np.argmax(outer[-1][:, 2])])
    elif power == 2 and half[0] == half[1]:
        shape.circles += [(0, 1, 2, 3), (4, 5, 6, 7)]
    shape.cover(loft(outer, clay), body)
    if rng.random() < 0.93:
        _handle(rng, shape, tall, lambda share: half[1] * float(radius(share)), clay)
    if rng.random() < 0.12 and not lip:
        _lid(rng, shape, [section(1.0, s, rise) for s, rise in ((1, 0.0), (1, 0.02), (0.7, 0.05))], dark)
    return shape


def _handle(
    rng: np.random.Generator,
    shape: Shape,
    tall: float,
    radius: Callable[[float], float],
    color: tuple[int, ...],
) -> None:
    """Add a tube from the wall out and back to it: round, squarish, hanging or perked up like an ear."""
    upper, lower = rng.uniform(0.6, 0.95), rng.uniform(0.06, 0.4)
    reach, skew, power = rng.uniform(0.12, 0.34), rng.uniform(-0.35, 0.35), rng.choice([2.0, 2.0, 3.0, 5.0])
    width, thick = rng.uniform(0.022, 0.06), rng.uniform(0.016, 0.038)
    angle = np.linspace(0, np.pi, 33)
    around = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    share = (upper + lower) / 2 + (upper - lower) / 2 * around * np.cos(angle)
    wall = np.array([0.95 * radius(float(s)) for s in share])
    out = reach * around * np.sin(angle) * (1 + skew * np.cos(angle))
    path = np.stack([np.zeros_like(out), share * tall, -(wall + out)], axis=1)
    handle = shape.add(tube(path, width, thick, color))
    shape.mark(8, handle, [0, upper * tall + thick, -1.02 * radius(upper)])
    shape.mark(9, handle, path[np.argmin(path[:, 2])] - vec(0, 0, thick))
    shape.mark(10, handle, [0, lower * tall - thick, -1.02 * radius(lower)])


def _lid(rng: np.random.Generator, shape: Shape, rings: list[Array], color: tuple[int, ...]) -> None:
    shape.add(loft(rings, color))
    middle, size = rings[-1].mean(0), rng.uniform(0.03, 0.06)
    levels = ((0.0, 0.5), (0.6, 0.6), (1.2, 1.0), (1.8, 0.8))
    knob = [ring(middle + vec(0, y * size, 0), [s * size, 0, 0], [0, 0, s * size], sides=16) for y, s in levels]
    shape.mark(11, shape.add(loft(knob, color)), middle + vec(0, 1.8 * size, 0))
