import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from pcsargmax.visualize import palette
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.look import Look
from pcsargmax.visualize.overlay import FAINT, INK
from pcsargmax.visualize.window.panel import draw_card

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


class Written(list):
    """The texts that are written, with the box that each takes; `inks` has the colours of each."""

    def __init__(self):
        super().__init__()
        self.inks = {}


@pytest.fixture
def written(monkeypatch):
    from PIL import ImageDraw

    texts = Written()
    draw = ImageDraw.ImageDraw.text

    def note(pen, at, text, **options):
        texts.append((text, pen.textbbox(at, text, font=options["font"], anchor=options.get("anchor"))))
        texts.inks.setdefault(text, set()).add(options["fill"])
        draw(pen, at, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


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
    assert 10 < near(absent, palette.ABSENT_COLOR, 40).sum() < 40  # a ring


def test_the_chosen_row_stands_out_and_a_click_finds_it(mug):
    card = draw_card([side(mug(), Look(keypoint=1))], 1, SIZE, 13)
    pixels = np.asarray(card.image).astype(int)
    shaded = [near(pixels[round(row.top) : round(row.bottom)], "#dfe7f3", 2).mean() > 0.5 for row in card.rows]
    assert shaded == [False, False, True, False, False]
    row = card.rows[2]
    assert card.row_at((row.top + row.bottom) / 2) == row
    assert row.keypoint == 1
    assert card.row_at(row.top) == row
    assert card.row_at(row.bottom) == card.rows[3]
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


def test_two_views_of_unlike_keypoints(mug, written):
    other = dataclasses.replace(mug(), keypoint_names=("handle", "b", "c", "d"), truth=None)
    card = draw_card([side(mug(), title="left run"), side(other, title="right run")], 1, SIZE, 13, heading="a mug")
    assert len(card.rows) == 5
    texts = [text for text, _ in written]
    assert {"a mug", "error", "0.0489", "rim <b>", "spout"} <= set(texts)
    assert not {"b", "c", "d"} & set(texts)
    assert "left run: here with probability 0.90" in texts
    assert "right run: 3 of 4 keypoints here" in texts  # it has no such keypoint


@pytest.mark.parametrize("size", [(320, 60), (60, 480), (1, 1)])
def test_too_little_room_is_no_error(mug, size):
    assert draw_card([side(mug())], 2, size, 13).image.size == size


def test_wrong_numbers_of_sides_are_named(mug):
    with pytest.raises(ValueError, match="sides: expected one or two, got 0"):
        draw_card([], None, SIZE, 13)
    with pytest.raises(ValueError, match="sides: expected one or two, got 3"):
        draw_card([side(mug())] * 3, None, SIZE, 13)


def test_long_names_of_runs_are_wrapped_and_numbers_stay_apart(mug, written):
    one = dataclasses.replace(mug(), probability=0.5 * mug().probability)
    titles = ("mug-detector-soft-seed0-c8e5f9ac", "mug-detector-sampling-10-seed0-c8e5f9ac")
    draw_card([side(mug(), title=titles[0]), side(one, title=titles[1])], None, (346, 520), 13, heading="a b " * 20)
    texts = [text for text, _ in written]
    told = " ".join(texts)
    assert told.count("largest probability") == 2
    assert told.count("3 of 4 keypoints here, mean error 0.0444") == 2
    assert told.count("a b") == 20
    assert told.count("small dark balls: annotated positions") == 1  # the same for both
    assert not [text for text in texts if text.endswith("…")]
    assert all(box[0] >= 0 and box[2] <= 346 for _, box in written)
    rows = {box[1]: sorted(other for _, other in written if other[1] == box[1]) for _, box in written}
    assert all(left[2] + 4 < right[0] for row in rows.values() for left, right in pairwise(row))


@pytest.mark.parametrize("count", [1, 2])
def test_long_names_of_keypoints_leave_room_for_numbers(mug, written, count):
    names = tuple(f"keypoint {k} has a name that is very long" for k in range(4))
    draw_card([side(dataclasses.replace(mug(), keypoint_names=names))] * count, None, SIZE, 13)
    cut = [box for text, box in written if text.startswith("keypoint ") and text.endswith("…")]
    assert len(cut) == 4
    numbers = [box for text, box in written if text in ("0.90", "0.80", "0.70")]
    assert len(numbers) == 3 * count
    assert max(box[2] for box in cut) + 4 < min(box[0] for box in numbers)


def test_columns_say_what_they_are(mug, written):
    draw_card([side(mug())], None, SIZE, 13)
    ends = {text: box[2] for text, box in written}
    assert abs(ends["confidence"] - ends["0.90"]) < 2
    assert abs(ends["error"] - ends["0.0511"]) < 2
    assert ends["confidence"] < ends["error"]
    written.clear()
    draw_card([side(mug()), side(dataclasses.replace(mug(), confidence=[0.5] * 4))], None, SIZE, 13)
    heads = [(text, box) for text, box in written if text in ("left", "right")]
    assert [text for text, _ in heads] == ["left", "right"] * 2
    values = [max(box[2] for text, box in written if text == told) for told in ("0.90", "0.50")]
    assert [abs(box[2] - end) < 2 for (_, box), end in zip(heads, values, strict=False)] == [True, True]
    assert heads[0][1][0] > dict(written)["handle"][2]


def test_what_is_absent_or_unknown_is_faint(mug, written):
    draw_card([side(mug())], None, SIZE, 13)
    assert [text for text, _ in written].count("absent") == 1
    assert [written.inks[text] for text in ("absent", "spout", "handle", "0.90")] == [{FAINT}, {FAINT}, {INK}, {INK}]
    seen = np.array([0.9, 0.9, 0.3, 0.1])  # below 0.5 it is not drawn, though its error is known
    draw_card([side(dataclasses.replace(mug(), visibility=seen))], None, SIZE, 13)
    assert written.inks["0.0331"] == {INK, FAINT}
    written.clear()
    twice = dataclasses.replace(mug(), keypoint_names=("a", "a", "b", "c"), confidence=[0.91, 0.82, 0.73, 0.14])
    draw_card([side(twice), side(twice)], None, SIZE, 13)  # the same names: each has its own numbers
    texts = [text for text, _ in written]
    assert [texts.count(told) for told in ("0.91", "0.82", "0.73", "–")] == [2, 2, 2, 2]
    written.clear()
    other = dataclasses.replace(mug(), keypoint_names=("b", "c", "a", "d"), confidence=[0.31, 0.32, 0.33, 0.34])
    draw_card([side(twice), side(other)], None, SIZE, 13)
    texts = [text for text, _ in written]
    assert [texts.count(told) for told in ("0.31", "0.32", "0.33", "0.34")] == [1, 1, 2, 0]


def test_errors_of_any_unit_are_told_to_three_digits(mug, written):
    for scale, example, mean in ((1.0, "0.0511", "0.0444"), (1000.0, "51.1", "44.4"), (1e5, "5111", None)):
        written.clear()
        draw_card([side(mug(scale=scale))], None, SIZE, 13)
        texts = [text for text, _ in written]
        assert example in texts
        mean = mean or f"{mug(scale=scale).mean_error():.0f}"
        assert f"3 of 4 keypoints here, mean error {mean} file units" in texts


def test_details_are_of_the_chosen_keypoint_and_say_of_which_run(mug, written):
    one = dataclasses.replace(mug(), radius=[0.05, 0.06, 0.07, 0.08], radius_coverage=0.9)
    draw_card([side(one), side(dataclasses.replace(mug(), visibility=[0.9, 0.61, 0.8, 0.1]))], 1, SIZE, 13)
    told = " ".join(text for text, _ in written)
    assert "left: here with probability 0.90, within 0.0600 file units (90 %)" in told
    assert "right: here with probability 0.61" in told
    assert "mean error" not in told


def test_how_many_are_out_of_sight_is_said(mug, written):
    sides = [side(many(mug(), 40))]
    card = draw_card(sides, None, SIZE, 13, first=7)
    texts = [text for text, _ in written]
    assert f"7 above, {card.below} below" in texts
    for height in range(440, 464, 3):  # a row is 22 pixels high: there is always room for this line
        written.clear()
        draw_card(sides, None, (320, height), 13)
        (told,) = [box for text, box in written if text.endswith(" below")]
        assert told[3] <= min(box[1] for text, box in written if "keypoints here" in text)
    assert card.below == 41 - 7 - len(card.rows)
    written.clear()
    draw_card(sides, 39, SIZE, 13)
    assert any(text.endswith(" above") for text, _ in written)
    written.clear()
    draw_card([side(mug())], None, SIZE, 13)
    assert not [text for text, _ in written if "above" in text or "below" in text]


def test_an_annotation_is_called_one(mug, written):
    one = dataclasses.replace(mug(), annotated=True, truth=None)
    draw_card([side(one, Look(keypoint=1))], 1, SIZE, 13)
    texts = [text for text, _ in written]
    assert texts.count("annotated") == 3
    assert "annotated position of rim <b>" in texts
    assert "annotated here" in texts
    assert not [text for text in texts if "confidence" in text or "prob" in text or "." in text]


@pytest.mark.parametrize("chosen", [None, 1])
def test_lengths_have_their_unit(mug, written, chosen):
    one = dataclasses.replace(mug(), radius=[0.05, 0.06, 0.07, 0.08], radius_coverage=0.9, length_unit="mm")
    draw_card([side(one)], chosen, SIZE, 13)
    told = " ".join(text for text, _ in written)
    expected = "mean error 0.0444 mm" if chosen is None else "within 0.0600 mm (90 %)"
    assert expected in told
    assert "errors in mm" in told
    assert "file units" not in told
