import csv
import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.runs.load import load_run
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.settings.common import OBJECTIVES
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training import loop
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.detector import folds
from pcsargmax.training.detector.held_out import fit_held_out, see_held_out
from pcsargmax.training.detector.module import DetectorModule
from pcsargmax.training.detector.train import train


class Stop(Callback):
    """Raise an exception when some epochs are over, or in the midst of one."""

    def __init__(self, epochs: int, exception: type[BaseException], steps: int = 0) -> None:
        self.epochs, self.steps, self.exception = epochs, steps, exception

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epochs, self.steps):
            raise self.exception("stop")


def checkpoint(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def equal(a: dict, b: dict) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[key], b[key]) for key in a)


def log(folder: Path, name: str) -> list[float]:
    """The values of a column of the CSV logs, in order."""
    values = []
    for path in sorted((folder / "log").glob("*/metrics.csv")):
        values += [float(row[name]) for row in csv.DictReader(path.read_text().splitlines()) if row.get(name)]
    return values


def test_a_run_is_one_folder(box_run, box_settings):
    assert sorted(path.name for path in box_run.iterdir()) == ["checkpoints", "log", "settings.json"]
    assert sorted(path.name for path in (box_run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    settings = TrainSettings.load(box_run / "settings.json")
    assert (settings.data, settings.backbone) == ("box", "light")
    content = checkpoint(box_run)["pcsargmax"]
    assert content["settings"] == settings.to_dict()
    assert content["keypoint_names"] == ["0", "1", "2", "3", "4"]
    assert (content["kind"], content["unit"]) == ("keypoint_detector", "raw")
    assert content["template"]["num_seen"] == [7, 7, 7, 0, 4]
    json.dumps(content, allow_nan=False)


def test_every_checkpoint_carries_the_calibration_of_its_own_weights(box_settings, tmp_path):
    for name, change in {"plain": {}, "average": {"ema": 0.9}}.items():
        settings = box_settings(epochs=6, lr=5e-3, lr_schedule="constant", **change)
        train(settings, tmp_path / name)
        best, last = (load_run(tmp_path / name, checkpoint=which) for which in ("best", "last"))
        for run in (best, last):
            found = {"measured": [], "spread": [], "error": []}
            for item in open_dataset(settings, "val"):
                maps, prepared = run.distribution(item)
                visible = prepared.keypoint_visible
                error = (maps.mean - prepared.keypoint_pos).norm(dim=-1)
                for key, values in zip(found, (confidence_measure(maps), maps.spread, error), strict=True):
                    found[key].append(values[visible])
            again = Calibration.fit(**{key: torch.cat(values) for key, values in found.items()})
            assert run.calibration.num_keypoints == again.num_keypoints > 5
            assert run.calibration.probabilities == pytest.approx(again.probabilities)
            assert run.calibration.knots == pytest.approx(again.knots, abs=1e-4)
            assert (run.calibration.quantile, again.quantile) == (None, None)  # too few keypoints for a radius


def test_the_loss_falls(box_run):
    losses = log(box_run, "train/loss")
    assert len(losses) == TrainSettings.load(box_run / "settings.json").epochs
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_the_best_checkpoint_is_that_of_the_best_validation(box_run):
    scores = log(box_run, "val/score")
    best, last = checkpoint(box_run, "best"), checkpoint(box_run)
    assert best["epoch"] == scores.index(max(scores))
    assert last["epoch"] == len(scores) - 1
    assert load_run(box_run).checkpoint.name == "best.ckpt"


def test_the_seed_decides_everything(box_settings, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(weights))  # the state of the caller's generator does not matter
        train(box_settings(seed=seed), tmp_path / name)
        weights.append(checkpoint(tmp_path / name)["state_dict"])
    assert equal(weights[0], weights[1])
    assert not equal(weights[0], weights[2])


def test_the_global_generators_are_left_alone(box_settings, tmp_path):
    import random

    import numpy as np

    torch.manual_seed(5)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    train(box_settings(drop_points=0.1, mirror="x"), tmp_path / "run")
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()


CASES = {
    "halving": {"lr_schedule": "halving", "lr_period": 1},
    "onecycle": {"lr_schedule": "onecycle"},
    "average": {"ema": 0.9, "lr_schedule": "constant"},
    "no validation": {"val_split": "none", "lr_schedule": "halving", "lr_period": 1},
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_goes_on_exactly(box_settings, tmp_path, case):
    settings = box_settings(epochs=4, drop_points=0.1, **CASES[case])
    train(settings, tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "cut", callbacks=[Stop(2, KeyboardInterrupt, steps=1)])
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint(tmp_path / "cut")["epoch"] == 1
    train(settings, tmp_path / "cut", resume=True)
    whole, cut = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "cut")
    assert equal(whole["state_dict"], cut["state_dict"])
    assert whole["lr_schedulers"] == cut["lr_schedulers"]
    assert (whole["epoch"], whole["global_step"]) == (cut["epoch"], cut["global_step"]) == (3, 8)
    for name in ("train/loss", "val/mean_error"):
        assert log(tmp_path / "whole", name) == log(tmp_path / "cut", name)
    if case != "no validation":
        best = [checkpoint(tmp_path / name, "best") for name in ("whole", "cut")]
        assert best[0]["epoch"] == best[1]["epoch"]
        assert best[0]["pcsargmax"] == best[1]["pcsargmax"]
        assert equal(best[0]["state_dict"], best[1]["state_dict"])


def test_more_epochs_go_on_from_where_training_ended(box_settings, tmp_path):
    # At a constant rate and temperature nothing depends on the number of epochs, so this is exact as well.
    settings = box_settings(lr_schedule="constant", temperature_schedule="constant")
    train(replace(settings, epochs=3), tmp_path / "whole")
    train(replace(settings, epochs=1), tmp_path / "longer")
    train(replace(settings, epochs=3), tmp_path / "longer", resume=True)
    assert equal(checkpoint(tmp_path / "whole")["state_dict"], checkpoint(tmp_path / "longer")["state_dict"])
    assert TrainSettings.load(tmp_path / "longer" / "settings.json").epochs == 3


def test_resuming_a_finished_run_changes_nothing(box_run, tmp_path):
    folder = shutil.copytree(box_run, tmp_path / "run")
    before = checkpoint(folder)
    assert before["pcsargmax"]["calibration"] is not None
    train(TrainSettings.load(folder / "settings.json"), folder, resume=True)
    assert equal(before["state_dict"], checkpoint(folder)["state_dict"])
    assert before["pcsargmax"] == checkpoint(folder)["pcsargmax"]


def test_a_run_folder_that_was_moved_still_knows_its_best(box_settings, tmp_path):
    settings = box_settings(epochs=3, lr_schedule="constant", temperature_schedule="constant")
    train(replace(settings, epochs=2), tmp_path / "first")
    before = max(log(tmp_path / "first", "val/score"))
    (tmp_path / "first").rename(tmp_path / "second")
    train(settings, tmp_path / "second", resume=True)
    callbacks = checkpoint(tmp_path / "second")["callbacks"]
    (state,) = [state for state in callbacks.values() if state.get("monitor") == "val/score"]
    assert state["best_model_path"] == str(tmp_path / "second" / "checkpoints" / "best.ckpt")
    assert float(state["best_model_score"]) >= before - 1e-12
    assert not (tmp_path / "first").exists()


def test_resuming_with_other_settings_is_an_error(box_run):
    settings = TrainSettings.load(box_run / "settings.json")
    with pytest.raises(ValueError, match=re.escape("lr was 0.005, now 0.1, seed was 0, now 3")):
        train(replace(settings, lr=0.1, seed=3, patience=2), box_run, resume=True)


def test_a_one_cycle_rate_is_made_for_its_length(box_settings, tmp_path):
    settings = box_settings(epochs=1, lr_schedule="onecycle")
    train(settings, tmp_path / "run")
    with pytest.raises(ValueError, match="cannot resume with other settings: epochs was 1, now 2"):
        train(replace(settings, epochs=2), tmp_path / "run", resume=True)


def test_an_existing_folder_is_refused(box_run, box_settings):
    with pytest.raises(ValueError, match=re.escape(f"{box_run}: the run folder exists; resume it")):
        train(box_settings(), box_run)


def test_there_must_be_something_to_resume(box_settings, tmp_path):
    with pytest.raises(ValueError, match=r"nothing to resume, no checkpoints/last\.ckpt in it"):
        train(box_settings(), tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_training_stops_early_where_asked(box_settings, tmp_path, monkeypatch):
    scores = iter([0.1, 0.2, 0.15, 0.2, 0.3])
    monkeypatch.setattr(
        DetectorModule, "on_validation_epoch_end", lambda self: self.log("val/score", torch.tensor(next(scores)))
    )
    train(box_settings(epochs=9, patience=2), tmp_path / "run")
    assert checkpoint(tmp_path / "run")["epoch"] == 3  # 0.2 in epoch 1, then two epochs without a better one
    assert checkpoint(tmp_path / "run", "best")["epoch"] == 1


def test_validation_on_shapes_that_were_trained_on_is_refused(box_settings, tmp_path):
    with pytest.raises(ValueError, match="val_split 'val' and train_split 'trainval' share 2 shapes"):
        train(box_settings(train_split="trainval"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_was_there_before_a_failure_stays(box_settings, tmp_path):
    class Failing(Callback):
        def on_train_start(self, trainer, pl_module):
            raise RuntimeError("power cut")

    (tmp_path / "run").mkdir()
    with pytest.raises(RuntimeError, match="power cut"):
        train(box_settings(), tmp_path / "run", callbacks=[Failing()])
    assert list((tmp_path / "run").iterdir()) == []


def test_an_annealed_training_cannot_be_made_longer(box_run):
    settings = TrainSettings.load(box_run / "settings.json")
    with pytest.raises(ValueError, match="epochs was"):
        train(replace(settings, epochs=settings.epochs + 1), box_run, resume=True)


def test_without_validation_the_last_checkpoint_is_taken(box_settings, tmp_path):
    run = train(box_settings(val_split="none", train_split="trainval"), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert run.checkpoint.name == "last.ckpt"
    assert run.template.num_seen.tolist() == [9, 9, 9, 0, 6]
    assert run.calibration is None
    assert not log(tmp_path / "run", "val/pck")


def test_the_moving_average_is_what_is_kept(box_settings, tmp_path):
    run = train(box_settings(ema=0.9), tmp_path / "run")
    content = checkpoint(tmp_path / "run")
    name = "detector.head.2.bias"
    assert not torch.equal(content["state_dict"][name], content["current_model_state"][name])
    weights = checkpoint(tmp_path / "run", "best")["state_dict"]
    assert torch.equal(run.detector.head[2].bias, weights[name])


def test_one_look_has_neither_a_second_one_nor_a_prior(box_run):
    content = checkpoint(box_run)
    assert not [name for name in content["state_dict"] if "second_look" in name or "template_start" in name]
    assert "prior_use" not in content["pcsargmax"]
    run = load_run(box_run)
    assert (run.prior_use, run.detector.second_look, run.detector.template_start) == (None, None, None)


def test_two_looks_are_trained_and_fitted_to_the_validation_split(look_settings, tmp_path):
    settings = look_settings(shares=(4, 4, 2), shape_prior="auto", template_start=True, warp=0.02, ema=0.5)
    run = train(settings, tmp_path / "run")
    assert log(tmp_path / "run", "train/look")[0] > 0
    training, validation = (open_dataset(settings, split) for split in ("train", "val"))
    prepared = [[prepare(item, run.detector.backbone) for item in data] for data in (training, validation)]
    clouds = PreparedClouds(prepared[1], run.detector.backbone, dense_points=settings.dense_points)
    held = list(see_held_out(run.detector, settings, clouds, run.template, "diagonal"))
    others = [torch.cat([item[name] for item, _ in prepared[0]]) for name in ("keypoint_pos", "keypoint_visible")]
    expected = fit_held_out(held, (others[0], others[1]), use_prior=True)
    assert len(held) == 4
    assert run.calibration == expected.calibration
    assert run.validation.mean_error == pytest.approx(expected.mean_error)
    assert run.validation.template_mean_error == pytest.approx(expected.template_mean_error)
    assert (run.prior_use is None) == (expected.use is None)
    assert run.checkpoint.name == "best.ckpt"
    assert load_run(tmp_path / "run", checkpoint="last").prior_use is None
    if run.prior_use is not None:
        assert run.prior_use.to_dict() == expected.use.to_dict()
    assert run.predict(validation[0]).stages[0] == "map"


def test_resuming_a_run_with_a_prior_fits_it_again(look_settings, tmp_path):
    settings = look_settings(shares=(4, 4, 2), shape_prior="auto", epochs=2)
    whole = train(settings, tmp_path / "whole")
    with pytest.raises(OSError, match="stop"):
        train(settings, tmp_path / "cut", callbacks=[Stop(1, OSError)])
    cut = train(settings, tmp_path / "cut", resume=True)
    assert cut.calibration == whole.calibration
    assert cut.validation == whole.validation
    contents = [checkpoint(run.folder, "best")["pcsargmax"]["prior_use"] for run in (cut, whole)]
    assert contents[0] == contents[1]


def test_two_shapes_are_two_folds_and_one_is_none(look_settings, landmark_root, tmp_path, monkeypatch):
    monkeypatch.setattr(folds.os, "cpu_count", lambda: 1)
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(2):
        for suffix in (".ply", ".mrk.json"):
            shutil.copy(landmark_root / f"scan{number}{suffix}", scans)
    settings = look_settings(
        data=str(scans), folds=3, shape_prior="auto", train_split="all", val_split="none", template_start=True
    )
    run = train(settings, tmp_path / "runs" / "two")
    assert run.prior_use is None  # too few to tell
    assert run.calibration.num_keypoints == 6
    (scans / "scan1.mrk.json").unlink()
    (scans / "scan1.ply").unlink()
    with pytest.raises(
        ValueError, match=r"folds 3: the split 'all' of .* has 1 shape, expected at least 2, as nothing"
    ):
        train(settings, tmp_path / "runs" / "one")
    assert not (tmp_path / "runs" / "one").exists()
    run = train(replace(settings, folds=0), tmp_path / "runs" / "one")
    assert (run.prior_use, run.calibration, run.validation) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "bag"}, "category 'bag' is not annotated in"),
        ({"root": "/no/such/folder"}, "/no/such/folder"),
        ({"train_split": "half"}, "split must be"),
        ({"val_split": "half"}, "split must be"),
        ({"ids": (7,)}, "ids must be distinct semantic ids of box, 0 to 4"),
        ({"backbone": "dgcnn"}, "backbone 'dgcnn': choose from fine, light, ssg, msg"),
        ({"mirror": "y"}, "axis 'y': the mean keypoints are not symmetric"),
        ({"precision": "64-bits"}, "64-bits"),
        ({"ids": (3,), "val_split": "none"}, "none of the keypoints is on any cloud of the split 'train'"),
        ({"ids": (4,), "val_split": "one.txt"}, "none of the keypoints is on any cloud of the split"),
    ],
)
def test_a_mistake_leaves_no_folder(box_settings, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("00000001-m09\n")
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        train(box_settings(**change), tmp_path / "runs" / "run")
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_named(box_settings, tmp_path):
    with pytest.raises(ValueError, match="device 'cuda', devices 1: "):
        train(box_settings(device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_broken_data_leave_no_folder(box_settings, box_root, tmp_path):
    root = shutil.copytree(box_root, tmp_path / "data")
    broken = root / "pcds" / "00000001" / "m01.pcd"
    broken.write_text(broken.read_text()[:-200])
    with pytest.raises(ValueError, match=re.escape(str(broken))):
        train(box_settings(root=str(root)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("exception", [KeyboardInterrupt, OSError])
def test_an_end_before_the_first_checkpoint_leaves_no_folder(box_settings, tmp_path, exception):
    with pytest.raises(exception):
        train(box_settings(), tmp_path / "run", callbacks=[Stop(0, exception, steps=1)])
    assert not (tmp_path / "run").exists()


def test_a_failure_later_on_leaves_something_to_resume(box_settings, tmp_path):
    with pytest.raises(OSError, match="stop"):
        train(box_settings(), tmp_path / "run", callbacks=[Stop(1, OSError)])
    assert checkpoint(tmp_path / "run")["epoch"] == 0
    assert train(box_settings(), tmp_path / "run", resume=True).settings.epochs == 2


def test_tensorboard_without_its_extra_is_a_clear_error(box_settings, tmp_path, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("Neither `tensorboard` nor `tensorboardX` is available.")

    monkeypatch.setattr(loop, "TensorBoardLogger", missing)
    with pytest.raises(ValueError, match=re.escape("pip install 'pcsargmax[tensorboard]'")):
        train(box_settings(tensorboard=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_logs_are_written_by_request(box_settings, tmp_path):
    pytest.importorskip("tensorboard")
    train(box_settings(tensorboard=True), tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").rglob("events.*"))


def test_mixed_precision_trains(box_settings, tmp_path):
    run = train(box_settings(precision="bf16-mixed"), tmp_path / "run")
    assert all(weight.dtype == torch.float32 for weight in run.detector.parameters())
    assert all(weight.isfinite().all() for weight in run.detector.parameters())
    assert log(tmp_path / "run", "train/loss") != []


@pytest.mark.parametrize(
    "change",
    [*({"objective": name} for name in OBJECTIVES), {"objective": "closed_form", "distance": "l2"}, {"sigma": 0.01}],
)
def test_every_objective_trains(box_settings, tmp_path, change):
    train(box_settings(**change), tmp_path / "run")
    first, last = log(tmp_path / "run", "train/loss")
    assert 0 < last < 2 * first


def test_a_folder_of_landmarks_trains_in_its_own_units(landmark_root, box_settings, tmp_path):
    settings = box_settings(data=str(landmark_root), num_points=100, mirror="none", root="")
    run = train(settings, tmp_path / "run")
    assert run.unit == "diagonal"
    assert run.keypoint_names == ("back", "left", "right")
    item = open_dataset(settings, "test")[0]
    low, high = item.pos.amin(dim=0).numpy(), item.pos.amax(dim=0).numpy()
    position = run.predict(item).position
    assert ((position > low) & (position < high)).all()
    assert (high - low).max() > 30  # millimetres
    assert run.length_unit == run.predict(item).length_unit == "mm"  # as 3D Slicer's files are
    assert run.predict_file(landmark_root / "scan0.ply").length_unit == "mm"
    lengths, found = run.evaluate("test")["lengths"], run.predictions("test")
    assert lengths["unit"] == "mm"
    assert lengths["expectation"]["mean_error"] == pytest.approx(sum(one.mean_error(0) for one in found) / len(found))


def test_progress_says_what_is_done(box_settings, tmp_path):
    seen = []
    train(box_settings(epochs=1), tmp_path / "run", progress=lambda *now: seen.append(now))
    assert ("preparing training clouds", 7, 7) in seen
    assert ("preparing validation clouds", 2, 2) in seen
