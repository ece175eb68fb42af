import math

import pytest
import torch
from reference.clouds import cloud
from torch_geometric.data import Batch, Data

from pcsargmax.transforms.frames import IntoFrame, NormalizeFrame, NormalizeMinMax, to_raw


def test_normalize_frame_by_hand():
    pos = torch.tensor([[0.0, 0, 0], [3, 4, 12], [1, 1, 1]], dtype=torch.float64)
    item = Data(pos=pos, keypoint_pos=pos[None, 2:], keypoint_visible=torch.tensor([[True]]))
    unit = NormalizeFrame()(item)
    assert unit.frame_center.tolist() == [[1.5, 2.0, 6.0]]
    assert unit.frame_scale.tolist() == [[13.0]]
    torch.testing.assert_close(unit.pos[1], torch.tensor([1.5, 2.0, 6.0]) / 13)
    torch.testing.assert_close(unit.keypoint_pos[0, 0], torch.tensor([-0.5, -1.0, -5.0]) / 13)
    assert unit.pos.dtype == unit.keypoint_pos.dtype == torch.float32
    assert unit.frame_center.dtype == unit.frame_scale.dtype == torch.float64
    assert torch.equal(item.pos, pos)
    assert "frame_scale" not in item


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("size", [1.0, 1000.0, 1e-6])
def test_to_raw_undoes_normalize_frame_far_from_the_origin(shift, size):
    item = cloud()
    item.pos = item.pos * size + shift
    item.keypoint_pos = torch.where(item.keypoint_visible[..., None], item.keypoint_pos * size + shift, torch.zeros(()))
    unit = NormalizeFrame()(item)
    raw = to_raw(unit.pos, unit.frame_center, unit.frame_scale)
    assert raw.dtype == torch.float64
    # float32 of the unit frame is good to 6e-8 of the diagonal; float64 at 1e6 to 1e-10
    assert (raw - item.pos).abs().max() < 1e-7 * unit.frame_scale.item() + 1e-9
    assert torch.equal(unit.keypoint_pos[0, 1], torch.zeros(3))
    assert (unit.pos.amax(0) - unit.pos.amin(0)).norm().item() == pytest.approx(1, abs=1e-6)


def test_to_raw_takes_a_batch_of_frames():
    units = [NormalizeFrame()(cloud(seed=seed)) for seed in range(3)]
    batch = Batch.from_data_list(units)
    raw = to_raw(batch.keypoint_pos, batch.frame_center, batch.frame_scale)
    samples = to_raw(batch.keypoint_pos[:, None].expand(3, 4, 3, 3), batch.frame_center, batch.frame_scale)
    for i, unit in enumerate(units):
        torch.testing.assert_close(raw[i], to_raw(unit.keypoint_pos, unit.frame_center, unit.frame_scale)[0])
        torch.testing.assert_close(samples[i, 2], raw[i])
    with pytest.raises(ValueError, match=r"points: expected \(\.\.\., 3\), first 3 for 3 frames, got \(2, 3\)"):
        to_raw(torch.zeros(2, 3), batch.frame_center, batch.frame_scale)


def test_normalizing_twice_still_leads_back():
    item = cloud()
    once = NormalizeFrame()(item)
    once.pos = once.pos * 3 + 1
    twice = NormalizeFrame()(once)
    raw = to_raw(twice.pos, twice.frame_center, twice.frame_scale)
    inner = to_raw(once.pos, once.frame_center, once.frame_scale)
    torch.testing.assert_close(raw, inner, rtol=0, atol=1e-5)


def test_a_cloud_goes_into_the_frame_of_another_one():
    frame = NormalizeFrame()(Data(pos=torch.tensor([[0.0, 0, 0], [3, 4, 12]], dtype=torch.float64)))
    into = IntoFrame(frame.frame_center, frame.frame_scale)
    moved = into(Data(pos=torch.tensor([[1.5, 2, 6], [14.5, 2, 6]], dtype=torch.float64)))
    assert moved.pos.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert moved.pos.dtype == torch.float32
    assert torch.equal(moved.frame_center, frame.frame_center)
    assert torch.equal(moved.frame_scale, frame.frame_scale)
    assert repr(into).startswith("IntoFrame(tensor([[1.5000, 2.0000, 6.0000]]")
    with pytest.raises(ValueError, match=r"pos: expected \(N, 3\) points"):
        into(Data())


def test_a_cloud_that_was_normalised_goes_into_the_same_frame():
    item, frame = cloud(), NormalizeFrame()(cloud(seed=1))
    into = IntoFrame(frame.frame_center, frame.frame_scale)
    raw, unit = into(item), into(NormalizeFrame()(item))
    torch.testing.assert_close(unit.pos, raw.pos)
    torch.testing.assert_close(unit.keypoint_pos, raw.keypoint_pos)
    torch.testing.assert_close(unit.frame_center, frame.frame_center)
    torch.testing.assert_close(unit.frame_scale, frame.frame_scale)


@pytest.mark.parametrize("n", [1, 4])
def test_a_cloud_without_extent_has_scale_one(n):
    unit = NormalizeFrame()(Data(pos=torch.full((n, 3), 1e6, dtype=torch.float64)))
    assert unit.frame_scale.item() == 1
    assert torch.equal(unit.pos, torch.zeros(n, 3))


def test_not_finite_coordinates_are_counted():
    item = cloud()
    item.pos[4, 0], item.pos[4, 1], item.pos[9, 2] = math.nan, math.inf, -math.inf
    with pytest.raises(ValueError, match="got 2 of 50 points with NaN or infinity"):
        NormalizeFrame()(item)


def test_min_max_frame_by_hand():
    item = Data(
        pos=torch.tensor([[0.0, 0, 0], [4, 2, 1]], dtype=torch.float64), keypoint_pos=torch.tensor([[[2.0, 2, 2]]])
    )
    whole = NormalizeMinMax()(item)  # one minimum 0 and one maximum 4 over all axes
    assert whole.pos.tolist() == [[-1, -1, -1], [1, 0, -0.5]]
    assert whole.keypoint_pos.tolist() == [[[0, 0, 0]]]
    assert (whole.frame_center.tolist(), whole.frame_scale.tolist()) == ([[2, 2, 2]], [[2]])
    centered = NormalizeMinMax(centered=True)(item)
    assert centered.pos.tolist() == [[-1, -0.5, -0.25], [1, 0.5, 0.25]]
    assert (centered.frame_center.tolist(), centered.frame_scale.tolist()) == ([[2, 1, 0.5]], [[2]])
    assert repr(NormalizeMinMax(centered=True)) == "NormalizeMinMax(centered=True)"


@pytest.mark.parametrize("centered", [False, True])
def test_min_max_frame_leads_back(centered):
    pos = 1e6 + torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
    once = NormalizeMinMax(centered)(Data(pos=pos))
    torch.testing.assert_close(to_raw(once.pos, once.frame_center, once.frame_scale), pos, rtol=0, atol=1e-4)
    twice = NormalizeMinMax(centered)(NormalizeFrame()(Data(pos=pos)))
    torch.testing.assert_close(to_raw(twice.pos, twice.frame_center, twice.frame_scale), pos, rtol=0, atol=1e-4)
    assert once.pos.abs().max() <= 1


def test_min_max_frame_of_a_centred_cloud_is_the_same_with_and_without_centring():
    pos = torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    pos = torch.cat([pos, -pos])
    both = [NormalizeMinMax(centered)(Data(pos=pos)).pos for centered in (False, True)]
    torch.testing.assert_close(*both)


def test_min_max_frame_of_one_point_and_of_no_numbers():
    item = NormalizeMinMax(centered=True)(Data(pos=torch.ones(3, 3)))
    assert (item.pos.tolist(), item.frame_scale.tolist()) == ([[0, 0, 0]] * 3, [[1]])
    with pytest.raises(ValueError, match="got 1 of 2 points with NaN or infinity"):
        NormalizeMinMax()(Data(pos=torch.tensor([[0.0, 0, 0], [math.nan, 0, 0]])))
