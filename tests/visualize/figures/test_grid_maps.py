import numpy as np
import pytest
import torch

from pcsargmax import Gaussian, Grid, KeypointDistribution, Triangular
from pcsargmax.visualize import map_figure
from pcsargmax.visualize.figures.grid_maps import read_map
from pcsargmax.visualize.palette import color_values


def peak_at(shape: tuple[int, ...], place: tuple[float, ...], width: float = 1.5, **grid) -> KeypointDistribution:
    """Two items of one keypoint: a peak at a place (x, y, z) in cells, then a flat map."""
    cells = Grid(shape).positions()
    logits = -((cells - torch.tensor(place)).square().sum(dim=-1)) / (2 * width**2)
    return KeypointDistribution(torch.stack([logits, torch.zeros_like(logits)])[:, None], Grid(shape, **grid))


def colors_of(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_a_map_is_drawn_where_it_is():
    figure = map_figure({"soft": peak_at((6, 9), (7, 2))}, truth=(6.0, 2.5))
    ax = figure.axes[0]
    rgb = colors_of(ax)
    assert rgb.shape == (6, 9, 3)
    row, column = np.unravel_index(rgb.sum(axis=-1).argmin(), (6, 9))  # the darkest
    assert (row, column) == (2, 7)
    assert ax.get_xlim() == (-0.5, 8.5)
    assert ax.get_ylim() == (5.5, -0.5)  # y down, as in images
    mean, truth = ax.collections[2].get_offsets()[0], ax.collections[3].get_offsets()[0]
    np.testing.assert_allclose(mean, [6.8, 2.0], atol=0.3)
    np.testing.assert_allclose(truth, [6.0, 2.5])
    assert ax.get_title(loc="left") == "soft"
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["expectation", "1 σ", "annotation"]


def test_coordinates_are_those_of_the_grid():
    one = peak_at((4, 8), (2, 1), spacing=(0.5, 2.0), origin=(10.0, -3.0))
    ax = map_figure({"soft": one}).axes[0]
    assert ax.get_xlim() == (9.75, 13.75)
    assert ax.get_ylim() == (4.0, -4.0)
    np.testing.assert_allclose(ax.collections[1].get_offsets()[0], one.mean[0, 0], atol=1e-6)


def test_the_ellipse_is_one_standard_deviation():
    shape, cells = (21, 21), Grid((21, 21)).positions() - 10
    turned = cells @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5  # long along (1, 1) / √2
    logits = -(turned[:, 0] ** 2 / (2 * 1.0) + turned[:, 1] ** 2 / (2 * 9.0))
    ax = map_figure({"soft": KeypointDistribution(logits[None, None], Grid(shape))}).axes[0]
    ellipse = ax.patches[-1]
    across, along = sorted([ellipse.get_width(), ellipse.get_height()])
    assert across == pytest.approx(2.0, rel=0.05)
    assert along == pytest.approx(6.0, rel=0.1)
    ends = ellipse.get_patch_transform().transform([[1.0, 0.0], [0.0, 1.0]]) - ellipse.get_center()  # of its axes
    far = ends[np.linalg.norm(ends, axis=1).argmax()]
    assert abs(far[0]) == pytest.approx(abs(far[1]), rel=0.05)
    expected = np.sign(float(torch.einsum("l,l,l->", logits.softmax(0), cells[:, 0], cells[:, 1])))
    assert np.sign(far[0] * far[1]) == expected


def test_a_3d_map_is_summed_along_each_axis():
    one = peak_at((4, 6, 8), (5, 2, 1), width=0.8)
    figure = map_figure({"soft": one, "other": one}, truth=(5, 2, 1))
    planes = [ax for ax in figure.axes if ax.images]
    assert len(planes) == 6
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in planes[:3]] == [("x", "y"), ("x", "z"), ("z", "y")]
    darkest = [np.unravel_index(colors_of(ax).sum(axis=-1).argmin(), colors_of(ax).shape[:2]) for ax in planes[:3]]
    assert darkest == [(2, 5), (1, 5), (2, 1)]
    cube = one.probabilities[0, 0].reshape(4, 6, 8).double().numpy()
    peak = max(cube.sum(axis=axis).max() for axis in range(3))
    np.testing.assert_allclose(colors_of(planes[2]), color_values(cube.sum(axis=2).T, "", peak=peak).rgb)
    pixels_per_unit = {round(ax.get_window_extent().width / abs(np.diff(ax.get_xlim())[0]), 3) for ax in planes}
    assert len(pixels_per_unit) == 1


def test_one_scale_for_all_by_choice():
    maps = {"sharp": peak_at((6, 9), (7, 2), width=0.5), "wide": peak_at((6, 9), (7, 2), width=3.0)}
    own, one = map_figure(maps), map_figure(maps, same_scale=True)
    assert len(own.axes) == 4
    assert len(one.axes) == 3
    assert colors_of(own.axes[2]).min() < 0.1  # the wide one's own peak is dark
    assert colors_of(one.axes[1]).min() > 0.15
    peak = maps["sharp"].probabilities[0, 0].max()
    assert one.axes[2].get_yticklabels()[-1].get_text() == f"{peak:.2g}"


def test_many_maps_stand_in_rows_of_four():
    for same_scale in (False, True):
        figure = map_figure({str(number): peak_at((6, 9), (7, 2)) for number in range(6)}, same_scale=same_scale)
        maps = [ax for ax in figure.axes if ax.images and ax.get_xlabel()]
        places = [ax.get_position() for ax in maps]
        assert [round(place.x0, 6) for place in places[:2]] == [round(place.x0, 6) for place in places[4:]]
        assert len({round(place.y0, 6) for place in places[:4]}) == 1
        assert places[4].y1 < places[0].y0
        assert len(figure.axes) - len(maps) == (1 if same_scale else 6)
        for place in (ax.get_position() for ax in figure.axes):
            assert 0 < place.x0 < place.x1 < 1
            assert 0 < place.y0 < place.y1 < 1


def test_a_line_has_bars_and_density():
    grid = Grid((10,), spacing=0.5, origin=2.0)
    logits = -((torch.arange(10.0) - 3) ** 2) / 2
    one = KeypointDistribution(logits[None, None], grid, basis=Triangular())
    figure = map_figure({"soft": one, "again": one}, truth=3.0)
    ax = figure.axes[0]
    bars = [patch for patch in ax.patches if hasattr(patch, "get_height") and patch.get_height() < 1][-10:]
    np.testing.assert_allclose([bar.get_height() for bar in bars], one.probabilities[0, 0], rtol=1e-5)
    np.testing.assert_allclose(bars[0].get_x(), 1.75)
    density, mean, truth = ax.lines
    x, y = density.get_data()
    at = grid.axes()[0].numpy()
    np.testing.assert_allclose(np.interp(at, x, y), one.probabilities[0, 0], rtol=1e-3)  # Eq. 8, per cell
    assert mean.get_xdata()[0] == pytest.approx(float(one.mean[0, 0, 0]))
    assert truth.get_xdata()[0] == 3.0
    assert ax.get_xlim() == (1.75, 6.75)
    box, deviation = ax.patches[0].get_extents().transformed(ax.transData.inverted()), one.spread[0, 0]
    np.testing.assert_allclose([box.x0, box.x1], mean.get_xdata()[0] + deviation * torch.tensor([-1, 1]), rtol=1e-5)
    assert ax.get_ylim() == pytest.approx((0, 1.05 * max(float(one.peak[0, 0]), y.max())), rel=1e-6)
    plain = map_figure({"soft": KeypointDistribution(logits[None, None], grid)}, log_scale=True).axes[0]
    assert plain.get_yscale() == "log"
    assert len(plain.lines) == 1  # the sites alone have no density


def test_a_gaussian_of_a_line_has_a_density_over_the_whole_of_it():
    one = KeypointDistribution(torch.zeros(1, 1, 5), Grid((5,)), basis=Gaussian(0.5))
    found = read_map("a", one)
    assert found.line is not None
    assert found.line[0][[0, -1]].tolist() == [-0.5, 4.5]
    assert found.line[1][100] == pytest.approx(float(one.density(torch.tensor([[[2.0]]]))), rel=1e-6)


def test_arrays_are_maps_of_cells():
    array = np.zeros((3, 5))
    array[1, 4] = 1.0
    for given in (array, torch.from_numpy(array), array.tolist()):
        ax = map_figure({"soft": given}).axes[0]
        np.testing.assert_allclose(ax.collections[1].get_offsets()[0], [4, 1], atol=1e-9)


def test_the_item_is_chosen():
    one = peak_at((6, 9), (7, 2))
    assert read_map("a", one, item=1).probability.max() == pytest.approx(1 / 54)
    with pytest.raises(ValueError, match="item: expected 0 to 1, got 2"):
        map_figure({"a": one}, item=2)
    with pytest.raises(ValueError, match="keypoint: expected 0 to 0, got -1"):
        map_figure({"a": one}, keypoint=-1)


def test_mistakes_are_named():
    one = peak_at((6, 9), (7, 2))
    with pytest.raises(ValueError, match="maps: expected the name of at least one method to its map, got none"):
        map_figure({})
    with pytest.raises(ValueError, match="got KeypointDistribution"):
        map_figure(one)
    with pytest.raises(ValueError, match=r"maps: expected maps of one dimension, got {'a': 2, 'b': 1}"):
        map_figure({"a": one, "b": np.array([0.5, 0.5])})
    with pytest.raises(ValueError, match=r"truth: expected shape \(2,\), got \(3,\)"):
        map_figure({"a": one}, truth=(1, 2, 3))
    with pytest.raises(ValueError, match="maps 'a': expected a map over a Grid; those of clouds are for probability"):
        map_figure({"a": KeypointDistribution(torch.zeros(1, 1, 4), torch.zeros(4, 3))})
    with pytest.raises(
        ValueError, match="maps 'a': expected probabilities, which add up to 1, got values from -3 to 4"
    ):
        map_figure({"a": np.array([-3.0, 4.0])})
    with pytest.raises(
        ValueError, match=r"maps 'a': expected shape \(W,\), \(H, W\) or \(D, H, W\), got \(1, 1, 1, 1\)"
    ):
        map_figure({"a": np.ones((1, 1, 1, 1))})
