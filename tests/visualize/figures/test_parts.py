import sys

import pytest

from pcsargmax.visualize import basis_figure, probability_figure
from pcsargmax.visualize.figures import save_figure
from pcsargmax.visualize.figures.parts import FORMATS, check_figure_path, empty_figure, folded, method_line


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_the_same_figure_is_the_same_file(tmp_path, form):
    for name in "ab":
        basis_figure(path=tmp_path / f"{name}.{form}")
    assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_text_stays_text(tmp_path):
    basis_figure(path=tmp_path / "a.svg")
    assert ">triangular</text>" in (tmp_path / "a.svg").read_text()
    basis_figure(path=tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Subtype /Type3" not in content  # which journals refuse
    assert b"/Subtype /CIDFontType2" in content


def test_an_ending_that_is_no_format_is_an_error_before_anything_is_drawn(tmp_path, mug):
    for path in ("a.xyz", "a"):
        with pytest.raises(ValueError, match=r"path: expected a file name that ends in one of \.pdf, \.svg, .*; got"):
            check_figure_path(path)
    with pytest.raises(ValueError, match=r"got \.docx"):
        probability_figure({}, keypoint=0, path=tmp_path / "a.docx")
    check_figure_path(None)
    check_figure_path("A.PDF")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_can_be_written(tmp_path, form):
    figure = empty_figure(1, 1)
    figure.add_subplot().plot([0, 1])
    assert save_figure(figure, tmp_path / f"new/a.{form}") is figure
    assert (tmp_path / f"new/a.{form}").stat().st_size > 200
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_lines_are_told_apart_by_more_than_colour():
    for marker in (False, True):
        looks = [tuple(map(str, method_line(number, marker=marker).values())) for number in range(32)]
        assert len(set(looks)) == 32
        plain = [look[1] for look in looks[:4]]
        assert len(set(plain)) == 4


def test_no_figure_stays_in_global_state(mug):
    probability_figure({"soft": mug()}, keypoint=0)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("soft-argmax", ["soft-argmax"]),
        ("sampling, $N_s$ = 10", ["sampling,", "$N_s$ = 10"]),
        ("outer_corner_of_eye", ["outer_", "corner_of_", "eye"]),
        ("unbreakablename of", ["unbreakablename", "of"]),
        ("", [""]),
    ],
)
def test_a_text_is_folded_where_it_can_be(text, lines):
    assert folded(text, 11).split("\n") == lines
