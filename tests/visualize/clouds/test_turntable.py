import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image

from pcsargmax.visualize import Look, palette, turntable
from pcsargmax.visualize.clouds import turntable as module
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.legend import panel_width


def frames_of(path) -> list[np.ndarray]:
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")).astype(int))
        return found


@pytest.mark.usefixtures("renderer")
def test_the_handle_goes_round(mug, tmp_path):
    one = mug()
    path = turntable(one, tmp_path / "mug.gif", Look(truth=False), frames=4, seconds=1, size=(320, 240), azimuth=0)
    frames = frames_of(path)
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 4
    clouds = [frame[:, :186] for frame in frames]
    columns = []
    for cloud in clouds:
        drawn = (cloud < 240).any(axis=-1)
        assert drawn.sum() > 1000
        assert not drawn[[0, -1]].any()
        assert not drawn[:, 0].any()
        red, green, blue = np.moveaxis(cloud, -1, 0)
        found = np.argwhere((blue > green + 25) & (blue > red + 60))  # the ball at the handle, +x, is blue
        columns.append(found[:, 1].mean() if len(found) > 5 else np.nan)
    middle = 186 / 2
    assert columns[0] > middle + 30  # seen from the front, +x is on the right
    assert abs(columns[1] - middle) < 12  # from +x, it is before us
    assert columns[2] < middle - 30
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame[:, 190:], frames[0][:, 190:])  # the panel stays


def test_a_gif_loops_and_lasts_as_long_as_it_should(mug, tmp_path, fake_child):
    fake_child("draw(*range(30, 254, 30))")
    seen = []
    path = turntable(
        mug(), tmp_path / "new" / "a.gif", frames=7, seconds=1.0, size=(320, 240), progress=lambda *at: seen.append(at)
    )
    assert path == tmp_path / "new" / "a.gif"
    assert seen == [(number, 7) for number in range(1, 8)]
    with Image.open(path) as image:
        assert image.n_frames == 7
        assert image.info["loop"] == 0
        durations = []
        for number in range(7):
            image.seek(number)
            durations.append(image.info["duration"])
    assert sum(durations) == 1000
    assert set(durations) <= {140, 150}
    greys = [frame[5, 5] for frame in frames_of(path)]
    assert np.abs(np.array(greys) - np.arange(30, 240, 30)[:, None]).max() <= 6


def test_two_predictions_turn_side_by_side(mug, tmp_path, fake_child):
    fake_child("draw(*[30 + len(job['vertices']) % 200] * len(job['views']))")
    one, other = mug(), dataclasses.replace(mug(), truth=None)
    seen = []
    names = {"names": ("soft", "sampling"), "frames": 2, "seconds": 1, "progress": lambda *at: seen.append(at)}
    first = frames_of(turntable(one, tmp_path / "a.gif", other=other, **names))
    second = frames_of(turntable(other, tmp_path / "b.gif", other=one, **names))
    assert seen == [(1, 2), (2, 2)] * 2
    width = (960 - panel_width((960, 480), 2)) // 2
    for frame in (*first, *second):
        assert frame.shape == (480, 960, 3)
        assert np.abs(frame[400, 5] - frame[400, width + 5]).max() > 8  # a view of each
        for left in (0, width):
            assert (frame[8:24, left : left + width] < 60).all(axis=-1).sum() > 20  # its name
    assert np.abs(first[0][400, 5] - second[0][400, width + 5]).max() <= 6
    assert np.abs(first[0][400, width + 5] - second[0][400, 5]).max() <= 6


def test_two_predictions_of_unlike_clouds_do_not_turn_together(mug, tmp_path):
    with pytest.raises(ValueError, match="second: expected a prediction of the same cloud as the first"):
        turntable(mug(), tmp_path / "a.gif", other=mug(origin=5.0))
    with pytest.raises(ValueError, match=r"size: expected at least \(640, 300\) pixels, got \(320, 240\)"):
        turntable(mug(), tmp_path / "a.gif", other=mug(), size=(320, 240))
    assert list(tmp_path.iterdir()) == []


def test_the_colors_of_a_gif_agree_with_the_legend(mug):
    one = build_drawing(mug())
    rng = np.random.default_rng(0)
    grey = rng.integers(100, 230, (400, 400, 1)).repeat(3, axis=2).astype(np.uint8)  # as a cloud: many greys
    grey[:100] = 255
    grey[200:206, 200:206] = np.rint(255 * one.keypoint_rgb()[1])
    made = module._palette([Image.fromarray(grey)] * 3, one.keypoint_rgb())
    colors = np.concatenate([palette.probability_scale(), one.keypoint_rgb(), np.ones((1, 3))])
    wanted = np.rint(255 * colors).astype(np.uint8)[None]
    found = np.asarray(Image.fromarray(wanted).quantize(palette=made, dither=Image.Dither.NONE).convert("RGB"))
    away = np.abs(found.astype(int) - wanted).max(axis=-1)[0]
    assert away.max() <= 24
    assert away.mean() < 8
    assert away[-1] == 0  # white is white


def test_an_mp4_can_be_read(mug, tmp_path, fake_child):
    av = pytest.importorskip("av", reason="PyAV (the extra video) is not installed")
    fake_child("draw(*range(40, 241, 40))")
    path = turntable(mug(), tmp_path / "a.mp4", frames=6, seconds=0.5, size=(322, 240))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
        assert float(container.duration) / 1e6 == pytest.approx(0.5, abs=0.01)
    assert [frame.shape for frame in frames] == [(240, 322, 3)] * 6
    assert np.abs(np.array([int(frame[5, 5, 0]) for frame in frames]) - np.arange(40, 241, 40)).max() <= 6


def test_an_mp4_without_its_library_says_what_to_install(mug, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"a\.mp4: PyAV is not installed: pip install 'pcsargmax\[video\]'"):
        turntable(mug(), tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.png", {}, r"path: expected a file \.gif or \.mp4, got .*a\.png"),
        ("a.gif", {"frames": 1}, "frames: expected 2 or more, got 1"),
        ("a.gif", {"frames": 100, "seconds": 1}, "seconds: expected at least 2 for 100 frames, got 1"),
        ("a.gif", {"seconds": float("inf")}, "seconds: expected at least 1.2 for 60 frames, got inf"),
        ("a.gif", {"size": (100, 100)}, r"size: expected at least \(320, 240\) pixels, got \(100, 100\)"),
        ("a.mp4", {"size": (321, 240)}, r"size: expected even numbers for an \.mp4, got \(321, 240\)"),
        ("a.gif", {"look": Look(keypoint="lid")}, "keypoint: expected one of handle"),
    ],
)
def test_wrong_arguments_are_named(mug, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        turntable(mug(), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("elevation", [-30, 0, 20, 90])
def test_the_camera_sees_the_shape_from_all_around(elevation):
    points = np.random.default_rng(0).normal(size=(200, 3)) * [3, 0.5, 1] + [0.3, 0.1, 0]
    camera = module.orbit_camera(points, azimuth=50, elevation=elevation, size=(400, 300))
    shares = []
    for degrees in range(0, 360, 7):
        pixels, depth = module.turned(camera, degrees).project(points)
        assert depth.min() > 0
        shares.append(pixels / (400, 300))
    shares = np.concatenate(shares)
    assert shares.min() > 0.05
    assert shares.max() < 0.95
    assert np.ptp(shares, axis=0).max() > 0.7  # and it is not far away


def test_turning_goes_round_the_vertical_axis_towards_x():
    camera = module.orbit_camera(np.eye(3), azimuth=0, elevation=0, size=(100, 100))
    quarter = module.turned(camera, 90)
    assert quarter.eye[0] == pytest.approx(camera.eye[2])
    assert quarter.eye[1] == pytest.approx(camera.eye[1])
    np.testing.assert_allclose(np.linalg.norm(quarter.eye), np.linalg.norm(camera.eye))


def test_shapes_without_extent_can_be_turned():
    for points in (np.zeros((1, 3)), np.ones((5, 3)), np.array([[0.0, 0, 0], [0, 1, 0]])):
        camera = module.orbit_camera(points, azimuth=0, elevation=20, size=(100, 100))
        assert np.isfinite(camera.eye).all()
