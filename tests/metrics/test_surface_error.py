import numpy as np
import pytest
import torch

from pcsargmax.metrics import SurfaceError
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.surface_error import surface_errors

NAN = float("nan")


def random_slices(num=12, surfaces=3, width=20, seed=0, unknown=0.2):
    generator = torch.Generator().manual_seed(seed)
    target = 60 * torch.rand(num, surfaces, width, generator=generator, dtype=torch.float64)
    prediction = target + 1 + 2 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    target[torch.rand(target.shape, generator=generator) < unknown] = NAN
    return prediction, target, torch.arange(num) // 4


def test_by_hand():
    # Subject 5 has two slices, subject 2 one. Surface 0: sizes 1, 1, 3, unknown and 2, 2; surface 1: 0 0 0 0 and 4 4.
    target = torch.zeros(3, 2, 2)
    target[1, 0, 1] = NAN
    error = torch.tensor([[[1.0, -1.0], [0.0, 0.0]], [[3.0, 9.0], [0.0, 0.0]], [[2.0, 2.0], [-4.0, -4.0]]])
    result = SurfaceError(scale=2)(target.nan_to_num(0) + error, target, torch.tensor([5, 5, 2]))
    first, second = 2 * np.array([5 / 3, 2]), 2 * np.array([0, 4])  # by subject
    assert result["mad_per_surface"].tolist() == pytest.approx([first.mean(), second.mean()])
    assert result["std_per_surface"].tolist() == pytest.approx([first.std(ddof=1), second.std(ddof=1)])
    assert result["mad"].item() == pytest.approx((first.mean() + second.mean()) / 2)
    assert result["std"].item() == pytest.approx(((first + second) / 2).std(ddof=1))
    assert result["bias_per_surface"].tolist() == pytest.approx([2 * (1 + 2) / 2, -4])
    assert result["rmse_per_surface"].tolist() == pytest.approx([np.sqrt(11 / 3) + 2, 4])
    assert (result["num_subjects"], result["num_slices"], result["num_columns"]) == (2, 3, 11)


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_metric_agrees_with_plain_loops(unknown):
    prediction, target, subjects = random_slices(unknown=unknown)
    metric = SurfaceError().set_dtype(torch.float64)
    metric.update(prediction, target, subjects)
    result = metric.compute()
    p, t = prediction.numpy(), target.numpy()
    table = np.zeros((3, 3))
    for subject in range(3):
        for surface in range(3):
            errors = [
                abs(p[i, surface, x] - t[i, surface, x])
                for i in range(12)
                for x in range(20)
                if subjects[i] == subject and not np.isnan(t[i, surface, x])
            ]
            table[subject, surface] = np.mean(errors)
    assert result["mad_per_surface"].tolist() == pytest.approx(table.mean(0))
    assert result["mad"].item() == pytest.approx(table.mean())
    assert result["std_per_surface"].tolist() == pytest.approx(table.std(0, ddof=1))
    assert result["std"].item() == pytest.approx(table.mean(1).std(ddof=1))
    low, high = bootstrap_interval(torch.from_numpy(table.mean(1)))
    assert (result["mad/low"].item(), result["mad/high"].item()) == pytest.approx((low.item(), high.item()))
    assert result["mad/low"] < result["mad"] < result["mad/high"]


def test_without_subjects_each_slice_is_one():
    prediction, target, _ = random_slices()
    alone = SurfaceError()(prediction, target)
    numbered = SurfaceError()(prediction, target, torch.arange(12))
    for name, value in alone.items():
        torch.testing.assert_close(numbered[name], value)
    assert alone["num_subjects"] == 12


def test_batches_of_unequal_width_and_merged_metrics():
    prediction, target, subjects = random_slices()
    whole, first, second = (SurfaceError().set_dtype(torch.float64) for _ in range(3))
    whole.update(prediction, target, subjects)
    for part in (slice(0, 3), slice(3, 12)):  # a subject is in two batches
        first.update(prediction[part, :, :7], target[part, :, :7], subjects[part])
        second.update(prediction[part, :, 7:], target[part, :, 7:], subjects[part])
    first.merge_state(second)
    merged, expected = first.compute(), whole.compute()
    assert merged.pop("num_slices") == 2 * expected.pop("num_slices")
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value)
    whole.flat_rows, whole.subjects = torch.cat(whole.flat_rows), torch.cat(whole.subjects)  # as gathered
    whole._computed = None
    assert whole.compute()["num_subjects"] == 3


def test_unknown_surfaces_and_subjects():
    prediction, target, subjects = random_slices()
    target[:, 1] = NAN  # nowhere known
    target[8:] = NAN  # a subject of whom nothing is known
    target[0:4, 2] = NAN  # known of one subject alone
    result = SurfaceError()(prediction, target, subjects)
    assert (result["num_subjects"], result["num_slices"]) == (2, 12)
    assert result["mad_per_surface"].isnan().tolist() == [False, True, False]
    assert result["std_per_surface"].isnan().tolist() == [False, True, True]
    assert result["mad"].isfinite()
    assert result["mad/low"].isfinite()
    kept = SurfaceError()(prediction[4:8, 2:], target[4:8, 2:], subjects[4:8])
    assert result["mad_per_surface"][2] == kept["mad"]


def test_one_subject_has_no_deviation():
    prediction, target, _ = random_slices(num=3)
    result = SurfaceError()(prediction, target, torch.zeros(3, dtype=torch.long))
    assert result["mad"].isfinite()
    assert result["std"].isnan()
    assert result["mad/low"].isnan()
    assert "mad/low" not in SurfaceError(num_bootstrap=0)(prediction, target)


def test_errors_are_signed():
    errors = surface_errors(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[2.0, 2.0, NAN]]]))
    assert errors[0, 0, :2].tolist() == [-1, 0]
    assert errors[0, 0, 2].isnan()
    # What stands where nothing is known does not matter.
    assert surface_errors(torch.full((1, 1, 1), NAN), torch.full((1, 1, 1), NAN)).isnan().all()


def test_bad_arguments():
    prediction, target, _ = random_slices(num=2)
    with pytest.raises(ValueError, match=r"both be \(B, S, W\), got \(2, 3, 20\) and \(2, 3, 19\)"):
        surface_errors(prediction, target[..., 1:])
    with pytest.raises(ValueError, match=r"both be \(B, S, W\), got \(3, 20\)"):
        surface_errors(prediction[0], target[0])
    broken = prediction.clone()
    broken[~target.isnan()] = NAN
    with pytest.raises(ValueError, match=r"preds must be finite where target is known, got NaN .* at (\d+) of \1"):
        surface_errors(broken, target)
    with pytest.raises(ValueError, match="target must not be infinite, got 1 rows"):
        surface_errors(prediction[:1, :1, :1], torch.full((1, 1, 1), float("inf")))
    with pytest.raises(ValueError, match="scale must be positive and finite, got -1"):
        SurfaceError(scale=-1)
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        SurfaceError(num_bootstrap=-1)
    metric = SurfaceError()
    metric.update(prediction, target)
    with pytest.raises(ValueError, match="preds must have 3 surfaces as before, got 2"):
        metric.update(prediction[:, :2], target[:, :2])
    for subjects in (torch.tensor([0.0, 1.0]), torch.tensor([0]), torch.tensor([0, -1])):
        with pytest.raises(ValueError, match=r"subjects must be \(2,\) whole numbers, not negative, got"):
            metric.update(prediction, target, subjects)


def test_nothing_known_is_an_error():
    metric = SurfaceError()
    metric.update(torch.zeros(2, 1, 4), torch.full((2, 1, 4), NAN))
    with pytest.raises(ValueError, match="at least one known row, got none in 2 slices"):
        metric.compute()
