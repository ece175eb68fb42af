import base64
import dataclasses
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from pcsargmax.prediction import Skeleton
from pcsargmax.visualize import write_page


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
    table = re.search(r'<table id="metrics">.*?</table>', text)[0]
    assert "<th></th><th>PCK@0.01</th><th>note</th><th></th>" in table
    assert "<td>sampling</td><td>0.309</td><td>3 seeds</td><td></td>" in table
    assert "<td>template</td><td>0.05931</td><td></td><td></td>" in table
    assert "<td>shapes</td><td></td><td></td><td>34</td>" in table
    assert 'id="metrics"' not in own_text(write_page(mug(), tmp_path / "other.html"))


def test_figures_are_inside(mug, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.savefig(tmp_path / "a.png")
    text = own_text(write_page(mug(), tmp_path / "p.html", figures={'say "x"': figure, "y": tmp_path / "a.png"}))
    assert text.count('src="data:image/png;base64,iVBOR') == 2
    assert 'alt="say &quot;x&quot;"' in text


def test_large_clouds_are_thinned_and_the_page_says_so(mug, tmp_path, monkeypatch):
    monkeypatch.setattr("pcsargmax.visualize.page.MAX_POINTS", 100)
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


def test_a_browser_draws_it_without_errors(mug, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here to open the page with")
    page = write_page([mug(), mug(seed=1)], tmp_path / "page.html")
    # Draw again with everything switched on, then leave a mark that the dump shows.
    ticked = page.read_text(encoding="utf-8").replace('id="ellipsoids"', 'id="ellipsoids" checked')
    mark = """move(1); draw().then(() => {
      const gl = by("plot").querySelector(".no-webgl") ? "without" : "with";
      document.title = "drawn " + by("plot").data.length + " " + gl + " WebGL";
    });
    </script>\n</body>"""
    page.write_text(
        ticked.replace("</script>\n</body>", mark).replace('id="log"', 'id="log" checked'), encoding="utf-8"
    )
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    options += "--disable-component-update --disable-sync --use-gl=angle --use-angle=swiftshader "
    options += "--enable-unsafe-swiftshader --virtual-time-budget=8000 --enable-logging=stderr --v=0 --dump-dom"
    browser = subprocess.run(
        [chromium, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if browser.returncode != 0:
        pytest.skip(f"Chromium does not run here: {browser.stderr[-300:]}")
    if "without WebGL</title>" in browser.stdout:
        pytest.skip("this Chromium has no WebGL")
    errors = [line for line in browser.stderr.splitlines() if "CONSOLE" in line and "Error" in line]
    assert not errors
    # cloud, keypoints, truth, error lines, 3 ellipsoids
    assert "<title>drawn 7 with WebGL</title>" in browser.stdout
    assert 'id="failed" role="alert"></div>' in browser.stdout


def test_the_edges_of_a_skeleton_are_in_the_page(mug, tmp_path):
    plain = mug()
    assert data_of(write_page(plain, tmp_path / "plain.html"))["shapes"][0]["edges"] == []
    ends = np.array([[0, 1], [1, 2], [0, 3]])
    points = np.concatenate([np.linspace(plain.position[a], plain.position[b], 15) for a, b in ends])
    skeleton = Skeleton(ends, [0.75, 0.01, 1.0], points, np.repeat(np.arange(3), 15))
    page = write_page(dataclasses.replace(plain, skeleton=skeleton), tmp_path / "page.html")
    (edge,) = data_of(page)["shapes"][0]["edges"]  # the second is faint, the third goes to an absent keypoint
    assert edge["strength"] == 0.75
    center = (plain.points.min(axis=0) + plain.points.max(axis=0)) / 2
    drawn = np.array(edge["points"]).T + center
    np.testing.assert_allclose(drawn, points[:15:2], atol=1e-6)
    np.testing.assert_allclose(np.array(edge["ends"]).T + center, plain.position[[0, 1]], atol=1e-6)
