"""Tables: rectangular, round or oval tops on four or three legs, a trestle or a pedestal; shelf or none."""

from __future__ import annotations

import numpy as np

from pcsargmax.datasets.procedural.parts import Shape, bar, box, loft, palette, ring, vec

NAMES = {
    0: "corner front right",
    1: "corner front left",
    2: "corner back left",
    3: "corner back right",
    4: "rim front",
    5: "rim left",
    6: "rim back",
    7: "rim right",
    8: "foot front right",
    9: "foot front left",
    10: "foot back left",
    11: "foot back right",
    12: "tripod foot front",
    13: "tripod foot back left",
    14: "tripod foot back right",
    15: "middle of the top",
    16: "shelf front right",
    17: "shelf front left",
    18: "shelf back left",
    19: "shelf back right",
    20: "plate front",
    21: "plate left",
    22: "plate back",
    23: "plate right",
}
"""What each semantic id is; right is +x, front is −z."""

_CORNERS = np.array([[1, -1], [-1, -1], [-1, 1], [1, 1]])
_AXES = np.array([[0, -1], [-1, 0], [0, 1], [1, 0]])


def table(rng: np.random.Generator) -> Shape:
    """Draw a table: y up, of size about 1."""
    round_top = rng.random() < 0.4
    pairs = [(0, 1), (2, 3), (5, 7), (8, 9), (10, 11), (13, 14), (16, 17), (18, 19), (21, 23)]
    shape = Shape(reflection=pairs, turns=[(12, 13, 14)])
    wood, cloth, metal = palette(rng, 3)
    half = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.4)])
    height, thick = rng.uniform(0.22, 0.85), rng.uniform(0.012, 0.07)
    if round_top:
        half[1] = half[0] if rng.random() < 0.7 else half[0] * rng.uniform(0.6, 0.9)
        rings = [_level(half * s, y, sides=48) for s, y in ((0.97, height - thick), (1, height))]
    else:
        rings = [_level(half, y, sides=4) for y in (height - thick, height)]
    top = shape.add(loft(rings, cloth))
    shape.mark(15, top, [0, height, 0])
    for i in range(4):
        place = (_AXES if round_top else _CORNERS)[i] * half
        shape.mark((4 if round_top else 0) + i, top, [place[0], height, place[1]])
    if round_top and half[0] == half[1]:
        shape.circles.append((4, 5, 6, 7))

    reach = half * (0.7 if round_top else 0.97) * rng.uniform(0.7, 1.0)
    base = rng.choice(["legs", "tripod", "pedestal", "pedestal"] if round_top else ["legs", "legs", "trestle"])
    if base == "legs":
        _legs(rng, shape, reach, height - thick, (wood, cloth))
    elif base == "tripod":
        _tripod(rng, shape, 0.8 * half.min(), height - thick, wood)
    elif base == "trestle":
        _trestle(rng, shape, reach, height - thick, wood)
    else:
        _pedestal(rng, shape, half.min(), height - thick, metal)
    if rng.random() < 0.25:  # something stands on it, so that the bounding box misleads
        bottom, flare, tall = rng.uniform(0.03, 0.06), rng.uniform(0.6, 1.5), rng.uniform(0.08, 0.2)
        x, z = rng.uniform(-0.6, 0.6, 2) * half
        levels = ((height, bottom), (height + tall, flare * bottom))
        body = [ring([x, y, z], [size, 0, 0], [0, 0, size]) for y, size in levels]
        shape.add(loft(body, metal))
    return shape


def _level(half: np.ndarray, y: float, *, sides: int) -> np.ndarray:
    return ring([0, y, 0], [half[0], 0, 0], [0, 0, half[1]], sides=sides)


def _legs(
    rng: np.random.Generator,
    shape: Shape,
    reach: np.ndarray,
    height: float,
    colors: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    radius, taper = rng.uniform(0.012, 0.045), rng.uniform(0.5, 1.1)
    splay, sides = rng.uniform(-0.04, 0.08, 2), int(rng.choice([4, 12]))
    heads, feet = (reach - radius) * _CORNERS, (reach - radius + splay) * _CORNERS
    for i in range(4):
        head, foot = np.insert(heads[i], 1, height + 0.005), np.insert(feet[i], 1, 0.0)
        leg = shape.add(bar(head, foot, radius, radius, colors[0], taper=taper, sides=sides))
        out = np.insert(_CORNERS[i] * radius, 1, 0.0)
        shape.mark(8 + i, leg, foot + out)
    if rng.random() < 0.35:
        share = rng.uniform(0.15, 0.6)
        half = np.abs(share * heads[0] + (1 - share) * feet[0]) + rng.uniform(0.0, 0.02)
        y, thick = share * height, rng.uniform(0.01, 0.03)
        shelf = shape.add(box([-half[0], y - thick, -half[1]], [half[0], y, half[1]], colors[1]))
        for i in range(4):
            x, z = half * _CORNERS[i]
            shape.mark(16 + i, shelf, [x, y, z])
    elif rng.random() < 0.5:  # an apron under the top
        low = height - rng.uniform(0.03, 0.1)
        x, z = reach - radius
        shape.add(box([-x, low, -z], [x, height + 0.005, z], colors[0]))


def _tripod(rng: np.random.Generator, shape: Shape, reach: float, height: float, color: tuple[int, ...]) -> None:
    radius, inward, turn = rng.uniform(0.014, 0.04), rng.uniform(0.3, 0.95), rng.uniform(-0.2, 0.2)
    reach *= rng.uniform(0.75, 1.15)
    for i in range(3):
        angle = turn + 2 * np.pi * i / 3
        out = np.array([-np.sin(angle), 0, -np.cos(angle)])
        head, foot = inward * reach * out + vec(0, height + 0.005, 0), reach * out
        leg = shape.add(bar(head, foot, radius, radius, color, taper=rng.uniform(0.6, 1.0), sides=12))
        shape.mark(12 + i, leg, foot + radius * out)


def _trestle(rng: np.random.Generator, shape: Shape, reach: np.ndarray, height: float, color: tuple[int, ...]) -> None:
    thick, narrow = rng.uniform(0.012, 0.035), rng.uniform(0.35, 1.0)
    x, wide = reach[0] - thick, reach[1]
    for side, ids in ((1, (8, 11)), (-1, (9, 10))):
        rings = [
            ring([side * x, y, 0], [thick, 0, 0], [0, 0, wide * s], sides=4)
            for y, s in ((0.0, 1.0), (height + 0.005, narrow))
        ]
        panel = shape.add(loft(rings, color))
        for semantic_id, z in zip(ids, (-wide, wide), strict=True):
            shape.mark(semantic_id, panel, [side * (x + thick), 0, z])
    y = rng.uniform(0.15, 0.7) * height
    shape.add(box([-x, y - 0.03, -0.015], [x, y + 0.03, 0.015], color))


def _pedestal(rng: np.random.Generator, shape: Shape, reach: float, height: float, color: tuple[int, ...]) -> None:
    """Set the top on a column with a round plate, or with a cross of four feet."""
    radius, waist = rng.uniform(0.03, 0.09), rng.uniform(0.5, 1.0)
    reach *= rng.uniform(0.45, 0.95)
    profile = ((0.01, 1.0), (0.5 * height, waist), (height + 0.005, rng.uniform(0.8, 1.4)))
    shape.add(loft([_level(np.full(2, radius * s), y, sides=24) for y, s in profile], color))
    if rng.random() < 0.6:
        thick = rng.uniform(0.012, 0.05)
        levels = ((0.0, reach), (0.4 * thick, reach), (thick, 0.8 * reach))
        plate = shape.add(loft([_level(np.full(2, r), y, sides=32) for y, r in levels], color))
        for i in range(4):
            x, z = reach * _AXES[i]
            shape.mark(20 + i, plate, [x, 0, z])
        shape.circles.append((20, 21, 22, 23))
        return
    wide, rise = rng.uniform(0.014, 0.03), rng.uniform(0.03, 0.1)
    for i in range(4):
        tip = np.insert(reach * _CORNERS[i] / np.sqrt(2), 1, wide)
        foot = shape.add(bar([0, rise + 0.02, 0], tip, wide, wide, color, taper=0.8))
        shape.mark(8 + i, foot, 1.05 * tip)
    shape.turns.append((8, 9, 10, 11))
