import numpy as np
import pytest

from pcsargmax.datasets.images.procedural.canvas import Canvas, background, photograph, scatter, texture


def middle(weights):
    """Centre of mass of weights (H, W): x, y."""
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("place", [(10.0, 8.0), (10.3, 7.6), (12.5, 9.5)])
def test_a_ball_is_drawn_where_it_is(place):
    canvas = Canvas(20, 24, color=(0, 0, 0))
    canvas.limb([place, place], (4, 4), (1, 1, 1), light=(0, 0, 0))  # 0.45 of the colour everywhere
    weights = canvas.color[..., 0] / 0.45
    np.testing.assert_allclose(middle(weights), place, atol=0.02)
    assert weights.sum() == pytest.approx(np.pi * 16, rel=0.02)
    assert weights.max() == pytest.approx(1)


def test_a_limb_is_a_rounded_bar():
    canvas = Canvas(20, 40, color=(0, 0, 0))
    canvas.limb([(10, 9.5), (30, 9.5)], (3, 3), (1, 1, 1), light=(0, 0, 0))
    weights = canvas.color[..., 0] / 0.45
    assert weights.sum() == pytest.approx(20 * 6 + np.pi * 9, rel=0.02)
    np.testing.assert_allclose(middle(weights), (20, 9.5), atol=0.02)
    assert weights[9, 6:35].sum() == pytest.approx(20 + 6, abs=0.6)


def test_a_polygon_is_drawn_where_it_is():
    rng = np.random.default_rng(0)
    offsets, areas = [], []
    for _ in range(100):
        place, half, angle = rng.uniform(14, 26, 2), rng.uniform(4, 9, 2), rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        canvas = Canvas(40, 40, color=(0, 0, 0))
        canvas.polygon([place + half * corner @ turn for corner in ([-1, -1], [1, -1], [1, 1], [-1, 1])], (1, 1, 1))
        cover = canvas.color[..., 0]
        offsets.append(middle(cover) - place)
        areas.append(cover.sum() / (4 * half.prod()))
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.03
    assert np.mean(areas) == pytest.approx(1, abs=0.05)


def test_light_comes_from_its_side():
    canvas = Canvas(21, 21, color=(0, 0, 0))
    canvas.limb([(10, 10), (10, 10)], (8, 8), (1, 1, 1), light=(-1, 0, 0))
    assert canvas.color[10, 4, 0] > 1.5 * canvas.color[10, 16, 0]
    assert canvas.color[10, 16, 0] == pytest.approx(0.45)
    np.testing.assert_allclose(canvas.color[4], canvas.color[16])


def test_what_is_nearer_covers_what_is_farther_in_any_order():
    pictures = []
    for order in ((0, 1), (1, 0)):
        canvas = Canvas(20, 20)
        for number in order:
            ends = [((3, 10), (17, 10)), ((10, 3), (10, 17))][number]
            canvas.limb(ends, (2, 2), [(1, 0, 0), (0, 1, 0)][number], depths=[(5, 5), (3, 3)][number], owner=number)
        assert canvas.owner[10, 10] == 1
        assert canvas.owner[10, 4] == 0
        assert canvas.owner[2, 2] == -1
        pictures.append(canvas.owner)
    np.testing.assert_array_equal(*pictures)


def test_depth_is_that_of_the_surface_along_the_limb():
    canvas = Canvas(20, 40)
    canvas.limb([(10, 10), (30, 10)], (3, 3), (1, 0, 0), depths=(100, 200), thickness=7)
    assert canvas.depth[10, 10] == pytest.approx(100 - 7)
    assert canvas.depth[10, 20] == pytest.approx(150 - 7)
    assert canvas.depth[0, 0] == np.inf


def test_a_side_that_faces_away_has_another_colour():
    canvas = Canvas(21, 21)
    canvas.limb([(10, 10), (10, 10)], (8, 8), (1, 0, 0), other=((1.0, 0.0, 0.0), (0, 0, 1)))
    assert canvas.color[10, 16, 0] > 0 == canvas.color[10, 16, 2]
    assert canvas.color[10, 5, 2] > 0 == canvas.color[10, 5, 0]


def test_what_lies_beside_the_canvas_is_left_out():
    canvas = Canvas(16, 16)
    canvas.limb([(-30, -30), (-20, -20)], (2, 2), (1, 0, 0))
    canvas.polygon([(40, 40), (50, 40), (50, 50)], (1, 0, 0))
    assert (canvas.owner == -1).all()
    assert (canvas.color == 0.5).all()


def test_texture_and_scatter_repeat_by_seed():
    one, same = (texture(np.random.default_rng(3), (30, 50)) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (30, 50)
    assert 0.3 < np.std([texture(np.random.default_rng(i), (30, 50)) for i in range(20)]) < 1.2
    first, again = (background(np.random.default_rng(1), (40, 48), 6) for _ in range(2))
    np.testing.assert_array_equal(first.color, again.color)
    assert (first.owner == -1).all()
    assert np.isinf(first.depth).all()
    scatter(first, np.random.default_rng(2), depth=0, owner=9)
    assert (first.owner == 9).any()


def test_a_photograph_keeps_the_order_of_light():
    color = np.tile(np.linspace(0.1, 0.9, 64), (64, 1))
    image = photograph(color, np.random.default_rng(0))
    assert image.dtype == np.uint8
    columns = image.mean(axis=0)
    assert np.corrcoef(columns, color[0])[0, 1] > 0.99
