import dataclasses

import numpy as np
import pytest

from pcsargmax.visualize import probability_figure
from pcsargmax.visualize.palette import color_by_probability, hex_to_rgb


def pixels(figure) -> np.ndarray:
    """(H, W, 3) sRGB in [0, 1]."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def count_near(image: np.ndarray, color: np.ndarray, within: float = 0.05) -> int:
    return int((np.abs(image - color).max(axis=-1) < within).sum())


def test_a_row_a_method_and_a_column_a_view(mug, tmp_path):
    figure = probability_figure(
        {"soft": mug(), "sampling": mug(seed=1, origin=1e6)}, keypoint="handle", path=tmp_path / "maps.png"
    )
    views, bars = figure.axes[:8], figure.axes[8:]
    assert [ax.get_ylabel() for ax in views] == ["soft", "", "", "", "sampling", "", "", ""]
    assert [bar.get_ylabel() for bar in bars] == ["probability of handle"] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["expectation", "annotation"]
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("same_scale", [False, True])
@pytest.mark.parametrize("name", ["9", "outer_corner_of_left_eye"])
def test_what_a_scale_says_stays_within_the_figure_and_beside_its_row(mug, same_scale, name):
    one = dataclasses.replace(mug(), keypoint_names=(name, "b", "c", "d"))
    methods = {"soft": one} if same_scale else {"soft": one, "sampling": one}
    options = {"keypoint": name, "log_scale": True, "same_scale": same_scale}
    figure = probability_figure(methods, views=[(70, 25)], **options)
    figure.canvas.draw()
    labels = [ax.yaxis.label for ax in figure.axes[2 * len(methods) :]]
    told = f"probability of {name}, log scale".replace(" ", "")
    assert [label.get_text().replace("\n", "").replace(" ", "") for label in labels] == [told] * len(methods)
    boxes = [label.get_window_extent() for label in labels]
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert same_scale or boxes[1].y1 < boxes[0].y0


def test_names_of_methods_stay_beside_their_rows(mug):
    names = [f"soft-argmax, mug-discovery-soft-seed{seed}-0e522a95" for seed in (1, 2)]
    figure = probability_figure(dict.fromkeys(names, mug()), keypoint=0)
    figure.canvas.draw()
    first, second = (figure.axes[number].yaxis.label for number in (0, 4))
    assert [label.get_text().replace("\n", "").replace(" ", "") for label in (first, second)] == [
        name.replace(" ", "") for name in names
    ]
    above, below = first.get_window_extent(), second.get_window_extent()
    assert 0 <= below.y0 < below.y1 < above.y0 < above.y1 <= figure.bbox.y1
    assert above.x0 >= 0


def test_what_is_marked_where(mug):
    one = mug()
    figure = probability_figure({"soft": one}, keypoint="handle")
    first, closeup = figure.axes[0], figure.axes[3]
    assert len(first.collections) == 3  # points, the ring's rim, the ring
    assert len(closeup.collections) == 3  # points, cross, ring
    ring, cross = closeup.collections[2].get_offsets()[0], closeup.collections[1].get_offsets()[0]
    (low, high), (bottom, top) = closeup.get_xlim(), closeup.get_ylim()
    for x, y in (ring, cross):  # both lie in the close-up
        assert low < x < high
        assert top < y < bottom
    np.testing.assert_allclose(closeup.collections[2].get_edgecolor()[0, :3], hex_to_rgb("#0072b2"))
    (frame,) = first.patches  # which the first view shows the place of
    np.testing.assert_allclose([frame.get_x(), frame.get_x() + frame.get_width()], [low, high])


def test_the_closeup_shows_its_share_of_the_diagonal(mug):
    from pcsargmax.visualize.clouds.drawing import build_drawing
    from pcsargmax.visualize.clouds.geometry import fit_camera

    drawing = build_drawing(mug())
    camera = fit_camera(drawing.points, azimuth=35, elevation=20, size=(400, 400), margin=0.03)
    _, depth = camera.project(drawing.truth[:1])
    low, high = probability_figure({"soft": mug()}, keypoint=0, closeup=0.4).axes[3].get_xlim()
    assert high - low == pytest.approx(0.4 * float(camera.pixels_per_unit(depth)[0]), rel=0.02)


def test_the_closeup_shows_the_peak_and_the_nearest_lie_on_top(mug):
    from pcsargmax.visualize.clouds.drawing import build_drawing
    from pcsargmax.visualize.clouds.geometry import fit_camera

    one = mug()  # with an expectation off the peak, and the handle's points last
    far = {"points": one.points[::-1], "probability": one.probability[:, ::-1], "position": one.position[[1, 1, 2, 3]]}
    far = dataclasses.replace(one, truth=None, **far)
    drawing = build_drawing(far)
    camera = fit_camera(drawing.points, azimuth=35, elevation=20, size=(400, 400), margin=0.03)
    pixels, depth = camera.project(drawing.points)
    closeup = probability_figure({"soft": far}, keypoint=0, closeup=0.01).axes[3]
    (low, high), (bottom, top) = closeup.get_xlim(), closeup.get_ylim()
    x, y = pixels[far.probability[0].argmax()]
    assert low < x < high
    assert top < y < bottom
    probable = np.flatnonzero(far.probability[0] > 0.01 * far.probability[0].max())
    nearest = pixels[probable[depth[probable].argmin()]]
    np.testing.assert_allclose(closeup.collections[0].get_offsets()[-1], nearest)


def test_without_closeup_every_view_has_the_annotation(mug):
    figure = probability_figure({"soft": mug()}, keypoint=0, views=[(0, 0), (90, 0)], closeup=None)
    assert len(figure.axes) == 2 + 1
    assert all(len(ax.collections) == 5 for ax in figure.axes[:2])
    assert not figure.axes[0].patches


def test_an_absent_keypoint_has_no_annotation(mug):
    figure = probability_figure({"soft": mug()}, keypoint="spout", log_scale=True, closeup=None)
    assert all(len(ax.collections) == 3 for ax in figure.axes[:3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["expectation"]
    assert len(figure.axes[3].get_yticks()) == 4  # three decades


def test_a_keypoint_that_is_likely_absent_is_drawn_all_the_same(mug):
    figure = probability_figure({"soft": mug()}, keypoint=np.int64(3), closeup=None, views=[(0, 0)])
    ring = figure.axes[0].collections[-1]
    np.testing.assert_allclose(ring.get_edgecolor()[0, :3], hex_to_rgb("#cc79a7"))
    (low, high), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    x, y = ring.get_offsets()[0]
    assert low < x < high
    assert top < y < bottom


def test_the_colours_are_those_of_the_scale(mug):
    one = mug()
    figure = probability_figure({"soft": one}, keypoint="handle", closeup=None, views=[(90, 0)])
    drawn = figure.axes[0].collections[0]
    colors = color_by_probability(one, "handle").rgb
    top = drawn.get_facecolor()[-1, :3]  # the most probable that is nearest lies on top
    probable = one.probability[0] > 0.01 * one.probability[0].max()
    assert np.abs(colors[probable] - top).max(axis=1).min() < 1e-6
    peak = colors[one.probability[0].argmax()]
    assert (np.abs(drawn.get_facecolor()[:, :3] - peak).max(axis=1) < 1e-6).any()
    assert count_near(pixels(figure), peak) > 5


def test_one_scale_for_all_by_choice(mug):
    sharp = mug()
    flat = dataclasses.replace(sharp, probability=np.full_like(sharp.probability, 1 / len(sharp.points)))
    own = probability_figure({"sharp": sharp, "flat": flat}, keypoint=0, closeup=None)
    one = probability_figure({"sharp": sharp, "flat": flat}, keypoint=0, same_scale=True, closeup=None)
    assert len(own.axes) == 6 + 2
    assert len(one.axes) == 6 + 1
    peak = f"{sharp.probability[0].max():.2g}"
    assert [text.get_text() for text in one.axes[-1].get_yticklabels()][-1] == peak
    dark = hex_to_rgb("#3d0c3f")  # the end of the scale
    assert np.abs(own.axes[3].collections[0].get_facecolor()[:, :3] - dark).max() < 0.02
    assert np.abs(one.axes[3].collections[0].get_facecolor()[:, :3] - dark).max(axis=1).min() > 0.2


def test_many_points_are_pixels_in_a_vector_file(mug, tmp_path):
    sizes = {}
    for points in (600, 12_000):
        path = tmp_path / f"{points}.pdf"
        probability_figure({"soft": mug(points=points)}, keypoint=0, views=[(0, 0)], closeup=None, path=path)
        sizes[points] = path.stat().st_size
    assert sizes[12_000] < 400_000
    assert b"/Subtype /Image" in (tmp_path / "12000.pdf").read_bytes()


def test_mistakes_are_named(mug):
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        probability_figure({}, keypoint=0)
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        probability_figure({"soft": mug()}, keypoint="lid")
    with pytest.raises(ValueError, match="views: expected at least one, got none"):
        probability_figure({"soft": mug()}, keypoint=0, views=[])
    with pytest.raises(ValueError, match=r"closeup: expected a share within \(0, 1\], got 0"):
        probability_figure({"soft": mug()}, keypoint=0, closeup=0)
