import shutil

import numpy as np
import pytest

from pcsargmax.runs.load import load_run


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    """The folder of a tiny discovery on the boxes."""
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=1, batch_size=4, device="cpu")
    place = tmp_path_factory.mktemp("runs") / "discovery"
    discover(settings, place)
    return place


@pytest.fixture
def shown(cli, monkeypatch):
    """Run `view` with a window that only takes down what it is given: (predictions, others, look, titles)."""

    def view(*arguments):
        windows = []
        monkeypatch.setattr(
            "pcsargmax.visualize.window.show.show", lambda found, **options: windows.append((found, *options.values()))
        )
        result = cli("view", *arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        return windows[0]

    return view


def test_a_run_alone_shows_its_test_split_beside_the_truth(shown, box_run):
    found, others, look, titles = shown(box_run)
    assert found.names == ("m09", "m10", "m11")
    assert others is None
    assert titles == ("box", "")
    assert (look.keypoint, look.log_scale, look.ellipsoids, look.samples, look.truth, look.surface) == (
        *(None, False, 0, False),
        *(True, True),
    )
    expected = load_run(box_run).predictions("test")
    np.testing.assert_array_equal(found[1].position, expected[1].position)
    np.testing.assert_array_equal(found[1].truth, expected[1].truth)


def test_nothing_is_predicted_before_it_is_looked_at(shown, box_run, monkeypatch):
    from pcsargmax.runs.detector import Run

    asked = []
    predict = Run.predict
    monkeypatch.setattr(Run, "predict", lambda *a, **k: asked.append(a) or predict(*a, **k))
    found = shown(box_run, "--split", "all")[0]
    assert (len(found), len(asked)) == (12, 0)
    assert found[5].name == "m05"
    assert len(asked) == 1


def test_every_option_of_the_look_counts(shown, box_run):
    _, _, look, _ = shown(
        *(box_run, "--keypoint", "2", "--log", "--ellipsoids", 2, "--samples", 7),
        *("--no-truth", "--no-mesh", "--no-skeleton", "--no-symmetries", "--no-labels"),
    )
    assert (look.keypoint, look.log_scale, look.ellipsoids, look.samples) == ("2", True, 2, True)
    assert not any([look.truth, look.surface, look.skeleton, look.symmetries, look.labels])


def test_samples_are_drawn_with_a_seed(shown, box_run):
    drawn = [shown(box_run, "--samples", 7, "--seed", seed)[0][0].samples for seed in (0, 0, 1)]
    assert drawn[0].shape == (7, 5, 3)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_files_folders_and_categories_are_looked_at_in_order(shown, box_run, box_cloud, landmark_root):
    found = shown(box_run, box_cloud, landmark_root, "box", "--split", "")[0]
    assert len(found) == 1 + 10 + 12
    assert found.names[:2] == ("m10.pcd", "scan0.ply")
    assert found.names[-1] == "m11"
    assert found[1].points.shape == (load_run(box_run).settings.num_points, 3)
    assert found[1].surface is not None
    assert found[-1].truth is not None
    assert shown(box_run, "box", "--split", "val")[0].names == ("m07", "m08")


def test_the_place_of_the_run_among_the_arguments_does_not_matter(shown, box_run, box_cloud):
    for arguments in ([box_run, box_cloud], [box_cloud, box_run]):
        found, _, _, titles = shown(*arguments)
        assert (found.names, titles) == (("m10.pcd",), ("box", ""))
    assert shown(box_run / "checkpoints" / "best.ckpt", box_cloud)[3] == ("box", "")


def test_a_part_of_the_shapes_is_chosen(shown, box_run):
    assert shown(box_run, "--split", "all", "--first", 3, "--count", 2)[0].names == ("m02", "m03")
    assert shown(box_run, "--split", "all", "--first", 11, "--count", 9)[0].names == ("m10", "m11")


def test_data_that_have_moved_are_said_where(shown, cli_error, box_copy, box_root, tmp_path):
    import torch

    for file in (box_copy / "checkpoints").iterdir():
        content = torch.load(file, weights_only=True)
        content["pcsargmax"]["settings"]["root"] = str(tmp_path / "gone")
        torch.save(content, file)
    assert "--root says where they are now" in cli_error("view", box_copy)
    assert shown(box_copy, "--root", box_root)[0][0].truth is not None


def test_a_category_that_is_not_there_says_where_to_get_it(cli_error, box_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = cli_error("view", "mug")
    assert message.startswith("error: mug: no such file or folder, and no such category: ")
    assert "`pcsargmax data download NAME`" in message
    assert message.endswith("; if there is one elsewhere, --root FOLDER says where")
    assert "--root" not in cli_error("view", "mug", "--root", tmp_path)
    for other in ("mug.ply", "scans/mug"):
        assert "--root" not in cli_error("view", other)
    assert "--root" not in cli_error("view", box_run, "mug")  # whose own root is there


def test_a_data_set_needs_no_run(shown, box_root, landmark_root):
    found, others, _, titles = shown("box", "--root", box_root, "--split", "train")
    assert (len(found), others, titles) == (7, None, ("box", ""))
    assert found[0].visibility.tolist() == [1, 1, 1, 0, 0]
    folder = shown(landmark_root, "--first", 2, "--count", 1)[0]
    assert folder[0].keypoint_names == ("back", "left", "right")
    assert folder[0].surface is not None
    lps, ras = (shown(landmark_root / "scan1.ply", "--mesh-frame", frame)[0][0].position for frame in ("LPS", "RAS"))
    np.testing.assert_allclose(lps, ras * [-1, -1, 1])


def test_a_saved_prediction_needs_no_run(shown, box_run, box_cloud, tmp_path):
    saved = load_run(box_run).predict_file(box_cloud).save(tmp_path / "saved.npz", "npz")
    np.testing.assert_array_equal(shown(saved)[0][0].position, load_run(box_run).predict_file(box_cloud).position)


def test_a_discovery_shows_its_skeleton(shown, discovery, box_cloud):
    found = shown(discovery)[0]
    assert found.names == ("m09", "m10", "m11")
    assert found[0].skeleton is not None
    assert shown(discovery, box_cloud)[0][0].skeleton is not None


def test_two_runs_are_shown_on_the_same_points(shown, box_run, discovery, landmark_root):
    found, others, _, titles = shown(box_run, "--against", discovery)
    assert found.names == others.names == ("m09", "m10", "m11")
    assert titles == ("sampling, N_s = 2", "discovery, sampling, N_s = 1")
    assert others[0].skeleton is not None
    np.testing.assert_allclose(found[0].points, others[0].points, atol=1e-6)
    found, others, _, _ = shown(box_run, landmark_root / "scan1.ply", "--against", discovery)
    np.testing.assert_allclose(found[0].points, others[0].points, atol=1e-3)


def test_two_runs_are_called_by_what_tells_them_apart(shown, box_run, tmp_path):
    import torch

    def other(**changes):
        folder = shutil.copytree(box_run, tmp_path / "-".join(["other", *changes]))
        for file in (folder / "checkpoints").iterdir():
            content = torch.load(file, weights_only=True)
            content["pcsargmax"]["settings"] |= changes
            torch.save(content, file)
        return shown(box_run, "--against", folder)[3]

    assert other(objective="soft") == ("sampling, N_s = 2", "soft-argmax")
    assert other(num_samples=7) == ("sampling, N_s = 2", "sampling, N_s = 7")
    assert other() == ("box", "other")
    assert shown(box_run, "--against", box_run / "checkpoints" / "last.ckpt")[3][1].endswith("last.ckpt")


def test_shapes_seen_in_training_are_said(cli, shown, box_run, tmp_path):
    result = cli("view", box_run, "--split", "train", "--html", tmp_path / "a.html")
    assert f"{box_run}: 7 of 7 shapes were seen in training" in result.stderr
    assert "seen in training" not in cli("view", box_run, "--html", tmp_path / "a.html").stderr


def test_without_a_screen_a_window_is_one_line(cli_error, box_copy, box_cloud, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    message = cli_error("view", box_copy, box_cloud)
    assert "there is no screen" in message
    assert message.endswith("--save FILE.png and --html FILE.html need no screen.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to look at: name a run, or files, folders or a category"),
        (["runs/none"], "runs/none: no such file or folder"),
        (["RUN", "no.ply"], "no.ply: no such file"),
        (["RUN", "--against", "none"], "none: no run there"),
        (["RUN", "RUN"], "expected one run, got RUN, RUN; two side by side: RUN --against RUN"),
        (["RUN", "--keypoint", "9"], "keypoint must be one of 0, 1, 2, 3, 4, got '9'"),
        (["box", "--root", "ROOT", "--keypoint", "9"], "keypoint must be one of 0, 1, 2, 3, 4, got '9'"),
        (["RUN", "--against", "DISCOVERY", "--keypoint", "3"], "keypoint must be one of "),
        (["RUN", "--split", "tset"], "split must be 'train', 'val', 'test'"),
        (["RUN", "--first", "4"], "first must be 1 to 3, the number of shapes, got 4"),
        (["RUN", "--first", "0"], "first must be 1 to 3, the number of shapes, got 0"),
        (["RUN", "--count", "-1"], "count must not be negative, got -1"),
        (["RUN", "--samples", "-1"], "samples must not be negative, got -1"),
        (["RUN", "--ellipsoids", "3"], "ellipsoids: expected 0, 1 or 2, got 3"),
        (["RUN", "--size", "large"], "size must be WIDTHxHEIGHT in pixels, such as 1280x960, got 'large'"),
        (["RUN", "--save", "a.jpg"], "--save must be a file whose name ends in .png, got a.jpg"),
        (["RUN", "--turntable", "a.png"], "--turntable must be a file whose name ends in .gif or .mp4, got a.png"),
        (["RUN", "--save", "a.png", "--sheet", "a.png"], "outputs must be different files, got a.png, a.png"),
        (["box", "--root", "ROOT", "--samples", "9"], "--samples needs a run to look at"),
        (["box", "--root", "ROOT", "--against", "RUN"], "--against needs a run to look at"),
        (["ROOT"], "holds categories, name one of them: CATEGORY --root ROOT"),
        (["box", "--root", "ROOT", "--mesh-frame", "XYZ"], "--mesh-frame 'XYZ': choose from LPS, RAS"),
        (["RUN", "--device", "tpu"], "device must be cpu, cuda or mps"),
    ],
)
def test_mistakes_are_one_line(cli_error, box_run, box_root, discovery, arguments, message):
    places = {"RUN": str(box_run), "ROOT": str(box_root), "DISCOVERY": str(discovery)}
    for name, place in places.items():
        message = message.replace(name, place)
    assert message in cli_error("view", *(places.get(argument, argument) for argument in arguments))
