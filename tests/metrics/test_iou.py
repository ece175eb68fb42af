from itertools import permutations

import pytest
import torch

from pcsargmax.metrics.iou import KeypointIoU, hungarian_iou, match_within


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
    assert hungarian_iou(prediction, target, (0.04, 0.1)).tolist() == [
        pytest.approx([1 / (3 + 3 - 1), 2 / (3 + 3 - 2)])
    ]


def test_masks_order_and_batch_do_not_matter():
    generator = torch.Generator().manual_seed(1)
    prediction = torch.rand(3, 4, 3, generator=generator)
    target = torch.rand(3, 6, 3, generator=generator)
    visible = torch.rand(3, 6, generator=generator) < 0.7
    present = torch.rand(3, 4, generator=generator) < 0.7
    whole = hungarian_iou(prediction, target, (0.3, 0.6), visible=visible, present=present)
    order = torch.randperm(6, generator=generator)
    mixed = hungarian_iou(prediction, target[:, order], (0.3, 0.6), visible=visible[:, order], present=present)
    assert torch.equal(whole, mixed)
    for i in range(3):
        alone = hungarian_iou(prediction[i : i + 1, present[i]], target[i : i + 1, visible[i]], (0.3, 0.6))
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
    per_model = hungarian_iou(prediction, target, (0.05, 0.1), visible=visible)
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
    with pytest.raises(ValueError, match=r"prediction must be finite where present, .* at 1 of 2"):
        hungarian_iou(broken, torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="thresholds must be positive"):
        KeypointIoU(thresholds=(0.0,))
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -3"):
        KeypointIoU(num_bootstrap=-3)
