"""The 68 points of a face in space, in the order that faces are often annotated with, and how faces differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = {
    "jaw": range(17),
    "right_brow": range(17, 22),
    "left_brow": range(22, 27),
    "nose_bridge": range(27, 31),
    "nose_base": range(31, 36),
    "right_eye": range(36, 42),
    "left_eye": range(42, 48),
    "outer_lip": range(48, 60),
    "inner_lip": range(60, 68),
}
"""Rows of the parts; right and left are the face's own, so that its right eye is on the left of the image."""

NAMES = tuple(f"{part}_{place}" for part, rows in PARTS.items() for place in range(len(rows)))
"""Names of the 68 points: the part and the place in it."""


def face(rng: np.random.Generator) -> Floats:
    """Draw a face: (68, 3) points, x right, y down, z towards the camera, half of its width about 1."""
    points = np.concatenate([_jaw(rng), _brows(rng), _nose(rng), _eyes(rng), _mouth(rng)])
    points[:, 0] *= rng.uniform(0.88, 1.08)
    # A face is curved: what is off its middle lies back.
    points[:, 2] += 0.55 - 0.6 * points[:, 0] ** 2 - 0.12 * (points[:, 1] - 0.1) ** 2
    return points + rng.normal(0, 0.008, points.shape)


def turned(points: Floats, rng: np.random.Generator) -> Floats:
    """Points of a head that looks elsewhere: up to 45° aside, 20° up or down, 25° leant."""
    pitch, yaw, roll = np.deg2rad(rng.uniform((-20, -45, -25), (20, 45, 25)))
    a, sa, b, sb, c, sc = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    x, y, z = points.T
    y, z = a * y - sa * z, sa * y + a * z
    x, z = b * x + sb * z, -sb * x + b * z
    return np.stack([c * x - sc * y, sc * x + c * y, z], axis=1)


def _jaw(rng: np.random.Generator) -> Floats:
    square, long, chin = rng.uniform(1.7, 2.7), rng.uniform(1.12, 1.42), rng.uniform(-0.04, 0.1)
    angle = np.deg2rad(np.linspace(188, -8, 17))
    # A superellipse: the larger the power, the squarer the jaw.
    size = (np.abs(np.cos(angle)) ** square + np.abs(np.sin(angle)) ** square) ** (-1 / square)
    points = np.stack([size * np.cos(angle), size * np.sin(angle) * long, np.zeros(17)], axis=1)
    points[:, 1] += chin * np.exp(-8 * points[:, 0] ** 2) - 0.1
    return points


def _brows(rng: np.random.Generator) -> Floats:
    height, arch, slope, inner = rng.uniform(0.52, 0.68), rng.uniform(0.03, 0.13), rng.normal(0, 0.05), 0.2
    out = np.linspace(0, 1, 5)
    x = inner + out * rng.uniform(0.52, 0.64)
    y = -height - arch * np.sin(np.pi * out * 0.85) + slope * (1 - out)
    left = np.stack([x, y, np.full(5, 0.06)], axis=1)
    return np.concatenate([left[::-1] * (-1, 1, 1), left])


def _nose(rng: np.random.Generator) -> Floats:
    long, wide, high = rng.uniform(0.55, 0.72), rng.uniform(0.17, 0.27), rng.uniform(0.22, 0.42)
    down = np.linspace(0, 1, 4)
    bridge = np.stack([np.zeros(4), -0.36 + down * long, 0.06 + high * down**1.3], axis=1)
    across = np.linspace(-1, 1, 5)
    base_y = -0.36 + long + 0.1 + 0.05 * (1 - across**2)
    base = np.stack([wide * across, base_y, 0.1 + 0.5 * high * (1 - across**2)], axis=1)
    return np.concatenate([bridge, base])


def _eyes(rng: np.random.Generator) -> Floats:
    apart, wide, slant = rng.uniform(0.42, 0.5), rng.uniform(0.17, 0.22), rng.normal(0, 0.02)
    opened = rng.uniform(0.02, 0.11) if rng.random() < 0.9 else rng.uniform(0.0, 0.02)
    height = -0.33 + rng.normal(0, 0.02)
    # From the inner corner over the upper lid to the outer one, and back over the lower lid.
    x = np.array([-1, -0.4, 0.4, 1, 0.4, -0.4]) * wide + apart
    y = np.array([0, -1, -1, 0, 0.75, 0.75]) * opened + height + slant * np.array([1, 0.4, -0.4, -1, -0.4, 0.4])
    left = np.stack([x, y, np.full(6, -0.02)], axis=1)
    return np.concatenate([left[[3, 2, 1, 0, 5, 4]] * (-1, 1, 1), left])


def _mouth(rng: np.random.Generator) -> Floats:
    wide, thick, smile = rng.uniform(0.3, 0.46), rng.uniform(0.06, 0.11), rng.normal(0, 0.045)
    opened = rng.uniform(0.05, 0.28) if rng.random() < 0.4 else rng.uniform(0.0, 0.03)
    height = 0.64 + rng.normal(0, 0.03)

    def curve(across: Floats, rise: Floats) -> Floats:
        y = height + smile * (1 - 2 * across**2) + rise
        return np.stack([wide * across, y, 0.08 * (1 - across**2)], axis=1)

    upper, lower = np.array([-1, -0.63, -0.22, 0, 0.22, 0.63, 1]), np.array([0.66, 0.28, 0, -0.28, -0.66])
    bow = np.array([0, 0.7, 1.1, 0.95, 1.1, 0.7, 0]) * -thick
    belly = np.array([0.75, 1.15, 1.25, 1.15, 0.75]) * thick
    outer = [curve(upper, bow - opened / 2 * (1 - upper**2)), curve(lower, belly + opened / 2 * (1 - lower**2))]
    top, bottom = np.array([-0.85, -0.3, 0, 0.3, 0.85]), np.array([0.3, 0, -0.3])
    inner = [curve(top, -opened / 2 * (1 - top**2)), curve(bottom, 0.01 + opened / 2 * (1 - bottom**2))]
    return np.concatenate(outer + inner)
