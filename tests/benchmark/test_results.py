import json
import re
import subprocess
from dataclasses import replace

import pytest

from pcsargmax.benchmark import results
from pcsargmax.benchmark.experiments import plan
from pcsargmax.benchmark.results import (
    BrokenResult,
    commit,
    kept_result,
    machine,
    make_result,
    read_result,
    read_results,
    write_result,
)
from pcsargmax.benchmark.sources import Source

METRICS = {"data": "/somewhere/scans", "settings": {"root": "/data"}, "unit": "raw", "expectation": {"pck@0.01": 0.5}}


@pytest.fixture
def experiment():
    return plan([Source("scans", "/somewhere/scans")], ["sampling-2"], [3], changes={"epochs": 2})[0]


@pytest.fixture
def result(experiment):
    seconds = {"train": 12.3456, "evaluate": None}
    return make_result(experiment, METRICS, seconds, {"cpu": "x", "threads": 1, "device": "cpu"}, "abc")


def test_a_result_holds_what_a_table_needs_and_no_path(result, experiment):
    assert list(result) == list(results._FIELDS)
    told = {name: result[name] for name in ("version", "kind", "data", "method", "seed")}
    assert told == {"version": 1, "kind": "detector", "data": "scans", "method": "sampling-2", "seed": 3}
    assert result["commit"] == "abc"
    assert result["settings"] == experiment.counted
    assert result["seconds"] == {"train": 12.3, "evaluate": None}
    assert result["metrics"] == {"data": "scans", "unit": "raw", "expectation": {"pck@0.01": 0.5}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", result["finished"])
    assert re.match(r"\d+\.\d+", result["versions"]["torch"])
    assert "somewhere" not in json.dumps(result)


def test_a_result_comes_back_from_its_file(result, tmp_path):
    write_result(tmp_path / "new" / "one.json", result)
    assert read_result(tmp_path / "new" / "one.json") == result
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one.json"]
    lines = (tmp_path / "new" / "one.json").read_text().splitlines()
    assert len(lines) == len(result) + 2  # a line a field, so that two results can be compared by eye
    assert lines[4] == '"method":"sampling-2",'


def test_a_number_that_json_does_not_know_is_refused(result, tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path / "one.json", result | {"metrics": {"a": float("nan")}})
    assert not (tmp_path / "one.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one.json: not a result: Expecting value"),
        ('{"version": 1, "kind"', "one.json: not a result: "),
        ("[]", "one.json: not a result: expected an object, got list"),
        ("{}", "one.json: a result of version None, this pcsargmax reads version 1"),
        ('{"version": 2}', "one.json: a result of version 2, this pcsargmax reads version 1"),
        ('{"version": 1}', "one.json: not a result: kind is missing or of another type"),
    ],
)
def test_a_broken_file_is_named(text, message, tmp_path):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(BrokenResult, match=message):
        read_result(tmp_path / "one.json")


def test_folders_and_files_are_read_in_order_without_hidden_ones(result, tmp_path):
    for name in ("b", "a", ".c-half"):
        write_result(tmp_path / "many" / f"{name}.json", result)
    write_result(tmp_path / "one.json", result)
    (tmp_path / "many" / "notes.txt").write_text("")
    found = list(read_results([tmp_path / "one.json", tmp_path / "many"]))
    assert [path.name for path, _ in found] == ["one.json", "a.json", "b.json"]
    assert all(content == result for _, content in found)
    with pytest.raises(FileNotFoundError):
        list(read_results([tmp_path / "none.json"]))


def test_the_result_of_an_experiment_is_found_by_its_settings(result, experiment, tmp_path):
    file = tmp_path / "one.json"
    assert kept_result(file, experiment) is None
    write_result(file, result)
    assert kept_result(file, experiment) == result
    write_result(file, result | {"settings": result["settings"] | {"lr": 0.5}})
    with pytest.raises(
        ValueError, match=r"one.json: a result of other settings, move it away .*: lr: was 0.5, now 0.001"
    ):
        kept_result(file, experiment)


@pytest.mark.parametrize("name", ["kind", "data", "method", "seed", "data_hash"])
def test_the_result_of_another_experiment_is_none_of_this_one(result, experiment, tmp_path, name):
    known = replace(experiment, data_hash="0123")
    write_result(tmp_path / "one.json", result | {"data_hash": "0123"})
    assert kept_result(tmp_path / "one.json", known) is not None
    write_result(tmp_path / "one.json", result | {"data_hash": "0123", name: 7 if name == "seed" else "other"})
    with pytest.raises(ValueError, match=f"{name}: was (7|'other'), now"):
        kept_result(tmp_path / "one.json", known)


def test_an_older_result_does_not_tell_its_data_and_is_kept(result, experiment, tmp_path):
    del result["data_hash"]
    write_result(tmp_path / "one.json", result)
    assert kept_result(tmp_path / "one.json", replace(experiment, data_hash="0123"))["data_hash"] is None


def test_a_broken_file_in_a_folder_comes_with_what_to_do(tmp_path):
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(BrokenResult, match=r"other.json: not a result: .*; move it away, or name the result files"):
        list(read_results([tmp_path]))


def test_a_setting_that_came_later_is_no_difference(result, experiment, tmp_path):
    older = {name: value for name, value in result["settings"].items() if name != "mirror"}
    write_result(tmp_path / "one.json", result | {"settings": older})
    assert kept_result(tmp_path / "one.json", experiment) is not None


def test_the_commit_is_that_of_the_package(monkeypatch, tmp_path):
    def git(*arguments):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "pcsargmax"
    (package / "benchmark").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(results, "__file__", str(package / "benchmark" / "results.py"))
    assert commit() is None  # no repository
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "first")
    assert commit() is None  # a repository that the package is not part of, such as one with an environment in it
    git("add", ".")
    git("commit", "--quiet", "-m", "second")
    assert commit() == git("rev-parse", "HEAD")
    (tmp_path / "README").write_text("outside the package")
    assert commit() == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert commit() == git("rev-parse", "HEAD") + "+changed"


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_the_machine_is_described():
    told = machine(3, "cpu")
    assert (told["threads"], told["device"]) == (3, "cpu")
    assert told["cpu"]
