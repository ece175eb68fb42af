import dataclasses
import subprocess

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Surface
from pcsargmax.visualize import DrawnByMatplotlib
from pcsargmax.visualize.clouds import offscreen, renderer
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.geometry import fit_camera


@pytest.fixture
def views(mug):
    """A drawing and so many cameras."""

    def make(count: int = 1):
        one = build_drawing(mug())
        turns = np.linspace(0, 360, count, endpoint=False)
        return one, [fit_camera(one.extent(), azimuth=turn, elevation=20, size=(60, 40)) for turn in turns]

    return make


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "print('libusb-1.0.so.0: cannot open', file=sys.stderr); sys.exit(3)",
            "cannot be loaded: libusb-1.0.so.0",
        ),
        ("os.abort()", "Open3D ended with status -6"),
        ("sys.exit(0)", "ended with status 0, probably without a graphics driver; it said: nothing"),
        ("import time; time.sleep(60)", "did not finish in 0.5 seconds, tried twice"),
    ],
)
def test_where_the_child_dies_matplotlib_draws_and_says_why(views, fake_child, code, message):
    fake_child(code)
    timeout = 0.5 if "sleep" in code else 60
    with pytest.warns(DrawnByMatplotlib, match=f"^drawn by matplotlib: .*{message}") as told:
        (picture,) = renderer.draw_views(*views(), timeout=timeout)
    assert picture.shape == (80, 120, 3)
    assert 0.1 < (picture < 240).any(axis=-1).mean() < 0.9
    for word in ("libusb-1.0-0", "libgl1", "libgomp1", "libvulkan1", "mesa-vulkan-drivers"):
        assert word in str(told[0].message)
    fake = offscreen.__file__
    with open(fake, "w") as program:
        program.write("raise SystemExit('tried again')")
    with pytest.warns(DrawnByMatplotlib, match=message):  # Open3D is not tried for every picture
        (again,) = renderer.draw_views(*views(), timeout=timeout)
    np.testing.assert_array_equal(again, picture)


def test_where_the_child_dies_midway_matplotlib_draws_the_rest(views, fake_child):
    fake_child("draw(7, 8)\nsys.exit(1)")
    with pytest.warns(DrawnByMatplotlib, match="status 1"):
        found = list(renderer.draw_views(*views(4), timeout=60))
    assert [len(np.unique(picture)) > 50 for picture in found] == [False, False, True, True]
    assert (found[2] != found[3]).any()


def test_views_come_in_order_and_twice_as_large(views, fake_child):
    fake_child("draw(*range(10, 10 + len(job['views'])))")
    found = list(renderer.draw_views(*views(4), timeout=60))
    assert [picture.shape for picture in found] == [(80, 120, 3)] * 4
    assert [int(picture[0, 0, 0]) for picture in found] == [10, 11, 12, 13]


def test_a_child_that_hangs_midway_is_followed_by_another(views, fake_child):
    # Each draws two views and then hangs; the next one is given what is left.
    fake_child("draw(len(job['views']), len(job['views']) - 1)\nimport time; time.sleep(60)")
    found = list(renderer.draw_views(*views(5), timeout=1.5))
    assert [int(picture[0, 0, 0]) for picture in found] == [5, 4, 3, 2, 1]


def test_one_that_stops_listening_ends_the_child(views, fake_child, tmp_path):
    fake_child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ndraw(9)\nimport time; time.sleep(60)")
    pictures = renderer.draw_views(*views(2), timeout=30)
    next(pictures)
    pictures.close()
    pid = (tmp_path / "pid").read_text()
    assert subprocess.run(["ps", "-p", pid], capture_output=True).returncode != 0


def test_shading_keeps_colors_near_the_legend(mug):
    one = build_drawing(mug())
    camera = fit_camera(one.extent(), azimuth=35, elevation=20, size=(400, 400))
    cloud = one.cloud()
    job = renderer._job(one, [camera])
    shaded = job["colors"]
    assert shaded.min() >= 0
    assert shaded.max() <= 1
    assert job["haze"] is None
    near = camera.project(job["vertices"])[1].argmin()
    own = np.abs(cloud.vertices - job["vertices"][near]).sum(axis=1).argmin()
    assert (shaded[near] <= cloud.colors[own] + 1e-9).all()


def test_both_sides_of_a_surface_are_lit_alike_and_stay_pale(mug):
    one = mug()
    corners = one.points[:3]
    camera = fit_camera(build_drawing(one).extent(), azimuth=35, elevation=20, size=(400, 400))
    light = []
    for order in ([0, 1, 2], [0, 2, 1]):
        drawing = build_drawing(dataclasses.replace(one, surface=Surface(corners, [order])))
        light.append(renderer._light(drawing.surface_mesh(), camera, faint=True)[0, 0])
    assert light[0] == pytest.approx(light[1])
    assert 0.8 <= light[0] <= 1


def test_the_surface_stands_behind_its_points(mug):
    one = mug()
    drawing = build_drawing(dataclasses.replace(one, surface=Surface(one.points[:3], [[0, 1, 2]])))
    camera = fit_camera(drawing.extent(), azimuth=35, elevation=20, size=(400, 400))
    pixels, depth = camera.project(renderer._job(drawing, [camera])["vertices"][-3:])
    own_pixels, own_depth = camera.project(drawing.points[:3])
    np.testing.assert_allclose(pixels, own_pixels, atol=1e-6)  # where it was in the picture
    assert (depth > own_depth).all()


def test_flat_points_are_lit_as_their_surface(mug, monkeypatch):
    monkeypatch.setattr("pcsargmax.visualize.clouds.drawing.MAX_BALLS", 10)
    one = mug(points=3000)
    drawing = build_drawing(dataclasses.replace(one, probability=np.zeros((4, 3000))))  # one colour
    cameras = [fit_camera(drawing.extent(), azimuth=turn, elevation=0, size=(400, 400)) for turn in (0, 180)]
    job = renderer._job(drawing, cameras[:1])
    assert len(job["point_positions"]) == 3000
    wall = slice(600, None)  # of the cylinder
    facing = np.abs(one.points[wall, 2]) > 0.2
    near = one.points[wall, 2] > 0
    brightness = job["point_colors"][wall].mean(axis=1)
    assert brightness[facing & near].mean() > brightness[~facing & near].mean() + 0.05
    with_surface = dataclasses.replace(one, surface=Surface(one.points[:3], [[0, 1, 2]]))
    counts = [len(renderer._job(build_drawing(with_surface), some)["triangles"]) for some in (cameras[:1], cameras)]
    assert counts[0] == counts[1] + 1  # it would cut flat points in half where they cannot be put before it
