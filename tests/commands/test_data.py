import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from pcsargmax.commands.data import app
from pcsargmax.datasets.procedural import make_procedural
from pcsargmax.io.markups import write_markups


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def result_of(*arguments, code=0):
    answer = run(*arguments, "--json")
    assert answer.exit_code == code, answer.output
    return json.loads(answer.stdout)


@pytest.fixture
def root(tmp_path):
    make_procedural(tmp_path / "made", ("mug", "chair"), models=5, num_points=64)
    return tmp_path / "made"


def edit(root, change, category="mug"):
    path = root / "annotations" / f"{category}.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


class TestMake:
    def test_makes_and_says_how_to_go_on(self, tmp_path):
        answer = run("make", "mug", "--root", tmp_path, "--models", 4, "--points", 64)
        assert answer.exit_code == 0
        assert "mug: 3 train, 1 val, 1 test" in answer.stdout or "mug: 2 train, 1 val, 1 test" in answer.stdout
        assert f"pcsargmax train mug --root {tmp_path}" in answer.stdout
        assert (tmp_path / "annotations" / "mug.json").is_file()

    def test_json(self, tmp_path):
        found = result_of("make", "table", "--root", tmp_path, "--models", 3, "--points", 64, "--no-mesh")
        assert found == {"root": str(tmp_path), "categories": {"table": {"train": 1, "val": 1, "test": 1}}}
        assert not (tmp_path / "ShapeNetCore.v2.ply").exists()

    def test_mistakes_are_one_line(self, tmp_path):
        answer = run("make", "dog", "--root", tmp_path)
        assert answer.exit_code == 2
        assert answer.stderr.startswith("error: categories must be some of airplane")
        assert "Traceback" not in answer.output


class TestCheck:
    def test_sound_data(self, root):
        reports = {report["name"]: report for report in result_of("check", root)}
        assert set(reports) == {"mug", "chair"}
        mug = reports["mug"]
        assert (mug["models"], mug["clouds"], mug["meshes"], mug["defects"]) == (5, 5, 5, [])
        assert mug["splits"]["train"] == {"listed": 3, "usable": 3}
        assert mug["keypoints"]["0"] == 5
        answer = run("check", root, "mug")
        assert answer.exit_code == 0
        assert "0 defects" in answer.stdout
        assert "chair" not in answer.stdout

    def test_defects_give_exit_code_1(self, root):
        def spoil(entries):
            entries[0]["keypoints"][0]["pcd_info"]["point_index"] = 64
            entries[1]["keypoints"][0]["xyz"] = [0.0, 0.0, 9.0]

        edit(root, spoil)
        cloud = next((root / "pcds" / "03797390").glob("mug00002.pcd"))
        cloud.write_text(cloud.read_text()[:-40])
        train = root / "splits" / "train.txt"
        (root / "splits" / "val.txt").write_text(train.read_text())
        (report,) = result_of("check", root, "mug", code=1)
        defects = "\n".join(report["defects"])
        assert "model mug00000, semantic id 0: point_index must be 0 to 63" in defects
        assert "model mug00001: 1 annotations lie farther than 0.001" in defects
        assert "mug00002.pcd" in defects
        assert "3 models are in more than one split: mug00000, mug00001, mug00002" in defects
        assert len(report["defects"]) == 4
        assert run("check", root, "mug").exit_code == 1

    def test_missing_clouds_are_told_and_no_defect(self, root):
        next((root / "pcds" / "03797390").glob("mug00001.pcd")).unlink()
        (report,) = result_of("check", root, "mug")
        assert (report["missing"], report["clouds"], report["splits"]["train"]["usable"]) == (
            ["mug00001"],
            4,
            2,
        )
        assert "missing: 1 models" in run("check", root, "mug").stdout

    def test_malformed_annotations(self, root):
        (root / "annotations" / "mug.json").write_text("[\n{]")
        reports = {report["name"]: report for report in result_of("check", root, code=1)}
        assert "mug.json, line 2: not valid JSON" in reports["mug"]["defects"][0]
        assert reports["chair"]["defects"] == []

    def test_no_clouds_at_all(self, root):
        for path in (root / "pcds" / "03797390").iterdir():
            path.unlink()
        (report,) = result_of("check", root, "mug", code=1)
        assert "none of the 5 annotated models has a cloud" in report["defects"][0]

    def test_mistakes_are_one_line(self, root, tmp_path):
        for arguments, message in (
            ((tmp_path / "nowhere",), "error: no such folder"),
            ((root, "dog"), "error: category 'dog' is not annotated"),
        ):
            answer = run("check", *arguments)
            assert answer.exit_code == 2
            assert answer.stderr.startswith(message)
            assert answer.stdout == ""

    def test_the_real_mugs(self, shared_data):
        (report,) = result_of("check", shared_data / "keypointnet", "mug")
        usable = {split: numbers["usable"] for split, numbers in report["splits"].items()}
        assert usable == {"train": 113, "val": 17, "test": 34}
        assert report["keypoints"]["10"] == 162


class TestScans:
    @pytest.fixture
    def scans(self, tmp_path):
        folder = tmp_path / "sets" / "scans"
        folder.mkdir(parents=True)
        for number in range(6):
            points = [f"{x / 7} {x % 3 + number} {x % 5}" for x in range(20)]
            (folder / f"s{number}.xyz").write_text("\n".join(points) + "\n")
            rows = "".join(f"{name},{p.replace(' ', ',')}\n" for name, p in zip("ab", points, strict=False))
            (folder / f"s{number}.csv").write_text("name,x,y,z\n" + rows)
        return folder

    def test_check(self, scans):
        (report,) = result_of("check", scans)
        assert report["length_unit"] is None
        assert (report["models"], report["keypoints"], report["defects"]) == (6, {"a": 6, "b": 6}, [])
        assert sum(numbers["usable"] for numbers in report["splits"].values()) == 6

    def test_check_with_a_defect(self, scans):
        (scans / "s3.csv").write_text("name,x,y,z\na,1,nonsense,3\n")
        (report,) = result_of("check", scans, code=1)
        assert "s3.csv" in report["defects"][0]

    def test_meshes_in_ras_with_landmarks_in_lps(self, scans):
        for file in sorted(scans.glob("*.csv")):
            names, places = zip(*(row.split(",", 1) for row in file.read_text().splitlines()[1:]), strict=True)
            turned = np.array([place.split(",") for place in places], dtype=float) * [-1, -1, 1]
            write_markups(file.with_suffix(".mrk.json"), names, turned)
            file.unlink()
        (report,) = result_of("check", scans, code=1)
        assert 'with x and y negated they fit: try mesh_frame="RAS"' in report["defects"][0]
        (report,) = result_of("check", scans, "--mesh-frame", "RAS")
        assert report["length_unit"] == "mm"
        assert "lengths in mm, by the landmark files" in run("check", scans, "--mesh-frame", "RAS").stdout
        assert (report["models"], report["keypoints"], report["defects"]) == (6, {"a": 6, "b": 6}, [])
        assert sum(numbers["usable"] for numbers in report["splits"].values()) == 6

    def test_frames_that_say_nothing_are_refused(self, scans, root):
        for folder, frame, message in (
            (scans, "XYZ", 'error: mesh_frame: expected "LPS" or "RAS", got \'XYZ\''),
            (root, "RAS", f"error: mesh_frame 'RAS' was given, but {root} is in KeypointNet's layout"),
        ):
            answer = run("check", folder, "--mesh-frame", frame)
            assert (answer.exit_code, answer.stdout, answer.stderr) == (2, "", f"{message}\n")

    def test_list(self, scans, root):
        found = result_of("list", scans.parent)
        assert found[str(scans)][0]["clouds"] == 6
        assert list(result_of("list", scans)) == [str(scans)]


class TestList:
    def test_folder_of_data_sets(self, root):
        found = result_of("list", root.parent)
        assert list(found) == [str(root)]
        assert [report["name"] for report in found[str(root)]] == ["chair", "mug"]
        answer = run("list", root)
        assert answer.exit_code == 0
        assert "mug" in answer.stdout

    def test_malformed_category_is_listed_as_such(self, root):
        (root / "annotations" / "mug.json").write_text("{")
        answer = run("list", root)
        assert answer.exit_code == 0
        assert "malformed" in answer.stdout
        assert "line 1: not valid JSON" in answer.stdout.replace("\n", "")

    def test_nothing_there(self, tmp_path):
        assert f"No data set in {tmp_path}" in run("list", tmp_path).stdout.replace("\n", "")
        answer = run("list", tmp_path / "nowhere")
        assert (answer.exit_code, answer.stderr.startswith("error: no such folder")) == (2, True)


class TestDownload:
    def test_prints_what_was_found(self, monkeypatch, tmp_path):
        from pcsargmax.datasets.download import Download

        asked = {}

        def fetch(root, category, **options):
            asked.update(options, root=root, category=category)
            return Download("mug", "03797390", 198, ("gone",))

        monkeypatch.setattr("pcsargmax.datasets.download.download_keypointnet", fetch)
        found = result_of("download", "mug", "--root", tmp_path, "--meshes")
        assert (found["models"], found["missing"], found["root"]) == (198, ["gone"], str(tmp_path))
        assert (asked["meshes"], asked["progress"], asked["revision"]) == (True, False, "main")
        assert "198 annotated models" in run("download", "mug", "--root", tmp_path).stdout

    def test_no_network_is_one_line(self, monkeypatch, tmp_path):
        def fail(*args, **options):
            raise ConnectionError("could not fetch mug")

        monkeypatch.setattr("pcsargmax.datasets.download.download_keypointnet", fail)
        answer = run("download", "mug", "--root", tmp_path)
        assert (answer.exit_code, answer.stderr) == (2, "error: could not fetch mug\n")

    def test_unknown_category(self, tmp_path):
        answer = run("download", "dog", "--root", tmp_path)
        assert answer.exit_code == 2
        assert "got 'dog'" in answer.stderr


def test_help_has_examples_and_loads_nothing_heavy():
    for name in ("make", "check", "list", "download"):
        assert f"pcsargmax data {name}" in run(name, "--help").stdout
    code = "import sys, pcsargmax.commands.data; print(sys.modules.keys() & {'torch', 'numpy', 'open3d'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
