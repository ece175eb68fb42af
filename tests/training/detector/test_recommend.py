import math
import shutil
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.runs.sources import open_dataset
from pcsargmax.settings.detector import RECIPES, TrainSettings
from pcsargmax.training.detector.recommend import explained_by_template, recommend

#: The numbers that it goes by; a function of the same name hides it.
module = import_module("pcsargmax.training.detector.recommend")
#: Fixed in every test: what makes sampling the scans fast.
SMALL = ("num_points", "dense_points")


def said(found, text: str) -> bool:
    return any(text in reason for reason in found.reasons)


@pytest.fixture
def enough(monkeypatch):
    """As if the validation splits of the tests, of one or two shapes, were large enough to choose by."""
    monkeypatch.setattr(module, "MIN_VALIDATION", 1)


def test_the_recipe_is_accurate_unless_fixed(enough, look_settings):
    settings = look_settings(lr=0.5, looks=1, epochs=7)
    found = recommend(settings, SMALL).settings
    chosen = {"epochs", "template_start", "look_points", "folds", "train_split", "val_split"}
    for name, value in RECIPES["accurate"].items():
        assert name in chosen or getattr(found, name) == value
    fixed = recommend(settings, (*SMALL, "lr", "looks", "epochs")).settings
    assert (fixed.lr, fixed.looks, fixed.epochs) == (0.5, 1, 7)
    for name in ("data", "num_points", "backbone", "batch_size"):
        assert getattr(found, name) == getattr(settings, name)


def test_few_validation_shapes_are_trained_on_and_folds_held_out(look_settings):
    found = recommend(look_settings(), SMALL)
    assert (found.settings.train_split, found.settings.val_split) == ("trainval", "none")
    count = len(open_dataset(look_settings(), "trainval"))
    assert found.settings.folds == min(module.FOLDS, count)
    text = f"too few validation shapes to choose by (1): all {count} are trained on, and {found.settings.folds} "
    assert found.reasons[0].startswith(text)


def test_enough_validation_shapes_choose(enough, look_settings):
    found = recommend(look_settings(), SMALL)
    assert (found.settings.train_split, found.settings.val_split, found.settings.folds) == ("train", "val", 0)
    assert not said(found, "validation")


@pytest.mark.parametrize("name", ["train_split", "val_split"])
def test_splits_that_are_fixed_stay(look_settings, name):
    found = recommend(look_settings(), (*SMALL, name))
    assert (found.settings.train_split, found.settings.val_split, found.settings.folds) == ("train", "val", 0)


def test_without_a_validation_split_folds_are_held_out(look_settings):
    settings = look_settings(val_split="none")
    found = recommend(settings, (*SMALL, "val_split"))
    assert (found.settings.train_split, found.settings.folds) == ("train", module.FOLDS)
    assert said(found, f"no validation split: {module.FOLDS} further trainings hold out a part of the shapes each")
    given = recommend(replace(settings, folds=5), (*SMALL, "val_split", "folds"))
    assert given.settings.folds == 5
    assert not said(given, "further trainings")


def test_where_folds_are_fixed_at_none_nothing_is_held_out(look_settings):
    found = recommend(look_settings(), (*SMALL, "folds"))
    assert (found.settings.val_split, found.settings.folds) == ("none", 0)
    assert said(found, "are trained on, and nothing is held out")


@pytest.mark.parametrize("count", [1, 2])
def test_one_shape_has_no_folds(look_settings, landmark_root, tmp_path, count):
    for number in range(count):
        for suffix in (".ply", ".mrk.json"):
            shutil.copy(landmark_root / f"scan{number}{suffix}", tmp_path)
    found = recommend(look_settings(data=str(tmp_path)), SMALL)
    assert found.settings.folds == (0 if count == 1 else 2)
    assert said(found, "nothing is held out") == (count == 1)


def test_up_to_symmetry_there_is_no_prior_and_nothing_is_held_out(box_settings):
    found = recommend(box_settings(symmetry="reflection"), ["symmetry"])
    assert (found.settings.symmetry, found.settings.shape_prior) == ("reflection", "none")
    assert (found.settings.train_split, found.settings.val_split, found.settings.folds) == ("train", "val", 0)
    assert found.reasons[0] == "no shape prior: training is up to symmetry"
    settings = box_settings(symmetry="reflection", epochs=3)
    fixed = recommend(settings, ["symmetry", "shape_prior", "epochs", "samples", "look_points", "template_start"])
    assert fixed.reasons == []


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_epochs_make_up_for_few_shapes(enough, box_settings, batch_size):
    found = recommend(box_settings(batch_size=batch_size))
    assert found.settings.epochs == min(module.MOST_EPOCHS, math.ceil(module.STEPS / math.ceil(7 / batch_size)))
    assert said(found, f"{found.settings.epochs} epochs: 7 shapes are {math.ceil(7 / batch_size)} steps an epoch")


def test_the_second_look_is_small_where_clouds_are_no_denser(enough, box_settings, look_settings):
    sparse, dense = recommend(box_settings()), recommend(look_settings(look_points=33), SMALL)
    assert sparse.settings.look_points < TrainSettings().look_points
    assert said(sparse, f"the second look takes {sparse.settings.look_points} points")
    assert dense.settings.look_points == RECIPES["accurate"].get("look_points", 33)
    assert not said(dense, "the second look takes")
    single = recommend(box_settings(looks=1, look_points=33), ["looks"])
    assert single.settings.look_points == 33
    assert not said(single, "the second look takes")


def test_maps_start_at_the_template_where_shapes_share_an_orientation(enough, box_settings):
    found = recommend(box_settings(rotate=module.MOST_ROTATION), ["rotate"])
    assert found.settings.template_start
    assert said(found, "maps start at the template")
    for settings, fixed in (
        (box_settings(rotate=180.0), ["rotate"]),
        (box_settings(template_start=False), ["template_start"]),
    ):
        found = recommend(settings, fixed)
        assert not found.settings.template_start
        assert not said(found, "maps start at the template")


def test_maps_do_not_start_at_the_template_of_shapes_that_lie_anyhow(enough, box_settings, monkeypatch):
    monkeypatch.setattr(module, "explained_by_template", lambda items: module.MIN_EXPLAINED - 0.01)
    assert not recommend(box_settings()).settings.template_start


def test_what_a_mirror_exchanges_is_said(enough, box_settings):
    found = recommend(box_settings(mirror="x"))
    assert found.settings.mirror == "x"
    assert found.reasons[-1] == "reflected copies exchange 0 and 1, 2 and 4 (mirror)"
    assert not said(recommend(box_settings()), "reflected copies")


def item(keypoints, visible=None, size: float = 1.0) -> Data:
    """A cube of that side from the origin, with keypoints (K, 3) as shares of it."""
    keypoints = size * torch.tensor([keypoints], dtype=torch.float64)
    visible = torch.ones(keypoints.shape[:2], dtype=torch.bool) if visible is None else torch.tensor([visible])
    return Data(pos=size * torch.eye(3).double(), keypoint_pos=keypoints, keypoint_visible=visible)


def test_how_much_the_template_explains_by_hand():
    # About the middle the keypoints lie at ±0.5 along x, squared 0.25 each; the template errs by 0.1 each, or not.
    ends = item([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])
    assert explained_by_template([ends, item([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]], size=7.0)]) == pytest.approx(1)
    other = item([[0.2, 0.5, 0.5], [0.8, 0.5, 0.5]])
    left, total = 4 * 0.1**2, 2 * 0.5**2 + 2 * 0.3**2
    assert explained_by_template([ends, other]) == pytest.approx(1 - left / total)
    turned = item([[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    assert explained_by_template([ends, turned]) == pytest.approx(0)


def test_absent_keypoints_explain_nothing():
    ends = item([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])
    absent = item([[0.2, 0.5, 0.5], [9.0, 9.0, 9.0]], visible=[True, False])
    left, total = 2 * 0.1**2, 2 * 0.5**2 + 0.3**2
    assert explained_by_template([ends, absent]) == pytest.approx(1 - left / total)
    assert explained_by_template([item([[0.5, 0.5, 0.5]], visible=[False])]) == -math.inf


def test_progress_is_told_and_mistakes_in_the_data_are_raised(box_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path))
    told = []
    recommend(box_settings(), progress=lambda *progress: told.append(progress))
    assert told[-1] == ("reading", 12, 12)
    with pytest.raises(ValueError, match="split must be"):
        recommend(box_settings(train_split="tset"), ["train_split"])
    with pytest.raises((ValueError, OSError), match="category 'bag' is not annotated"):
        recommend(box_settings(data="bag"))
