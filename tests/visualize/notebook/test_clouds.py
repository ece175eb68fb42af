import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest
import torch

from pcsargmax import Gaussian, Grid, KeypointDistribution, Triangular, Uniform
from pcsargmax.predictions.cloud import Prediction, Surface
from pcsargmax.visualize.notebook.clouds import distribution_html, prediction_html


class Table(html.parser.HTMLParser):
    """The cells of the one table, row by row; fails where tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def logits_and_sites(b: int, k: int, n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(b, k, n, generator=generator), torch.rand(b, n, d, generator=generator)


def test_a_prediction_shows_picture_and_table(mug):
    text = prediction_html(mug())
    table = Table(text)
    (image,) = table.images
    assert image["src"].startswith("data:image/png;base64,")
    assert image["alt"] == "Keypoints of mug <1> & co and where they are probable"
    header, *rows = table.rows
    assert header == ["keypoint", "x", "y", "z", "confidence", "error (file units)"]
    assert [row[0] for row in rows] == ["● handle", "● rim <b>", "● </script>", "● spout"]
    one = mug()
    for k in range(3):
        np.testing.assert_allclose([float(x) for x in rows[k][1:4]], one.position[k], atol=5e-4)
        assert float(rows[k][4]) == pytest.approx(one.confidence[k], abs=0.005)
        assert float(rows[k][5]) == pytest.approx(one.error[k], rel=0.01)
    assert rows[3][1:] == ["absent", "", "", "", ""]
    assert "color:#0072b2" in text
    assert "4 keypoints on 600 points" in text


def test_nothing_is_fetched_and_nothing_runs(mug):
    for text in (prediction_html(mug()), distribution_html(KeypointDistribution(*logits_and_sites(1, 2, 50, 3)))):
        assert "<script" not in text
        assert "http" not in text
        assert re.findall(r'src="([^",]*),', text) == ["data:image/png;base64"]


def test_radius_and_no_truth(mug):
    one = dataclasses.replace(mug(), truth=None, radius=[0.1, 0.2, 0.3, 0.4], radius_coverage=0.9)
    header, *rows = Table(prediction_html(one)).rows
    assert header == ["keypoint", "x", "y", "z", "confidence", "within (90 %, file units)"]
    assert [row[-1] for row in rows] == ["0.100", "0.200", "0.300", ""]
    known = dataclasses.replace(one, truth=mug().truth, length_unit="mm")
    assert Table(prediction_html(known)).rows[0][-2:] == ["within (90 %, mm)", "error (mm)"]


def test_the_distance_to_a_mesh_stands_before_the_error(mug):
    one = mug()
    header, *rows = Table(prediction_html(dataclasses.replace(one, surface=Surface(np.eye(3), [[0, 1, 2]])))).rows
    assert header == ["keypoint", "x", "y", "z", "confidence", "to surface (file units)", "error (file units)"]
    plane = np.abs(one.position.sum(axis=1) - 1) / 3**0.5  # of the triangle, which all are below
    assert all(float(row[5]) >= bound - 0.005 for row, bound in zip(rows[:3], plane, strict=False))
    assert rows[3][1:] == ["absent", *[""] * 5]


def test_positions_far_from_the_origin_keep_their_digits(mug):
    one = mug(scale=0.01, origin=1e4)
    row = Table(prediction_html(one)).rows[1]
    np.testing.assert_allclose([float(x) for x in row[1:4]], one.position[0], rtol=0, atol=1e-5)


def big(k: int = 20, n: int = 2048) -> Prediction:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    probability = np.exp(-((points[None] - points[:k, None]) ** 2).sum(axis=-1) / 0.05)
    return Prediction(
        name="model",
        points=points,
        keypoint_names=tuple(f"keypoint {number}" for number in range(k)),
        position=points[:k],
        confidence=rng.uniform(size=k),
        covariance=np.tile(np.eye(3) * 0.01, (k, 1, 1)),
        visibility=np.ones(k),
        point_index=np.arange(k),
        probability=probability / probability.sum(axis=1, keepdims=True),
        truth=points[:k] + 0.02,
        radius=rng.uniform(size=k),
        radius_coverage=0.9,
    )


def test_it_is_small():
    one = big()
    assert len(prediction_html(one).encode()) < 60_000
    maps = KeypointDistribution(torch.from_numpy(one.probability).log()[None], torch.from_numpy(one.points)[None])
    assert len(distribution_html(maps).encode()) < 60_000


def test_many_keypoints_are_counted():
    text = prediction_html(big(k=100))
    assert len(Table(text).rows) == 1 + 40
    assert "and 60 more" in text
    assert "and 10 more" in distribution_html(KeypointDistribution(*logits_and_sites(1, 50, 30, 3)))


def test_a_distribution_says_what_it_is():
    logits, sites = logits_and_sites(3, 2, 40, 3)
    one = KeypointDistribution(logits, sites, basis=Gaussian(0.01), presence=torch.tensor([[0.9, 0.2]] * 3))
    text = distribution_html(one)
    assert "3 clouds × 2 keypoints over 40 sites in 3-D; Gaussian basis, σ = 0.01; float32" in text
    assert "distribution[i]" in text
    header, *rows = Table(text).rows
    assert header == ["keypoint", "x", "y", "z", "spread", "peak", "presence"]
    for k in range(2):
        numbers = [float(cell) for cell in rows[k][1:]]
        expected = [*one.mean[0, k], one.spread[0, k], one.peak[0, k], one.presence[0, k]]
        np.testing.assert_allclose(numbers, [float(x) for x in expected], atol=2e-3)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_clouds_of_every_kind(d, dtype):
    logits, sites = logits_and_sites(2, 3, 30, d)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 20:] = False
    sites[0, 20:] = torch.nan
    maps = KeypointDistribution(
        logits.to(dtype), sites.to(dtype), mask, Gaussian(torch.full((2, 30, 1), 0.1).to(dtype))
    )
    table = Table(distribution_html(maps))
    assert len(table.rows) == 1 + 3
    assert len(table.rows[0]) == 1 + d + 2
    assert len(table.images) == (d < 4)
    plain = KeypointDistribution(logits[:1, :, :20], sites[:1, :20])
    np.testing.assert_allclose(float(table.rows[1][1]), float(plain.mean[0, 0, 0]), atol=0.02)


@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5, 7)])
@pytest.mark.parametrize("basis", [Triangular(), Uniform(), Gaussian("auto"), Gaussian(0.0)])
def test_grids_of_every_kind(shape, basis):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *shape, generator=generator).requires_grad_()
    for periodic in (False, True):
        maps = KeypointDistribution(logits, Grid(shape, periodic=periodic), basis=basis)
        table = Table(distribution_html(maps))
        assert len(table.rows) == 1 + 3
        assert len(table.images) == 1
    assert f"over a grid {shape}" in distribution_html(maps)


def test_a_picture_shows_the_largest_of_all_keypoints_and_depths(monkeypatch):
    from pcsargmax.visualize.notebook import thumbnail

    shown_maps, draw = [], thumbnail.grid_picture
    monkeypatch.setattr(thumbnail, "grid_picture", lambda values: shown_maps.append(values) or draw(values))
    maps = torch.rand(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    distribution_html(KeypointDistribution(maps, Grid((3, 4, 5))))
    expected = maps.flatten(2).softmax(-1).reshape(2, 3, 4, 5).amax(dim=(0, 1))
    np.testing.assert_allclose(shown_maps[0], expected, rtol=1e-5)


def test_shared_sites_and_a_mean_where_the_peak_is():
    from PIL import Image

    logits = torch.full((1, 1, 6, 9), -30.0)
    logits[0, 0, 1, 7] = 30.0
    text = distribution_html(KeypointDistribution(logits, Grid((6, 9), spacing=0.5)))
    assert [float(x) for x in Table(text).rows[1][1:3]] == [3.5, 0.5]
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]*)"', text)[1]))).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    blue = np.argwhere((pixels == [0, 114, 178]).all(axis=-1)).mean(axis=0)  # the keypoint's disc
    dark = np.argwhere(pixels.sum(axis=-1) < 180)
    assert (dark.min(axis=0) < blue).all()
    assert (blue < dark.max(axis=0)).all()
    shared = KeypointDistribution(torch.zeros(2, 1, 5), torch.rand(5, 3))
    assert len(Table(distribution_html(shared)).rows) == 2


def test_of_large_maps_what_takes_long_is_left_out():
    maps = KeypointDistribution(torch.zeros(1, 30, 40_000), torch.rand(40_000, 3), basis=Gaussian("auto"))
    rows = Table(distribution_html(maps)).rows
    assert rows[1][4] == ""  # the spread takes the distances of neighbours
    grid = KeypointDistribution(torch.zeros(1, 50, 64, 64, 64), Grid((64, 64, 64)))
    assert len(Table(distribution_html(grid)).rows) == 1 + 15


def test_nothing_to_show():
    text = distribution_html(KeypointDistribution(torch.zeros(0, 3, 5), torch.zeros(5, 3)))
    assert "0 clouds × 3 keypoints" in text


def test_a_prediction_whose_values_are_unknown_still_has_a_table(mug):
    flat = dataclasses.replace(mug(), confidence=[np.nan] * 4, truth=np.full((4, 3), np.nan))
    assert "<table" in prediction_html(flat)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu():
    logits, sites = logits_and_sites(1, 2, 30, 3)
    maps = KeypointDistribution(logits.cuda().half(), sites.cuda().half(), basis=Gaussian(torch.tensor(0.1).cuda()))
    assert "float16, on cuda" in distribution_html(maps)


def test_an_annotation_has_no_confidence(mug):
    told = prediction_html(dataclasses.replace(mug(), annotated=True, truth=None))
    assert told.count("annotated</td>") == 3
    assert "annotated positions" in told
    assert "confidence" not in told
    assert "probability" not in told
