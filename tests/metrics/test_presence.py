import numpy as np
import pytest
import torch

from pcsargmax.metrics import KeypointPresence
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.pck import average_visible, correct
from pcsargmax.metrics.presence import chance_precision, claimed_counts, presence_average_precision

NAN = float("nan")


def made(models: int = 40, seed: int = 0, digits: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and errors (models, 4); ids 0 to 2 are on fewer and fewer models, id 3 on all."""
    rng = np.random.default_rng(seed)
    visible = rng.random((models, 4)) < [0.9, 0.5, 0.1, 2]
    score = np.clip(0.3 * rng.normal(size=visible.shape) + 0.35 + 0.3 * visible, 0, 1).round(digits)
    errors = np.where(visible, rng.gamma(2, 0.01, visible.shape), NAN)
    return torch.from_numpy(score), torch.from_numpy(errors)


@pytest.mark.parametrize("digits", [1, 9])
def test_average_precision_agrees_with_scikit_learn(digits):
    from sklearn.metrics import average_precision_score

    score, errors = made(digits=digits)
    visible = ~errors.isnan()
    peer = [average_precision_score(v, s) for v, s in zip(visible.T.numpy(), score.T.numpy(), strict=True)]
    np.testing.assert_allclose(presence_average_precision(score, visible), peer)


def test_average_precision_by_hand():
    score = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.5, 0.2], [0.1, 0.5, 0.3]])
    visible = torch.tensor([[True, True, False], [False, True, False], [True, False, False]])
    # found first and third: (1 + 2/3) / 2; all alike: the share that has it; none has it
    found = presence_average_precision(score, visible).tolist()
    assert found[:2] == pytest.approx([5 / 6, 2 / 3])
    assert np.isnan(found[2])


def test_claims_by_hand():
    errors = torch.tensor([[0.01, 0.03, NAN, NAN], [0.005, 0.5, 0.01, NAN]])
    claimed = torch.tensor([[True, True, True, False], [False, True, True, True]])
    counts = claimed_counts(errors, claimed, (0.01, 0.1))
    assert counts.tolist() == [[[1, 3, 2], [2, 3, 2]], [[1, 3, 3], [1, 3, 3]]]
    assert claimed_counts(errors, claimed, (0.01,), strict=True)[:, 0, 0].tolist() == [0, 0]


def test_the_metric_by_hand():
    errors = torch.tensor([[0.01, 0.03, NAN, NAN], [0.005, 0.5, 0.01, NAN]])
    score = torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.4, 0.5, 0.6, 0.9]])
    found = KeypointPresence((0.01, 0.1), num_bootstrap=0).set_dtype(torch.float64)(score, errors)
    assert float(found["precision@0.01"]) == pytest.approx(2 / 6)
    assert float(found["recall@0.01"]) == pytest.approx(2 / 5)
    assert float(found["f1@0.01"]) == pytest.approx(2 * (2 / 6) * (2 / 5) / (2 / 6 + 2 / 5))
    assert float(found["recall@0.1"]) == pytest.approx(3 / 5)
    assert float(found["accuracy"]) == pytest.approx(5 / 8)
    assert float(found["balanced_accuracy"]) == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert found["prevalence_per_keypoint"].tolist() == [1, 1, 0.5, 0]
    assert float(found["average_precision"]) == 0.5  # id 2 alone varies, and is ranked the wrong way round
    assert (float(found["prevalence"]), int(found["num_varying"])) == (0.5, 1)
    assert float(found["chance"]) == float(found["chance_absent"]) == 0.75  # of two: 1 or 1/2
    assert "accuracy/low" not in found


def test_the_metric_is_the_functions_over_batches():
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss

    score, errors = made()
    metric = KeypointPresence((0.02,), num_bootstrap=200).set_dtype(torch.float64)
    for part in (slice(0, 7), slice(7, 7), slice(7, 40)):
        metric.update(score[part], errors[part])
    found = metric.compute()
    visible = ~errors.isnan()
    present, told = visible.numpy().ravel(), score.numpy().ravel()
    by_id = presence_average_precision(score, visible)
    assert float(found["average_precision"]) == pytest.approx(float(by_id[:3].mean()))
    assert int(found["num_varying"]) == 3
    absent = [average_precision_score(1 - v, -s) for v, s in zip(visible.T[:3].int(), score.T[:3], strict=True)]
    assert float(found["average_precision_absent"]) == pytest.approx(np.mean(absent))
    assert float(found["average_precision_pooled"]) == pytest.approx(average_precision_score(present, told))
    assert float(found["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(present, told >= 0.5))
    assert float(found["brier"]) == pytest.approx(brier_score_loss(present, told))
    place = np.clip(np.ceil(told * 10) - 1, 0, 9)
    gap = sum(abs((present - told)[place == number].sum()) for number in range(10)) / len(told)
    assert float(found["ece"]) == pytest.approx(gap)
    for name in ("accuracy", "precision@0.02", "recall@0.02", "f1@0.02"):
        assert found[f"{name}/low"] <= found[name] <= found[f"{name}/high"]


def test_claims_of_everything_have_the_recall_of_pck():
    _, errors = made()
    found = KeypointPresence((0.01, 0.02), num_bootstrap=0).set_dtype(torch.float64)(torch.ones_like(errors), errors)
    pck = average_visible(correct(errors, (0.01, 0.02)))
    assert [float(found["recall@0.01"]), float(found["recall@0.02"])] == pytest.approx(pck.tolist())
    visible = (~errors.isnan()).double().mean()
    assert float(found["precision@0.02"]) == pytest.approx(float(pck[1] * visible))


@pytest.mark.parametrize(("positives", "cases"), [(1, 10), (3, 8), (19, 20)])
def test_chance_is_the_mean_over_random_orders(positives, cases):
    score = torch.rand(cases, 20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    visible = (torch.arange(cases) < positives)[:, None].expand_as(score)
    drawn = presence_average_precision(score, visible)
    expected = float(chance_precision(torch.tensor(positives), cases))
    assert float(drawn.mean()) == pytest.approx(expected, abs=4 * float(drawn.std()) / 20000**0.5)
    assert expected > positives / cases


def test_chance_of_all_of_none_and_of_one_case():
    assert chance_precision(torch.tensor([5, 0]), 5).tolist()[0] == 1
    assert chance_precision(torch.tensor([5, 0]), 5)[1].isnan()
    assert float(chance_precision(torch.tensor(1), 1)) == 1
    assert float(chance_precision(torch.tensor(1), 10)) == pytest.approx(sum(1 / n for n in range(1, 11)) / 10)
    with pytest.raises(ValueError, match=r"num_positives must be 0 to num_cases, .* got 3 of 2"):
        chance_precision(torch.tensor(3), 2)


def test_the_interval_of_average_precision_is_that_of_models_drawn_again():
    score, errors = made()
    found = KeypointPresence((0.1,), num_bootstrap=60, seed=4).set_dtype(torch.float64)(score, errors)
    for ending, sign in (("", 1), ("_absent", -1)):
        drawn = []
        for weights in resample_weights(len(score), 60, seed=4).long():
            s, v = (values.repeat_interleave(weights, 0)[:, :3] for values in (score, ~errors.isnan()))
            varying = v.any(dim=0) & ~v.all(dim=0)
            drawn.append(presence_average_precision(sign * s, v if sign > 0 else ~v)[varying].mean())
        low, high = np.quantile(drawn, [0.025, 0.975])
        figure = float(found[f"average_precision{ending}"])
        assert float(found[f"average_precision{ending}/low"]) == pytest.approx(min(2 * figure - high, figure))
        assert float(found[f"average_precision{ending}/high"]) == pytest.approx(max(min(2 * figure - low, 1), figure))
    one = KeypointPresence((0.1,))(torch.ones(1, 2), torch.tensor([[0.1, NAN]]))
    assert one["average_precision/low"].isnan()


def test_a_threshold_is_as_exact_as_the_errors():
    score = torch.ones(2, 1, dtype=torch.float64)
    for dtype in (torch.float32, torch.float64):  # the float32 0.05 is above the float64 one
        found = KeypointPresence((0.05,)).set_dtype(dtype)(score, torch.full((2, 1), 0.05, dtype=dtype))
        assert float(found["recall@0.05"]) == 1
    exact = torch.full((2, 1), 0.05, dtype=torch.float64)  # a float32 score must not round them
    assert float(KeypointPresence((0.05,)).set_dtype(torch.float64)(score.float(), exact)["recall@0.05"]) == 1


def test_what_has_no_value_is_nan():
    one = KeypointPresence((0.1,))(torch.zeros(1, 2), torch.zeros(1, 2))
    assert one["average_precision"].isnan()
    assert one["precision@0.1"].isnan()  # no claim
    assert float(one["recall@0.1"]) == 0
    assert one["recall@0.1/low"].isnan()  # one model has no spread
    assert one["balanced_accuracy"].isnan()
    assert KeypointPresence((0.1,))(torch.ones(2, 1), torch.full((2, 1), NAN))["recall@0.1"].isnan()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: presence_average_precision(torch.ones(2), torch.ones(2).bool()), r"must be \(M, K\)"),
        (lambda: presence_average_precision(torch.ones(1, 2), torch.ones(1, 2)), r"torch.float32 of shape \(1, 2\)"),
        (lambda: presence_average_precision(torch.tensor([[NAN]]), torch.ones(1, 1).bool()), "finite, got nan"),
        (lambda: claimed_counts(torch.ones(1, 2), torch.ones(1, 2), (0.1,)), "claimed bool of that shape"),
        (lambda: claimed_counts(torch.ones(1, 2), torch.ones(1, 2).bool(), (0.1, 0.1)), "thresholds must be positive"),
        (lambda: KeypointPresence(()), "thresholds must be positive"),
        (lambda: KeypointPresence(num_bootstrap=-1), "num_bootstrap must not be negative, got -1"),
        (lambda: KeypointPresence().update(torch.full((1, 1), 2.0), torch.ones(1, 1)), r"within \[0, 1\], got 2\.0"),
        (lambda: KeypointPresence().compute(), "needs at least one model, got none"),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_number_of_keypoints_stays():
    metric = KeypointPresence()
    metric.update(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="2 keypoints as before, got 3"):
        metric.update(torch.ones(1, 3), torch.ones(1, 3))
