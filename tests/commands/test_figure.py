import json
import shutil

import pytest

from pcsargmax.commands.figure import by_method, parse_views, read_evaluations


@pytest.fixture(scope="module")
def evaluated(box_run, tmp_path_factory):
    """The finished run and what its evaluation left, and the same as if with another seed and by another objective."""
    from pcsargmax.commands.evaluate import write_metrics
    from pcsargmax.runs.load import load_run

    folder = tmp_path_factory.mktemp("figures")
    metrics = load_run(box_run).evaluate("test")
    for name, change in {"a": {}, "b": {"seed": 7}, "soft": {"objective": "soft"}}.items():
        shutil.copytree(box_run, folder / name)
        write_metrics(metrics | {"settings": metrics["settings"] | change}, folder / name)
    return folder


def written(result, path) -> bytes:
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    return path.read_bytes()


def texts(content: bytes) -> str:
    return content.decode()


def test_maps_of_runs_on_one_shape(cli, box_run, evaluated, tmp_path):
    out = tmp_path / "maps.svg"
    runs = box_run, evaluated / "a"
    content = texts(written(cli("figure", "maps", *runs, "--keypoint", "1", "--out", out, "--shape", "m10"), out))
    assert "probability of 1" in content
    assert "expectation" in content
    assert content.count("<image") == 2  # the colour bars; the points are vectors
    names = ("--names", "soft,ours", "--same-scale", "--log", "--closeup", 0, "--views", "0,0")
    content = texts(written(cli("figure", "maps", *runs, "--keypoint", "1", "--out", out, *names), out))
    assert ">soft<" in content
    assert ">ours<" in content


def test_each_run_predicts_the_shape_and_every_option_is_heard(cli, box_run, evaluated, tmp_path, monkeypatch):
    from pcsargmax.runs.detector import Run

    drawn, asked, predict = [], [], Run.predict
    monkeypatch.setattr("pcsargmax.visualize.probability_figure", lambda *a, **named: drawn.append((a, named)))
    monkeypatch.setattr(Run, "predict", lambda run, item: asked.append(run.folder.name) or predict(run, item))
    options = ("--shape", "m11", "--same-scale", "--log", "--closeup", 0.3, "--views", "1,2", "--names", "one,two")
    out = tmp_path / "a.png"
    result = cli("figure", "maps", box_run, evaluated / "b", "--keypoint", 1, "--out", out, *options)
    assert result.exit_code == 0, result.output
    (((predictions,), named),) = drawn
    assert asked == [box_run.name, "b"]
    assert [(name, one.name) for name, one in predictions.items()] == [("one", "m11"), ("two", "m11")]
    expected = {"keypoint": "1", "closeup": 0.3, "log_scale": True, "same_scale": True, "views": [(1, 2)], "path": out}
    assert named == expected


def test_maps_on_a_file(cli, box_run, box_cloud, tmp_path):
    out = tmp_path / "maps.pdf"
    result = cli("figure", "maps", box_run, "--keypoint", "1", "--file", box_cloud, "--out", out)
    assert written(result, out).startswith(b"%PDF")


def test_curves_of_a_training(cli, evaluated, tmp_path):
    out = tmp_path / "training.svg"
    content = texts(written(cli("figure", "training", evaluated / "a", evaluated / "b", "--out", out), out))
    assert ">loss<" in content
    assert ">a, train/loss<" in content or ">a<" in content
    assert written(cli("figure", "training", evaluated / "a", "--out", tmp_path / "t.png"), tmp_path / "t.png")


def test_runs_that_differ_in_the_seed_share_a_line(cli, evaluated, tmp_path):
    out = tmp_path / "pck.svg"
    runs = [evaluated / name for name in ("a", "b", "soft")]
    content = texts(written(cli("figure", "pck", *runs, "--out", out), out))
    assert "(2 runs)" in content
    assert "soft-argmax (n = " in content
    assert "template (n = " in content
    content = texts(written(cli("figure", "pck", *runs, "--out", out, "--no-template", "--most", 0.5), out))
    assert "template" not in content
    assert ">0.5<" in content  # the axis ends there


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("reliability", (), "share right"),
        ("reliability", ("--bins", "count"), "share right"),
        ("sparsification", (), "mean error (raw units)"),
        ("sparsification", ("--relative",), "share of the mean error"),
    ],
)
def test_curves_of_confidence(cli, evaluated, tmp_path, kind, options, told):
    out = tmp_path / "curve.svg"
    runs = [evaluated / name for name in ("a", "b", "soft")]
    content = texts(written(cli("figure", kind, *runs, "--out", out, "--names", "ours,theirs", *options), out))
    assert told in content
    assert "ours (" in content
    assert "theirs (" in content


def test_bases(cli, tmp_path):
    out = tmp_path / "bases.png"
    assert written(cli("figure", "bases", "--out", out), out).startswith(b"\x89PNG")


def test_a_kept_result_is_as_good_as_a_run(evaluated, tmp_path):
    metrics = json.loads((evaluated / "a" / "metrics-test.json").read_text())
    settings = metrics.pop("settings")
    (tmp_path / "kept.json").write_text(json.dumps({"settings": settings, "metrics": metrics}))
    ((name, one),) = read_evaluations([tmp_path / "kept.json"], "test")
    assert name == "kept"
    (label,) = by_method([(name, one)])
    assert label == "sampling, $N_s$ = 2"
    ((_, again),) = read_evaluations([evaluated / "a"], "test")
    assert again["shapes"] == one["shapes"]
    other, second = (one | {"settings": settings | change} for change in ({"epochs": 9}, {"seed": 1}))
    assert list(by_method([("a", one), ("b", other), ("c", second)])) == [
        "sampling, $N_s$ = 2, a",
        "sampling, $N_s$ = 2, b",
    ]
    with pytest.raises(ValueError, match=f"a and c: two evaluations of one method with seed {settings['seed']}; give"):
        by_method([("a", one), ("b", other), ("c", one)])
    mug = one | {"data": "mug"}
    assert list(by_method([("a", one), ("b", mug)])) == ["box, sampling, $N_s$ = 2", "mug, sampling, $N_s$ = 2"]


def test_each_data_set_has_its_template(cli, evaluated, tmp_path):
    metrics = json.loads((evaluated / "a" / "metrics-test.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(metrics | {"data": "mug"}))
    out = tmp_path / "pck.svg"
    content = texts(written(cli("figure", "pck", evaluated / "a", tmp_path / "other.json", "--out", out), out))
    assert ">box, template (n = " in content
    assert ">mug, template (n = " in content


def test_a_keypoint_is_one_of_every_run():
    from types import SimpleNamespace

    from pcsargmax.commands.figure import _check_keypoint

    first, second, third = (
        SimpleNamespace(folder=SimpleNamespace(name=name), keypoint_names=tuple(keypoints))
        for name, keypoints in (("first", "abc"), ("second", "bcd"), ("third", "e"))
    )
    _check_keypoint("b", [first, second])
    with pytest.raises(ValueError, match="keypoint must be one of b, c; got 'a', which second does not have"):
        _check_keypoint("a", [first, second])
    with pytest.raises(ValueError, match="one that all runs have, which there is none of; got 'a', which third"):
        _check_keypoint("a", [first, third])


def test_mistakes_are_one_line(cli_error, box_run, evaluated, box_cloud, tmp_path):
    out = tmp_path / "a.png"
    maps = ("figure", "maps", box_run, "--out", out)
    assert "keypoint must be one of 0, 1, 2, 3, 4; got '9', which box does not have" in cli_error(
        *maps, "--keypoint", 9
    )
    assert "shape must be one of split 'test', such as m09, m10, m11; got 'm1'" in cli_error(
        *maps, "--keypoint", 1, "--shape", "m1"
    )
    assert "give --shape or --file, not both" in cli_error(
        *maps, "--keypoint", 1, "--shape", "m10", "--file", box_cloud
    )
    assert "views must be AZIMUTH,ELEVATION" in cli_error(*maps, "--keypoint", 1, "--views", "35")
    assert "closeup: expected a share" in cli_error(*maps, "--keypoint", 1, "--closeup", 2)
    assert "names must be 1 different ones, for box; got 'a,b'" in cli_error(*maps, "--keypoint", 1, "--names", "a,b")
    assert "no run there" in cli_error("figure", "maps", tmp_path / "none", "--out", out, "--keypoint", 1)
    assert "ends in one of .pdf" in cli_error("figure", "bases", "--out", tmp_path / "a.doc")
    assert "no metrics-val.json in it, which of a run folder is made by: pcsargmax evaluate" in cli_error(
        "figure", "pck", evaluated / "a", "--split", "val", "--out", out
    )
    assert "most must be positive, got 0" in cli_error("figure", "pck", evaluated / "a", "--most", 0, "--out", out)
    assert "bins: expected one of width, count" in cli_error(
        "figure", "reliability", evaluated / "a", "--bins", "x", "--out", out
    )
    assert "expected a run folder with log" in cli_error("figure", "training", tmp_path, "--out", out)
    for text, told in (
        ("{", "not an evaluation"),
        ("[]", "expected the evaluation"),
        ('{"settings": {}}', "expected the"),
        ('{"settings": {}, "shapes": {"errors": {}}}', "expected the"),
        ('{"settings": {"objective": "soft"}, "data": "a", "split": "a", "unit": "raw", "shapes": null}', "expected"),
        ('{"settings": [], "metrics": 3}', "expected the"),
    ):
        (tmp_path / "broken.json").write_text(text)
        assert told in cli_error("figure", "pck", tmp_path / "broken.json", "--out", out)
    assert "none.json: no such file or folder" in cli_error("figure", "pck", tmp_path / "none.json", "--out", out)
    assert not out.exists()


def test_views_are_pairs():
    assert parse_views(" 35,20  -10,75.5") == [(35.0, 20.0), (-10.0, 75.5)]
    for wrong in ("", "1", "1,2,3", "a,b"):
        with pytest.raises(ValueError, match="views must be AZIMUTH,ELEVATION"):
            parse_views(wrong)
