import csv
import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from pcsargmax.metrics.correspondence import Correspondence
from pcsargmax.runs.discovery import DiscoverRun
from pcsargmax.runs.load import load_run
from pcsargmax.runs.prepare import frame_of
from pcsargmax.runs.sources import open_clouds, source_of
from pcsargmax.settings.discovery import DISCOVER_OBJECTIVES, DISCOVER_RECIPES, DiscoverSettings
from pcsargmax.training.discovery.train import discover


class Stop(Callback):
    """Raise KeyboardInterrupt in a step of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = epoch, step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def settings(box_root):
    """Make settings that discover four keypoints on `box_root` in about a second; keyword arguments change them."""

    def make(**changes) -> DiscoverSettings:
        quick = {"keypoints": 4, "epochs": 2, "batch_size": 4, "device": "cpu"}
        return DiscoverSettings(**({"data": "box", "root": str(box_root)} | quick | changes))

    return make


def checkpoint(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def log(folder: Path, name: str) -> list[float]:
    values = []
    for path in sorted((folder / "log").glob("*/metrics.csv")):
        values += [float(row[name]) for row in csv.DictReader(path.read_text().splitlines()) if row.get(name)]
    return values


def test_a_run_is_one_folder(settings, tmp_path):
    its = settings(separation=0.0)
    run = discover(its, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoints", "log", "settings.json"]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert DiscoverSettings.load(tmp_path / "run" / "settings.json") == its
    content = checkpoint(tmp_path / "run")["pcsargmax"]
    assert content["kind"] == "skeleton_merger"
    assert content["trained_on"] == [f"m{number:02d}" for number in range(12)]  # all splits
    json.dumps(content, allow_nan=False)
    assert isinstance(run, DiscoverRun)
    again = load_run(tmp_path / "run")
    assert isinstance(again, DiscoverRun)
    assert equal(run.merger.state_dict(), again.merger.state_dict())
    assert not again.merger.training
    columns = ("loss", "fidelity", "coverage", "offset_penalty", "min_distance")
    found = {name: log(tmp_path / "run", f"train/{name}") for name in columns}
    assert all(len(values) == 2 for values in found.values())
    parts = found["fidelity"][0] + found["coverage"][0] + found["offset_penalty"][0]
    assert found["loss"][0] == pytest.approx(parts, rel=1e-5)


def test_training_covers_the_shapes_better(settings, tmp_path):
    discover(settings(epochs=12, lr=1e-2, objective="soft", dropout=0.0, separation=0.0), tmp_path / "run")
    losses = log(tmp_path / "run", "train/loss")
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_the_seed_decides_everything(settings, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(weights))  # the state of the caller's generator does not matter
        discover(settings(seed=seed, dropout=0.5, rotate=30.0), tmp_path / name)
        weights.append(checkpoint(tmp_path / name)["state_dict"])
    assert equal(weights[0], weights[1])
    assert not equal(weights[0], weights[2])


def test_the_global_generators_are_left_alone(settings, tmp_path):
    torch.manual_seed(5)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    discover(settings(dropout=0.5, jitter=0.01), tmp_path / "run")
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()


CASES = {
    "light": {},
    "validated": {"train_split": "train", "val_split": "val", "lr_schedule": "onecycle"},
    "average": {"train_split": "train", "val_split": "val", "ema": 0.9},
    "adadelta": {"optimizer": "adadelta", "lr": 1.0, "objective": "soft"},
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_discovery_goes_on_exactly(settings, tmp_path, case):
    its = settings(epochs=3, dropout=0.5, rotate=20.0, **CASES[case])
    discover(its, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        discover(its, tmp_path / "cut", callbacks=[Stop(1, 1)])
    assert checkpoint(tmp_path / "cut")["epoch"] == 0
    discover(its, tmp_path / "cut", resume=True)
    whole, cut = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "cut")
    assert equal(whole["state_dict"], cut["state_dict"])
    assert whole["pcsargmax"] == cut["pcsargmax"]
    assert log(tmp_path / "whole", "train/loss") == log(tmp_path / "cut", "train/loss")
    if "val_split" in CASES[case]:
        best = [checkpoint(tmp_path / name, "best") for name in ("whole", "cut")]
        assert best[0]["epoch"] == best[1]["epoch"]
        assert equal(best[0]["state_dict"], best[1]["state_dict"])


def test_the_best_checkpoint_is_that_of_the_smallest_validation_loss(settings, tmp_path):
    run = discover(settings(epochs=4, train_split="train", val_split="val", lr=0.02), tmp_path / "run")
    losses = log(tmp_path / "run", "val/loss")
    assert len(losses) == 4
    assert checkpoint(tmp_path / "run", "best")["epoch"] == losses.index(min(losses))
    assert run.checkpoint.name == "best.ckpt"
    assert "m00" in run.trained_on
    assert "m07" in run.trained_on  # chose the checkpoint
    assert "m10" not in run.trained_on


@pytest.mark.parametrize(
    "change",
    [
        *({"objective": name} for name in DISCOVER_OBJECTIVES),
        {"num_samples": 3},
        {"relaxation": "straight_through", "sigma": 0.01},
        {"keypoints": 2},
        {"keypoints": 12},
        {"batch_size": 1},
        {"batch_size": 11},  # the last batch of an epoch is one cloud
    ],
)
def test_every_way_to_train_gives_finite_weights(settings, tmp_path, change):
    run = discover(settings(**change), tmp_path / "run")
    assert all(weight.isfinite().all() for weight in run.merger.state_dict().values())
    first, last = log(tmp_path / "run", "train/loss")
    assert 0 < last < 1.5 * first


def test_the_original_recipe_trains(settings, tmp_path):
    its = settings(**(DISCOVER_RECIPES["original"] | {"epochs": 1, "train_split": "val", "batch_size": 2}))
    run = discover(its, tmp_path / "run")
    assert (its.optimizer, its.objective, its.dropout) == ("adadelta", "soft", 0.5)
    assert all(weight.isfinite().all() for weight in run.merger.state_dict().values())


def test_keypoints_are_named_after_the_annotations_they_lie_by(settings, tmp_path, monkeypatch):
    seen = {}

    def match(predicted, target, visible, *, names):
        seen.update(predicted=predicted, target=target, visible=visible, names=names)
        return Correspondence((4, None, 0, None), ("4", None, "0", None), (0.9, 0.0, 0.8, 0.0), (0.1,) + (0.2,) * 3)

    monkeypatch.setattr("pcsargmax.training.discovery.naming.match_keypoints", match)
    run = discover(settings(), tmp_path / "run")
    assert run.keypoint_names == ("4", "kp1", "0", "kp3")
    assert load_run(tmp_path / "run").correspondence.agreement == (0.9, 0.0, 0.8, 0.0)
    assert seen["predicted"].shape == (12, 4, 3)
    assert seen["target"].shape == (12, 5, 3)
    assert (seen["visible"].sum(), seen["names"]) == (12 * 3 + 8, ["0", "1", "2", "3", "4"])
    found = run.distribution(run.dataset("all")[3])[0].mean[0]
    torch.testing.assert_close(found, seen["predicted"][3])


def test_a_folder_of_meshes_alone_is_enough(landmark_root, settings, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for path in landmark_root.glob("*.ply"):
        shutil.copy(path, scans)
    its = settings(data=str(scans), root="", num_points=80)
    run = discover(its, tmp_path / "run")
    assert (run.source, run.centered, run.unit) == ("folder", True, "diagonal")
    assert run.keypoint_names == ("kp0", "kp1", "kp2", "kp3")
    assert (run.annotations, run.correspondence) == ((), None)
    item = run.dataset("all")[0]
    position = run.predict(item).position
    assert (position > item.pos.amin(dim=0).numpy()).all()
    assert (position < item.pos.amax(dim=0).numpy()).all()
    metrics = run.evaluate("all")
    assert (metrics["num_shapes"], metrics["num_annotated"], metrics["das"], metrics["miou"]) == (10, 0, None, None)
    json.dumps(metrics, allow_nan=False)


def test_landmarks_of_a_folder_only_name(landmark_root, settings, tmp_path):
    run = discover(settings(data=str(landmark_root), root="", num_points=80), tmp_path / "run")
    assert run.annotations == ("back", "left", "right")
    assert set(run.keypoint_names) <= {"back", "left", "right", *(f"kp{k}" for k in range(4))}
    assert run.evaluate("all")["num_annotated"] == 10
    assert run.length_unit == run.predictions("all", most=1)[0].length_unit == "mm"


def test_shapenet_files_are_found_by_their_root(settings, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "train0.h5", "w") as file:
        file["data"] = np.random.default_rng(0).uniform(-1, 1, (3, 60, 3)).astype(np.float32)
        file["label"] = np.array([[35], [0], [35]])
    its = settings(data="mug", root=str(tmp_path), axes="-zyx")
    assert source_of(its) == "shapenet_h5"
    assert len(open_clouds(its, "all")) == 2
    run = discover(its, tmp_path / "run")
    assert run.correspondence is None
    moved = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    assert len(run.with_data(moved).dataset("train")) == 2


def test_the_frame_is_that_of_the_data_or_the_one_asked_for(settings, landmark_root):
    assert not frame_of(settings()).centered
    assert frame_of(settings(frame="centered")).centered
    assert frame_of(settings(data=str(landmark_root))).centered
    assert not frame_of(settings(data=str(landmark_root), frame="minmax")).centered


def test_one_shape_works_with_a_warning(settings, landmark_root, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(landmark_root / "scan0.ply", tmp_path / "one")
    with pytest.warns(UserWarning, match="holds one shape"):
        run = discover(settings(data=str(tmp_path / "one"), num_points=60), tmp_path / "run")
    assert np.isfinite(run.predict(run.dataset("all")[0]).position).all()


WRONG = {
    "keypoints must be at most the points of a cloud, 100 of m00; got 101": {"keypoints": 101},
    "share 7 shapes; train on 'train' to validate on 'val'": {"train_split": "all", "val_split": "train"},
    "teapot": {"data": "teapot"},
    "no such folder, and not the name of a category": {"data": "/nowhere/scans"},
    "split": {"train_split": "dev"},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_named_and_leaves_no_folder(settings, tmp_path, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        discover(settings(**WRONG[message]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_needs_the_same_settings_and_a_run(settings, tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        discover(settings(), tmp_path / "run", resume=True)
    discover(settings(objective="soft"), tmp_path / "run")
    with pytest.raises(ValueError, match="resume it \\(--resume\\), or choose another one"):
        discover(settings(objective="soft"), tmp_path / "run")
    with pytest.raises(ValueError, match=re.escape("lr was 0.001, now 0.002")):
        discover(settings(objective="soft", lr=0.002), tmp_path / "run", resume=True)
    assert discover(settings(objective="soft", epochs=3), tmp_path / "run", resume=True).settings.epochs == 3
