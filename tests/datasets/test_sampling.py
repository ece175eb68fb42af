import numpy as np
import pytest
import torch

from pcsargmax.datasets.sampling import read_item, sample_surface
from pcsargmax.io.clouds import Cloud, write_cloud

TRIANGLES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5]], dtype=np.float64)
FACES = np.array([[0, 1, 2], [2, 1, 3]])


def box(size=(1.0, 2.0, 3.0)) -> Cloud:
    """A box without its top, from the origin; the sides are wound outwards."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    quads = [(0, 2, 6, 4), (0, 4, 5, 1), (2, 3, 7, 6), (0, 1, 3, 2), (4, 6, 7, 5)]
    faces = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return Cloud(corners * np.array(size), faces=np.array(faces))


@pytest.mark.parametrize("points", [[[1, 2, 3]], [[1, 2, 3]] * 5])
def test_one_point_and_equal_points_are_read(tmp_path, points):
    np.save(tmp_path / "a.npy", np.array(points))
    item = read_item(tmp_path / "a.npy", num_points=3)
    assert item.pos.tolist() == [[1, 2, 3]] * min(3, len(points))


def test_surface_samples_lie_on_their_triangles_with_their_normals():
    mesh = box()
    sample = sample_surface(mesh, 300)
    corners = mesh.points[mesh.faces[sample.face]]
    offset = sample.points - corners[:, 0]
    assert np.abs((offset * sample.normal).sum(1)).max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(sample.normal, axis=1), 1)
    for point, (a, b, c) in zip(sample.points, corners, strict=True):
        u, v = np.linalg.lstsq(np.stack([b - a, c - a], axis=1), point - a, rcond=None)[0]
        assert min(u, v, 1 - u - v) > -1e-9


def test_surface_samples_are_even():
    mesh = box()
    sample = sample_surface(mesh, 400)
    areas = np.array([6.0, 6, 3, 3, 2])  # x = 0, x = 1, y = 0, y = 1, z = 0; the top is open
    planes = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0)]
    counts = np.array([(np.abs(sample.points[:, axis] - at) < 1e-9).sum() for axis, at in planes])
    np.testing.assert_allclose(counts / 400, areas / areas.sum(), atol=0.03)
    gaps = np.linalg.norm(sample.points[:, None] - sample.points[None], axis=2) + np.eye(400) * 9
    nearest = gaps.min(1)
    assert nearest.min() > 0.6 * nearest.mean()  # random points would have a near-zero smallest gap
    assert nearest.std() < 0.2 * nearest.mean()


def test_samples_are_in_farthest_point_order():
    points = sample_surface(box(), 60).points
    for i in range(1, 60):
        to_prefix = np.linalg.norm(points[i:, None] - points[None, :i], axis=2).min(1)
        assert to_prefix[0] == pytest.approx(to_prefix.max())


def test_samples_repeat_with_the_seed_and_move_with_the_mesh():
    first, again, other = (sample_surface(box(), 50, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    state = torch.get_rng_state()
    moved = sample_surface(Cloud(box().points * 1000 + 1e6, faces=box().faces), 50, 3)
    np.testing.assert_allclose((moved.points - 1e6) / 1000, first.points, atol=1e-9)
    assert torch.equal(state, torch.get_rng_state())


def test_colours_are_mixed_within_a_triangle():
    color = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    sample = sample_surface(Cloud(TRIANGLES[:3], color, None, FACES[:1]), 40)
    weights = np.stack([1 - sample.points[:, 0] - sample.points[:, 1], *sample.points[:, :2].T], axis=1)
    assert np.abs(sample.color - 255 * weights).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("have", "want", "get"), [(30, 100, 30), (100, 30, 30), (25_000, 50, 50)])
def test_clouds_are_thinned_to_points_they_have(have, want, get):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(have, 3))
    cloud = Cloud(points, normal=points.copy(), color=generator.integers(0, 256, (have, 3)).astype(np.uint8))
    sample = sample_surface(cloud, want)
    assert sample.points.shape == (get, 3)
    assert sample.face is None
    assert np.array_equal(sample.points, sample.normal)
    rows = {tuple(point): i for i, point in enumerate(points)}
    index = [rows[tuple(point)] for point in sample.points]
    assert len(set(index)) == get
    assert np.array_equal(cloud.color[index], sample.color)


def test_read_item(tmp_path):
    write_cloud(tmp_path / "B03.ply", box())
    item = read_item(tmp_path / "B03.ply", num_points=64, seed=1)
    assert item.pos.dtype == torch.float64
    assert item.pos.shape == (64, 3)
    assert (item.model_id, item.category, item.farthest_order) == ("B03", "", True)
    assert "color" not in item
    assert "normal" not in item
    assert np.array_equal(item.pos.numpy(), sample_surface(box(), 64, 1).points)
    assert read_item(tmp_path / "B03.ply", 64, normals=True).normal.shape == (64, 3)


def test_dense_points_of_a_mesh_lie_on_it_at_random(tmp_path):
    write_cloud(tmp_path / "a.ply", box())
    plain, item, again, other = (
        read_item(tmp_path / "a.ply", 60, seed, dense_points=dense)
        for seed, dense in ((1, 0), (1, 300), (1, 300), (2, 300))
    )
    assert "dense_pos" not in plain
    assert torch.equal(item.pos, plain.pos)
    assert (item.dense_pos.shape, item.dense_pos.dtype) == ((300, 3), torch.float64)
    assert torch.equal(item.dense_pos, again.dense_pos)
    assert not torch.equal(item.dense_pos, other.dense_pos)
    size = torch.tensor([1.0, 2, 3])
    sides = (item.dense_pos.abs() < 1e-9) | ((item.dense_pos - size).abs() < 1e-9)
    assert sides.any(dim=1).all()
    assert item.num_nodes == 60


def test_dense_points_of_a_cloud_are_its_own(tmp_path):
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.save(tmp_path / "a.npy", points)
    own = {tuple(point) for point in points.tolist()}
    for wanted, count in ((30, 30), (50, 50), (80, 50)):
        dense = read_item(tmp_path / "a.npy", 20, dense_points=wanted).dense_pos
        found = {tuple(point) for point in dense.tolist()}
        assert len(found) == len(dense) == count
        assert found <= own


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]])])
def test_a_mesh_without_area_is_named(tmp_path, points):
    write_cloud(tmp_path / "a.ply", Cloud(points + 1e3, faces=np.array([[0, 1, 2]])))
    with pytest.raises(ValueError, match=r"a\.ply: the 1 triangles of this mesh have no area"):
        read_item(tmp_path / "a.ply")


def test_bad_sampling_is_named(tmp_path):
    with pytest.raises(ValueError, match="n: expected 1 point or more, got 0"):
        sample_surface(box(), 0)
    np.save(tmp_path / "a.npy", TRIANGLES)
    with pytest.raises(ValueError, match=r"a\.npy: normals were asked for"):
        read_item(tmp_path / "a.npy", normals=True)
