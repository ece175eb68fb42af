import subprocess
import sys

import numpy as np
import pytest

from pcsargmax.visualize import RendererUnavailable, offscreen, palette, render, render_all, scene, show
from pcsargmax.visualize.drawing import build_drawing
from pcsargmax.visualize.geometry import fit_camera


def picture_of(path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def fake_child(monkeypatch):
    """Run another Python program in place of the renderer."""

    def put(code: str, tmp_path) -> None:
        program = tmp_path / "child.py"
        program.write_text(code)
        monkeypatch.setattr(offscreen, "__file__", str(program))

    return put


def test_a_picture_shows_cloud_keypoints_and_legend(mug, tmp_path):
    try:
        path = render(
            mug(scale=100, origin=1e6), tmp_path / "mug.png", keypoint="handle", size=(480, 360), ellipsoids=True
        )
    except RendererUnavailable as error:
        pytest.skip(f"no renderer here: {error}")
    pixels = picture_of(path)
    assert pixels.shape == (360, 480, 3)
    cloud = pixels[:, :350]
    drawn = (cloud < 240).any(axis=-1)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert drawn[[0, -1]].sum() == drawn[:, 0].sum() == 0  # nothing clipped
    assert max(np.ptp(rows) / 360, np.ptp(columns) / 350) > 0.75  # and the frame filled
    for k in range(2):  # both are on the near side
        color = np.round(palette.hex_to_rgb(palette.keypoint_color(k)) * 255)
        assert (np.abs(cloud - color).max(axis=-1) < 60).sum() > 20
    bar = np.round(palette.probability_scale()[255] * 255)
    assert (np.abs(pixels[:, 350:] - bar).max(axis=-1) < 4).any()


@pytest.mark.parametrize("balls", [True, False])
def test_everything_but_the_renderer(mug, tmp_path, fake_child, monkeypatch, balls):
    # A child that draws a grey picture of the size asked for: the rest of the way without Open3D.
    fake_child(
        "import pickle, sys, numpy as np\njob = pickle.load(sys.stdin.buffer)\n"
        "assert len(job['colors']) == len(job['vertices']) and job['triangles'].max() < len(job['vertices'])\n"
        "assert 0 <= job['colors'].min() and job['colors'].max() <= 1\n"
        f"assert (len(job['point_positions']) == 0) == {balls}\n"
        "np.save(job['path'], np.full((*job['size'][::-1], 3), 200, np.uint8))\n",
        tmp_path,
    )
    if not balls:
        monkeypatch.setattr("pcsargmax.visualize.drawing.MAX_BALLS", 10)
    paths = [tmp_path / "out" / f"{name}.png" for name in "ab"]
    assert render_all([mug(), mug(seed=1)], paths, keypoints=[None, "handle"], ellipsoids=True, log_scale=True) == paths
    first, second = (picture_of(path) for path in paths)
    assert first.shape == second.shape == (960, 1280, 3)
    assert (first[:, :800] == 200).mean() > 0.9
    assert (first != second).any()


@pytest.mark.parametrize("count", [1, 40, 300])
def test_a_panel_of_many_keypoints_stays_inside(mug, tmp_path, fake_child, count):
    import dataclasses

    fake_child(
        "import pickle, sys, numpy as np\njob = pickle.load(sys.stdin.buffer)\n"
        "np.save(job['path'], np.full((*job['size'][::-1], 3), 255, np.uint8))\n",
        tmp_path,
    )
    rows = np.arange(count) % 3
    one = mug()
    many = dataclasses.replace(
        one,
        keypoint_names=tuple(f"a long name of keypoint {k}" for k in range(count)),
        **{name: getattr(one, name)[rows] for name in
           ("position", "confidence", "covariance", "visibility", "point_index", "probability", "truth")},
    )  # fmt: skip
    pixels = picture_of(render(many, tmp_path / "a.png", size=(480, 360)))
    assert (pixels[-2:, 350:] == 255).all()
    assert (pixels[:, -3:] == 255).all()
    assert (pixels[:, 350:] < 200).any()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('libusb-1.0.so.0: cannot open', file=sys.stderr); sys.exit(3)", "libusb-1.0.so.0: cannot"),
        ("import os; os.abort()", "ended with status -6"),
        ("import time; time.sleep(60)", "did not finish in 0.5 seconds"),
    ],
)
def test_a_dead_child_says_what_to_install(mug, tmp_path, fake_child, code, message):
    fake_child(code, tmp_path)
    with pytest.raises(RendererUnavailable, match=message) as caught:
        render_all([mug()], [tmp_path / "a.png"], timeout=0.5 if "sleep" in code else 60)
    for word in ("libusb-1.0-0", "libgl1", "libgomp1", "libvulkan1", "mesa-vulkan-drivers", "HTML"):
        assert word in str(caught.value)
    assert not (tmp_path / "a.png").exists()


def test_a_missing_open3d_ends_the_child_with_its_own_status(tmp_path):
    (tmp_path / "open3d.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps({}))"
    job = subprocess.run([sys.executable, "-c", code], capture_output=True).stdout
    child = subprocess.run(
        [sys.executable, "-P", offscreen.__file__], input=job, capture_output=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert child.returncode == offscreen.IMPORT_FAILED
    assert b"libGL.so.1" in child.stderr


def test_wrong_arguments_are_named(mug, tmp_path):
    with pytest.raises(ValueError, match="expected one for each of 1 predictions, got 2 and 1"):
        render_all([mug()], [tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(ValueError, match=r"size: expected at least \(320, 240\) pixels, got \(10, 10\)"):
        render(mug(), tmp_path / "a.png", size=(10, 10))
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        render(mug(), tmp_path / "a.png", keypoint="lid")
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        show([])


def test_a_window_needs_a_screen(mug, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RendererUnavailable, match="there is no screen"):
        show(mug())


def test_a_window_without_open3d_says_what_to_install(mug, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "open3d", None)
    monkeypatch.delitem(sys.modules, "pcsargmax.visualize.window", raising=False)
    with pytest.raises(RendererUnavailable, match="Open3D needs the system libraries"):
        show(mug())


def test_keypoints_behind_the_surface_are_known(mug):
    drawing = build_drawing(mug(points=5000))
    camera = fit_camera(drawing.extent(), azimuth=90, elevation=0, size=(400, 400))  # from the handle's side
    assert scene._hidden(drawing, camera).tolist()[:2] == [False, True]


def test_shading_keeps_colors_near_the_legend(mug):
    drawing = build_drawing(mug())
    camera = fit_camera(drawing.extent(), azimuth=35, elevation=20, size=(400, 400))
    mesh = drawing.cloud()
    shaded = scene._shade(mesh, camera)
    assert shaded.min() >= 0
    assert shaded.max() <= 1
    near = camera.project(mesh.vertices)[1].argmin()
    assert (shaded[near] <= mesh.colors[near] + 1e-9).all()
