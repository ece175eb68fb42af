import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.models.second_look import DensePoints
from pcsargmax.ops.neighbors import farthest_point_order, mean_neighbor_distance
from pcsargmax.runs.prepare import basis_sigma, dense_points, dense_sigma, prepare
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.transforms.frames import to_raw


def test_preparing_normalises_orders_and_remaps_sites(backbone, cloud):
    raw = cloud()
    item, neighborhoods = prepare(raw, backbone)
    assert item.farthest_order
    assert torch.equal(farthest_point_order(item.pos), torch.arange(60))
    back = to_raw(item.pos, item.frame_center, item.frame_scale)
    for channel, point in ((0, 3), (2, 7)):
        site = item.keypoint_site[0, channel]
        torch.testing.assert_close(back[site], raw.pos[point], rtol=0, atol=1e-3)
        assert torch.equal(item.color[site], raw.color[point])
    assert item.keypoint_site[0, 1] == -1
    torch.testing.assert_close(item.sigma, mean_neighbor_distance(item.pos))
    assert [int(count) for count in neighborhoods.counts] == [60, 60, 60, 32]
    assert raw.keypoint_site.tolist() == [[3, -1, 7]]
    assert "farthest_order" not in raw


def test_preparing_keeps_the_order_of_an_ordered_cloud(backbone, cloud):
    raw = cloud()
    raw.farthest_order = True
    item, _ = prepare(raw, backbone)
    torch.testing.assert_close(to_raw(item.pos, item.frame_center, item.frame_scale), raw.pos, rtol=0, atol=1e-3)
    assert torch.equal(item.keypoint_site, raw.keypoint_site)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_cloud_of_few_points_is_prepared(backbone, n):
    item, neighborhoods = prepare(Data(pos=torch.rand(n, 3)), backbone)
    assert item.sigma.isfinite().all()
    assert [int(count) for count in neighborhoods.counts] == [n] * 4


def test_dense_points_get_their_nearest_point(backbone, cloud):
    raw = cloud()
    raw.dense_pos = cloud(200, seed=1).pos
    item, _ = prepare(raw, backbone)
    torch.testing.assert_close(
        to_raw(item.dense_pos, item.frame_center, item.frame_scale), raw.dense_pos, rtol=0, atol=1e-3
    )
    assert item.dense_pos.dtype == torch.float32
    assert torch.equal(item.dense_site, torch.cdist(item.dense_pos, item.pos).argmin(dim=1))
    assert "dense_site" not in raw
    points = dense_points(item, 50)
    assert torch.equal(points.pos, item.dense_pos[None, :50])
    assert torch.equal(points.nearest_site, item.dense_site[None, :50])
    assert points.mask is None
    assert dense_points(item, 999).pos.shape == (1, 200, 3)
    assert dense_points(prepare(cloud(), backbone)[0], 50) is None


def test_the_basis_of_dense_points_is_as_much_narrower_as_they_are_closer():
    mask = torch.arange(100) < torch.tensor([[100], [25]])
    scores = Scores(torch.zeros(2, 1, 100), torch.zeros(2, 100, 3), mask, torch.zeros(2, 1))
    sigma = torch.tensor([0.1, 0.2])
    dense = DensePoints(torch.zeros(2, 400, 3), torch.zeros(2, 400, dtype=torch.long))
    assert dense_sigma(sigma, scores, dense).tolist() == pytest.approx([0.05, 0.05])
    few = dense._replace(mask=torch.arange(400) < torch.tensor([[400], [100]]))
    assert dense_sigma(sigma, scores, few).tolist() == pytest.approx([0.05, 0.1])
    assert dense_sigma(sigma, scores, None) is sigma


def test_sigma_is_the_neighbour_distance_or_a_raw_length():
    neighbors, scale = torch.tensor([0.01, 0.02]), torch.tensor([[2.0], [500.0]], dtype=torch.float64)
    assert basis_sigma(TrainSettings(), neighbors, scale) is neighbors
    raw = basis_sigma(TrainSettings(sigma=5), neighbors, scale)
    assert raw.dtype == torch.float32
    assert raw.tolist() == pytest.approx([2.5, 0.01])
    assert basis_sigma(TrainSettings(sigma=0), neighbors, scale).tolist() == [0, 0]
