"""A figure with joints in space: limbs of varying length in a random pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

JOINTS = (
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "neck",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
)
"""The joints in their order; right and left are the figure's own. The first is the root; the head is its middle."""

FLIP_PAIRS = ((1, 4), (2, 5), (3, 6), (9, 12), (10, 13), (11, 14))
"""Joints that change places when the image is mirrored."""


def pose(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw a figure in a pose.

    Returns:
        (15, 3) joints in millimetres, relative to the pelvis, x right, y down, z away from the camera; and (3,) the
        direction in which the face looks.
    """
    build = rng.uniform(0.85, 1.15)

    def length(mean: float) -> float:
        return mean * build * rng.uniform(0.92, 1.08)

    hip, thigh, shin, spine, neck = (length(m) for m in (105, 440, 420, 470, 190))
    shoulder, upper, fore = (length(m) for m in (175, 280, 250))
    trunk = _turn(rng.normal(0, 12), rng.normal(0, 8), rng.normal(0, 8))
    joints = np.zeros((len(JOINTS), 3))
    joints[7] = trunk @ (0, -spine, 0)
    gaze = trunk @ _turn(rng.normal(0, 10), rng.uniform(-25, 25), rng.normal(0, 8))
    joints[8] = joints[7] + gaze @ (0, -neck, 0)
    for side, hip_at, shoulder_at in ((-1, 1, 12), (1, 4, 9)):
        joints[hip_at] = (side * hip, 0, 0)
        swing, spread, bend = rng.normal(12, 32), rng.normal(7, 10), abs(rng.normal(0, 45))
        joints[hip_at + 1] = joints[hip_at] + thigh * _leg(side, swing, spread)
        joints[hip_at + 2] = joints[hip_at + 1] + shin * _leg(side, swing - bend, spread)
        joints[shoulder_at] = joints[7] + trunk @ (side * shoulder, 0.08 * spine, 0)
        arm, forearm = _arm(rng, side)
        joints[shoulder_at + 1] = joints[shoulder_at] + upper * (trunk @ arm)
        joints[shoulder_at + 2] = joints[shoulder_at + 1] + fore * (trunk @ forearm)
    whole = _turn(rng.normal(0, 8), rng.uniform(-50, 50), rng.normal(0, 8))
    return joints @ whole.T, whole @ gaze @ (0, 0, -1)


def _leg(side: float, swing: float, spread: float) -> Floats:
    """Direction of a leg that hangs down, swung to the front and spread to its side, degrees."""
    swing, spread = np.deg2rad(swing), np.deg2rad(spread)
    return np.array([side * np.sin(spread), np.cos(spread) * np.cos(swing), -np.cos(spread) * np.sin(swing)])


def _arm(rng: np.random.Generator, side: float) -> tuple[Floats, Floats]:
    """Directions of the upper arm and of the forearm, bent to the front and inwards."""
    raised, swing, bend = np.deg2rad(rng.uniform(3, 140)), np.deg2rad(rng.normal(12, 35)), rng.uniform(0, 130)
    upper = _unit((side * np.sin(raised), np.cos(raised) * np.cos(swing), -np.sin(swing)))
    toward = np.array([-0.7 * side, -0.5, -1]) + rng.normal(0, 0.5, 3)
    toward = _unit(toward - (toward @ upper) * upper)
    bend = np.deg2rad(bend)
    return upper, np.cos(bend) * upper + np.sin(bend) * toward


def _turn(pitch: float, yaw: float, roll: float) -> Floats:
    """Rotation (3, 3) by degrees about x, then y, then z."""
    (a, b, c), (sa, sb, sc) = (f(np.deg2rad([pitch, yaw, roll])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, a, -sa], [0, sa, a]])
    about_y = np.array([[b, 0, sb], [0, 1, 0], [-sb, 0, b]])
    about_z = np.array([[c, -sc, 0], [sc, c, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _unit(vector: ArrayLike) -> Floats:
    vector = np.asarray(vector, dtype=np.float64)
    return vector / np.linalg.norm(vector)
