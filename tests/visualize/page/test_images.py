import re

from pcsargmax.visualize.page.images import write_image_page


def test_a_page_needs_no_network(face, tmp_path):
    page = write_image_page(face(), tmp_path / "a.html", title="<b>faces</b>")
    text = page.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;faces&lt;/b&gt;</title>" in text
    assert "left <b>" not in text
    assert "https:" not in text
    assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=[\"'](?!data:|#)", text)
    assert "Plotly.newPlot" not in text  # nothing of it is drawn by Plotly
    assert page.stat().st_size < 100_000
    ids = re.findall(r'\bid="([^"]+)"', text[: text.index("<script")])
    assert len(ids) == len(set(ids)) > 15
    assert "three dimensions" not in text


def test_a_browser_shows_keypoints_and_maps(face, tmp_path, browse):
    page = write_image_page([face(0), face(1)], tmp_path / "a.html")
    found = browse(
        page,
        """const svg = plots[0], discs = () => svg.querySelectorAll("ellipse").length;
           const count = (kind) => svg.querySelectorAll(kind).length, width = () => svg.viewBox.baseVal.width;
           const first = {discs: discs(), lines: count("line"), names: count("text"), images: count("image"),
             told: by("told").textContent}, wide = width();
           by("truth").checked = false; by("layer").checked = false; by("names").checked = false; await start();
           const less = {discs: discs(), images: svg.querySelectorAll("image").length};
           by("layer").checked = true; by("map").value = "2"; await start();
           const title = svg.parentNode.querySelector(".scale").firstChild.textContent;
           move(1); await start();
           zoomAt(2); await start();
           return {first, less, title, option: by("shape").selectedOptions[0].text, zoom: wide / width(),
             chosen: by("keypoints").querySelector(".chosen").cells[0].textContent,
             texts: [...svg.querySelectorAll("text")].map((one) => one.textContent),
             columns: [...by("keypoints").tHead.rows[0].cells].map((one) => one.textContent)};""",
    )
    assert found["first"]["discs"] == 4 + 3  # and three true places
    assert (found["first"]["lines"], found["first"]["names"], found["first"]["images"]) == (6, 4, 2)
    assert found["first"]["told"].startswith("face0.png, image 1 of 2: 4 of 4 keypoints in it; coloured by the largest")
    assert found["less"] == {"discs": 4, "images": 1}
    assert found["title"] == "probability of nose"
    assert (found["option"], found["chosen"], found["texts"]) == ("face1.png", "nose", ["nose"])
    assert found["columns"] == ["keypoint", "confidence", "error (px)"]
    assert abs(found["zoom"] - 2) < 1e-6


def test_a_browser_decodes_the_maps(face, tmp_path, browse):
    one = face()
    page = write_image_page(one, tmp_path / "a.html")
    asked = "const shape = DATA.shapes[0]; const maps = await probabilities(shape, 64, shape.least);"
    maps = browse(page, f"{asked} return maps.map((map) => Array.from(map));")
    least = min(1 / 64, one.probability.max(axis=(1, 2)).min() / 20)
    for found, expected in zip(maps, one.probability.reshape(4, 64), strict=True):
        for value, true in zip(found, expected.tolist(), strict=True):
            assert value == 0 if true < least else abs(value - true) < 0.02 * true


def test_a_browser_shows_two_methods_on_a_phone(face, tmp_path, browse):
    page = write_image_page([face()], tmp_path / "a.html", others=[face(off=3)], titles=("soft", "sampling"))
    found = browse(
        page,
        """return {size: [document.documentElement.scrollWidth, innerWidth],
             widths: plots.map((plot) => plot.clientWidth),
             under: plots[1].getBoundingClientRect().top > plots[0].getBoundingClientRect().bottom,
             errors: [...by("keypoints").tBodies[0].rows[2].cells].map((cell) => cell.textContent),
             images: plots.map((plot) => plot.querySelector("image").getAttribute("href").slice(0, 15))};""",
        width=390,
    )
    assert found["size"][0] <= found["size"][1] == 390
    assert all(250 < width <= 390 for width in found["widths"])
    assert found["under"]
    assert found["errors"][-2:] == ["2.00", "6.00"]
    assert found["images"] == ["data:image/jpeg"] * 2


def test_a_browser_shows_surfaces(oct_slice, tmp_path, browse):
    page = write_image_page([oct_slice()], tmp_path / "a.html", keypoint="bottom")
    found = browse(
        page,
        """const paths = () => [...plots[0].querySelectorAll("path")].map((path) => path.getAttribute("d"));
           const chosen = paths();
           by("map").value = "-1"; await start();
           return {chosen, all: paths().length, hidden: by("with-log").hidden,
             text: by("ellipsoids-text").textContent};""",
    )
    assert found["all"] == 4 + 2 * 2  # true rows with their rims, bands and lines
    assert len(found["chosen"]) == 4 + 3
    assert found["chosen"][2].startswith("M10 12L11 12")  # the first ten columns are not known
    assert (found["hidden"], found["text"]) == (True, "1 σ bands")
