import json

import numpy as np
import pytest

from pcsargmax.io.landmarks import read_landmarks, write_markups

FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,1.5,-2,3e1,0,0,0,1,1,1,0,L1,,
vtkMRMLMarkupsFiducialNode_2,4,5,6,0,0,0,1,1,1,0,"tip, left",text,vtkMRMLScalarVolumeNode1
"""


def point(name, position, **more):
    return {"id": "7", "label": name, "position": position, **more}


def markups(*nodes):
    return {"markups": [{"type": "Fiducial", **node} for node in nodes]}


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def plain(landmarks):
    return {name: position.tolist() for name, position in landmarks.items()}


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
@pytest.mark.parametrize("system", ["LPS", "RAS", 0, 1, "0", "1", None])
def test_markups_come_in_the_frame_of_the_mesh(file, system, frame):
    node = {"controlPoints": [point("L1", [1.5, -2, 30])]}
    if system is not None:
        node["coordinateSystem"] = system
    same = (system in ("LPS", 1, "1", None)) == (frame == "LPS")
    expected = {"L1": [1.5, -2, 30] if same else [-1.5, 2, 30]}
    assert plain(read_landmarks(file("a.mrk.json", markups(node)), mesh_frame=frame)) == expected
    assert plain(read_landmarks(file("a.json", markups(node)), mesh_frame=frame)) == expected


@pytest.mark.parametrize(("system", "sign"), [("LPS", 1), ("1", 1), ("RAS", -1), ("0", -1)])
def test_fcsv(file, system, sign):
    landmarks = read_landmarks(file("a.fcsv", FCSV.format(system=system)))
    assert plain(landmarks) == {"L1": [sign * 1.5, sign * -2, 30], "tip, left": [sign * 4, sign * 5, 6]}
    assert landmarks["L1"].dtype == np.float64


def test_fcsv_points_that_are_not_defined_are_absent(file):
    rows = FCSV.format(system="LPS").splitlines()[:3] + [
        f"{i},1,2,3,0,0,0,1,1,1,0,P{i},,,{status},0" for i, status in enumerate((0, 1, 2, 3))
    ]
    assert list(read_landmarks(file("a.fcsv", "\n".join(rows)))) == ["P2"]


def test_nodes_are_put_together_and_undefined_points_left_out(file):
    content = markups(
        {
            "coordinateSystem": "LPS",
            "controlPoints": [
                point("a", [1, 2, 3], positionStatus="defined"),
                point("b", [0, 0, 0], positionStatus="undefined"),
                point("b2", None, positionStatus="missing"),
            ],
        },
        {
            "coordinateSystem": "RAS",
            "controlPoints": [point("c", [1, 2, 3]), {"id": "9", "position": [4, 5, 6]}],
        },
        {"type": "ROI"},
    )
    expected = {"a": [1, 2, 3], "c": [-1, -2, 3], "9": [-4, -5, 6]}
    assert plain(read_landmarks(file("a.mrk.json", content))) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"markups": [\n{"controlPoints": [,]}]}', r"a\.mrk\.json:2: malformed JSON: .*\(column 20\)"),
        ('{"markups": [', r"a\.mrk\.json:1: malformed JSON"),
        ("", r"a\.mrk\.json:1: malformed JSON"),
        ("[" * 100_000, r"a\.mrk\.json: malformed JSON: nested too deeply"),
        ([], r"a\.mrk\.json: expected 3D Slicer markups, an object with a list named markups"),
        ({"markups": 3}, "an object with a list named markups"),
        ({"markups": [3]}, "each markup to be an object with a list named controlPoints"),
        (markups({"controlPoints": [3]}), "control point 1: expected an object, got 3"),
        (
            markups({"controlPoints": [{"position": [1, 2, 3]}]}),
            "control point 1: has neither a label nor an id",
        ),
        (
            markups({"controlPoints": [point("a", [1, 2])]}),
            r"point 1 \(a\): expected a position of 3 finite numbers",
        ),
        (
            markups({"controlPoints": [point("a", "123")]}),
            r"point 1 \(a\): expected a position of 3 finite numbers",
        ),
        (
            markups({"controlPoints": [point("a", [1, 2, float("nan")])]}),
            "expected a position of 3 finite numbers",
        ),
        (markups({"controlPoints": [point("a", None)]}), "expected a position of 3 finite numbers"),
        (
            markups({"controlPoints": [point("a", [1, 2, 3])] * 2}),
            "point 2: the landmark 'a' comes a second time",
        ),
        (markups(*[{"controlPoints": [point("a", [1, 2, 3])]}] * 2), "the landmark 'a' comes a second time"),
        (markups({"coordinateSystem": "IJK", "controlPoints": []}), "expected LPS, RAS, 0 .* got 'IJK'"),
    ],
)
def test_bad_markups_are_named(file, content, message):
    with pytest.raises(ValueError, match=message):
        read_landmarks(file("a.mrk.json", content))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "1.5",
            "one",
            r"a\.fcsv:4 \(L1\): expected a position of 3 finite numbers, got \['one', '-2', '3e1'\]",
        ),
        ("1,1.5,-2,3e1,0,0,0,1,1,1,0,L1,,", "1,1.5", r"a\.fcsv:4 \(1\): expected a position"),
        ('"tip, left"', "L1", r"a\.fcsv:5: the landmark 'L1' comes a second time"),
        ("# CoordinateSystem = LPS\n", "", r"a\.fcsv:3: expected header lines '# CoordinateSystem = '"),
        ("LPS", "IJK", r"a\.fcsv:2: coordinate system: expected LPS"),
        ("id,x,y,z", "id,r,a,s", r"a\.fcsv:4: expected header lines"),
        (
            "1,1.5,-2,3e1,0,0,0,1,1,1,0,L1,,",
            ",1.5,-2,3e1,0,0,0,1,1,1,0,,,",
            r"a\.fcsv:4: has neither a label nor an id",
        ),
    ],
)
def test_bad_fcsv_is_named_with_its_line(file, old, new, message):
    content = FCSV.format(system="LPS")
    assert old in content
    with pytest.raises(ValueError, match=message):
        read_landmarks(file("a.fcsv", content.replace(old, new)))


def test_files_that_are_no_text_are_named(tmp_path):
    (tmp_path / "a.fcsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.fcsv: not a text file \(UTF-8\)"):
        read_landmarks(tmp_path / "a.fcsv")
    with pytest.raises(ValueError, match=r"b\.fcsv: cannot be read"):
        read_landmarks(tmp_path / "b.fcsv")


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_written_markups_are_read_back(tmp_path, frame):
    positions = np.array([[1e6 + 0.123456789, 2, 3], [np.nan, 0, 0], [4, 5, 6], [7, 8, 9]])
    path = tmp_path / "sub" / "a.mrk.json"
    write_markups(
        path,
        ["Nase é", "b", "c", "d"],
        positions,
        descriptions=["confidence 0.5", "", "", ""],
        visible=[True, True, False, True],
        frame=frame,
    )
    assert plain(read_landmarks(path, mesh_frame=frame)) == {"Nase é": positions[0].tolist(), "d": [7, 8, 9]}
    node = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
    assert (node["type"], node["coordinateSystem"]) == ("Fiducial", frame)
    assert [p["positionStatus"] for p in node["controlPoints"]] == [
        "defined",
        "undefined",
        "undefined",
        "defined",
    ]
    assert node["controlPoints"][0]["description"] == "confidence 0.5"
    assert [path.name for path in path.parent.iterdir()] == ["a.mrk.json"]


def test_writing_nonsense_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"positions: expected \(2, 3\) for 2 names, got \(1, 3\)"):
        write_markups(tmp_path / "a.mrk.json", ["a", "b"], np.zeros((1, 3)))
    with pytest.raises(ValueError, match="frame: expected"):
        write_markups(tmp_path / "a.mrk.json", ["a"], np.zeros((1, 3)), frame="IJK")
    assert list(tmp_path.iterdir()) == []


def test_the_unit_of_length_is_written(tmp_path):
    for unit in ("mm", "um"):
        write_markups(tmp_path / "a.mrk.json", ["tip"], np.zeros((1, 3)), unit=unit)
        (node,) = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
        assert node["coordinateUnits"] == unit
