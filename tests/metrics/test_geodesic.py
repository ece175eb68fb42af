import math

import numpy as np
import pytest
import torch
from reference import geodesic as plain

from pcsargmax.metrics import PCK
from pcsargmax.metrics.geodesic import CloudGraph, geodesic_errors, nearest_index
from pcsargmax.metrics.pck import keypoint_errors

INF, NAN = float("inf"), float("nan")


def random_cloud(count=40, seed=0):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def everything(graph):
    return graph.distances(torch.arange(graph.num_points))


@pytest.mark.parametrize("neighbors", [1, 2, 3, 20])
def test_paths_equal_three_plain_loops(neighbors):
    points = random_cloud()
    found = everything(CloudGraph(points, neighbors))
    np.testing.assert_allclose(found, plain.distances(points.tolist(), neighbors), atol=1e-12)
    assert found.isinf().any() == (neighbors < 3)


def test_paths_equal_those_over_the_graph_of_sklearn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    from scipy.sparse.csgraph import shortest_path

    points = random_cloud(500, seed=1)
    graph = neighbors.kneighbors_graph(points.numpy(), 20, mode="distance", include_self=False)
    expected = shortest_path(graph, directed=False, method="D")
    np.testing.assert_allclose(everything(CloudGraph(points)), expected, atol=1e-12)


def test_a_way_around_is_longer_than_the_straight_one():
    # A horseshoe: its ends are 0.1 apart, but half a circle of radius 1 and more lies between them.
    angle = torch.linspace(0.05, 2 * math.pi - 0.05, 400, dtype=torch.float64)
    points = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)
    graph = CloudGraph(points, 4)
    found = graph.distances(torch.tensor([0]))[0]
    assert (points[0] - points[-1]).norm() < 0.1
    assert found[-1].item() == pytest.approx(2 * math.pi - 0.1, rel=1e-3)
    assert (found.diff() > 0).all()


def test_an_edge_leads_both_ways():
    # The point at 9 is no one's nearest neighbour.
    points = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    assert CloudGraph(points, 1).distances(torch.tensor([0])).tolist() == [[0, 1, 2, 9]]


def test_many_points_in_one_place():
    # 30 of them: a point need not be among its own 21 nearest, and then the last of these is left out.
    points = torch.cat([torch.zeros(30, 3), torch.tensor([[1.0, 0, 0]])])
    found = everything(CloudGraph(points))
    assert found[:30, :30].max() == 0
    assert (found[30, :30] == 1).all()


def test_parts_are_infinitely_far_from_one_another():
    points = torch.cat([random_cloud(30), random_cloud(25) + 5])
    graph = CloudGraph(points)
    found = everything(graph)
    assert found[:30, 30:].isinf().all()
    assert found[:30, :30].isfinite().all()
    assert found[30:, 30:].isfinite().all()


def test_points_in_one_place_are_at_distance_nothing():
    points = torch.cat([random_cloud(10), random_cloud(10), random_cloud(10)])
    found = everything(CloudGraph(points, 4))
    assert (found[:10, 10:20].diagonal() == 0).all()
    np.testing.assert_allclose(found, plain.distances(points.tolist(), 4), atol=1e-12)
    heap = CloudGraph(torch.zeros(30, 3), 5)
    assert heap.distances(torch.tensor([3]))[0, :6].eq(0).any()
    assert len(heap._graph.data) == 30 * 5
    assert (heap._graph.indices.reshape(30, 5) != torch.arange(30)[:, None].numpy()).all()


def test_a_cloud_of_few_points_joins_them_all():
    points = random_cloud(5)
    torch.testing.assert_close(everything(CloudGraph(points)), torch.cdist(points, points))
    assert CloudGraph(points[:1]).distances(torch.tensor([0])).tolist() == [[0]]


def test_sources_may_repeat_and_be_none():
    graph = CloudGraph(random_cloud())
    found = graph.distances(torch.tensor([7, 3, 7]))
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], everything(graph)[3])
    assert graph.distances(torch.empty(0, dtype=torch.long)).shape == (0, 40)


def test_order_of_the_points_shift_and_scale_do_not_matter():
    points = random_cloud(100)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    near = everything(CloudGraph(points))
    far = everything(CloudGraph(1000 * points[order] + 1e6)) / 1000
    torch.testing.assert_close(far, near[order][:, order], atol=1e-6, rtol=0)


def test_errors_by_hand():
    points = torch.arange(6.0)[:, None] * torch.tensor([1.0, 0, 0])
    points[4:] += 100
    errors = geodesic_errors(
        torch.tensor([0, 3, 5, 2, 1]),
        torch.tensor([2, 3, 1, -1, 4]),
        torch.tensor([True, True, True, False, True]),
        CloudGraph(points, 1),
    )
    assert errors[:3].tolist() == [2, 0, INF]
    assert errors[3].isnan()
    assert errors[4] == INF


def test_errors_are_never_below_the_straight_ones_and_pck_takes_them():
    points = random_cloud(300)
    generator = torch.Generator().manual_seed(2)
    found, target = torch.randint(300, (2, 12), generator=generator)
    visible = torch.rand(12, generator=generator) < 0.7
    errors = geodesic_errors(found, target, visible, points)
    straight = keypoint_errors(points[found][None], points[target][None], visible[None])[0]
    assert torch.equal(errors.isnan(), ~visible)
    assert (errors[visible] >= straight[visible] - 1e-12).all()
    assert (errors[visible] > straight[visible] + 1e-3).any()
    pck = PCK((0.2, 0.4), strict=True).set_dtype(torch.float64)
    pck.update_errors(errors[None])
    assert pck.compute()["pck@0.4"].item() == pytest.approx((errors[visible] < 0.4).double().mean().item())


def test_nothing_visible_needs_no_path():
    none = torch.zeros(2, dtype=torch.bool)
    assert geodesic_errors(torch.tensor([1, 2]), torch.tensor([-1, -1]), none, random_cloud()).isnan().all()


def test_nearest_index_takes_the_first_of_equals_and_works_far_from_the_origin():
    points = torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 0, 0]], dtype=torch.float64)
    query = torch.tensor([[1.0, 0, 0], [1.1, 0, 0]], dtype=torch.float64)
    assert nearest_index(points, query).tolist() == [0, 1]
    cloud = random_cloud(200)
    assert nearest_index(cloud + 1e7, cloud + 1e7).tolist() == list(range(200))


def test_bad_input_is_named():
    graph = CloudGraph(random_cloud())
    with pytest.raises(ValueError, match=r"points must be \(N, D\) with at least one point, got \(0, 3\)"):
        CloudGraph(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="points must be finite, got NaN or infinity at 1 of 2 points"):
        CloudGraph(torch.tensor([[0.0], [NAN]]))
    with pytest.raises(ValueError, match="neighbors must be at least 1, got 0"):
        CloudGraph(random_cloud(), 0)
    with pytest.raises(ValueError, match="sources must be rows of the 40 points, got values from -1 to 40"):
        graph.distances(torch.tensor([-1, 40]))
    with pytest.raises(ValueError, match=r"sources must be \(S,\) long, got torch\.float32"):
        graph.distances(torch.tensor([1.0]))
    index, visible = torch.tensor([0, 1]), torch.tensor([True, True])
    with pytest.raises(ValueError, match=r"visible must be bool of shape \(K,\), got torch\.int64"):
        geodesic_errors(index, index, index, graph)
    with pytest.raises(ValueError, match=r"target must be long of shape \(2,\), got \(1,\)"):
        geodesic_errors(index, index[:1], visible, graph)
    with pytest.raises(ValueError, match="preds must be rows of the 40 points"):
        geodesic_errors(index - 5, index, visible, graph)
    with pytest.raises(ValueError, match="target must be rows of the 40 points"):
        geodesic_errors(index, index + 40, visible, graph)
    with pytest.raises(ValueError, match=r"query must be \(Q, 3\), got \(4, 2\)"):
        nearest_index(random_cloud(), torch.zeros(4, 2))
