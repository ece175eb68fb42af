import numpy as np
from PIL import Image

from pcsargmax.visualize import overlay
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


def test_a_text_is_wrapped_at_words_and_cut_at_letters():
    from PIL import ImageDraw

    pen, letters = ImageDraw.Draw(Image.new("RGB", (10, 10))), overlay.font(12)
    lines = overlay.wrap(pen, "outlines: 1 and 2 σ of the probability map", letters, 120)
    assert " ".join(lines) == "outlines: 1 and 2 σ of the probability map"
    assert len(lines) > 1
    assert all(pen.textlength(line, font=letters) <= 120 for line in lines)
    assert overlay.wrap(pen, "", letters, 120) == []
    assert overlay.wrap(pen, "unbreakable", letters, 5) == ["unbreakable"]
    cut = overlay.shorten(pen, "a rather long name", letters, 60)
    assert cut.endswith("…")
    assert pen.textlength(cut, font=letters) <= 60
    assert overlay.shorten(pen, "short", letters, 60) == "short"
