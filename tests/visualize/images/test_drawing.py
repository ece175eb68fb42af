import numpy as np
import pytest

from pcsargmax.datasets.images.item import ImageItem
from pcsargmax.visualize.figures.parts import empty_figure
from pcsargmax.visualize.images.drawing import draw_image, draw_pair, stretch
from pcsargmax.visualize.images.picture import SlicePicture
from pcsargmax.visualize.palette import TRUTH_COLOR, hex_to_rgb, keypoint_color


def dots_of(ax) -> dict[str, np.ndarray]:
    """Colour of each kind of disc to where they lie."""
    found: dict[str, list] = {}
    for points in ax.collections:
        if hasattr(points, "get_sizes") and len(points.get_offsets()) and len(points.get_sizes()):
            faces = np.broadcast_to(points.get_facecolors(), (len(points.get_offsets()), 4))
            for color, at in zip(faces, points.get_offsets(), strict=True):
                found.setdefault(str(np.round(color[:3] * 255).astype(int).tolist()), []).append(at)
    return {color: np.array(at) for color, at in found.items()}


def key(color: str) -> str:
    return str(np.round(hex_to_rgb(color) * 255).astype(int).tolist())


def test_keypoints_and_their_truth_lie_where_they_are(face):
    ax = empty_figure(4, 4).add_subplot()
    one = face()
    figure = draw_image(one, ax)
    assert figure is ax.figure
    dots = dots_of(ax)
    for k in range(4):
        np.testing.assert_allclose(dots[key(keypoint_color(k))], one.position[k : k + 1])
    np.testing.assert_allclose(dots[key(TRUTH_COLOR)], one.truth[:3])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # y goes down
    assert [text.get_text() for text in ax.texts] == list(one.keypoint_names)


def test_a_chosen_keypoint_stands_alone(face):
    ax = empty_figure(4, 4).add_subplot()
    one = face()
    draw_image(one, ax, keypoint="nose")
    np.testing.assert_allclose(dots_of(ax)[key(TRUTH_COLOR)], one.truth[2:3])
    assert [text.get_text() for text in ax.texts] == ["nose"]
    _, layer = ax.images
    darkest = layer.get_array()[..., :3].sum(axis=-1).argmin()  # the end of the scale
    assert darkest == one.probability[2].argmax()


def test_parts_can_be_left_out(face):
    ax = empty_figure(4, 4).add_subplot()
    one = face()
    draw_image(one, ax, truth=False, ellipsoids=0, map=False, labels=False)
    assert key(TRUTH_COLOR) not in dots_of(ax)
    assert len(ax.images) == 1
    np.testing.assert_array_equal(ax.images[0].get_array(), one.image)
    assert (len(ax.texts), len(ax.collections)) == (0, 1)
    assert ax.get_xlim() == (-0.5, 31.5)  # no map: no more than the image


def test_the_map_lies_on_the_image_as_the_crop_says(face):
    one = face()
    ax = empty_figure(4, 4).add_subplot()
    draw_image(one, ax)
    layer = ax.images[1]
    to_image = layer.get_transform() - ax.transData
    np.testing.assert_allclose(to_image.transform((3, 5)), one.crop.to_image(np.array([12.0, 20.0])))


def test_a_picture_of_a_map_shows_its_peak_in_colour(face, tmp_path, picture_of):
    one = face(off=0)
    draw_image(one, tmp_path / "new" / "a.png", truth=False, ellipsoids=0, labels=False)
    pixels = picture_of(tmp_path / "new" / "a.png")
    colorful = np.ptp(pixels[:, : pixels.shape[0]], axis=-1) > 60
    assert 0.001 < colorful.mean() < 0.3


def test_a_file_has_the_size_that_was_asked_for(face, oct_slice, tmp_path, picture_of):
    draw_image(face(), tmp_path / "a.png", size=(640, 480))
    assert picture_of(tmp_path / "a.png").shape == (480, 640, 3)
    draw_image(oct_slice(), tmp_path / "b.png")
    draw_image(oct_slice(), tmp_path / "c.pdf")
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    draw_pair(face(), face(off=3), tmp_path / "pair.png", names=("a", "b"), size=(1200, 500))
    assert picture_of(tmp_path / "pair.png").shape == (500, 1200, 3)


@pytest.mark.parametrize("size", [(450, 300), (900, 600), (2400, 900)])
def test_letters_fit_the_size_that_was_asked_for(face, tmp_path, size):
    figure = draw_pair(face(), face(off=3), tmp_path / "pair.png", names=("a", "b"), size=size)
    for ax in figure.axes[1::2]:
        boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
        assert boxes["confidence"].x1 < boxes["error (px)"].x0
        assert all(box.x1 <= ax.bbox.x1 + 1 for box in boxes.values())


def test_surfaces_are_lines_with_bands(oct_slice):
    ax = empty_figure(4, 4).add_subplot()
    draw_image(oct_slice(), ax)
    colors = [line.get_color() for line in ax.lines]
    assert colors == [TRUTH_COLOR, TRUTH_COLOR, keypoint_color(0), keypoint_color(1)]
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), np.full(50, 6.0))
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (4.5, 7.5)
    one = empty_figure(4, 4).add_subplot()
    draw_image(oct_slice(), one, keypoint="bottom", ellipsoids=2, truth=False)
    assert len(one.collections) == 2  # both of the chosen one
    assert [text.get_text() for text in one.texts] == ["bottom"]


def test_wide_slices_are_stretched():
    def of(height, width):
        image = np.zeros((height, width, 3), np.uint8)
        return SlicePicture("s", image, ("a",), np.zeros((1, width)))

    assert stretch(of(100, 250)) == 1
    assert stretch(of(100, 900)) == 3
    assert stretch(of(900, 100)) == pytest.approx(1 / 3)


def test_an_image_without_any_keypoint_is_drawn(tmp_path):
    item = ImageItem("empty", np.full((20, 30, 3), 90, np.uint8), np.full((2, 2), np.nan))
    draw_image(item, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ellipsoids": 3}, "ellipsoids: expected 0, 1 or 2, got 3"),
        ({"ellipsoids": True}, "ellipsoids: expected 0, 1 or 2, got True"),
        ({"keypoint": "ear"}, "keypoint: expected one of"),
        ({"peak": 0.0}, "peak: expected a number above 0"),
        ({"size": (100, 900)}, "size: expected a width and a height of 200 pixels or more, got 100x900"),
    ],
)
def test_mistakes_are_named(face, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        draw_image(face(), tmp_path / "a.png", **options)
    assert not (tmp_path / "a.png").exists()
    with pytest.raises(ValueError, match="path: expected a file name that ends in one of"):
        draw_image(face(), tmp_path / "a.txt")
