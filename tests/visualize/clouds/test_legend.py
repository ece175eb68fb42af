import dataclasses

import numpy as np
import pytest
from PIL import Image

from pcsargmax.visualize import Look
from pcsargmax.visualize.clouds import legend
from pcsargmax.visualize.clouds.drawing import build_drawing
from pcsargmax.visualize.clouds.legend import Side
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color, probability_scale


@pytest.fixture
def written(monkeypatch):
    """The texts that are written, with the box that each takes."""
    from PIL import ImageDraw

    texts: list[tuple[str, tuple[float, ...]]] = []
    draw = ImageDraw.ImageDraw.text

    def note(pen, at, text, *args, **options):
        known = {key: options[key] for key in ("font", "anchor") if key in options}
        texts.append((text, pen.textbbox(at, text, **known)))
        draw(pen, at, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def side(prediction, title: str = "", look: Look | None = None) -> Side:
    return Side(title, prediction, build_drawing(prediction, look))


def many(one, count: int):
    """A prediction of many keypoints with long names."""
    rows = np.arange(count) % 3
    fields = ("position", "confidence", "covariance", "visibility", "point_index", "probability", "truth")
    return dataclasses.replace(
        one,
        keypoint_names=tuple(f"a long name of keypoint {k}" for k in range(count)),
        **{name: getattr(one, name)[rows] for name in fields},
    )


@pytest.mark.parametrize("size", [(480, 360), (1280, 960)])
@pytest.mark.parametrize("count", [1, 40, 300])
def test_a_panel_of_many_keypoints_stays_inside(mug, count, size):
    width = legend.panel_width(size)
    notes = ["small dark balls: annotated positions", "outlines: 1 and 2 σ of the probability map"]
    image = Image.new("RGB", (size[0] - width, size[1]), "white")
    pixels = np.asarray(legend.add_panel(image, width, [side(many(mug(), count))], notes))
    assert pixels.shape == (size[1], size[0], 3)
    assert (pixels[-2:] == 255).all()
    assert (pixels[:, -3:] == 255).all()
    assert (pixels[:, : -width - 1] == 255).all()
    assert (pixels[:, -width:] < 200).any()


def test_a_panel_says_what_is_seen(mug, written):
    one = mug()
    legend.add_panel(Image.new("RGB", (400, 600), "white"), 300, [side(one, look=Look("handle"))], ["a note"])
    texts = [text for text, _ in written]
    for text in ("mug <1> & co", "probability of handle", "confidence", "error", "handle", "0.90", "absent", "a note"):
        assert text in texts
    assert "errors in file units" in texts
    errors = one.error[:3]
    assert {f"{error:.4f}" for error in errors} <= set(texts)  # as many places for all: the largest has three digits
    absent = next(box for text, box in written if text == "absent")
    assert not [text for text, box in written if text != "spout" and box[0] != absent[0] and box[1] == absent[1]]


def test_keypoints_have_their_colors(mug):
    panel = np.asarray(legend.add_panel(Image.new("RGB", (10, 600), "white"), 300, [side(mug())], [])).astype(int)
    heights = []
    for k in range(3):
        at = np.argwhere(np.abs(panel - 255 * hex_to_rgb(keypoint_color(k))).max(axis=-1) < 3)
        swatch = at[at[:, 1] < 45]  # the scale of probability has colours near some
        assert len(swatch) > 20
        heights.append(swatch[:, 0].mean())
    assert heights == sorted(heights)
    bar = np.abs(panel - 255 * probability_scale()[255]).max(axis=-1) < 2
    assert bar.sum() >= 10


def test_a_pair_shares_a_table_and_a_scale_that_are_the_same(mug, written):
    one = mug()
    other = dataclasses.replace(one, confidence=[0.11, 0.22, 0.33, 0.4])
    size = (900, 500)
    image = Image.new("RGB", (600, size[1]), "white")
    legend.add_panel(image, 300, [side(one, "soft"), side(other, "sampling")], [])
    texts = [text for text, _ in written]
    assert texts.count("largest probability") == 1
    assert texts.count("handle") == 1
    places = dict(written)
    assert places["0.90"][2] < places["0.11"][0]  # in one row
    assert places["0.90"][1] == places["0.11"][1]
    assert places["soft"][2] < places["sampling"][0]
    assert all(0 < box[0] < box[2] <= 900 for box in places.values())


def test_a_pair_of_unlike_keypoints_and_scales_has_two_of_each(mug, written):
    one = mug()
    other = dataclasses.replace(
        one, keypoint_names=("kp0", "kp1", "kp2", "kp3"), truth=None, probability=one.probability / 2
    )
    legend.add_panel(Image.new("RGB", (600, 500), "white"), 300, [side(one, "soft"), side(other, "discovery")], [])
    texts = [text for text, _ in written]
    assert {"soft: largest probability", "discovery: largest probability", "kp2", "handle"} <= set(texts)
    assert texts.count("error") == 1
    heights = {text: box[1] for text, box in written}
    assert heights["</script>"] < heights["discovery"] < heights["kp0"]


@pytest.mark.parametrize("size", [(640, 300), (1600, 720), (3000, 1000)])
def test_the_numbers_of_a_pair_leave_room_for_names(mug, written, size):
    one = many(mug(), 4)
    width = legend.panel_width(size, 2)
    sides = [side(one, "soft-argmax"), side(one, "sampling-argmax")]
    legend.add_panel(Image.new("RGB", (size[0] - width, size[1]), "white"), width, sides, [])
    names = [box for text, box in written if text.startswith("a lo")]
    assert len(names) == 4
    numbers = [box for text, box in written if text.startswith("0.9")]
    assert names[0][2] < min(box[0] for box in numbers)
    assert min(box[0] for _, box in written) >= size[0] - width
    assert max(box[2] for _, box in written) <= size[0]


def test_errors_of_any_unit_are_told_to_three_digits(mug, written):
    for scale, example in ((1.0, "0.0511"), (1000.0, "51.1"), (1e6, "51107")):
        written.clear()
        one = mug(scale=scale)
        legend.add_panel(Image.new("RGB", (400, 600), "white"), 300, [side(one)], [])
        assert one.error[0] == pytest.approx(float(example), rel=1e-3)
        assert example in [text for text, _ in written]


def test_titles_and_errors_of_a_pair_are_whole_where_there_is_room(mug, written):
    one = dataclasses.replace(mug(), keypoint_names=("0", "1", "2", "3"))
    sides = [side(one, "soft-argmax"), side(one, "sampling-argmax")]
    width = legend.panel_width((1600, 720), 2)
    legend.add_panel(Image.new("RGB", (1600 - width, 720), "white"), width, sides, [])
    texts = [text for text, _ in written]
    assert {"soft-argmax", "sampling-argmax"} <= set(texts)
    assert texts.count("error") == 2
    boxes = dict(written)
    assert boxes["0"][2] < boxes["soft-argmax"][0] < boxes["soft-argmax"][2] < boxes["sampling-argmax"][0]
    written.clear()
    sides = [side(one, f"{title} that was trained for a very long time") for title in ("soft", "sampling")]
    legend.add_panel(Image.new("RGB", (1600 - width, 720), "white"), width, sides, [])
    (first, second) = [box for text, box in written if text.startswith(("soft that", "sampling that"))]
    assert {"1", "2", "3"} <= {text for text, _ in written}  # the names are whole
    assert dict(written)["1"][2] <= first[0] < first[2] < second[0] < second[2] <= 1600


def test_a_title_of_a_pair_is_small_before_it_is_cut(mug, written):
    one = dataclasses.replace(mug(), keypoint_names=("0", "1", "2", "3"))
    sides = [side(one, "soft-argmax"), side(one, "sampling, N_s = 10")]
    width = legend.panel_width((1600, 720), 2)
    legend.add_panel(Image.new("RGB", (1600 - width, 720), "white"), width, sides, [])
    boxes = dict(written)
    first, second = boxes["soft-argmax"], boxes["sampling, N_s = 10"]
    assert first[2] < second[0] < second[2] <= 1600


@pytest.mark.parametrize("keypoint", [None, "handle"])
def test_an_annotation_has_neither_probabilities_nor_confidence(mug, written, keypoint):
    one = dataclasses.replace(mug(), annotated=True, truth=None)
    shown = side(one, look=Look(keypoint, log_scale=True))
    panel = legend.add_panel(Image.new("RGB", (10, 600), "white"), 300, [shown], [])
    texts = [text for text, _ in written]
    assert texts[1] == ("annotated positions" if keypoint is None else "annotated position of handle")
    assert texts.count("annotated") == 3
    assert texts.count("absent") == 1
    assert not [text for text in texts if "." in text or "prob" in text or "conf" in text]
    dark = np.abs(np.asarray(panel).astype(int) - 255 * probability_scale()[255]).max(axis=-1) < 2
    assert not dark.any()  # there is no bar


@pytest.mark.parametrize("count", [4, 60])
def test_errors_have_their_unit_below_them(mug, written, count):
    one = dataclasses.replace(many(mug(), count), length_unit="mm")
    size = (400, 500)
    legend.add_panel(Image.new("RGB", size, "white"), 300, [side(one)], ["a note"])
    boxes = dict(written)
    last = "0.90" if count == 4 else next(text for text in boxes if text.startswith("and "))
    assert boxes[last][3] < boxes["errors in mm"][1] < boxes["errors in mm"][3] < boxes["a note"][1]
    written.clear()
    hidden = side(one, look=Look(truth=False))
    legend.add_panel(Image.new("RGB", size, "white"), 300, [hidden], ["a note"])
    assert "errors in mm" not in dict(written)


def test_errors_that_have_no_room_have_no_unit(mug, written):
    sides = [side(many(mug(), 4), title) for title in ("soft-argmax", "sampling-argmax")]
    legend.add_panel(Image.new("RGB", (300, 500), "white"), 170, sides, [])
    texts = [text for text, _ in written]
    assert "error" not in texts
    assert not [text for text in texts if "units" in text]
