import shutil

import numpy as np
import pytest


@pytest.fixture
def shown(cli, monkeypatch):
    """Run `view` with a window that only takes down what it is given."""
    from pcsargmax.visualize.images import window

    def view(*arguments):
        windows = []
        monkeypatch.setattr(window, "show_images", lambda found, **options: windows.append((found, options)))
        result = cli("view", *arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        return windows[0]

    return view


def test_a_run_alone_shows_its_test_split_beside_the_truth(shown, image_run):
    found, options = shown(image_run)
    assert len(found) == 3
    assert found[0].truth is not None
    expected = {"keypoint": None, "truth": True, "ellipsoids": 0, "log_scale": False, "labels": None}
    assert options == {"others": None, "titles": ("", ""), "same_scale": True, **expected}


def test_options_and_choices_count(shown, image_run, image_root):
    found, options = shown(
        *(image_run, image_root, "--first", 2, "--count", 3, "--keypoint", "nose", "--log", "--no-truth"),
        *("--ellipsoids", 2, "--own-scale", "--no-labels"),
    )
    assert found.names == ("f1.png", "f2.png", "f3.png")
    assert (options["keypoint"], options["log_scale"], options["truth"]) == ("nose", True, False)
    assert (options["ellipsoids"], options["same_scale"], options["labels"]) == (2, False, False)
    assert shown(image_run, image_root / "f0.png")[0][0].truth is None


def test_a_folder_needs_no_run(shown, image_root):
    found, _ = shown(image_root)
    assert len(found) == 6
    assert found[0].annotated
    assert len(shown(image_root, "--split", "val")[0]) == 1


def test_without_a_run_nothing_is_predicted(cli, image_run, image_root, tmp_path):
    said = cli("view", image_root, "--html", tmp_path / "a.html").output
    assert "reading: 6/6" in said
    assert "predicting" not in said
    assert "predicting: 3/3" in cli("view", image_run, "--html", tmp_path / "b.html").output


def test_two_runs_stand_side_by_side(shown, image_run, tmp_path):
    other = shutil.copytree(image_run, tmp_path / "other")
    found, options = shown(image_run, "--against", other)
    assert options["titles"] == ("dots-run", "other")
    np.testing.assert_array_equal(options["others"][0].position, found[0].position)


def test_files_are_written_and_their_paths_printed(cli, image_run, tmp_path, picture_size):
    outputs = [tmp_path / name for name in ("a.png", "sheet.png", "a.html")]
    result = cli("view", image_run, "--save", outputs[0], "--sheet", outputs[1], "--html", outputs[2])
    assert result.exit_code == 0, result.output
    pictures = [tmp_path / f"a-{number}.png" for number in (1, 2, 3)]
    assert result.stdout.split() == [str(path) for path in (outputs[2], *pictures, outputs[1])]
    assert all(path.stat().st_size > 1000 for path in (*pictures, *outputs[1:]))
    result = cli("view", image_run, "--save", outputs[0], "--count", 1, "--size", "500x400")
    assert result.stdout.split() == [str(outputs[0])]
    assert picture_size(outputs[0]) == (500, 400)


def test_two_runs_are_written_beside_each_other(cli, image_run, tmp_path, picture_size):
    other = shutil.copytree(image_run, tmp_path / "other")
    outputs = [tmp_path / name for name in ("a.png", "sheet.png", "a.html")]
    options = ("--save", outputs[0], "--sheet", outputs[1], "--html", outputs[2])
    result = cli("view", image_run, "--against", other, "--count", 1, *options)
    assert result.exit_code == 0, result.output
    assert picture_size(outputs[0])[0] > 2000
    text = outputs[2].read_text(encoding="utf-8")
    assert "<title>dots-run beside other</title>" in text


def test_without_a_screen_the_outputs_are_named(cli_error, image_run):
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        message = cli_error("view", image_run)
    finally:
        matplotlib.use(before)
    assert "no window can be opened here" in message
    assert "--save FILE.png, --sheet FILE.png and --html FILE.html need no screen" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--turntable", "a.gif"], "--turntable is for clouds and meshes, got images"),
        (["--samples", 3], "--samples is for clouds and meshes, got images"),
        (["--azimuth", 10], "--azimuth is for clouds and meshes, got images"),
        (["--no-mesh"], "--no-mesh is for clouds and meshes, got images"),
        (["--keypoint", "ear"], "keypoint must be one of left_eye, right_eye, nose, got 'ear'"),
        (["--first", 9], "first must be 1 to 3, the number of images, got 9"),
        (["--count", -1], "count must not be negative, got -1"),
        (["--ellipsoids", 3], "ellipsoids: expected 0, 1 or 2, got 3"),
        (["nowhere.png"], "nowhere.png: no such file or folder"),
    ],
)
def test_mistakes_are_one_line(cli_error, image_run, arguments, message):
    assert message in cli_error("view", image_run, *arguments)


def test_images_and_clouds_do_not_mix(cli_error, image_run, image_root, box_run, box_cloud):
    assert "one is on images, the other on clouds" in cli_error("view", image_run, "--against", box_run)
    assert "expected images or clouds, got both" in cli_error("view", image_root, box_cloud)
    assert "nothing is known of it without a run" in cli_error("view", image_root / "f0.png")


@pytest.fixture
def picture_size():
    """The (width, height) of a picture file."""
    from PIL import Image

    def read(path) -> tuple[int, int]:
        with Image.open(path) as image:
            return image.size

    return read
