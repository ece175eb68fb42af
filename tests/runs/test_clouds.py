import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.io.clouds import Cloud, read_cloud, write_cloud
from pcsargmax.ops.neighbors import farthest_point_order
from pcsargmax.runs.clouds import cloud_copies, draw_samples
from pcsargmax.runs.load import load_run

SITES = torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [0, 0.4, 0]])


def maps_and_frame(logits, sigma: float = 0.1):
    maps = KeypointDistribution(torch.tensor([logits]), SITES[None], basis=Gaussian(torch.tensor([sigma])))
    prepared = Data(frame_center=torch.tensor([[5.0, 6, 7]]).double(), frame_scale=torch.tensor([[20.0]]).double())
    return maps, prepared


def test_draws_are_a_site_and_noise_of_the_basis_in_the_units_of_the_file():
    sure, torn = [50.0, 0, 0], [0.0, 0, -50]
    drawn = draw_samples(*maps_and_frame([sure, torn]), 5000, torch.Generator().manual_seed(0))
    assert (drawn.shape, drawn.dtype) == ((5000, 2, 3), np.float64)
    noise = 4.0 * np.eye(3)  # (0.1 · 20)²
    np.testing.assert_allclose(drawn[:, 0].mean(axis=0), [5, 6, 7], atol=0.12)
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), noise, atol=0.3)
    np.testing.assert_allclose(drawn[:, 1].mean(axis=0), [9, 6, 7], atol=0.25)
    np.testing.assert_allclose(np.cov(drawn[:, 1].T), noise + np.diag([16.0, 0, 0]), atol=0.7)


def test_draws_go_by_their_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    given = maps_and_frame([[0.0, 0, 0]])
    one, same, other = (draw_samples(*given, 9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert draw_samples(*given, 0) is None
    with pytest.raises(ValueError, match="num_samples: expected 0 or more, got -1"):
        draw_samples(*given, -1)


def rows(points: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(point) for point in points.tolist()}


def is_in_farthest_order(points: torch.Tensor) -> bool:
    return torch.equal(farthest_point_order(points, start=0), torch.arange(len(points)))


def test_copies_of_a_cloud_are_its_points_from_another_start(cloud):
    item = cloud(40)
    copies = list(cloud_copies(item, 3))
    assert len(copies) == 3
    for copy, again in zip(copies, cloud_copies(item, 3), strict=True):
        assert rows(copy.pos) == rows(item.pos)
        assert copy.farthest_order
        assert is_in_farthest_order(copy.pos)
        assert torch.equal(copy.pos, again.pos)
        for channel, point in ((0, 3), (2, 7)):
            assert torch.equal(copy.pos[copy.keypoint_site[0, channel]], item.pos[point])
    assert len({tuple(copy.pos[0].tolist()) for copy in copies}) > 1
    assert list(cloud_copies(item, 0)) == []


def test_copies_of_a_surface_are_other_points_of_its_pool(cloud):
    item = cloud(40)
    item.dense_pos = cloud(600, seed=1).pos
    copies = list(cloud_copies(item, 2))
    for copy, again in zip(copies, cloud_copies(item, 2), strict=True):
        assert copy.pos.shape == (40, 3)
        assert rows(copy.pos) <= rows(item.dense_pos) == rows(copy.dense_pos)
        assert copy.farthest_order
        assert is_in_farthest_order(copy.pos)
        assert torch.equal(copy.pos, again.pos)
    assert not rows(copies[0].pos) & rows(item.pos)
    assert not torch.equal(copies[0].pos, copies[1].pos)
    assert not torch.equal(copies[0].dense_pos, copies[1].dense_pos)  # of which a look takes the first ones


def test_copies_of_a_surface_have_no_more_points_than_its_pool(cloud):
    item = cloud(40)
    item.dense_pos = cloud(15, seed=1).pos
    first, second = cloud_copies(item, 2)
    assert rows(first.pos) == rows(second.pos) == rows(item.dense_pos)
    assert not torch.equal(first.pos, second.pos)
    item.dense_pos = cloud(60, seed=1).pos
    first, second = cloud_copies(item, 2)
    assert rows(first.pos) != rows(second.pos)


def test_less_than_one_copy_is_refused(cloud):
    with pytest.raises(ValueError, match="copies: expected 1 or more, got 0"):
        next(cloud_copies(cloud(), -1))


def test_keypoints_of_a_mesh_file_lie_on_its_faces_too(box_run, landmark_root, box_cloud, tmp_path):
    """A face without area before the others counts as a face of the file, and no point is on it."""
    run, box = load_run(box_run), read_cloud(landmark_root / "scan0.ply")
    write_cloud(tmp_path / "scan.ply", Cloud(box.points, faces=np.concatenate([[[1, 1, 1]], box.faces])))
    found = run.predict_file(tmp_path / "scan.ply", num_points=512)
    mesh, points = read_cloud(tmp_path / "scan.ply"), found.on_surface
    again = np.einsum("kc,kcd->kd", points.barycentric, mesh.points[mesh.faces[points.face]])
    np.testing.assert_allclose(again, points.position, rtol=0, atol=1e-9)
    assert points.face.min() > 0
    half = box.points.max(axis=0)
    outside, inside = np.maximum(np.abs(found.position) - half, 0), np.min(half - np.abs(found.position), axis=1)
    expected = np.where(inside > 0, inside, np.linalg.norm(outside, axis=1))  # of a box about the origin
    np.testing.assert_allclose(points.distance, expected, rtol=0, atol=1e-6)
    assert points.distance.max() > 0
    assert run.predict_file(box_cloud).on_surface is None
