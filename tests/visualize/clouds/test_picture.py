import dataclasses

import numpy as np

from pcsargmax.predictions.cloud import Surface, SymmetryMark
from pcsargmax.visualize import Look
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.geometry import fit_camera
from pcsargmax.visualize.clouds.picture import finish_view, hidden, notes
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color


def from_the_handle(drawing, size=(400, 400)):
    return fit_camera(drawing.extent(), azimuth=90, elevation=0, size=size)


def test_keypoints_behind_the_points_are_known(mug):
    drawing = build_drawing(mug(points=5000))
    assert hidden(drawing, from_the_handle(drawing)).tolist()[:2] == [False, True]


def test_keypoints_behind_a_surface_are_known(mug):
    one = mug(points=30)  # too few to hide anything
    wall = np.array([[0.1, -1, -1], [0.1, 1, -1], [0.1, 0, 2.0]])  # across x, between the handle and the rim
    bare = build_drawing(one)
    walled = build_drawing(dataclasses.replace(one, surface=Surface(wall, [[0, 1, 2]])))
    assert hidden(bare, from_the_handle(bare)).tolist() == [False, False, False]
    assert hidden(walled, from_the_handle(walled)).tolist() == [False, True, True]
    far = fit_camera(walled.extent(), azimuth=-90, elevation=0, size=(400, 400))
    assert hidden(walled, far).tolist() == [True, False, False]


def test_outlines_lie_where_the_ellipsoids_are(mug):
    one = mug()
    covariance = np.tile(np.diag([0.06, 0.06, 0.06]) ** 2, (4, 1, 1))
    one, pixels = dataclasses.replace(one, covariance=covariance, visibility=[1, 0, 0, 0]), {}
    for sigmas in (0, 1, 2):
        drawing = build_drawing(one, Look(ellipsoids=sigmas, labels=False))
        camera = from_the_handle(drawing)
        blank = np.full((800, 800, 3), 255, dtype=np.uint8)
        image = finish_view(blank, drawing, camera, one.keypoint_names)
        assert image.size == (400, 400)
        pixels[sigmas] = np.asarray(image).astype(int)
    at, depth = camera.project(drawing.position[:1])
    away = np.linalg.norm(np.stack(np.meshgrid(np.arange(400), np.arange(400)), axis=-1) - at, axis=-1)
    radius = float(0.06 / np.linalg.norm(np.ptp(one.points, axis=0)) * camera.pixels_per_unit(depth[0]))
    for sigmas in (1, 2):
        inside = (pixels[sigmas] < 250).any(axis=-1)
        assert inside[away < 0.95 * sigmas * radius].all()
        assert not inside[away > 1.1 * sigmas * radius].any()
    # Where there is one ellipsoid within the other, the colour is stronger.
    ring, core = away > 1.2 * radius, (away < 0.9 * radius) & (away > 0.75 * radius)
    assert pixels[2][core].mean() < pixels[2][ring & (away < 1.8 * radius)].mean() - 5


def test_the_keypoint_whose_map_is_shown_has_a_ring(mug):
    one = mug()
    drawing = build_drawing(one, Look(keypoint=0, labels=False))
    image = finish_view(np.full((800, 800, 3), 255, np.uint8), drawing, from_the_handle(drawing), one.keypoint_names)
    pixels = np.asarray(image).astype(int)
    assert (np.abs(pixels - 255 * hex_to_rgb(keypoint_color(0))).max(axis=-1) < 40).sum() > 20
    at = from_the_handle(drawing).project(drawing.position[:1])[0][0].round().astype(int)
    assert (pixels[at[1], at[0]] == 255).all()  # its middle is open


def test_steady_names_stand_to_the_right_of_their_keypoints(mug):
    one = mug()
    drawing = build_drawing(dataclasses.replace(one, keypoint_names=("A", "B", "C", "D")))
    camera = fit_camera(drawing.extent(), azimuth=0, elevation=0, size=(400, 400), margin=0.2)
    blank = np.full((800, 800, 3), 255, dtype=np.uint8)
    image = finish_view(blank, drawing, camera, ["A", "B", "C", "D"], steady=True)
    dark = np.argwhere(np.asarray(image).max(axis=-1) < 90)[:, ::-1]
    at = camera.project(drawing.position)[0]
    for place in at:
        away = dark - place
        near = away[np.linalg.norm(away, axis=1) < 40]
        assert len(near) > 5
        assert near[:, 0].min() > 0
        assert np.abs(near[:, 1]).max() < 12


def test_notes_tell_what_is_drawn(mug):
    one = mug()
    assert notes(build_drawing(one, Look(truth=False))) == []
    assert notes(build_drawing(one)) == ["small dark balls: annotated positions"]
    marks = (SymmetryMark("reflection", (0, 1)),)
    whole = dataclasses.replace(one, samples=np.zeros((7, 4, 3)), symmetries=marks)
    assert notes(build_drawing(whole, Look(truth=False, ellipsoids=2, samples=True))) == [
        "outlines: 1 and 2 σ of the probability map",
        "dots: 7 draws from each map",
        "thin grey lines: symmetries",
    ]
    only = notes(build_drawing(whole, Look("handle", truth=False, ellipsoids=1, samples=True, symmetries=False)))
    assert only == ["outlines: 1 σ of the probability map", "dots: 7 draws from the map"]
    absent = notes(build_drawing(whole, Look("spout", truth=False, ellipsoids=1, samples=True, symmetries=False)))
    assert absent == []
