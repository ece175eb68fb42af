"""The window is opened in child processes on a screen of their own, and skipped where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcsargmax.visualize import palette

HERE = Path(__file__).parent
SETUP = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {here!r})
from conftest import make_mug
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.viewer_state import ViewerState
from pcsargmax.visualize.window import open_window
folder = Path(sys.argv[1])

def start(predictions, others=None, look=None, **options):
    state = ViewerState.over(predictions, others, look)
    state.folder = folder
    open_window(predictions, others, state, size=(700, 420), **options)
    return state
"""


@pytest.fixture(scope="module")
def screen():
    """The number of a screen that ends with the tests."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        number = told.readline().strip()
    if not number:
        server.wait()
        pytest.skip("Xvfb does not start here")
    yield f":{number}"
    server.terminate()
    server.wait()


@pytest.fixture
def run(screen, tmp_path):
    """Run a program that opens the window, and return what it printed; pictures are in the folder."""

    def start(code):
        program = tmp_path / "program.py"
        program.write_text(SETUP.format(here=str(HERE)) + code)
        environment = os.environ | {"DISPLAY": screen, "OMP_NUM_THREADS": "1"}
        environment.pop("WAYLAND_DISPLAY", None)
        command = [sys.executable, str(program), str(tmp_path / "pictures")]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if child.returncode != 0 and "Traceback" not in child.stderr:
            pytest.skip(f"Open3D opens no window here: status {child.returncode}, {child.stderr[-300:]}")
        assert child.returncode == 0, child.stderr
        return child.stdout

    return start


def picture(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def amount(pixels, color, tolerance=50):
    """How many pixels have a colour, up to shading."""
    rgb = np.round(palette.hex_to_rgb(color) * 255)
    return int((np.abs(pixels - rgb).max(axis=-1) < tolerance).sum())


def test_a_window_shows_steps_and_saves(run, tmp_path):
    said = run(
        "state = start([make_mug(), make_mug(seed=1)], script=['screenshot', 'next_keypoint', 'next_shape',\n"
        "    'ellipsoids', 'labels', 'screenshot', 'help'])\n"
        "print(state.shape, state.chosen, state.look.ellipsoids, state.message, state.help)\n"
    )
    assert said.splitlines()[-1] == "1 0 1 saved mug-1-co-handle.png True"
    first, second = (picture(tmp_path / "pictures" / name) for name in ("mug-1-co.png", "mug-1-co-handle.png"))
    assert first.shape == second.shape
    assert first.shape[0] == 420
    view = first[:, :370]
    assert (view[[0, -1]] == 255).all()  # nothing cut off
    for k in range(3):
        assert amount(view, palette.keypoint_color(k)) > 20
    assert amount(view, palette.keypoint_color(3), 20) == 0  # the absent one
    assert amount(view, palette.TRUTH_COLOR, 12) > 15
    assert amount(first[:, 380:], palette.rgb_to_hex(palette.probability_scale()[255]), 6) > 20  # the scale
    assert (first[:, :370] != second[:, :370]).any(axis=-1).mean() > 0.01


def test_a_pair_moves_together_until_it_is_unlinked(run, tmp_path):
    said = run(
        "mug = make_mug()\n"
        "def cameras(viewer):\n"
        "    return [np.asarray(view.widget.scene.camera.get_model_matrix()) for view in viewer.views]\n"
        "def turn(number, eye):\n"
        "    place = [np.array(each, dtype=np.float32) for each in ((0, 0, 0), eye, (0, 1, 0))]\n"
        "    return lambda viewer: viewer.views[number].widget.look_at(*place)\n"
        "def same(viewer):\n"
        "    left, right = cameras(viewer)\n"
        "    places = [each[:3, 3].round(2).tolist() for each in (left, right)]\n"
        "    print(np.allclose(left, right, atol=1e-5), *places)\n"
        "start([mug], [mug], titles=('soft', 'sampling'), script=[same, turn(0, (2, 0, 0)), same, turn(1, (0, 0, 3)),\n"
        "    same, 'linked', turn(0, (0, 1, 2)), same, 'linked', 'screenshot'])\n"
    )
    lines = [line for line in said.splitlines() if line.startswith(("True", "False"))]
    assert lines[0].startswith("True")
    assert lines[1] == "True [2.0, 0.0, 0.0] [2.0, 0.0, 0.0]"
    assert lines[2] == "True [0.0, 0.0, 3.0] [0.0, 0.0, 3.0]"
    assert lines[3] == "False [0.0, 1.0, 2.0] [0.0, 0.0, 3.0]"
    whole = picture(tmp_path / "pictures" / "mug-1-co.png")
    assert whole.shape[0] == 420


def test_shapes_come_one_at_a_time_and_a_failure_is_told(run):
    said = run(
        "class Lazy:\n"
        "    def __len__(self):\n"
        "        return 3\n"
        "    def __getitem__(self, number):\n"
        "        print('asked', number, flush=True)\n"
        "        if number == 1:\n"
        "            raise ValueError('a bad file')\n"
        "        time.sleep(0.3)\n"
        "        return make_mug()\n"
        "def told(viewer):\n"
        "    print('told', viewer.state.message, len(viewer.sides), flush=True)\n"
        "start(Lazy(), script=[told, 'next_shape', told, 'screenshot', 'next_shape', told])\n"
    )
    told = [line for line in said.splitlines() if line.startswith("told")]
    assert told == ["told  1", "told ValueError: a bad file 0", "told  1"]
    assert next(line for line in said.splitlines() if line.startswith("asked")) == "asked 0"
