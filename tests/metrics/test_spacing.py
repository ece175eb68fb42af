import pytest
import torch

from pcsargmax.metrics.spacing import mean_spacing, merge_close, smallest_distance

NAN = float("nan")


def test_smallest_distance():
    keypoints = torch.tensor([[[0.0, 0, 0], [3, 4, 0], [3, 5, 0]]])
    assert smallest_distance(keypoints).tolist() == [1]
    assert smallest_distance(keypoints, torch.tensor([[True, True, False]])).tolist() == [5]
    assert smallest_distance(keypoints, torch.tensor([[True, False, False]])).isnan().all()
    assert smallest_distance(keypoints[:, :1]).isnan().all()


def test_mean_spacing():
    keypoints = torch.tensor([[[0.0, 0, 0], [3, 4, 0], [3, 5, 0]]])
    assert mean_spacing(keypoints).tolist() == pytest.approx([(5 + 1 + 1) / 3])
    assert mean_spacing(keypoints, torch.tensor([[True, True, False]])).tolist() == [5]
    assert mean_spacing(keypoints, torch.tensor([[True, False, False]])).isnan().all()


def test_merging_follows_chains_and_leaves_the_rest():
    line = torch.tensor([[5.0, 0.0, 0.3, 0.1, 0.2, 9.0]])[..., None] * torch.tensor([1.0, 0, 0])
    assert merge_close(line, torch.tensor([0.15]))[0, :, 0].tolist() == [5, 0, 0, 0, 0, 9]
    assert torch.equal(merge_close(line, torch.tensor([0.0])), line.double())
    far = merge_close(line.repeat(2, 1, 1), torch.tensor([NAN, 6.0]))
    assert torch.equal(far[0], line[0].double())
    assert far[1, :, 0].tolist() == [5] * 6


@pytest.mark.parametrize("count", [1, 2, 3, 10, 18, 32])
def test_merging_follows_a_chain_through_all_keypoints(count):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    chain = order.double()[None, :, None].expand(-1, -1, 3) / 3**0.5
    assert (merge_close(chain, torch.tensor([1.01])) == chain[:, :1]).all()


def test_a_step_equal_to_the_resolution_is_not_below_it():
    keypoints = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    assert torch.equal(merge_close(keypoints, torch.tensor([1.0])), keypoints.double())
