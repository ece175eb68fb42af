import json

import pytest

from pcsargmax.io.landmarks import (
    is_landmark_table,
    read_landmark_table,
    read_landmarks,
    read_length_unit,
    stem_of,
)

LONG = "file,name,x,y,z\nB03.ply,L1,1,2,3\nB03.ply,L2,4,5,6e-1\nD09.ply,L1,7,8,9\n"
ENTRY = {
    "class_id": "03797390",
    "model_id": "abc",
    "keypoints": [{"xyz": [1, 2, 3], "semantic_id": 10}, {"xyz": [4, 5, 6.5], "semantic_id": 2}],
}


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def plain(table):
    return {stem: {name: place.tolist() for name, place in landmarks.items()} for stem, landmarks in table.items()}


EXPECTED = {"B03": {"L1": [1, 2, 3], "L2": [4, 5, 0.6]}, "D09": {"L1": [7, 8, 9]}}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_long_csv(file, delimiter):
    path = file("all.csv", LONG.replace(",", delimiter))
    assert plain(read_landmark_table(path)) == EXPECTED
    assert is_landmark_table(path) is True


def test_long_csv_with_other_columns_absences_and_quotes(file):
    text = (
        "﻿visible, x, y, z, name, file, confidence\n"
        "1,1,2,3,L1,meshes/B03.ply,0.5\nTrue,4,5,0.6,L2,B03,\n\n"
        '0,1,1,1,L3,B03.ply,\nFalse,1,1,1,L4,B03.ply,\n,,,,L5,B03.ply,\n,nan,NaN,nan,L6,B03.ply,\n,7,8,9,L1,"D09.ply",1\n'
    )
    assert plain(read_landmark_table(file("all.csv", text))) == EXPECTED


def test_wide_csv(file):
    text = "file,L1_x,L1_y,L1_z,L2_x,L2_y,L2_z,age\nB03.ply,1,2,3,4,5,.6,7\nD09,7,8,9,,,,8\n"
    path = file("all.csv", text)
    assert plain(read_landmark_table(path)) == EXPECTED
    assert is_landmark_table(path) is True


def test_csv_of_one_mesh(file):
    path = file("B03.csv", "name,x,y,z\nL1,1,2,3\nL2,4,5,.6\n")
    assert {k: v.tolist() for k, v in read_landmarks(path).items()} == EXPECTED["B03"]
    assert is_landmark_table(path) is False
    with pytest.raises(ValueError, match=r"B03\.csv: expected a column file"):
        read_landmark_table(path)
    with pytest.raises(ValueError, match=r"all\.csv: landmarks of several files"):
        read_landmarks(file("all.csv", LONG))


def test_keypointnet_annotations(file):
    path = file("mug.json", [ENTRY, {"model_id": "none", "keypoints": []}])
    assert plain(read_landmark_table(path)) == {"abc": {"10": [1, 2, 3], "2": [4, 5, 6.5]}, "none": {}}
    assert is_landmark_table(path) is True


@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("a.mrk.json", "anything", False),
        ("a.fcsv", "anything", False),
        ("a.json", {"markups": []}, False),
        ("a.json", {"version": 1}, None),
        ("a.json", [], None),
        ("a.json", [1, 2], None),
        ("a.csv", "file,split\na,train\n", None),
        ("a.csv", "a_x,a_y,a_z\n1,2,3\n", None),
        ("a.csv", "", None),
        ("a.txt", "", None),
    ],
)
def test_what_kind_a_file_is(file, name, content, answer):
    assert is_landmark_table(file(name, content)) is answer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            LONG.replace("4,5", "four,5"),
            r"all\.csv:3 \(L2\): expected a position of 3 finite numbers, got \['four', '5'",
        ),
        (LONG.replace("4,5", ",5"), r"all\.csv:3 \(L2\): expected a position of 3 finite numbers"),
        (LONG.replace("4,5", "inf,5"), r"all\.csv:3 \(L2\): expected a position of 3 finite numbers"),
        (LONG.replace("4,5", "4"), r"all\.csv:3: expected 5 values, got 4"),
        (LONG.replace("L2", "L1"), r"all\.csv:3: the landmark 'L1' comes a second time"),
        (LONG.replace("D09.ply", ""), r"all\.csv:4: the column file is empty"),
        (
            LONG.replace("name", "label"),
            r"all\.csv:1: expected the columns file, name, x, y, z, or file, <name>_x",
        ),
        (LONG.replace("file,name", "x,name"), r"all\.csv:1: expected the columns .* each once"),
        ("", r"all\.csv:1: expected the columns"),
        ("file,a_x,a_y,a_z\nb,1,2,3\nb,1,2,3\n", r"all\.csv:3: the landmark 'a' comes a second time"),
    ],
)
def test_bad_csv_is_named_with_its_line(file, content, message):
    with pytest.raises(ValueError, match=message):
        read_landmark_table(file("all.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"model_id": }]', r"all\.json:2: malformed JSON"),
        ({}, r"all\.json: expected KeypointNet's annotations, a list of objects"),
        ([3], r"all\.json: entry 1: expected an object with model_id and a list of keypoints"),
        ([{**ENTRY, "model_id": 3}], r"entry 1: expected an object with model_id"),
        ([ENTRY, ENTRY], r"all\.json: entry 2: 'abc' comes a second time"),
        (
            [{**ENTRY, "keypoints": [{"xyz": [1, 2, 3]}]}],
            r"entry 1 \(abc\): expected keypoints with semantic_id and xyz",
        ),
        (
            [{**ENTRY, "keypoints": [{"semantic_id": 1}]}],
            r"entry 1 \(abc\), 1: expected a position of 3 finite numbers",
        ),
        (
            [{**ENTRY, "keypoints": ENTRY["keypoints"] * 2}],
            "entry 1 .*: the landmark '10' comes a second time",
        ),
    ],
)
def test_bad_annotations_are_named(file, content, message):
    with pytest.raises(ValueError, match=message):
        read_landmark_table(file("all.json", content))


def test_unknown_kinds_are_named(file):
    with pytest.raises(ValueError, match=r"a\.txt: unknown kind of landmark file, expected one of \.mrk\.json"):
        read_landmarks(file("a.txt", ""))
    with pytest.raises(ValueError, match='mesh_frame: expected "LPS" or "RAS", got \'XYZ\''):
        read_landmarks(file("a.fcsv", ""), mesh_frame="XYZ")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("B03.ply", "B03"),
        ("a/b\\B03.mrk.json", "B03"),
        ("B03.PLY", "B03"),
        ("B03.v2.obj", "B03.v2"),
        ("B03", "B03"),
        ("B03.5", "B03.5"),
        (" B03.fcsv", "B03"),
    ],
)
def test_stems(name, stem):
    assert stem_of(name) == stem


def test_empty_numbers_and_further_columns_of_a_table(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text('file,name,x,y,z,confidence\na.ply,L1,1,2,3,0.25\n"b, c.ply",L1,,,,0.5\n"b, c.ply",L2,7,8,1e-9,\n')
    assert plain(read_landmark_table(path)) == {"a": {"L1": [1, 2, 3]}, "b, c": {"L2": [7, 8, 1e-9]}}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([{}], "mm"),  # by the definition of the format
        ([{"coordinateUnits": "mm"}, {}], "mm"),
        ([{"coordinateUnits": "um"}], "um"),
        ([{"coordinateUnits": ["mm", "UCUM", "millimeter"]}], "mm"),
        ([{"coordinateUnits": "um"}, {}], None),
        ([{"coordinateUnits": " "}], None),
        ([{"coordinateUnits": None}], None),
        ([{"coordinateUnits": []}], None),
        ([], None),
    ],
)
def test_the_unit_of_a_markups_file(file, units, expected):
    content = {"markups": [{"type": "Fiducial", "controlPoints": []} | unit for unit in units]}
    assert read_length_unit(file("B03.mrk.json", content)) == expected
    assert read_length_unit(file("B03.json", content)) == expected


def test_the_unit_of_other_landmark_files(file):
    assert read_length_unit(file("B03.fcsv", "# CoordinateSystem = LPS\n")) == "mm"
    assert read_length_unit(file("all.csv", LONG)) is None
    assert read_length_unit(file("mug.json", [ENTRY])) is None
    assert read_length_unit(file("settings.json", {"epochs": 3})) is None
