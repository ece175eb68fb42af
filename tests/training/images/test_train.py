import json
import warnings

import pytest
import torch

from pcsargmax.runs.images import ImageRun
from pcsargmax.runs.load import load_run
from pcsargmax.runs.surfaces import SurfaceRun
from pcsargmax.settings.images import ImageSettings
from pcsargmax.training.images.train import train_images


def weights(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_training_leaves_a_run_folder(dot_run, dot_settings):
    assert ImageSettings.load(dot_run / "settings.json") == dot_settings()
    assert sorted(file.name for file in (dot_run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    kept = torch.load(dot_run / "checkpoints" / "best.ckpt", weights_only=True)["pcsargmax"]
    assert kept["kind"] == "image_keypoints"
    assert kept["keypoint_names"] == ["left_eye", "right_eye", "nose"]
    assert (kept["flip_pairs"], kept["can_flip"]) == ([[0, 1]], True)
    assert len(kept["trained_on"]) + len(kept["chosen_by"]) == 12
    assert json.dumps(kept)
    (log,) = (dot_run / "log").glob("*/metrics.csv")
    header = log.read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/error", "val/pck@1"} <= set(header)
    assert isinstance(load_run(dot_run), ImageRun)


@pytest.mark.parametrize("kind", ["dots", "slices"])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(kind, dot_settings, few_slices, tmp_path):
    if kind == "dots":
        settings = dot_settings(epochs=2, ema=0.9, lr_steps=(1,), temperature_schedule="published")
    else:
        quick = {"size": (32, 64), "channels": (4, 8), "batch_size": 4, "num_samples": 1}
        settings = ImageSettings(
            data="slices", epochs=2, device="cpu", lr_steps=(1,), temperature_schedule="published", **quick
        )
    train_images(settings, tmp_path / "whole")
    stopped = tmp_path / "stopped"
    train_images(type(settings).from_dict(settings.to_dict() | {"epochs": 1}), stopped)
    halfway = weights(stopped)
    train_images(settings, stopped, resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(stopped)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(not torch.equal(whole[name], halfway[name]) for name in whole)


def test_other_seeds_begin_and_end_elsewhere(dot_run, dot_settings, tmp_path):
    train_images(dot_settings(), tmp_path / "again")
    train_images(dot_settings(seed=1), tmp_path / "other")
    first, again, other = weights(dot_run), weights(tmp_path / "again"), weights(tmp_path / "other")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.scores.weight"], other["network.scores.weight"])


def test_without_validation_the_last_weights_stay(dot_settings, tmp_path):
    run = train_images(dot_settings(epochs=1, val_split="none", train_split="trainval"), tmp_path / "run")
    assert run.checkpoint.name == "last.ckpt"
    assert len(run.trained_on) == 12


def test_processes_that_read_images_change_nothing(dot_run, dot_settings, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is multi-threaded, use of fork.*")
        train_images(dot_settings(workers=1), tmp_path / "run")
    first, again = weights(dot_run), weights(tmp_path / "run")
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_keypoints_with_depth_are_trained(tmp_path, monkeypatch):
    from pcsargmax.datasets.images import ProceduralFigures

    monkeypatch.setattr(ProceduralFigures, "default_items", {"train": 4, "val": 2, "test": 2})
    quick = {"epochs": 1, "size": (64, 64), "trunk": "tiny", "deconv_channels": 8, "batch_size": 2, "num_samples": 1}
    settings = ImageSettings(data="figures3d", depth_bins=8, device="cpu", lr_steps=(), **quick)
    run = train_images(settings, tmp_path / "run")
    found = run.evaluate()
    assert found["joints"]["num_poses"] == 2
    assert found["joints"]["mpjpe"] > 0
    assert run.predictions("test")[0].covariance.shape == (15, 3, 3)


def test_slices_are_trained(slice_run):
    assert isinstance(load_run(slice_run), SurfaceRun)
    assert (slice_run / "checkpoints" / "best.ckpt").is_file()


def test_splits_that_share_images_are_an_error_and_leave_nothing(dot_settings, tmp_path):
    with pytest.raises(ValueError, match=r"val_split 'val' and train_split 'trainval' share \d images"):
        train_images(dot_settings(train_split="trainval"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_tells_that_splits_are_opened(dot_settings, tmp_path):
    told = []
    settings = dot_settings(train_split="trainval")
    with pytest.raises(ValueError, match="share"):
        train_images(settings, tmp_path / "run", progress=lambda *step: told.append(step))
    assert told == [("opening splits", 1, 2), ("opening splits", 2, 2)]


def test_an_image_that_is_gone_is_named_and_leaves_no_run(dot_root, dot_settings, tmp_path):
    import shutil

    copy = shutil.copytree(dot_root, tmp_path / "dots")
    (copy / "image03.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"image03\.png"):
        train_images(dot_settings(data=str(copy), train_split="all", val_split="none"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
