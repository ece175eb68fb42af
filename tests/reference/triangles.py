"""Rays that meet triangles, and the points of triangles nearest to a position, plainly: one triangle after another."""

import numpy as np
from scipy.optimize import nnls


def first_hit(corners, origin, direction):
    """The nearest crossing of a ray and triangles (T, 3, 3): face and position, or None; from its own linear system."""
    best = None
    for face, (a, b, c) in enumerate(corners):
        system = np.stack([b - a, c - a, -direction], axis=1)
        if abs(np.linalg.det(system)) < 1e-12:
            continue
        u, v, t = np.linalg.solve(system, origin - a)
        if min(u, v, 1 - u - v) >= -1e-9 and t > 0 and (best is None or t < best[0]):
            best = t, face, origin + t * direction
    return best and best[1:]


def closest(corners, position):
    """The distance of a position and triangles (T, 3, 3): the least of |weights · corners - position| on each."""
    # Least squares with weights of at least 0, whose sum a heavy last row keeps at 1.
    heavy = 1e4
    distances = []
    for triangle in corners:
        weights = nnls(np.vstack([triangle.T, np.full(3, heavy)]), np.append(position, heavy))[0]
        distances.append(np.linalg.norm(weights / weights.sum() @ triangle - position))
    return min(distances)
