import csv
import io
import json
import re

import pytest
from reference.benchmark_results import detector_result, several_results, write_results

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.formats import FORMATS, as_csv, as_json, as_latex, as_markdown, as_text
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.tables import make_tables


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return open_results([write_results(tmp_path_factory.mktemp("results"), several_results())])


@pytest.fixture(scope="module")
def tables(results):
    return make_tables(results, num_bootstrap=50, against="soft")


@pytest.fixture(scope="module")
def wide(results):
    return make_tables(results, "pck", data=paper.CATEGORIES, num_bootstrap=50)


def first_cell(tables):
    return tables[0].rows[0].cells[0]


def test_a_terminal_gets_numbers_intervals_differences_and_the_paper(tables):
    text = as_text(tables[:1], 100)
    lines = [line.split() for line in text.splitlines()]
    cell = first_cell(tables)
    assert lines[0] == tables[0].title.split()
    assert ["chair", "mug", "mean"] in lines
    ours = next(line for line in lines if line[:1] == ["soft-argmax"])
    assert ours[1:5] == [f"{cell.mean:.1f}", "±", f"{cell.deviation:.1f}", "▲"]
    assert f"[{cell.low:.1f}, {cell.high:.1f}]" in text
    assert ["paper", "37.2", "23.9", "30.6"] in lines
    found = tables[0].rows[1].cells[0].against
    assert f"+{found.difference:.1f}* [{found.low:.1f}, {found.high:.1f}]" in text
    assert "minus soft-argmax" in text
    assert "By its interval, ours is above the paper's (▲)" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_that_is_narrow_gets_all_columns_below_each_other(wide, width):
    text = as_text(wide, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for name in paper.CATEGORIES:
        assert len(re.findall(rf"(?m)^ .*\b{name}\b", text)) == 1
    assert len(re.findall("(?m)^ soft-argmax", text)) == text.count("───\n")
    assert re.search("(?m)paper .*37.2", text)


def test_where_there_is_little_room_labels_break_and_figures_do_not(tables):
    text = as_text(tables[:1], 34)
    assert "…" not in text
    assert f"[{first_cell(tables).low:.1f}, {first_cell(tables).high:.1f}]" in text


def test_no_sign_is_explained_that_is_not_there(results):
    assert "▲" not in as_text(make_tables(results, "pck", threshold=0.02, num_bootstrap=5))


def test_csv_holds_every_number(tables):
    rows = list(csv.DictReader(io.StringIO(as_csv(tables))))
    (ours,) = [row for row in rows if (row["table"], row["row"], row["column"]) == ("pck", "sampling, N_s = 10", "mug")]
    cell = tables[0].rows[1].cells[1]
    names = ("mean", "deviation", "low", "high")
    assert [float(ours[name]) for name in names] == pytest.approx([getattr(cell, name) for name in names], rel=1e-5)
    assert (ours["seeds"], ours["shapes"], ours["paper"]) == ("0 1 2", "12", "18.2")
    assert (ours["verdict"], ours["against"]) == ("above", "soft-argmax")
    tested = [float(ours[name]) for name in ("difference", "difference_low", "difference_high", "p")]
    assert tested == pytest.approx(list(cell.against), rel=1e-5)
    (missing,) = [
        row for row in rows if (row["table"], row["row"], row["column"]) == ("pck", "sampling, N_s = 30", "chair")
    ]
    assert (missing["mean"], missing["seeds"], missing["paper"], missing["verdict"]) == ("", "", "39.2", "")
    assert None not in {value for row in rows for value in row.values()}


def test_json_holds_everything(tables):
    content = json.loads(as_json(tables))
    assert [one["name"] for one in content] == [table.name for table in tables]
    first, table = content[0], tables[0]
    assert (first["columns"], first["notes"]) == (list(table.columns), list(table.notes))
    cell, expected = first["rows"][1]["cells"][0], table.rows[1].cells[0]
    assert (cell["mean"], cell["low"], cell["verdict"]) == (expected.mean, expected.low, "above")
    assert cell["values"] == {str(seed): value for seed, value in expected.values.items()}
    assert cell["against"] == expected.against._asdict()
    assert first["rows"][2]["cells"][0] is None
    assert first["rows"][2]["paper"] == list(table.rows[2].paper)


def markdown_rows(text):
    """The rows of all Markdown tables, as lists of cells."""
    return [[part.strip() for part in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "]


def test_markdown_is_a_table_with_the_best_in_bold(tables):
    text = as_markdown(tables[:1])
    lines = text.splitlines()
    assert lines[0] == f"**{tables[0].title}**"
    assert lines[2:4] == ["| | chair | mug | mean |", "|---|---|---|---|"]
    cell = tables[0].rows[1].cells[0]
    rows = markdown_rows(text)[1:]
    assert rows[2][1] == f"**{cell.mean:.1f}** ± {cell.deviation:.1f} ▲<br><sub>[{cell.low:.1f}, {cell.high:.1f}]</sub>"
    assert rows[1] == ["*paper*", "*37.2*", "*23.9*", "*30.6*"]
    assert [row[0] for row in rows[2:5]] == ["sampling, N_s = 10", "minus soft-argmax", "*paper*"]
    assert all(row[1].count(r"\*") == 1 for row in rows if row[0].startswith("minus") and row[1])
    assert text.count("**") == 2 + 2 * 3


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_every_row_has_every_column(tables, wide, form):
    for table in [*tables, *wide]:
        text = FORMATS[form]([table])
        if form == "markdown":
            counts = {line.count("|") for line in text.splitlines() if line.startswith("|")}
            assert counts == {len(table.columns) + 2}
        else:
            body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
            rows = [line for line in body.splitlines() if line.endswith(r"\\")]
            assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.columns)}
            assert rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}" in text


def test_latex_is_booktabs_and_closed(tables, wide):
    text = as_latex([*tables, *wide])
    opened = re.findall(r"\\(begin|end)\{([a-z*]+)\}", text)
    stack = []
    for what, name in opened:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    assert {"table", "table*", "tabular"} == {name for _, name in opened}
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == len(tables) + len(wide)
    assert r"\hline" not in text
    assert text.isascii()
    unescaped = re.sub(r"\\[{}%&#_$]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert unescaped.count("$") % 2 == 0
    # Outside of mathematics _ and ^ are errors, and % would hide the rest of its line.
    outside = re.sub(r"\$[^$]*\$", "", unescaped)
    assert not re.search("[_^%#]", outside)


def test_latex_mathematics_can_be_set(tables):
    from matplotlib.mathtext import MathTextParser

    text = as_latex(tables)
    found = set(re.findall(r"\$[^$]*\$", text))
    assert {r"$\pm$", r"$\uparrow$", "$N_s = 10$", "$-$"} <= found
    for formula in found:
        MathTextParser("path").parse(formula)
    cell = tables[0].rows[1].cells[0]
    assert rf"\textbf{{{cell.mean:.1f}}} $\pm$ {cell.deviation:.1f} $\uparrow$" in text


def test_latex_escapes_names(tmp_path):
    results = [detector_result(data="100%_of & {my} #1"), detector_result(data="100%_of & {my} #1", seed=1)]
    for number, result in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(result))
    text = as_latex(make_tables(open_results([tmp_path]), "pck", num_bootstrap=5))
    assert r"100\%\_of \& \{my\} \#1 \\" in text


def test_a_single_number_is_not_the_best(tmp_path):
    tables = make_tables(open_results([write_results(tmp_path, [detector_result()])]), "pck", num_bootstrap=5)
    assert as_markdown(tables).count("**") == 2
    assert "±" not in as_markdown(tables).partition("\n\n")[2].partition("\n\n")[0]


def test_several_tables_are_parted(tables):
    assert as_latex(tables).count(r"\begin{table}") == len(tables)
    assert as_markdown(tables).count("|---") == sum(1 + len(table.columns) for table in tables)
    assert set(FORMATS) == {"text", "csv", "json", "latex", "markdown"}
