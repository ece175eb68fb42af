import numpy as np
import pytest
import torch
from scipy import stats

from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.paired import (
    Statistic,
    mean_over_seeds,
    paired_bootstrap,
    ratio_statistic,
)


def mean_statistic(values: torch.Tensor) -> Statistic:
    return ratio_statistic(values, torch.ones_like(values))


def two_methods(models: int = 30, gain: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Values that differ far more between models than between methods."""
    generator = torch.Generator().manual_seed(seed)
    base = 5 * torch.randn(models, generator=generator, dtype=torch.float64)
    a, b = 0.5 * torch.randn(2, models, generator=generator, dtype=torch.float64)
    return base + a + gain, base + b


def test_the_interval_is_that_of_the_differences():
    a, b = two_methods()
    found = paired_bootstrap(mean_statistic(a), mean_statistic(b), 30, num=2000, seed=3)
    low, high = bootstrap_interval(a - b, num=2000, seed=3)
    assert found.difference == pytest.approx(float((a - b).mean()))
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))
    peer = stats.bootstrap((a.numpy(), b.numpy()), lambda x, y, axis: (x - y).mean(axis), paired=True, rng=0)
    assert found.low == pytest.approx(peer.confidence_interval.low, abs=0.03)
    alone = [bootstrap_interval(values, num=2000) for values in (a, b)]
    assert found.high - found.low < 0.3 * min(float(high - low) for low, high in alone)


def test_p_by_hand():
    # Of three models with differences 1, 1 and −1, a resample has a mean of at most 0 if at least two draws are the
    # last: 7 of 27.
    a, b = torch.tensor([1.0, 1, -1]), torch.zeros(3)
    found = paired_bootstrap(mean_statistic(a), mean_statistic(b), 3, num=50000)
    assert found.p == pytest.approx(2 * 7 / 27, abs=0.01)
    swapped = paired_bootstrap(mean_statistic(b), mean_statistic(a), 3, num=50000)
    assert swapped.p == found.p
    assert (swapped.difference, swapped.low, swapped.high) == (-found.difference, -found.high, -found.low)


def test_p_and_interval_agree_on_what_is_sure():
    for gain in (0.0, 0.1, 0.2, 0.3, 0.6):
        a, b = two_methods(gain=gain, seed=1)
        found = paired_bootstrap(mean_statistic(a), mean_statistic(b), 30, num=2000)
        assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)
    assert found.p == pytest.approx(2 / 2001)  # no resample on the other side
    same = paired_bootstrap(mean_statistic(a), mean_statistic(a), 30)
    assert same == (0.0, 0.0, 0.0, 1.0)


def test_p_is_seldom_small_where_there_is_no_difference():
    sure = 0
    for seed in range(200):
        a, b = two_methods(40, gain=0.0, seed=seed)
        sure += paired_bootstrap(mean_statistic(a), mean_statistic(b), 40, num=500, seed=seed).p <= 0.05
    assert 3 <= sure <= 22  # 5 % of 200 is 10


def test_a_ratio_counts_keypoints_not_models():
    hits, visible = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])
    weights = torch.tensor([[1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    assert ratio_statistic(hits, visible)(weights).tolist() == pytest.approx([4 / 6, 0.5])


def test_seeds_are_averaged_per_model_first():
    a = torch.tensor([[1.0, 2.0, torch.nan], [3.0, torch.nan, torch.nan]])
    assert mean_over_seeds(a)[:2].tolist() == [2, 2]
    assert mean_over_seeds(a)[2].isnan()
    many, few = torch.randn(5, 20, generator=torch.Generator().manual_seed(0)), torch.zeros(20)
    repeated = paired_bootstrap(mean_statistic(many[:1].expand(9, 20)), mean_statistic(few), 20, num=500)
    assert repeated == paired_bootstrap(mean_statistic(many[0]), mean_statistic(few), 20, num=500)


def test_a_single_model_or_no_value_is_nan():
    one = mean_statistic(torch.ones(1))
    found = paired_bootstrap(one, one, 1)
    assert found.difference == 0
    assert np.isnan([found.low, found.high, found.p]).all()
    empty = ratio_statistic(torch.zeros(3), torch.zeros(3))
    assert np.isnan(paired_bootstrap(empty, empty, 3)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_seeds(torch.ones(1, 2, 3)), r"got \(1, 2, 3\)"),
        (
            lambda: ratio_statistic(torch.tensor([1, torch.nan]), torch.ones(2)),
            "numerator must not be NaN, got 1 that are",
        ),
        (lambda: ratio_statistic(torch.ones(2), torch.tensor([1, torch.nan])), "denominator must not be NaN"),
        (lambda: paired_bootstrap(torch.sum, torch.sum, 3), r"return \(1,\) of 1 resamples, got \(\)"),
        (lambda: paired_bootstrap(torch.sum, torch.sum, 0), "num_models and num must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
