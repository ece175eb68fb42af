import pytest
import torch
from torch import nn

from pcsargmax.backbones.edges import Edges, edge_differences, hidden_layers, interpolate, pooled_norm
from pcsargmax.backbones.pointnet2 import mlp

#: Three centres, four places each: the first has two neighbours, the second one, the third four.
GROUP = torch.tensor([[5, 2, 5, 5], [1, 1, 1, 1], [0, 1, 2, 3]])


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layers(*widths: int) -> nn.Sequential:
    """Return an mlp whose normalisations also fall and also stand still."""
    torch.manual_seed(0)
    found = mlp(widths).double()
    for norm in (layer for layer in found if isinstance(layer, nn.BatchNorm1d)):
        with torch.no_grad():
            norm.weight.copy_(values(len(norm.weight), seed=1))
            norm.bias.copy_(values(len(norm.bias), seed=2))
    return found


def grouped(x: torch.Tensor, center: torch.Tensor, network: nn.Sequential) -> torch.Tensor:
    """What PointNet++ says: every entry of every group through every layer, repeated ones too."""
    entries = x[GROUP] - center[:, None]  # (3, 4, C)
    return network(entries.flatten(0, 1)).view(3, 4, -1).max(dim=1).values


def along_edges(x: torch.Tensor, center: torch.Tensor, network: nn.Sequential) -> torch.Tensor:
    edges = Edges.of(GROUP)
    first = network[0].weight
    z = edge_differences(x @ first.T, center @ first.T, edges)
    return pooled_norm(hidden_layers(z, network, edges), network[-2], edges)


def test_edges_are_the_distinct_entries_fewest_first():
    edges = Edges.of(GROUP)
    assert edges.order.tolist() == [1, 0, 2]
    assert edges.place.tolist() == [1, 0, 2]
    assert edges.source.tolist() == [1, 5, 2, 0, 1, 2, 3]
    assert edges.weight.tolist() == [4, 3, 1, 1, 1, 1, 1]
    assert edges.runs == [(1, 1), (1, 2), (1, 4)]
    assert edges.total == 12


def test_full_groups_need_no_weights():
    edges = Edges.of(torch.tensor([[0, 1], [2, 0]]))
    assert edges.weight is None
    assert edges.source.tolist() == [0, 1, 2, 0]
    assert edges.runs == [(2, 2)]


def test_differences_by_hand():
    x, center = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]]), torch.tensor([[10.0], [20.0], [30.0]])
    assert edge_differences(x, center, Edges.of(GROUP)).flatten().tolist() == [-18, 22, -6, -29, -28, -26, -22]


def test_statistics_count_the_repeated_entries():
    """Values 0, 0, 0, 4 of one group of four: mean 1, variance 3, and 4 without bias."""
    norm = nn.BatchNorm1d(1)
    edges = Edges.of(torch.tensor([[0, 1, 0, 0]]))
    out = pooled_norm(torch.tensor([[0.0], [4.0]]), norm, edges)
    assert out.item() == pytest.approx(3 / 3**0.5, rel=1e-4)  # eps in the root
    assert norm.running_mean.item() == pytest.approx(0.1 * 1)
    assert norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 4)
    assert norm.num_batches_tracked.item() == 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("widths", [(3, 5), (3, 5, 4), (3, 5, 4, 6)])
def test_layers_along_edges_are_those_over_whole_groups(widths, training):
    ours, plain = layers(*widths).train(training), layers(*widths).train(training)
    inputs = [values(6, 3).requires_grad_(), values(3, 3, seed=3).requires_grad_()]
    a, b = along_edges(*inputs, ours), grouped(*inputs, plain)
    torch.testing.assert_close(a, b)
    weight = values(*a.shape, seed=4)
    for mine, theirs in zip(
        torch.autograd.grad((a * weight).sum(), [*inputs, *ours.parameters()]),
        torch.autograd.grad((b * weight).sum(), [*inputs, *plain.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_are_those_of_differences():
    network = layers(3, 4, 5)
    inputs = (values(6, 3).requires_grad_(), values(3, 3, seed=3).requires_grad_())
    assert torch.autograd.gradcheck(lambda x, center: along_edges(x, center, network), inputs)
    index, weight = torch.tensor([[0, 2, 1], [2, 2, 2], [1, 0, 1], [3, 1, 0]]), values(4, 3).abs()
    assert torch.autograd.gradcheck(lambda x: interpolate(x, index, weight), values(5, 2).requires_grad_())
    rows = lambda z: hidden_layers(z, layers(3, 4, 5))  # noqa: E731
    assert torch.autograd.gradcheck(rows, values(7, 4).requires_grad_())


def test_small_blocks_give_what_one_gives(monkeypatch):
    x, center = values(6, 3), values(3, 3, seed=3)
    whole = along_edges(x, center, layers(3, 5, 4))
    monkeypatch.setattr("pcsargmax.backbones.edges._CHUNK", 1)
    torch.testing.assert_close(along_edges(x, center, layers(3, 5, 4)), whole)


def test_interpolation_by_hand():
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    found = interpolate(x, torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0.5, 0.25], [1.0, 0.0]]))
    assert found.tolist() == [[1.5, 15.0], [2.0, 20.0]]


def test_equal_maxima_share_the_gradient():
    z = torch.tensor([[2.0], [2.0], [1.0]], requires_grad=True)
    norm = nn.BatchNorm1d(1).eval()
    pooled_norm(z, norm, Edges.of(torch.tensor([[0, 1, 2]]))).sum().backward()
    torch.testing.assert_close(z.grad, torch.tensor([[0.5], [0.5], [0.0]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_rows_stay_short_and_statistics_long(dtype):
    network = layers(3, 8, 4).float()
    network[0].to(dtype)
    edges = Edges.of(GROUP)
    z = values(7, 8).to(dtype).requires_grad_()
    out = pooled_norm(hidden_layers(z, network, edges), network[-2], edges)
    out.float().sum().backward()
    assert out.dtype == z.grad.dtype == dtype
    assert network[1].weight.grad.dtype == network[3].weight.grad.dtype == torch.float32


def test_one_value_cannot_be_normalised():
    with pytest.raises(ValueError, match="batch normalisation: expected more than one row in training, got 1"):
        pooled_norm(torch.ones(1, 2), nn.BatchNorm1d(2), Edges.of(torch.tensor([[0]])))
