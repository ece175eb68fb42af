import numpy as np
import pytest
import torch
from reference import tables as plain
from reference.benchmark_results import detector_result, discovery_result
from scipy.stats import pearsonr

from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.statistics import correlation_statistic, das_statistic, pck_statistic

NAN = float("nan")


def tensors(result):
    shapes = result["metrics"]["shapes"]
    errors = [[NAN if e is None else e for e in row] for row in shapes["errors"]["expectation"]]
    return torch.tensor(errors).double(), torch.tensor(shapes["confidence"]).double()


def test_pck_by_hand():
    statistic = pck_statistic(torch.tensor([[0.01, 0.02], [NAN, 0.005], [0.03, NAN]]), 0.01)
    weights = torch.tensor([[1.0, 1, 1], [0, 2, 0], [1, 0, 3]])
    assert statistic(weights).tolist() == pytest.approx([2 / 4, 1, 1 / 5])


@pytest.mark.parametrize("seed", [0, 3])
def test_pck_and_correlation_of_resamples_are_those_of_the_models_drawn(seed):
    result = detector_result(models=15)
    errors, confidence = tensors(result)
    weights, draws = resample_weights(15, 20, seed=seed), plain.draws(15, 20, seed)
    expected = [plain.pck(result, "expectation", 0.01, models) for models in draws]
    assert (100 * pck_statistic(errors, 0.01)(weights)).tolist() == pytest.approx(expected)
    expected = [plain.correlation(result, "expectation", 0.01, models) for models in draws]
    assert correlation_statistic(confidence, errors, 0.01)(weights).tolist() == pytest.approx(expected)


def test_correlation_far_from_zero_is_scipys():
    rng = np.random.default_rng(0)
    confidence, errors = rng.random((50, 4)), rng.random((50, 4))
    shifted = correlation_statistic(torch.from_numpy(1e4 + confidence), torch.from_numpy(errors), 0.3)
    expected = pearsonr(confidence.ravel(), errors.ravel() <= 0.3).statistic
    assert shifted(torch.ones(1, 50).double()).item() == pytest.approx(expected, abs=1e-7)


def test_what_stands_at_absent_keypoints_is_ignored():
    result = detector_result()
    errors, confidence = tensors(result)
    other = confidence.where(~errors.isnan(), torch.tensor(NAN))
    weights = resample_weights(12, 5)
    same = [correlation_statistic(one, errors, 0.01)(weights) for one in (confidence, other)]
    assert same[0].tolist() == same[1].tolist()


def test_correlation_is_nan_where_one_of_the_two_is_the_same_for_all():
    errors, confidence = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.1, 0.2], [0.7, 0.9]])
    statistic = correlation_statistic(confidence, errors, 0.5)
    found = statistic(torch.tensor([[1.0, 1], [2, 0]]).double())
    assert found.isnan().tolist() == [False, True]
    assert correlation_statistic(torch.ones(2, 2), errors, 0.5)(torch.ones(1, 2).double()).isnan().all()


def test_correlation_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match=r"confidence and errors must both be \(M, K\), got \(2, 3\) and \(3, 2\)"):
        correlation_statistic(torch.ones(2, 3), torch.ones(3, 2), 0.1)


def test_das_of_any_models_is_the_mean_over_their_pairs():
    result = discovery_result(models=9)
    shapes = result["metrics"]["shapes"]
    shapes["keypoints"][2][3] = -1
    statistic = das_statistic(torch.tensor(shapes["ids"]), torch.tensor(shapes["keypoints"]))
    weights = torch.ones(2, 9).double()
    weights[1, 4:] = 0
    expected = [plain.das(result, range(9)), plain.das(result, range(4))]
    assert (100 * statistic(weights)).tolist() == pytest.approx(expected)


def test_das_above_chance_is_0_for_one_place_and_1_for_agreement():
    one, same = torch.zeros(6, 4, dtype=torch.long), torch.arange(4).expand(6, 4)
    everyone = torch.ones(1, 6).double()
    assert das_statistic(one, one, corrected=True)(everyone).item() == 0
    assert das_statistic(one, one)(everyone).item() == 1
    assert das_statistic(same, same, corrected=True)(everyone).item() == pytest.approx(1)
