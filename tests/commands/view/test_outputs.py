import json
import re
import sys
from importlib import import_module
from types import ModuleType

import pytest

#: What draws: the file of the package that it is in, and how many of its positional arguments are predictions.
DRAWN = {
    "render": ("scene", 1),
    "render_pair": ("scene", 2),
    "turntable": ("turntable", 1),
    "contact_sheet": ("sheet", 1),
}


@pytest.fixture
def drawn(monkeypatch):
    """Take down what would be drawn, in place of drawing it: (function, names of shapes, file, look, options)."""
    calls = []

    def recorder(name, count):
        def draw(*arguments, **options):
            found, (path, look) = arguments[:count], arguments[count:]
            shapes = found[0] if name == "contact_sheet" else found
            calls.append((name, [one.name for one in shapes], path.name, look, options))
            return path

        return draw

    for name, (file, count) in DRAWN.items():
        monkeypatch.setattr(import_module(f"pcsargmax.visualize.clouds.{file}"), name, recorder(name, count))
    return calls


def on_page(path):
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def test_a_page_holds_every_shape_and_starts_with_the_keypoint(cli, box_run, tmp_path):
    result = cli("view", box_run, "--html", tmp_path / "new" / "page.html", "--keypoint", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(tmp_path / "new" / "page.html")]
    assert "predicting: 3/3" in result.stderr
    data = on_page(tmp_path / "new" / "page.html")
    assert [shape["name"] for shape in data["shapes"]] == ["m09", "m10", "m11"]
    assert data["keypoint"] == 2
    assert "<title>box</title>" in (tmp_path / "new" / "page.html").read_text()
    on = {"same", "truth", "names", "skeleton"}
    assert {name for name, ticked in data["switches"].items() if ticked} == on
    assert {name for name, ticked in data["switches"].items() if not ticked} == {"log", "ellipsoids"}


def test_a_page_starts_as_the_options_say(cli, box_run, tmp_path):
    options = ("--log", "--ellipsoids", 2, "--no-truth", "--no-labels", "--no-skeleton", "--own-scale")
    result = cli("view", box_run, "--count", 1, "--html", tmp_path / "a.html", *options)
    assert result.exit_code == 0, result.output
    switches = on_page(tmp_path / "a.html")["switches"]
    assert {name for name, ticked in switches.items() if ticked} == {"log", "ellipsoids"}
    assert len(switches) == 6


def test_a_page_of_two_runs_has_both(cli, box_run, box_copy, tmp_path):
    assert cli("view", box_run, "--against", box_copy, "--html", tmp_path / "a.html").exit_code == 0
    data = on_page(tmp_path / "a.html")
    assert data["titles"] == ["box", "box-run"]
    assert "<h1>box beside box-run</h1>" in (tmp_path / "a.html").read_text()
    assert [shape["name"] for shape in data["others"]] == ["m09", "m10", "m11"]


def test_one_shape_is_a_picture_of_that_name(cli, drawn, box_run, box_cloud, tmp_path):
    result = cli(
        *("view", box_run, box_cloud, "--save", tmp_path / "a.png", "--keypoint", "1"),
        *("--azimuth", 70, "--elevation", 25, "--size", "640x480"),
    )
    assert result.stdout.splitlines() == [str(tmp_path / "a.png")]
    assert result.stderr == ""
    ((name, shapes, file, look, options),) = drawn
    assert (name, shapes, file, look.keypoint) == ("render", ["m10.pcd"], "a.png", "1")
    assert options == {"azimuth": 70, "elevation": 25, "size": (640, 480)}


def test_several_shapes_are_numbered_pictures(cli, drawn, box_run, tmp_path):
    arguments = ("view", box_run, "--split", "all", "--save", tmp_path / "a.png")
    result = cli(*arguments, "--first", 9, "--count", 2)
    assert [(shapes, file) for _, shapes, file, _, _ in drawn] == [(["m08"], "a-09.png"), (["m09"], "a-10.png")]
    assert result.stdout.splitlines() == [str(tmp_path / "a-09.png"), str(tmp_path / "a-10.png")]
    assert "drawing: 2/2" in result.stderr
    assert "size" not in drawn[0][-1]


def test_a_picture_of_two_runs_shows_them_side_by_side(cli, drawn, box_run, box_copy, box_cloud, tmp_path):
    cli("view", box_run, box_cloud, "--against", box_copy, "--save", tmp_path / "a.png")
    ((name, shapes, file, _, options),) = drawn
    assert (name, shapes, file, options["names"]) == ("render_pair", ["m10.pcd"] * 2, "a.png", ("box", "box-run"))


def test_a_sheet_holds_all_shapes_and_of_two_runs_both(cli, drawn, box_run, box_copy, tmp_path):
    cli("view", box_run, "--sheet", tmp_path / "a.png")
    cli("view", box_run, "--count", 1, "--against", box_copy, "--sheet", tmp_path / "b.png")
    alone, both = drawn
    assert (alone[:2], both[:2]) == (("contact_sheet", ["m09", "m10", "m11"]), ("contact_sheet", ["m09", "m09"]))
    assert not alone[3].labels
    assert "captions" not in alone[4]
    first, second = both[4]["captions"]
    assert re.fullmatch(r"box, mean error 0\.\d+ file units: m09", first)
    assert re.fullmatch(r"box-run, mean error 0\.\d+ file units: m09", second)


def test_the_look_of_pictures_can_be_chosen(cli, drawn, box_run, box_copy, tmp_path):
    options = ("--labels", "--own-scale", "--count", 1)
    cli("view", box_run, "--sheet", tmp_path / "a.png", "--save", tmp_path / "b.png", *options, "--against", box_copy)
    pair, sheet = drawn
    assert sheet[3].labels
    assert pair[3].labels
    assert not sheet[4]["same_scale"]
    assert not pair[4]["same_scale"]
    cli("view", box_run, "--save", tmp_path / "b.png", "--no-labels", "--count", 1)
    assert not drawn[-1][3].labels


def test_turntables_are_numbered_too(cli, drawn, box_run, tmp_path):
    cli("view", box_run, "--turntable", tmp_path / "a.gif", "--size", "320x240", "--count", 2, "--elevation", 5)
    assert [(name, shapes, file) for name, shapes, file, *_ in drawn] == [
        ("turntable", ["m09"], "a-1.gif"),
        ("turntable", ["m10"], "a-2.gif"),
    ]
    assert drawn[0][-1]["size"] == (320, 240)
    assert drawn[0][-1]["elevation"] == 5


def test_two_runs_turn_side_by_side(cli, drawn, box_run, box_copy, box_cloud, tmp_path):
    arguments = ("view", box_run, box_cloud, "--against", box_copy, "--turntable", tmp_path / "a.gif", "--own-scale")
    assert cli(*arguments).exit_code == 0
    ((name, shapes, file, _, options),) = drawn
    assert (name, shapes, file) == ("turntable", ["m10.pcd"], "a.gif")
    assert (options["other"].name, options["names"], options["same_scale"]) == ("m10.pcd", ("box", "box-run"), False)


def test_several_outputs_predict_once(cli, drawn, box_run, tmp_path, monkeypatch):
    from pcsargmax.runs.detector import Run

    asked = []
    predict = Run.predict
    monkeypatch.setattr(Run, "predict", lambda *a, **k: asked.append(a) or predict(*a, **k))
    result = cli(
        *("view", box_run, "--save", tmp_path / "a.png", "--sheet", tmp_path / "b.png"),
        *("--turntable", tmp_path / "c.gif", "--html", tmp_path / "d.html"),
    )
    names = ["d.html", "a-1.png", "a-2.png", "a-3.png", "b.png", "c-1.gif", "c-2.gif", "c-3.gif"]
    assert result.stdout.splitlines() == [str(tmp_path / name) for name in names]
    assert len(asked) == 3


def test_what_was_written_before_a_bad_file_is_told(cli, drawn, box_copy, box_cloud, tmp_path):
    import numpy as np

    np.save(tmp_path / "bad.npy", np.full((10, 3), np.nan))
    result = cli("view", box_copy, box_cloud, tmp_path / "bad.npy", "--save", tmp_path / "a.png")
    assert result.exit_code == 2
    assert "10 of 10 points have NaN or infinite coordinates" in result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / "a-1.png")]


def test_an_mp4_without_its_library_is_refused_at_once(cli, cli_error, drawn, box_run, tmp_path, monkeypatch):
    arguments = ("view", box_run, "--count", 1, "--turntable", tmp_path / "a.mp4", "--html", tmp_path / "a.html")
    monkeypatch.setitem(sys.modules, "av", None)
    assert "PyAV is not installed: pip install 'pcsargmax[video]'" in cli_error(*arguments)
    assert not (tmp_path / "a.html").exists()
    monkeypatch.setitem(sys.modules, "av", ModuleType("av"))
    assert cli(*arguments).exit_code == 0
    assert drawn[0][2] == "a.mp4"


def test_pictures_are_really_drawn(renderer, cli, box_run, box_copy, box_cloud, tmp_path):
    from PIL import Image

    files = ("--save", tmp_path / "a.png", "--sheet", tmp_path / "b.png")
    result = cli("view", box_run, box_cloud, "--against", box_copy, "--size", "640x320", *files)
    assert result.exit_code == 0, result.output
    said = "warning: drawn by matplotlib: Open3D cannot be loaded: libusb-1.0.so.0: cannot open shared object file. "
    assert result.stderr.count(said) == (renderer == "without_open3d")
    assert result.stdout.splitlines() == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    with Image.open(tmp_path / "a.png") as pair, Image.open(tmp_path / "b.png") as sheet:
        assert pair.size == (640, 320)
        assert (sheet.width, sheet.height > 320) == (1280, True)
        for picture in (pair, sheet):  # two shapes, and what explains them
            assert len(set(picture.convert("L").resize((40, 30)).tobytes())) > 8
