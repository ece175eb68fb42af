import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.ops.neighbors import farthest_point_order, mean_neighbor_distance
from pcsargmax.runs.prepare import basis_sigma, prepare
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


def test_sigma_is_the_neighbour_distance_or_a_raw_length():
    neighbors, scale = torch.tensor([0.01, 0.02]), torch.tensor([[2.0], [500.0]], dtype=torch.float64)
    assert basis_sigma(TrainSettings(), neighbors, scale) is neighbors
    raw = basis_sigma(TrainSettings(sigma=5), neighbors, scale)
    assert raw.dtype == torch.float32
    assert raw.tolist() == pytest.approx([2.5, 0.01])
    assert basis_sigma(TrainSettings(sigma=0), neighbors, scale).tolist() == [0, 0]
