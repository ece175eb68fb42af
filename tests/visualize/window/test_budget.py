import dataclasses

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Surface
from pcsargmax.visualize.clouds.drawing import KEYPOINT_RADIUS, build_drawing
from pcsargmax.visualize.window import budget as window_budget


def many(one, count):
    rows = np.arange(count) % 3
    fields = ("position", "confidence", "covariance", "visibility", "point_index", "probability", "truth")
    changed = {name: getattr(one, name)[rows] for name in fields}
    return dataclasses.replace(one, keypoint_names=tuple(f"keypoint {k}" for k in range(count)), **changed)


def grid(steps):
    side = np.linspace(-0.3, 0.3, steps + 1)
    vertices = np.stack([*np.meshgrid(side, side, indexing="ij"), np.zeros((steps + 1, steps + 1))], axis=-1)
    corner = (np.arange(steps)[:, None] * (steps + 1) + np.arange(steps)).ravel()
    one, two = [corner, corner + 1, corner + steps + 1], [corner + 1, corner + steps + 2, corner + steps + 1]
    return Surface(vertices.reshape(-1, 3), np.concatenate([np.stack(one, axis=1), np.stack(two, axis=1)]))


@pytest.mark.parametrize(
    ("number", "most", "detail"),
    [(1, 1280, 3), (1, 1279, 2), (20, 7000, 2), (20, 6399, 1), (20, 1600, 1), (20, 1599, 0), (9, 0, 0), (0, 0, 3)],
)
def test_balls_are_as_round_as_their_number_allows(number, most, detail):
    assert window_budget.ball_detail(number, most) == detail


def test_a_window_draws_few_triangles_without_a_graphics_device(monkeypatch):
    monkeypatch.setattr(window_budget, "has_graphics_device", lambda: False)
    assert window_budget.most_triangles(1) == window_budget.MOST_TRIANGLES <= 14_000
    assert window_budget.most_triangles(2) == window_budget.MOST_TRIANGLES // 2
    monkeypatch.setattr(window_budget, "has_graphics_device", lambda: True)
    assert window_budget.most_triangles(2) >= 100_000


@pytest.mark.parametrize(("count", "detail"), [(3, 3), (10, 2), (40, 1)])
def test_marks_keep_to_the_budget(mug, count, detail):
    drawing = build_drawing(many(mug(), count))
    most = 8_000
    mesh = window_budget.marks(drawing, most)
    balls, rods = 2 * count * 20 * 4**detail, len(drawing.errors().triangles)
    assert len(mesh.triangles) == balls + rods
    assert balls <= most
    first = mesh.vertices[: len(drawing.keypoints(detail).vertices) // count] - drawing.position[0]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), KEYPOINT_RADIUS)


def test_marks_leave_room_for_a_surface(mug):
    drawing = build_drawing(dataclasses.replace(many(mug(), 10), surface=grid(80)))
    mesh = window_budget.marks(drawing, 8_000)
    assert len(mesh.triangles) <= 4_000 + len(drawing.errors().triangles)


def test_a_surface_is_thinned_to_the_rest(mug):
    whole = build_drawing(dataclasses.replace(mug(), surface=grid(80)))
    assert len(window_budget.surface(whole, 20_000).triangles) == 12_800
    fewer = window_budget.surface(whole, 3_000)
    assert 1_000 < len(fewer.triangles) <= 3_000
    np.testing.assert_allclose(
        np.ptp(fewer.vertices, axis=0), np.ptp(whole.surface.vertices, axis=0), rtol=0.05, atol=1e-9
    )
    assert 300 < len(window_budget.surface(whole, -5).triangles) <= 1_000
    assert len(window_budget.surface(build_drawing(mug()), 3_000).triangles) == 0
