from itertools import permutations

import pytest
import torch
from reference import saliency_benchmark as plain

from pcsargmax.metrics import KeypointIoU
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.iou import (
    hungarian_iou,
    iou_terms,
    keypoint_iou,
    match_within,
    pairwise_distances,
    saliency,
    salient_points,
)

INF = float("inf")


def brute_force(distance, threshold):
    """The most pairs within the threshold and their least total, by trying every assignment."""
    if distance.shape[0] > distance.shape[1]:
        distance = distance.T
    found = []
    for columns in permutations(range(distance.shape[1]), distance.shape[0]):
        chosen = [float(distance[r, c]) for r, c in enumerate(columns) if distance[r, c] <= threshold]
        found.append((-len(chosen), sum(chosen)))
    pairs, total = min(found)
    return -pairs, total


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 2), (1, 1)])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_matching_is_the_best_of_all(shape, threshold):
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        distance = torch.rand(shape, generator=generator, dtype=torch.float64)
        row, column = match_within(distance, threshold)
        assert row.unique().numel() == column.unique().numel() == len(row)
        pairs, total = brute_force(distance, threshold)
        assert len(row) == pairs
        assert distance[row, column].sum().item() == pytest.approx(total)


def test_a_second_pair_counts_more_than_a_shorter_first():
    # Least distance alone would pair 0-0 and leave 1 with a partner out of reach.
    distance = torch.tensor([[0.0, 0.9], [0.9, 9.0]])
    row, column = match_within(distance, 1.0)
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_iou_by_hand():
    # Two predictions at one annotation: one is matched, one is false, and one annotation is missed.
    prediction = torch.tensor([[[0.0, 0, 0], [0.01, 0, 0], [1.0, 0, 0]]])
    target = torch.tensor([[[0.0, 0, 0], [1.05, 0, 0], [3.0, 0, 0]]])
    assert hungarian_iou(prediction, target, thresholds=(0.04, 0.1)).tolist() == [
        pytest.approx([1 / (3 + 3 - 1), 2 / (3 + 3 - 2)])
    ]


def test_masks_order_and_batch_do_not_matter():
    generator = torch.Generator().manual_seed(1)
    prediction = torch.rand(3, 4, 3, generator=generator)
    target = torch.rand(3, 6, 3, generator=generator)
    visible = torch.rand(3, 6, generator=generator) < 0.7
    present = torch.rand(3, 4, generator=generator) < 0.7
    whole = hungarian_iou(prediction, target, visible, present, thresholds=(0.3, 0.6))
    order = torch.randperm(6, generator=generator)
    mixed = hungarian_iou(
        prediction, target[:, order], thresholds=(0.3, 0.6), visible=visible[:, order], present=present
    )
    assert torch.equal(whole, mixed)
    for i in range(3):
        alone = hungarian_iou(prediction[i : i + 1, present[i]], target[i : i + 1, visible[i]], thresholds=(0.3, 0.6))
        assert torch.equal(whole[i : i + 1], alone)


def test_models_without_keypoints():
    nowhere = torch.empty(1, 0, 3)
    assert hungarian_iou(torch.zeros(1, 2, 3), nowhere).tolist() == [[0.0]]
    assert hungarian_iou(nowhere, torch.zeros(1, 2, 3)).tolist() == [[0.0]]
    assert hungarian_iou(nowhere, nowhere).isnan().all()


def test_metric_is_the_mean_over_models_with_an_interval():
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(20, 5, 3, generator=generator)
    prediction = target + 0.05 * torch.randn(20, 5, 3, generator=generator)
    visible = torch.rand(20, 5, generator=generator) < 0.8
    visible[3] = False  # predictions without annotations: 0, and it counts
    metric = KeypointIoU((0.05, 0.1)).set_dtype(torch.float64)
    metric.update(prediction[:7], target[:7], visible[:7])
    metric.update(prediction[7:], target[7:], visible[7:])
    result = metric.compute()
    per_model = hungarian_iou(prediction, target, thresholds=(0.05, 0.1), visible=visible)
    assert result["iou@0.05"].item() == pytest.approx(per_model[:, 0].mean().item())
    assert result["iou@0.1/low"] < result["iou@0.1"] < result["iou@0.1/high"]
    assert result["num_models"] == 20


def test_a_model_with_nothing_to_match_does_not_count():
    metric = KeypointIoU(num_bootstrap=0)
    none = torch.tensor([[True], [False]])
    metric.update(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3), none, present=none)
    result = metric.compute()
    assert (result["iou@0.1"], result["num_models"]) == (1, 1)
    assert set(result) == {"iou@0.1", "num_models"}


def test_only_models_with_nothing_to_match_is_an_error():
    metric = KeypointIoU()
    none = torch.zeros(2, 1, dtype=torch.bool)
    metric.update(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3), none, present=none)
    with pytest.raises(ValueError, match="at least one model with keypoints, got none"):
        metric.compute()


def random_distances(num_models=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 7, (num_models, 2), generator=generator).tolist()
    return [torch.rand(p, g, generator=generator, dtype=torch.float64) for p, g in sizes]


class TestProtocols:
    def test_by_hand(self):
        # Predictions 0 and 1 are at annotation 0, prediction 2 is at none; annotation 1 is missed.
        distance = torch.tensor([[0.1, 9.0], [0.2, 9.0], [9.0, 9.0]])
        assert keypoint_iou([distance], (0.3,)).item() == pytest.approx(1 / (3 + 2 - 1))
        for protocol in ("skeleton-merger", "keypointnet"):
            assert keypoint_iou([distance], (0.3,), protocol).item() == pytest.approx((2 - 1) / (2 + 1))
            assert keypoint_iou([distance[:2, :1]], (0.3,), protocol).item() == 1  # both at the one: no fault there

    def test_keypoints_are_pooled_but_by_the_hungarian_protocol(self):
        distances = [torch.tensor([[0.0]]), torch.tensor([[1.0, 1.0, 1.0]])]
        assert keypoint_iou(distances, (0.5,)).item() == pytest.approx((1 + 0) / 2)
        assert keypoint_iou(distances, (0.5,), "skeleton-merger").item() == pytest.approx((1 - 0 + 0) / (1 + 3 + 1))

    @pytest.mark.parametrize("seed", range(3))
    def test_it_equals_plain_loops(self, seed):
        distances = random_distances(seed=seed)
        found = keypoint_iou(distances, (0.2, 0.5), "skeleton-merger")
        for value, threshold in zip(found, (0.2, 0.5), strict=True):
            expected = plain.iou([(d.tolist(), d.shape[1]) for d in distances], threshold)
            assert value.item() == pytest.approx(expected)
        assert 0 < found[0] < found[1] < 1

    @pytest.mark.parametrize("protocol", ["hungarian", "skeleton-merger", "keypointnet"])
    def test_the_metric_is_the_function_with_an_interval(self, protocol):
        distances = random_distances(num_models=30)
        metric = KeypointIoU((0.2, 0.5), protocol=protocol, seed=2).set_dtype(torch.float64)
        metric.update_distances(distances[:20])
        metric.update_distances(distances[20:])
        result = metric.compute()
        found = keypoint_iou(distances, (0.2, 0.5), protocol)
        assert [result["iou@0.2"].item(), result["iou@0.5"].item()] == pytest.approx(found.tolist())
        terms = torch.stack([iou_terms(d, (0.5,), protocol)[0] for d in distances])
        low, high = bootstrap_interval(terms[:, 0], terms[:, 1], seed=2)
        assert result["iou@0.5/low"].item() == pytest.approx(low.item())
        assert result["iou@0.5/high"].item() == pytest.approx(high.item())
        assert low < found[1] < high

    def test_a_threshold_itself_is_within(self):
        for dtype in (torch.float32, torch.float64):
            distance = torch.tensor([[0.05]], dtype=dtype)
            for protocol in ("hungarian", "skeleton-merger", "keypointnet"):
                assert keypoint_iou([distance], (0.05,), protocol).item() == 1

    def test_what_no_path_reaches_is_beyond_every_threshold(self):
        distance = torch.tensor([[INF, 0.1], [INF, 0.2]])
        assert keypoint_iou([distance], (0.3,), "hungarian").item() == pytest.approx(1 / 3)
        assert keypoint_iou([distance], (0.3,), "keypointnet").item() == pytest.approx(1 / 2)

    def test_models_without_predictions_or_annotations(self):
        unfound, unannotated = torch.empty(0, 2), torch.empty(2, 0)
        for protocol in ("skeleton-merger", "keypointnet"):
            assert iou_terms(unfound, (0.1,), protocol).tolist() == [[0, 2]]
            assert iou_terms(unannotated, (0.1,), protocol).tolist() == [[0, 2]]
            assert iou_terms(torch.empty(0, 0), (0.1,), protocol).tolist() == [[0, 0]]
            assert keypoint_iou([], (0.1,), protocol).isnan().all()

    def test_results_are_not_stale(self):
        metric = KeypointIoU(num_bootstrap=0, protocol="keypointnet")
        metric.update_distances([torch.zeros(1, 1)])
        assert metric.compute()["iou@0.1"] == 1
        metric.update_distances([torch.ones(1, 1)])
        assert metric.compute()["iou@0.1"] == pytest.approx(1 / 3)

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="one of hungarian, skeleton-merger, keypointnet, got 'voc'"):
            keypoint_iou([torch.zeros(1, 1)], (0.1,), "voc")
        with pytest.raises(ValueError, match="one of hungarian, skeleton-merger, keypointnet, got 'geodesic'"):
            KeypointIoU(protocol="geodesic")
        with pytest.raises(ValueError, match=r"distances must be \(P, G\) .* got \(2,\) with 0 such"):
            keypoint_iou([torch.zeros(2)], (0.1,))
        with pytest.raises(ValueError, match=r"none NaN or negative, got \(1, 2\) with 2 such"):
            keypoint_iou([torch.tensor([[-1.0, float("nan")]])], (0.1,))


def test_pairwise_distances_are_those_of_what_is_there():
    prediction, target = torch.zeros(2, 2, 3), torch.tensor([[[3.0, 4, 0]], [[0, 0, 1]]])
    present, visible = torch.tensor([[True, True], [False, True]]), torch.tensor([[True], [False]])
    found = pairwise_distances(prediction, target, visible, present)
    assert [distance.tolist() for distance in found] == [[[5.0], [5.0]], [[]]]


def test_saliency_is_the_probability_of_some_keypoint():
    probability = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.7, 0.1]])
    assert saliency(probability).tolist() == pytest.approx([1 - 0.5 * 0.8, 1 - 0.5 * 0.3, 0.1])
    some = saliency(probability, torch.tensor([0.0, 0.5]))
    assert some.tolist() == pytest.approx([0.1, 0.35, 0.05])
    assert salient_points(some, 0.04).tolist() == [0, 1, 2]
    assert salient_points(torch.tensor([0.25, 0.5, 0.0]), 0.25).tolist() == [1]  # 0.25 itself is not above it
    assert salient_points(torch.tensor([0.09, 0.11])).tolist() == [1]
    with pytest.raises(ValueError, match=r"must be \(K, N\) and \(K,\), got \(2, 3\) and \(3,\)"):
        saliency(probability, torch.ones(3))


@pytest.mark.parametrize(
    ("prediction", "target", "masks", "message"),
    [
        ((2, 3, 3), (1, 3, 3), {}, r"\(B, P, D\) and \(B, G, D\), got \(2, 3, 3\) and \(1, 3, 3\)"),
        ((2, 3, 3), (2, 3, 2), {}, r"got \(2, 3, 3\) and \(2, 3, 2\)"),
        ((1, 2, 3), (1, 2, 3), {"visible": torch.ones(1, 2)}, "visible must be bool .* got torch.float32"),
        ((1, 2, 3), (1, 2, 3), {"present": torch.ones(2, 1).bool()}, r"present must be .* \(1, 2\), got"),
    ],
)
def test_bad_shapes_are_named(prediction, target, masks, message):
    with pytest.raises(ValueError, match=message):
        hungarian_iou(torch.zeros(prediction), torch.zeros(target), **masks)


def test_other_bad_arguments():
    broken = torch.tensor([[[float("nan"), 0, 0], [0, 0, 0]]])
    with pytest.raises(ValueError, match=r"preds must be finite where present, .* at 1 of 2"):
        hungarian_iou(broken, torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="thresholds must be positive"):
        KeypointIoU(thresholds=(0.0,))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -3"):
        KeypointIoU(num_bootstrap=-3)
