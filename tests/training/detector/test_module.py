from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics import PCK
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.runs.stages import locate, view_of
from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.detector.module import DetectorModule
from pcsargmax.transforms.frames import to_raw


def wired(settings, length_unit, *, num_keypoints, look_points=0):
    """A module with a stand-in for its trainer, a batch of four training shapes, and what the module logs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = KeypointDetector(num_keypoints, "light", look_points=look_points)
    module, logged = DetectorModule(detector, settings, length_unit, {"version": 1}), {}
    items = [prepare(item, detector.backbone) for item in open_dataset(settings, "train")]
    clouds = PreparedClouds(items, detector.backbone, dense_points=settings.dense_points)
    module.log = lambda name, value, **_: logged.update({name: value})
    module._trainer = SimpleNamespace(
        estimated_stepping_batches=10, global_step=0, global_rank=0, world_size=1, strategy=None
    )
    return module, collate([clouds[i] for i in range(4)]), logged


@pytest.fixture
def make(box_settings):
    """A module on `box`, a batch of its four first training clouds, and what it logs; keywords are settings."""

    def build(length_unit: str = "raw", **changes):
        settings = box_settings(**changes)
        return wired(settings, length_unit, num_keypoints=5)

    return build


def test_the_loss_is_the_mean_error_of_visible_keypoints_and_the_presence_loss(make):
    module, batch, logged = make(objective="soft", presence_weight=0.5)
    loss = module.training_step(batch, 0)
    module_again, _, _ = make()
    scores = module_again.train()(batch)
    expectation = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    visible = batch.clouds.keypoint_visible
    location = (expectation - batch.clouds.keypoint_pos).abs().sum(dim=-1)[visible].mean()
    assert not visible.all()
    presence = torch.nn.functional.binary_cross_entropy_with_logits(scores.presence, visible.float())
    torch.testing.assert_close(loss, location + 0.5 * presence)
    torch.testing.assert_close(logged["train/loss"], location)
    torch.testing.assert_close(logged["train/presence"], presence)


def test_the_noise_of_a_step_is_a_function_of_seed_and_step(make):
    module, batch, _ = make()
    again, _, _ = make()
    other, _, _ = make(seed=1)
    first = module.training_step(batch, 0)
    assert torch.equal(first, again.training_step(batch, 0))
    assert not torch.equal(first, other.training_step(batch, 0))
    module._trainer.global_step = 1
    assert not torch.equal(first, module.training_step(batch, 0))


def test_absent_keypoints_have_no_gradient(make):
    module, batch, _ = make(objective="soft", presence_weight=0.0)
    batch.clouds.keypoint_visible[:, 4] = False
    module.training_step(batch, 0).backward()
    last = module.detector.head[-1].weight.grad
    assert torch.equal(last[3:], torch.zeros_like(last[3:]))  # id 3 is never visible
    assert (last[:3].abs().sum(dim=1) > 0).all()


def test_a_batch_without_visible_keypoints_has_a_finite_loss(make):
    module, batch, _ = make()
    batch.clouds.keypoint_visible[:] = False
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("unit", ["raw", "diagonal"])
def test_validation_is_pck_of_the_expectation_in_its_unit(make, unit):
    module, batch, logged = make(unit)
    module.eval()
    with torch.no_grad():
        module.validation_step(batch, 0)
        scores = module(batch)
    module.on_validation_epoch_end()
    clouds = batch.clouds
    found, truth = soft_argmax(scores.logits, scores.sites, mask=scores.mask), clouds.keypoint_pos
    if unit == "raw":
        center = torch.rand(4, 3)
        found, truth = (to_raw(x, center, clouds.frame_scale).float() for x in (found, truth))
    pck = PCK(num_bootstrap=0)
    pck.update(found, truth, clouds.keypoint_visible)
    expected = pck.compute()
    torch.testing.assert_close(logged["val/mean_error"], expected["mean_error"])
    shares = [expected[f"pck@{t}"] for t in ("0.01", "0.02", "0.05")]
    torch.testing.assert_close(logged["val/pck"], torch.stack(shares).mean())
    assert not module.val_pck.flat_rows  # emptied for the next epoch
    assert not module.val_samples.samples


@pytest.mark.parametrize("unit", ["raw", "diagonal"])
def test_validation_calibrates_in_the_unit_frame(make, unit):
    module, batch, _ = make(unit)
    batch.clouds.frame_scale[:] = 3
    module.eval()
    assert module.calibration is None
    with torch.no_grad():
        module.validation_step(batch, 0)
        scores = module(batch)
    module.on_validation_epoch_end()
    maps = KeypointDistribution(scores.logits, scores.sites, scores.mask, Gaussian(batch.clouds.sigma))
    visible = batch.clouds.keypoint_visible
    error = (maps.mean - batch.clouds.keypoint_pos).norm(dim=-1)
    expected = Calibration.fit(confidence_measure(maps)[visible], maps.spread[visible], error[visible])
    assert module.calibration.num_keypoints == visible.sum() == expected.num_keypoints
    assert module.calibration.knots == pytest.approx(expected.knots)
    assert module.calibration.probabilities == pytest.approx(expected.probabilities)
    assert module.calibration.quantile == pytest.approx(expected.quantile)


def test_the_raw_mean_error_is_in_raw_units(make):
    errors = []
    for unit in ("raw", "diagonal"):
        module, batch, logged = make(unit)
        batch.clouds.frame_scale[:] = 3
        module.eval()
        with torch.no_grad():
            module.validation_step(batch, 0)
        module.on_validation_epoch_end()
        errors.append(logged["val/mean_error"])
    torch.testing.assert_close(errors[0], 3 * errors[1])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("constant", [0.01] * 6), ("halving", [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])],
)
def test_the_learning_rate_follows_its_schedule(make, schedule, rates):
    module, _, _ = make(lr=0.01, lr_schedule=schedule, lr_period=2, weight_decay=0.1)
    made = module.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    seen = []
    for _ in rates:
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if isinstance(made, dict):
            assert made["lr_scheduler"]["interval"] == "epoch"
            made["lr_scheduler"]["scheduler"].step()
    assert seen == pytest.approx(rates)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_one_cycle_peaks_at_the_rate_and_ends_near_zero(make):
    module, _, _ = make(lr=0.01, lr_schedule="onecycle")
    made = module.configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    seen = []
    for _ in range(10):
        seen.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        if len(seen) < 10:
            made["lr_scheduler"]["scheduler"].step()
    assert max(seen) == pytest.approx(0.01)
    assert seen.index(max(seen)) == 2
    assert seen[0] == pytest.approx(0.01 / 25)
    assert seen[-1] < 1e-6


@pytest.fixture
def make_look(look_settings):
    """A module of two looks on `landmark_root`, a batch of four clouds with dense points, and what it logs."""

    def build(**changes):
        settings = look_settings(val_split="none", **changes)
        return wired(settings, "diagonal", num_keypoints=3, look_points=16)

    return build


def test_both_looks_are_learnt_at_once(make_look):
    module, batch, logged = make_look(objective="soft", presence_weight=0.5)
    loss = module.training_step(batch, 0)
    torch.testing.assert_close(loss, logged["train/loss"] + 0.5 * logged["train/presence"])
    scores = module(batch)
    expectation = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    first = (expectation - batch.clouds.keypoint_pos).abs().sum(dim=-1).mean()
    torch.testing.assert_close(logged["train/loss"], first + logged["train/look"])
    assert logged["train/look"] > 0
    loss.backward()
    assert all(weight.grad is not None for weight in module.detector.second_look.parameters())


def test_the_second_look_is_trained_around_the_truth_and_the_estimate(make_look, monkeypatch):
    module, batch, _ = make_look(objective="soft", look_noise=0.0)
    centers = []
    look_again = module.detector.look_again

    def recorded(scores, center, dense, which):
        centers.append(center[:, which.argsort()])
        assert dense is batch.dense
        return look_again(scores, center, dense, which)

    monkeypatch.setattr(module.detector, "look_again", recorded)
    batch.clouds.keypoint_visible[0, 1] = False
    for step in range(8):
        module._trainer.global_step = step
        module.training_step(batch, 0)
    scores = module(batch)
    estimate = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    center, truth = torch.stack(centers), batch.clouds.keypoint_pos
    is_truth, is_estimate = (center == truth).all(dim=-1), (center - estimate).norm(dim=-1) < 1e-5
    assert (is_truth ^ is_estimate).all()
    assert 0.25 < is_truth.float().mean() < 0.75
    assert is_estimate[:, 0, 1].all()  # what is not there has no truth
    assert not center.requires_grad


def test_centers_have_the_noise_of_the_settings(make_look, monkeypatch):
    centers = []
    for noise in (0.0, 0.008):
        module, batch, _ = make_look(objective="soft", look_noise=noise)
        look_again = module.detector.look_again

        def recorded(scores, center, dense, which, look=look_again):
            centers.append(center)  # of the same keypoints in both trainings, as they have the same seed
            return look(scores, center, dense, which)

        monkeypatch.setattr(module.detector, "look_again", recorded)
        for step in range(8):
            module._trainer.global_step = step
            module.training_step(batch, 0)
    noise = torch.stack(centers[8:]) - torch.stack(centers[:8])
    assert noise.std().item() == pytest.approx(0.008, rel=0.15)


def test_a_step_looks_again_at_some_keypoints_only(make_look, monkeypatch):
    monkeypatch.setattr("pcsargmax.training.detector.module._LOOKED_AT", 2)
    module, batch, logged = make_look(objective="soft", look_noise=0.0)
    looked, look_again = [], module.detector.look_again

    def recorded(scores, center, dense, which):
        looked.append(which)
        look = look_again(scores, center, dense, which)
        logits, sites, mask = look.maps()
        error = (soft_argmax(logits, sites, mask=mask).reshape(4, 2, 3) - batch.clouds.keypoint_pos[:, which]).abs()
        expected.append(error.sum(dim=-1).mean())
        return look

    expected: list[torch.Tensor] = []
    monkeypatch.setattr(module.detector, "look_again", recorded)
    for step in range(12):
        module._trainer.global_step = step
        module.training_step(batch, 0)
        torch.testing.assert_close(logged["train/look"], expected[-1])
    assert {len(which.unique()) for which in looked} == {2}
    assert torch.cat(looked).unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("epoch", "steps", "hopeless", "warned"),
    [(3, 100, 1e-3, True), (3, 99, 1e-3, False), (2, 100, 1e-3, False), (3, 100, 9.0, False), (3, 100, None, False)],
)
def test_a_training_that_learns_nothing_says_so_once(make, monkeypatch, epoch, steps, hopeless, warned):
    module, batch, logged = make(epochs=9)
    module.hopeless_error = hopeless
    module.training_step(batch, 0)
    monkeypatch.setattr(DetectorModule, "current_epoch", epoch)
    module._trainer.global_step = steps
    with pytest.warns(UserWarning, match="this is not learning: after 4 of 9 epochs") if warned else nullcontext():
        module.on_train_epoch_end()
    scores = module(batch)
    estimate = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    error = (estimate - batch.clouds.keypoint_pos).norm(dim=-1)[batch.clouds.keypoint_visible].mean()
    torch.testing.assert_close(logged["train/mean_error"], error)


def test_absent_keypoints_have_no_part_in_the_second_loss(make_look):
    losses = []
    for place in (0.0, 9.0):
        module, batch, logged = make_look(objective="soft")
        batch.clouds.keypoint_visible[:, 1] = False
        batch.clouds.keypoint_pos[:, 1] = place
        module.training_step(batch, 0)
        losses.append(logged["train/look"])
    assert torch.equal(*losses)
    batch.clouds.keypoint_visible[:] = False
    module.training_step(batch, 0).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_validation_is_of_the_second_look(make_look):
    module, batch, logged = make_look()
    module.eval()
    with torch.no_grad():
        module.validation_step(batch, 0)
        view = view_of(module(batch), batch.clouds.sigma, batch.dense)
        first, last = locate(module.detector, [view])
    samples = module.val_samples.compute()
    module.on_validation_epoch_end()
    error = (last.mean - batch.clouds.keypoint_pos).norm(dim=-1)
    torch.testing.assert_close(logged["val/mean_error"], error.mean())
    assert (error - (first.mean - batch.clouds.keypoint_pos).norm(dim=-1)).abs().min() > 1e-6
    for column, values in ((0, -view.maps.spread), (1, view.maps.spread), (2, error)):
        torch.testing.assert_close(samples[:, column].sort().values, values.flatten().sort().values)
    assert module.calibration.measure == "spread"


def test_what_was_fitted_by_folds_is_not_taken_up_again(make_look):
    module, _, _ = make_look(folds=2)
    kept = Calibration.fit(*[torch.arange(1.0, 12)] * 3).to_dict()
    module.on_load_checkpoint({"pcsargmax": {"calibration": kept, "validation": {"mean_error": 0.1}}})
    assert (module.calibration, module.validation_error) == (None, None)


def test_a_checkpoint_holds_the_metadata(make):
    module, _, _ = make()
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {"pcsargmax": {"version": 1, "calibration": None, "validation": None}}
    module.calibration = Calibration.fit(*[torch.arange(1.0, 12)] * 3)
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["pcsargmax"]["calibration"] == module.calibration.to_dict()
    other, _, _ = make()
    other.on_load_checkpoint(checkpoint)
    assert other.calibration == module.calibration
    other.on_load_checkpoint({"pcsargmax": {"version": 1, "calibration": None, "validation": None}})
    assert other.calibration is None


def test_a_checkpoint_holds_the_errors_of_detector_and_template(make):
    module, _, _ = make()
    module.template_error, module.validation_error = 0.25, 0.125
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["pcsargmax"]["validation"] == {"mean_error": 0.125, "template_mean_error": 0.25}
    other, _, _ = make()
    other.on_load_checkpoint(checkpoint)
    assert other.validation_error == 0.125
