import re

import pytest

from pcsargmax.visualize.report.parts import (
    RUNS,
    Card,
    Cell,
    Table,
    figure_cell,
    interval_text,
    keypoint_cell,
    number_cell,
    run_cell,
    shape_cell,
    told,
)
from pcsargmax.visualize.templates import _environment


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.5914, "share", "59.1 %"),
        (0.0214, "length", "0.0214"),
        (0.001306, "length", "0.00131"),
        (0.00003, "length", "0.00003"),
        (4.2e-7, "length", "4.2e−07"),
        (12.345, "length", "12.3"),
        (1234.5, "length", "1230"),
        (0.0, "length", "0"),
        (-0.3258, "plain", "−0.326"),
        (None, "share", "–"),
        (float("nan"), "length", "–"),
        (float("inf"), "length", "–"),
    ],
)
def test_numbers_are_told_by_their_kind(value, kind, text):
    assert told(value, kind) == text


def test_differences_have_a_sign_and_points_of_per_cent():
    assert told(0.047, "share", signed=True) == "+4.7 pp"
    assert told(-0.047, "share", signed=True) == "−4.7 pp"
    assert told(0.00001, "share", signed=True) == "0.0 pp"
    assert told(-0.00001, "share", signed=True) == "0.0 pp"
    assert told(-0.0001, "plain") == "0.000"
    assert told(0.00131, "length", signed=True) == "+0.00131"


def test_intervals_have_no_unit_and_need_both_ends():
    assert interval_text(0.526, 0.656, "share") == "52.6 to 65.6"
    assert interval_text(-0.01, 0.02, "share", signed=True) == "−1.0 to +2.0"
    assert interval_text(0.5, float("nan"), "share") == ""
    assert interval_text(None, None, "share") == ""


def test_a_figure_comes_with_its_interval():
    values = {
        "pck@0.02": 0.5,
        "pck@0.02/low": 0.4,
        "pck@0.02/high": 0.6,
        "none": None,
        "none/low": 0.1,
        "none/high": 0.2,
    }
    assert figure_cell(values, "pck@0.02", "share") == Cell("50.0 %", "40.0 to 60.0", 0.5)
    assert figure_cell(values, "none", "share") == Cell("–")
    assert figure_cell(values, "other", "share") == Cell("–")
    assert figure_cell(None, "pck@0.02", "share") == Cell("–")
    assert number_cell(float("nan"), "length", 0.1, 0.2) == Cell("–")


def markup(name: str, *values) -> str:
    """What a macro of parts.html.j2 makes of its arguments."""
    module = _environment().get_template("report/templates/parts.html.j2").module
    return str(getattr(module, name)(*values))


def test_a_table_names_its_rows_and_columns_and_escapes_texts():
    rows = [[Cell("<a>"), Cell("1", "0 to 2", 1.0)], [keypoint_cell(1, "<b>"), Cell("2", note='say "x"')]]
    columns = ["", "mean <error>\nsampling & co"]
    text = markup("table", Table(columns, rows, "A & B", "t", marked=[1]))
    assert '<th scope="col">mean &lt;error&gt;<span class="interval">sampling &amp; co</span></th>' in text
    assert (
        '<tr><th scope="row">&lt;a&gt;</th><td data-sort="1.0">1<span class="interval">0 to 2</span></td></tr>' in text
    )
    assert (
        '<tr class="differs"><th scope="row" data-sort="&lt;b&gt;"><span class="dot" style="background:#e69f00">'
        "</span>&lt;b&gt;</th>" in text
    )
    assert '<td title="say &#34;x&#34;">2</td>' in text
    assert '<table aria-label="A &amp; B" id="t">' in text
    assert ">A &amp; B</p>" in text
    assert "<button" not in text


def test_a_sortable_table_has_buttons_for_headings():
    text = markup("table", Table(["a", "b"], [[Cell("1"), Cell("2")]], "", sortable=True))
    assert re.findall(r'<button type="button" class="plain">(.*?)</button>', text) == ["a", "b"]
    assert 'class="sortable"' in text


def test_a_shape_leads_to_its_picture_if_it_has_one():
    button = '<button type="button" class="plain link" data-shape="0">&lt;m&gt;</button>'
    assert markup("inside", shape_cell("<m>", 0)) == button
    assert markup("inside", shape_cell("<m>", None)) == "&lt;m&gt;"


def test_a_row_names_its_run_in_the_colour_of_that():
    assert markup("inside", run_cell("mean", "<s>", 1)) == 'mean, <span class="second">&lt;s&gt;</span>'
    assert markup("inside", run_cell("", "soft", 0)) == '<span class="first">soft</span>'
    assert markup("inside", run_cell("mean", "", 0)) == "mean"


def test_cards_tell_one_run_or_two():
    one = markup("card", Card("PCK", [""], [Cell("50 %", "40 to 60")], "template <1 %"), RUNS)
    assert one.count('class="big"') == 1
    assert "template &lt;1 %" in one
    two = markup("card", Card("PCK", ["sampling", "soft"], [Cell("50 %"), Cell("40 %")]), RUNS)
    assert re.findall(r'class="interval (first|second)">(\w+)<', two) == [("first", "sampling"), ("second", "soft")]


def test_a_chart_says_in_words_what_it_shows():
    text = markup("chart", {"id": "c", "title": "T", "alt": 'rises to "5"', "caption": "how to read it"})
    assert 'id="c" role="img" aria-label="rises to &#34;5&#34;"' in text
    assert "<figcaption" in text
