import csv
import dataclasses
import json

import numpy as np
import pytest

from pcsargmax.predictions.cloud import (
    FORMATS,
    Prediction,
    Skeleton,
    Surface,
    SymmetryMark,
    load_prediction,
    write_predictions,
)

#: What the CSV says of the point on a mesh, behind all that older readers know.
SURFACE_COLUMNS = ["face", "vertex_a", "vertex_b", "vertex_c", "barycentric_a", "barycentric_b", "barycentric_c"]
SURFACE_COLUMNS += ["surface_x", "surface_y", "surface_z", "surface_distance"]


def test_fields_become_arrays_of_their_types(prediction):
    assert prediction.confidence.dtype == np.float64
    assert prediction.probability.dtype == np.float32
    assert prediction.point_index.dtype == np.int64
    assert prediction.num_keypoints == 2
    np.testing.assert_allclose(prediction.error, [np.sqrt(3) / 8, np.nan])
    assert dataclasses.replace(prediction, truth=None).error is None


def test_what_is_not_known_stays_none(prediction):
    bare = dataclasses.replace(prediction, truth=None)
    assert [bare.truth, bare.color, bare.file_index, bare.radius, bare.samples] == [None] * 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("points", np.zeros((3, 2)), r"points: expected shape \(3, 3\), got \(3, 2\)"),
        ("points", np.full((3, 3), np.nan), "points: expected finite"),
        ("points", np.zeros((0, 3)), "at least one point"),
        ("keypoint_names", (), "at least one point and one keypoint name"),
        ("position", np.zeros((3, 3)), r"position: expected shape \(2, 3\), got \(3, 3\)"),
        ("position", np.full((2, 3), np.inf), "position: expected finite"),
        ("confidence", None, r"Prediction 'scan é': confidence: expected shape \(2,\), got \(\)"),
        ("confidence", [1.0], r"confidence: expected shape \(2,\), got \(1,\)"),
        ("covariance", np.zeros((2, 3)), r"covariance: expected shape \(2, 3, 3\)"),
        ("visibility", 1.0, r"visibility: expected shape \(2,\), got \(\)"),
        ("point_index", [0, 3], r"point_index: expected 0 to 2, got \[0, 3\]"),
        ("point_index", [-1, 0], "point_index: expected 0 to 2"),
        ("probability", np.zeros((3, 2)), r"probability: expected shape \(2, 3\)"),
        ("truth", np.zeros((1, 3)), r"truth: expected shape \(2, 3\)"),
        ("color", np.zeros((2, 3)), r"color: expected shape \(3, 3\)"),
        ("file_index", [1], r"file_index: expected shape \(2,\)"),
        ("radius", [1.0], r"radius: expected shape \(2,\)"),
        ("radius", [1.0, 2.0], "expected radius and radius_coverage together, got only radius"),
        ("radius_coverage", 0.9, "expected radius and radius_coverage together, got only radius_coverage"),
        ("stages", ("map",), "expected stages and stage_positions together, got only stages"),
        ("stage_positions", np.zeros((1, 2, 3)), r"stage_positions: expected shape \(0, 2, 3\), got \(1, 2, 3\)"),
    ],
)
def test_a_wrong_field_is_named(prediction, field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(prediction, **{field: value})


def test_a_coverage_is_a_share(prediction):
    with pytest.raises(ValueError, match=r"radius_coverage: expected a share within \(0, 1\), got 90.0"):
        dataclasses.replace(prediction, radius=[1, 2], radius_coverage=90)


def test_a_keypoint_is_found_by_name_or_number(prediction):
    assert prediction.keypoint_number("base") == prediction.keypoint_number(1) == 1
    for wrong in ("top", 2, -1):
        with pytest.raises(ValueError, match="expected one of tip, base or 0 to 1, got"):
            prediction.keypoint_number(wrong)


def test_a_skeleton_joins_keypoints_that_there_are(prediction):
    with pytest.raises(ValueError, match="skeleton: expected edges between keypoints 0 to 1, got 2"):
        dataclasses.replace(prediction, skeleton=Skeleton([[0, 2]], [0.5], [[0, 0, 0]], [0]))


def test_samples_are_one_of_each_keypoint(prediction):
    found = dataclasses.replace(prediction, samples=[[[0, 0, 0], [1, 1, 1]]] * 5)
    assert (found.samples.shape, found.samples.dtype) == ((5, 2, 3), np.float64)
    with pytest.raises(ValueError, match=r"samples: expected shape \(5, 2, 3\), got \(5, 1, 3\)"):
        dataclasses.replace(prediction, samples=np.zeros((5, 1, 3)))
    with pytest.raises(ValueError, match="samples: expected finite"):
        dataclasses.replace(prediction, samples=np.full((5, 2, 3), np.inf))


def test_a_symmetry_exchanges_keypoints_that_there_are(prediction):
    assert dataclasses.replace(prediction, symmetries=[SymmetryMark("reflection", (0, 1))]).symmetries[0].keypoints
    with pytest.raises(ValueError, match=r"symmetries: expected keypoints 0 to 1, got \[0, 2\]"):
        dataclasses.replace(prediction, symmetries=[SymmetryMark("reflection", (0, 2))])


def test_the_mean_error_is_of_what_is_there_and_known(prediction):
    truth = np.add(prediction.position, [[3.0, 0, 4], [0, 0, 1]])
    one = dataclasses.replace(prediction, truth=truth, visibility=[0.9, 0.4])
    assert one.mean_error() == pytest.approx(5)
    assert one.mean_error(0.4) == pytest.approx(3)
    assert one.mean_error(0.95) is None
    assert prediction.mean_error() == pytest.approx(np.sqrt(3) / 8)  # the other has no truth
    assert dataclasses.replace(prediction, truth=None).mean_error() is None


def test_json_holds_every_keypoint_exactly(prediction, tmp_path):
    path = prediction.save(tmp_path / "new" / "a.json")
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read == prediction.to_dict()
    assert read["name"] == "scan é"
    assert read["units"] == "as in the file"
    assert read["keypoints"][0] == {
        "name": "tip",
        "position": [1000001.125, 1000000.125, 1000000.125],
        "confidence": 0.75,
        "covariance": [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]],
        "radius": None,
        "visibility": 1.0,
        "point_index": 1,
        "surface": None,
    }
    assert read["radius_coverage"] is None


def test_a_radius_is_in_every_format(prediction, tmp_path):
    sure = dataclasses.replace(prediction, radius=[0.125, 2], radius_coverage=0.9)
    assert sure.radius.dtype == np.float64
    read = sure.to_dict()
    assert read["radius_coverage"] == 0.9
    assert [keypoint["radius"] for keypoint in read["keypoints"]] == [0.125, 2.0]
    for one, expected in ((sure, [("0.125", "0.9"), ("2.0", "0.9")]), (prediction, [("", "")] * 2)):
        rows = csv.DictReader(one.save(tmp_path / "a.csv", "csv").read_text(encoding="utf-8").splitlines())
        assert [(row["radius"], row["radius_coverage"]) for row in rows] == expected
    (node,) = json.loads(sure.save(tmp_path / "a.mrk.json", "mrk.json").read_text())["markups"]
    told = node["controlPoints"][0]["description"]
    assert told == "confidence 0.750, within 0.125 file units (90 %), visibility 1.000, nearest point 1"
    loaded = load_prediction(sure.save(tmp_path / "a.npz", "npz"))
    assert (loaded.radius.tolist(), loaded.radius_coverage) == ([0.125, 2.0], 0.9)
    assert type(loaded.radius_coverage) is float


def test_stages_go_through_npz_and_json(prediction, tmp_path):
    positions = np.stack([prediction.position - 1, prediction.position + 0.25, prediction.position])
    staged = dataclasses.replace(prediction, stages=["map", "prior", "look"], stage_positions=positions)
    again = load_prediction(staged.save(tmp_path / "a.npz", "npz"))
    assert again.stages == staged.stages == ("map", "prior", "look")
    assert again.stage_positions.dtype == np.float64
    np.testing.assert_array_equal(again.stage_positions, positions)
    read = json.loads(staged.save(tmp_path / "a.json").read_text())
    assert [one["name"] for one in read["stages"]] == ["map", "prior", "look"]
    np.testing.assert_array_equal([one["positions"] for one in read["stages"]], positions)
    with pytest.raises(ValueError, match="stage_positions: expected finite numbers"):
        dataclasses.replace(staged, stage_positions=positions * np.inf)


def test_one_stage_is_not_told_in_json_and_none_loads_as_none(prediction, tmp_path):
    one = dataclasses.replace(prediction, stages=["map"], stage_positions=prediction.position[None])
    assert "stages" not in one.to_dict()
    assert load_prediction(one.save(tmp_path / "one.npz", "npz")).stages == ("map",)
    none = load_prediction(prediction.save(tmp_path / "none.npz", "npz"))
    assert (none.stages, none.stage_positions) == ((), None)
    path = tmp_path / "none.npz"
    with np.load(path) as stored:  # as files of earlier versions are
        content = {name: stored[name] for name in stored.files if not name.startswith("stage")}
    np.savez(path, **content)
    assert load_prediction(path).stages == ()


def test_an_npz_from_before_there_was_a_radius_loads(prediction, tmp_path):
    path = prediction.save(tmp_path / "a.npz", "npz")
    with np.load(path) as stored:
        assert not {"radius", "radius_coverage"} & set(stored.files)
    assert load_prediction(path).radius is None


def test_exports_count_points_as_the_file_does(prediction, tmp_path):
    other = dataclasses.replace(prediction, file_index=[70, 80])
    assert [k["point_index"] for k in other.to_dict()["keypoints"]] == [70, 80]
    rows = csv.DictReader(other.save(tmp_path / "a.csv", "csv").read_text(encoding="utf-8").splitlines())
    assert [row["point_index"] for row in rows] == ["70", "80"]


def test_what_is_not_finite_is_null_in_json(prediction, tmp_path):
    vague = dataclasses.replace(prediction, covariance=np.full((2, 3, 3), np.nan), confidence=[np.nan, 1])
    read = json.loads(vague.save(tmp_path / "a.json").read_text())
    assert read["keypoints"][0]["confidence"] is None
    assert read["keypoints"][1]["covariance"] == [[None] * 3] * 3


def test_several_clouds_share_a_file(prediction, tmp_path):
    other = dataclasses.replace(prediction, name="b, c")
    read = json.loads(write_predictions([prediction, other], tmp_path / "a.json").read_text())
    assert [each["name"] for each in read["predictions"]] == ["scan é", "b, c"]
    text = write_predictions([prediction, other], tmp_path / "a.csv", "csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["cloud"] for row in rows] == ["scan é", "scan é", "b, c", "b, c"]
    assert [float(rows[1][axis]) for axis in "xyz"] == prediction.position[1].tolist()
    assert [float(rows[0][f"cov_{axes}"]) for axes in ("xx", "xy", "xz", "yy", "yz", "zz")] == [1, 0, 0, 2, 0, 3]


def test_slicer_gets_points_in_the_frame_of_the_file(prediction, tmp_path):
    prediction = dataclasses.replace(prediction, visibility=[0.9, 0.6])
    read = json.loads(prediction.save(tmp_path / "a.mrk.json", "mrk.json").read_text())
    assert read["@schema"].endswith("markups-schema-v1.0.3.json#")
    (node,) = read["markups"]
    assert (node["type"], node["coordinateSystem"]) == ("Fiducial", "LPS")
    assert [point["label"] for point in node["controlPoints"]] == ["tip", "base"]
    assert [point["position"] for point in node["controlPoints"]] == prediction.position.tolist()
    assert node["controlPoints"][0]["description"].startswith("confidence 0.750")
    unsure = dataclasses.replace(prediction, visibility=[0.9, 0.1])
    (node,) = json.loads(unsure.save(tmp_path / "b.mrk.json", "mrk.json").read_text())["markups"]
    assert [point["positionStatus"] for point in node["controlPoints"]] == ["defined", "undefined"]


def test_npz_brings_everything_back(prediction, tmp_path):
    whole = dataclasses.replace(prediction, color=np.arange(9).reshape(3, 3), file_index=[5, 6])
    for one in (prediction, whole):
        read = load_prediction(one.save(tmp_path / "a.npz", "npz"))
        for field in dataclasses.fields(Prediction):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(one, field.name))


def test_a_file_that_is_no_prediction_is_an_error(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.npz: not a saved prediction"):
        load_prediction(path)
    np.savez(path, name="x", keypoint_names=np.array(["a"]), points=np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"a\.npz: not a saved prediction"):
        load_prediction(path)
    with pytest.raises(FileNotFoundError):
        load_prediction(tmp_path / "none.npz")


def test_mistakes_in_writing_are_named(prediction, tmp_path):
    with pytest.raises(ValueError, match=r"format: expected one of json, csv, mrk\.json, npz, got 'xml'"):
        prediction.save(tmp_path / "a", "xml")
    with pytest.raises(ValueError, match="expected at least one for a json file, got 0"):
        write_predictions([], tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected one for a mrk\.json file, got 2"):
        write_predictions([prediction, prediction], tmp_path / "a", "mrk.json")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(prediction, tmp_path, monkeypatch):
    path = prediction.save(tmp_path / "a.json")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        dataclasses.replace(prediction, name="other").save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_markups_name_the_frame_and_keep_the_positions(prediction, tmp_path, frame):
    prediction = dataclasses.replace(prediction, visibility=[0.9, 0.6])
    prediction.save(tmp_path / "one.mrk.json", "mrk.json", frame=frame)
    (node,) = json.loads((tmp_path / "one.mrk.json").read_text())["markups"]
    assert node["coordinateSystem"] == frame
    np.testing.assert_allclose([p["position"] for p in node["controlPoints"]], prediction.position)


def skeleton(**changes) -> Skeleton:
    """One edge of three points between two keypoints."""
    fields = {"edges": [[0, 1]], "strength": [0.5], "points": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "edge": [0, 0, 0]}
    return Skeleton(**(fields | changes))


def test_a_skeleton_is_kept_with_its_prediction(prediction, tmp_path):
    whole = dataclasses.replace(prediction, skeleton=skeleton())
    again = load_prediction(whole.save(tmp_path / "one.npz", "npz")).skeleton
    assert (again.edges.dtype, again.strength.dtype) == (np.int64, np.float64)
    for field in dataclasses.fields(Skeleton):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(whole.skeleton, field.name))
    (edge,) = whole.to_dict()["skeleton"]["edges"]
    assert edge == {"keypoints": ["tip", "base"], "strength": 0.5, "points": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}
    assert "skeleton" not in prediction.to_dict()
    assert load_prediction(prediction.save(tmp_path / "other.npz", "npz")).skeleton is None


def test_samples_surface_and_symmetries_are_kept(prediction, tmp_path):
    marks = (
        SymmetryMark("reflection", (1, 0)),
        SymmetryMark("rotation", (1,), [1, 2, 3], [0, 2, 0], 4),
        SymmetryMark("rotation", (0, 1)),
    )
    whole = dataclasses.replace(
        prediction,
        samples=np.arange(18).reshape(3, 2, 3),
        surface=Surface(np.eye(3), [[0, 1, 2]]),
        symmetries=marks,
    )
    again = load_prediction(whole.save(tmp_path / "one.npz", "npz"))
    np.testing.assert_array_equal(again.samples, whole.samples)
    np.testing.assert_array_equal(again.surface.vertices, np.eye(3))
    assert again.surface.triangles.tolist() == [[0, 1, 2]]
    assert [(mark.kind, mark.keypoints) for mark in again.symmetries] == [(mark.kind, mark.keypoints) for mark in marks]
    assert [mark.radius for mark in again.symmetries] == [None, 4.0, None]
    np.testing.assert_array_equal(again.symmetries[1].center, [1, 2, 3])
    np.testing.assert_array_equal(again.symmetries[1].normal, [0, 1, 0])
    assert again.symmetries[2].normal is None


def on_a_mesh(prediction, triangles=((2, 2, 1), (0, 1, 2))):
    """The prediction with a mesh of which its three points are the corners."""
    return dataclasses.replace(prediction, surface=Surface(prediction.points, triangles))


def test_keypoints_of_a_mesh_have_a_point_on_it(prediction):
    points = on_a_mesh(prediction).on_surface
    assert (points.face.tolist(), points.vertices.tolist()) == ([1, 1], [[0, 1, 2]] * 2)
    # 1/8 above z = 0; seen from above, one is beside the edge from (1, 0) to (0, 2), the other beside its end
    places = np.array([[0.975, 0.05, 0], [0, 2, 0]])
    np.testing.assert_allclose(points.position, places + 1e6, rtol=0, atol=1e-9)
    np.testing.assert_allclose(points.barycentric, [[0, 0.975, 0.025], [0, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(points.distance, np.linalg.norm(points.position - prediction.position, axis=1))
    moved = dataclasses.replace(on_a_mesh(prediction), position=prediction.points[[1, 2]])
    np.testing.assert_allclose(moved.on_surface.distance, 0, atol=1e-9)


def test_a_cloud_and_a_mesh_without_area_have_no_surface_to_be_on(prediction, tmp_path):
    assert prediction.on_surface is None
    flat = on_a_mesh(prediction, [[2, 2, 1]])
    assert flat.on_surface is None
    assert [keypoint["surface"] for keypoint in flat.to_dict()["keypoints"]] == [None, None]
    for format in FORMATS:
        assert flat.save(tmp_path / f"a.{format}", format).is_file()


def test_the_point_on_a_mesh_is_in_every_format(prediction, tmp_path):
    whole = on_a_mesh(prediction)
    points, names = whole.on_surface, ("face", "vertices", "barycentric", "position", "distance")
    read = json.loads(whole.save(tmp_path / "a.json").read_text(encoding="utf-8"))
    for k, keypoint in enumerate(read["keypoints"]):
        assert keypoint["surface"] == {name: getattr(points, name)[k].tolist() for name in names}
        assert keypoint["position"] == prediction.position[k].tolist()
    for one, mesh in ((whole, True), (prediction, False)):
        lines = one.save(tmp_path / "a.csv", "csv").read_text(encoding="utf-8").splitlines()
        header, *rows = csv.reader(lines)
        assert header[15:] == ["radius_coverage", *SURFACE_COLUMNS, "length_unit"]
        for k, row in enumerate(rows):
            numbers = np.concatenate([np.ravel(part[k]) for part in points]).tolist()
            assert [float(cell) for cell in row[16:] if cell] == (numbers if mesh else [])
            assert len(row) == len(header)
    (node,) = json.loads(whole.save(tmp_path / "a.mrk.json", "mrk.json").read_text())["markups"]
    (told, _) = (point["description"] for point in node["controlPoints"])
    away = f"{points.distance[0]:.4g} file units from the surface"
    assert told == f"confidence 0.750, visibility 1.000, nearest point 1, {away}"
    assert node["controlPoints"][0]["position"] == prediction.position[0].tolist()
    loaded = load_prediction(whole.save(tmp_path / "a.npz", "npz")).on_surface
    for name in names:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(points, name))


def test_an_npz_from_before_there_were_samples_loads(prediction, tmp_path):
    path = prediction.save(tmp_path / "a.npz", "npz")
    with np.load(path) as stored:
        assert not [key for key in stored.files if key.startswith(("samples", "surface", "symmetries"))]
    read = load_prediction(path)
    assert (read.samples, read.surface, read.symmetries) == (None, None, ())


def test_an_annotation_stays_one_and_an_older_file_has_none(prediction, tmp_path):
    assert prediction.annotated is False
    path = dataclasses.replace(prediction, annotated=True).save(tmp_path / "a.npz", "npz")
    assert load_prediction(path).annotated is True
    with np.load(path) as stored:
        older = {key: stored[key] for key in stored.files if key != "annotated"}
    np.savez(tmp_path / "b.npz", **older)
    assert load_prediction(tmp_path / "b.npz").annotated is False


@pytest.mark.parametrize("unit", ["mm", "um"])
def test_a_unit_of_length_is_in_every_format(prediction, tmp_path, unit):
    known = dataclasses.replace(prediction, length_unit=unit, radius=[0.125, 2], radius_coverage=0.9)
    assert known.unit_text == unit
    assert known.to_dict()["units"] == unit
    rows = csv.DictReader(known.save(tmp_path / "a.csv", "csv").read_text(encoding="utf-8").splitlines())
    assert [row["length_unit"] for row in rows] == [unit] * 2
    (node,) = json.loads(known.save(tmp_path / "a.mrk.json", "mrk.json").read_text())["markups"]
    assert node["coordinateUnits"] == unit
    assert f"within 0.125 {unit} (90 %)" in node["controlPoints"][0]["description"]
    loaded = load_prediction(known.save(tmp_path / "a.npz", "npz"))
    assert loaded.length_unit == unit
    assert type(loaded.length_unit) is str


def test_without_a_unit_lengths_are_in_file_units(prediction, tmp_path):
    assert (prediction.length_unit, prediction.unit_text) == (None, "file units")
    rows = csv.DictReader(prediction.save(tmp_path / "a.csv", "csv").read_text(encoding="utf-8").splitlines())
    assert [row["length_unit"] for row in rows] == ["", ""]
    (node,) = json.loads(prediction.save(tmp_path / "a.mrk.json", "mrk.json").read_text())["markups"]
    assert node["coordinateUnits"] == "mm"  # as Slicer takes every length
    path = prediction.save(tmp_path / "a.npz", "npz")
    with np.load(path) as stored:  # as one from before there were units
        assert "length_unit" not in stored.files
    assert load_prediction(path).length_unit is None
