import dataclasses

import numpy as np
import pytest

from pcsargmax.visualize import palette
from pcsargmax.visualize.drawing import build_drawing
from pcsargmax.visualize.legend import Side
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.panel import draw_card

SIZE = (320, 480)


def side(prediction, look=None, title=""):
    return Side(title, prediction, build_drawing(prediction, look))


def many(one, count):
    rows = np.arange(count) % one.num_keypoints
    fields = ("position", "confidence", "covariance", "visibility", "point_index", "probability", "truth")
    changed = {name: getattr(one, name)[rows] for name in fields}
    return dataclasses.replace(one, keypoint_names=tuple(f"keypoint {k}" for k in range(count)), **changed)


def near(pixels, color, tolerance=8):
    return np.abs(pixels - np.round(palette.hex_to_rgb(color) * 255)).max(axis=-1) <= tolerance


def test_each_row_has_its_keypoints_color(mug):
    card = draw_card([side(mug())], None, SIZE, 13)
    pixels = np.asarray(card.image).astype(int)
    assert pixels.shape == (480, 320, 3)
    assert [row.keypoint for row in card.rows] == [None, 0, 1, 2, 3]
    for row in card.rows[1:4]:
        strip = pixels[round(row.top) : round(row.bottom), :24]
        assert near(strip, palette.keypoint_color(row.keypoint)).sum() > 20
    absent = pixels[round(card.rows[4].top) : round(card.rows[4].bottom), :24]
    assert not near(absent, palette.keypoint_color(3)).any()


def test_the_chosen_row_stands_out_and_a_click_finds_it(mug):
    card = draw_card([side(mug(), Look(keypoint=1))], 1, SIZE, 13)
    pixels = np.asarray(card.image).astype(int)
    shaded = [near(pixels[round(row.top) : round(row.bottom)], "#dfe7f3", 2).mean() > 0.5 for row in card.rows]
    assert shaded == [False, False, True, False, False]
    row = card.rows[2]
    assert card.row_at((row.top + row.bottom) / 2) == row
    assert row.keypoint == 1
    assert card.row_at(0) is None
    assert card.row_at(479) is None


def test_the_scale_goes_from_pale_to_dark(mug):
    pixels = np.asarray(draw_card([side(mug())], None, SIZE, 13).image).astype(int)
    scale = np.round(palette.probability_scale() * 255)
    bar = next(y for y in range(480) if np.abs(pixels[y, 100] - scale[255 * (100 - 9) // 301]).max() < 12)
    assert bar < 60
    assert near(pixels[bar + 2, 310:311], palette.rgb_to_hex(palette.probability_scale()[255]), 12).all()
    assert near(pixels[bar + 2, 10:11], palette.rgb_to_hex(palette.probability_scale()[0]), 12).all()


def test_rows_that_do_not_fit_scroll(mug):
    sides = [side(many(mug(), 40))]
    top = draw_card(sides, None, SIZE, 13)
    fits = len(top.rows)
    assert (top.first, top.below) == (0, 41 - fits)
    assert 5 < fits < 20
    last = draw_card(sides, 39, SIZE, 13)
    assert last.rows[-1].keypoint == 39
    assert (last.first, last.below) == (41 - fits, 0)
    asked = draw_card(sides, None, SIZE, 13, first=7)
    assert asked.first == 7
    assert asked.rows[0].keypoint == 6
    assert draw_card(sides, None, SIZE, 13, first=999).first == 41 - fits
    for card in (top, last, asked):
        assert card.rows[-1].bottom < 480


def test_one_scale_for_two_views_only_where_it_is_the_same(mug):
    def bars(sides):
        pixels = np.asarray(draw_card(sides, None, SIZE, 13).image).astype(int)
        dark = near(pixels[:, 310], palette.rgb_to_hex(palette.probability_scale()[255]), 12)
        return int((np.diff(dark.astype(int)) == 1).sum())

    other = dataclasses.replace(mug(), probability=0.5 * mug().probability)
    assert bars([side(mug(), title="a"), side(mug(), title="b")]) == 1
    assert bars([side(mug(), title="a"), side(other, title="b")]) == 2


def test_two_views_of_unlike_keypoints(mug):
    other = dataclasses.replace(mug(), keypoint_names=("handle", "b", "c", "d"), truth=None)
    card = draw_card([side(mug(), title="left run"), side(other, title="right run")], 1, SIZE, 13, heading="a mug")
    assert len(card.rows) == 5


@pytest.mark.parametrize("size", [(320, 60), (60, 480), (1, 1)])
def test_too_little_room_is_no_error(mug, size):
    assert draw_card([side(mug())], 2, size, 13).image.size == size


def test_wrong_numbers_of_sides_are_named(mug):
    with pytest.raises(ValueError, match="sides: expected one or two, got 0"):
        draw_card([], None, SIZE, 13)
    with pytest.raises(ValueError, match="sides: expected one or two, got 3"):
        draw_card([side(mug())] * 3, None, SIZE, 13)


def test_an_annotation_is_called_one(mug, monkeypatch):
    from PIL import ImageDraw

    texts = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda pen, at, text, **more: (texts.append(text), draw(pen, at, text, **more))
    )
    one = dataclasses.replace(mug(), annotated=True, truth=None)
    draw_card([side(one, Look(keypoint=1))], 1, SIZE, 13)
    assert texts.count("annotated") == 3
    assert "annotated position of rim <b>" in texts
    assert "annotated here" in texts
    assert not [text for text in texts if "confidence" in text or "prob" in text or "." in text]
