import pytest
import torch

from pcsargmax.metrics.bootstrap import bootstrap_interval, percentile_interval, ratio_of_sums, resample_weights


def test_weights_draw_every_resample_with_replacement():
    weights = resample_weights(7, 500, seed=3)
    assert weights.shape == (500, 7)
    assert torch.equal(weights.sum(dim=1), torch.full((500,), 7.0, dtype=torch.float64))
    assert weights.max() > 1
    assert weights.mean(dim=0) == pytest.approx(1, abs=0.15)


def test_ratio_of_sums_by_hand():
    hits, visible = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])
    weights = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    assert ratio_of_sums(weights, hits, visible).tolist() == pytest.approx([4 / 6, 0.5, 0.75])


def test_interval_agrees_with_scipy_for_a_mean():
    from scipy.stats import bootstrap

    values = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap_interval(values, num=5000)
    peer = bootstrap((values.numpy(),), lambda x, axis: x.mean(axis), method="percentile", rng=0)
    assert float(low) == pytest.approx(peer.confidence_interval.low, abs=0.02)
    assert float(high) == pytest.approx(peer.confidence_interval.high, abs=0.02)


def test_interval_agrees_with_scipy_for_a_ratio():
    from scipy.stats import bootstrap

    generator = torch.Generator().manual_seed(1)
    visible = torch.randint(1, 12, (50,), generator=generator).double()
    hits = (visible * torch.rand(50, generator=generator)).floor()
    low, high = bootstrap_interval(hits, visible, num=5000, level=0.9)
    peer = bootstrap(
        (hits.numpy(), visible.numpy()),
        lambda h, v, axis: h.sum(axis) / v.sum(axis),
        paired=True,
        method="percentile",
        confidence_level=0.9,
        rng=0,
    )
    assert float(low) == pytest.approx(peer.confidence_interval.low, abs=0.01)
    assert float(high) == pytest.approx(peer.confidence_interval.high, abs=0.01)


def test_interval_covers_a_known_mean_as_often_as_it_says():
    # 300 experiments of 60 models each; the mean of Exponential(1) is 1. The percentile interval is known to
    # cover a little less than its level on skewed data.
    generator = torch.Generator().manual_seed(2)
    models = torch.empty(60, 300, dtype=torch.float64).exponential_(generator=generator)
    low, high = bootstrap_interval(models, num=400, level=0.9)
    covered = ((low <= 1) & (high >= 1)).double().mean()
    assert 0.82 <= covered <= 0.94


def test_same_seed_same_interval_and_another_seed_another():
    values = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    first, again, other = (bootstrap_interval(values, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(torch.stack(first), torch.stack(other))


def test_mean_over_leaves_out_what_a_resample_lacks():
    # The second id is seen in one model alone and is 1 there: a resample without it has the first id's ratio.
    hits, visible = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    low, high = bootstrap_interval(hits, visible, mean_over=0)
    assert (float(low), float(high)) == (0.0, 0.5)


def test_one_model_or_no_weight_gives_nan():
    assert all(end.isnan().all() for end in bootstrap_interval(torch.ones(1, 3)))
    assert all(end.isnan().all() for end in bootstrap_interval(torch.zeros(4), torch.zeros(4)))


def test_percentiles_by_hand_with_nan_left_out():
    replicates = torch.cat([torch.arange(101.0), torch.tensor([torch.nan])])
    low, high = percentile_interval(replicates, level=0.9)
    assert (float(low), float(high)) == pytest.approx((5.0, 95.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(torch.empty(0)), "num_models and num must be at least 1, got 0 and 1000"),
        (lambda: bootstrap_interval(torch.ones(3), num=0), "got 3 and 0"),
        (lambda: bootstrap_interval(torch.ones(3), level=95), "level must lie between 0 and 1, got 95"),
        (lambda: bootstrap_interval(torch.tensor([1.0, torch.nan])), "numerator must not hold NaN"),
        (lambda: bootstrap_interval(torch.ones(3), torch.ones(2)), r"\(3,\) and \(2,\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
