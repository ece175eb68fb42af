import numpy as np
import pytest
import torch
from scipy import stats

from pcsargmax.metrics import ConfidenceCalibration
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.calibration import (
    brier_score,
    case_weights,
    expected_calibration_error,
    pearson,
    reliability_curve,
    spearman,
)


def made(n: int = 400, seed: int = 0, digits: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Confidence and whether it was right, which it is less often than it says."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(3, 2, n)
    confidence = confidence if digits is None else confidence.round(digits)
    return torch.from_numpy(confidence), torch.from_numpy(rng.random(n) < confidence**2)


def repeated(values: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """The values, each as often as its weight says."""
    return values.repeat_interleave(weights.long()).numpy()


def test_the_curve_by_hand():
    confidence = torch.tensor([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0])
    correct = torch.tensor([False, True, False, True, True, True, True])
    curve = reliability_curve(confidence, correct, num_bins=4)
    assert curve.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.number.tolist() == [3, 2, 1, 1]  # an edge belongs to the bin below it
    assert curve.confidence.tolist() == pytest.approx([0.35 / 3, 0.4, 0.75, 1])
    assert curve.correct.tolist() == pytest.approx([1 / 3, 1, 1, 1])
    # (3 · |1/3 − .35/3| + 2 · .6 + .25 + 0) / 7
    assert float(expected_calibration_error(confidence, correct, num_bins=4)) == pytest.approx((0.65 + 1.2 + 0.25) / 7)


@pytest.mark.parametrize(("bins", "strategy"), [("width", "uniform"), ("count", "quantile")])
@pytest.mark.parametrize("digits", [None, 1])
def test_the_curve_agrees_with_scikit_learn(bins, strategy, digits):
    from sklearn.calibration import calibration_curve

    confidence, correct = made(digits=digits)
    if bins == "width" and digits == 1:
        confidence = confidence * 0.999  # the peer's own edges are off in the last digit
    curve = reliability_curve(confidence, correct, num_bins=8, bins=bins)
    share, mean = calibration_curve(correct.numpy(), confidence.numpy(), n_bins=8, strategy=strategy)
    known = curve.number > 0
    np.testing.assert_allclose(curve.correct[known], share)
    np.testing.assert_allclose(curve.confidence[known], mean)
    assert int(curve.number.sum()) == len(confidence)
    if bins == "count" and digits is None:
        assert curve.number.tolist() == [50] * 8


def test_the_error_agrees_with_torchmetrics():
    from torchmetrics.functional.classification import binary_calibration_error

    confidence, correct = made()
    peer = binary_calibration_error(confidence, correct.long(), n_bins=15, norm="l1")
    assert float(expected_calibration_error(confidence, correct, num_bins=15)) == pytest.approx(float(peer), abs=1e-6)


def test_what_is_calibrated_has_no_error():
    confidence = torch.tensor([0.25] * 4 + [0.75] * 4)
    correct = torch.tensor([1, 0, 0, 0, 1, 1, 0, 1])
    assert float(expected_calibration_error(confidence, correct)) == 0
    assert float(expected_calibration_error(confidence, 1 - correct)) == 0.5


def test_brier_agrees_with_scikit_learn():
    from sklearn.metrics import brier_score_loss

    confidence, correct = made()
    assert float(brier_score(confidence, correct)) == pytest.approx(brier_score_loss(correct, confidence))


@pytest.mark.parametrize(("call", "peer"), [(pearson, stats.pearsonr), (spearman, stats.spearmanr)])
@pytest.mark.parametrize("digits", [None, 1])
def test_correlations_agree_with_scipy(call, peer, digits):
    confidence, correct = made(digits=digits)
    for other in (correct, torch.rand(400, generator=torch.Generator().manual_seed(1)) - 3 * confidence + 1e6):
        assert float(call(confidence, other)) == pytest.approx(peer(confidence, other).statistic, abs=1e-9)


@pytest.mark.parametrize("call", [pearson, spearman])
def test_a_constant_correlates_with_nothing(call):
    ramp = torch.arange(7.0)
    assert call(ramp, torch.full((7,), 0.1)).isnan()
    assert call(torch.full((7,), 0.1), ramp).isnan()
    assert call(ramp[:1], ramp[:1]).isnan()
    weights = torch.tensor([[1.0, 1, 0, 0, 0, 0, 0], [3.0, 0, 0, 0, 0, 0, 0], [0.0] * 7])
    assert call(ramp, -ramp, weights=weights).isnan().tolist() == [False, True, True]


def test_weights_count_cases_anew():
    confidence, correct = made(60, digits=1)
    error = torch.rand(60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = resample_weights(60, 5, seed=1)
    edges = np.arange(11) / 10
    for row, drawn in enumerate(weights):
        c, y, e = (repeated(values, drawn) for values in (confidence, correct, error))
        place = np.searchsorted(edges[1:-1], c)
        gap = sum(abs((y[place == b] - c[place == b]).sum()) for b in range(10)) / 60
        found = [
            call(confidence, other, weights=weights)[row]
            for call, other in (
                (expected_calibration_error, correct),
                (brier_score, correct),
                (pearson, correct),
                (spearman, error),
            )
        ]
        wanted = [gap, ((c - y) ** 2).mean(), stats.pearsonr(c, y).statistic, stats.spearmanr(c, e).statistic]
        assert found == pytest.approx(wanted)


def test_the_keypoints_of_a_model_are_drawn_together():
    weights = case_weights(torch.tensor([0, 0, 1, 2, 2]), 3, 50, seed=4)
    assert torch.equal(weights[:, 0], weights[:, 1])
    assert torch.equal(weights[:, 3], weights[:, 4])
    assert torch.equal(weights[:, [0, 2, 3]], resample_weights(3, 50, seed=4))


@pytest.fixture
def models() -> tuple[torch.Tensor, torch.Tensor]:
    """Confidence and errors (30, 6), a fifth absent; a model's errors are alike."""
    rng = np.random.default_rng(3)
    error = rng.gamma(2, 0.01, (30, 6)) * rng.gamma(4, 0.25, (30, 1))
    confidence = np.exp(-error / 0.03) * rng.uniform(0.6, 1, (30, 6))
    error[rng.random((30, 6)) < 0.2] = np.nan
    return torch.from_numpy(confidence), torch.from_numpy(error)


def test_the_metric_is_the_functions_over_batches(models):
    confidence, error = models
    metric = ConfidenceCalibration(0.02, num_bins=5, num_bootstrap=100).set_dtype(torch.float64)
    for part in (slice(0, 7), slice(7, 7), slice(7, 30)):
        metric.update(confidence[part], error[part])
    found = metric.compute()
    c, e = confidence[~error.isnan()], error[~error.isnan()]
    right = e <= 0.02
    assert float(found["ece"]) == pytest.approx(float(expected_calibration_error(c, right, num_bins=5)))
    by_count = expected_calibration_error(c, right, num_bins=5, bins="count")
    assert float(found["ece_equal_count"]) == pytest.approx(float(by_count))
    assert float(found["brier"]) == pytest.approx(float(brier_score(c, right)))
    assert float(found["pearson"]) == pytest.approx(stats.pearsonr(c, right).statistic)
    assert float(found["spearman"]) == pytest.approx(-stats.spearmanr(c, e).statistic)
    assert float(found["pearson_error"]) == pytest.approx(-stats.pearsonr(c, e).statistic)
    assert float(found["spearman_correct"]) == pytest.approx(stats.spearmanr(c, right).statistic)
    assert float(found["mean_confidence"]) == pytest.approx(float(c.mean()))
    assert float(found["share_correct"]) == pytest.approx(float(right.double().mean()))
    curve = reliability_curve(c, right, num_bins=5)
    assert torch.equal(found["reliability_number"], curve.number)
    np.testing.assert_array_equal(found["reliability_correct"], curve.correct)
    assert found["reliability_number_equal_count"].sum() == len(c)
    for name in ("ece", "brier", "pearson", "spearman"):
        assert found[f"{name}/low"] <= found[name] <= found[f"{name}/high"]


def test_the_interval_agrees_with_scipy(models):
    confidence, error = (values.numpy() for values in models)

    def statistic(rows: np.ndarray) -> float:
        c, e = confidence[rows].ravel(), error[rows].ravel()
        return stats.pearsonr(c[~np.isnan(e)], -e[~np.isnan(e)]).statistic

    metric = ConfidenceCalibration(0.02, num_bootstrap=2000).set_dtype(torch.float64)
    metric.update(*models)
    found = metric.compute()
    peer = stats.bootstrap(
        (np.arange(30),), statistic, vectorized=False, method="percentile", n_resamples=2000, rng=0
    ).confidence_interval
    assert float(found["pearson_error/low"]) == pytest.approx(peer.low, abs=0.02)
    assert float(found["pearson_error/high"]) == pytest.approx(peer.high, abs=0.02)


def test_the_intervals_are_those_of_models_drawn_again(models):
    confidence, error = models
    found = ConfidenceCalibration(0.02, num_bootstrap=40, seed=3).set_dtype(torch.float64)(*models)
    drawn: dict[str, list[float]] = {"brier": [], "ece": []}
    for weights in resample_weights(len(error), 40, seed=3).long():
        c, e = (values.repeat_interleave(weights, 0) for values in (confidence, error))
        c, right = c[~e.isnan()], e[~e.isnan()] <= 0.02
        drawn["brier"].append(float(brier_score(c, right)))
        drawn["ece"].append(float(expected_calibration_error(c, right)))
    low, high = np.quantile(drawn["brier"], [0.025, 0.975])
    assert (float(found["brier/low"]), float(found["brier/high"])) == pytest.approx((low, high))
    low, high = np.quantile(drawn["ece"], [0.025, 0.975])
    figure = float(found["ece"])
    assert float(found["ece/low"]) == pytest.approx(max(min(2 * figure - high, figure), 0))
    assert float(found["ece/high"]) == pytest.approx(max(2 * figure - low, figure))


def test_what_keeps_its_word_exactly_is_not_found_to_be_off():
    # By percentiles no interval would hold 0: a resample is further off than the figure, which is above 0 by chance.
    held = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        confidence, level = torch.rand(2, 40, 8, generator=generator, dtype=torch.float64)
        error = torch.where(level < confidence, 0.01, 0.03)
        metric = ConfidenceCalibration(0.02, num_bootstrap=200).set_dtype(torch.float64)
        metric.update(confidence, error)
        found = metric.compute()
        assert 0 <= found["ece/low"] <= found["ece"] <= found["ece/high"]
        held += float(found["ece/low"]) < 0.01
    assert held >= 14


def test_a_threshold_is_as_exact_as_the_errors():
    for dtype in (torch.float32, torch.float64):  # the float32 0.05 is above the float64 one
        metric = ConfidenceCalibration(0.05).set_dtype(dtype)
        metric.update(torch.ones(2, 1), torch.full((2, 1), 0.05, dtype=dtype))
        assert float(metric.compute()["share_correct"]) == 1
    metric = ConfidenceCalibration(0.05).set_dtype(torch.float64)
    metric.update(torch.ones(2, 1), torch.full((2, 1), 0.05, dtype=torch.float64))  # confidence of another type
    assert float(metric.compute()["share_correct"]) == 1


def test_a_single_model_has_no_interval(models):
    metric = ConfidenceCalibration(0.02)
    metric.update(models[0][:1], models[1][:1])
    found = metric.compute()
    assert found["ece"].isfinite()
    assert found["ece/low"].isnan()
    assert found["pearson/high"].isnan()
    assert "ece/low" not in ConfidenceCalibration(0.02, num_bootstrap=0)(models[0], models[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability_curve(torch.ones(2), torch.ones(3)), r"got \(2,\) and \(3,\)"),
        (lambda: reliability_curve(torch.ones(0), torch.ones(0)), r"at least 1, got \(0,\)"),
        (lambda: reliability_curve(torch.tensor([1.5]), torch.ones(1)), r"within \[0, 1\], got 1\.5"),
        (lambda: reliability_curve(torch.ones(1), torch.tensor([0.5])), "correct must be bool, or 1 and 0, got 0.5"),
        (lambda: reliability_curve(torch.ones(1), torch.ones(1), num_bins=0), "num_bins must be at least 1, got 0"),
        (lambda: reliability_curve(torch.ones(1), torch.ones(1), bins="equal"), "one of width, count, got 'equal'"),
        (lambda: pearson(torch.tensor([torch.nan]), torch.ones(1)), "a must be finite, got nan"),
        (lambda: brier_score(torch.ones(2), torch.ones(2), weights=torch.ones(2)), r"be \(R, 2\), got \(2,\)"),
        (lambda: ConfidenceCalibration(0.0), "threshold must be positive and finite, got 0.0"),
        (lambda: ConfidenceCalibration(0.1, num_bins=0), "num_bins must be at least 1, got 0"),
        (lambda: ConfidenceCalibration(0.1).update(torch.ones(2), torch.ones(2)), r"\(B, K\), got \(2,\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_metric_needs_keypoints_of_one_number():
    metric = ConfidenceCalibration(0.1)
    metric.update(torch.ones(1, 2), torch.full((1, 2), torch.nan))
    with pytest.raises(ValueError, match="2 keypoints as before, got 3"):
        metric.update(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="needs at least one visible keypoint, got 1 models"):
        metric.compute()
