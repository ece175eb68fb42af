import shutil
import subprocess
import sys

import pytest

from pcsargmax.visualize.figures.parts import empty_figure
from pcsargmax.visualize.images.window import NoWindow, Viewer, show_images


def test_keys_go_through_images_and_keypoints(face, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    viewer = Viewer([face(0), face(1)])
    assert viewer.press("right")
    assert viewer.shown()[0].name == "face1.png"
    viewer.press("right")
    assert viewer.number == 0
    chosen = []
    for _ in range(5):
        viewer.press("down")
        chosen.append(viewer.options["keypoint"])
    assert chosen == [0, 1, 2, 3, None]
    viewer.press("up")
    assert viewer.options["keypoint"] == 3
    for key, name, value in (
        ("m", "map", False),
        ("L", "log_scale", True),
        ("t", "truth", False),
        ("n", "labels", True),
    ):
        viewer.press(key)
        assert viewer.options[name] is value
    assert [viewer.press("e") and viewer.options["ellipsoids"] for _ in range(3)] == [2, 0, 1]
    assert not viewer.press("x")
    assert not viewer.press(None)
    viewer.press("s")
    viewer.press("s")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image-1.png", "image-2.png"]
    assert viewer.said.endswith("image-2.png")


def test_it_draws_one_or_two_methods(face):
    figure = empty_figure(9, 5)
    viewer = Viewer([face()], [face(off=3)], ("soft", "sampling"))
    viewer.draw(figure)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["soft", "sampling"]
    Viewer([face()]).draw(figure)
    assert len(figure.axes) == 2


def test_a_keypoint_that_the_next_image_lacks_is_dropped(face, oct_slice):
    viewer = Viewer([face(), oct_slice()], options={"keypoint": 3})
    viewer.press("right")
    assert viewer.options["keypoint"] is None


def test_without_a_screen_there_is_no_window(face):
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        with pytest.raises(NoWindow, match=r"no window can be opened here \(matplotlib has the backend agg\)"):
            show_images([face()])
    finally:
        matplotlib.use(before)
    with pytest.raises(ValueError, match="predictions: expected at least one, got none"):
        show_images([])


_SHOW = """
import numpy as np
from matplotlib import pyplot
from pcsargmax.visualize.images import Picture, show_images
image = np.zeros((20, 30, 3), np.uint8)
pictures = [Picture(name, image, ("tip",), np.array([[3.0, 4.0]])) for name in "ab"]
def keys(figure):
    print(figure.axes[1].texts[0].get_text())
    figure.canvas.callbacks.process("key_press_event", type("E", (), {"key": "right"})())
    print(figure.axes[1].texts[0].get_text())
    figure.canvas.callbacks.process("key_press_event", type("E", (), {"key": "q"})())
show = pyplot.show
def watched(block):
    pyplot.gcf().canvas.manager.window.after(300, keys, pyplot.gcf())
    show(block=block)
pyplot.show = watched
show_images(pictures)
print("closed", pyplot.get_fignums())
"""


def test_a_real_window_listens_to_keys():
    pytest.importorskip("tkinter")
    if shutil.which("xvfb-run") is None:
        pytest.skip("no xvfb-run here to open a window on")
    command = ["xvfb-run", "-a", sys.executable, "-W", "ignore", "-c", _SHOW]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, env=_environment())
    assert ran.stdout.split("\n")[:3] == ["a", "b", "closed []"], ran.stderr[-2000:]


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "MPLBACKEND": "TkAgg"}
