import numpy as np
import pytest
import torch

from pcsargmax.metrics import SelfAlignment
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.self_alignment import index_agreement, into_unit_ball

NAN = float("nan")


def random_models(num_models=10, num_keypoints=6, seed=0, spread=0.3):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.rand(num_keypoints, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(num_models, num_keypoints, 3, generator=generator, dtype=torch.float64)
    cloud = torch.rand(num_models, 50, 3, generator=generator, dtype=torch.float64)
    return shape + spread * noise, cloud


def plain_score(keypoints):
    """The first model against all others, keypoint by keypoint."""
    first, *others = keypoints.tolist()
    right = 0
    for other in others:
        for k, point in enumerate(first):
            distances = [sum((a - b) ** 2 for a, b in zip(point, q, strict=True)) for q in other]
            right += distances.index(min(distances)) == k
    return right / (len(others) * len(first))


def test_by_hand():
    # On the second model the keypoints have changed places, on the third the second one has gone to the first.
    line = torch.tensor([[[0.0, 0, 0], [1, 0, 0]], [[1.0, 0, 0], [0, 0, 0]], [[0.0, 0, 0], [0.1, 0, 0]]])
    assert index_agreement(line).tolist() == [[1, 0, 1], [0, 1, 0], [0.5, 0.5, 1]]


@pytest.mark.parametrize("seed", range(4))
def test_each_reference_equals_a_plain_loop(seed):
    keypoints, _ = random_models(seed=seed)
    agreement = index_agreement(keypoints)
    assert agreement[0, 1:].mean().item() == pytest.approx(plain_score(keypoints))
    moved = torch.cat([keypoints[4:5], keypoints[:4], keypoints[5:]])
    expected = torch.cat([agreement[4, :4], agreement[4, 5:]]).mean()
    assert plain_score(moved) == pytest.approx(expected.item())
    assert 0.2 < agreement[0, 1:].mean() < 0.9


def test_nearest_neighbours_equal_those_of_scipy():
    from scipy.spatial import KDTree

    keypoints, _ = random_models(num_models=3)
    found = index_agreement(keypoints)
    nearest = KDTree(keypoints[2].numpy()).query(keypoints[1].numpy())[1]
    assert found[1, 2].item() == pytest.approx((nearest == np.arange(6)).mean())


def test_the_frame_is_the_ball_around_the_mean():
    cloud = torch.tensor([[[0.0, 0, 0], [4, 0, 0], [2, 3, 0], [2, -3, 0]]])
    placed = into_unit_ball(torch.tensor([[[2.0, 0, 0], [2, 3, 0]]]), cloud)
    assert placed.tolist() == [[[0, 0, 0], [0, 1, 0]]]
    padded = torch.nn.functional.pad(cloud, (0, 0, 0, 2), value=NAN)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    assert torch.equal(into_unit_ball(torch.tensor([[[2.0, 0, 0], [2, 3, 0]]]), padded, mask), placed)


def test_shift_and_scale_of_a_model_do_not_matter():
    keypoints, cloud = random_models()
    scale = torch.linspace(1, 9, 10, dtype=torch.float64)[:, None, None]
    near = SelfAlignment(num_bootstrap=0).set_dtype(torch.float64)(keypoints, cloud)
    far = SelfAlignment(num_bootstrap=0).set_dtype(torch.float64)(keypoints * scale + 7, cloud * scale + 7)
    assert near == far


def test_the_metric_is_that_of_the_agreement():
    keypoints, cloud = random_models(num_models=20)
    metric = SelfAlignment(seed=3).set_dtype(torch.float64)
    for part in (slice(0, 1), slice(1, 15), slice(15, 20)):
        metric.update(keypoints[part], cloud[part])
    result = metric.compute()
    agreement = index_agreement(into_unit_ball(keypoints, cloud))
    apart = ~torch.eye(20, dtype=torch.bool)
    assert result["das_sc3k"].item() == pytest.approx(agreement[0, 1:].mean().item())
    assert result["das_sc3k_all"].item() == pytest.approx(agreement[apart].mean().item())
    replicates = []
    for counts in resample_weights(20, 1000, seed=3).long():
        origin = torch.arange(20).repeat_interleave(counts)
        replicates.append(agreement[origin][:, origin][origin[:, None] != origin].mean())
    low, high = torch.stack(replicates).quantile(torch.tensor([0.025, 0.975]).double())
    assert result["das_sc3k_all/low"].item() == pytest.approx(low.item())
    assert result["das_sc3k_all/high"].item() == pytest.approx(high.item())
    assert result["das_sc3k/low"] < result["das_sc3k"] < result["das_sc3k/high"]
    assert result["num_models"] == 20


def test_constant_keypoints_get_everything_and_collapsed_ones_next_to_nothing():
    _, cloud = random_models(num_models=4)
    same = torch.rand(1, 10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(4, -1, -1)
    still = into_unit_ball(same, cloud)
    assert SelfAlignment()(same, cloud[:1].expand(4, -1, -1))["das_sc3k"] == 1
    assert index_agreement(still)[0, 0] == 1
    assert SelfAlignment()(torch.zeros(4, 10, 3), cloud.float())["das_sc3k_all"] == pytest.approx(0.1)


def test_few_models():
    keypoints, cloud = random_models(num_models=2)
    one = SelfAlignment()(keypoints[:1], cloud[:1])
    assert all(one[name].isnan() for name in one if name != "num_models")
    two = SelfAlignment()(keypoints, cloud)
    assert two["das_sc3k"].isfinite()
    assert two["das_sc3k_all/low"].isnan()
    assert set(SelfAlignment(num_bootstrap=0)(keypoints, cloud)) == {"das_sc3k", "das_sc3k_all", "num_models"}


def test_bad_input_is_named():
    keypoints, cloud = random_models()
    with pytest.raises(ValueError, match=r"keypoints must be \(M, K, D\), K at least 1, got \(10, 6\)"):
        index_agreement(keypoints[..., 0])
    with pytest.raises(ValueError, match="keypoints must be finite, got NaN or infinity at 1 of them"):
        index_agreement(torch.tensor([[[NAN, 0, 0]]]))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        SelfAlignment(num_bootstrap=-1)
    metric = SelfAlignment()
    metric.update(keypoints, cloud)
    with pytest.raises(ValueError, match="preds must have 6 keypoints as before, got 5"):
        metric.update(keypoints[:, :5], cloud)
    with pytest.raises(ValueError, match=r"preds and cloud must be \(B, K, 3\) and \(B, N, 3\)"):
        metric.update(keypoints, cloud[..., :2])
    empty = SelfAlignment()
    empty.update(keypoints[:0], cloud[:0])
    with pytest.raises(ValueError, match="at least one model, got none"):
        empty.compute()
