import pytest
import torch
from reference import tables as plain
from reference.benchmark_results import detector_result

from pcsargmax.benchmark.cells import Cell, make_cell
from pcsargmax.benchmark.scores import Score
from pcsargmax.metrics.statistics import pck_statistic

NAN = float("nan")


def score_of(results):
    by_seed = {}
    for result in results:
        rows = result["metrics"]["shapes"]["errors"]["expectation"]
        errors = torch.tensor([[NAN if e is None else e for e in row] for row in rows])
        by_seed[result["seed"]] = pck_statistic(errors, 0.01)
    return Score.of_seeds(by_seed, tuple(results[0]["metrics"]["shapes"]["model_id"]))


def seeds(method="soft", shift=1.0, **options):
    return [detector_result(method=method, seed=seed, shift=shift, **options) for seed in range(3)]


def test_mean_spread_and_interval_are_those_of_a_plain_bootstrap():
    results = seeds()
    cell = make_cell(score_of(results), None, 100, 300, 4)
    mean, deviation, low, high = plain.cell(results, lambda r, m: plain.pck(r, "expectation", 0.01, m), 300, 4)
    assert (cell.mean, cell.deviation) == pytest.approx((mean, deviation))
    assert (cell.low, cell.high) == pytest.approx((low, high))
    assert (cell.num_models, list(cell.values), cell.against) == (12, [0, 1, 2], None)
    assert low < mean < high


def test_the_difference_is_that_of_the_same_resamples():
    ours, theirs = seeds("sampling-10", 0.7), seeds()
    found = make_cell(score_of(ours), score_of(theirs), 100, 300, 0).against

    def value(results, models):
        return sum(plain.pck(result, "expectation", 0.01, models) for result in results) / 3

    assert found.difference == pytest.approx(value(ours, range(12)) - value(theirs, range(12)))
    drawn = [value(ours, models) - value(theirs, models) for models in plain.draws(12, 300, 0)]
    low, high = torch.tensor(drawn).double().quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    assert (found.low, found.high) == pytest.approx((low, high))
    beyond = min(sum(d <= 1e-9 for d in drawn), sum(d >= -1e-9 for d in drawn))
    assert found.p == pytest.approx(min(1, 2 * (beyond + 1) / 301))
    assert found.p < 0.05


def test_a_method_is_level_with_itself():
    found = make_cell(score_of(seeds()), score_of(seeds()), 100, 100, 0).against
    assert found == (0, 0, 0, 1)


def test_other_shapes_are_not_compared():
    cell = make_cell(score_of(seeds("sampling-10", models=10)), score_of(seeds()), 100, 50, 0)
    assert cell.against is None
    others = score_of(seeds())
    renamed = Score(others.by_seed, (tuple(f"other{name}" for name in others.models[0]),))
    assert make_cell(score_of(seeds("sampling-10")), renamed, 100, 50, 0).against is None


def test_the_mean_over_data_is_tested_with_the_resamples_of_its_interval():
    def both(method, shift):
        cap, mug = (score_of(seeds(method, shift, models=models)) for models in (2, 30))
        return Score.of_several([cap, mug])

    ours, theirs = both("sampling-10", 0.7), both("soft", 1.0)
    weights = ours.resamples(300, 0)
    cell = make_cell(ours, theirs, 100, 300, 0)
    ends = torch.tensor([0.025, 0.975]).double()
    expected = (100 * ours.overall(weights)).quantile(ends).tolist()
    assert [cell.low, cell.high] == pytest.approx(expected)
    expected = (100 * (ours.overall(weights) - theirs.overall(weights))).quantile(ends).tolist()
    assert [cell.against.low, cell.against.high] == pytest.approx(expected)


def test_one_seed_has_no_spread_and_one_shape_no_interval():
    cell = make_cell(score_of([detector_result()]), None, 100, 50, 0)
    assert (cell.deviation, list(cell.values)) == (None, [0])
    assert cell.low is not None
    single = [detector_result(models=1)]
    cell = make_cell(score_of(single), score_of(single), 100, 50, 0)
    assert (cell.low, cell.high, cell.against, cell.num_models) == (None, None, None, 1)


def test_what_is_not_defined_is_no_cell():
    undefined = Score.of_seeds({0: lambda weights: weights.sum(dim=1) * NAN}, ("a", "b"))
    assert make_cell(undefined, None, 1, 10, 0) is None


@pytest.mark.parametrize(("number", "expected"), [(1.9, "above"), (2.0, "level"), (4.0, "level"), (4.1, "below")])
def test_the_verdict_is_by_the_interval(number, expected):
    assert Cell(3, 1, 2, 4, {0: 3}, 5).verdict(number) == expected


def test_there_is_no_verdict_without_two_numbers():
    assert Cell(3, 1, 2, 4, {0: 3}, 5).verdict(None) == ""
    assert Cell(3, 1, None, None, {0: 3}, 1).verdict(3) == ""
