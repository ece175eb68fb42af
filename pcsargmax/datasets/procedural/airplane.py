"""Airplanes: airliners, propeller planes, biplanes; wings high or low, straight or swept; T-tails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from pcsargmax.datasets.procedural.parts import Array, Part, Shape, bar, loft, palette, ring, vec

NAMES = {
    0: "nose",
    1: "tail end",
    2: "right wing tip",
    3: "left wing tip",
    4: "right wing root, leading edge",
    5: "left wing root, leading edge",
    6: "fin tip",
    7: "right tailplane tip",
    8: "left tailplane tip",
    9: "right engine front",
    10: "left engine front",
    11: "right outer engine front",
    12: "left outer engine front",
    13: "fin root, leading edge",
    14: "right upper wing tip",
    15: "left upper wing tip",
}
"""What each semantic id is; the nose points to −z, right is +x. Wing tips are meant at the leading edge."""


class Body:
    """The fuselage: its `radius` and height of `middle` at a place from the nose (0) to the tail (1)."""

    def __init__(self, z: Array, radius: Array, middle: Array) -> None:
        """Take them at the places `z`, ascending; between, they are interpolated."""
        self._z, self._radius, self._middle = z, radius, middle

    def radius(self, at: float) -> float:
        """Half the width of the body."""
        return float(np.interp(at, self._z, self._radius))

    def middle(self, at: float) -> float:
        """Height of the middle of the section."""
        return float(np.interp(at, self._z, self._middle))


def airplane(rng: np.random.Generator) -> Shape:
    """Draw an airplane: y up, its nose towards −z, of length about 1."""
    shape = Shape(reflection=[(2, 3), (4, 5), (7, 8), (9, 10), (11, 12), (14, 15)])
    white, metal, accent = palette(rng, 3)
    girth = rng.uniform(0.038, 0.08)
    nose, tail = rng.uniform(0.06, 0.26), rng.uniform(0.25, 0.55)
    rise, droop = rng.uniform(0.0, 0.9) * girth, rng.uniform(0.0, 0.5) * girth
    z = np.concatenate([np.linspace(0, nose, 9) ** 2 / nose, np.linspace(nose, 1, 14)[1:]])
    ahead, behind = np.clip(1 - z / nose, 0, 1), np.clip((z - 1 + tail) / tail, 0, 1)
    radius = girth * np.sqrt(np.clip(1 - ahead**2, 0.02, 1)) * (1 - rng.uniform(0.7, 0.9) * behind**1.6)
    middle = rise * behind**1.5 - droop * ahead**2
    tall = rng.uniform(0.95, 1.25)
    body = shape.add(
        loft(
            [
                ring([0, m, at], [r, 0, 0], [0, tall * r, 0], sides=20)
                for at, r, m in zip(z, radius, middle, strict=True)
            ],
            white,
        )
    )
    shape.mark(0, body, [0, middle[0], 0])
    shape.mark(1, body, [0, middle[-1], 1])

    fuselage = Body(z, radius, middle)
    biplane, propeller = rng.random() < 0.12, rng.random() < 0.35
    wing = _main_wing(rng, shape, fuselage, white, biplane=biplane)
    engines = 0 if propeller or biplane else int(rng.choice([0, 2, 2, 4]))
    rear = engines == 2 and rng.random() < 0.3
    if rear:
        at, size = rng.uniform(0.68, 0.78), rng.uniform(0.3, 0.5) * girth
        _engines(rng, shape, 9, [fuselage.radius(at) + 1.1 * size, 0.4 * girth, at - 0.07], size, metal)
    else:
        for pair in range(engines // 2):
            share = (0.3, 0.6)[pair] + rng.uniform(-0.08, 0.1)
            x, y, front, thick = wing(share)
            size = rng.uniform(0.016, 0.032)
            hang = y - thick - 0.9 * size
            _engines(rng, shape, 9 + 2 * pair, [x, hang, front - rng.uniform(0.02, 0.07)], size, metal)
    if propeller or biplane:
        blade = rng.uniform(0.07, 0.14)
        slant = rng.uniform(-0.5, 0.5)
        out = np.array([np.sin(slant), np.cos(slant), 0.0]) * blade
        hub = np.array([0, middle[0], -0.006])
        shape.add(bar(hub - out, hub + out, 0.01, 0.004, accent))
    _tail(rng, shape, fuselage, tall, rear, (white, accent))
    return shape


def _airfoil(lead: Array, chord: float, thick: float, *, upright: bool = False) -> Array:
    """Return a section (10, 3) from its leading edge back: flat across y, or across x where `upright`."""
    share = np.array([0.0, 0.1, 0.35, 0.7, 1.0, 1.0, 0.7, 0.35, 0.1, 0.0])
    height = np.array([0.15, 0.7, 1.0, 0.6, 0.08, -0.08, -0.6, -1.0, -0.7, -0.15]) * thick
    points = np.zeros((len(share), 3))
    points[:, 0 if upright else 1] = height
    points[:, 2] = share * chord
    return points + lead


def _mirror(part: Part) -> Part:
    return Part(part.vertices * [-1, 1, 1], part.faces[:, ::-1].copy(), part.color, part.hides)


def _pair(shape: Shape, wing: Part) -> tuple[int, int]:
    """Add a right part and its mirror image; return their numbers."""
    return shape.add(wing), shape.add(_mirror(wing))


def _mark_pair(shape: Shape, semantic_id: int, parts: tuple[int, int], place: ArrayLike) -> None:
    """Mark `semantic_id` at a place on the right, the next id at its mirror image."""
    x, y, z = np.asarray(place, dtype=float)
    shape.mark(semantic_id, parts[0], [x, y, z])
    shape.mark(semantic_id + 1, parts[1], [-x, y, z])


def _main_wing(
    rng: np.random.Generator, shape: Shape, body: Body, color: tuple[int, ...], *, biplane: bool
) -> Callable[[float], tuple[float, float, float, float]]:
    """Add the wings; return how a share of the half-span gives x, y, z of the leading edge and thickness."""
    half_span, chord = rng.uniform(0.32, 0.66), rng.uniform(0.12, 0.26)
    sweep, taper = rng.choice([rng.uniform(-0.06, 0.1), rng.uniform(0.25, 0.75)]), rng.uniform(0.25, 0.9)
    start = rng.uniform(0.26, 0.44) - 0.12 * sweep
    dihedral, level = rng.uniform(-0.04, 0.14), rng.uniform(-0.75, 0.75)
    root = body.radius(start) * np.sqrt(1 - level**2)
    base = body.middle(start) + level * body.radius(start)
    thick = rng.uniform(0.04, 0.07)

    def lead(share: float) -> tuple[float, float, float, float]:
        x = root + share * (half_span - root)
        span = x - root
        return x, base + dihedral * span, start + sweep * span, thick * chord * (1 - share * (1 - taper))

    def wing(rise: float, reach: float) -> Part:
        shares = (-root / (half_span - root), 0.0, 0.5 * reach, reach)  # the first is the body's middle
        rings = []
        for share in shares:
            x, y, z, height = lead(share)
            scale = 1 - max(share, 0) * (1 - taper)
            rings.append(_airfoil(np.array([x, y + rise, z]), chord * scale, height))
        return loft(rings, color)

    parts = _pair(shape, wing(0.0, 1.0))
    _mark_pair(shape, 2, parts, lead(1.0)[:3])
    _mark_pair(shape, 4, parts, lead(0.0)[:3])
    if biplane:
        rise, reach = rng.uniform(0.11, 0.19), rng.uniform(0.85, 1.0)
        upper = _pair(shape, wing(rise, reach))
        x, y, z, _ = lead(reach)
        _mark_pair(shape, 14, upper, [x, y + rise, z])
        for share in (0.15, 0.75):
            x, y, z, _ = lead(share)
            foot = np.array([x, y, z + 0.3 * chord])
            _pair(shape, bar(foot, foot + vec(0, rise, 0), 0.005, 0.008, color))
    elif rng.random() < 0.2:  # winglets
        x, y, z, _ = lead(1.0)
        tip = np.array([x, y, z + 0.02])
        rings = [_airfoil(tip + vec(0.3 * h, h, 0.5 * h), 0.7 * taper * chord, 0.004, upright=True) for h in (0, 0.05)]
        _pair(shape, loft(rings, color))
    return lead


def _engines(
    rng: np.random.Generator,
    shape: Shape,
    semantic_id: int,
    front: ArrayLike,
    size: float,
    color: tuple[int, ...],
) -> None:
    """Add a pair of nacelles and mark the tops of their intakes."""
    front, length = np.asarray(front, dtype=float), rng.uniform(0.09, 0.15)
    sections = ((0.0, 0.9), (0.15, 1.0), (0.6, 0.9), (1.0, 0.5))
    rings = [
        ring(front + vec(0, 0, share * length), [size * s, 0, 0], [0, size * s, 0], sides=16) for share, s in sections
    ]
    _mark_pair(shape, semantic_id, _pair(shape, loft(rings, color)), front + vec(0, 0.9 * size, 0))


def _tail(
    rng: np.random.Generator,
    shape: Shape,
    body: Body,
    tall: float,
    high: bool,
    colors: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    """Add the fin, and the tailplane low on the body or on top of the fin (always where `high`)."""
    height, chord = rng.uniform(0.08, 0.2), rng.uniform(0.09, 0.19)
    slant, taper = rng.uniform(0.1, 0.9), rng.uniform(0.35, 0.8)
    at = 0.97 - chord
    foot = body.middle(at) + tall * body.radius(at)
    levels = [(-0.6 * body.radius(at), 1.0), (0.0, 1.0), (height, taper)]
    rings = [
        _airfoil(np.array([0, foot + y, at + slant * max(y, 0)]), chord * scale, 0.05 * chord, upright=True)
        for y, scale in levels
    ]
    fin = shape.add(loft(rings, colors[1]))
    shape.mark(13, fin, [0, foot, at])
    shape.mark(6, fin, [0, foot + height, at + slant * height + taper * chord])
    half_span, chord2 = rng.uniform(0.11, 0.24), rng.uniform(0.5, 0.9) * chord
    sweep, dihedral = rng.uniform(0.0, 0.7), rng.uniform(-0.05, 0.2)
    if high or rng.random() < 0.2:
        y, z = foot + height, at + slant * height
    else:
        y, z = body.middle(0.93) + rng.uniform(-0.2, 0.5) * body.radius(0.93), 0.95 - chord2
    rings = [
        _airfoil(np.array([x, y + dihedral * x, z + sweep * x]), chord2 * scale, 0.05 * chord2)
        for x, scale in ((0.0, 1.0), (half_span, taper))
    ]
    tip = [half_span, y + dihedral * half_span, z + sweep * half_span]
    _mark_pair(shape, 7, _pair(shape, loft(rings, colors[0])), tip)
