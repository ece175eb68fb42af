"""From a drawn shape to a model: bent a little, scaled, sampled evenly, keypoints set into the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcsargmax.datasets.procedural.parts import Array, Shape

#: Random surface points drawn for each point that is kept.
_CANDIDATES = 2.0


@dataclass(frozen=True)
class Model:
    """A finished model: y up, bounding box centred at the origin with a diagonal of 1, rounded to 6 decimals.

    points (N, 3) and color (N, 3) uint8; mesh as vertices (V, 3), vertex_color (V, 3) uint8 and faces (F, 3).
    `keypoints`: by semantic id, the row of `points` and a face of the mesh with barycentric coordinates.
    `symmetries`: groups of semantic ids as in KeypointNet.
    """

    points: Array
    color: NDArray[np.uint8]
    vertices: Array
    vertex_color: NDArray[np.uint8]
    faces: NDArray[np.int64]
    keypoints: dict[int, tuple[int, int, list[float]]]
    symmetries: dict[str, list[Any]]


def finish(shape: Shape, num_points: int, rng: np.random.Generator) -> Model:
    """Turn a drawn shape into a model with `num_points` points, of which its keypoints are some."""
    vertices = np.concatenate([part.vertices for part in shape.parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in shape.parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(shape.parts, starts, strict=False)])
    face, weights = _visible_places(shape, int(_CANDIDATES * num_points), rng)

    vertices = _bend(vertices, rng)
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - (low + high) / 2) / np.linalg.norm(high - low)
    points = np.einsum("pc,pcd->pd", weights, vertices[faces[face]])
    owner = np.repeat(np.arange(len(shape.parts)), [len(part.faces) for part in shape.parts])[face]

    marked = {k: int(starts[part] + vertex) for k, (part, vertex) in sorted(shape.marks.items())}
    points = np.concatenate([vertices[list(marked.values())], points])
    owner = np.concatenate([[shape.marks[k][0] for k in marked], owner]).astype(int)
    # Keypoints are kept and come first; the shuffle takes away what their place would tell.
    kept = rng.permutation(thin(points, num_points, start=len(marked)))
    row = {int(candidate): i for i, candidate in enumerate(kept)}
    tints = np.array([part.color for part in shape.parts], dtype=float)
    sizes = [len(part.vertices) for part in shape.parts]
    shade = rng.normal(0, 4, (num_points, 1))
    points = np.round(points[kept], 6) + 0.0
    return Model(
        points=points,
        color=np.clip(tints[owner[kept]] + shade, 0, 255).astype(np.uint8),
        vertices=vertices,
        vertex_color=np.repeat(tints, sizes, axis=0).astype(np.uint8),
        faces=faces,
        keypoints={k: (row[i], *_on_face(faces, vertex)) for i, (k, vertex) in enumerate(marked.items())},
        symmetries=_symmetries(shape, {k: points[row[i]] for i, k in enumerate(marked)}),
    )


def thin(points: Array, count: int, *, start: int = 1) -> NDArray[np.int64]:
    """Choose `count` rows of `points` (P, 3): the first `start`, then the one farthest from all before."""
    x, y, z = (np.ascontiguousarray(points[:, i], dtype=np.float32) for i in range(3))
    chosen = np.arange(count)
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    for k in range(count):
        last = k if k < start else int(nearest.argmax())
        chosen[k] = last
        dx, dy, dz = x - x[last], y - y[last], z - z[last]
        np.minimum(nearest, dx * dx + dy * dy + dz * dz, out=nearest)
    return chosen


def _visible_places(shape: Shape, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Array]:
    """Draw places on the parts' surfaces, none inside another part: faces and barycentric coordinates."""
    corners = np.concatenate([part.vertices[part.faces] for part in shape.parts])
    owners = np.repeat(np.arange(len(shape.parts)), [len(part.faces) for part in shape.parts])
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    cumulated = np.cumsum(area)
    solids = [(part, i) for i, part in enumerate(shape.parts) if part.hides] + shape.covers
    faces, weights = np.empty(0, dtype=np.int64), np.empty((0, 3))
    while len(faces) < count:
        face = np.searchsorted(cumulated, rng.uniform(0, cumulated[-1], count)).clip(max=len(area) - 1)
        a, b = np.sqrt(rng.random(count)), rng.random(count)
        weight = np.stack([1 - a, a * (1 - b), a * b], axis=1)
        points = np.einsum("pc,pcd->pd", weight, corners[face])
        hidden = np.zeros(count, dtype=bool)
        for solid, own in solids:
            others = np.flatnonzero((owners[face] != own) & ~hidden)
            hidden[others] = solid.holds(points[others])
        faces = np.concatenate([faces, face[~hidden]])
        weights = np.concatenate([weights, weight[~hidden]])
    return faces[:count], weights[:count]


def _bend(vertices: Array, rng: np.random.Generator) -> Array:
    """Change all places smoothly and a little lopsidedly, so that no model is an ideal one."""
    low, high = vertices.min(0), vertices.max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2
    unit = (vertices - middle) / half
    shear = np.eye(3) + rng.normal(0, 0.04, (3, 3))
    curve = rng.normal(0, 0.05, (3, 3))
    curve[1] *= 0.5
    return np.asarray((unit @ shear.T + (unit**2) @ curve.T) * half + middle)


def _on_face(faces: NDArray[np.int64], vertex: int) -> tuple[int, list[float]]:
    """Return the first face with a vertex, and the vertex's barycentric coordinates on it."""
    face = int(np.flatnonzero((faces == vertex).any(1))[0])
    return face, [float(corner == vertex) for corner in faces[face]]


def _symmetries(shape: Shape, places: dict[int, Array]) -> dict[str, list[Any]]:
    """Keep the groups whose keypoints are all there, and measure the circles."""
    present = [
        [group for group in groups if all(k in places for k in group)]
        for groups in (shape.reflection, shape.turns, shape.circles)
    ]
    rotation: list[dict[str, Any]] = [{"ids": list(g), "is_circle": False, "circle": {}} for g in present[1]]
    for group in present[2]:
        members = np.stack([places[k] for k in group])
        center = members.mean(0)
        circle = {
            "center": [round(float(c), 6) for c in center],
            "radius": round(float(np.linalg.norm(members - center, axis=1).mean()), 6),
            "normal": [0.0, 1.0, 0.0],
        }
        rotation.append({"ids": list(group), "is_circle": True, "circle": circle})
    return {"reflection": [list(group) for group in present[0]], "rotation": rotation}
