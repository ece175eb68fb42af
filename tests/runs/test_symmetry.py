import csv
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch_geometric.data import Data

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.metrics import PCK
from pcsargmax.metrics.symmetry import least_loss_labeling, nearest_labeling, symmetric_errors, symmetric_targets
from pcsargmax.metrics.symmetry_groups import KINDS
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.predictions.calibration import Calibration, confidence_measure
from pcsargmax.runs.prepare import prepare
from pcsargmax.runs.sources import open_dataset
from pcsargmax.runs.symmetry import (
    SYMMETRY_KINDS,
    carry_labelings,
    choose_labeling,
    pad_labelings,
    with_labelings,
)
from pcsargmax.settings.common import OBJECTIVES
from pcsargmax.settings.detector import Symmetry, TrainSettings
from pcsargmax.training.clouds import PreparedClouds, collate
from pcsargmax.training.detector.data import augmentation
from pcsargmax.training.detector.module import DetectorModule
from pcsargmax.training.detector.train import train
from pcsargmax.training.loaders import train_loader
from pcsargmax.transforms.augment import RandomMirror, RandomRotation, RandomScale
from pcsargmax.transforms.frames import NormalizeFrame, to_raw

CIRCLE = {"center": [0.0, 0.0, 0.0], "radius": 1.0, "normal": [0.0, 1.0, 0.0]}


@pytest.fixture(scope="module")
def swapped_root(box_root, tmp_path_factory):
    """`box_root` with the mirror pairs annotated, their labels exchanged with every second model."""
    root = tmp_path_factory.mktemp("swapped")
    entries = json.loads((box_root / "annotations" / "box.json").read_text())
    for number, entry in enumerate(entries):
        ids = [keypoint["semantic_id"] for keypoint in entry["keypoints"]]
        if 4 not in ids:  # id 2 is then without its partner, and no reflection is annotated
            entry["symmetries"] = {"reflection": [], "rotation": []}
            continue
        pairs = [[ids.index(a), ids.index(b)] for a, b in ((0, 1), (2, 4))]
        entry["symmetries"] = {"reflection": [{"kp_indexes": pair} for pair in pairs], "rotation": []}
        if number % 2:
            for keypoint in entry["keypoints"]:
                keypoint["semantic_id"] = {0: 1, 1: 0, 2: 4, 4: 2}[keypoint["semantic_id"]]
    (root / "annotations").mkdir()
    (root / "annotations" / "box.json").write_text(json.dumps(entries))
    for name in ("pcds", "splits"):
        (root / name).symlink_to(box_root / name)
    return root


@pytest.fixture
def swapped_settings(box_settings, swapped_root):
    def make(**changes):
        return box_settings(**({"root": str(swapped_root), "symmetry": "reflection"} | changes))

    return make


def shape(seed: int = 0, circle: bool = True) -> Data:
    """A cloud with a pair, a circle or three that turn, and an absent keypoint, in raw units far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(7, 3, generator=generator, dtype=torch.float64) * 2 - 1
    shift = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    rotation = {"ids": [2, 3, 4], "is_circle": circle, "circle": CIRCLE | {"center": shift.tolist()} if circle else {}}
    visible = torch.tensor([True] * 6 + [False])
    return Data(
        pos=torch.rand(200 + seed, 3, generator=generator, dtype=torch.float64) * 4 - 2 + shift,
        keypoint_pos=((keypoints + shift) * visible[:, None])[None],
        keypoint_visible=visible[None],
        symmetries={"reflection": [[0, 1]], "rotation": [rotation]},
    )


def test_the_setting_names_every_kind():
    assert tuple(SYMMETRY_KINDS) == get_args(Symmetry)
    assert SYMMETRY_KINDS["all"] == KINDS


def test_an_item_gains_its_labellings():
    item = shape()
    assert "keypoint_labelings" not in with_labelings(item, range(7), "none")
    for symmetry, count in (("reflection", 2), ("rotation", 36), ("all", 72)):
        found = with_labelings(item, range(7), symmetry).keypoint_labelings
        assert found.shape == (count, 7, 3)
        assert torch.equal(found[:1], item.keypoint_pos)
    assert len(with_labelings(item, range(7), "all", num_angles=5).keypoint_labelings) == 10
    assert len(with_labelings(shape(circle=False), range(7), "all").keypoint_labelings) == 6
    assert (
        len(
            with_labelings(
                Data(pos=item.pos, keypoint_pos=item.keypoint_pos, keypoint_visible=item.keypoint_visible),
                range(7),
                "all",
            ).keypoint_labelings
        )
        == 1
    )
    assert "keypoint_labelings" not in item


class TestTransforms:
    @pytest.mark.parametrize("circle", [True, False])
    def test_labellings_come_into_the_unit_frame(self, circle):
        item = with_labelings(shape(circle=circle), range(7), "all")
        moved = carry_labelings(NormalizeFrame(), item)
        plain = NormalizeFrame()(shape(circle=circle))
        assert torch.equal(moved.pos, plain.pos)
        assert torch.equal(moved.keypoint_pos, plain.keypoint_pos)
        assert torch.equal(moved.keypoint_labelings[:1], plain.keypoint_pos)
        back = to_raw(moved.keypoint_labelings, moved.frame_center, moved.frame_scale)
        visible = item.keypoint_visible[0]
        torch.testing.assert_close(back[:, visible], item.keypoint_labelings[:, visible], rtol=0, atol=1e-5)
        assert (moved.keypoint_labelings[:, ~visible] == 0).all()

    def test_labellings_turn_and_stretch_with_the_cloud(self):
        item = carry_labelings(NormalizeFrame(), with_labelings(shape(), range(7), "all"))
        for transform in (RandomRotation(180, "any"), RandomScale(0.5, 2.0, per_axis=True)):
            transform.generator = torch.Generator().manual_seed(1)
            moved = carry_labelings(transform, item)
            transform.generator = torch.Generator().manual_seed(1)
            plain = transform(item)
            assert torch.equal(moved.keypoint_pos, plain.keypoint_pos)
            # A linear map takes each labelling, put in place of the cloud, where it took the keypoints.
            transform.generator = torch.Generator().manual_seed(1)
            each = transform(Data(pos=item.keypoint_labelings.flatten(0, 1))).pos
            torch.testing.assert_close(moved.keypoint_labelings.flatten(0, 1), each)

    def test_a_mirrored_item_has_the_labellings_of_the_mirrored_annotation(self):
        item = carry_labelings(NormalizeFrame(), with_labelings(shape(circle=False), range(7), "reflection"))
        mirror = RandomMirror("x", torch.tensor([1, 0, 4, 3, 2, 5, 6]), torch.Generator().manual_seed(0))
        moved = carry_labelings(mirror, item)
        while torch.equal(moved.pos, item.pos):
            moved = carry_labelings(mirror, item)
        visible = item.keypoint_visible[0]
        expected = symmetric_targets(moved.keypoint_pos[0], visible, item.symmetries, range(7), ["reflection"])
        torch.testing.assert_close(moved.keypoint_labelings, expected)

    def test_an_item_without_labellings_is_transformed_as_ever(self):
        item = shape()
        moved = carry_labelings(NormalizeFrame(), item)
        assert "keypoint_labelings" not in moved
        assert torch.equal(moved.keypoint_pos, NormalizeFrame()(item).keypoint_pos)


class TestBatches:
    def test_labellings_are_padded_by_the_annotation(self):
        first, second = torch.rand(3, 4, 3), torch.rand(1, 4, 3)
        padded = pad_labelings([first, second])
        assert torch.equal(padded[0], first)
        assert torch.equal(padded[1], second.expand(3, -1, -1))

    def test_prepared_items_and_ragged_batches_carry_them(self, swapped_settings):
        settings = swapped_settings(drop_points=0.2)
        backbone = KeypointDetector(5, "light").backbone
        dataset = open_dataset(settings, "train")
        items = [
            prepare(with_labelings(dataset[i], dataset.semantic_ids, "all"), backbone) for i in range(len(dataset))
        ]
        clouds = PreparedClouds(items, backbone, augmentation(settings, [item for item, _ in items]), seed=3)
        batch = next(iter(train_loader(clouds, 7, seed=0)))
        labelings = batch.clouds.keypoint_labelings
        assert labelings.shape == (7, 2, 5, 3)
        assert labelings.dtype == torch.float32
        assert torch.equal(labelings[:, 0], batch.clouds.keypoint_pos)
        permuted = batch.clouds.keypoint_pos[:, [1, 0, 4, 3, 2]]
        paired = batch.clouds.keypoint_visible[:, 4] & batch.clouds.keypoint_visible[:, 2]
        assert 0 < paired.sum() < 7
        assert torch.equal(labelings[paired, 1], permuted[paired])
        assert torch.equal(labelings[~paired, 1], batch.clouds.keypoint_pos[~paired])
        assert torch.equal(clouds[1, 4][0].keypoint_labelings, clouds[1, 4][0].keypoint_labelings)
        assert not torch.equal(clouds[1, 4][0].keypoint_labelings, clouds[2, 4][0].keypoint_labelings)


class TestChoice:
    def test_it_is_the_labelling_of_least_mean_loss_over_visible_keypoints(self):
        generator = torch.Generator().manual_seed(0)
        labelings = torch.rand(6, 4, 5, 3, generator=generator)
        prediction, visible = torch.rand(6, 5, 3, generator=generator), torch.rand(6, 5, generator=generator) < 0.7
        best = least_loss_labeling((prediction[:, None] - labelings).square().sum(-1), visible)
        for b in range(6):
            losses = [(prediction[b] - t).square().sum(-1)[visible[b]].sum() for t in labelings[b]]
            assert best[b] == int(torch.stack(losses).argmin())
        assert torch.equal(choose_labeling(labelings, best)[3], labelings[3, best[3]])


@pytest.fixture
def make(swapped_settings):
    """A module on `swapped_root`, a batch of a split's clouds, and what it logs."""

    def build(split="train", only_paired=False, **changes):
        settings = swapped_settings(**changes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = DetectorModule(KeypointDetector(5, "light"), settings, "raw", {"version": 1})
        dataset, logged = open_dataset(settings, split), {}
        items = [with_labelings(item, dataset.semantic_ids, settings.symmetry) for item in dataset]
        items = [item for item in items if item.symmetries["reflection"] or not only_paired]
        batch = collate([prepare(item, module.detector.backbone) for item in items])
        module.log = lambda name, value, **_: logged.update({name: value})
        module._trainer = SimpleNamespace(
            estimated_stepping_batches=10, global_step=0, global_rank=0, world_size=1, strategy=None
        )
        return module, batch, logged

    return build


def gradient(module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_of_each_shape_the_labelling_of_least_loss_is_learnt(make, objective):
    module, batch, logged = make(objective=objective)
    loss = module.training_step(batch, 0)
    loss.backward()
    labelings, visible = batch.clouds.keypoint_labelings, batch.clouds.keypoint_visible
    assert labelings.shape[1] == 2

    # The same step with each labelling in place of the annotation: of each shape the lesser loss counts.
    errors = []
    for labelling in labelings.unbind(1):
        plain, again, _ = make(objective=objective, symmetry="none")
        again.clouds.keypoint_pos = labelling
        found = []
        original = plain.objective
        plain.objective = lambda *a, original=original, found=found: found.append(original(*a)) or found[-1]
        plain.training_step(again, 0)
        errors.append(found[0].detach())
    shapes = torch.stack(errors).where(visible, 0).sum(dim=2)
    assert len(set(shapes.argmin(dim=0).tolist())) == 2  # both labellings come up
    expected = shapes.amin(dim=0).sum() / visible.sum()
    torch.testing.assert_close(logged["train/loss"].detach(), expected)

    # And its gradient is that of the chosen targets.
    plain, again, _ = make(objective=objective, symmetry="none")
    again.clouds.keypoint_pos = choose_labeling(labelings, shapes.argmin(dim=0))
    plain.training_step(again, 0).backward()
    assert torch.equal(gradient(module), gradient(plain))


def test_validation_is_logged_with_and_without(make):
    module, batch, logged = make()
    module.eval()
    with torch.no_grad():
        module.validation_step(batch, 0)
        scores = module(batch)
    module.on_validation_epoch_end()
    clouds = batch.clouds
    maps = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    length = clouds.frame_scale[..., None]
    plain, symmetric = PCK(num_bootstrap=0), PCK(num_bootstrap=0)
    plain.update(maps * length, clouds.keypoint_pos * length, clouds.keypoint_visible)
    dataset = open_dataset(module.settings, "train")
    nearest = []
    for b in range(7):
        labelings, visible = clouds.keypoint_labelings[b], clouds.keypoint_visible[b]
        each = (maps[b] - labelings).norm(dim=-1)[:, visible].mean(dim=1)
        nearest.append(labelings[each.argmin()])
        pairs = dataset[b].symmetries
        errors = symmetric_errors(maps[b].detach(), clouds.keypoint_pos[b], visible, pairs, range(5))
        torch.testing.assert_close(errors[visible].mean(), each.min().detach())
    symmetric.update(maps * length, torch.stack(nearest) * length, clouds.keypoint_visible)
    torch.testing.assert_close(logged["val/mean_error"], plain.compute()["mean_error"], rtol=1e-4, atol=1e-6)
    found = symmetric.compute()
    torch.testing.assert_close(logged["val/symmetric/mean_error"], found["mean_error"], rtol=1e-4, atol=1e-6)
    assert logged["val/symmetric/mean_error"] < logged["val/mean_error"]
    shares = torch.stack([found[f"pck@{t}"] for t in ("0.01", "0.02", "0.05")]).mean()
    error = found["mean_error"] / (1 + found["mean_error"])
    assert logged["val/score"].item() == pytest.approx((shares - 1e-6 * error).item(), abs=1e-8)
    assert not module.val_symmetric_pck.flat_rows
    # Confidence and radius are those of the nearest labelling.
    distribution = KeypointDistribution(scores.logits, scores.sites, scores.mask, Gaussian(clouds.sigma))
    there, error = clouds.keypoint_visible, (maps - torch.stack(nearest)).norm(dim=-1)
    expected = Calibration.fit(confidence_measure(distribution)[there], distribution.spread[there], error[there])
    assert module.calibration.probabilities == pytest.approx(expected.probabilities)
    assert module.calibration.quantile == pytest.approx(expected.quantile, rel=1e-4)


def test_confidence_is_calibrated_on_the_nearest_labelling(make, monkeypatch):
    module, batch, _ = make()
    module.eval()
    given = []
    monkeypatch.setattr(module.val_samples, "update", lambda maps, target, *_, mean, **__: given.append((mean, target)))
    with torch.no_grad():
        module.validation_step(batch, 0)
    ((found, target),) = given
    clouds = batch.clouds
    best = nearest_labeling(found, clouds.keypoint_labelings, clouds.keypoint_visible)
    assert len(set(best.tolist())) == 2
    assert torch.equal(target, choose_labeling(clouds.keypoint_labelings, best))


def test_other_samples_of_a_cloud_have_its_labellings(swapped_settings, tmp_path, monkeypatch):
    seen, step = [], DetectorModule.training_step

    def recorded(self, batch, number):
        seen.append(batch.clouds.keypoint_labelings.shape[1])
        return step(self, batch, number)

    monkeypatch.setattr(DetectorModule, "training_step", recorded)
    train(swapped_settings(epochs=2, samples=2, val_split="none"), tmp_path / "run")
    assert max(seen[: len(seen) // 2]) == max(seen[len(seen) // 2 :]) > 1


def test_more_angles_are_tried_where_a_checkpoint_is_chosen(swapped_settings, tmp_path, monkeypatch):
    tried = {}

    def recorded(item, *arguments, num_angles):
        tried[item.model_id] = num_angles
        return with_labelings(item, *arguments, num_angles=num_angles)

    monkeypatch.setattr("pcsargmax.training.detector.train.with_labelings", recorded)
    settings = swapped_settings(epochs=1)
    train(settings, tmp_path / "run")
    angles = {split: {tried[item.model_id] for item in open_dataset(settings, split)} for split in ("train", "val")}
    assert angles == {"train": {36}, "val": {360}}


class Stop(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt


def test_an_interrupted_training_goes_on_exactly(swapped_settings, tmp_path):
    settings = swapped_settings(epochs=4, mirror="none")
    train(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "cut", callbacks=[Stop()])
    train(settings, tmp_path / "cut", resume=True)
    whole, cut = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "cut")
    )
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    with pytest.raises(ValueError, match="symmetry"):
        train(swapped_settings(epochs=4, symmetry="all"), tmp_path / "cut", resume=True)


@pytest.mark.parametrize("symmetry", ["none", "reflection"])
def test_labels_exchanged_at_random_are_learnt_with_symmetry_alone(make, symmetry):
    module, batch, _ = make("all", only_paired=True)
    module.settings = replace(module.settings, symmetry=symmetry)
    labelings, visible = batch.clouds.keypoint_labelings, batch.clouds.keypoint_visible
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for step in range(30):
        module._trainer.global_step = step // 3  # of ten, as the schedule of the temperature is told
        exchanged = torch.rand(len(labelings), generator=generator) < 0.5
        batch.clouds.keypoint_labelings = labelings.where(~exchanged[:, None, None, None], labelings.flip(1))
        batch.clouds.keypoint_pos = batch.clouds.keypoint_labelings[:, 0]
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()
    with torch.no_grad():
        scores = module(batch)
    found = soft_argmax(scores.logits, scores.sites, mask=scores.mask)
    nearest = choose_labeling(labelings, nearest_labeling(found, labelings, visible))
    error = (found - nearest).norm(dim=-1)[visible].mean()
    # Without, the middle of each pair is what is learnt, about a third of the diagonal from both.
    assert error < 0.06 if symmetry == "reflection" else error > 0.25


def test_both_figures_are_in_the_log(swapped_settings, tmp_path):
    train(swapped_settings(), tmp_path / "run")
    with next((tmp_path / "run" / "log").glob("*/metrics.csv")).open() as file:
        columns = set(csv.DictReader(file).fieldnames)
    assert {"val/pck@0.01", "val/symmetric/pck@0.01", "val/mean_error", "val/symmetric/mean_error"} <= columns


class TestBadInput:
    def test_an_annotation_that_says_not_what_is_exchanged_is_named_with_its_model(self):
        item = shape()
        item.model_id, item.symmetries = "abc", {"reflection": [[0, 1, 2, 3]], "rotation": []}
        with pytest.raises(ValueError, match="model abc: symmetries: a reflection group must be two semantic ids"):
            with_labelings(item, range(7), "all")

    def test_an_unknown_symmetry(self):
        with pytest.raises(ValueError, match="symmetry 'mirror': choose from none, reflection, rotation, all"):
            TrainSettings(symmetry="mirror")

    def test_a_folder_of_landmarks(self, landmark_root):
        with pytest.raises(ValueError, match="symmetry 'all' is for KeypointNet's annotated symmetries"):
            open_dataset(TrainSettings(data=str(landmark_root), symmetry="all"), "train")

    def test_a_category_without_such_symmetries(self, swapped_settings, box_settings, tmp_path):
        message = (
            "symmetry 'rotation': no such symmetry is annotated with any of the 7 shapes of the split 'train' of box"
        )
        for make in (swapped_settings, box_settings):
            with pytest.raises(ValueError, match=message):
                train(make(symmetry="rotation"), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_circles_are_learnt(tmp_path):
    """Through the step of the training: labellings that differ by the angle of a circle give one and the same loss."""
    np.testing.assert_equal(len(shape().symmetries["rotation"]), 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = TrainSettings(symmetry="rotation", objective="soft", presence_weight=0.0)
        module = DetectorModule(KeypointDetector(7, "light"), settings, "raw", {})
    module.log = lambda *_, **__: None
    module._trainer = SimpleNamespace(
        estimated_stepping_batches=1, global_step=0, global_rank=0, world_size=1, strategy=None
    )
    losses = []
    for turn in (0, 1, 17):
        items = []
        for seed in range(3):
            item = shape(seed)
            item.keypoint_pos = with_labelings(item, range(7), "rotation").keypoint_labelings[[turn]]
            items.append(prepare(with_labelings(item, range(7), "rotation"), module.detector.backbone))
        losses.append(module.training_step(collate(items), 0))
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])
