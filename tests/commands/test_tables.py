import json

import pytest
from reference.benchmark_results import several_results, write_results

from pcsargmax.benchmark.formats import FORMATS
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.tables import make_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), several_results())


def test_tables_are_printed_within_80_columns(cli, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("tables", folder, "--against", "soft", "--bootstrap", "50")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    for text in ("PCK@0.01 of the expectation", "Dual alignment score above chance", "Pearson's r", "N_s = 30"):
        assert text in result.stdout


@pytest.mark.parametrize("form", ["csv", "json", "latex", "markdown"])
def test_options_reach_the_tables(cli, folder, form):
    options = ("--table", "pck", "--data", "mug, bed", "--methods", "soft,sampling-10", "--estimate", "snapped")
    more = ("--threshold", "0.005", "--against", "soft", "--bootstrap", "50", "--seed", "3", "--format", form)
    result = cli("tables", folder, *options, *more)
    expected = make_tables(
        open_results([folder]),
        "pck",
        data=("mug", "bed"),
        methods=("soft", "sampling-10"),
        estimate="snapped",
        threshold=0.005,
        against="soft",
        num_bootstrap=50,
        seed=3,
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == FORMATS[form](expected)


def test_a_file_is_written(cli, folder, tmp_path):
    out = tmp_path / "new" / "table.json"
    result = cli("tables", folder, "--table", "das", "--format", "json", "--out", out, "--bootstrap", "20")
    assert result.stdout.replace("\n", "") == str(out)
    assert [table["name"] for table in json.loads(out.read_text())] == ["das", "das"]
    text = tmp_path / "table.txt"
    cli("tables", folder, "--out", text, "--bootstrap", "20")
    assert text.read_text().endswith(".\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "html"), "format must be one of text, csv, json, latex, markdown, got 'html'"),
        (("--table", "7"), "table must be one of pck"),
        (("--data", "mgu"), "data must be of KeypointNet or the results, chair, mug, got 'mgu'"),
        (("--against", "best"), "methods must be among those of the results"),
        (("--estimate", "template"), "estimate must be one of expectation, snapped"),
    ],
)
def test_a_mistake_is_one_line(cli_error, folder, tmp_path, options, message):
    assert message in cli_error("tables", folder, *options, "--out", tmp_path / "x.txt")
    assert not (tmp_path / "x.txt").exists()


def test_a_table_is_not_written_among_the_results(cli_error, folder):
    for results in (folder, next(folder.glob("*.json"))):
        message = cli_error("tables", results, "--format", "json", "--out", folder / "table.json")
        assert "out must not be a .json file among the results" in message
    assert not (folder / "table.json").exists()


def test_a_folder_without_results_is_one_line(cli_error, tmp_path):
    assert f"no results (*.json) in {tmp_path}" in cli_error("tables", tmp_path)
    assert f"{tmp_path / 'none'}: no such file or folder" in cli_error("tables", tmp_path / "none")
