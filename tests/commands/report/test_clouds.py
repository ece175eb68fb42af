import json
import re
import shutil

import pytest

from pcsargmax.settings.discovery import DiscoverSettings


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    from pcsargmax.training.discovery.train import discover

    folder = tmp_path_factory.mktemp("runs") / "discovery"
    discover(
        DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu"), folder
    )
    return folder


def data_of(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def test_the_report_of_a_run_lies_in_its_folder(cli, box_copy):
    result = cli("report", box_copy)
    assert result.exit_code == 0, result.output
    page = box_copy / "report-test.html"
    assert result.stdout.strip() == str(page)
    assert "evaluating box-run: 3/3" in result.stderr
    text = page.read_text(encoding="utf-8")
    assert "<title>box: box-run</title>" in text
    assert "fitted on the validation split" in text
    assert 'id="chart-training-0"' in text
    data = data_of(page)
    assert sorted(shape["name"] for shape in data["shapes"]) == ["m09", "m10", "m11"]


@pytest.mark.filterwarnings("ignore:2 of the 2 shapes:UserWarning")
def test_a_run_stands_beside_another(cli, box_copy, tmp_path):
    other = shutil.copytree(box_copy, tmp_path / "other")
    result = cli("report", box_copy, "--against", other, "--split", "val", "--shapes", 1, "--thresholds", "0.1,0.3")
    assert result.exit_code == 0, result.output
    page = box_copy / "report-val-against-other.html"
    assert result.stdout.strip() == str(page)
    data = data_of(page)
    assert (len(data["shapes"]), len(data["others"]), data["titles"]) == (1, 1, ["box-run", "other"])
    assert "PCK@0.3" in page.read_text(encoding="utf-8")
    assert "trained on or chose the checkpoint" in page.read_text(encoding="utf-8")


def test_a_discovery_is_reported_over_all_shapes(cli, discovery, tmp_path):
    result = cli("report", discovery, "--out", tmp_path / "new" / "page.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "new" / "page.html")
    assert len(data_of(tmp_path / "new" / "page.html")["shapes"]) == 12


def test_mistakes_are_one_line(cli_error, box_copy, discovery, tmp_path):
    assert "no run there" in cli_error("report", tmp_path / "none")
    assert "shapes must be at least 1, got 0" in cli_error("report", box_copy, "--shapes", 0)
    assert "out must be a file" in cli_error("report", box_copy, "--out", tmp_path)
    assert "out must be an .html file, got" in cli_error("report", box_copy, "--out", tmp_path / "page.txt")
    (tmp_path / "file").touch()
    message = cli_error("report", box_copy, "--out", tmp_path / "file" / "page.html")
    assert "file" in message
    assert "evaluating" not in message
    message = cli_error("report", box_copy, "--against", discovery)
    assert "against: expected a detector as box-run is, got discovery, a discovery" in message
    again = box_copy / "checkpoints" / "best.ckpt"
    assert f"runs named twice: {box_copy}" in cli_error("report", box_copy, "--against", again)
    assert "--symmetry only applies to detectors" in cli_error("report", discovery, "--symmetry", "all")
    assert "thresholds must be numbers" in cli_error("report", box_copy, "--thresholds", "a")
    assert not list(box_copy.glob("*.html"))
