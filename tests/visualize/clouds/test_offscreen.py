import subprocess
import sys

import numpy as np

from pcsargmax.visualize.clouds import offscreen


def test_a_missing_open3d_ends_the_child_with_its_own_status(tmp_path):
    (tmp_path / "open3d.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps({}))"
    job = subprocess.run([sys.executable, "-c", code], capture_output=True).stdout
    child = subprocess.run(
        [sys.executable, "-P", offscreen.__file__], input=job, capture_output=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert child.returncode == offscreen.IMPORT_FAILED
    assert b"libGL.so.1" in child.stderr


class _Stub:
    """A renderer of one colour, and a wall at a distance of 2 with nothing to its right."""

    def setup_camera(self, inward, outward, width, height):
        self.left, self.size = inward[0, 2], (height, width)

    def render_to_image(self):
        return np.full((*self.size, 3), 100, dtype=np.uint8)

    def render_to_depth_image(self, _):
        distance = np.full(self.size, 2.0, dtype=np.float32)
        distance[:, 25:] = np.inf
        return distance


def test_haze_makes_what_is_far_paler():
    job = {"size": (101, 61), "focal": 50.0, "haze": (1.0, 3.0, 0.4)}
    view = {"eye": np.zeros(3), "frame": np.eye(3)}
    picture = offscreen._tiles(_Stub(), view, job["size"], job["focal"], depth=False)
    assert picture.shape == (61, 101, 3)
    hazy = offscreen._hazy(_Stub(), view, job, picture)
    assert hazy.shape == picture.shape
    half_way = round(100 * 0.8 + 255 * 0.2)
    assert (hazy[:, :52] == half_way).all()  # a pixel beyond the edge too, that may be half covered
    assert (hazy[:, 52:] == round(100 * 0.6 + 255 * 0.4)).all()
