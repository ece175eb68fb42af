import numpy as np

from pcsargmax.datasets.images.procedural.face_shape import PARTS, face


def part(points, name):
    return points[list(PARTS[name])]


def test_the_order_is_that_of_the_usual_68_points():
    """Where each part starts and which way it runs, seen from the front: x right, y down."""
    points = np.mean([face(np.random.default_rng(number)) for number in range(50)], axis=0)
    x, y = points[:, 0], points[:, 1]
    assert x[0] < 0 < x[16]
    assert y[8] == y[:17].max()
    for name in ("right_brow", "left_brow", "nose_base"):
        assert (np.diff(part(points, name)[:, 0]) > 0).all()
    assert (np.diff(part(points, "nose_bridge")[:, 1]) > 0).all()
    assert x[36] < x[39] < x[42] < x[45]
    assert y[37] < y[36] < y[41]
    assert y[43] < y[42] < y[47]
    assert x[48] < x[54]
    assert y[51] < y[62] < y[66] < y[57]
    assert x[60] < x[64]
    assert y[19] < y[37] < y[30] < y[51] < y[8]  # brow, eye, tip of the nose, lip, chin
