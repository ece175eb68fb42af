import dataclasses

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Prediction, Skeleton, Surface, SymmetryMark
from pcsargmax.visualize.clouds.drawing import CHOSEN_RADIUS, KEYPOINT_RADIUS, SYMMETRY_RADIUS, build_drawing
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.palette import EDGE_COLOR, SURFACE_COLOR, hex_to_rgb, keypoint_color, probability_scale


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (1000.0, 0.0), (100.0, 1e6), (1e-6, 0.0)])
def test_any_units_and_any_place_draw_alike(mug, scale, origin):
    plain, far = build_drawing(mug()), build_drawing(mug(scale=scale, origin=origin))
    for field in ("points", "position", "axes", "truth"):
        np.testing.assert_allclose(getattr(far, field), getattr(plain, field), atol=1e-7)
    assert far.point_radius == pytest.approx(plain.point_radius, rel=1e-5)
    low, high = plain.points.min(axis=0), plain.points.max(axis=0)
    np.testing.assert_allclose(low + high, 0, atol=1e-12)
    assert np.linalg.norm(high - low) == pytest.approx(1)


def test_keypoints_that_are_likely_absent_are_not_drawn(mug):
    assert build_drawing(mug()).shown.tolist() == [0, 1, 2]
    assert build_drawing(mug(), Look(min_visibility=0.0)).shown.tolist() == [0, 1, 2, 3]
    none = build_drawing(mug(), Look(min_visibility=2.0))
    assert none.shown.tolist() == []
    assert len(none.marks().vertices) == 0


def test_marks_are_keypoints_truth_and_errors(mug):
    with_truth, without = build_drawing(mug()).marks(), build_drawing(mug(), Look(truth=False)).marks()
    ball = 642
    assert len(without.vertices) == 3 * ball
    assert len(with_truth.vertices) == 6 * ball + 3 * 16
    first = without.vertices[:ball] - build_drawing(mug()).position[0]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), KEYPOINT_RADIUS)


def test_the_truth_of_an_absent_keypoint_is_not_drawn(mug):
    shown_all = build_drawing(mug(), Look(min_visibility=0.0))
    assert np.isfinite(shown_all.marks().vertices).all()
    assert np.isfinite(shown_all.extent()).all()


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((5, 3))])
def test_clouds_without_extent_can_be_drawn(mug, points):
    n = len(points)
    drawing = build_drawing(
        dataclasses.replace(
            mug(), points=points, point_index=[0] * 4, probability=np.full((4, n), 1 / n), position=points[[0] * 4]
        )
    )
    assert np.isfinite(drawing.cloud().vertices).all()
    assert drawing.point_radius > 0


def test_many_points_are_no_balls(mug, monkeypatch):
    monkeypatch.setattr("pcsargmax.visualize.clouds.drawing.MAX_BALLS", 500)
    assert not build_drawing(mug()).as_balls
    assert build_drawing(mug(points=400)).as_balls


def test_an_unknown_keypoint_is_named(mug):
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        build_drawing(mug(), Look(keypoint="lid"))


def with_skeleton(mug: Prediction, strength: tuple[float, ...] = (1.0, 0.5, 0.01, 1.0)) -> Prediction:
    """Edges of three points each: 0-1 full, 0-2 half, 1-2 faint, 0-3 to a keypoint that is absent."""
    ends = np.array([[0, 1], [0, 2], [1, 2], [0, 3]])
    a, b = mug.position[ends[:, 0]], mug.position[ends[:, 1]]
    points = np.stack([a, (a + b) / 2, b], axis=1).reshape(-1, 3)
    return dataclasses.replace(mug, skeleton=Skeleton(ends, strength, points, np.repeat(np.arange(4), 3)))


def test_edges_are_paler_the_weaker_and_faint_ones_are_left_out(mug):
    drawing = build_drawing(with_skeleton(mug(scale=100.0, origin=1e6)))
    assert [edge.strength for edge in drawing.edges] == [1.0, 0.5]
    np.testing.assert_allclose(drawing.edges[0].ends, drawing.position[[0, 1]], atol=1e-7)
    np.testing.assert_allclose(drawing.edges[1].points[[0, 2]], drawing.position[[0, 2]], atol=1e-7)
    mesh = drawing.skeleton()
    assert len(mesh.vertices) == 2 * (16 + 3 * 42)  # a rod and three balls for each of two edges
    np.testing.assert_allclose(mesh.colors[0], hex_to_rgb(EDGE_COLOR))
    np.testing.assert_allclose(mesh.colors[-1], (1 + hex_to_rgb(EDGE_COLOR)) / 2)
    plain = build_drawing(mug())
    assert len(plain.skeleton().vertices) == 0
    assert len(build_drawing(with_skeleton(mug())).marks().vertices) == len(plain.marks().vertices) + 284


def test_a_skeleton_that_leaves_the_cloud_is_within_the_picture(mug):
    whole = with_skeleton(mug())
    far = dataclasses.replace(whole.skeleton, points=whole.skeleton.points * 5)
    assert np.abs(build_drawing(dataclasses.replace(whole, skeleton=far)).extent()).max() > 1


def test_a_skeleton_can_be_left_out(mug):
    assert build_drawing(with_skeleton(mug()), Look(skeleton=False)).edges == ()


def with_samples(mug: Prediction) -> Prediction:
    """Three draws of each keypoint, the s-th at a distance of 0.01 s along x."""
    steps = np.arange(3)[:, None, None] * np.array([0.01, 0, 0])
    return dataclasses.replace(mug, samples=mug.position + steps)


def test_samples_are_drawn_in_the_colors_of_their_keypoints_if_asked(mug):
    one = with_samples(mug(scale=100.0, origin=1e6))
    assert build_drawing(one).samples.size == 0
    assert len(build_drawing(one).sample_balls().vertices) == 0
    drawing = build_drawing(one, Look(samples=True))
    positions, colors = drawing.sample_points()
    assert positions.shape == colors.shape == (9, 3)  # the fourth keypoint is absent
    np.testing.assert_allclose(positions[:3], drawing.position, atol=1e-7)
    np.testing.assert_array_equal(colors[[1, 4, 7]], [hex_to_rgb(keypoint_color(1))] * 3)
    assert len(drawing.sample_balls().vertices) == 9 * 42
    assert len(build_drawing(mug(), Look(samples=True)).sample_balls().vertices) == 0


def test_samples_and_ellipsoids_are_of_the_keypoint_whose_map_is_shown(mug):
    drawing = build_drawing(with_samples(mug()), Look(keypoint="rim <b>", samples=True))
    positions, colors = drawing.sample_points()
    np.testing.assert_allclose(positions[0], drawing.position[1])
    np.testing.assert_array_equal(colors, [hex_to_rgb(keypoint_color(1))] * 3)
    assert len(drawing.ellipsoids().vertices) == 642
    np.testing.assert_allclose(drawing.ellipsoids().vertices.mean(axis=0), drawing.position[1], atol=1e-9)
    absent = build_drawing(with_samples(mug()), Look(keypoint="spout", samples=True))
    assert len(absent.sample_points()[0]) == len(absent.ellipsoids().vertices) == 0


def test_the_keypoint_whose_map_is_shown_does_not_cover_it(mug):
    drawing = build_drawing(mug(), Look(keypoint=2))
    mesh = drawing.keypoints()
    away = np.linalg.norm(mesh.vertices.reshape(3, 642, 3) - drawing.position[:, None], axis=-1)
    np.testing.assert_allclose(away, np.broadcast_to([[KEYPOINT_RADIUS]] * 2 + [[CHOSEN_RADIUS]], away.shape))
    np.testing.assert_array_equal(mesh.colors[-1], hex_to_rgb(keypoint_color(2)))


def test_ellipsoids_grow_with_sigma(mug):
    drawing = build_drawing(mug())
    one, two = (drawing.ellipsoids(sigmas).vertices.reshape(3, 642, 3) for sigmas in (1.0, 2.0))
    np.testing.assert_allclose(two - drawing.position[:, None], 2 * (one - drawing.position[:, None]), atol=1e-12)


def test_a_surface_is_moved_with_its_points_and_pale(mug):
    def draw(**place):
        one = mug(**place)
        surface = Surface(one.points[:4], [[0, 1, 2], [0, 2, 3], [1, 1, 2]])
        return build_drawing(dataclasses.replace(one, surface=surface))

    plain, far = draw(), draw(scale=100.0, origin=1e6)
    np.testing.assert_allclose(plain.surface.vertices, plain.points[:4])
    np.testing.assert_allclose(far.surface.vertices, plain.surface.vertices, atol=1e-7)
    mesh = plain.surface_mesh()
    assert len(mesh.triangles) == 2  # one has no area
    np.testing.assert_allclose(mesh.colors, np.broadcast_to(hex_to_rgb(SURFACE_COLOR), mesh.colors.shape))
    assert hex_to_rgb(SURFACE_COLOR).min() > probability_scale()[0].max()  # so it is no probability
    assert build_drawing(mug()).surface is None
    assert len(build_drawing(mug()).surface_mesh().vertices) == 0


def test_a_surface_can_be_left_out_and_a_large_one_is_thinned(mug, monkeypatch):
    from pcsargmax.visualize.clouds.geometry import unit_ball

    ball, triangles = unit_ball(4)  # 5120 triangles
    one = dataclasses.replace(mug(), surface=Surface(ball, triangles))
    assert build_drawing(one, Look(surface=False)).surface is None
    assert np.abs(build_drawing(one).extent()).max() > 1  # a camera must see it all
    monkeypatch.setattr("pcsargmax.visualize.clouds.drawing.MAX_TRIANGLES", 1000)
    assert 300 < len(build_drawing(one).surface.triangles) <= 1000


def test_symmetries_are_links_and_rings(mug):
    marks = (
        SymmetryMark("reflection", (0, 1)),
        SymmetryMark("rotation", (0, 1, 2)),
        SymmetryMark("rotation", (0, 3)),  # one of them absent: nothing to link
        SymmetryMark("rotation", (2,), [0, 0.3, 0], [0, 1, 0], 0.25),
    )
    drawing = build_drawing(dataclasses.replace(mug(), symmetries=marks))
    vertices = drawing.symmetry_lines().vertices
    rod = 16
    assert len(vertices) == rod * (1 + 3 + 0 + 96)
    ends = vertices[:rod].reshape(2, 8, 3).mean(axis=1)
    np.testing.assert_allclose(ends, drawing.position[:2], atol=1e-12)
    ring, scale = vertices[4 * rod :], np.linalg.norm(np.ptp(mug().points, axis=0))
    circle = drawing.symmetries[3]
    assert circle.radius == pytest.approx(0.25 / scale)
    away = np.linalg.norm((ring - circle.center)[:, [0, 2]], axis=1)
    assert np.abs(away - circle.radius).max() < 1.01 * SYMMETRY_RADIUS
    assert np.abs(ring[:, 1] - circle.center[1]).max() < 1.01 * SYMMETRY_RADIUS
    without = build_drawing(dataclasses.replace(mug(), symmetries=marks), Look(symmetries=False))
    assert len(without.symmetry_lines().vertices) == 0
    assert len(without.marks().vertices) == len(drawing.marks().vertices) - len(vertices)


def test_two_drawings_can_share_peak_and_frame(mug):
    one, other = mug(), mug(seed=1)
    frame = one.points.min(axis=0), one.points.max(axis=0)
    drawing = build_drawing(other, Look(keypoint="handle"), peak=0.5, frame=frame)
    assert [label for _, label in drawing.colors.ticks] == ["0", "0.25", "0.5"]
    own = build_drawing(one)
    center, scale = (frame[0] + frame[1]) / 2, np.linalg.norm(frame[1] - frame[0])
    np.testing.assert_allclose(drawing.points, (other.points - center) / scale)
    np.testing.assert_allclose(own.points, (one.points - center) / scale)
    with pytest.raises(ValueError, match="peak: expected a number above 0, got 0"):
        build_drawing(one, peak=0)


def test_draws_are_those_of_the_keypoints_that_are_shown(mug):
    one = mug(scale=100.0, origin=40.0)
    one = dataclasses.replace(one, samples=np.stack([one.position] * 2), visibility=[0.9, 0.1, 0.9, 0.9])
    drawing = build_drawing(one, Look(samples=True))
    assert drawing.shown.tolist() == [0, 2, 3]
    np.testing.assert_allclose(drawing.samples, np.stack([drawing.position] * 2))
    alone = build_drawing(one, Look(2, samples=True))
    positions, colors = alone.sample_points()
    np.testing.assert_allclose(positions, alone.position[[1, 1]])
    np.testing.assert_allclose(colors, alone.keypoint_rgb()[[1, 1]])
