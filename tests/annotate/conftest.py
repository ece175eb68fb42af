from pathlib import Path

import numpy as np
import pytest

from pcsargmax.annotate import Mark
from pcsargmax.io import Cloud, write_cloud


class MemoryStore:
    """Keeps what is saved; `broken` makes saving fail."""

    def __init__(self, saved=None):
        self.saved, self.calls, self.broken = dict(saved or {}), [], None

    def names(self, scans):
        return list(dict.fromkeys(name for scan in scans for name in self.saved.get(scan, {})))

    def load(self, scan):
        return dict(self.saved[scan]) if scan in self.saved else None

    def save(self, scan, names, marks):
        if self.broken is not None:
            raise self.broken
        self.saved[scan] = dict(marks)
        self.calls.append((scan, list(names)))
        return scan


@pytest.fixture
def memory():
    return MemoryStore


@pytest.fixture
def mark():
    """Make a mark of one number."""
    return lambda x: Mark((float(x), 0.0, 0.0))


@pytest.fixture
def cube() -> Cloud:
    """A cube of edge 20 about (100, 50, 10), as a mesh whose corners are red where x is small and blue where large."""
    import trimesh

    box = trimesh.creation.box(extents=[20, 20, 20])
    points = np.array(box.vertices) + np.array([100, 50, 10])
    color = np.where(points[:, :1] < 100, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    return Cloud(points, color, faces=np.array(box.faces, dtype=np.int64))


@pytest.fixture
def cube_file(cube, tmp_path) -> Path:
    """The cube as a file."""
    write_cloud(tmp_path / "cube.ply", cube)
    return tmp_path / "cube.ply"


@pytest.fixture
def points() -> Cloud:
    """300 points of a sphere of radius 5 about (1, 2, 3), without colours."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(300, 3))
    return Cloud(5 * direction / np.linalg.norm(direction, axis=1, keepdims=True) + [1, 2, 3])
