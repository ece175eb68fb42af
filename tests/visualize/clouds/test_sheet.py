import dataclasses

import numpy as np
import pytest

from pcsargmax.visualize import Look, contact_sheet, palette


@pytest.fixture
def written(monkeypatch):
    """The texts that are written."""
    from PIL import ImageDraw

    texts: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def note(pen, at, text, *args, **options):
        texts.append(text)
        draw(pen, at, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def named(mug, count: int):
    return [dataclasses.replace(mug(seed=number), name=f"shape {number}") for number in range(count)]


def test_shapes_stand_in_rows_over_one_legend(mug, picture_of, written, tmp_path, fake_child):
    fake_child("draw(200)")
    seen = []
    path = contact_sheet(
        named(mug, 5), tmp_path / "a.png", columns=3, size=(300, 220), progress=lambda *at: seen.append(at)
    )
    pixels = picture_of(path)
    assert seen == [(number, 5) for number in range(1, 6)]
    assert pixels.shape[1] == 900
    grey = np.abs(pixels - 200).max(axis=-1) == 0
    cells = grey[: 2 * 244].reshape(2, 244, 3, 300).mean(axis=(1, 3)) > 0.7
    assert cells.tolist() == [[True, True, True], [True, True, False]]
    assert not grey[-60:].any()
    assert [text.split("   ")[0] for text in written if text.startswith("shape")] == [f"shape {n}" for n in range(5)]
    assert written.count("largest probability") == 1
    assert written.count("handle") == 1  # in the legend, not at each shape
    assert "spout" not in written  # it is on none of them
    bar = np.abs(pixels - 255 * palette.probability_scale()[255]).max(axis=-1) < 2
    assert np.flatnonzero(bar.any(axis=1)).min() > 2 * 220
    for k in range(3):
        color = 255 * palette.hex_to_rgb(palette.keypoint_color(k))
        assert (np.abs(pixels[-70:, 250:] - color).max(axis=-1) < 3).sum() > 15
    assert (pixels[-1] == 255).all()


def test_captions_tell_the_mean_error_of_what_is_annotated(mug, written, tmp_path, fake_child):
    fake_child("draw(255)")
    one = mug()
    bare = dataclasses.replace(one, truth=None, name="a name that is much longer than there is room for")
    contact_sheet([one, bare], tmp_path / "a.png")
    assert f"mug <1> & co   mean error {np.mean(one.error[:3]):.2g} file units" in written
    assert "a name that is much…" in written
    written.clear()
    contact_sheet([dataclasses.replace(one, length_unit="mm")], tmp_path / "a.png")
    assert f"mug <1> & co   mean error {np.mean(one.error[:3]):.2g} mm" in written
    written.clear()
    contact_sheet([one], tmp_path / "a.png", Look(truth=False, labels=False), captions=["mine"])
    assert "mine" in written
    assert not [text for text in written if "error" in text or "annotated" in text]


def test_all_shapes_share_a_scale_or_none_does(mug, written, tmp_path, fake_child):
    fake_child("draw(255)")
    one, other = named(mug, 2)
    pale = dataclasses.replace(other, probability=other.probability / 50)
    contact_sheet([pale, one], tmp_path / "a.png", Look("handle"))
    assert f"{one.probability[0].max():.2g}" in written
    assert "probability of handle" in written
    written.clear()
    contact_sheet([pale, one], tmp_path / "a.png", Look("handle", log_scale=True), same_scale=False)
    assert "largest of each shape" in written
    assert "probability of handle, log scale" in written


def test_a_sheet_of_annotations_has_no_scale(mug, written, tmp_path, fake_child):
    fake_child("draw(255)")
    one = dataclasses.replace(mug(), annotated=True, truth=None)
    for same_scale in (True, False):
        written.clear()
        contact_sheet([one], tmp_path / "a.png", same_scale=same_scale)
        assert "annotated positions" in written
        assert not {"0", "largest of each shape"} & set(written)
    written.clear()
    found = mug(seed=1)
    contact_sheet([one, found, one], tmp_path / "a.png")
    assert "largest probability" in written
    assert f"{found.probability[:3].max():.2g}" in written


def test_keypoints_of_unlike_names_go_by_their_number(mug, written, tmp_path, fake_child):
    fake_child("draw(255)")
    one = mug()
    other = dataclasses.replace(one, keypoint_names=("handle", "lip", "</script>", "spout"))
    contact_sheet([one, other], tmp_path / "a.png")
    assert {"handle", "#1", "</script>"} <= set(written)
    assert not {"lip", "rim <b>"} & set(written)


@pytest.mark.usefixtures("renderer")
def test_a_sheet_is_really_drawn(mug, picture_of, tmp_path):
    path = contact_sheet(named(mug, 2), tmp_path / "a.png", columns=2, size=(200, 150))
    pixels = picture_of(path)
    for left in (0, 200):
        cell = pixels[:150, left : left + 200]
        drawn = (cell < 240).any(axis=-1)
        assert drawn.sum() > 1500
        assert not drawn[[0, -1]].any()
        assert not drawn[:, [0, -1]].any()
    assert (pixels[:150, :200] != pixels[:150, 200:400]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": 0}, "columns: expected 1 or more, got 0"),
        ({"size": (100, 100)}, r"size: expected at least \(160, 120\) pixels, got \(100, 100\)"),
        ({"captions": ["a", "b"]}, "captions: expected 1, one for each prediction, got 2"),
        ({"look": Look(keypoint="lid")}, "keypoint: expected one of handle"),
    ],
)
def test_wrong_arguments_are_named(mug, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet([mug()], tmp_path / "a.png", **options)
    with pytest.raises(ValueError, match="predictions: expected at least one, got none"):
        contact_sheet([], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
