"""Chairs: four legs, a sled or a five-armed foot; backs of panel, slats or rails; arms, headrest or none."""

from __future__ import annotations

import numpy as np

from pcsargmax.datasets.procedural.parts import Shape, bar, box, loft, palette, ring, vec

NAMES = {
    0: "back top right",
    1: "back top left",
    2: "seat back right",
    3: "seat back left",
    4: "seat front right",
    5: "seat front left",
    6: "foot front right",
    7: "foot front left",
    8: "foot back right",
    9: "foot back left",
    **{10 + i: f"star foot {i}" for i in range(5)},
    15: "arm front right",
    16: "arm front left",
    17: "headrest top",
}
"""What each semantic id is; right is +x, front is −z."""


def chair(rng: np.random.Generator) -> Shape:
    """Draw a chair: y up, its front towards −z, of size about 1."""
    shape = Shape(reflection=[(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (15, 16)], turns=[(10, 11, 12, 13, 14)])
    wood, cloth, metal = palette(rng, 3)
    half_width, depth = rng.uniform(0.17, 0.31), rng.uniform(0.34, 0.6)
    height, thick = rng.uniform(0.28, 0.62), rng.uniform(0.02, 0.11)
    front_half = half_width * rng.uniform(0.8, 1.25)
    front, back = -depth * rng.uniform(0.4, 0.6), 0.0
    back += front + depth
    seat_tilt = rng.uniform(-0.05, 0.03)
    low, high = (
        np.array(
            [
                [front_half, y - seat_tilt, front],
                [-front_half, y - seat_tilt, front],
                [-half_width, y, back],
                [half_width, y, back],
            ]
        )
        for y in (height, height + thick)
    )
    seat = shape.add(loft([low, high], cloth))
    for semantic_id, corner in zip((4, 5, 3, 2), high, strict=True):
        shape.mark(semantic_id, seat, corner)
    under = np.array([0.0, height + 0.3 * thick, (front + back) / 2])
    base = rng.choice(["legs", "legs", "sled", "star"])
    if base == "star":
        _star(rng, shape, under, 0.85 * min(half_width, depth / 2), metal)
    else:
        _legs(rng, shape, low, wood if base == "legs" else metal, sled=base == "sled")
    top = _back(rng, shape, half_width, height + thick, back, (wood, cloth))
    if rng.random() < 0.45:
        _arms(rng, shape, max(half_width, front_half), height + thick, (front, back), wood)
    if rng.random() < 0.2:
        size = rng.uniform(0.35, 0.7) * half_width, rng.uniform(0.04, 0.09)
        middle = top + vec(0, size[1] + rng.uniform(0.0, 0.04), 0)
        rest = [
            ring(middle + vec(0, y * size[1], 0), [size[0] * s, 0, 0], [0, 0, 0.035 * s], sides=16, power=4)
            for y, s in ((-1, 0.9), (0, 1.0), (1, 0.85))
        ]
        shape.mark(17, shape.add(loft(rest, cloth)), middle + vec(0, size[1], 0))
        shape.add(bar(top - vec(0, 0.05, 0), middle, 0.02, 0.012, metal))
    return shape


def _legs(rng: np.random.Generator, shape: Shape, corners: np.ndarray, color: tuple[int, ...], *, sled: bool) -> None:
    """Stand the seat on four posts; its lower corners run front right, front left, back left, back right."""
    radius, taper = rng.uniform(0.012, 0.035), rng.uniform(0.5, 1.1)
    inset, sides = rng.uniform(0.03, 0.25), int(rng.choice([4, 12]))
    spread = rng.uniform(-0.02, 0.1, 2)  # sideways, and front to back
    lean = rng.uniform(-0.01, 0.06)  # the back legs reach farther back
    middle = corners.mean(0)
    feet = []
    for semantic_id, corner in zip((6, 7, 9, 8), corners, strict=True):
        head = corner + inset * (middle - corner) + vec(0, 0.01, 0)
        sign = np.sign(corner - middle)
        foot = head + vec(sign[0] * spread[0], 0, sign[2] * spread[1] + (lean if sign[2] > 0 else 0.0))
        foot[1] = 0.0
        leg = shape.add(bar(head, foot, radius, radius, color, taper=taper, sides=sides))
        feet.append(foot)
        if not sled:
            shape.mark(semantic_id, leg, foot + vec(sign[0] * radius, 0, sign[2] * radius))
    if sled:
        for right, (a, b) in ((True, (feet[0], feet[3])), (False, (feet[1], feet[2]))):
            ahead, behind = rng.uniform(0.01, 0.1, 2)
            start, end = a - vec(0, 0, ahead), b + vec(0, 0, behind)
            runner = shape.add(bar(start, end, radius, radius, color))
            shape.mark(6 if right else 7, runner, start + vec(0, -radius, -radius))
            shape.mark(8 if right else 9, runner, end + vec(0, -radius, radius))
    elif rng.random() < 0.4:
        share, thin = rng.uniform(0.3, 0.8), 0.6 * radius
        places = [share * f + (1 - share) * h for f, h in zip(feet, corners, strict=True)]
        for i, j in ((0, 3), (1, 2)) if rng.random() < 0.5 else ((0, 1), (1, 2), (2, 3), (3, 0)):
            shape.add(bar(places[i], places[j], thin, thin, color))


def _star(rng: np.random.Generator, shape: Shape, under: np.ndarray, reach: float, color: tuple[int, ...]) -> None:
    """Set the seat on a column with five arms; foot 10 is the one nearest to the front, 11 to 14 go round."""
    reach *= rng.uniform(1.0, 1.7)
    rise, width = rng.uniform(0.02, 0.09), rng.uniform(0.014, 0.026)
    hub = np.array([under[0], rise + 0.02, under[2]])
    shape.add(bar(under, hub - vec(0, 0.03, 0), 1.3 * width, 1.3 * width, color, sides=16))
    turn = rng.uniform(-0.25, 0.25)
    for i in range(5):
        angle = turn + 2 * np.pi * i / 5
        out = np.array([np.sin(angle), 0, -np.cos(angle)])
        tip = np.array([hub[0], 0.015, hub[2]]) + reach * out
        arm = shape.add(bar(hub, tip, width, width, color, taper=0.7))
        shape.mark(10 + i, arm, tip + 0.02 * out)


def _back(
    rng: np.random.Generator,
    shape: Shape,
    half_width: float,
    bottom: float,
    z: float,
    colors: tuple[tuple[int, ...], tuple[int, ...]],
) -> np.ndarray:
    """Put up a backrest and return the middle of its top."""
    tall, recline = rng.uniform(0.22, 0.75), rng.uniform(-0.02, 0.3)
    top_half = half_width * rng.uniform(0.7, 1.12)
    thick = rng.uniform(0.012, 0.04)
    style = rng.choice(["panel", "slats", "rails", "splat"])

    def place(x: float, share: float) -> np.ndarray:
        """Return the place at x (−1 to 1 across) and a share of the height."""
        half = half_width + share * (top_half - half_width)
        inward = 1 - thick / half
        return np.array([x * half * inward, bottom + share * tall - 0.01, z - thick + share * recline * tall])

    top = place(0, 1.0)
    if style == "panel":
        rings = [
            ring(place(0, share), [half, 0, 0], [0, 0, thick], sides=4)
            for share, half in ((rng.choice([0.0, 0.2]), half_width), (1.0, top_half))
        ]
        panel = shape.add(loft(rings, colors[1]))
        for semantic_id, x in ((0, 1.0), (1, -1.0)):
            shape.mark(semantic_id, panel, top + vec(x * top_half, 0, thick))
        if rings[0][0, 1] > bottom:
            for x in (-0.7, 0.7):
                shape.add(bar(place(x, 0), place(x, 0.3), 0.02, thick / 2, colors[0]))
        return top
    for semantic_id, x in ((0, 1.0), (1, -1.0)):
        post = shape.add(bar(place(x, -0.02), place(x, 1.0), thick, thick, colors[0]))
        shape.mark(semantic_id, post, place(x, 1.0) + vec(x * thick, 0, thick))
    rail = rng.uniform(0.03, 0.1) * tall + 0.01
    shape.add(bar(place(-1, 0.98) - vec(0, rail, 0), place(1, 0.98) - vec(0, rail, 0), 0.8 * thick, rail, colors[0]))
    if style == "rails":
        for share in np.linspace(0.25, 0.9, int(rng.integers(2, 5)))[:-1]:
            shape.add(bar(place(-1, share), place(1, share), 0.6 * thick, rng.uniform(0.02, 0.04), colors[1]))
    else:
        number = int(rng.integers(3, 8)) if style == "slats" else 1
        wide = 0.1 * half_width if style == "slats" else rng.uniform(0.2, 0.5) * half_width
        for x in np.linspace(-1, 1, number + 2)[1:-1]:
            shape.add(bar(place(x, 0), place(x, 0.97), wide, 0.4 * thick, colors[1]))
    return top


def _arms(
    rng: np.random.Generator,
    shape: Shape,
    half_width: float,
    bottom: float,
    ends: tuple[float, float],
    color: tuple[int, ...],
) -> None:
    """Add armrests, on a post at the front or on a panel."""
    tall, wide, thick = rng.uniform(0.12, 0.26), rng.uniform(0.018, 0.045), rng.uniform(0.01, 0.025)
    front, back = ends[0] + rng.uniform(-0.03, 0.4) * (ends[1] - ends[0]), ends[1]
    drop, post = rng.uniform(-0.04, 0.05), rng.uniform(0.1, 0.5)
    panel = rng.random() < 0.3
    for semantic_id, side in ((15, 1), (16, -1)):
        x = side * (half_width + 0.6 * wide)
        start, end = np.array([x, bottom + tall, back]), np.array([x, bottom + tall - drop, front])
        arm = shape.add(bar(start, end, wide, thick, color))
        shape.mark(semantic_id, arm, end + vec(side * wide, thick, 0))
        foot = end + post * (start - end)
        if panel:
            inner = x - 0.4 * wide, x + 0.4 * wide
            shape.add(box([inner[0], bottom - 0.04, front + 0.02], [inner[1], end[1], back], color))
        else:
            shape.add(bar(foot, [x, bottom - 0.03, foot[2]], 0.5 * wide, 0.5 * wide, color))
