"""Errors up to symmetry, one labelling after the other."""

import math

import numpy as np
from scipy.optimize import minimize_scalar


def isometries(points, tolerance=1e-6):
    """Every relabeling under which all distances between the points (K, 3) stay: what no measuring can tell."""
    points = np.asarray(points)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    found = []

    def grow(row):
        k = len(row)
        if k == len(points):
            found.append(tuple(row))
            return
        for candidate in set(range(len(points))) - set(row):
            if np.allclose(distance[k, :k], distance[candidate, row], rtol=0, atol=tolerance):
                grow([*row, candidate])

    grow([])
    return set(found)


def rotated(points, angle, center=(0, 0, 0), axis=1):
    """Points (..., 3) turned about a coordinate axis through a center."""
    one, other = {0: (1, 2), 1: (2, 0), 2: (0, 1)}[axis]
    out = np.array(points, dtype=float) - center
    a, b = out[..., one].copy(), out[..., other].copy()
    out[..., one] = math.cos(angle) * a - math.sin(angle) * b
    out[..., other] = math.sin(angle) * a + math.cos(angle) * b
    return out + center


def benchmark_labelings(points, sites, group, steps):
    """What the data set's own benchmark tries: all keypoints turned about y through the group's mean, then snapped."""
    center = points[group].mean(axis=0) * [1, 0, 1]
    found = []
    for step in range(steps):
        turned = rotated(points, 2 * math.pi * step / steps, center)
        nearest = np.linalg.norm(turned[:, None] - sites, axis=-1).argmin(axis=1)
        found.append(sites[nearest])
    return found


def least_mean_error(prediction, turn):
    """The least mean error over all angles; `turn` gives the targets (K, 3) at an angle."""

    def error(angle):
        return np.linalg.norm(prediction - turn(angle), axis=1).mean()

    starts = np.linspace(0, 2 * math.pi, 2000)
    best = starts[int(np.argmin([error(a) for a in starts]))]
    return minimize_scalar(error, bounds=(best - 0.01, best + 0.01), method="bounded", options={"xatol": 1e-10}).fun
