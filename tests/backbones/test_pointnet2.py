import pytest
import torch
from reference import pointnet2 as reference

from pcsargmax.backbones.pointnet2 import Level, Neighborhoods, PointNet2, Scale
from pcsargmax.ops.neighbors import farthest_point_order


def cloud(n: int, seed: int = 0) -> torch.Tensor:
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) / 5
    return points[farthest_point_order(points)]


def network(**changes) -> PointNet2:
    torch.manual_seed(0)
    levels = (
        Level(32, (Scale(0.2, 8, (8, 8)), Scale(0.4, 12, (8,), (12,)))),  # multi-scale
        Level(8, (Scale(0.6, 6, (16, 24)),)),
    )
    return PointNet2(levels, ((24,), (16, 16)), **changes).eval()


def test_shapes_and_widths():
    net = network()
    features, pooled = net(cloud(100))
    assert features.shape == (100, 16) == (100, net.out_channels)
    assert pooled.shape == (1, 24) == (1, net.global_channels)


def test_a_cloud_alone_is_as_in_a_ragged_batch():
    net = network()
    clouds = [cloud(n, seed=n) for n in (100, 1, 40, 5)]  # some smaller than a level asks for
    batch = torch.cat([torch.full((len(c),), i) for i, c in enumerate(clouds)])
    features, pooled = net(torch.cat(clouds), batch=batch)
    for i, c in enumerate(clouds):
        alone, alone_pooled = net(c)
        torch.testing.assert_close(features[batch == i], alone)
        torch.testing.assert_close(pooled[i : i + 1], alone_pooled)


def test_known_neighborhoods_collate_to_those_of_the_batch():
    net = network()
    clouds = [cloud(n, seed=n) for n in (100, 3, 40)]
    batch = torch.cat([torch.full((len(c),), i) for i, c in enumerate(clouds)])
    whole = net.neighborhoods(torch.cat(clouds), batch)
    joined = Neighborhoods.collate([net.neighborhoods(c) for c in clouds])
    for ours, theirs in zip(_flat(joined), _flat(whole), strict=True):
        assert torch.equal(ours, theirs)


def _flat(n: Neighborhoods) -> list[torch.Tensor]:
    return [*n.counts, *n.centers, *(g for scales in n.groups for g in scales), *n.up_index, *n.up_weight]


def test_set_abstraction_is_the_maximum_over_the_ball():
    """One level against the formula of the paper, point by point."""
    net = network()
    pos = cloud(60)
    near = net.neighborhoods(pos)
    layer = net.down[0]
    out = layer(pos, pos, near.centers[0], near.groups[0])
    for center in (0, 7, 31):
        expected = []
        for conv, group in zip(layer.convs, near.groups[0], strict=True):
            members = group[center].unique()
            messages = conv.local_nn(torch.cat([pos[members], pos[members] - pos[center]], dim=1))
            pooled = messages.max(dim=0, keepdim=True).values
            expected.append(pooled if conv.global_nn is None else conv.global_nn(pooled))
        torch.testing.assert_close(out[center : center + 1], torch.cat(expected, dim=1))


def test_interpolation_weights_sum_to_one_and_pass_a_centre_through():
    net = network()
    pos = cloud(60)
    near = net.neighborhoods(pos)
    torch.testing.assert_close(near.up_weight[0].sum(dim=1), torch.ones(60))
    # a centre's own nearest is itself, at distance 0: it takes all the weight
    assert near.up_index[0][:32, 0].tolist() == list(range(32))
    assert near.up_weight[0][:32, 0].min() > 0.99


def test_input_features_change_the_answer_and_are_counted():
    net = network(in_channels=2)
    pos = cloud(50)
    a = net(pos, torch.zeros(50, 2))[0]
    b = net(pos, torch.ones(50, 2))[0]
    assert not torch.allclose(a, b)
    with pytest.raises(ValueError, match="x must have 2 input features per point, got 0"):
        net(pos)


def three_clouds() -> torch.Tensor:
    return torch.stack([cloud(60, seed=seed) for seed in range(3)]).double()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("changes", [{}, {"in_channels": 2}, {"skip_input": False}])
def test_layers_are_those_over_groups_written_out(changes, training):
    ours, plain = (network(**changes).double().train(training) for _ in range(2))
    pos = three_clouds()
    x = pos[..., :2].square() if changes.get("in_channels") else None
    batch = torch.arange(3).repeat_interleave(60)
    found = ours(pos.flatten(0, 1), None if x is None else x.flatten(0, 1), batch)
    expected = reference.forward(plain, pos, x)
    near = {"atol": 1e-6, "rtol": 1e-5}  # interpolation weights are float32
    torch.testing.assert_close(found[0], expected[0].flatten(0, 1), **near)
    torch.testing.assert_close(found[1], expected[1], **near)
    for features, pooled in (found, (expected[0].flatten(0, 1), expected[1])):
        (features * torch.linspace(-1, 1, features.numel()).view(features.shape)).sum().add(pooled.sum()).backward()
    for (name, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-5, msg=name)
    for (name, mine), theirs in zip(ours.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **near, msg=name)


def test_negative_scales_turn_the_maximum():
    """Of a falling normalisation the smallest value is the largest."""
    ours, plain = (network().double() for _ in range(2))
    for net in (ours, plain):
        with torch.no_grad():
            for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d)):
                norm.weight.copy_(torch.linspace(-1, 1, len(norm.weight)))
                norm.bias.fill_(0.3)
    pos = three_clouds()
    features, _ = ours(pos.flatten(0, 1), batch=torch.arange(3).repeat_interleave(60))
    torch.testing.assert_close(features, reference.forward(plain, pos)[0].flatten(0, 1), atol=1e-6, rtol=1e-5)


def test_names_of_parameters_are_those_of_point_net_conv():
    """Checkpoints of before can be loaded."""
    names = set(network().state_dict())
    assert {"down.0.convs.1.local_nn.0.weight", "down.0.convs.1.global_nn.1.running_mean"} <= names
    assert {"down.1.convs.0.local_nn.4.num_batches_tracked", "up.1.mlp.3.weight"} <= names
    assert len(names) == 54


def test_clouds_change_places_with_their_answers():
    net = network().train()
    pos = three_clouds().float()
    batch = torch.arange(3).repeat_interleave(60)
    features, pooled = net(pos.flatten(0, 1), batch=batch)
    turned, turned_pooled = net(pos[[2, 0, 1]].flatten(0, 1), batch=batch)
    torch.testing.assert_close(turned.view(3, 60, -1), features.view(3, 60, -1)[[2, 0, 1]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned_pooled, pooled[[2, 0, 1]], atol=1e-4, rtol=1e-4)


def test_mixed_precision_is_near_full_precision():
    pos, batch = three_clouds().float().flatten(0, 1), torch.arange(3).repeat_interleave(60)
    pos = pos + 1  # away from the origin, where short numbers would lose the differences of positions
    full, _ = network().train()(pos, batch=batch)
    net = network().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short, _ = net(pos, batch=batch)
    short.float().square().sum().backward()
    assert (short - full).norm() < 0.05 * full.norm()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_training_repeats_bit_for_bit():
    pos, batch = three_clouds().float().flatten(0, 1), torch.arange(3).repeat_interleave(60)
    runs = []
    for _ in range(2):
        net = network().train()
        features, pooled = net(pos, batch=batch)
        (features.square().sum() + pooled.sum()).backward()
        runs.append([features, *(p.grad for p in net.parameters()), *net.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_gradient_reaches_every_parameter():
    net = network().train()
    features, pooled = net(torch.cat([cloud(50), cloud(40, 1)]), batch=torch.tensor([0] * 50 + [1] * 40))
    (features.square().sum() + pooled.sum()).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_clouds_smaller_than_every_level_give_finite_features(n):
    features, pooled = network()(cloud(n))
    assert features.isfinite().all()
    assert pooled.isfinite().all()


def test_all_points_equal_give_finite_features():
    features, _ = network()(torch.ones(20, 3))
    assert features.isfinite().all()
    torch.testing.assert_close(features, features[:1].expand(20, -1))


def test_levels_and_up_widths_must_agree():
    with pytest.raises(ValueError, match="up_widths must have one entry for each of the 1 levels, got 2"):
        PointNet2((Level(8, (Scale(0.2, 4, (8,)),)),), ((8,), (8,)))
