import pytest


def test_a_page_is_written(cli, box_copy, box_cloud, tmp_path):
    result = cli("view", box_copy, box_cloud, "--html", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<html" in text
    assert "m10.pcd" in text


def test_a_picture_is_written(cli, box_copy, box_cloud, tmp_path):
    result = cli("view", box_copy, box_cloud, "--save", tmp_path / "picture.png", "--keypoint", "1")
    if "cannot draw with Open3D" in result.stderr:
        pytest.skip(result.stderr)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_renderer_the_cure_is_one_line(cli_error, box_copy, box_cloud, tmp_path, monkeypatch):
    from pcsargmax import visualize

    def fail(*_, **__):
        raise visualize.RendererUnavailable("no driver")

    monkeypatch.setattr(visualize, "render", fail)
    message = cli_error("view", box_copy, box_cloud, "--save", tmp_path / "picture.png")
    assert "apt-get install libusb-1.0-0" in message
    assert not (tmp_path / "picture.png").exists()


def test_a_window_shows_the_keypoint_asked_for(cli, box_copy, box_cloud, monkeypatch):
    from pcsargmax import visualize

    shown = []
    monkeypatch.setattr(visualize, "show", lambda found, **options: shown.append((found, options)))
    assert cli("view", box_copy, box_cloud, "--keypoint", "2").exit_code == 0
    ((found, options),) = shown
    assert [one.name for one in found] == ["m10.pcd"]
    assert options["keypoint"] == "2"


def test_without_a_screen_a_window_is_one_line(cli_error, box_copy, box_cloud, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert "there is no screen" in cli_error("view", box_copy, box_cloud)


def test_mistakes_are_one_line(cli_error, box_copy, box_cloud, tmp_path):
    message = cli_error("view", box_copy, box_cloud, "--keypoint", "9", "--html", tmp_path / "page.html")
    assert "keypoint must be one of 0, 1, 2, 3, 4, got '9'" in message
    assert "no such file" in cli_error("view", box_copy, tmp_path / "no.ply", "--html", tmp_path / "page.html")
    assert "no run there" in cli_error("view", tmp_path / "none", box_cloud)
    assert not (tmp_path / "page.html").exists()
