from importlib.util import find_spec

import pytest
import torch

from pcsargmax.ops.neighbors import ball_query, default_engine, farthest_point_order, knn, mean_neighbor_distance

ENGINES = [
    "torch",
    pytest.param(
        "cluster",
        marks=pytest.mark.skipif(find_spec("torch_cluster") is None, reason="torch-cluster is not installed"),
    ),
]


def random_cloud(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def lattice(n: int) -> torch.Tensor:
    axis = torch.arange(float(n))
    return torch.cartesian_prod(axis, axis, axis)


def plain_knn(support: torch.Tensor, query: torch.Tensor, k: int) -> list[list[int]]:
    """Sort all points by (distance, index), one query at a time, in Python."""
    rows = []
    for q in query.tolist():
        squared = [sum((a - b) ** 2 for a, b in zip(q, s, strict=True)) for s in support.tolist()]
        order = sorted(range(len(squared)), key=lambda i: (squared[i], i))[:k]
        rows.append(order + [order[0]] * (k - len(order)))
    return rows


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [1, 5, 70])
def test_knn_is_the_plain_search(engine, k):
    support, query = random_cloud(60), random_cloud(20, seed=1)
    found = knn(support, query, k, engine=engine)
    assert found.index.tolist() == plain_knn(support, query, k)
    expected = (query[:, None] - support[found.index]).square().sum(-1)
    torch.testing.assert_close(found.squared_distance, expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_go_to_the_lower_index(engine):
    points = lattice(5)  # every inner point has 6 neighbours at the same distance, and k = 4 cuts through them
    found = knn(points, points, 4, engine=engine)
    assert found.index.tolist() == plain_knn(points, points, 4)


@pytest.mark.skipif(find_spec("torch_cluster") is None, reason="torch-cluster is not installed")
@pytest.mark.parametrize("cloud", [random_cloud(2048), lattice(9), torch.zeros(50, 3), random_cloud(300) * 1e3 + 1e5])
def test_engines_are_equal_bit_for_bit(cloud):
    for radius, k in ((0.3, 16), (1.0, 32), (5.0, 8)):
        ours = ball_query(cloud, cloud[:200], radius, k, engine="torch")
        theirs = ball_query(cloud, cloud[:200], radius, k, engine="cluster")
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.squared_distance, theirs.squared_distance)


@pytest.mark.parametrize("engine", ENGINES)
def test_ball_keeps_the_nearest_within_and_fills_with_the_nearest(engine):
    support = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 5]])
    found = ball_query(support, torch.tensor([[0.1, 0, 0], [0, 0, 9]]), 2.0, 4, engine=engine)
    assert found.index.tolist() == [
        [0, 1, 0, 0],
        [3, 3, 3, 3],
    ]  # (0, 2, 0) is 2.0025 away; the far query keeps its nearest


def test_a_point_on_the_sphere_is_inside():
    support = torch.tensor([[0.0, 0, 0], [2, 0, 0]])
    assert ball_query(support, support[:1], 2.0, 2).index.tolist() == [[0, 1]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cloud_alone_is_as_in_a_ragged_batch(engine):
    clouds = [random_cloud(n, seed=n) for n in (3, 50, 1, 20)]
    batch = torch.cat([torch.full((len(c),), i) for i, c in enumerate(clouds)])
    together = knn(torch.cat(clouds), torch.cat(clouds), 5, support_batch=batch, query_batch=batch, engine=engine)
    start = 0
    for cloud in clouds:
        alone = knn(cloud, cloud, 5, engine=engine)
        rows = slice(start, start + len(cloud))
        assert torch.equal(together.index[rows] - start, alone.index)
        assert torch.equal(together.squared_distance[rows], alone.squared_distance)
        start += len(cloud)


def test_chunks_do_not_change_the_answer(monkeypatch):
    cloud = random_cloud(200)
    whole = knn(cloud, cloud, 7, engine="torch")
    monkeypatch.setattr("pcsargmax.ops.neighbors._CHUNK", 1000)
    parts = knn(cloud, cloud, 7, engine="torch")
    assert torch.equal(whole.index, parts.index)


def test_mean_neighbor_distance_by_hand():
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]])  # nearest: 1, 1, 3
    torch.testing.assert_close(mean_neighbor_distance(line), torch.tensor([5 / 3]))
    both = mean_neighbor_distance(torch.cat([line, line[:1]]), torch.tensor([0, 0, 0, 1]))
    torch.testing.assert_close(both, torch.tensor([5 / 3, 0.0]))


def test_farthest_point_order_by_hand():
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [4, 0, 0], [10, 0, 0]])
    # centroid 3.75: the farthest is 10, then 0, then 4 (min 4), then 1
    assert farthest_point_order(line).tolist() == [3, 0, 2, 1]
    assert farthest_point_order(line, start=1).tolist() == [1, 3, 2, 0]


def test_a_count_gives_the_first_of_the_whole_order():
    cloud = random_cloud(50)
    assert torch.equal(farthest_point_order(cloud, count=9), farthest_point_order(cloud)[:9])
    assert len(farthest_point_order(cloud, count=99)) == 50


def test_farthest_point_order_ignores_the_given_order_and_the_place():
    cloud = random_cloud(300)
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    ordered = cloud[farthest_point_order(cloud)]
    assert torch.equal(cloud[shuffle][farthest_point_order(cloud[shuffle])], ordered)
    far = cloud.double() + 1e6
    assert torch.equal(farthest_point_order(far), farthest_point_order(far - 1e6))


def test_each_point_is_the_farthest_from_those_before():
    cloud = random_cloud(80)
    ordered = cloud[farthest_point_order(cloud)]
    for i in range(1, 80):
        gaps = torch.cdist(ordered[i:], ordered[:i]).min(dim=1).values
        assert gaps[0] >= gaps.max() - 1e-5


def test_coinciding_points_are_each_taken_once():
    assert sorted(farthest_point_order(torch.ones(7, 3)).tolist()) == list(range(7))


def test_default_engine_follows_what_is_installed():
    assert default_engine() == ("cluster" if find_spec("torch_cluster") else "torch")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: knn(c, c, 0), "k must be at least 1, got 0"),
        (lambda c: knn(c, c, 1, engine="faiss"), "engine must be 'torch' or 'cluster', got 'faiss'"),
        (lambda c: knn(c[0], c, 1), r"support must be a floating \(N, D\) tensor"),
        (lambda c: knn(c, c.long(), 1), "query must be a floating"),
        (lambda c: knn(c, c, 1, support_batch=torch.zeros(4).long()), "both support_batch and query_batch"),
        (lambda c: ball_query(c, c, 0.0, 1), "radius must be positive, got 0.0"),
        (lambda c: farthest_point_order(c[:0]), "at least one point, got an empty cloud"),
        (lambda c: farthest_point_order(c, count=0), "count must be at least 1, got 0"),
        (lambda c: farthest_point_order(c, start=4), "start must be an index of the 4 points, got 4"),
        (lambda c: farthest_point_order(c * float("nan")), "pos must be finite"),
        (
            lambda c: knn(c, c, 1, support_batch=torch.ones(4).long(), query_batch=torch.zeros(4).long()),
            "cloud 0 has 4 query points but no support point",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_cloud(4))
