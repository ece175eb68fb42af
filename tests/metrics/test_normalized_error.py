import numpy as np
import pytest
import torch

from pcsargmax.metrics import NormalizedMeanError
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.normalized_error import OUTER_EYE_CORNERS, box_length, normalized_errors, pair_length

NAN = float("nan")


def random_faces(num=20, num_keypoints=6, seed=0, noise=3.0):
    """Faces whose first two keypoints, of which the pair is made, are about 60 pixels apart and always there."""
    generator = torch.Generator().manual_seed(seed)
    target = 90 * torch.rand(num, num_keypoints, 2, generator=generator, dtype=torch.float64)
    target[:, 0], target[:, 1] = torch.tensor([10.0, 30.0]), torch.tensor([70.0, 34.0])
    target[:, :2] += 5 * torch.rand(num, 2, 2, generator=generator, dtype=torch.float64)
    prediction = target + noise * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    visible = torch.rand(num, num_keypoints, generator=generator) < 0.8
    visible[:, :2] = True
    return prediction, target, visible


def test_by_hand():
    # The eyes are 50 apart (30-40-50); errors 5, 0, 10 and one absent: NME (5 + 0 + 10) / 3 / 50 = 0.1.
    target = torch.tensor([[[10.0, 10.0], [40.0, 50.0], [20.0, 20.0], [0.0, 0.0]]], dtype=torch.float64)
    prediction = target + torch.tensor([[[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0], [9.0, 9.0]]])
    visible = torch.tensor([[True, True, True, False]])
    assert pair_length(target, visible, (0, 1)).tolist() == [50]
    metric = NormalizedMeanError(pair=(0, 1), failure=0.3).set_dtype(torch.float64)
    result = metric(prediction, target, visible)
    assert result["nme"].item() == pytest.approx(0.1)
    assert result["median_nme"].item() == pytest.approx(0.1)
    assert result["mean_error"].item() == pytest.approx(5)
    assert result["failure@0.3"] == 0
    assert result["auc@0.3"].item() == pytest.approx(2 / 3)
    assert result["nme_per_keypoint"][:3].tolist() == pytest.approx([0.1, 0, 0.2])
    assert result["nme_per_keypoint"][3].isnan()
    assert (result["num_images"], result["num_left_out"]) == (1, 0)
    assert result["nme/low"].isnan()


def test_the_default_pair_is_the_outer_eye_corners_of_68_points():
    assert OUTER_EYE_CORNERS == (36, 45)
    target = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0))
    target[0, 36], target[0, 45] = torch.tensor([20.0, 40.0]), torch.tensor([60.0, 40.0])
    result = NormalizedMeanError()(target + torch.tensor([4.0, 0.0]), target, torch.ones(1, 68, dtype=torch.bool))
    assert result["nme"].item() == pytest.approx(0.1)


def test_metric_agrees_with_plain_loops():
    prediction, target, visible = random_faces()
    metric = NormalizedMeanError(pair=(0, 1), failure=0.06).set_dtype(torch.float64)
    result = metric(prediction, target, visible)
    images, errors = [], []
    for p, t, v in zip(prediction.numpy(), target.numpy(), visible.numpy(), strict=True):
        error = [np.hypot(*(p[k] - t[k])) for k in range(len(v)) if v[k]]
        images.append(np.mean(error) / np.hypot(*(t[0] - t[1])))
        errors += error
    images = np.array(images)
    assert result["nme"].item() == pytest.approx(images.mean())
    assert result["median_nme"].item() == pytest.approx(np.median(images))
    assert result["mean_error"].item() == pytest.approx(np.mean(errors))
    assert 0 < (images > 0.06).mean() < 1
    assert result["failure@0.06"].item() == pytest.approx((images > 0.06).mean())
    # The area under the curve of shares of images, by small steps.
    limits = np.linspace(0, 0.06, 20_001)
    area = np.trapezoid((images <= limits[:, None]).mean(axis=1), limits) / 0.06
    assert result["auc@0.06"].item() == pytest.approx(area, abs=1e-4)


def test_intervals_are_over_images():
    faces = random_faces()
    metric = NormalizedMeanError(pair=(0, 1)).set_dtype(torch.float64)
    result = metric(*faces)
    for name in ("nme", "mean_error", "auc@0.1"):
        assert result[f"{name}/low"] < result[name] < result[f"{name}/high"]
    error = torch.linalg.vector_norm(faces[0] - faces[1], dim=-1).masked_fill(~faces[2], NAN)
    low, high = bootstrap_interval(error.nanmean(dim=1) / pair_length(faces[1], faces[2], (0, 1)))
    assert (result["nme/low"].item(), result["nme/high"].item()) == pytest.approx((low.item(), high.item()))
    assert not any("/" in name for name in NormalizedMeanError(pair=(0, 1), num_bootstrap=0)(*faces))


def test_images_without_a_length_or_keypoints_are_left_out_and_counted():
    prediction, target, visible = random_faces(5)
    visible[1, 0] = False  # no distance of the eyes
    visible[3] = False  # nothing at all
    metric = NormalizedMeanError(pair=(0, 1), num_bootstrap=0).set_dtype(torch.float64)
    result = metric(prediction, target, visible)
    kept = [0, 2, 4]
    expected = NormalizedMeanError(pair=(0, 1), num_bootstrap=0).set_dtype(torch.float64)
    expected = expected(prediction[kept], target[kept], visible[kept])
    assert (result.pop("num_left_out"), expected.pop("num_left_out")) == (2, 0)
    for name, value in result.items():
        torch.testing.assert_close(value, expected[name], equal_nan=True)


def test_lengths_that_are_given():
    prediction, target, visible = random_faces(4)
    box = torch.tensor([[0.0, 0.0, 40.0, 90.0], [1.0, 2.0, 50.0, 50.0], [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 4.0, 9.0]])
    assert box_length(box).tolist() == pytest.approx([60, 50, 10, 6])
    length = box_length(box)
    length[3] = NAN
    metric = NormalizedMeanError(pair=None, num_bootstrap=0).set_dtype(torch.float64)
    result = metric(prediction, target, visible, length)
    error = torch.linalg.vector_norm(prediction - target, dim=-1).masked_fill(~visible, NAN).nanmean(dim=1)
    assert result["nme"].item() == pytest.approx((error / length)[:3].mean().item())
    assert result["num_left_out"] == 1


def test_batches_and_merged_metrics_give_what_one_gives():
    prediction, target, visible = random_faces()
    whole, first, second = (NormalizedMeanError(pair=(0, 1)) for _ in range(3))
    whole.update(prediction, target, visible)
    second.update(prediction[:7], target[:7], visible[:7])
    first.update(prediction[7:8], target[7:8], visible[7:8])
    first.update(prediction[8:], target[8:], visible[8:])
    first.merge_state(second)
    for name, value in whole.compute().items():
        torch.testing.assert_close(first.compute()[name], value, equal_nan=True)


def test_three_dimensions_and_any_scale():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 4, 3, generator=generator)
    prediction = target + 0.01 * torch.randn(3, 4, 3, generator=generator)
    visible = torch.ones(3, 4, dtype=torch.bool)
    small = NormalizedMeanError(pair=(0, 3))(prediction, target, visible)
    large = NormalizedMeanError(pair=(0, 3))(7 * prediction, 7 * target, visible)
    assert large["nme"].item() == pytest.approx(small["nme"].item(), rel=1e-4)
    assert large["mean_error"].item() == pytest.approx(7 * small["mean_error"].item(), rel=1e-4)


def test_bad_arguments():
    prediction, target, visible = random_faces(2)
    with pytest.raises(ValueError, match="failure must be positive and finite, got 0"):
        NormalizedMeanError(failure=0)
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        NormalizedMeanError(num_bootstrap=-1)
    with pytest.raises(ValueError, match=r"pair must be two of the 6 keypoints, counted from 0, got \(36, 45\)"):
        NormalizedMeanError().update(prediction, target, visible)
    with pytest.raises(ValueError, match=r"pair must be two of the 6 keypoints, .* got \(1, 1\)"):
        pair_length(target, visible, (1, 1))
    with pytest.raises(ValueError, match=r"target and visible must be .* torch\.float32 \(2, 6\)"):
        pair_length(target, visible.float(), (0, 1))
    with pytest.raises(ValueError, match="length must be given with each image, as pair is None"):
        NormalizedMeanError(pair=None).update(prediction, target, visible)
    with pytest.raises(
        ValueError, match=r"length must not be given: that of each image is the distance of its keypoints \(0, 1\)"
    ):
        NormalizedMeanError(pair=(0, 1)).update(prediction, target, visible, torch.ones(2))
    metric = NormalizedMeanError(pair=(0, 1))
    metric.update(prediction, target, visible)
    with pytest.raises(ValueError, match="preds must have 6 keypoints as before, got 5"):
        metric.update(prediction[:, :5], target[:, :5], visible[:, :5])


def test_bad_lengths():
    errors = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"length must be positive and finite, got 0\.0 \(2 of 3\)"):
        normalized_errors(errors, torch.tensor([0.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match=r"errors and length must be \(B, K\) and \(B,\), got \(3, 2\), \(2,\)"):
        normalized_errors(errors, torch.ones(2))
    with pytest.raises(ValueError, match=r"box must be \(B, 4\): .* got \(3,\)"):
        box_length(torch.ones(3))
    with pytest.raises(ValueError, match=r"positive widths and heights, got \[0\.0, 0\.0, 5\.0, 0\.0\]"):
        box_length(torch.tensor([[0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 5.0, 0.0]]))
    # Eyes in one place have no distance to divide by.
    target = torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match=r"length must be positive and finite, got 0\.0 \(1 of 1\)"):
        NormalizedMeanError(pair=(0, 1)).update(target, target, torch.ones(1, 2, dtype=torch.bool))


def test_nothing_to_measure_is_an_error():
    prediction, target, visible = random_faces(2)
    metric = NormalizedMeanError(pair=(0, 1))
    metric.update(prediction, target, torch.zeros_like(visible))
    with pytest.raises(ValueError, match="an image of known length and keypoints: none of 2"):
        metric.compute()


def test_real_faces_by_the_mean_face(shared_data):
    """The pair is that of the outer eye corners in real annotations, and the mean face a poor guess."""
    from pcsargmax.datasets.images import ImageFolder

    faces = ImageFolder(shared_data / "faces", "test")
    target = torch.from_numpy(np.array([faces[i].keypoints for i in range(0, len(faces), 4)]))
    visible = torch.ones(target.shape[:2], dtype=torch.bool)
    assert 20 < pair_length(target, visible).mean() < 60
    corners = target[:, list(OUTER_EYE_CORNERS)]
    assert (corners[:, 0, 0] < corners[:, 1, 0]).all()
    result = NormalizedMeanError(num_bootstrap=0)(target.mean(dim=0).expand_as(target), target, visible)
    assert 0.1 < result["nme"] < 0.3
