import json

import pytest

from pcsargmax.commands.printed.detector import (
    calibration_lines,
    confidence_text,
    presence_lines,
    print_metrics,
    template_warning,
)


def test_a_line_tells_of_confidence_and_radius(cli, box_copy):
    import torch

    file = box_copy / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["pcsargmax"]["calibration"]["quantile"] = 1.5  # two validation shapes are too few for one
    torch.save(content, file)
    text = cli("evaluate", box_copy).stdout
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    line = confidence_text(metrics)
    assert line in text
    assert line.startswith("confidence: r = ")
    assert f"radius {metrics['radius']['mean']:.3f} covers {metrics['radius']['coverage']:.0%} (nominal 90%)" in line
    assert all(len(part) <= 80 for part in line.splitlines())
    metrics["calibration"]["pearson"] = None
    assert confidence_text(metrics).startswith("confidence: r = – (error <= 2% diagonal)\nradius")
    metrics["radius"] = None
    assert confidence_text(metrics).endswith("no radius: too few val shapes")
    metrics["confidence"]["calibrated"] = False
    assert confidence_text(metrics).endswith("not calibrated: no val split")


def test_lines_tell_of_presence_and_calibration(cli, box_copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("evaluate", box_copy).stdout
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    lines = [*presence_lines(metrics), *calibration_lines(metrics)]
    assert all(line in text and len(line) <= 80 for line in lines)
    found, kept, sparse = (metrics[name] for name in ("presence", "calibration", "sparsification"))
    assert lines[0].startswith(f"presence: {found['accuracy']:.1%} right, AP ")
    assert f"(chance {found['chance']:.1%})" in lines[0]
    found |= {"average_precision": 0.625, "average_precision_absent": 0.5, "chance_absent": 0.25}
    kept |= {"mean_confidence": 0.75, "share_correct": 0.5}
    assert presence_lines(metrics)[0].endswith("of absence 50.0% (25.0%)")
    assert calibration_lines(metrics)[0].endswith("mean confidence 75.0%, accuracy 50.0%")
    assert lines[1].startswith(f"detections within 0.01: precision {found['precision@0.01']:.1%}, recall ")
    assert f"ECE {kept['ece']:.1%}, Brier {kept['brier']:.3f}" in lines[2]
    assert f"most confident half {sparse['error'][9]:.4f} (at best {sparse['oracle'][9]:.4f})" in lines[3]
    found |= {"average_precision": None, "precision@0.01": None}
    assert presence_lines(metrics)[0] == f"presence: {found['accuracy']:.1%} right"
    assert "precision –, recall" in presence_lines(metrics)[1]
    metrics["calibration"] = None
    assert calibration_lines(metrics) == []
    metrics["presence"] = None
    assert presence_lines(metrics)[0].startswith("presence: not trained, every keypoint counts as detected; ")


def test_a_table_of_numbers_that_are_not_there(cli, box_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("00000001-m10\n")
    result = cli("evaluate", box_copy, "--split", "one.txt")
    assert result.exit_code == 0, result.output
    assert "nan" not in result.stdout.lower()
    metrics = json.loads((box_copy / "metrics-one.json").read_text())
    metrics["expectation"]["mean_error"] = None
    print_metrics(metrics)


def test_a_detector_that_does_not_beat_the_template_is_called_so(cli, box_copy):
    text = cli("evaluate", box_copy).stdout
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    error, template = (metrics[estimate]["mean_error"] for estimate in ("expectation", "template"))
    assert ("does not beat the template on the split 'test'" in text) == (error >= template)
    lines = template_warning(0.0515, 0.0124, "diagonal", "test")
    assert lines[1] == "mean error 0.0515, template 0.0124 (shares of the bounding-box diagonal)."
    assert all(len(line) <= 80 for line in lines)
    assert template_warning(0.01, 0.0124, "raw", "val") == []
    assert template_warning(None, 0.0124, "raw", "val") == []


@pytest.mark.parametrize(("symmetry", "said"), [("none", True), ("reflection", False)])
def test_a_detector_trained_up_to_symmetry_is_not_held_against_the_template(cli, box_copy, capsys, symmetry, said):
    cli("evaluate", box_copy)
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    metrics["expectation"]["mean_error"] = 2 * metrics["template"]["mean_error"]
    metrics["settings"]["symmetry"] = symmetry
    print_metrics(metrics)
    assert ("does not beat the template" in capsys.readouterr().out) == said


def test_errors_and_radius_are_told_in_the_unit_of_the_files(cli, box_copy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cli("evaluate", box_copy)
    metrics = json.loads((box_copy / "metrics-test.json").read_text())
    capsys.readouterr()
    print_metrics(metrics)
    assert "errors in" not in capsys.readouterr().out
    error = {"mean_error": 1.2345, "mean_error/low": 1.1, "mean_error/high": 1.5, "median_error": 0.987}
    names = ("expectation", "snapped", "mode", "template", "template_snapped")
    metrics["lengths"] = {"unit": "mm", **dict.fromkeys(names, error), "radius": 3.21}
    metrics["radius"] = {"mean": 0.0321, "coverage": 0.875, "nominal": 0.9}
    metrics["confidence"]["calibrated"] = True
    print_metrics(metrics)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "errors in mm, the unit of the landmark files" in [line.strip() for line in lines]
    rows = [line.split() for line in lines]
    assert rows.count(["expectation", "1.23", "1.10–1.50", "0.99"]) == 1
    assert rows.count(["template", "snapped", "1.23", "1.10–1.50", "0.99"]) == 1
    assert "radius 0.032 (3.21 mm) covers 88% (nominal 90%)" in lines
    assert any(line.strip().startswith("lengths in mm, ") for line in lines)  # raw units are those of the files
    metrics |= {"unit": "diagonal", "stages": [{"name": "map", **metrics["expectation"]}]}
    print_metrics(metrics)
    text = capsys.readouterr().out
    assert "lengths in shares of the bounding-box diagonal" in text
    assert ["result", "1.23", "1.10–1.50", "0.99"] in [line.split() for line in text.splitlines()]
