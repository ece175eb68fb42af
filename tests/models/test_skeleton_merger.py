from itertools import combinations

import pytest
import torch
from reference import skeleton_merger_network as reference

from pcsargmax.backbones.pointnet2 import Level, PointNet2, Scale
from pcsargmax.core.argmax import soft_argmax
from pcsargmax.models.skeleton_merger import BACKBONES, CloudNorm, SkeletonMerger
from pcsargmax.ops.neighbors import farthest_point_order


def cloud(n: int, seed: int = 0) -> torch.Tensor:
    """Return n points in the min-max frame, in farthest-point order."""
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return points[farthest_point_order(points)]


def small(**changes) -> PointNet2:
    torch.manual_seed(0)
    return PointNet2((Level(32, (Scale(0.3, 8, (16,)),)), Level(8, (Scale(0.9, 8, (24,)),))), ((24,), (16,)), **changes)


def model(num_keypoints: int = 4, backbone: str | PointNet2 | None = None, **changes) -> SkeletonMerger:
    torch.manual_seed(0)
    return SkeletonMerger(num_keypoints, small() if backbone is None else backbone, **changes)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("num_keypoints", [2, 10])
def test_shapes_of_every_preset(name, num_keypoints):
    net = model(num_keypoints, name)
    pos, batch = torch.cat([cloud(60), cloud(40, 1)]), torch.tensor([0] * 60 + [1] * 40)
    scores = net(pos, batch)
    pairs = len(list(combinations(range(num_keypoints), 2)))
    assert scores.logits.shape == (2, num_keypoints, 60)
    assert scores.sites.shape == (2, 60, 3)
    assert scores.mask.sum(dim=1).tolist() == [60, 40]
    assert scores.strengths.shape == (2, pairs)
    assert net.offsets.shape == (pairs, 200, 3)
    assert 0 < scores.strengths.min() <= scores.strengths.max() < 1


def test_original_has_the_parts_of_the_papers_code():
    net = model(10, "original")
    assert net.backbone.in_channels + 3 == 9
    assert net.backbone.out_channels == 128
    assert net.backbone.global_channels == 1024
    assert [tuple(p.shape) for p in net.head.parameters() if p.dim() == 2] == [(128, 128), (10, 128), (10, 10)]
    assert [tuple(p.shape) for p in net.strengths.parameters() if p.dim() == 2] == [(512, 1024), (256, 512), (45, 256)]
    assert net.head[1].p == 0.5
    assert net.backbone.up[-1].mlp[0].in_features == 128  # no position beside what comes back
    assert [p.weight.shape[1] for p in (level.convs[0].local_nn[0] for level in net.backbone.down)] == [
        12,
        99,
        259,
        515,
    ]
    assert net.offsets.mean().abs() < 1e-4
    assert net.offsets.std().item() == pytest.approx(0.002, rel=0.02)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_channels", [0, 6])
def test_the_network_is_the_one_written_out(training, in_channels):
    changes = {"in_channels": in_channels, "skip_input": not in_channels}
    ours, plain = (model(5, small(**changes), dropout=0.0).double().train(training) for _ in range(2))
    pos = torch.stack([cloud(80, seed=seed) for seed in range(3)]).double()
    logits, sites, mask, strengths = ours(pos.flatten(0, 1), torch.arange(3).repeat_interleave(80))
    expected, expected_strengths = reference.forward(plain, pos)
    near = {"atol": 1e-5, "rtol": 1e-5}  # interpolation weights are float32
    assert mask.all()
    assert torch.equal(sites, pos)
    torch.testing.assert_close(logits, expected, **near)
    torch.testing.assert_close(strengths, expected_strengths, **near)
    for maps, edges in ((logits, strengths), (expected, expected_strengths)):
        (soft_argmax(maps, pos).square().sum() + edges.square().sum()).backward()
    for (name, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        if name != "offsets":
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_scores_by_hand():
    """Log-softmax over the keypoints, then the mixing map: two keypoints, their scores set by the biases."""
    net = model(2).eval()
    with torch.no_grad():
        net.head[2].weight.zero_()
        net.head[2].bias.copy_(torch.tensor([3.0, 1.0]).log())  # shares 3/4 and 1/4
        net.head[4].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        net.head[4].bias.copy_(torch.tensor([0.0, 2.0]))
        net.strengths[6].weight.zero_()
        net.strengths[6].bias.fill_(1.0)
    scores = net(cloud(20))
    first, second = torch.tensor(0.75).log(), torch.tensor(0.75 * 0.25).log() + 2
    torch.testing.assert_close(scores.logits, torch.stack([first, second]).view(1, 2, 1).expand(1, 2, 20))
    assert scores.strengths.item() == pytest.approx(0.731059)  # the sigmoid of 1


def test_a_cloud_alone_gives_what_it_gives_in_a_ragged_batch():
    net = model().eval()
    clouds = [cloud(n, seed=n) for n in (100, 1, 40)]
    together = net(torch.cat(clouds), torch.tensor([0] * 100 + [1] + [2] * 40))
    keypoints = soft_argmax(together.logits, together.sites, mask=together.mask)
    for i, points in enumerate(clouds):
        alone = net(points)
        torch.testing.assert_close(soft_argmax(alone.logits, alone.sites)[0], keypoints[i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.strengths[0], together.strengths[i], atol=1e-5, rtol=1e-5)


def test_a_cloud_in_any_order_is_ordered_on_entry():
    net = model().eval()
    pos = cloud(100)
    shuffle = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    given, shuffled = net(pos), net(pos[shuffle])
    torch.testing.assert_close(shuffled.logits, given.logits[:, :, shuffle])
    assert torch.equal(shuffled.sites[0], pos[shuffle])
    known = net(pos, neighborhoods=net.backbone.neighborhoods(pos))
    torch.testing.assert_close(known.logits, given.logits)


def test_clouds_change_places_with_their_answers():
    net = model(dropout=0.0)
    a, b = cloud(60), cloud(60, 1)
    batch = torch.tensor([0] * 60 + [1] * 60)
    given, turned = net(torch.cat([a, b]), batch), net(torch.cat([b, a]), batch)
    torch.testing.assert_close(turned.logits, given.logits.flip(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned.strengths, given.strengths.flip(0), atol=1e-4, rtol=1e-4)


def test_the_same_cloud_gives_the_same_answer_bit_for_bit():
    net = model(10, "light").eval()
    first, again = net(cloud(300)), net(cloud(300))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


def test_training_takes_a_batch_of_one():
    """The strengths' normalisation then uses its running statistics, and leaves them."""
    net = model()
    before = [b.clone() for b in net.strengths.buffers()]
    scores = net(cloud(50))
    (scores.logits.square().sum() + scores.strengths.square().sum()).backward()
    assert scores.strengths.isfinite().all()
    assert all(p.grad.isfinite().all() for name, p in net.named_parameters() if name != "offsets")
    assert all(torch.equal(a, b) for a, b in zip(before, net.strengths.buffers(), strict=True))


@pytest.mark.parametrize("points", [cloud(5), torch.ones(20, 3)])
def test_few_or_equal_points_give_finite_scores_and_gradients(points):
    """There may be more keypoints than points, and no two points apart."""
    net = model(32)
    scores = net(torch.cat([points, cloud(30)]), torch.tensor([0] * len(points) + [1] * 30))
    soft_argmax(scores.logits, scores.sites, mask=scores.mask).square().sum().backward()
    assert scores.logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.backbone.parameters())


def test_normalisation_of_clouds_by_hand():
    norm = CloudNorm(1)
    with torch.no_grad():
        norm.running_mean.fill_(1.0)
        norm.running_var.fill_(4.0)
    assert norm(torch.tensor([[5.0]])).item() == pytest.approx(2, rel=1e-5)
    assert norm(torch.tensor([[5.0], [7.0]])).flatten().tolist() == pytest.approx([-1, 1], rel=1e-4)


def test_gradient_reaches_every_parameter_of_the_network():
    net = model(dropout=0.0)
    scores = net(torch.cat([cloud(60), cloud(40, 1)]), torch.tensor([0] * 60 + [1] * 40))
    keypoints = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    (keypoints.square().sum() + scores.strengths.square().sum()).backward()
    # a bias before a softmax over the points moves nothing
    still = {"offsets", "head.4.bias"}
    dead = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead <= still


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="num_keypoints must be at least 2, the ends of an edge, got 1"):
        SkeletonMerger(1)
    with pytest.raises(ValueError, match="backbone must be one of light, original, got 'dgcnn'"):
        SkeletonMerger(2, "dgcnn")
    with pytest.raises(ValueError, match=r"backbone must take xyz again as input features, .* got 2"):
        SkeletonMerger(2, small(in_channels=2))
    with pytest.raises(ValueError, match="dropout must be 0 or more and below 1, got 1"):
        SkeletonMerger(2, dropout=1)
    with pytest.raises(ValueError, match=r"pos must be \(N, 3\), at least one point, got \(4, 2\)"):
        model().eval()(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"pos must be \(N, 3\), at least two points in training, got \(1, 3\)"):
        model()(torch.zeros(1, 3))
