import dataclasses

import numpy as np
import pytest

from pcsargmax.visualize import Look, palette, render, render_all, render_pair
from pcsargmax.visualize.clouds.scene import pair_drawings


@pytest.mark.usefixtures("renderer")
def test_a_picture_shows_cloud_keypoints_and_legend(mug, picture_of, tmp_path):
    look = Look(keypoint="handle", ellipsoids=2, samples=True)
    one = mug(scale=100, origin=1e6)
    one = dataclasses.replace(one, samples=one.position + 3 * np.random.default_rng(0).normal(size=(30, 4, 3)))
    path = render(one, tmp_path / "mug.png", look, size=(480, 360))
    pixels = picture_of(path)
    assert pixels.shape == (360, 480, 3)
    cloud = pixels[:, :280]
    drawn = (cloud < 240).any(axis=-1)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert drawn[[0, -1]].sum() == drawn[:, 0].sum() == 0  # nothing clipped
    assert max(np.ptp(rows) / 360, np.ptp(columns) / 280) > 0.75  # and the frame filled
    for k in range(2):  # both are on the near side
        color = np.round(palette.hex_to_rgb(palette.keypoint_color(k)) * 255)
        assert (np.abs(cloud - color).max(axis=-1) < 60).sum() > 20
    bar = np.round(palette.probability_scale()[255] * 255)
    assert (np.abs(pixels[:, 290:] - bar).max(axis=-1) < 4).any()


@pytest.mark.usefixtures("renderer")
def test_a_pair_is_seen_from_one_camera(mug, picture_of, tmp_path):
    one = mug()
    # The second is sure of the rim, the first of the handle.
    other = dataclasses.replace(one, probability=one.probability[[1, 0, 2, 3]])
    look = Look(keypoint=0, log_scale=True, min_visibility=2.0)  # the cloud alone
    path = render_pair(one, other, tmp_path / "pair.png", look, size=(640, 300))
    pixels = picture_of(path)
    assert pixels.shape == (300, 640, 3)
    width = (640 - 269) // 2
    first, second = pixels[:, :width], pixels[:, width : 2 * width]
    shape = [(side < 235).any(axis=-1) for side in (first, second)]
    assert shape[0].sum() > 2000
    assert (shape[0] != shape[1]).mean() < 0.02  # the same points in the same place
    likely = [_center_of(side, palette.probability_scale()[60:150]) for side in (first, second)]
    assert np.linalg.norm(likely[0] - likely[1]) > 60  # but of other colours


def _center_of(pixels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The mean place of what is about of one of the colours."""
    away = np.abs(pixels[:, :, None] - 255 * colors[::10]).max(axis=-1).min(axis=-1)
    return np.argwhere(away < 45).mean(axis=0)


@pytest.mark.parametrize("balls", [True, False])
def test_everything_but_the_renderer(mug, picture_of, tmp_path, fake_child, monkeypatch, balls):
    # A child that draws a grey picture of the size asked for: the rest of the way without Open3D.
    fake_child(
        "assert len(job['colors']) == len(job['vertices']) and job['triangles'].max() < len(job['vertices'])\n"
        "assert 0 <= job['colors'].min() and job['colors'].max() <= 1\n"
        f"assert (len(job['point_positions']) == 0) == {balls}\n"
        "draw(200)\n",
    )
    if not balls:
        monkeypatch.setattr("pcsargmax.visualize.clouds.drawing.MAX_BALLS", 10)
    paths = [tmp_path / "out" / f"{name}.png" for name in "ab"]
    looks = [Look(ellipsoids=1, log_scale=True), Look("handle", ellipsoids=1, log_scale=True)]
    seen = []
    told = render_all([mug(), mug(seed=1)], paths, looks, progress=lambda *at: seen.append(at))
    assert told == paths
    assert seen == [(1, 2), (2, 2)]
    first, second = (picture_of(path) for path in paths)
    assert first.shape == second.shape == (960, 1280, 3)
    assert (first[:, :800] == 200).mean() > 0.9
    assert (first != second).any()


def test_names_can_be_left_out(mug, picture_of, tmp_path, fake_child):
    fake_child("draw(255)")
    named, bare = (
        picture_of(render(mug(), tmp_path / f"{labels}.png", Look(labels=labels), size=(480, 360)))[:, :280]
        for labels in (True, False)
    )
    assert (bare < 200).any(axis=-1).sum() < (named < 200).any(axis=-1).sum()


def test_a_pair_has_one_scale_or_two(mug):
    one, other = mug(), mug()
    other = dataclasses.replace(other, probability=other.probability / 4)
    ends = [each.colors.ticks[-1][1] for each in pair_drawings(one, other, Look(keypoint="handle"))]
    assert ends[0] == ends[1] == f"{one.probability[0].max():.2g}"
    ends = [each.colors.ticks[-1][1] for each in pair_drawings(one, other, Look(keypoint=0), same_scale=False)]
    assert ends == [f"{each.probability[0].max():.2g}" for each in (one, other)]


def test_a_pair_goes_by_the_name_of_the_keypoint(mug):
    one = mug()
    other = dataclasses.replace(one, keypoint_names=("lid", "handle", "rim <b>", "spout"))
    first, second = pair_drawings(one, other, Look(keypoint=0))
    assert first.colors.title == second.colors.title == "probability of handle"
    assert (first.chosen.tolist(), second.chosen.tolist()) == ([0], [1])
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        pair_drawings(other, one, Look(keypoint="lid"))


def test_a_pair_is_of_one_cloud(mug):
    with pytest.raises(ValueError, match="second: expected a prediction of the same cloud as the first, mug <1> & co"):
        pair_drawings(mug(), mug(scale=2))
    pair_drawings(mug(), mug(seed=1))  # sampled anew


def test_wrong_arguments_are_named(mug, tmp_path):
    with pytest.raises(ValueError, match="expected one for each of 1 predictions, got 2 and 1"):
        render_all([mug()], [tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(ValueError, match="expected one for each of 1 predictions, got 1 and 2"):
        render_all([mug()], [tmp_path / "a.png"], [Look(), None])
    with pytest.raises(ValueError, match=r"size: expected at least \(320, 240\) pixels, got \(10, 10\)"):
        render(mug(), tmp_path / "a.png", size=(10, 10))
    with pytest.raises(ValueError, match=r"size: expected at least \(640, 300\) pixels, got \(320, 240\)"):
        render_pair(mug(), mug(), tmp_path / "a.png", size=(320, 240))
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        render(mug(), tmp_path / "a.png", Look(keypoint="lid"))


def test_a_pair_has_one_frame_though_its_clouds_are_not_quite_the_same(mug):
    one = mug()
    grown = one.points.copy()
    grown[0] += [0.05, 0, 0]
    grown[one.points[:, 0].argmax()] += [0.05, 0, 0]
    first, second = pair_drawings(one, dataclasses.replace(one, points=grown))
    np.testing.assert_allclose(second.position, first.position)
