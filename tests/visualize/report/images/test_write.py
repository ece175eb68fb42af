import dataclasses
import datetime
import html
import json
import re

import numpy as np
import pytest

from pcsargmax.visualize.report.images.write import check_alike, measure_image_run, method_of, write_image_report
from pcsargmax.visualize.report.parts import told
from pcsargmax.visualize.report.rows import mean_of

WRITTEN = datetime.datetime(2030, 5, 6, 7, 8)


def own_text(page) -> str:
    """The page without Plotly."""
    text = page.read_text(encoding="utf-8")
    scripts = re.findall(r"<script>.*?</script>", text, re.S)
    return text.replace(max(scripts, key=len), "")


def json_of(text, name):
    return json.loads(re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', text, re.S)[1])


def cells(text, name) -> list[list[str]]:
    """The cells of a table."""
    inside = re.search(rf'<table[^>]* id="{name}".*?</table>', text, re.S)[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", inside, re.S)
    made = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
    return [
        [html.unescape(re.sub(r"<[^>]+>", "", cell.replace('<span class="interval">', "|"))) for cell in row]
        for row in made
    ]


def test_a_run_of_keypoints_has_every_part(untrained, tmp_path):
    run = untrained()
    report = measure_image_run(run)
    page = write_image_report(report, tmp_path / "r.html", images=2, written=WRITTEN)
    text = own_text(page)
    assert "2030-05-06 07:08" in text
    assert "soft" not in re.search(r"<dd>(triangular[^<]*)</dd>", text)[1]
    for section in ("Figures", "Images", "Curves", "Every keypoint", "Every image", "Settings"):
        assert f"<h2>{section}</h2>" in text
    assert "2 of 3 images: worst half, best quarter, others, by their NME." in text
    data = json_of(text, "data")
    assert (len(data["shapes"]), data["scores"]["name"], data["scores"]["share"]) == (2, "NME", True)
    ids = [chart["id"] for chart in json_of(text, "charts")]
    assert ids == [
        "chart-pck",
        "chart-errors",
        "chart-reliability",
        "chart-sparsification",
        "chart-keypoints",
        "chart-shapes",
    ]
    assert all(f'id="{name}" role="img" aria-label="' in text for name in ids)
    assert not re.search(r"\b(nan|inf)\b", text[: text.index("<script")].split("<section")[1])


def test_the_tables_hold_the_errors(untrained, tmp_path):
    report = measure_image_run(untrained())
    text = own_text(write_image_report(report, tmp_path / "r.html"))
    errors, length = report.values("errors"), report.values("length")
    nme = mean_of(errors / length[:, None])
    header, *rows = cells(text, "per-shape")
    assert header[:4] == ["image", "keypoints", "NME", "mean error (px)"]
    assert len(rows) == 3
    for name, value, row in zip(report.item_names, nme, range(3), strict=True):
        (line,) = [one for one in rows if one[0] == name]
        assert line[2] == told(value, "share")
        assert line[3] == told(np.nanmean(errors[row]), "length")
    header, *rows = cells(text, "per-keypoint")
    assert [row[0] for row in rows] == ["left_eye", "right_eye", "nose"]
    assert rows[2][header.index("mean error (px)")].split("|")[0] == told(np.nanmean(errors[:, 2]), "length")
    assert f"the mean error of a keypoint is {told(np.nanmean(nme), 'share').replace(' %', chr(0xA0) + '%')}" in text


def test_two_runs_stand_side_by_side(untrained, tmp_path):
    first, second = measure_image_run(untrained("a")), measure_image_run(untrained("b", 1, objective="soft"))
    text = own_text(write_image_report(first, tmp_path / "r.html", against=second))
    labels = [method_of(one.metrics["settings"]) for one in (first, second)]
    assert labels == ["triangular basis, N_s = 2", "soft-argmax"]
    header, *rows = cells(text, "differences")
    assert header[:4] == ["", *labels, " − ".join(labels)]
    assert rows[0][0] == "NME"
    assert json_of(text, "data")["titles"] == labels
    assert all(one["image"] is None for one in json_of(text, "data")["others"])
    assert cells(text, "per-keypoint")[0][2:5] == [*(f"mean error (px)|{label}" for label in labels), "difference"]


def test_runs_on_unlike_images_are_told_apart(untrained, tmp_path):
    first, second = measure_image_run(untrained("a")), measure_image_run(untrained("b", 1), "all")
    text = own_text(write_image_report(first, tmp_path / "r.html", against=second))
    assert "the runs were evaluated on 3 and 5 images, 3 of which both have" in text
    data = json_of(text, "data")
    assert [one["name"] for one in data["shapes"]] == [one["name"] for one in data["others"]]


def test_a_run_of_surfaces_has_a_report_of_its_own(untrained_slices, tmp_path):
    reports = [measure_image_run(untrained_slices(name, seed)) for name, seed in (("a", 0), ("b", 1))]
    assert len(reports[0].within) == 2
    assert 0 <= reports[0].within[0] <= reports[0].within[1] <= 1
    text = own_text(write_image_report(reports[0], tmp_path / "r.html"))
    assert "Every surface" in text
    assert "NME" not in text
    assert json_of(text, "data")["what"] == "surface"
    assert "by their mean error in pixels" in text
    mad = reports[0].metrics["surfaces"]["mad_per_surface"][0]
    assert cells(text, "per-keypoint")[1][1] == told(mad, "length")
    two = own_text(write_image_report(reports[0], tmp_path / "two.html", against=reports[1]))
    assert cells(two, "differences")[1][0] == "mean error of a slice"
    assert json_of(two, "data")["titles"] == ["a", "b"]


def test_sizes_of_which_nobody_is_there_have_a_dash(untrained, tmp_path):
    report = measure_image_run(untrained())
    found = dict.fromkeys(("ap", "ap50", "ap75", "ap_medium", "ar", "ar50", "ar75"), 0.5) | {"ap_large": -1.0}
    metrics = {**report.metrics, "people": {"ap": found, "oks": None}, "boxes": "annotated"}
    text = own_text(write_image_report(dataclasses.replace(report, metrics=metrics), tmp_path / "r.html"))
    assert "50.0 %" in text
    assert "100.0 %" not in text.split("AP_LARGE")[1].split("</table>")[0]


def test_images_without_annotations_have_a_report(untrained, tmp_path):
    report = measure_image_run(untrained())
    blind = {"nme": None, "pck": None, "confidence": None}
    images = report.metrics["images"]
    images = images | {"errors": [[None] * 3 for _ in images["errors"]]}
    report = dataclasses.replace(report, metrics={**report.metrics, **blind, "images": images})
    text = own_text(write_image_report(report, tmp_path / "r.html"))
    assert "Nothing is annotated in these images" in text
    assert 'href="#curves"' not in text


def test_what_was_seen_in_training_is_said(untrained, tmp_path):
    report = measure_image_run(untrained())
    report = dataclasses.replace(report, metrics={**report.metrics, "seen_in_training": 2})
    text = own_text(write_image_report(report, tmp_path / "r.html"))
    assert "2 of these images were trained on or chose the checkpoint" in text


def test_runs_that_cannot_be_compared_are_refused(untrained, untrained_slices, tmp_path):
    face, slices = untrained("a"), untrained_slices("b")
    with pytest.raises(ValueError, match="against: expected a run of keypoints as a is, got b, a run of surfaces"):
        check_alike(face, slices)
    other = dataclasses.replace(face, keypoint_names=("x", "y", "z"))
    with pytest.raises(
        ValueError, match="against: expected the keypoints of a, left_eye, right_eye, nose; got those of a, x, y, z"
    ):
        check_alike(face, other)
    report = measure_image_run(face)
    images = report.metrics["images"] | {"name": ["x", "y", "z"]}
    strange = dataclasses.replace(report, metrics={**report.metrics, "images": images})
    with pytest.raises(ValueError, match="a and a have none in common"):
        write_image_report(report, tmp_path / "r.html", against=strange)
    with pytest.raises(ValueError, match="shapes must be at least 1, got 0"):
        write_image_report(report, tmp_path / "r.html", images=0)
    assert not list(tmp_path.glob("*.html"))


def test_a_browser_shows_everything_without_errors(untrained, tmp_path, browse):
    page = write_image_report(measure_image_run(untrained()), tmp_path / "r.html", images=2)
    found = browse(
        page,
        """await charted;
           const layers = ".scatterlayer .trace";
           const drawn = CHARTS.map((one) => by(one.id).querySelectorAll(layers).length);
           const button = document.querySelector("button[data-shape='0']");
           button.click(); await start();
           return {drawn, opened: [by("shape").value, by("shape").selectedOptions[0].text, button.textContent],
             buttons: document.querySelectorAll("button[data-shape]").length, focus: document.activeElement.id,
             told: by("told").textContent};""",
    )
    assert all(count > 0 for count in found["drawn"])
    number, option, name = found["opened"]
    assert number == "0"
    assert re.fullmatch(rf"\d+\.\d % · {re.escape(name)}", option)
    assert (found["buttons"], found["focus"]) == (2, "plot")
    assert found["told"].startswith(f"{name}, image ")
