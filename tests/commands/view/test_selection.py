from types import SimpleNamespace

import pytest

from pcsargmax.commands.view.selection import check_counts, chosen, print_seen, run_titles


def test_a_part_is_chosen_by_its_first_number_and_its_length():
    assert chosen("abcd", 2, 2, "shapes") == "bc"
    assert chosen("abcd", 3, 0, "shapes") == "cd"
    assert chosen("abcd", 4, 9, "shapes") == "d"


@pytest.mark.parametrize(
    ("first", "count", "message"),
    [
        (0, 1, "first must be 1 to 4, the number of images, got 0"),
        (5, 1, "first must be 1 to 4, the number of images, got 5"),
        (1, -1, "count must not be negative, got -1"),
    ],
)
def test_a_part_that_is_not_there_is_refused(first, count, message):
    with pytest.raises(ValueError, match=message):
        chosen("abcd", first, count, "images")


def test_too_many_items_for_one_file_are_refused():
    check_counts(["save", "turntable"], 5000, "shapes")
    check_counts(["sheet", "html"], 100, "shapes")
    with pytest.raises(ValueError, match="--sheet holds 100 shapes at most, got 101: choose with --first and --count"):
        check_counts(["sheet"], 101, "shapes")
    with pytest.raises(ValueError, match="--html holds 400 images at most, got 401"):
        check_counts(["html"], 401, "images")


def test_what_a_supervised_run_has_seen_is_said(capsys):
    run = SimpleNamespace(folder="runs/a", trained_on=frozenset("ab"), supervised=True)
    print_seen(run, "cd", "shapes")
    print_seen(SimpleNamespace(**vars(run) | {"supervised": False}), "abc", "shapes")
    assert capsys.readouterr().err == ""
    print_seen(run, "abc", "shapes")
    assert capsys.readouterr().err.strip() == "runs/a: 2 of 3 shapes were seen in training"


def test_two_runs_are_named_by_what_tells_them_apart(tmp_path):
    def run(name: str, method: str, checkpoint: str = "best.ckpt") -> SimpleNamespace:
        return SimpleNamespace(folder=tmp_path / name, checkpoint=tmp_path / name / checkpoint, method=method)

    def titles(*runs: SimpleNamespace) -> tuple[str, str]:
        return run_titles(runs, "mugs", lambda one: one.method)

    assert titles() == ("mugs", "")
    assert titles(run("a", "soft")) == ("a", "")
    assert titles(run("a", "soft"), run("b", "sampling")) == ("soft", "sampling")
    assert titles(run("a", "soft"), run("b", "soft")) == ("a", "b")
    last = run("a", "soft", "last.ckpt")
    assert titles(run("a", "soft"), last) == (str(tmp_path / "a" / "best.ckpt"), str(last.checkpoint))
