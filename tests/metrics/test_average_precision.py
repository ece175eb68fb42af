from itertools import pairwise

import pytest
import torch
from reference import saliency_benchmark as plain

from pcsargmax.metrics import KeypointAP
from pcsargmax.metrics.average_precision import (
    average_precision,
    keypoint_average_precision,
    saliency_average_precision,
    saliency_hits,
)
from pcsargmax.metrics.bootstrap import resample_weights

NAN, INF = float("nan"), float("inf")


def random_guesses(count=60, seed=0, levels=0):
    generator = torch.Generator().manual_seed(seed)
    hits = torch.rand(count, generator=generator) < 0.5
    scores = torch.rand(count, generator=generator, dtype=torch.float64) + 0.3 * hits
    return ((scores * levels).round() if levels else scores), hits


def random_models(num_models=15, num_ids=4, seed=0):
    """Errors and scores; some keypoints absent, some not guessed."""
    generator = torch.Generator().manual_seed(seed)
    errors = 0.1 * torch.rand(num_models, num_ids, generator=generator, dtype=torch.float64)
    scores = torch.rand(num_models, num_ids, generator=generator, dtype=torch.float64) - 3 * errors
    errors[torch.rand(num_models, num_ids, generator=generator) < 0.3] = NAN
    scores[torch.rand(num_models, num_ids, generator=generator) < 0.2] = NAN
    errors[0] = 0.01
    return errors, scores


def test_by_hand():
    # Right, wrong, right, wrong, of 4 to be found: recall 1/4 and 2/4 at precision 1 and 2/3.
    scores, hits = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([True, False, True, False])
    assert average_precision(scores, hits, 4).item() == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(scores, hits, 4, interpolation="none").item() == pytest.approx((1 + 2 / 3) / 4)
    # Precision 1 at recalls 0, .1, .2; 2/3 at .3, .4 and .5; nothing beyond.
    assert average_precision(scores, hits, 4, interpolation="11").item() == pytest.approx((3 + 3 * 2 / 3) / 11)


def test_the_envelope_lifts_a_dip():
    # Wrong, right, right: precision 0, 1/2, 2/3, so its envelope is 2/3 at either recall.
    scores, hits = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([False, True, True])
    assert average_precision(scores, hits, 2).item() == pytest.approx(2 / 3)
    assert average_precision(scores, hits, 2, interpolation="11").item() == pytest.approx(2 / 3)
    assert average_precision(scores, hits, 2, interpolation="none").item() == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("levels", [0, 5])
@pytest.mark.parametrize("missed", [0, 7])
def test_the_steps_equal_those_of_sklearn(levels, missed):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, hits = random_guesses(levels=levels)
    found = average_precision(scores, hits, int(hits.sum()) + missed, interpolation="none")
    recalled = int(hits.sum()) / (int(hits.sum()) + missed)
    assert found.item() == pytest.approx(recalled * metrics.average_precision_score(hits.numpy(), scores.numpy()))


@pytest.mark.parametrize("interpolation", ["all", "11"])
def test_the_envelope_equals_one_from_the_curve_of_sklearn(interpolation):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, hits = random_guesses(seed=1)
    precision, recall, _ = metrics.precision_recall_curve(hits.numpy(), scores.numpy())
    curve = list(zip(recall, precision, strict=True))

    def best(at):
        return max((p for r, p in curve if r >= at - 1e-12), default=0.0)

    if interpolation == "11":
        expected = sum(best(i / 10) for i in range(11)) / 11
    else:
        recalls = sorted(set(recall))
        expected = sum((b - a) * best(b) for a, b in pairwise(recalls))
    found = average_precision(scores, hits, int(hits.sum()), interpolation=interpolation)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("interpolation", ["all", "11", "none"])
def test_order_does_not_matter_even_among_equal_scores(interpolation):
    scores, hits = random_guesses(levels=4)
    found = average_precision(scores, hits, 40, interpolation=interpolation)
    for seed in range(5):
        order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
        assert average_precision(scores[order], hits[order], 40, interpolation=interpolation) == found


@pytest.mark.parametrize("interpolation", ["all", "11", "none"])
def test_weights_are_copies(interpolation):
    scores, hits = random_guesses(count=20, levels=6)
    weights = resample_weights(20, 30)
    found = average_precision(scores, hits, weights @ hits.double() + 3, interpolation=interpolation, weights=weights)
    for row, value in zip(weights.long(), found, strict=True):
        copies = hits.repeat_interleave(row)
        alone = average_precision(
            scores.repeat_interleave(row), copies, int(copies.sum()) + 3, interpolation=interpolation
        )
        assert value.item() == pytest.approx(alone.item())


def test_nothing_guessed_is_nothing_and_nothing_to_be_found_is_nan():
    none = torch.empty(0)
    for interpolation in ("all", "11", "none"):
        assert average_precision(none, none.bool(), 3, interpolation=interpolation) == 0
        assert average_precision(torch.ones(2), torch.zeros(2).bool(), 0, interpolation=interpolation).isnan()


def test_each_id_by_hand():
    # Id 0: the surest guess is on a model that lacks it; then one right; one is not guessed. Id 1: no model has it.
    errors = torch.tensor([[NAN, NAN], [0.01, NAN], [0.02, NAN], [0.5, NAN]])
    scores = torch.tensor([[0.9, 0.9], [0.8, NAN], [NAN, 0.2], [0.1, 0.3]])
    found = keypoint_average_precision(errors, scores, (0.05, 1.0))
    assert found[:, 0].tolist() == pytest.approx([1 / 2 / 3, 2 / 3 * 2 / 3])
    assert found[:, 1].isnan().all()


def test_strict_leaves_out_the_threshold_itself():
    errors, scores = torch.tensor([[0.25]]), torch.tensor([[1.0]])
    assert keypoint_average_precision(errors, scores, (0.25,)).item() == 1
    assert keypoint_average_precision(errors, scores, (0.25,), strict=True).item() == 0


def test_ids_equal_sklearn_where_everything_is_guessed():
    metrics = pytest.importorskip("sklearn.metrics")
    errors, scores = random_models()
    scores = scores.nan_to_num(nan=0.05)
    found = keypoint_average_precision(errors, scores, (0.05,), interpolation="none")[0]
    for k in range(4):
        right = (errors[:, k] <= 0.05).numpy()
        recalled = right.sum() / int((~errors[:, k].isnan()).sum())
        expected = recalled * metrics.average_precision_score(right, scores[:, k].numpy())
        assert found[k].item() == pytest.approx(expected)


class TestSaliency:
    def test_the_surest_guess_takes_the_annotation_and_others_are_false(self):
        distance = torch.tensor([[0.01, 0.03], [0.02, 0.5], [0.04, 0.03], [0.3, 0.4]])
        hits = saliency_hits(distance, torch.tensor([0.5, 0.9, 0.1, 1.0]), 0.05)
        # Guess 0 is nearest to annotation 0, which guess 1 has taken; that annotation 1 is near does not help it.
        assert hits.tolist() == [False, True, True, False]

    def test_strict_or_not(self):
        distance, scores = torch.tensor([[0.25]]), torch.ones(1)
        assert saliency_hits(distance, scores, 0.25).tolist() == [False]
        assert saliency_hits(distance, scores, 0.25, strict=False).tolist() == [True]

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("strict", [True, False])
    def test_it_equals_plain_loops(self, seed, strict):
        generator = torch.Generator().manual_seed(seed)
        distances, scores = [], []
        for points, annotations in ((12, 3), (9, 5), (15, 1)):
            distance = torch.rand(points, annotations, generator=generator, dtype=torch.float64)
            distance[torch.rand(points, annotations, generator=generator) < 0.1] = INF
            distances.append(distance)
            scores.append(torch.rand(points, generator=generator, dtype=torch.float64) - distance.amin(1).clamp_max(1))
        found = saliency_average_precision(distances, scores, (0.2, 0.4), strict=strict)
        models = [(d.tolist(), s.tolist()) for d, s in zip(distances, scores, strict=True)]
        for value, threshold in zip(found, (0.2, 0.4), strict=True):
            assert value.item() == pytest.approx(plain.average_precision(models, threshold, strict))
        assert 0.05 < found[0] < found[1] < 0.95

    def test_perfect_saliency_is_perfect(self):
        distances = [torch.cdist(torch.eye(6), torch.eye(6)[:2]) for _ in range(3)]
        scores = [torch.tensor([0.9, 0.8, 0.0, 0.1, 0.2, 0.3])] * 3
        assert saliency_average_precision(distances, scores, (0.5,)).item() == 1

    def test_models_without_guesses_or_annotations(self):
        empty, score = torch.empty(0, 2), torch.ones(1)
        assert saliency_average_precision([empty], [torch.empty(0)], (0.1,)).item() == 0
        assert saliency_average_precision([torch.empty(1, 0)], [score], (0.1,)).isnan().all()
        mixed = saliency_average_precision([torch.zeros(1, 1), torch.empty(1, 0)], [score, score], (0.1,))
        assert mixed.item() == 0.5  # both guesses at once: one of two is right


class TestMetric:
    def test_it_is_the_mean_over_ids_with_an_interval(self):
        errors, scores = random_models(num_models=40)
        metric = KeypointAP((0.03, 0.06)).set_dtype(torch.float64)
        metric.update_errors(errors[:10], scores[:10])
        metric.update_errors(errors[10:], scores[10:])
        result = metric.compute()
        found = keypoint_average_precision(errors, scores, (0.03, 0.06))
        torch.testing.assert_close(result["ap_per_keypoint"], found)
        torch.testing.assert_close(result["map@0.06"], found[1].mean())
        assert result["map@0.06/low"] < result["map@0.06"] < result["map@0.06/high"]
        assert (result["num_models"], result["num_keypoints"]) == (40, (~errors.isnan()).sum())

    def test_a_threshold_is_as_exact_as_the_errors(self):
        for dtype in (torch.float32, torch.float64):  # the float32 0.05 is above the float64 one
            metric = KeypointAP((0.05,)).set_dtype(dtype)
            metric.update_errors(torch.full((2, 1), 0.05, dtype=dtype), torch.ones(2, 1))
            assert metric.compute()["map@0.05"].item() == 1

    def test_the_interval_is_that_of_models_drawn_again(self):
        errors, scores = random_models(num_models=12)
        metric = KeypointAP((0.05,), num_bootstrap=40, seed=3).set_dtype(torch.float64)
        metric.update_errors(errors, scores)
        values = [
            keypoint_average_precision(
                errors.repeat_interleave(w, 0), scores.repeat_interleave(w, 0), (0.05,)
            ).nanmean()
            for w in resample_weights(12, 40, seed=3).long()
        ]
        high, low = torch.stack(values).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
        figure = keypoint_average_precision(errors, scores, (0.05,)).nanmean()
        low, high = min(2 * figure - low, figure), max(2 * figure - high, figure)
        assert metric.compute()["map@0.05/low"].item() == pytest.approx(low.item())
        assert metric.compute()["map@0.05/high"].item() == pytest.approx(high.item())

    def test_positions_are_measured(self):
        target = torch.rand(6, 3, 3, generator=torch.Generator().manual_seed(0))
        prediction = target + torch.tensor([0.02, 0.0, 0.0])
        scores = torch.ones(6, 3)
        result = KeypointAP((0.01, 0.03))(prediction, target, torch.ones(6, 3, dtype=torch.bool), scores)
        assert (result["map@0.01"], result["map@0.03"]) == (0, 1)

    def test_results_are_not_stale(self):
        metric = KeypointAP((0.05,), num_bootstrap=0)
        metric.update_errors(torch.tensor([[0.01]]), torch.ones(1, 1))
        assert metric.compute()["map@0.05"] == 1
        metric.update_errors(torch.tensor([[0.2]]), torch.ones(1, 1))
        assert metric.compute()["map@0.05"] == 0.25  # both at once: half of what is found is right, half is found
        metric.reset()
        metric.update_errors(torch.rand(2, 3), torch.rand(2, 3))
        assert metric.compute()["ap_per_keypoint"].shape == (1, 3)

    def test_one_model_has_no_interval_and_merged_metrics_equal_one(self):
        errors, scores = random_models()
        one, whole, part = KeypointAP(), KeypointAP(), KeypointAP()
        one.update_errors(errors[:1], scores[:1])
        assert one.compute()["map@0.01/low"].isnan()
        whole.update_errors(errors, scores)
        part.update_errors(errors[4:], scores[4:])
        first = KeypointAP()
        first.update_errors(errors[:4], scores[:4])
        part.merge_state(first)
        for name, value in whole.compute().items():
            torch.testing.assert_close(part.compute()[name], value, equal_nan=True)


def test_bad_input_is_named():
    ones, yes = torch.ones(2), torch.ones(2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"interpolation must be one of all, 11, none, got 'voc'"):
        average_precision(ones, yes, 2, interpolation="voc")
    with pytest.raises(ValueError, match=r"interpolation must be one of all, 11, none, got '101'"):
        KeypointAP(interpolation="101")
    with pytest.raises(ValueError, match=r"scores and hits must be \(n,\) and \(n,\) bool, got \(2,\) and torch.float"):
        average_precision(ones, ones, 2)
    with pytest.raises(ValueError, match="scores must not be NaN, got 1 of 2 that are"):
        average_precision(torch.tensor([1.0, NAN]), yes, 2)
    with pytest.raises(ValueError, match=r"errors and scores must both be \(M, K\), got \(2, 3\) and \(2,\)"):
        keypoint_average_precision(torch.ones(2, 3), ones, (0.1,))
    with pytest.raises(ValueError, match=r"weights must be \(R, 2\), got \(2,\)"):
        keypoint_average_precision(torch.ones(2, 3), torch.ones(2, 3), (0.1,), weights=ones)
    with pytest.raises(ValueError, match=r"distance and scores must be \(P, G\) and \(P,\), got \(2, 3\) and \(3,\)"):
        saliency_hits(torch.ones(2, 3), torch.ones(3), 0.1)
    with pytest.raises(ValueError, match="distances and scores must be of as many models, got 1 and 2"):
        saliency_average_precision([torch.ones(2, 3)], [ones, ones], (0.1,))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        KeypointAP(num_bootstrap=-1)
    with pytest.raises(ValueError, match="thresholds must be positive"):
        KeypointAP(thresholds=())
    metric = KeypointAP()
    metric.update_errors(torch.full((2, 3), NAN), torch.ones(2, 3))
    with pytest.raises(ValueError, match="at least one visible keypoint, got none in 2 models"):
        metric.compute()
    with pytest.raises(ValueError, match="errors must have 3 keypoints as before, got 4"):
        metric.update_errors(torch.ones(2, 4), torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"scores and errors must both be \(B, K\), got \(2, 4\) and \(2, 3\)"):
        metric.update_errors(torch.ones(2, 3), torch.ones(2, 4))
