import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.training.clouds import PreparedClouds
from pcsargmax.training.detector import folds
from pcsargmax.training.detector.folds import see_by_folds
from pcsargmax.training.detector.train import train


@pytest.fixture
def one_core(monkeypatch):
    monkeypatch.setattr(folds.os, "cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def items(look_settings, tmp_path_factory):
    """The ten scans, prepared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCSARGMAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        data = open_dataset(look_settings(), "all")
    with torch.random.fork_rng(devices=[]):
        backbone = KeypointDetector(3, "light").backbone
    return [prepare(item, backbone) for item in data]


def training_of(items) -> PreparedClouds:
    return PreparedClouds(items, None)


@pytest.fixture
def trained(one_core, monkeypatch):
    """The trainings of folds, which only mark their detectors with their number: (settings, names, module) of each."""
    kept = []

    def fit(self, module, training, validation):
        assert validation is None
        torch.nn.init.constant_(module.detector.head[-1].bias, len(kept))
        kept.append((self.settings, [item.model_id for item, _ in training.items], training, module))

    monkeypatch.setattr(folds.Loop, "fit", fit)
    return kept


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_every_shape_is_held_out_once_by_a_detector_that_does_not_know_it(
    trained, items, look_settings, tmp_path, count
):
    settings = look_settings(folds=count, val_split="none", template_start=True)
    told = []
    held = see_by_folds(settings, training_of(items), "diagonal", tmp_path, lambda *progress: told.append(progress))
    used = min(count, 10)
    assert told == [(done, used) for done in range(1, used + 1)]
    names = {tuple(item.keypoint_pos.flatten().tolist()): item.model_id for item, _ in items}
    seen = [names[tuple(one.truth.flatten().tolist())] for one in held]
    assert sorted(seen) == sorted(names.values())
    for one, name in zip(held, seen, strict=True):
        number = int(one.detector.head[-1].bias[0])
        known = trained[number][1]
        assert name not in known
        assert len(known) in (10 - -(-10 // used), 10 - 10 // used)
        template = Template.fit(item for item, _ in items if item.model_id in known)
        item = next(item for item, _ in items if item.model_id == name)
        torch.testing.assert_close(one.template, template.predict(item.pos))
        torch.testing.assert_close(one.detector.template_start.relative, template.relative.float())
    assert list(tmp_path.iterdir()) == []


def test_folds_are_trainings_of_their_own(trained, items, look_settings, tmp_path):
    settings = look_settings(
        folds=2, val_split="none", epochs=9, shape_prior="auto", devices=4, nodes=2, tensorboard=True, mirror="x"
    )
    see_by_folds(settings, training_of(items), "diagonal", tmp_path, lambda *_: None)
    for own, _, training, _ in trained:
        alone = {"folds": 0, "shape_prior": "none", "devices": 1, "nodes": 1, "tensorboard": False}
        assert own == replace(settings, **alone)
        assert (training.seed, training.dense_points) == (settings.seed, settings.dense_points)
        assert len(training.augment.transforms) > 3
    weights = [module.detector.state_dict() for *_, module in trained]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] if "head.2.bias" not in name)


def test_other_samples_go_with_their_shapes(trained, items, look_settings, tmp_path):
    training = training_of(items)
    training.resampled = [[item, item] for item in items]
    see_by_folds(look_settings(folds=2, val_split="none"), training, "diagonal", tmp_path, lambda *_: None)
    for _, names, own, _ in trained:
        assert [item.model_id for item, _ in own.items] == names
        assert [[item.model_id for item, _ in samples] for samples in own.resampled] == [[name] * 2 for name in names]


def test_the_order_of_folds_follows_the_seed(trained, items, look_settings, tmp_path):
    parts = []
    for seed in (0, 0, 1):
        trained.clear()
        settings = look_settings(folds=2, val_split="none", seed=seed)
        see_by_folds(settings, training_of(items), "diagonal", tmp_path, lambda *_: None)
        parts.append([names for _, names, *_ in trained])
    assert parts[0] == parts[1] != parts[2]


def test_a_mirror_of_all_shapes_is_one_of_each_fold(trained, items, look_settings, tmp_path):
    """Though of some folds it would be none, as the mean keypoints of a few shapes need not be symmetric."""
    settings = look_settings(folds=10, val_split="none", mirror="x")
    changed = [(item.clone(), neighborhoods) for item, neighborhoods in items]
    for number, (item, _) in enumerate(changed):
        item.keypoint_visible[:] = number == 3
        item.keypoint_pos[:] = item.keypoint_pos if number == 3 else 0
    see_by_folds(settings, training_of(changed), "diagonal", tmp_path, lambda *_: None)
    assert {tuple(one[2].augment.transforms[0].pairs.tolist()) for one in trained} == {(0, 2, 1)}


def test_a_fold_that_fails_leaves_nothing(one_core, items, look_settings, tmp_path, monkeypatch):
    def fit(self, *_):
        (self.folder / "checkpoints").mkdir(parents=True)
        raise OSError("disk full")

    monkeypatch.setattr(folds.Loop, "fit", fit)
    with pytest.raises(OSError, match="disk full"):
        see_by_folds(
            look_settings(folds=2, val_split="none"), training_of(items), "diagonal", tmp_path, lambda *_: None
        )
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_is_explained(items, look_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(folds.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(folds.os, "cpu_count", lambda: 4)
    settings = look_settings(folds=2, val_split="none")
    with pytest.raises(
        ChildProcessError, match=r"folds: the training without fold [12] ended with code 1.*\(--resume\)"
    ):
        see_by_folds(settings, training_of(items), "diagonal", tmp_path, lambda *_: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "cores", "distributed", "here"),
    [("cpu", 4, False, False), ("cpu", 1, False, True), ("cuda", 4, False, True), ("cuda", 4, True, False)],
)
def test_where_folds_are_trained(monkeypatch, look_settings, tmp_path, device, cores, distributed, here):
    """In this process where nothing is gained by several; in others where this one belongs to a group."""

    class Elsewhere(Exception):
        pass

    def elsewhere(*_):
        raise Elsewhere

    monkeypatch.setattr(folds, "usable_device", lambda name: SimpleNamespace(type=name))
    monkeypatch.setattr(folds.os, "cpu_count", lambda: cores)
    group = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: distributed)
    monkeypatch.setattr(folds, "dist", group)
    monkeypatch.setattr(folds, "ThreadPoolExecutor", elsewhere)
    monkeypatch.setattr(folds, "_train_fold", lambda settings, items, resampled, part, folder: {"part": part})
    settings = look_settings(folds=2, val_split="none", device=device)
    trainings = folds._train_folds(settings, training_of([]), [[0], [1]], tmp_path)
    if here:
        assert list(trainings) == [(0, {"part": [0]}), (1, {"part": [1]})]
    else:
        with pytest.raises(Elsewhere):
            list(trainings)


def test_a_training_with_folds_is_the_same_in_this_process_and_in_another(box_settings, tmp_path, monkeypatch):
    """As after several processes have trained together; the second fold is trained here all the same, to be quick."""
    looks = {"looks": 2, "look_points": 8, "samples": 2}
    settings = box_settings(folds=2, epochs=2, **looks, shape_prior="auto", train_split="trainval", val_split="none")
    elsewhere = []

    def in_process(place, number, running, real=folds._in_process):
        if number == 0:
            elsewhere.append(number)
            return real(place, number, running)
        _, items, resampled, parts, _ = torch.load(place / "task.pt", weights_only=False)
        return folds._train_fold(settings, items, resampled, parts[number], place / str(number))

    monkeypatch.setattr(folds, "_in_process", in_process)
    monkeypatch.setattr(folds.os, "cpu_count", lambda: 1)
    runs, told = [], []
    for others in (False, True):
        group = SimpleNamespace(is_available=lambda: True, is_initialized=lambda others=others: others)
        monkeypatch.setattr(folds, "dist", group)
        run = train(settings, tmp_path / str(others), progress=lambda *progress: told.append(progress))
        assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "log", "settings.json"]
        runs.append(run)
    assert [progress for progress in told if progress[0] == "training folds"] == 2 * [
        ("training folds", 1, 2),
        ("training folds", 2, 2),
    ]
    assert elsewhere == [0]
    here, there = runs
    assert here.calibration == there.calibration
    assert here.calibration.num_keypoints == sum(
        int(item.keypoint_visible.sum()) for item in open_dataset(settings, "trainval")
    )
    assert here.validation == there.validation
    assert min(here.validation) > 0
    assert (here.prior_use is None) == (there.prior_use is None)
    assert here.checkpoint.name == "last.ckpt"
