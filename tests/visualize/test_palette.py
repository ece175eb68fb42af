import dataclasses

import numpy as np
import pytest

from pcsargmax.visualize import palette

# Machado, Oliveira and Fernandes (2009), full deuteranopia and protanopia, on linear RGB.
_BLIND = {
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def seen_by(eyes: str, rgb: np.ndarray) -> np.ndarray:
    if eyes == "normal":
        return rgb
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(_BLIND[eyes]).T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("eyes", ["normal", "deuteranope", "protanope"])
@pytest.mark.parametrize(("count", "apart"), [(7, 0.07), (12, 0.07), (32, 0.05)])
def test_keypoint_colors_differ_for_all_eyes(eyes, count, apart):
    rgb = np.array([palette.hex_to_rgb(palette.keypoint_color(k)) for k in range(count)])
    lab = palette.rgb_to_oklab(seen_by(eyes, rgb))
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(count, 1)]
    assert distance.min() > apart


def test_keypoint_colors_start_again_after_32():
    assert len(set(palette.KEYPOINT_COLORS)) == 32
    assert palette.keypoint_color(33) == palette.keypoint_color(1)


def test_oklab_of_known_colors():
    # Ottosson's own figures: white is (1, 0, 0); sRGB red is (0.628, 0.225, 0.126).
    np.testing.assert_allclose(palette.rgb_to_oklab(np.ones(3)), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(palette.rgb_to_oklab(np.array([1.0, 0, 0])), [0.628, 0.225, 0.126], atol=1e-3)
    color = np.array([0.2, 0.5, 0.7])
    np.testing.assert_allclose(palette.oklab_to_rgb(palette.rgb_to_oklab(color)), color, atol=1e-6)


def test_the_scale_is_uniform_and_only_darkens():
    lab = palette.rgb_to_oklab(palette.probability_scale())
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert lab.shape == (256, 3)
    assert steps.max() < 1.35 * steps.min()
    assert (np.diff(lab[:, 0]) < 0).all()


def test_hex_and_rgb_are_inverse():
    assert palette.rgb_to_hex(palette.hex_to_rgb("#0a80ff")) == "#0a80ff"


def test_points_are_colored_from_nothing_to_the_peak(mug):
    prediction = mug()
    colors = palette.color_by_probability(prediction, "handle")
    values = prediction.probability[0]
    np.testing.assert_array_equal(colors.rgb[values.argmax()], palette.probability_scale()[255])
    np.testing.assert_array_equal(colors.rgb[values.argmin()], palette.probability_scale()[0])
    assert colors.title == "probability of handle"
    assert [place for place, _ in colors.ticks] == [0, 0.5, 1]
    assert float(colors.ticks[-1][1]) == pytest.approx(values.max(), rel=0.05)


def test_the_log_scale_spans_three_decades(mug):
    prediction = mug()
    colors = palette.color_by_probability(prediction, 0, log_scale=True)
    values = prediction.probability[0]
    at = np.abs(np.log10(np.maximum(values, 1e-30) / values.max()) + 1.5).argmin()  # the middle of the decades
    expected = round(255 * (1 + np.log10(values[at] / values.max()) / 3))
    np.testing.assert_array_equal(colors.rgb[at], palette.probability_scale()[expected])
    assert [float(label) for _, label in colors.ticks] == pytest.approx(
        values.max() * 10.0 ** np.arange(-3, 1), rel=0.1
    )


def test_a_title_says_what_the_colors_are(mug):
    titled = {
        (keypoint, log): palette.color_by_probability(mug(), keypoint, log_scale=log).title
        for keypoint in (None, 0)
        for log in (False, True)
    }
    assert titled[None, True] == "largest probability, log scale"
    assert titled[0, True] == "probability of handle, log scale"
    assert titled[0, False] == "probability of handle"
    annotated = palette.color_by_probability(dataclasses.replace(mug(), annotated=True), 0, log_scale=True)
    assert (annotated.title, annotated.ticks) == ("annotated position of handle", ())


def test_without_a_keypoint_the_largest_map_counts(mug):
    prediction = mug()
    np.testing.assert_allclose(palette.probability_map(prediction), prediction.probability.max(axis=0))
    assert palette.color_by_probability(prediction).title == "largest probability"


def test_a_map_of_zeros_is_pale(mug):
    import dataclasses

    empty = dataclasses.replace(mug(), probability=np.zeros((4, 600)))
    for log_scale in (False, True):
        rgb = palette.color_by_probability(empty, log_scale=log_scale).rgb
        np.testing.assert_array_equal(rgb, np.tile(palette.probability_scale()[0], (600, 1)))


def test_maps_can_share_a_scale(mug):
    prediction = mug()
    values, scale = prediction.probability[0].astype(np.float64), palette.probability_scale()
    wide = palette.color_by_probability(prediction, "handle", peak=2 * values.max())
    np.testing.assert_array_equal(wide.rgb[values.argmax()], scale[128])
    assert float(wide.ticks[-1][1]) == pytest.approx(2 * values.max(), rel=0.05)
    plane = palette.color_values(np.array([[0.0, 0.5], [1.0, 3.0]]), "a map", peak=1.0)
    np.testing.assert_array_equal(plane.rgb, scale[[[0, 128], [255, 255]]])
    assert plane.title == "a map"
    assert plane.ticks[-1][1] == "≥ 1"
    with pytest.raises(ValueError, match="peak: expected a number above 0, got 0"):
        palette.color_values(np.zeros(3), "a map", peak=0.0)


def test_far_points_are_paler_but_not_where_they_are_probable():
    scale = palette.probability_scale()
    rgb = palette.faded(scale[[0, 0, 0, 200]], np.array([1.0, 2.0, 3.0, 3.0]), most=0.5, steps=2)
    np.testing.assert_allclose(rgb[0], scale[0])
    np.testing.assert_allclose(rgb[1], 0.75 * scale[0] + 0.25)
    np.testing.assert_allclose(rgb[2], 0.5 * scale[0] + 0.5)
    np.testing.assert_allclose(rgb[3], scale[200])
    np.testing.assert_allclose(palette.faded(scale[:1], np.ones(1)), scale[:1])


def test_what_a_shared_scale_cuts_off_is_told(mug):
    prediction = mug()
    values = prediction.probability[0]
    cut = palette.color_by_probability(prediction, 0, peak=0.5 * float(values.max()))
    np.testing.assert_array_equal(cut.rgb[values.argmax()], palette.probability_scale()[255])
    assert cut.ticks[-1][1].startswith("≥ ")  # the last colour then stands for more
    whole = palette.color_by_probability(prediction, 0, peak=float(values.max()))
    assert not whole.ticks[-1][1].startswith("≥")
    for peak in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="peak: expected a number above 0"):
            palette.color_by_probability(prediction, 0, peak=peak)
