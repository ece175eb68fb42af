import json

import pytest

from pcsargmax.datasets.splits import find_split_file, read_splits, split_by_share

EXPECTED = {"a": "train", "b": "train", "c": "test"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", json.dumps({"train": ["a.ply", "sub/b.obj"], "test": ["c"]})),
        ("s.json", json.dumps({"a.ply": "train", "b": "train", "c": "test"})),
        ("s.csv", "file,split,age\na.ply,train,1\nb,train,2\nc.mrk.json,test,3\n"),
        ("s.txt", "# mine\na.ply train\nb\ttrain\n\nc.ply  test # last\n"),
    ],
)
def test_forms(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_splits(tmp_path / name) == EXPECTED


@pytest.mark.parametrize("under", [".", "splits"])
def test_a_folder_of_lists(tmp_path, under):
    folder = tmp_path / under
    folder.mkdir(exist_ok=True)
    (folder / "train.txt").write_text("a.ply\nb\n")
    (folder / "test.txt").write_text("c.ply\n")
    assert find_split_file(tmp_path) == folder
    assert read_splits(folder) == EXPECTED
    (tmp_path / "splits.json").write_text("{}")
    assert find_split_file(tmp_path) == tmp_path / "splits.json"


def test_no_split_file(tmp_path):
    assert find_split_file(tmp_path) is None
    with pytest.raises(ValueError, match=r"expected train\.txt, val\.txt or test\.txt in this folder"):
        read_splits(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", "{\n,", r"s\.json:2: malformed JSON"),
        ("s.json", "[1]", r's\.json: expected \{"train": \[files\]'),
        ("s.json", '{"train": [1]}', r's\.json: expected \{"train": \[files\]'),
        (
            "s.json",
            '{"train": ["a.ply"], "val": ["a.obj"]}',
            r"s\.json: 'a' is in two splits, 'train' and 'val'",
        ),
        ("s.csv", "name,split\na,train\n", r"s\.csv:1: expected the columns file and split"),
        ("s.csv", "file,split\na,train\nb,\n", r"s\.csv:3: expected a file and its split"),
        ("s.txt", "a train\nb\n", r"s\.txt:2: expected a file and its split, as in 'a\.ply train', got 'b'"),
        ("s.txt", "a train\na test\n", r"s\.txt:2: 'a' is in two splits"),
        ("s.xml", "", r"s\.xml: unknown kind of split file"),
    ],
)
def test_bad_split_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_splits(tmp_path / name)


def counts(splits):
    return [list(splits.values()).count(split) for split in ("train", "val", "test")]


@pytest.mark.parametrize(
    ("n", "shares", "expected"),
    [
        (10, (0.7, 0.1, 0.2), [7, 1, 2]),
        (78, (2, 0, 1), [52, 0, 26]),
        (5, (0.7, 0.1, 0.2), [3, 1, 1]),
        (1, (0.7, 0.1, 0.2), [1, 0, 0]),
        (3, (0, 0, 1), [0, 0, 3]),
        (7, (0, 1, 1), [0, 3, 4]),
    ],
)
def test_shares(n, shares, expected):
    assert counts(split_by_share([f"m{i}" for i in range(n)], shares, seed=0)) == expected


def test_the_split_depends_on_names_and_seed_not_on_their_order():
    stems = [f"m{i}" for i in range(50)]
    split = split_by_share(stems, (0.7, 0.1, 0.2), seed=3)
    assert split == split_by_share(stems[::-1], (0.7, 0.1, 0.2), seed=3)
    assert split != split_by_share(stems, (0.7, 0.1, 0.2), seed=4)
    assert set(split) == set(stems)


@pytest.mark.parametrize("shares", [(1, 1), (0, 0, 0), (1, -1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1)])
def test_bad_shares_are_named(shares):
    with pytest.raises(ValueError, match="shares: expected three numbers of 0 or more, not all 0, got"):
        split_by_share(["a"], shares, seed=0)
