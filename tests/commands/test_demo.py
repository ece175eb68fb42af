import json

from pcsargmax.settings.detector import TrainSettings


def test_the_demo_goes_the_whole_way(renderer, cli, tmp_path):
    result = cli("demo", "--category", "mug", "--folder", tmp_path, "--models", 12, "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    (run,) = tmp_path.glob("mug-*")
    assert (tmp_path / "data" / "annotations" / "mug.json").is_file()
    assert TrainSettings.load(run / "settings.json").epochs == 2
    metrics = json.loads((run / "metrics-test.json").read_text())
    assert metrics["expectation"]["num_models"] == 2
    assert (run / "report.html").stat().st_size > 1000
    assert "template" in result.stdout
    assert "pck@0.01" in result.stdout
    assert "report.html" in result.stdout.replace("\n", "")
    assert "training epochs: 2/2" in result.stderr
    assert result.stderr.count("drawn by matplotlib: Open3D cannot be loaded") == (renderer == "without_open3d")
    for name in ("picture.png", "pictures.png"):
        assert name in result.stdout
        assert (run / name).read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_line(cli_error, tmp_path):
    assert "got ('teapot',)" in cli_error("demo", "--category", "teapot", "--folder", tmp_path)
    assert "models must be at least 3, got 2" in cli_error("demo", "--models", 2, "--folder", tmp_path)
    assert list(tmp_path.iterdir()) == []
