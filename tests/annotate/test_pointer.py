import numpy as np
import pytest

from pcsargmax.annotate import Mark, Scan, Session
from pcsargmax.annotate.pointer import Pointer, View
from pcsargmax.visualize.clouds.geometry import fit_camera

SIZE = (400, 300)


def view_of(camera) -> View:
    """OpenGL's matrices of a camera."""
    view = np.eye(4)
    view[:3, :3] = camera.frame()
    view[:3, 3] = -camera.frame() @ camera.eye
    scale = 1 / np.tan(np.radians(camera.field_of_view / 2))
    projection = np.array([[scale * SIZE[1] / SIZE[0], 0, 0, 0], [0, scale, 0, 0], [0, 0, -1, -0.2], [0, 0, -1, 0]])
    return View(view, projection, SIZE)


@pytest.fixture
def scan(cube):
    return Scan(cube)


@pytest.fixture
def view(scan):
    return view_of(fit_camera(scan.points, azimuth=30, elevation=20, size=SIZE))


def test_a_view_projects_as_the_camera_of_the_pictures(scan, view):
    camera = fit_camera(scan.points, azimuth=30, elevation=20, size=SIZE)
    places = np.random.default_rng(0).uniform(-0.3, 0.3, (10, 3))
    pixels, depth = view.project(places)
    expected, far = camera.project(places)
    np.testing.assert_allclose(pixels, expected, atol=1e-9)
    np.testing.assert_allclose(depth, far, atol=1e-9)
    assert view.slope(3.0) == pytest.approx(3 / float(camera.pixels_per_unit(1.0)))


def test_a_ray_goes_back_through_its_pixel(view):
    eye, direction = view.ray(123.0, 45.0)
    pixels, _ = view.project(np.stack([eye + 0.7 * direction, eye + 2 * direction]))
    np.testing.assert_allclose(pixels, [[123, 45], [123, 45]], atol=1e-9)


def click(pointer, x, y, scan, view):
    pointer.event("press", x, y, scan, view)
    return pointer.event("release", x, y, scan, view)


def test_a_click_puts_the_current_landmark(memory, scan, view):
    session = Session([scan.path], ["a", "b"], memory())
    pointer = Pointer(session)
    assert not click(pointer, 200, 150, scan, view)  # the view may turn
    pixels, _ = view.project(scan.to_unit([session.marks["a"].position]))
    np.testing.assert_allclose(pixels, [[200, 150]], atol=1e-3)
    assert session.name == "b"
    click(pointer, 2, 2, scan, view)
    assert session.message == "nothing there: click on the surface"
    assert set(session.marks) == {"a"}


def test_a_drag_turns_the_view_and_puts_nothing(memory, scan, view):
    session = Session([scan.path], ["a", "b"], memory())
    pointer = Pointer(session)
    assert not pointer.event("press", 200, 150, scan, view)
    assert not pointer.event("drag", 220, 150, scan, view)
    assert not pointer.event("drag", 200, 150, scan, view)  # back again: still no click
    assert not pointer.event("release", 200, 150, scan, view)
    assert session.marks == {}


def test_dragging_a_landmark_moves_it_as_one_step(memory, scan, view):
    session = Session([scan.path], ["a", "b"], memory())
    pointer = Pointer(session)
    click(pointer, 200, 150, scan, view)
    first = session.marks["a"]
    assert pointer.event("press", 203, 150, scan, view)
    assert pointer.event("drag", 230, 160, scan, view)
    assert pointer.moving[0] == "a"
    assert pointer.event("drag", 0, 0, scan, view)  # off the scan: it stays where it last was
    assert session.marks["a"] == first
    assert pointer.event("release", 0, 0, scan, view)
    np.testing.assert_allclose(view.project(scan.to_unit([session.marks["a"].position]))[0], [[230, 160]], atol=1e-3)
    assert (session.name, pointer.moving) == ("a", None)
    session.undo()
    assert session.marks["a"] == first


def test_letting_go_leaves_it_where_it_was(memory, scan, view):
    session = Session([scan.path], ["a"], memory())
    pointer = Pointer(session)
    click(pointer, 200, 150, scan, view)
    first = session.marks["a"]
    pointer.event("press", 200, 150, scan, view)
    pointer.event("drag", 230, 160, scan, view)
    pointer.cancel()
    assert not pointer.event("release", 230, 160, scan, view)
    assert session.marks["a"] == first


def test_a_click_on_a_landmark_chooses_it(memory, scan, view):
    session = Session([scan.path], ["a", "b", "c"], memory())
    pointer = Pointer(session)
    click(pointer, 200, 150, scan, view)
    click(pointer, 240, 150, scan, view)
    assert session.name == "c"
    assert click(pointer, 202, 152, scan, view)
    assert (session.name, set(session.marks)) == ("a", {"a", "b"})


def test_a_landmark_behind_the_scan_is_not_meant(memory, scan, view):
    session = Session([scan.path], ["a", "b"], memory())
    eye, direction = view.ray(200, 150)
    behind = scan.pick(eye + 10 * direction, -direction, 0.01)
    session.place(behind)
    pointer = Pointer(session)
    assert pointer.landmark_at(200, 150, scan, view) is None
    click(pointer, 200, 150, scan, view)
    assert set(session.marks) == {"a", "b"}


def test_without_a_name_a_click_says_what_to_do(memory, scan, view):
    session = Session([scan.path], [], memory(), open_names=True)
    click(Pointer(session), 200, 150, scan, view)
    assert session.message == "add a landmark's name first"


def test_points_of_a_cloud_are_clicked_within_reach(memory, points):
    scan = Scan(points)
    view = view_of(fit_camera(scan.points, azimuth=0, elevation=0, size=SIZE))
    session = Session([scan.path], ["a"], memory())
    front = int(scan.points[:, 2].argmax())
    (x, y), _ = (value[0] for value in view.project(scan.points[[front]]))
    click(Pointer(session), x + 1, y - 1, scan, view)
    assert session.marks["a"] == Mark(tuple(points.points[front]), point_index=front)
