import base64
import dataclasses
import json
import re
import zlib

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Skeleton
from pcsargmax.visualize import write_page
from pcsargmax.visualize.page.clouds import SWITCHES


def data_of(path) -> dict:
    """The data that a page holds."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def own_text(path) -> str:
    """A page without Plotly's library, which names addresses that it never asks for here."""
    from plotly.offline import get_plotlyjs

    text = path.read_text(encoding="utf-8")
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=dtype)


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (100.0, 1e6)])
def test_a_page_holds_points_maps_and_keypoints(mug, tmp_path, scale, origin):
    prediction = mug(scale=scale, origin=origin)
    (shape,) = data_of(write_page(prediction, tmp_path / "page.html"))["shapes"]
    low, high = prediction.points.min(axis=0), prediction.points.max(axis=0)
    points = unpack(shape["points"], "<i2").reshape(3, -1).T * shape["step"] + (low + high) / 2
    np.testing.assert_allclose(points, prediction.points, atol=0.51 * shape["step"])
    assert shape["step"] < 2e-5 * (high - low).max()

    levels = unpack(shape["maps"], "u1").reshape(4, 600).astype(float)
    peaks = np.array(shape["peaks"])[:, None]
    read = np.where(levels == 0, 0, peaks * (peaks * 600) ** ((levels - 255) / 254))
    above = prediction.probability >= 1 / 600
    np.testing.assert_allclose(read[above], prediction.probability[above], rtol=0.02)
    assert (read[~above] == 0).all()

    first, *_, last = shape["keypoints"]
    assert (first["name"], first["seen"], last["seen"], last["truth"]) == ("handle", True, False, None)
    assert first["position"] == prediction.position[0].tolist()
    assert first["error"] == pytest.approx(prediction.error[0], rel=1e-5)
    assert shape["unit"] == "file units"
    axes = np.array(first["axes"])
    np.testing.assert_allclose(axes @ axes.T, prediction.covariance[0], atol=1e-5 * scale**2)


def test_nothing_is_fetched(mug, tmp_path):
    text = own_text(write_page([mug(), mug(seed=1)], tmp_path / "page.html", title="two"))
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=[\"'](?!data:)", text)
    assert "@import" not in text


def test_names_cannot_break_out_of_the_page(mug, tmp_path):
    path = write_page(mug(), tmp_path / "page.html", title="<b>mugs</b>", metrics={"<i>": {"a&b": "<u>"}})
    text = own_text(path)
    assert text.count("</script>") == 3
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    assert data_of(path)["shapes"][0]["keypoints"][2]["name"] == "</script>"


def test_the_table_shows_every_metric(mug, tmp_path):
    metrics = {"sampling": {"PCK@0.01": 0.309, "note": "3 seeds"}, "template": {"PCK@0.01": 0.05931}, "shapes": 34}
    text = own_text(write_page(mug(), tmp_path / "page.html", metrics=metrics))
    table = re.search(r'<table id="metrics">.*?</table>', text, re.S)[0]
    column, row = '<th scope="col">', '<th scope="row">'
    assert f"{column}</th>{column}PCK@0.01</th>{column}note</th>{column}</th>" in table
    assert f"{row}sampling</th><td>0.309</td><td>3 seeds</td><td></td>" in table
    assert f"{row}template</th><td>0.05931</td><td></td><td></td>" in table
    assert f"{row}shapes</th><td></td><td></td><td>34</td>" in table
    assert 'id="metrics"' not in own_text(write_page(mug(), tmp_path / "other.html"))


def test_figures_are_inside(mug, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.savefig(tmp_path / "a.png")
    text = own_text(write_page(mug(), tmp_path / "p.html", figures={'say "x"': figure, "y": tmp_path / "a.png"}))
    assert text.count('src="data:image/png;base64,iVBOR') == 2
    assert 'alt="say &#34;x&#34;"' in text


def test_large_clouds_are_thinned_and_the_page_says_so(mug, tmp_path, monkeypatch):
    monkeypatch.setattr("pcsargmax.visualize.page.shapes.MAX_POINTS", 100)
    prediction = mug()
    (shape,) = data_of(write_page(prediction, tmp_path / "page.html"))["shapes"]
    assert shape["count"] == len(shape["index"]) <= 100
    assert set(prediction.point_index) <= set(shape["index"])
    assert shape["note"] == f"{shape['count']} of 600 points are shown."
    assert shape["chance"] == pytest.approx(1 / 600)


def test_two_hundred_shapes_stay_small(mug, tmp_path):
    one = mug(points=2048)
    rng = np.random.default_rng(0)
    aim = one.points[rng.integers(0, 2048, 20)]
    share = np.exp(
        -(np.linalg.norm(one.points - aim[:, None], axis=-1) ** 2) / (2 * 0.04**2) + rng.normal(0, 0.5, (20, 2048))
    )
    share /= share.sum(axis=1, keepdims=True)
    many = dataclasses.replace(
        one,
        keypoint_names=tuple(map(str, range(20))),
        position=aim,
        confidence=np.ones(20),
        covariance=np.tile(np.eye(3) * 1e-4, (20, 1, 1)),
        visibility=np.ones(20),
        point_index=np.zeros(20),
        probability=share,
        truth=aim,
    )
    sizes = [write_page([many] * count, tmp_path / "page.html").stat().st_size for count in (1, 5)]
    assert sizes[0] + 199 * (sizes[1] - sizes[0]) / 4 < 15e6


def test_odd_predictions_make_a_page(mug, tmp_path):
    one_point = dataclasses.replace(
        mug(),
        points=np.ones((1, 3)),
        position=np.ones((4, 3)),
        point_index=[0] * 4,
        probability=np.zeros((4, 1)),
        covariance=np.full((4, 3, 3), np.nan),
        confidence=np.full(4, np.nan),
        truth=None,
    )
    (shape,) = data_of(write_page(one_point, tmp_path / "page.html"))["shapes"]
    assert shape["keypoints"][0]["error"] is None
    assert shape["reach"] > 0
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        write_page([], tmp_path / "none.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_browser_draws_it_without_errors(mug, tmp_path, browse):
    page = write_page([mug(), mug(seed=1)], tmp_path / "page.html", keypoint="rim <b>")
    found = browse(
        page,
        """const seen = {map: by("map").value, coloured: by("plot").data[0].marker.colorbar.title.text,
             rows: by("keypoints").tBodies[0].rows.length, shown: by("shape").selectedOptions[0].text,
             hidden: [...document.querySelectorAll("#controls [hidden]")].map((one) => one.id)};
           ["log", "ellipsoids"].forEach((id) => { by(id).checked = true; });
           move(1); await start();
           dispatchEvent(new Event("beforeprint"));
           const copies = [...document.querySelectorAll("canvas.printed")].map((one) =>
             one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some((value) => value > 0));
           dispatchEvent(new Event("afterprint"));
           const left = document.querySelectorAll("canvas.printed").length;
           const traces = by("plot").data.map((one) => one.type);
           return {...seen, copies, left, traces, next: by("shape").value};""",
    )
    assert (found["map"], found["coloured"], found["rows"]) == ("1", "probability of rim &lt;b>", 4)
    assert (found["shown"], found["next"]) == ("mug <1> & co", "1")
    assert found["hidden"] == ["with-order", "with-same", "with-radius", "with-samples", "with-skeleton"]
    assert (found["copies"], found["left"]) == ([True], 0)  # what goes to paper is not blank
    # cloud, keypoints, truth, error lines, 3 ellipsoids
    assert found["traces"] == ["scatter3d"] * 4 + ["mesh3d"] * 3


def test_a_browser_starts_with_the_switches_as_they_are_set(mug, tmp_path, browse):
    switches = {"log": True, "ellipsoids": True, "truth": False, "names": False}
    found = browse(
        write_page(mug(), tmp_path / "page.html", switches=switches),
        """return {on: [...document.querySelectorAll("#controls input:checked")].map((one) => one.id),
             traces: by("plot").data.map((one) => one.type), least: by("plot").data[0].marker.cmin,
             tags: by("plot").layout.scene.annotations.length};""",
    )
    assert found["on"] == ["log", "same", "ellipsoids", "samples", "skeleton"]
    assert found["traces"] == ["scatter3d"] * 2 + ["mesh3d"] * 3  # neither annotations nor errors
    assert (found["least"], found["tags"]) == (-3, 0)


def test_a_switch_must_be_on_the_page(mug, tmp_path):
    with pytest.raises(ValueError, match=r"switches: expected some of log, .*, got 'glow'"):
        write_page(mug(), tmp_path / "page.html", switches={"glow": True})
    boxes = re.findall(r'type="checkbox" id="(\w+)"', own_text(write_page(mug(), tmp_path / "page.html")))
    assert tuple(boxes) == SWITCHES


def test_a_browser_draws_radii_samples_and_skeletons(mug, tmp_path, browse):
    one = mug()
    samples = one.position + np.random.default_rng(0).normal(0, 0.01, (7, 4, 3))
    skeleton = Skeleton([[0, 1], [1, 2]], [0.5, 1.0], np.zeros((10, 3)), [0] * 5 + [1] * 5)
    full = dataclasses.replace(one, radius=[0.1] * 4, radius_coverage=0.9, samples=samples, skeleton=skeleton)
    found = browse(
        write_page(full, tmp_path / "page.html"),
        """by("radius").checked = true; await start();
           const traces = by("plot").data, last = traces.at(-1), ball = traces.find((one) => one.type === "mesh3d");
           const all = last.x.length;
           by("map").value = "1"; await start();
           const drawn = by("plot").data.at(-1);
           return {text: by("radius-text").textContent, types: traces.map((one) => one.type + one.mode), all,
             ball: Math.max(...ball.x) - Math.min(...ball.x), one: [drawn.x, drawn.y, drawn.z].map((axis) => axis[0]),
             few: drawn.x.length, column: by("keypoints").tHead.rows[0].cells[3].textContent};""",
    )
    assert (found["text"], found["column"]) == ("90 % radius", "90 % radius (file units)")
    assert found["types"].count("mesh3dundefined") == 3
    assert found["types"].count("scatter3dlines") == 3  # two edges, and the errors
    assert found["ball"] == pytest.approx(0.2, rel=0.02)
    assert (found["all"], found["few"]) == (21, 7)  # the absent keypoint's are not drawn
    center = (one.points.min(axis=0) + one.points.max(axis=0)) / 2
    np.testing.assert_allclose(np.array(found["one"]) + center, samples[0, 1], atol=1e-4)


def test_two_methods_stand_side_by_side_and_turn_together(mug, tmp_path, browse):
    first, second = [mug(), mug(seed=1)], [dataclasses.replace(mug(seed=k), confidence=[0.5] * 4) for k in (0, 1)]
    page = write_page(first, tmp_path / "page.html", others=second, titles=("sampling", "soft"))
    data = data_of(page)
    assert [shape["points"] for shape in data["others"]] == [None, None]  # not kept twice
    found = browse(
        page,
        """const camera = (id) => by(id).layout.scene.camera.eye;
           const headings = [...document.querySelectorAll("#plots h3")].map((one) => one.textContent);
           const same = ["plot", "plot2"].map((id) => by(id).data[0].x.join() === by("plot").data[0].x.join());
           const before = camera("plot2").x;
           by("plot").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
           await new Promise((done) => setTimeout(done, 500));
           await start();
           const cells = [...by("keypoints").tBodies[0].rows[0].cells].map((cell) => cell.textContent);
           return {headings, same, before, eyes: [camera("plot"), camera("plot2")], cells};""",
    )
    assert found["headings"] == ["sampling", "soft"]
    assert found["same"] == [True, True]
    assert found["eyes"][0] == found["eyes"][1]
    assert found["eyes"][0]["x"] != found["before"]
    assert found["cells"][:3] == ["handle", "0.90", "0.50"]


def test_methods_share_their_scale_and_lend_their_radius(mug, tmp_path, browse):
    one = mug()
    far = dataclasses.replace(one, position=one.position * 3, radius=[0.1] * 4, radius_coverage=0.9)
    found = browse(
        write_page(
            dataclasses.replace(one, truth=None), tmp_path / "page.html", others=[dataclasses.replace(far, truth=None)]
        ),
        """return {reach: plots.map((plot) => plot.layout.scene.xaxis.range[1]), dark: by("with-dark").hidden,
             head: [...by("keypoints").tHead.rows[0].cells].map((cell) => cell.textContent)};""",
    )
    assert found["reach"][0] == found["reach"][1] > 1
    assert found["head"][-2:] == ["90 % radius (file units)"] * 2
    assert found["dark"]


def test_a_page_of_annotations_has_neither_probabilities_nor_confidence(mug, tmp_path, browse):
    page = write_page(dataclasses.replace(mug(), annotated=True, truth=None), tmp_path / "page.html")
    assert {keypoint["confidence"] for keypoint in data_of(page)["shapes"][0]["keypoints"]} == {None}
    found = browse(
        page,
        """const table = by("keypoints"), cells = (row) => [...row.cells].map((cell) => cell.textContent);
           const [cloud, keypoints] = by("plot").data;
           return {head: cells(table.tHead.rows[0]), rows: [...table.tBodies[0].rows].map(cells),
             scale: cloud.marker.showscale, told: by("told").textContent,
             texts: [cloud.text[0], ...keypoints.hovertext]};""",
    )
    assert found["head"] == ["keypoint", ""]
    assert [row[1] for row in found["rows"]] == ["annotated"] * 3 + ["absent"]
    assert found["scale"] is False
    assert not [text for text in [*found["texts"], found["told"]] if "prob" in text or "confidence" in text]


def test_a_page_is_as_narrow_as_a_phone(mug, tmp_path, browse):
    page = write_page(mug(), tmp_path / "page.html", metrics={"sampling": dict.fromkeys(map(str, range(20)), 0.25)})
    found = browse(
        page, "return [document.documentElement.scrollWidth, innerWidth, by('plot').clientWidth];", width=390
    )
    assert found[0] <= found[1] == 390
    assert found[2] > 300


def test_the_edges_of_a_skeleton_are_in_the_page(mug, tmp_path):
    plain = mug()
    assert data_of(write_page(plain, tmp_path / "plain.html"))["shapes"][0]["edges"] is None
    ends = np.array([[0, 1], [1, 2], [0, 3]])
    points = np.concatenate([np.linspace(plain.position[a], plain.position[b], 15) for a, b in ends])
    skeleton = Skeleton(ends, [0.75, 0.01, 1.0], points, np.repeat(np.arange(3), 15))
    page = write_page(dataclasses.replace(plain, skeleton=skeleton), tmp_path / "page.html")
    edges = data_of(page)["shapes"][0]["edges"]  # the second is faint, the third goes to an absent keypoint
    assert (edges["strength"], edges["counts"]) == ([0.75], [10])
    center = (plain.points.min(axis=0) + plain.points.max(axis=0)) / 2
    drawn = unpack(edges["packed"], "<i2").reshape(3, 10).T * edges["step"] + center
    np.testing.assert_allclose(drawn[2:], points[:15:2], atol=edges["step"])
    np.testing.assert_allclose(drawn[:2], plain.position[[0, 1]], atol=edges["step"])


def test_what_does_not_belong_together_is_refused(mug, tmp_path):
    path = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"keypoint: expected one of handle, .* got 'nose'"):
        write_page(mug(), path, keypoint="nose")
    with pytest.raises(ValueError, match="others: expected 1, one for each prediction, got 2"):
        write_page(mug(), path, others=[mug(), mug()])
    other = dataclasses.replace(mug(), name="cup")
    with pytest.raises(ValueError, match=r"others: expected the shapes of predictions in their order, mug .* got cup"):
        write_page(mug(), path, others=[other])
    assert not path.exists()


def test_a_browser_tells_the_unit_of_errors_and_radii(mug, tmp_path, browse):
    known = dataclasses.replace(mug(), radius=[0.1] * 4, radius_coverage=0.9, length_unit="mm")
    page = write_page(known, tmp_path / "page.html")
    assert data_of(page)["shapes"][0]["unit"] == "mm"
    found = browse(
        page,
        """const told = by("plot").data.map((one) => one.hovertext).filter(Array.isArray).flat();
           return {head: [...by("keypoints").tHead.rows[0].cells].map((cell) => cell.textContent), told: told[0]};""",
    )
    assert found["head"] == ["keypoint", "confidence", "error (mm)", "90 % radius (mm)"]
    assert "<br>error 0.0511" in found["told"]
    assert " mm<br>90 % radius 0.1 mm<br>" in found["told"]
