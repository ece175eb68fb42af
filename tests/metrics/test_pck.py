import subprocess
import sys

import numpy as np
import pytest
import torch

from pcsargmax.metrics import PCK
from pcsargmax.metrics.bootstrap import bootstrap_interval
from pcsargmax.metrics.pck import average_visible, correct, keypoint_errors, threshold_name

NAN, INF = float("nan"), float("inf")


def random_models(num_models=12, num_keypoints=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(num_models, num_keypoints, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(num_models, num_keypoints, 3, generator=generator, dtype=torch.float64)
    visible = torch.rand(num_models, num_keypoints, generator=generator) < 0.7
    visible[:, 0] = True
    return target + 0.02 * noise, target, visible


def test_errors_by_hand():
    prediction = torch.tensor([[[3.0, 4.0, 0.0], [1.0, 1.0, 1.0]]])
    target = torch.zeros(1, 2, 3)
    errors = keypoint_errors(prediction, target, torch.tensor([[True, False]]))
    assert errors[0, 0] == 5
    assert errors[0, 1].isnan()


def test_averages_by_hand():
    # Model 0 has 1 of 1 right, model 1 has 1 of 3, model 2 has nothing visible.
    errors = torch.tensor([[0.1, NAN, NAN], [0.9, 0.1, 0.9], [NAN, NAN, NAN]])
    assert average_visible(correct(errors, [0.5])).item() == pytest.approx(2 / 4)
    assert average_visible(correct(errors, [0.5]), "model").item() == pytest.approx((1 + 1 / 3) / 2)
    assert average_visible(correct(errors, [0.5]), "id").item() == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert correct(errors, [0.5]).nanmean(dim=0).T.tolist() == [[0.5, 1.0, 0.0]]
    assert average_visible(errors).item() == pytest.approx((0.1 + 0.9 + 0.1 + 0.9) / 4)


def test_a_threshold_itself_is_within_unless_strict():
    errors = torch.tensor([[0.25, 0.5]])
    assert average_visible(correct(errors, [0.25, 0.5])).tolist() == [0.5, 1.0]
    assert average_visible(correct(errors, [0.25, 0.5], strict=True)).tolist() == [0.0, 0.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_metric_keeps_an_error_equal_to_the_threshold_within(dtype):
    prediction, visible = torch.zeros(2, 3, 3, dtype=dtype), torch.ones(2, 3, dtype=torch.bool)
    prediction[..., 0] = torch.tensor([0.01, 0.02, 0.05], dtype=dtype)
    result = PCK(num_bootstrap=0)(prediction, torch.zeros_like(prediction), visible)
    assert [result[f"pck@{t}"].item() for t in ("0.01", "0.02", "0.05")] == pytest.approx([1 / 3, 2 / 3, 1])


def test_an_id_that_no_model_has_is_nan_and_left_out_of_the_mean():
    errors = torch.tensor([[0.1, NAN], [0.9, NAN]])
    assert average_visible(correct(errors, [0.5]), "id").item() == 0.5
    assert correct(errors, [0.5]).nanmean(dim=0).T[0, 1].isnan()


def test_metric_agrees_with_numpy():
    prediction, target, visible = random_models()
    metric = PCK(thresholds=(0.02, 0.04)).set_dtype(torch.float64)
    metric.update(prediction, target, visible)
    result = metric.compute()

    p, t, v = prediction.numpy(), target.numpy(), visible.numpy()
    error = np.sqrt(((p - t) ** 2).sum(-1))
    assert result["mean_error"].item() == pytest.approx(error[v].mean())
    assert result["median_error"].item() == pytest.approx(np.median(error[v]))
    assert result["pck@0.02"].item() == pytest.approx((error[v] <= 0.02).mean())
    for k in range(5):
        column = error[v[:, k], k]
        assert result["error_per_keypoint"][k].item() == pytest.approx(column.mean())
        assert result["pck_per_keypoint"][1, k].item() == pytest.approx((column <= 0.04).mean())
    assert result["num_models"] == 12
    assert result["num_keypoints"] == v.sum()


def test_pooled_pck_agrees_with_sklearn():
    metrics = pytest.importorskip("sklearn.metrics")
    prediction, target, visible = random_models(seed=4)
    errors = keypoint_errors(prediction, target, visible)
    hits = (errors[visible] <= 0.03).numpy()
    peer = metrics.accuracy_score(np.ones_like(hits), hits)
    assert average_visible(correct(errors, [0.03])).item() == pytest.approx(peer)


@pytest.mark.parametrize("average", ["pooled", "model", "id"])
def test_errors_give_what_positions_give(average):
    models = random_models()
    positions = PCK(average=average, strict=True).set_dtype(torch.float64)
    errors = PCK(average=average, strict=True).set_dtype(torch.float64)
    expected = positions(*models)
    errors.update_errors(keypoint_errors(*models)[:5])
    errors.compute()  # what is kept of it must not outlive the next update
    errors.update_errors(keypoint_errors(*models)[5:])
    for name, value in errors.compute().items():
        torch.testing.assert_close(value, expected[name], equal_nan=True)


@pytest.mark.parametrize("average", ["pooled", "model", "id"])
def test_what_is_not_reached_is_wrong_and_counted(average):
    errors = torch.tensor([[0.01, INF, NAN], [0.01, 0.03, 0.3], [0.3, NAN, 0.3]])
    metric = PCK((0.02, 0.1), average=average)
    metric.update_errors(errors)
    result = metric.compute()
    known = errors.where(~errors.isinf(), 1e3)
    assert result["pck@0.1"].item() == pytest.approx(average_visible(correct(known, (0.1,)), average).item())
    assert (result["num_unreached"], result["num_keypoints"]) == (1, 7)
    assert result["mean_error"] == INF
    assert result["mean_error/low"].isnan()
    assert result["pck@0.1/low"].isfinite()
    assert result["median_error"].item() == pytest.approx(0.3)
    assert result["error_per_keypoint"].tolist() == pytest.approx([0.32 / 3, INF, 0.3])


def test_a_median_between_the_last_and_infinity_is_infinite():
    metric = PCK(num_bootstrap=0)
    metric.update_errors(torch.tensor([[0.1, INF]]))
    assert metric.compute()["median_error"] == INF
    metric.update_errors(torch.tensor([[0.3, NAN]]))
    assert metric.compute()["median_error"].item() == pytest.approx(0.3)


@pytest.mark.parametrize("average", ["pooled", "model", "id"])
def test_intervals_hold_the_figure_and_come_from_whole_models(average):
    prediction, target, visible = random_models(num_models=30)
    metric = PCK(thresholds=(0.02,), average=average).set_dtype(torch.float64)
    result = metric(prediction, target, visible)
    for name in ("pck@0.02", "mean_error"):
        assert result[f"{name}/low"] < result[name] < result[f"{name}/high"]
    if average == "pooled":
        errors = keypoint_errors(prediction, target, visible)
        low, high = bootstrap_interval(errors.nansum(dim=1), visible.sum(dim=1))
        assert result["mean_error/low"].item() == pytest.approx(low.item())
        assert result["mean_error/high"].item() == pytest.approx(high.item())


def test_interval_is_wider_when_the_keypoints_of_a_model_err_together():
    generator = torch.Generator().manual_seed(0)
    shared = torch.rand(40, 1, generator=generator).expand(40, 10)
    alone = torch.rand(40, 10, generator=generator)

    def width(error):
        prediction = torch.stack([error, torch.zeros(40, 10), torch.zeros(40, 10)], dim=-1)
        result = PCK()(prediction, torch.zeros(40, 10, 3), torch.ones(40, 10, dtype=torch.bool))
        return result["mean_error/high"] - result["mean_error/low"]

    assert width(shared) > 2 * width(alone)


def test_batches_and_their_order_do_not_matter():
    prediction, target, visible = random_models()
    whole, parts = PCK(num_bootstrap=0), PCK(num_bootstrap=0)
    whole.update(prediction, target, visible)
    for i in torch.randperm(12, generator=torch.Generator().manual_seed(0)):
        parts.update(prediction[i : i + 1], target[i : i + 1], visible[i : i + 1])
    for name, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[name], value, equal_nan=True)
    assert parts.errors.shape == (12, 5)


def test_merged_metrics_equal_one():
    prediction, target, visible = random_models()
    whole, first, second = PCK(), PCK(), PCK()
    whole.update(prediction, target, visible)
    second.update(prediction[:8], target[:8], visible[:8])
    first.update(prediction[8:], target[8:], visible[8:])
    first.merge_state(second)
    for name, value in whole.compute().items():
        torch.testing.assert_close(first.compute()[name], value, equal_nan=True)


def test_same_seed_repeats_and_zero_resamples_leave_the_intervals_out():
    models = random_models()
    first, again = PCK(seed=1)(*models), PCK(seed=1)(*models)
    assert torch.equal(first["mean_error/low"], again["mean_error/low"])
    assert not any("/" in name for name in PCK(num_bootstrap=0)(*models))


def test_one_model_has_figures_but_no_interval():
    prediction, target, visible = random_models(num_models=1)
    result = PCK()(prediction, target, visible)
    assert result["mean_error"].isfinite()
    assert result["mean_error/low"].isnan()


def test_far_from_the_origin_in_float64():
    prediction, target, visible = random_models()
    near = keypoint_errors(prediction, target, visible)
    far = keypoint_errors(prediction + 1e6, target + 1e6, visible)
    torch.testing.assert_close(far, near, equal_nan=True, atol=1e-9, rtol=0)


def test_reset_forgets_the_number_of_keypoints():
    metric = PCK()
    metric.update(*random_models(num_keypoints=5))
    metric.reset()
    metric.update(*random_models(num_keypoints=3))
    assert metric.compute()["error_per_keypoint"].shape == (3,)


def test_threshold_names_are_free_of_float_noise():
    assert [threshold_name(t) for t in (0.01, 0.1 + 0.2, 5.0)] == ["0.01", "0.3", "5"]


PROCESS = """
import datetime, sys, torch
from pcsargmax.metrics import KeypointAP
from pcsargmax.metrics import KeypointIoU
from pcsargmax.metrics import PCK
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", init_method="file://" + store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
)
target = torch.zeros(3, 2, 3)
prediction = target.clone()
prediction[..., 0] = torch.tensor([[0.1], [0.3], [0.2]])
visible = torch.tensor([[True, True], [True, False], [True, True]])
mine = slice(0, 2) if rank == 0 else slice(2, 3)
uneven, empty, iou, precision = PCK((0.25,)), PCK((0.25,)), KeypointIoU((0.25,)), KeypointAP((0.25,))
uneven.update(prediction[mine], target[mine], visible[mine])
if rank == 0:
    empty.update(prediction, target, visible)
    iou.update(prediction, target, visible)
    precision.update_errors(prediction[..., 0].where(visible, torch.nan), -prediction[..., 0])
a, b, c, d = uneven.compute(), empty.compute(), iou.compute(), precision.compute()
figures = a["mean_error"], b["mean_error"], a["pck@0.25"], b["num_models"], c["num_models"], d["map@0.25"]
print(*(f"{float(figure):.4f}" for figure in figures))
torch.distributed.destroy_process_group()
"""


def test_two_processes_give_what_one_gives_even_if_one_has_no_model(tmp_path):
    command = [sys.executable, "-c", PROCESS]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            assert output.split() == ["0.1800", "0.1800", "0.8000", "3.0000", "3.0000", "0.8333"]
    finally:
        for process in processes:
            process.kill()


def test_positions_that_are_not_finite_are_counted():
    prediction, target, visible = random_models(num_models=2, num_keypoints=2)
    visible[:] = True
    prediction[0, 0, 0], prediction[1, 1, 2] = NAN, float("inf")
    with pytest.raises(ValueError, match=r"preds must be finite where visible, .* at 2 of 4 visible"):
        PCK().update(prediction, target, visible)
    visible[0, 0] = visible[1, 1] = False
    assert keypoint_errors(prediction, target, visible).isnan().sum() == 2


@pytest.mark.parametrize(
    ("prediction", "target", "visible", "message"),
    [
        ((2, 3, 3), (2, 4, 3), (2, 3), r"both be \(B, K, D\), got \(2, 3, 3\) and \(2, 4, 3\)"),
        ((3, 3), (3, 3), (3,), r"got \(3, 3\) and \(3, 3\)"),
        ((2, 3, 3), (2, 3, 3), (3, 2), r"visible must be bool of shape \(2, 3\), got .* \(3, 2\)"),
    ],
)
def test_shapes_that_do_not_agree(prediction, target, visible, message):
    with pytest.raises(ValueError, match=message):
        keypoint_errors(torch.zeros(prediction), torch.zeros(target), torch.ones(visible, dtype=torch.bool))


def test_visible_must_be_bool():
    with pytest.raises(ValueError, match=r"visible must be bool .* got torch\.int64"):
        keypoint_errors(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.long))


@pytest.mark.parametrize(
    "thresholds",
    [(), (0.0, 0.1), (-0.1,), (0.2, 0.1), (0.1, 0.1), (NAN,), (float("inf"),), (0.1, 0.1 + 1e-9)],
)
def test_thresholds_must_be_positive_and_ascending(thresholds):
    with pytest.raises(ValueError, match="thresholds must be positive, ascending"):
        PCK(thresholds=thresholds)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match=r"average must be .* got 'micro'"):
        PCK(average="micro")
    with pytest.raises(ValueError, match=r"average must be .* got 'micro'"):
        average_visible(torch.zeros(1, 1), "micro")
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        PCK(num_bootstrap=-1)
    metric = PCK()
    metric.update(*random_models(num_keypoints=5))
    with pytest.raises(ValueError, match="must have 5 keypoints as before, got 4"):
        metric.update(*random_models(num_keypoints=4))


def test_bad_errors_are_named():
    with pytest.raises(ValueError, match=r"errors must be \(B, K\) floating, got torch\.float32 of shape \(3,\)"):
        PCK().update_errors(torch.zeros(3))
    with pytest.raises(ValueError, match=r"errors must be .* got torch\.int64"):
        PCK().update_errors(torch.zeros(3, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="errors must not be negative, got 2 that are"):
        PCK().update_errors(torch.tensor([[-1.0, NAN], [-2.0, 0.0]]))
    metric = PCK()
    metric.update_errors(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="errors must have 3 keypoints as before, got 4"):
        metric.update_errors(torch.zeros(2, 4))


def test_nothing_visible_is_an_error():
    metric = PCK()
    metric.update(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="at least one visible keypoint, got none in 2 models"):
        metric.compute()


def test_no_model_is_an_error():
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="got none in 0 models"),
    ):
        PCK().compute()
