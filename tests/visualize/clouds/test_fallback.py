import numpy as np
import pytest

from pcsargmax.visualize.clouds import fallback

RED, GREEN, BLUE = np.eye(3)


@pytest.fixture
def job():
    """A job seen from z = 2 along -z, 10 pixels a unit at z = 0; triangles ((corners), colour) and points."""

    def make(*triangles, points=(), colors=(), haze=None):
        corners = np.array([corners for corners, _ in triangles], dtype=float).reshape(-1, 3)
        return {
            "vertices": corners,
            "colors": np.repeat([color for _, color in triangles], 3, axis=0).reshape(-1, 3),
            "triangles": np.arange(len(corners)).reshape(-1, 3),
            "point_positions": np.array(points, dtype=float).reshape(-1, 3),
            "point_colors": np.array(colors, dtype=float).reshape(-1, 3),
            "point_size": 4.0,
            "size": (40, 20),
            "focal": 20.0,
            "haze": haze,
            "views": [{"eye": np.array([0, 0, 2.0]), "frame": np.eye(3)}],
        }

    return make


def colors(picture, *places):
    """The colours at places (x, y) but for rounding, which blending adds up: 0, 50, ..., 250."""
    return [(50 * np.rint(picture[y, x] / 50)).astype(int).tolist() for x, y in places]


def test_places_and_colors_are_those_of_the_camera(job):
    (picture,) = fallback.draw(job(([[0, -0.8, 0], [1.5, -0.8, 0], [0, 0.8, 0]], RED)))
    assert picture.shape == (20, 40, 3)
    assert picture.dtype == np.uint8
    inside, left, above, beyond = colors(picture, (22, 15), (17, 15), (22, 1), (34, 4))
    assert inside == [250, 0, 0]
    assert left == above == beyond == [250] * 3


@pytest.mark.parametrize("swap", [False, True])
def test_the_near_covers_the_far_whatever_their_order(job, swap):
    near = [[-2, -1, 0.5], [2, -1, 0.5], [0, 1, 0.5]], BLUE
    far = [[-1.2, -0.9, 0], [1.2, -0.9, 0], [1.2, 0.9, 0]], GREEN
    (picture,) = fallback.draw(job(*([near, far] if swap else [far, near])))
    assert colors(picture, (20, 12), (30, 3)) == [[0, 0, 250], [0, 250, 0]]


def test_a_large_slanting_triangle_is_before_and_behind_a_point(job):
    slope = [[-2, -2, -1.25], [2, -2, -1.25], [0, 2, 0.25]], GREEN  # nearer above
    points = [[0.5, -0.5, -0.4], [-0.5, 0.4, -0.6]]  # in front of it, and behind it
    (picture,) = fallback.draw(job(slope, points=points, colors=[RED, BLUE]))
    at = [(round(20 + x * 20 / (2 - z)), round(10 - y * 20 / (2 - z))) for x, y, z in points]
    assert colors(picture, *at) == [[250, 0, 0], [0, 250, 0]]


def test_points_are_squares(job):
    (picture,) = fallback.draw(job(points=[[0, 0, 0]], colors=[RED]))
    drawn = np.argwhere((picture == [255, 0, 0]).all(axis=-1))
    assert drawn.min(axis=0).tolist() == [8, 18]
    assert drawn.max(axis=0).tolist() == [11, 21]
    assert len(drawn) == 16


def test_haze_makes_what_is_far_paler(job):
    points = [[-0.5, 0, 0], [0.5, 0, 0.5]]  # at distances 2 and 1.5
    (picture,) = fallback.draw(job(points=points, colors=[RED, RED], haze=(1.5, 2, 0.4)))
    assert colors(picture, (15, 10), (27, 10)) == [[250, 100, 100], [250, 0, 0]]


def test_nothing_is_white(job):
    (picture,) = fallback.draw(job())
    assert (picture == 255).all()


def test_cut_triangles_are_small_and_make_up_the_whole():
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(4, 3, 3)) * [[[0.3]], [[0.1]], [[0.003]], [[1e-5]]]
    corners[0, 2] = corners[0, 1]  # without area
    small, blended = fallback._cut(corners, corners * 2 + 1)
    assert np.linalg.norm(small - np.roll(small, 1, axis=1), axis=2).max() <= fallback._LONGEST
    np.testing.assert_allclose(blended, small * 2 + 1)  # colours that depend linearly on the place still do

    def area(soup):
        return np.linalg.norm(np.cross(soup[:, 1] - soup[:, 0], soup[:, 2] - soup[:, 0]), axis=1).sum()

    assert area(small) == pytest.approx(area(corners))


def test_a_huge_triangle_is_not_cut_without_end():
    corners = 1e6 * np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    pieces, colors = fallback._cut(corners, np.zeros_like(corners))
    assert fallback._MOST < len(pieces) == len(colors) <= 2 * fallback._MOST
    assert np.linalg.norm(np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]), axis=1).sum() / 2 == (
        pytest.approx(5e11)
    )
