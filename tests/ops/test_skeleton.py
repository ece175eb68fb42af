import itertools
import math
import re
import weakref

import pytest
import torch
from reference import skeleton as reference

from pcsargmax.ops import chamfer
from pcsargmax.ops.skeleton import (
    composite_chamfer,
    decode,
    decode_cloud,
    edge_count,
    edge_pairs,
    skeleton_loss,
)

PARTS = ("fidelity", "coverage", "offset_penalty", "total")


def shape(num_keypoints=4, batch=3, num_points=70, dtype=torch.float64, seed=0):
    """Keypoints, strengths, offsets and clouds, all with gradient, with 15 to some 80 points an edge."""
    generator = torch.Generator().manual_seed(seed)
    edges = num_keypoints * (num_keypoints - 1) // 2
    keypoints = 0.5 * torch.rand(batch, num_keypoints, 3, dtype=dtype, generator=generator)
    strengths = torch.rand(batch, edges, dtype=dtype, generator=generator)
    offsets = 0.02 * torch.randn(edges, 200, 3, dtype=dtype, generator=generator)
    cloud = torch.rand(batch, num_points, 3, dtype=dtype, generator=generator)
    return [leaf.requires_grad_() for leaf in (keypoints, strengths, offsets, cloud)]


def at(rho):
    """The distance whose ρ is given."""
    return math.sqrt(rho**2 - 1e-4)


def slopes(value, leaves):
    return torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)


def test_edges_are_numbered_as_combinations_are():
    assert edge_pairs(4).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert edge_pairs(2).tolist() == [[0, 1]]
    for k in (5, 10):
        assert edge_pairs(k).tolist() == [list(pair) for pair in itertools.combinations(range(k), 2)]


def test_counts_by_hand():
    # lengths sqrt(1e-3 + d²): 0.5, 0.305 and 3; the mean over the batch decides
    d = [math.sqrt(length**2 - 1e-3) for length in (0.5, 0.305, 3.0)]
    line = torch.tensor([[[0.0, 0, 0], [d[0] + 1e-5, 0, 0]]])
    assert edge_count(line).tolist() == [50]
    assert edge_count(torch.tensor([[[0.0, 0, 0], [0, d[1], 0]]])).tolist() == [30]  # floor of 30.5
    assert edge_count(torch.tensor([[[0.0, 0, 0], [0, 0, d[2]]]])).tolist() == [200]
    assert edge_count(torch.zeros(1, 3, 3)).tolist() == [15, 15, 15]  # sqrt(1e-3) gives 3
    both = torch.cat([line, torch.tensor([[[0.0, 0, 0], [0, d[1], 0]]])])
    assert edge_count(both).tolist() == [40]  # (0.5 + 0.305) / 2 = 0.4025
    assert edge_count(line, 0.02).tolist() == [25]
    assert not edge_count(line.requires_grad_()).requires_grad


def test_decode_by_hand():
    keypoints = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]])
    offsets = torch.zeros(3, 4, 3)
    offsets[1, :, 2] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    points, edge = decode(keypoints, offsets, torch.tensor([2, 3, 2]))
    assert edge.tolist() == [0, 0, 1, 1, 1, 2, 2]
    expected = [[0, 0, 0], [1, 0, 0], [0, 0, 0.1], [0, 1, 0.2], [0, 2, 0.3], [1, 0, 0], [0, 2, 0]]
    torch.testing.assert_close(points, torch.tensor([expected]))


def test_decode_against_the_plain_form():
    keypoints, _, offsets, _ = shape(5)
    points, edge = decode(keypoints, offsets)
    assert torch.equal(torch.bincount(edge), edge_count(keypoints))
    torch.testing.assert_close(points, torch.cat(reference.decode(keypoints, offsets), dim=1))
    alone, edge_alone = decode_cloud(keypoints[1], offsets, edge_count(keypoints))
    assert torch.equal(alone, points[1])
    assert torch.equal(edge_alone, edge)
    assert not alone.requires_grad
    assert len(decode_cloud(keypoints[1], offsets)[0]) == edge_count(keypoints[1:2]).sum()


def test_two_keypoints_and_three_points_by_hand():
    keypoints = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]], dtype=torch.float64)  # points at 0, ½ and 1
    offsets = torch.zeros(1, 4, 3, dtype=torch.float64)
    offsets[0, 3, 1] = 2.0  # of a row without a point: it is penalised all the same
    cloud = torch.tensor([[[0, at(0.05), 0], [0.5, 0, at(0.25)], [1, 0, -at(0.13)]]], dtype=torch.float64)
    strengths = torch.tensor([[0.5]], dtype=torch.float64)
    loss = skeleton_loss(keypoints, strengths, offsets, cloud, counts=torch.tensor([3]))
    mean = 0.5 * (0.05 + 0.25 + 0.13) / 3
    assert loss.fidelity.item() == pytest.approx(mean)
    assert loss.coverage.item() == pytest.approx(mean + 20 * 0.5)
    assert loss.offset_penalty.item() == pytest.approx(0.01 * 4)
    assert loss.total.item() == pytest.approx(2 * mean + 10.04)


@pytest.mark.parametrize(("num_keypoints", "num_points"), [(2, 40), (4, 64), (6, 33)])
@pytest.mark.parametrize("chunk", [None, 2**9])
def test_values_and_all_slopes_against_the_plain_form(num_keypoints, num_points, chunk, monkeypatch):
    if chunk is not None:
        monkeypatch.setattr(chamfer, "_CHUNK", chunk)
    leaves = shape(num_keypoints, num_points=num_points)
    loss = skeleton_loss(*leaves)
    assert all(getattr(loss, part).shape == (3,) for part in PARTS)
    expected = reference.skeleton_loss(*leaves)
    for part, value in zip(PARTS, (*expected, sum(expected)), strict=True):
        mean = getattr(loss, part).mean()
        torch.testing.assert_close(mean, value)
        for ours, plain in zip(slopes(mean, leaves), slopes(value, leaves), strict=True):
            assert (ours is None) == (plain is None)
            if ours is not None:
                torch.testing.assert_close(ours, plain)


def test_float32_against_the_plain_form():
    leaves = shape(6, num_points=300, dtype=torch.float32)
    ours, plain = skeleton_loss(*leaves).total.mean(), sum(reference.skeleton_loss(*leaves))
    torch.testing.assert_close(ours, plain)
    for a, b in zip(slopes(ours, leaves), slopes(plain, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_gradcheck():
    # far apart, so that no step of the check changes what is nearest
    keypoints = torch.tensor([[[0.0, 0, 0], [1, 0.1, 0], [0.2, 1, 0.3]]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    offsets = 0.05 * torch.randn(3, 5, 3, dtype=torch.float64, generator=generator)
    cloud = torch.rand(1, 7, 3, dtype=torch.float64, generator=generator)
    strengths = torch.tensor([[0.3, 0.6, 0.45]], dtype=torch.float64)
    counts = torch.tensor([5, 3, 4])
    leaves = [leaf.requires_grad_() for leaf in (keypoints, strengths, offsets, cloud)]
    assert torch.autograd.gradcheck(lambda *x: tuple(skeleton_loss(*x, counts=counts)), leaves)


def test_the_order_of_the_points_does_not_matter():
    keypoints, strengths, offsets, cloud = shape()
    order = torch.randperm(cloud.shape[1], generator=torch.Generator().manual_seed(3))
    loss = skeleton_loss(keypoints, strengths, offsets, cloud)
    other = skeleton_loss(keypoints, strengths, offsets, cloud[:, order])
    for part in PARTS:
        torch.testing.assert_close(getattr(loss, part), getattr(other, part))
    leaves = [keypoints, strengths, offsets, cloud]
    for a, b in zip(slopes(loss.total, leaves), slopes(other.total, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_masked_is_removed():
    keypoints, strengths, offsets, cloud = shape()
    counts = edge_count(keypoints)
    real = torch.rand(cloud.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.6
    real[1] = False
    real[1, 40] = True
    padded = torch.where(real.unsqueeze(-1), cloud, torch.nan).detach().requires_grad_()
    loss = skeleton_loss(keypoints, strengths, offsets, padded, real)
    leaves = (keypoints, strengths, offsets, padded)
    found = slopes(loss.total, leaves)
    assert (found[3][~real] == 0).all()
    for i in range(3):
        own = [leaf.detach().requires_grad_() for leaf in (keypoints[i : i + 1], strengths[i : i + 1], offsets)]
        alone_cloud = cloud[i : i + 1, real[i]].detach().requires_grad_()
        alone = skeleton_loss(*own, alone_cloud, counts=counts)
        for part in PARTS:
            assert torch.equal(getattr(loss, part)[i], getattr(alone, part)[0])
        of_keypoints, of_strengths, _, of_cloud = slopes(alone.total, [*own, alone_cloud])
        torch.testing.assert_close(found[0][i], of_keypoints[0])
        torch.testing.assert_close(found[1][i], of_strengths[0])
        torch.testing.assert_close(found[3][i, real[i]], of_cloud[0])


def test_only_the_counts_depend_on_the_batch():
    keypoints, strengths, offsets, cloud = shape()
    loss = skeleton_loss(keypoints, strengths, offsets, cloud)
    for i in range(3):
        own = keypoints[i : i + 1], strengths[i : i + 1], offsets, cloud[i : i + 1]
        alone = skeleton_loss(*own, counts=edge_count(keypoints))
        for part in PARTS:
            assert torch.equal(getattr(loss, part)[i], getattr(alone, part)[0])
    assert not torch.equal(edge_count(keypoints), edge_count(keypoints[:1]))


def test_samples_in_a_row_share_their_cloud():
    _, strengths, offsets, cloud = shape()
    samples = 0.5 * torch.rand(3, 4, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    samples.requires_grad_()
    leaves = [samples, strengths, offsets, cloud]
    counts = edge_count(samples.flatten(0, 1))
    real = torch.rand(cloud.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.7
    folded = skeleton_loss(samples.flatten(0, 1), strengths, offsets, cloud, real)
    assert folded.total.shape == (12,)
    apart = [skeleton_loss(samples[:, s], strengths, offsets, cloud, real, counts=counts) for s in range(4)]
    for part in PARTS:
        stacked = torch.stack([getattr(loss, part) for loss in apart], dim=1)
        assert torch.equal(getattr(folded, part).unflatten(0, (3, 4)), stacked)
    together = torch.stack([loss.total for loss in apart], dim=1).mean(dim=1)
    for a, b in zip(
        slopes(folded.total.unflatten(0, (3, 4)).mean(dim=1), leaves), slopes(together, leaves), strict=True
    ):
        torch.testing.assert_close(a, b)
    own = strengths.repeat_interleave(4, dim=0)  # or strengths of each sample
    assert torch.equal(skeleton_loss(samples.flatten(0, 1), own, offsets, cloud, real).total, folded.total)


def test_the_same_again_is_the_same():
    leaves = shape(8, num_points=200, dtype=torch.float32)
    first, again = skeleton_loss(*leaves), skeleton_loss(*leaves)
    assert torch.equal(first.total, again.total)
    for a, b in zip(slopes(first.total, leaves), slopes(again.total, leaves), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("num_points", [1, 2, 31, 32, 33])
def test_small_clouds_and_coinciding_keypoints(num_points):
    keypoints = torch.tensor([[[0.1, 0.2, 0.3]] * 2, [[0.0, 0, 0], [0.5, 0, 0]]], requires_grad=True)
    offsets = torch.zeros(1, 200, 3, requires_grad=True)
    cloud = keypoints.detach()[:, :1].expand(-1, num_points, -1).contiguous().requires_grad_()
    strengths = torch.tensor([[1.0], [0.0]], requires_grad=True)
    leaves = [keypoints, strengths, offsets, cloud]
    loss = skeleton_loss(*leaves)
    # on the points themselves ρ is 0.01; an edge without strength covers nothing
    assert loss.coverage.tolist() == pytest.approx([0.01, 20])
    assert loss.fidelity.tolist() == pytest.approx([0.01, 0])
    for slope in slopes(loss.total, leaves):
        assert slope.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in shape(dtype=torch.float32)]
    loss = skeleton_loss(*leaves)
    full = skeleton_loss(*(leaf.detach().float() for leaf in leaves))
    assert loss.total.dtype == torch.float32
    assert torch.equal(loss.total, full.total)
    edge = torch.tensor([0, 0, 1, 2, 3, 4, 5])
    arguments = leaves[3][:, :7], edge, leaves[1], leaves[3][:, 10:]
    coverage = composite_chamfer(*arguments).coverage
    assert coverage.dtype == torch.float32
    assert torch.equal(coverage, composite_chamfer(*(x if x is edge else x.float() for x in arguments)).coverage)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = skeleton_loss(*leaves)
        found = slopes(inside.total, leaves)
    assert torch.equal(inside.total, full.total)
    for a, b in zip(found, slopes(loss.total, leaves), strict=True):
        assert a.dtype == dtype
        assert torch.equal(a, b)


def test_slopes_only_where_they_are_wanted():
    leaves = shape()
    for wanted in itertools.product((False, True), repeat=4):
        some = [leaf.detach().requires_grad_(w) for leaf, w in zip(leaves, wanted, strict=True)]
        total = skeleton_loss(*some).total
        assert total.requires_grad == any(wanted)
        if any(wanted):
            total.sum().backward()
        assert [leaf.grad is not None for leaf in some] == list(wanted)
    with torch.no_grad():
        assert not skeleton_loss(*leaves).total.requires_grad


def test_no_slopes_are_worked_out_where_gradients_are_off(monkeypatch):
    monkeypatch.setattr(torch.autograd, "grad", lambda *_, **__: pytest.fail("worked out a slope"))
    leaves = shape()
    with torch.no_grad():
        skeleton_loss(*leaves)
    with torch.inference_mode():
        skeleton_loss(*leaves)


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_cloud():
    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    kept = []
    for num_points in (100, 2000):
        keypoints, strengths, offsets, cloud = shape(5, num_points=num_points)
        alive = weakref.WeakSet()

        def pack(tensor, alive=alive):
            alive.add(it := Kept(tensor.detach()))
            return it

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda it: it.tensor):
            loss = skeleton_loss(keypoints, strengths, offsets, cloud.detach())
        kept.append(sum(it.tensor.numel() for it in alive))
        loss.total.sum().backward()
    assert kept[0] == kept[1]


def test_edges_of_any_length_and_more_edges_than_points():
    keypoints, strengths, _, cloud = shape(9, num_points=5)
    offsets = torch.zeros(36, 40, 3, dtype=torch.float64)
    counts = torch.arange(2, 38)
    points, edge = decode(keypoints, offsets, counts)
    found = composite_chamfer(points, edge, strengths, cloud)
    plain = reference.composite_chamfer(points.split(counts.tolist(), dim=1), strengths, cloud)
    torch.testing.assert_close(found.fidelity.mean(), plain[0])
    torch.testing.assert_close(found.coverage.mean(), plain[1])


def call(**changes):
    keypoints, strengths, offsets, cloud = (leaf.detach() for leaf in shape())
    points, edge = decode(keypoints, offsets)
    arguments = {"points": points, "edge": edge, "strengths": strengths, "cloud": cloud, "mask": None}
    return composite_chamfer(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"points": torch.zeros(3, 3)},
            "points: expected floating (B, N, 3), none of them 0, got torch.float32 (3, 3)",
        ),
        ({"cloud": torch.zeros(3, 0, 3)}, "cloud: expected floating (B, N, 3), none of them 0, got"),
        ({"cloud": torch.zeros(3, 5, 3).long()}, "cloud: expected floating (B, N, 3), none of them 0, got torch.int64"),
        ({"cloud": torch.zeros(2, 5, 3)}, "points: expected one item or more for each of 2 clouds, got 3 items"),
        ({"edge": torch.zeros(4).long()}, "edge: expected"),
        ({"strengths": torch.zeros(2, 6)}, "strengths: expected (B, P) with B = 3, got (2, 6)"),
        ({"strengths": torch.zeros(3, 5)}, "edge: expected ascending numbers from 0 to 4, none left out"),
        ({"strengths": torch.full((3, 6), 1.5)}, "strengths: expected values from 0 to 1, got 1.5 to 1.5"),
        ({"strengths": torch.full((3, 6), torch.nan)}, "strengths: expected values from 0 to 1, got nan to nan"),
        ({"mask": torch.ones(3, 70)}, "mask: expected bool (3, 70), got torch.float32 (3, 70)"),
        ({"mask": torch.zeros(3, 70).bool()}, "mask: expected a real point in each cloud, got none in 3"),
    ],
)
def test_errors_of_the_distance(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(**changes)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda k, o: edge_pairs(1), "num_keypoints: expected at least 2, the ends of an edge, got 1"),
        (lambda k, o: edge_count(k[0]), "keypoints: expected floating (B, K, 3), got torch.float64 (4, 3)"),
        (lambda k, o: edge_count(k[:0]), "keypoints: expected floating (B, K, 3), got torch.float64 (0, 4, 3)"),
        (lambda k, o: edge_count(k, 0.0), "spacing: expected more than 0, got 0.0"),
        (lambda k, o: edge_count(k / 0), "keypoints: expected finite coordinates, got NaN or infinite ones"),
        (lambda k, o: decode(k[:, :3], o), "offsets: expected (P, R, 3) = (3, R, 3) for 3 keypoints, got (6, 200, 3)"),
        (lambda k, o: decode(k, o[:, :10]), "counts: expected 2 to 10 points an edge, the rows of offsets, got"),
        (lambda k, o: decode(k, o, torch.ones(6).long()), "counts: expected 2 to 200 points an edge"),
        (lambda k, o: decode(k, o, torch.full((6,), 9.0)), "counts: expected 6 integers, got torch.float32 (6,)"),
        (lambda k, o: decode_cloud(k, o), "keypoints: expected those of one cloud, (K, 3), got (3, 4, 3)"),
    ],
)
def test_errors_of_the_decoder(run, message):
    keypoints, _, offsets, _ = shape()
    with pytest.raises(ValueError, match=re.escape(message)):
        run(keypoints, offsets)
