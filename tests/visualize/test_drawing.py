import dataclasses

import numpy as np
import pytest

from pcsargmax.prediction import Prediction, Skeleton
from pcsargmax.visualize.drawing import KEYPOINT_RADIUS, build_drawing
from pcsargmax.visualize.palette import EDGE_COLOR, hex_to_rgb


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
    assert build_drawing(mug(), min_visibility=0.0).shown.tolist() == [0, 1, 2, 3]
    none = build_drawing(mug(), min_visibility=2.0)
    assert none.shown.tolist() == []
    assert len(none.marks().vertices) == 0


def test_marks_are_keypoints_truth_and_errors(mug):
    with_truth, without = build_drawing(mug()).marks(), build_drawing(mug(), truth=False).marks()
    ball = 642
    assert len(without.vertices) == 3 * ball
    assert len(with_truth.vertices) == 6 * ball + 3 * 16
    first = without.vertices[:ball] - build_drawing(mug()).position[0]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), KEYPOINT_RADIUS)


def test_the_truth_of_an_absent_keypoint_is_not_drawn(mug):
    shown_all = build_drawing(mug(), min_visibility=0.0)
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
    monkeypatch.setattr("pcsargmax.visualize.drawing.MAX_BALLS", 500)
    assert not build_drawing(mug()).as_balls
    assert build_drawing(mug(points=400)).as_balls


def test_an_unknown_keypoint_is_named(mug):
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        build_drawing(mug(), keypoint="lid")


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
