import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from pcsargmax.predictions.cloud import Prediction


def make_mug(*, scale: float = 1.0, origin: float = 0.0, points: int = 600, seed: int = 0) -> Prediction:
    """A mug-like cloud, y up, with 4 keypoints (the last absent), peaked maps and a truth nearby."""
    rng = np.random.default_rng(seed)
    turn, height = rng.uniform(0, 2 * np.pi, points), rng.uniform(-0.3, 0.3, points)
    cloud = np.stack([0.25 * np.cos(turn), height, 0.25 * np.sin(turn)], axis=1)
    handle = points // 5
    bow = rng.uniform(-np.pi / 2, np.pi / 2, handle)
    cloud[:handle] = np.stack([0.25 + 0.15 * np.cos(bow), 0.2 * np.sin(bow), np.zeros(handle)], axis=1)
    truth = np.array([[0.4, 0, 0], [-0.25, 0.3, 0], [0, -0.3, 0.25], [np.nan] * 3])
    aim = np.nan_to_num(truth)
    distance = np.linalg.norm(cloud - aim[:, None], axis=-1)
    probability = np.exp(-(distance**2) / (2 * 0.05**2))
    probability /= probability.sum(axis=1, keepdims=True)
    position = aim + rng.normal(0, 0.02, aim.shape)
    return Prediction(
        name="mug <1> & co",
        points=cloud * scale + origin,
        keypoint_names=("handle", "rim <b>", "</script>", "spout"),
        position=position * scale + origin,
        confidence=[0.9, 0.8, 0.7, 0.1],
        covariance=np.tile(np.diag([0.03, 0.02, 0.01]) ** 2, (4, 1, 1)) * scale**2,
        visibility=[0.99, 0.9, 0.8, 0.1],
        point_index=np.linalg.norm(cloud - position[:, None], axis=-1).argmin(axis=1),
        probability=probability,
        truth=truth * scale + origin,
    )


@pytest.fixture
def mug():
    """Make mugs of any scale and place."""
    return make_mug


_WATCH = """<script>
  const problems = [];
  addEventListener("error", (event) => problems.push(event.message));
  addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
  ["error", "warn"].forEach((level) => { console[level] = (...words) => problems.push(words.join(" ")); });
</script>"""
_ASK = """
  const answer = (told) => { document.title = "answer " + told; parent.postMessage(document.title, "*"); };
  (async () => {
    await ready;
    const found = await (async () => { ASKED })();
    const gl = !document.querySelector(".no-webgl");
    answer(JSON.stringify({found, problems, gl, failed: by("failed").textContent}));
  })().catch((error) => answer(JSON.stringify({problems: [error.stack], gl: true, failed: ""})));
</script>\n</body>"""


@pytest.fixture
def browse(tmp_path):
    """Open a page in headless Chromium and ask it something: browse(page, "return DATA.shapes.length", width=390).

    The page must show no error and log none. Skips where there is no Chromium, or none that draws.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here to open the page with")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    options += "--disable-component-update --disable-sync --use-gl=angle --use-angle=swiftshader "
    options += "--enable-unsafe-swiftshader --virtual-time-budget=20000 --dump-dom"

    def ask(page, script: str, *, width: int = 1280):
        text = page.read_text(encoding="utf-8")
        assert text.count("<head>") == 1
        assert text.endswith("</script>\n</body>\n</html>\n")
        text = text.replace("<head>", "<head>" + _WATCH).removesuffix("</script>\n</body>\n</html>\n")
        (tmp_path / "asked.html").write_text(text + _ASK.replace("ASKED", script), encoding="utf-8")
        # In a frame, for the window of a headless browser cannot be as narrow as a phone.
        frame = f'<iframe src="asked.html" style="width:{width}px;height:800px"></iframe>'
        heard = "<script>onmessage = (event) => { document.title = event.data; };</script>"
        (tmp_path / "frame.html").write_text(f"<title>none</title>{heard}{frame}", encoding="utf-8")
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [chromium, *options.split(), profile, "--window-size=1400,900", (tmp_path / "frame.html").as_uri()]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if ran.returncode != 0:
            pytest.skip(f"Chromium does not run here: {ran.stderr[-300:]}")
        title = re.search(r"<title>(.*?)</title>", ran.stdout, re.S)[1]
        assert title.startswith("answer "), ran.stderr[-2000:]
        told = json.loads(title.removeprefix("answer ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        if not told["gl"]:
            pytest.skip("this Chromium has no WebGL")
        assert told["problems"] == []
        assert told["failed"] == ""
        return told["found"]

    return ask


@pytest.fixture
def picture_of():
    """Read a picture file as (height, width, 3) integers."""

    def read(path) -> np.ndarray:
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    return read


_CHILD = """
import os, pickle, sys
import numpy as np
job = pickle.load(sys.stdin.buffer)
def draw(*greys):
    for view, grey in zip(job["views"], greys):
        np.save(view["path"] + ".part.npy", np.full((*job["size"][::-1], 3), grey, np.uint8))
        os.replace(view["path"] + ".part.npy", view["path"])
"""


@pytest.fixture
def fake_child(monkeypatch, tmp_path_factory):
    """Run code in place of the renderer; it has the `job`, and draw(grey, ...) to draw its views in one grey each."""

    def put(code: str) -> None:
        from pcsargmax.visualize.clouds import offscreen

        program = tmp_path_factory.mktemp("child") / "child.py"
        program.write_text(_CHILD + code)
        monkeypatch.setattr(offscreen, "__file__", str(program))

    return put
