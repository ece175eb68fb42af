import numpy as np
from PIL import Image

from pcsargmax.visualize.overlay import draw_labels

COLOR = "#d55e00"


def labelled(places: list[list[float]]) -> np.ndarray:
    """(300, 400) bool: where a picture is in the colour of keypoints that are named; their balls are not drawn."""
    image = Image.new("RGB", (400, 300), "white")
    count = len(places)
    draw_labels(image, [("a name", COLOR)] * count, np.array(places), np.full(count, 6.0), np.zeros(count, dtype=bool))
    return (np.abs(np.asarray(image, dtype=int) - [0xD5, 0x5E, 0x00]) < 40).all(axis=2)


def test_a_name_beside_its_ball_has_no_line():
    assert not labelled([[200.0, 150.0]]).any()


def test_names_that_had_to_go_farther_have_a_line_from_the_ball():
    lines = labelled([[200.0 + 3 * (number % 5), 150.0 + 3 * (number // 5)] for number in range(20)])
    rows, columns = lines.nonzero()
    assert lines.sum() > 50
    assert (np.abs(columns - 206) < 150).all()
    assert (np.abs(rows - 156) < 100).all()
