import pytest
import torch
from reference.benchmark_results import detector_result

from pcsargmax.benchmark.scores import Score
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.statistics import pck_statistic

NAN = float("nan")


def tensors(result):
    shapes = result["metrics"]["shapes"]
    errors = [[NAN if e is None else e for e in row] for row in shapes["errors"]["expectation"]]
    return torch.tensor(errors).double(), torch.tensor(shapes["confidence"]).double()


def test_a_score_is_the_mean_over_its_seeds():
    statistics = {seed: pck_statistic(tensors(detector_result(seed=seed))[0], 0.01) for seed in (0, 5)}
    score = Score.of_seeds(statistics, tuple("abcdefghijkl"))
    values = score.values()
    assert list(values) == [0, 5]
    assert values[0] != values[5]
    assert score.value() == pytest.approx((values[0] + values[5]) / 2)
    weights = resample_weights(12, 4)
    expected = (statistics[0](weights) + statistics[5](weights)) / 2
    assert score.overall(weights).tolist() == pytest.approx(expected.tolist())


def test_the_mean_over_data_takes_each_from_its_own_models():
    first = Score.of_seeds({0: lambda w: w[:, 0], 1: lambda w: w[:, 0] + 2}, ("a", "b"))
    second = Score.of_seeds({1: lambda w: 10 * w[:, 2]}, ("c", "d", "e"))
    both = Score.of_several([first, second])
    assert both.models == (("a", "b"), ("c", "d", "e"))
    found = both.overall(torch.tensor([[1.0, 0, 0, 0, 1], [3, 0, 0, 0, 5]]))
    assert found.tolist() == [(3 + 10) / 2, (5 + 50) / 2]  # of the seed that both have
    assert both.values() == {1: (3 + 10) / 2}
    assert both.value() == both.values()[1]
    other = Score.of_seeds({2: lambda w: w[:, 0]}, ("f",))
    assert Score.of_several([both, other]) is None


def test_models_are_drawn_within_their_data_set():
    parts = [Score.of_seeds({0: lambda w: w[:, 0]}, tuple(range(size))) for size in (3, 20, 20)]
    weights = Score.of_several(parts).resamples(200, 5)
    drawn = weights.split([3, 20, 20], dim=1)
    assert [set(part.sum(dim=1).tolist()) for part in drawn] == [{3}, {20}, {20}]
    assert not torch.equal(drawn[1], drawn[2])
    assert torch.equal(parts[1].resamples(200, 5), resample_weights(20, 200, seed=5))
