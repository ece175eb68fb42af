import numpy as np
import pytest

from pcsargmax import Gaussian, Triangular, Uniform
from pcsargmax.visualize import basis_figure
from pcsargmax.visualize.figures.bases import densities


def test_bases_above_and_mixtures_below():
    figure = basis_figure([1, 2, 1])
    assert [ax.get_title() for ax in figure.axes] == ["uniform", "triangular", "Gaussian", "", "", ""]
    for ax in figure.axes[:3]:
        assert len(ax.lines) == 3 + 1  # one a cell, the most probable once more
    heights = {round(ax.get_ylim()[1], 6) for ax in figure.axes[:3]}
    assert len(heights) == 1  # one scale of densities
    for ax in figure.axes[3:5]:  # the parts are as high as their probabilities
        parts = [line.get_ydata().max() for line in ax.lines[:3]]
        np.testing.assert_allclose(parts, [0.25, 0.5, 0.25], atol=0.005)
    dots = figure.axes[4].lines[-1]
    np.testing.assert_allclose(dots.get_xydata(), [[0, 0.25], [1, 0.5], [2, 0.25]])


def test_the_densities_are_those_of_the_formulas():
    pi = np.array([0.25, 0.5, 0.25])
    y, parts, mixture = densities(pi, Uniform())  # Eq. 7: 1 on a cell of width 1
    assert set(np.unique(parts)) == {0.0, 1.0}
    np.testing.assert_allclose(mixture[(y > 0.5) & (y < 1.5)], 0.5)
    y, parts, mixture = densities(pi, Triangular())  # Eq. 8: the linear interpolation of the map
    np.testing.assert_allclose(mixture, np.interp(y, [-1, 0, 1, 2, 3], [0, *pi, 0]), atol=1e-9)
    y, parts, mixture = densities(pi, Gaussian(0.7))  # Eq. 9
    expected = np.exp(-((y - 1) ** 2) / (2 * 0.49)) / (0.7 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(parts[1], expected, rtol=1e-6)
    for _, parts, mixture in (densities(pi, basis) for basis in (Uniform(), Triangular(), Gaussian(0.2))):
        np.testing.assert_allclose(mixture, pi @ parts, atol=1e-9)  # Eq. 6
        assert mixture.sum() / 100 == pytest.approx(1, abs=1e-3)


def test_one_basis_is_one_column(tmp_path):
    figure = basis_figure([0.5, 0.5], bases={"narrow": Gaussian(0.1)}, path=tmp_path / "bases.pdf")
    assert [ax.get_title() for ax in figure.axes] == ["narrow", ""]
    assert (tmp_path / "bases.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("wrong", [[1.0], [], [0, 0], [1, -1], [1, np.nan], [[1, 2]]])
def test_a_map_that_is_none_is_an_error(wrong):
    with pytest.raises(ValueError, match="probabilities: expected at least 2 that are not negative nor all 0"):
        basis_figure(wrong)


def test_bases_that_are_none_are_an_error():
    with pytest.raises(ValueError, match="bases: expected at least one, got none"):
        basis_figure(bases={})
    with pytest.raises(ValueError, match="sigma: expected values > 0, for a density"):
        basis_figure(bases={"sites": Gaussian(0.0)})
