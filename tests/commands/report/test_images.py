import shutil

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:1 of the 1 images:UserWarning")


@pytest.fixture
def copy(image_run, tmp_path):
    """A copy of the run, to write into."""
    return shutil.copytree(image_run, tmp_path / "dots-run")


def test_the_report_of_a_run_lies_in_its_folder(cli, copy):
    result = cli("report", copy)
    assert result.exit_code == 0, result.output
    page = copy / "report-test.html"
    assert result.stdout.strip() == str(page)
    assert "evaluating dots-run: 3/3" in result.stderr
    text = page.read_text(encoding="utf-8")
    assert "<title>dots: dots-run</title>" in text
    assert "All 3 images" in text
    assert 'id="chart-training-0"' in text


def test_a_run_stands_beside_another(cli, copy, tmp_path):
    other = shutil.copytree(copy, tmp_path / "other")
    result = cli("report", copy, "--against", other, "--shapes", 1, "--thresholds", "0.1,0.3", "--split", "val")
    assert result.exit_code == 0, result.output
    page = copy / "report-val-against-other.html"
    assert result.stdout.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert "PCK@0.3" in text
    assert "trained on or chose the checkpoint" in text


def test_data_that_have_moved_are_said_where(cli, copy, image_root, tmp_path):
    moved = shutil.copytree(image_root, tmp_path / "moved")
    result = cli("report", copy, "--data", moved, "--out", tmp_path / "new" / "page.html")
    assert result.exit_code == 0, result.output
    assert "<title>moved: dots-run</title>" in (tmp_path / "new" / "page.html").read_text(encoding="utf-8")


def test_mistakes_are_one_line(cli_error, copy, box_copy):
    assert "--symmetry only applies to detectors on clouds" in cli_error("report", copy, "--symmetry", "all")
    assert "shapes must be at least 1, got 0" in cli_error("report", copy, "--shapes", 0)
    assert "thresholds must be numbers" in cli_error("report", copy, "--thresholds", "a")
    assert "one is on images, the other on clouds" in cli_error("report", copy, "--against", box_copy)
    assert not list(copy.glob("*.html"))
