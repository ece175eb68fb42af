import math

import pytest
import torch
from reference.clouds import cloud
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from pcsargmax.transforms.augment import (
    Outliers,
    PointDropout,
    RandomJitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    RandomWarp,
    find_mirror_pairs,
)
from pcsargmax.transforms.frames import IntoFrame, NormalizeFrame, NormalizeMinMax


def seeded(transform, seed: int = 0):
    transform.generator = torch.Generator().manual_seed(seed)
    return transform


RANDOM = [
    lambda: RandomRotation(30),
    lambda: RandomRotation(180, axis="any"),
    lambda: RandomScale(0.5, 2.0, per_axis=True),
    lambda: RandomJitter(0.1, clip=0.2),
    lambda: PointDropout(0.5),
    lambda: Outliers(0.3, reach=1.5),
    lambda: RandomWarp(0.1, width=4),
]


@pytest.mark.parametrize("axis", ["x", "y", "z", "any"])
def test_rotation_keeps_distances_and_turns_all_alike(axis):
    item = cloud()
    turned = seeded(RandomRotation(90, axis=axis))(item)
    torch.testing.assert_close(torch.pdist(turned.pos), torch.pdist(item.pos))
    torch.testing.assert_close(turned.keypoint_pos[0, [0, 2]], turned.pos[[3, 7]])
    assert torch.equal(turned.keypoint_pos[0, 1], torch.zeros(3))
    torch.testing.assert_close((turned.normal * turned.pos).sum(1), (item.normal * item.pos).sum(1))
    assert not torch.allclose(turned.pos, item.pos)
    if axis != "any":
        k = "xyz".index(axis)
        torch.testing.assert_close(turned.pos[:, k], item.pos[:, k])


def test_rotation_is_right_handed_and_stays_within_its_angle():
    item = Data(pos=torch.tensor([[1.0, 0, 0]], dtype=torch.float64))
    rotate = seeded(RandomRotation(30, axis="z"))
    turned = torch.cat([rotate(item).pos for _ in range(500)])
    angles = torch.rad2deg(torch.atan2(turned[:, 1], turned[:, 0]))
    assert 28 < angles.max() <= 30
    assert -30 <= angles.min() < -28
    draw = torch.rand((), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert angles[0].item() == pytest.approx((2 * draw.item() - 1) * 30)  # x turns towards y when it is above 0


def test_any_axis_at_180_degrees_is_uniform_over_rotations():
    item = Data(pos=torch.eye(3, dtype=torch.float64))
    rotate = seeded(RandomRotation(180, axis="any"))
    matrices = torch.stack([rotate(item).pos for _ in range(4000)])
    # Under the Haar measure each entry has mean 0 and variance 1/3, and the trace has mean 0.
    assert matrices.mean(0).abs().max() < 0.04
    assert (matrices.var(0) - 1 / 3).abs().max() < 0.03
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(4000, dtype=torch.float64))


def test_scale_per_axis_keeps_normals_at_right_angles():
    item = cloud()
    tangent = torch.linalg.cross(item.normal, torch.randn(item.pos.shape, dtype=torch.float64))
    scaled = seeded(RandomScale(0.5, 2.0, per_axis=True))(item)
    factor = scaled.pos[0] / item.pos[0]
    torch.testing.assert_close(scaled.pos, item.pos * factor)
    torch.testing.assert_close(scaled.keypoint_pos, item.keypoint_pos * factor)
    assert ((scaled.normal * tangent * factor).sum(1)).abs().max() < 1e-12
    torch.testing.assert_close(scaled.normal.norm(dim=1), torch.ones(50, dtype=torch.float64))


def test_scale_is_one_factor_within_bounds():
    item = cloud()
    scale = seeded(RandomScale(0.8, 1.25))
    factors = torch.stack([(scale(item).pos / item.pos) for _ in range(200)])
    torch.testing.assert_close(factors, factors[:, :1, :1].expand_as(factors))
    assert 0.8 <= factors.min() < 0.82
    assert 1.23 < factors.max() <= 1.25


def test_jitter_moves_points_only_and_is_clipped():
    item = cloud(2000)
    jittered = seeded(RandomJitter(0.1, clip=0.15))(item)
    shift = jittered.pos - item.pos
    assert shift.abs().max() <= 0.15 + 1e-12
    assert (shift.abs() > 0.15 - 1e-9).float().mean().item() == pytest.approx(0.1336, abs=0.02)
    assert torch.equal(jittered.keypoint_pos, item.keypoint_pos)
    free = seeded(RandomJitter(0.1))(item).pos - item.pos
    assert free.std().item() == pytest.approx(0.1, rel=0.05)
    assert free.abs().max() > 0.3


def test_a_warp_by_hand():
    item = Data(pos=torch.tensor([[0.1, 0.2, -0.3], [0.4, 0.0, 0.0]], dtype=torch.float64))
    warped = seeded(RandomWarp(0.05, width=0.3, bumps=2))(item)
    generator = torch.Generator().manual_seed(0)
    center = torch.rand(2, 3, generator=generator, dtype=torch.float64) - 0.5
    height = 0.05 * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    for point, found in zip(item.pos, warped.pos, strict=True):
        bumps = [h * math.exp(-float((point - c).square().sum()) / 0.18) for c, h in zip(center, height, strict=True)]
        torch.testing.assert_close(found, point + sum(bumps))
    assert repr(RandomWarp(0.05)) == "RandomWarp(0.05, width=0.25, bumps=8)"
    assert torch.equal(seeded(RandomWarp(0))(item).pos, item.pos)


def test_a_warp_is_smooth_and_moves_keypoints_with_their_points():
    item = NormalizeFrame()(cloud(200))
    item.dense_pos = item.pos + 1e-4
    warped = seeded(RandomWarp(0.05))(item)
    assert (warped.pos - item.pos).norm(dim=1).max() > 0.02
    torch.testing.assert_close(warped.keypoint_pos[0, [0, 2]], warped.pos[[3, 7]])
    assert torch.equal(warped.keypoint_pos[0, 1], torch.zeros(3))
    assert (warped.dense_pos - warped.pos - 1e-4).abs().max() < 1e-4
    assert torch.equal(warped.normal, item.normal)


FOLLOWED = [
    lambda: RandomRotation(90, axis="any"),
    lambda: RandomScale(0.5, 2.0),
    lambda: RandomScale(0.5, 2.0, per_axis=True),
    lambda: RandomMirror("x", torch.tensor([2, 1, 0])),
    lambda: RandomWarp(0.2, width=4),
    lambda: NormalizeFrame(),
    lambda: NormalizeMinMax(),
    lambda: IntoFrame(torch.tensor([[1.0, 2, 3]]), torch.tensor([[4.0]])),
]


@pytest.mark.parametrize("make", FOLLOWED)
def test_dense_points_follow_the_points(make):
    item = cloud()
    item.dense_pos = item.pos.clone()
    changed = seeded(make(), seed=1)(item)  # with which the mirror reflects
    assert not torch.allclose(changed.pos, item.pos.to(changed.pos.dtype))
    torch.testing.assert_close(changed.dense_pos, changed.pos)
    assert changed.dense_pos.dtype == changed.pos.dtype
    assert torch.equal(item.dense_pos, item.pos)


def test_dense_points_are_jittered_by_themselves():
    item = cloud(500)
    item.dense_pos = item.pos.clone()
    jittered = seeded(RandomJitter(0.1, clip=0.15))(item)
    shift = jittered.dense_pos - item.pos
    assert shift.abs().max() <= 0.15 + 1e-12
    assert 0.06 < shift.std() < 0.1
    assert not torch.allclose(jittered.dense_pos, jittered.pos)


def test_dense_points_stay_where_points_are_dropped():
    item = cloud()
    item.dense_pos = item.pos.clone()
    assert torch.equal(seeded(PointDropout(0.4))(item).dense_pos, item.pos)


def test_dropout_keeps_order_and_remaps_sites():
    item = cloud(50)
    for seed in range(10):
        thinned = seeded(PointDropout(0.4), seed)(item)
        assert thinned.num_nodes == 30
        rows = (item.pos[None] == thinned.pos[:, None]).all(-1).nonzero()[:, 1]
        assert (rows.diff() > 0).all()
        assert torch.equal(thinned.color, item.color[rows])
        assert torch.equal(thinned.normal, item.normal[rows])
        assert torch.equal(thinned.keypoint_pos, item.keypoint_pos)
        for k, point in ((0, 3), (2, 7)):
            site = thinned.keypoint_site[0, k].item()
            assert (site == -1) == (point not in rows)
            assert site == -1 or rows[site] == point
        assert thinned.keypoint_site[0, 1] == -1


def test_dropout_leaves_a_point():
    thinned = seeded(PointDropout(0.999))(cloud(8))
    assert thinned.num_nodes == 1
    one = PointDropout(0.9)(Data(pos=torch.zeros(1, 3), keypoint_site=torch.tensor([[0, -1]])))
    assert one.keypoint_site.tolist() == [[0, -1]]


@pytest.mark.parametrize("make", RANDOM)
def test_random_transforms_repeat_with_the_seed_and_leave_their_input(make):
    item, same = cloud(), cloud()
    first, second, other = (seeded(make(), seed)(item) for seed in (1, 1, 2))
    assert torch.equal(first.pos, second.pos)
    assert first.pos.shape != other.pos.shape or not torch.equal(first.pos, other.pos)
    for key in same.keys():  # noqa: SIM118
        assert torch.equal(torch.as_tensor(item[key]), torch.as_tensor(same[key]))


@pytest.mark.parametrize("make", RANDOM)
def test_random_transforms_leave_the_global_generator_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    seeded(make())(cloud())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transforms_compose_and_keep_the_type(dtype):
    chain = [seeded(make()) for make in RANDOM]
    item = Compose(chain)(cloud(dtype=dtype))
    assert item.pos.dtype == item.keypoint_pos.dtype == dtype
    assert item.num_nodes == 25
    unit = Compose([*chain, NormalizeFrame()])(cloud(dtype=dtype))
    assert unit.pos.dtype == torch.float32
    assert "RandomRotation(30, axis='y')" in repr(Compose(chain))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomRotation(-1), "degrees: expected 0 to 180, got -1"),
        (lambda: RandomRotation(math.nan), "degrees: expected 0 to 180, got nan"),
        (lambda: RandomRotation(10, axis="w"), 'axis: expected "x", "y", "z" or "any", got \'w\''),
        (lambda: RandomScale(0, 1), "low, high: expected 0 < low <= high, got 0 and 1"),
        (lambda: RandomScale(2, 1), "low, high: expected 0 < low <= high, got 2 and 1"),
        (lambda: RandomScale(1, math.inf), "low, high: expected 0 < low <= high, got 1 and inf"),
        (lambda: RandomJitter(-0.1), "sigma: expected a finite number of 0 or more, got -0.1"),
        (lambda: RandomJitter(0.1, clip=0), "clip: expected a number above 0 or None, got 0"),
        (lambda: PointDropout(1), "share: expected 0 or more and less than 1, got 1"),
        (lambda: PointDropout(math.nan), "share: expected 0 or more and less than 1, got nan"),
        (lambda: RandomWarp(-0.1), "amplitude: expected a finite number of 0 or more, got -0.1"),
        (lambda: RandomWarp(math.nan), "amplitude: expected a finite number of 0 or more, got nan"),
        (lambda: RandomWarp(0.1, width=0), "width: expected a finite number above 0, got 0"),
        (lambda: RandomWarp(0.1, bumps=0), "bumps: expected at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [NormalizeFrame, *RANDOM])
def test_bad_clouds_are_named(make):
    with pytest.raises(ValueError, match=r"pos: expected \(N, 3\) points, N at least 1, got NoneType"):
        make()(Data())
    with pytest.raises(ValueError, match=r"pos: expected \(N, 3\) points, N at least 1, got \(0, 3\)"):
        make()(Data(pos=torch.zeros(0, 3)))
    with pytest.raises(ValueError, match="expected one cloud, got a batch"):
        make()(Batch.from_data_list([cloud(), cloud()]))


def test_mirror_exchanges_channels_half_of_the_time():
    item = cloud()
    mirror = seeded(RandomMirror("x", torch.tensor([2, 1, 0])))
    answers = [mirror(item) for _ in range(200)]
    flipped = [answer for answer in answers if not torch.equal(answer.pos, item.pos)]
    assert 70 < len(flipped) < 130
    signs = torch.tensor([-1.0, 1, 1])
    assert torch.equal(flipped[0].pos, item.pos * signs)
    assert torch.equal(flipped[0].normal, item.normal * signs)
    assert flipped[0].keypoint_site.tolist() == [[7, -1, 3]]
    assert flipped[0].keypoint_visible.tolist() == [[True, False, True]]
    assert torch.equal(flipped[0].pos[[7, 3]], flipped[0].keypoint_pos[0, [0, 2]])
    with pytest.raises(ValueError, match=r"pairs: expected channels that exchange two by two, got \[1, 2, 0\]"):
        RandomMirror("x", torch.tensor([1, 2, 0]))
    with pytest.raises(ValueError, match='axis: expected "x", "y" or "z", got \'any\''):
        RandomMirror("any", torch.tensor([0]))


def test_mirror_pairs_are_found_from_mean_keypoints():
    left, right, middle = [-0.3, 0.1, 0.2], [0.31, 0.1, 0.2], [0.01, -0.2, 0.0]
    keypoints = torch.tensor([[left, middle, right, [0.0] * 3]] * 2)
    visible = torch.tensor([[True, True, True, False], [True, True, False, False]])
    assert find_mirror_pairs(keypoints, visible, "x").tolist() == [2, 1, 0, 3]
    with pytest.raises(ValueError, match="axis 'y': the mean keypoints are not symmetric across it"):
        find_mirror_pairs(keypoints, visible, "y")


def mirrored_category() -> tuple[torch.Tensor, torch.Tensor]:
    """Three models of keypoints left, right, on the plane, and never seen; model 2 lacks the left one."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([[-0.4, 0.1, 0.2], [0.4, 0.1, 0.2], [0.0, -0.3, 0.1], [0.0, 0.0, 0.0]])
    keypoints = mean + 0.01 * torch.randn(3, 4, 3, generator=generator)
    visible = torch.tensor([[True, True, True, False]] * 3)
    visible[2, 0] = False
    return torch.where(visible[..., None], keypoints, 0), visible


def test_mirror_pairs_by_hand():
    keypoints, visible = mirrored_category()
    assert find_mirror_pairs(keypoints, visible, "x").tolist() == [1, 0, 2, 3]
    assert find_mirror_pairs(keypoints[..., [1, 0, 2]], visible, "y").tolist() == [1, 0, 2, 3]
    assert find_mirror_pairs(keypoints, torch.zeros_like(visible), "x").tolist() == [0, 1, 2, 3]


def test_no_mirror_pairs_across_a_plane_that_is_none():
    keypoints, visible = mirrored_category()
    with pytest.raises(ValueError, match=r"axis 'y': the mean keypoints .* up to 0\.6"):
        find_mirror_pairs(keypoints, visible, "y")
    with pytest.raises(ValueError, match='axis: expected "x", "y" or "z", got \'any\''):
        find_mirror_pairs(keypoints, visible, "any")


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_mirror_reflects_half_of_the_time_and_exchanges_channels(axis):
    item = cloud()
    before = item.clone()
    mirror = seeded(RandomMirror(axis, torch.tensor([1, 0, 2])))
    results = [mirror(item) for _ in range(200)]
    turned = [result for result in results if not torch.equal(result.pos, item.pos)]
    assert 80 < len(turned) < 120
    signs = torch.ones(3, dtype=torch.float64)
    signs["xyz".index(axis)] = -1
    for result in (turned[0], turned[-1]):
        assert torch.equal(result.pos, item.pos * signs)
        assert torch.equal(result.normal, item.normal * signs)
        assert torch.equal(result.color, item.color)
        assert result.keypoint_visible.tolist() == [[False, True, True]]
        assert result.keypoint_site.tolist() == [[-1, 3, 7]]
        assert torch.equal(result.keypoint_pos[0, 1:], result.pos[[3, 7]])
        assert torch.equal(result.keypoint_pos[0, 0].abs(), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(item.pos, before.pos)
    assert torch.equal(item.keypoint_site, before.keypoint_site)


def test_outliers_are_moved_into_the_box_and_no_further():
    item = cloud(1000)
    item.keypoint_site = torch.tensor([[0, -1, 999]])
    before = item.clone()
    changed = seeded(Outliers(0.25))(item)
    moved = (changed.pos != item.pos).any(dim=1)
    assert int(moved.sum()) == 250
    low, high = item.pos.amin(0), item.pos.amax(0)
    assert ((changed.pos >= low) & (changed.pos <= high)).all()
    middle = changed.pos[moved].mean(0)  # uniform: the mean of 250 is within 0.15 of the middle of the box
    assert ((middle - (low + high) / 2).abs() < 0.15 * (high - low)).all()
    assert changed.keypoint_site.tolist() == [[-1 if moved[0] else 0, -1, -1 if moved[999] else 999]]
    assert torch.equal(changed.normal, item.normal)
    assert torch.equal(changed.keypoint_pos, item.keypoint_pos)
    assert (changed.farthest_order, item.farthest_order) == (False, True)
    assert torch.equal(item.pos, before.pos)
    assert torch.equal(item.keypoint_site, before.keypoint_site)


def test_every_point_may_become_an_outlier_and_its_site_is_lost():
    item = seeded(Outliers(1.0, reach=3.0))(cloud())
    assert item.keypoint_site.tolist() == [[-1, -1, -1]]
    extent = (cloud().pos.amax(0) - cloud().pos.amin(0)) * 3
    assert ((item.pos.amax(0) - item.pos.amin(0)) / extent > 0.8).all()
    assert ((item.pos.amax(0) - item.pos.amin(0)) <= extent).all()
    assert torch.equal(seeded(Outliers(0.0))(cloud()).pos, cloud().pos)


def test_more_outliers_are_the_same_ones_and_others():
    few, many = (seeded(Outliers(share))(cloud()).pos for share in (0.1, 0.4))
    moved = (few != cloud().pos).any(dim=1)
    assert torch.equal(few[moved], many[moved])


def test_bad_outliers_are_named():
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="share: expected 0 to 1, got"):
            Outliers(share)
    for reach in (0, -1, math.inf):
        with pytest.raises(ValueError, match="reach: expected a finite number above 0, got"):
            Outliers(0.1, reach=reach)
    assert repr(Outliers(0.1, reach=2)) == "Outliers(0.1, reach=2)"


def test_a_bad_mirror_is_named():
    with pytest.raises(ValueError, match='axis: expected "x", "y" or "z", got \'any\''):
        RandomMirror("any", torch.arange(3))
    with pytest.raises(ValueError, match=r"pairs: expected channels that exchange two by two, got \[1, 2, 0\]"):
        RandomMirror("x", torch.tensor([1, 2, 0]))
    assert repr(RandomMirror("x", torch.tensor([1, 0]))) == "RandomMirror('x', [1, 0])"
