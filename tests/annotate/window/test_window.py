import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcsargmax.annotate import ABSENT, Session, SlicerStore
from pcsargmax.annotate.window.window import annotate
from pcsargmax.datasets import LandmarkFolder
from pcsargmax.io import Cloud, read_landmarks, write_cloud
from pcsargmax.visualize import RendererUnavailable
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color

# What hands would do, in a process of its own: Open3D can end the one that it is in.
_CHILD = """
import sys, threading
from pathlib import Path
import numpy as np
from pcsargmax.annotate import Session, SlicerStore
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.annotate.window.window import annotate

folder = Path(sys.argv[1])
session = Session(sorted(folder.glob("*.ply")), ["top", "side", "absent"], SlicerStore(), open_names=True)

def propose(path):
    return Prediction(
        name=path.name, points=np.zeros((1, 3)), keypoint_names=("side",), position=[[0, 0, 12.0]], confidence=[0.8],
        covariance=np.zeros((1, 3, 3)), visibility=[1.0], point_index=[0], probability=[[1.0]],
    )

def script(window):
    frame = window.scene.widget.frame
    place = lambda position: window.scene.view().project(window.scene.scan.to_unit([position]))[0][0]
    def click(x, y):
        window.pointer("press", x, y)
        window.pointer("release", x, y)
    while window.predicting:
        yield
    click(*place([0.0, 10.0, 0.0]))  # top
    yield
    x, y = place(session.marks["top"].position)
    window.pointer("press", x, y)
    window.pointer("drag", *place([3.0, 10.0, 3.0]))
    yield
    window.pointer("release", *place([3.0, 10.0, 3.0]))
    yield
    window.key("TWO")
    window.key("ENTER")  # the proposal
    yield
    box = next(area.box for area in window.card.areas if area.means == "A")
    window.click_panel((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    yield
    window.type_name("rim")
    click(*place([10.0, 0.0, 0.0]))
    for _ in range(12):  # the screen may be some frames behind
        yield
    (folder / "ready").touch()
    while not (folder / "seen").exists():
        yield
    places = {name: place(mark.position).round().tolist() for name, mark in session.marks.items() if mark.position}
    (folder / "places.txt").write_text(repr((frame.width, frame.height, places)))
    window.key("PAGE_DOWN")
    yield
    click(frame.width / 2, frame.height / 2)
    yield

annotate(session, propose=propose, size=(900, 640), script=script)
"""


def screen_of(file: Path) -> np.ndarray:
    """(height, width, 3) of what Xvfb keeps of its screen: an XWD file, header first, rows of BGRX."""
    content = file.read_bytes()
    header = np.frombuffer(content[:100], ">u4")
    colors, row = int(header[19]), int(header[12])
    width, height = int(header[4]), int(header[5])
    rows = np.frombuffer(content, np.uint8, count=height * row, offset=int(header[0]) + 12 * colors)
    return rows.reshape(height, row)[:, : 4 * width].reshape(height, width, 4)[..., 2::-1].astype(int)


@pytest.fixture
def screen(tmp_path):
    """A screen of memory: the display's name and the file of its pixels."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here, so no screen for a window")
    read, write = os.pipe()
    place = tmp_path / "screen"
    place.mkdir()
    command = [
        "Xvfb",
        "-displayfd",
        str(write),
        "-screen",
        "0",
        "1000x700x24",
        "-nolisten",
        "tcp",
        "-fbdir",
        str(place),
    ]
    server = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            number = stream.readline().strip()
        yield f":{number}", place / "Xvfb_screen0"
    finally:
        server.terminate()
        server.wait(10)


def test_hands_annotate_two_scans(open3d, screen, tmp_path):
    import time

    import trimesh

    folder = tmp_path / "scans"
    box = trimesh.creation.box(extents=[20, 20, 20])
    cube = Cloud(np.array(box.vertices), faces=np.array(box.faces, dtype=np.int64))
    for name in ("a", "b"):
        write_cloud(folder / f"{name}.ply", cube)
    display, pixels = screen
    environment = os.environ | {"DISPLAY": display, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "said.txt", "wb") as said:
        child = subprocess.Popen([sys.executable, "-c", _CHILD, folder], env=environment, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 120
        while child.poll() is None and not (folder / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        if child.poll() is not None and "Vulkan" in (told := (tmp_path / "said.txt").read_text())[-2000:]:
            pytest.skip(f"no graphics driver here: {told[-300:]}")
        assert (folder / "ready").exists(), (tmp_path / "said.txt").read_text()[-2000:]
        picture = screen_of(pixels)
        (folder / "seen").touch()
        # Software drivers have been seen to hang when a window is closed; what was done is saved by then.
        deadline = time.monotonic() + 60
        while child.poll() is None and not (folder / "b.mrk.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert child.wait(15) == 0, (tmp_path / "said.txt").read_text()[-2000:]
    finally:
        child.kill()
        child.wait()
    found = read_landmarks(folder / "a.mrk.json")
    assert set(found) == {"top", "side", "rim"}
    np.testing.assert_allclose(found["top"], [3, 10, 3], atol=0.05)
    np.testing.assert_allclose(found["side"], [0, 0, 10], atol=1e-4)
    np.testing.assert_allclose(found["rim"], [10, 0, 0], atol=0.05)
    assert SlicerStore().load(folder / "a.ply")["absent"] == ABSENT
    assert set(read_landmarks(folder / "b.mrk.json")) == {"top"}
    data = LandmarkFolder(folder, "all", num_points=100)
    assert data.keypoint_names == ("rim", "side", "top")
    _check_picture(picture, *eval((folder / "places.txt").read_text()))


def _check_picture(picture, width, height, places):
    """Balls in the landmarks' colours where they were put, and the same colours in the list."""
    left, top = (picture.shape[1] - 900) // 2, (picture.shape[0] - 640) // 2
    assert (picture[:10] == 0).all()  # beside the window the screen is black
    if (picture[top + 5, left + width + 20] < 100).all():
        pytest.skip("what was annotated is right, but the software driver stopped drawing, so there is no picture")
    for number, name in enumerate(["top", "side", "absent", "rim"]):
        color = np.round(hex_to_rgb(keypoint_color(number)) * 255)
        distance = np.linalg.norm(picture - color, axis=-1)
        alike = distance < 90  # balls are shaded, discs are not
        in_list = (distance < 12)[top : top + height, left + width : left + 900].sum()
        assert (in_list > 60) == (name != "absent"), name
        if name in places:
            x, y = (round(value) for value in places[name])
            assert alike[top + y - 5 : top + y + 6, left + x - 5 : left + x + 6].mean() > 0.5, name


def test_without_a_screen_it_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    session = Session([tmp_path / "a.ply"], ["tip"], SlicerStore())
    with pytest.raises(RendererUnavailable, match="there is no screen to open a window on"):
        annotate(session)
