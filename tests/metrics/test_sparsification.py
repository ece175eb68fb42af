import itertools

import numpy as np
import pytest
import torch

from pcsargmax.metrics import SparsificationError
from pcsargmax.metrics.sparsification import sparsification_curve, sparsification_error


def slow_curve(confidence: list[float], error: list[float]) -> list[float]:
    """Mean error of the k surest, k = 1 to n, averaged over all orders of equal ones."""
    orders = [
        order
        for order in itertools.permutations(range(len(error)))
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    means = [[np.mean([error[i] for i in order[: k + 1]]) for k in range(len(error))] for order in orders]
    return np.mean(means, axis=0).tolist()


def test_the_curve_by_hand():
    curve = sparsification_curve(torch.tensor([0.9, 0.2, 0.5, 0.7]), torch.tensor([1.0, 4.0, 0.0, 3.0]), num_steps=4)
    assert curve.kept.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.error.tolist() == pytest.approx([1, 2, 4 / 3, 2])
    assert curve.oracle.tolist() == pytest.approx([0, 0.5, 4 / 3, 2])


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_agrees_with_its_plain_twin(seed):
    rng = np.random.default_rng(seed)
    confidence, error = rng.integers(0, 3, 6).astype(float), rng.random(6)  # with ties
    curve = sparsification_curve(torch.from_numpy(confidence), torch.from_numpy(error), num_steps=6)
    slow, oracle = slow_curve(confidence.tolist(), error.tolist()), slow_curve((-error).tolist(), error.tolist())
    assert curve.error.tolist() == pytest.approx(slow)
    assert curve.oracle.tolist() == pytest.approx(oracle)
    area = sparsification_error(torch.from_numpy(confidence), torch.from_numpy(error))
    assert float(area) == pytest.approx(np.mean(np.array(slow) - oracle))


def test_the_number_kept_is_rounded_up():
    error = torch.arange(1.0, 8.0)
    curve = sparsification_curve(-error, error, num_steps=5)  # 1.4, 2.8, 4.2, 5.6 and 7 of 7
    assert curve.error.tolist() == pytest.approx([1.5, 2, 3, 3.5, 4])


def test_the_order_of_the_error_has_no_area_and_none_has_that_of_chance():
    error = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(sparsification_error(-error, error)) == 0
    constant = sparsification_curve(torch.zeros(50), error)
    assert constant.error.tolist() == pytest.approx([float(error.mean())] * 20)
    assert sparsification_error(error, error) > sparsification_error(torch.zeros(50), error)


def test_the_metric_leaves_out_what_is_absent():
    confidence = torch.tensor([[0.9, 0.2, 0.1], [0.5, 0.7, 0.3]])
    error = torch.tensor([[1.0, 4.0, torch.nan], [0.0, 3.0, torch.nan]])
    metric = SparsificationError(num_steps=4).set_dtype(torch.float64)
    metric.update(confidence[:1], error[:1])
    metric.update(confidence[1:], error[1:])
    found = metric.compute()
    assert found["error"].tolist() == pytest.approx([1, 2, 4 / 3, 2])
    assert float(found["ause"]) == pytest.approx((1 + 1.5) / 4)
    assert float(found["ause_relative"]) == pytest.approx(2.5 / 4 / 2)
    assert float(found["ause_random"]) == pytest.approx((2 + 1.5 + 2 / 3 + 0) / 4)
    assert SparsificationError()(confidence, torch.zeros(2, 3))["ause_relative"].isnan()


def test_the_interval_is_that_of_models_drawn_again():
    generator = torch.Generator().manual_seed(1)
    confidence, error = torch.rand(2, 9, 4, generator=generator, dtype=torch.float64)
    error[torch.rand(9, 4, generator=generator) < 0.3] = torch.nan
    metric = SparsificationError(num_bootstrap=50, seed=2).set_dtype(torch.float64)
    metric.update(confidence[:5], error[:5])
    metric.update(confidence[5:], error[5:])
    found = metric.compute()

    def area(rows: torch.Tensor) -> float:
        c, e = confidence[rows], error[rows]
        return float(sparsification_error(c[~e.isnan()], e[~e.isnan()]))

    draws = torch.randint(9, (50, 9), generator=torch.Generator().manual_seed(2))
    low, high = np.quantile([area(rows) for rows in draws], [0.025, 0.975])
    figure = area(torch.arange(9))
    assert float(found["ause"]) == pytest.approx(figure)
    assert float(found["ause/low"]) == pytest.approx(max(min(2 * figure - high, figure), 0))
    assert float(found["ause/high"]) == pytest.approx(max(2 * figure - low, figure))
    single = SparsificationError()
    single.update(confidence[:1], error[:1])
    assert single.compute()["ause/low"].isnan()
    assert "ause/low" not in SparsificationError(num_bootstrap=0)(confidence, error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sparsification_curve(torch.ones(2), torch.ones(1)), r"confidence and errors must be \(n,\)"),
        (lambda: sparsification_error(torch.ones(0), torch.ones(0)), r"at least 1, got \(0,\)"),
        (lambda: sparsification_error(torch.ones(1), torch.tensor([torch.nan])), "errors must be finite, got nan"),
        (lambda: sparsification_curve(torch.ones(1), torch.ones(1), num_steps=0), "num_steps must be at least 1"),
        (lambda: SparsificationError(num_steps=0), "num_steps must be at least 1, got 0"),
        (lambda: SparsificationError().update(torch.ones(1, 1), torch.ones(1, 2)), r"got \(1, 1\) and \(1, 2\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
