import dataclasses
import datetime
import html
import json
import re

import numpy as np
import pytest
import torch

from pcsargmax.models.template import Template
from pcsargmax.runs.evaluation.detector import Evaluation, Protocol
from pcsargmax.visualize.report import RunReport, write_report
from pcsargmax.visualize.report.parts import told

NOW = datetime.datetime(2026, 6, 5, 4, 3)


def own_text(path) -> str:
    """A page without Plotly's library, which names addresses that it never asks for here."""
    from plotly.offline import get_plotlyjs

    text = path.read_text(encoding="utf-8")
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def json_of(text: str, name: str):
    return json.loads(re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', text, re.S)[1])


def cells(text: str, name: str) -> list[list[str]]:
    """The cells of a table by its id, intervals behind a bar."""
    rows = re.search(rf'<table[^>]*id="{name}".*?</table>', text, re.S)[0].split("<tr")[1:]
    found = []
    for row in rows:
        parts = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        found.append([re.sub("<.*?>", "", part.replace('<span class="interval">', "|")) for part in parts])
    return found


def test_a_report_says_what_was_measured(make_report, tmp_path):
    report = make_report(off=0.01)
    text = own_text(write_report(report, tmp_path / "r.html", written=NOW))
    found = report.metrics["expectation"]
    for said in (
        "<title>mug: mug-run</title>",
        "mug, split &#39;test&#39;",
        "sampling, 10 samples, backbone fine, 100 epochs, seed 3",
        "best.ckpt, 2026-05-04 03:02",
        "2026-06-05 04:03",
        f"{100 * found['pck@0.02']:.1f}\u00a0% of 15 keypoints lie within 0.02 (raw units)",
    ):
        assert said in text
    header, *rows = cells(text, "per-keypoint")
    assert header == [
        "keypoint",
        "on shapes",
        "mean error",
        "median",
        "PCK@0.01",
        "PCK@0.02",
        "PCK@0.05",
        "mean confidence",
    ]
    assert rows[0][:2] == ["handle", "5 of 5"]
    assert rows[0][2].startswith(f"{found['error_per_keypoint'][0]:.4f}|")
    assert rows[3] == ["spout", "0 of 5", "–", "–", "–", "–", "–", "–"]
    header, *rows = cells(text, "per-shape")
    assert [row[0] for row in rows] == [
        f"m{k}" for k in np.argsort([-one.error[:3].mean() for one in report.predictions])
    ]
    ids = [chart["id"] for chart in json_of(text, "charts")]
    assert ids == [
        "chart-pck",
        "chart-reliability",
        "chart-sparsification",
        "chart-keypoints",
        "chart-shapes",
        "chart-training-0",
    ]
    assert all(f'id="{name}" role="img" aria-label="' in text for name in ids)


def test_what_a_run_was_calibrated_to_is_told(make_report, tmp_path):
    report = make_report()
    radius = {"symmetry": "none", "nominal": 0.9, "coverage": 0.875, "mean": 0.05, "form": "scaled"}
    confidence = report.metrics["confidence"] | {"calibrated": True, "symmetry": "all"}
    metrics = report.metrics | {"radius": radius, "confidence": confidence, "seen_in_training": 2}
    text = own_text(write_report(dataclasses.replace(report, metrics=metrics), tmp_path / "r.html"))
    assert re.search(r"coverage of the radius</div>.*?87\.5 %.*?nominal 90\.0 %", text)
    assert "fitted on the validation split" in text
    assert "up to the symmetry of the training" in text
    assert "2 of these shapes were trained on or chose the checkpoint" in text


def test_two_runs_stand_side_by_side(make_report, tmp_path):
    first, second = make_report("a", off=0.05, shapes=6), make_report("b", objective="soft", shapes=6)
    text = own_text(write_report(first, tmp_path / "r.html", against=second))
    assert "<title>mug: sampling, N_s = 10 against soft-argmax</title>" in text
    assert cells(text, "runs")[1:3] == [
        ["Run", "a", "b"],
        [
            "Training",
            "sampling, 10 samples, backbone fine, 100 epochs, seed 3",
            "soft, backbone fine, 100 epochs, seed 3",
        ],
    ]
    header, *rows = cells(text, "differences")
    assert header[:4] == ["", "sampling, N_s = 10", "soft-argmax", "sampling, N_s = 10 − soft-argmax"]
    by_name = {row[0]: row for row in rows}
    assert by_name["mean error"][-1] == "soft-argmax is better"
    both = ["mean error|sampling, N_s = 10", "mean error|soft-argmax"]
    assert cells(text, "per-keypoint")[0][2:5] == [*both, "difference"]
    data = json_of(text, "data")
    assert data["titles"] == ["sampling, N_s = 10", "soft-argmax"]
    assert (len(data["shapes"]), len(data["others"])) == (6, 6)
    assert all(one["points"] is None for one in data["others"])
    assert "1 differ" in text
    assert "All 6 shapes, by their mean error of sampling, N_s = 10." in text
    assert "were evaluated on" not in text
    assert text.count(">template</th>") == 1  # it is the same for both


def test_rows_of_keypoints_and_shapes_hold_their_errors(make_report, tmp_path):
    first, second = make_report("a", off=0.02), make_report("b", objective="soft")
    text = own_text(write_report(first, tmp_path / "r.html", against=second))
    errors, others = (np.array(one.metrics["shapes"]["errors"]["expectation"], dtype=float) for one in (first, second))
    confidence = np.array(first.metrics["shapes"]["confidence"])
    header, row, *_ = cells(text, "per-keypoint")
    assert row[header.index("median|sampling, N_s = 10")] == told(np.median(errors[:, 0]), "length")
    assert row[header.index("mean confidence|sampling, N_s = 10")] == told(confidence[:, 0].mean(), "share")
    header, *rows = cells(text, "per-shape")
    (row,) = [row for row in rows if row[0] == "m4"]
    worst = first.metrics["keypoint_names"][int(np.nanargmax(errors[4]))]
    assert row[header.index("difference")] == told(np.nanmean(errors[4]) - np.nanmean(others[4]), "length", signed=True)
    assert row[header.index("largest error|sampling, N_s = 10")] == told(np.nanmax(errors[4]), "length")
    assert row[header.index("of keypoint|sampling, N_s = 10")] == html.escape(worst)


def test_runs_on_unlike_shapes_are_told_apart(make_report, make_discovery, tmp_path):
    first, second = make_report("a", shapes=6), make_report("b", shapes=4)
    text = own_text(write_report(first, tmp_path / "r.html", against=second))
    assert "the runs were evaluated on 6 and 4 shapes, 4 of which both have" in text
    assert "Difference on the 4 shapes" in text
    assert len(json_of(text, "data")["shapes"]) == 4
    both = make_discovery("a", shapes=6), make_discovery("b", shapes=5)
    text = own_text(write_report(both[0], tmp_path / "r.html", against=both[1]))
    assert "the runs were evaluated on 6 and 5 shapes, 5 of which both have" in text
    assert "Difference on the 5 annotated shapes" in text


def test_what_confidence_is_about_is_told(make_report, tmp_path):
    plain, second = make_report("a", shapes=6), make_report("b", shapes=6)
    blocks = {key: second.metrics[key] | {"symmetry": "all"} for key in ("confidence", "calibration", "sparsification")}
    second = dataclasses.replace(second, metrics=second.metrics | blocks)
    text = own_text(write_report(plain, tmp_path / "r.html", against=second))
    assert "pp: percentage points. Confidence is not compared" in text
    assert "bounding-box diagonal, up to the symmetry of the training. On the dotted line" in text
    assert "Mean error, up to the symmetry of the training, of the keypoints" in text
    assert "symmetry" not in own_text(write_report(plain, tmp_path / "r.html")).split("<script")[0].split("settings")[0]


def test_intervals_of_differences_are_drawn_by_the_seed(make_report, tmp_path):
    pair = make_report("a", off=0.02, shapes=6), make_report("b", shapes=6)
    pages = [own_text(write_report(pair[0], tmp_path / "r.html", against=pair[1], seed=seed)) for seed in (0, 1)]
    for table, row, column in (("differences", 4, 3), ("per-keypoint", 1, 4)):
        assert len({cells(page, table)[row][column] for page in pages}) == 2


def test_a_discovery_has_a_report_of_its_own(make_discovery, tmp_path):
    text = own_text(write_report(make_discovery(), tmp_path / "r.html"))
    assert "DAS above chance" in text
    assert "PCK" not in text
    data = json_of(text, "data")
    assert (data["truthName"], data["scores"]["name"], data["scores"]["share"]) == ("annotations", "agreement", True)
    assert data["shapes"][0]["edges"]["counts"] == [4] * 6
    two = own_text(write_report(make_discovery(), tmp_path / "two.html", against=make_discovery("other", swapped=3)))
    assert cells(two, "differences")[1][0] == "DAS"
    assert [chart["id"] for chart in json_of(two, "charts")][:2] == ["chart-agreement-0", "chart-agreement-1"]
    bare = own_text(write_report(make_discovery(annotated=False), tmp_path / "bare.html"))
    assert 'href="#curves"' not in bare
    assert 'id="chart-shapes"' in bare


def test_one_shape_is_enough(make_report, make_discovery, tmp_path):
    for number, report in enumerate(
        (make_report(shapes=1), make_discovery(shapes=1), make_discovery(shapes=1, annotated=False))
    ):
        text = own_text(write_report(report, tmp_path / f"{number}.html"))
        assert not re.search(r"\b(nan|inf)\b", text[: text.index("<script")])


def test_names_cannot_break_out_and_nothing_is_fetched(make_report, tmp_path):
    report = dataclasses.replace(make_report(), name='<b>"run"</b>')
    text = own_text(write_report(report, tmp_path / "r.html"))
    assert text.count("</script>") == 4
    ids = re.findall(r'\bid="([^"]+)"', text[: text.index("<script")])
    assert len(ids) == len(set(ids)) > 30
    assert "<b>" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=[\"'](?!data:|#)", text)


def test_a_number_of_shapes_must_be_one(make_report, tmp_path):
    with pytest.raises(ValueError, match="shapes must be at least 1, got 0"):
        write_report(make_report(), tmp_path / "r.html", shapes=0)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".html"] == []


def test_a_browser_shows_everything_without_errors(make_report, tmp_path, browse):
    page = write_report(make_report(off=0.02), tmp_path / "r.html", shapes=4)
    found = browse(
        page,
        """await charted;
           const layers = ".scatterlayer .trace, .barlayer .trace";
           const drawn = CHARTS.map((one) => by(one.id).querySelectorAll(layers).length);
           const first = by("shape").selectedOptions[0].text;
           by("order").value = "best"; by("order").onchange(); await start();
           const best = by("shape").selectedOptions[0].text;
           const names = () => [...by("per-shape").tBodies[0].rows].map((row) => row.cells[0].textContent);
           const before = names(), heads = [...by("per-shape").tHead.rows[0].cells];
           heads[2].querySelector("button").click();
           const sorted = [names(), heads[2].getAttribute("aria-sort")];
           heads[2].querySelector("button").click();
           const again = [names(), heads[2].getAttribute("aria-sort")];
           const button = document.querySelector("button[data-shape='1']");
           button.click(); await start();
           const ticks = [...by("chart-keypoints").querySelectorAll(".ytick text")].map((one) => one.textContent);
           return {ticks, dark: by("with-dark").textContent,
             drawn, first, best, before, sorted, again, opened: [by("shape").value, button.textContent],
             told: by("told").textContent, focus: document.activeElement.id,
             buttons: document.querySelectorAll("button[data-shape]").length};""",
    )
    assert found["ticks"][::-1] == ["handle", "rim <b>", "</script>", "spout"]  # as they are, not as tags
    assert found["dark"].startswith("Dark points and lines: truth and errors.")
    assert all(count > 0 for count in found["drawn"])
    assert found["first"].endswith(found["before"][0])
    assert found["best"].endswith(found["before"][-1])
    assert found["sorted"] == [found["before"][::-1], "ascending"]
    assert found["again"] == [found["before"], "descending"]
    assert found["opened"] == ["1", found["before"][1]]
    assert found["told"].startswith(f"{found['before'][1]}, shape 3 of 4: 3 of 4 keypoints on it, mean error 0.")
    assert found["focus"] == "plot"
    assert found["buttons"] == 4  # the fifth shape is only in the table


def test_a_browser_shows_two_runs_on_a_phone(make_report, tmp_path, browse):
    page = write_report(make_report("a", off=0.02), tmp_path / "r.html", against=make_report("b", objective="soft"))
    found = browse(
        page,
        """await charted;
           const wide = [...document.querySelectorAll(".wide")].filter((one) => one.clientWidth > innerWidth).length;
           return {size: [document.documentElement.scrollWidth, innerWidth], wide,
             charts: CHARTS.map((one) => by(one.id).clientWidth), clouds: plots.map((plot) => plot.clientWidth),
             under: plots[1].getBoundingClientRect().top > plots[0].getBoundingClientRect().bottom};""",
        width=390,
    )
    assert found["size"][0] <= found["size"][1] == 390
    assert found["wide"] == 0
    assert all(300 < width <= 390 for width in found["charts"] + found["clouds"])
    assert found["under"]


def test_a_browser_shows_a_discovery(make_discovery, tmp_path, browse):
    page = write_report(make_discovery(), tmp_path / "r.html", against=make_discovery("other"))
    found = browse(
        page,
        """await charted;
           return {tables: by("keypoints").tHead ? by("keypoints").querySelectorAll("thead").length : 0,
             option: by("shape").selectedOptions[0].text, annotations: by("truth-text").textContent,
             heat: document.querySelectorAll(".heatmaplayer image").length,
             traces: plots.map((plot) => plot.data.filter((one) => one.mode === "lines").length)};""",
    )
    assert found["tables"] == 1  # the same names: one table
    assert re.match(r"\d+\.\d % · m0", found["option"])
    assert found["annotations"] == "annotations"
    assert found["heat"] == 2
    assert found["traces"] == [7, 7]  # six edges and the errors


def test_two_hundred_shapes_of_two_runs_stay_below_fifteen_megabytes(mug, tmp_path):
    """2048 points and 20 keypoints a shape, each map spread over a hundred points or more."""
    base = mug(points=2048)
    rng = np.random.default_rng(0)
    aim = base.points[rng.integers(0, 2048, 20)]
    away = np.linalg.norm(base.points - aim[:, None], axis=-1)
    share = np.exp(-(away**2) / (2 * 0.03**2) + rng.normal(0, 0.5, (20, 2048)))
    names = tuple(f"keypoint {k}" for k in range(20))
    found, pairs = [], []
    for number in range(200):
        cloud = base.points + rng.normal(0, 1e-3, base.points.shape)
        one = dataclasses.replace(
            base,
            name=f"model-{number:032d}",
            points=cloud,
            keypoint_names=names,
            position=aim + rng.normal(0, 0.01, aim.shape),
            confidence=rng.uniform(0, 1, 20),
            covariance=np.tile(np.eye(3) * 1e-4, (20, 1, 1)),
            visibility=np.ones(20),
            point_index=np.zeros(20),
            probability=share / share.sum(axis=1, keepdims=True),
            truth=aim,
            radius=np.full(20, 0.05),
            radius_coverage=0.9,
        )
        found.append(one)
        pairs.append(item_of(one))
    counted = Evaluation(Protocol(), Template.fit(pairs[:20]), None, None)
    for item, one in zip(pairs[:20], found, strict=False):  # ten times the same figures, for the sake of time
        counted.update(item, one, 1.0)
    metrics = counted.compute()
    kept = metrics["shapes"] | {"model_id": [one.name for one in found]}
    kept |= {key: 10 * kept[key] for key in ("diagonal", "visible", "confidence")}
    kept["errors"] = {name: 10 * rows for name, rows in kept["errors"].items()}
    head = {"data": "mug", "split": "test", "unit": "raw", "objective": "soft", "checkpoint": "last.ckpt"}
    head |= {"settings": {"backbone": "fine", "epochs": 1, "seed": 0, "num_samples": 10}, "keypoint_names": list(names)}
    head |= {"seconds_per_cloud": 0.0, "seen_in_training": 0}
    report = RunReport("run", head | metrics | {"shapes": kept}, tuple(found))
    page = write_report(report, tmp_path / "two.html", against=dataclasses.replace(report, name="other"))
    assert len(json_of(page.read_text(encoding="utf-8"), "data")["others"]) == 200
    assert 5e6 < page.stat().st_size < 15e6


def item_of(prediction):
    from torch_geometric.data import Data

    return Data(
        pos=torch.from_numpy(prediction.points).float(),
        keypoint_pos=torch.from_numpy(prediction.truth)[None],
        keypoint_visible=torch.ones(1, 20, dtype=torch.bool),
        model_id=prediction.name,
    )


@pytest.mark.parametrize("unit", ["raw", "diagonal"])
def test_errors_are_told_in_the_unit_of_the_files(make_report, tmp_path, unit):
    report = make_report(off=0.01, unit=unit, length_unit="mm")
    text = own_text(write_report(report, tmp_path / "r.html"))
    errors = np.array([one.error for one in report.predictions])
    mean = told(np.nanmean(errors), "length")
    assert re.search(rf"mean error \(mm\)</div>.*?{re.escape(mean)}", text)
    assert re.search('<p class="caption"[^>]*>Errors in mm, the unit of the landmark files<', text)
    assert ("bounding-box diagonals" in text) == (unit == "diagonal")
    assert "raw units" not in text
    assert "Errors beside the pictures are in mm." in text
    header, *rows = cells(text, "per-keypoint")
    place = header.index("mean error (mm)")
    for row, values in zip(rows[:3], errors.T, strict=False):
        assert row[place] == told(values.mean(), "length")
    assert rows[3][place] == "–"
    header, *rows = cells(text, "per-shape")
    by_name = {row[0]: row[header.index("mean error (mm)")] for row in rows}
    assert by_name == {
        one.name: told(value, "length")
        for one, value in zip(report.predictions, np.nanmean(errors, axis=1), strict=True)
    }


def test_the_radius_is_told_in_the_unit_of_the_files(make_report, tmp_path):
    report = make_report(unit="diagonal", length_unit="mm")
    radius = {"symmetry": "none", "nominal": 0.9, "coverage": 0.875, "mean": 0.05, "form": "scaled"}
    lengths = report.metrics["lengths"] | {"radius": 2.5}
    metrics = report.metrics | {"radius": radius, "lengths": lengths}
    text = own_text(write_report(dataclasses.replace(report, metrics=metrics), tmp_path / "r.html"))
    row = re.search(r"mean radius \(mm\).*?</tr>", text, re.S)[0]
    assert "2.5" in row


def test_without_a_unit_errors_beside_pictures_are_in_file_units(make_report, make_discovery, tmp_path):
    for report in (make_report(), make_discovery()):
        text = own_text(write_report(report, tmp_path / "r.html"))
        assert "Errors beside the pictures are in file units." in text
        assert "(mm)" not in text
