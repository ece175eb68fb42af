import dataclasses
import shutil

import numpy as np
import pytest
import torch

from pcsargmax.runs.base import usable_device, warn_train_overlap
from pcsargmax.runs.kinds import AnyRun
from pcsargmax.runs.load import load_run

SPLITS = {"keypoint_detector": "test", "skeleton_merger": "all", "image_keypoints": "test", "image_surfaces": "test"}


@pytest.fixture(scope="session")
def discovery_run(box_root, tmp_path_factory):
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    folder = tmp_path_factory.mktemp("discoveries") / "box"
    settings = DiscoverSettings(data="box", root=str(box_root), epochs=1, keypoints=3, batch_size=4, device="cpu")
    discover(settings, folder)
    return folder


@pytest.fixture(params=SPLITS)
def run(request, few_slices) -> AnyRun:
    fixtures = dict(zip(SPLITS, ("box_run", "discovery_run", "dot_run", "slice_run"), strict=True))
    run = load_run(request.getfixturevalue(fixtures[request.param]))
    assert run.kind == request.param
    return run


def test_every_kind_keeps_the_contract(run):
    seen = []
    result = run.evaluate(on_prediction=lambda item, prediction: seen.append(prediction))
    assert (result["kind"], result["split"]) == (run.kind, SPLITS[run.kind])
    assert result[f"{run.target}_names"] == list(run.names)
    assert result["settings"] == run.settings.to_dict()
    assert result[f"seconds_per_{run.modality}"] > 0
    assert len(seen) == len(run.dataset(run.default_split))
    first, second = run.predictions(most=2)
    positions = "rows" if run.target == "surface" else "position"
    for prediction, again in ((first, seen[0]), (second, seen[1])):
        np.testing.assert_allclose(getattr(prediction, positions), getattr(again, positions), rtol=1e-5)
        assert getattr(prediction, f"{run.target}_names") == run.names
    assert run.device == torch.device("cpu")
    assert not getattr(run, run.network_name).training


def test_only_supervised_runs_warn_of_items_used_in_training(run, recwarn):
    result = run.evaluate("train")
    count = len(run.dataset("train"))
    assert result["seen_in_training"] == count
    told = [str(warning.message) for warning in recwarn if "used in training" in str(warning.message)]
    things = "shapes" if run.modality == "cloud" else "images"
    text = f"{count} of the {count} {things} of split 'train' were used in training: these results are optimistic"
    assert told == ([text] if run.supervised else [])


def test_the_warning_names_the_caller_of_evaluate(box_run):
    with pytest.warns(UserWarning, match="used in training") as caught:
        load_run(box_run).evaluate("train")
    assert caught[0].filename == __file__


def test_nothing_seen_is_nothing_to_warn_of(recwarn):
    warn_train_overlap(0, 5, "test", "shapes")
    assert not recwarn.list


def test_data_are_found_elsewhere(run, tmp_path):
    assert run.with_data("") is run
    if run.source == "procedural":
        with pytest.raises(ValueError, match=r"data: slices is procedural and has no folder, got .*elsewhere"):
            run.with_data(tmp_path / "elsewhere")
        return
    field = "data" if run.source == "folder" else "root"
    there = shutil.copytree(getattr(run.settings, field), tmp_path / "elsewhere")
    moved = run.with_data(there)
    assert getattr(moved.settings, field) == str(there)
    assert len(moved.dataset(run.default_split)) == len(run.dataset(run.default_split))


def test_data_with_other_names_are_refused(run):
    if run.kind == "skeleton_merger":  # its keypoints are not those that the data annotate
        return
    other = dataclasses.replace(run, **{f"{run.target}_names": (*run.names, "tip")})
    with pytest.raises(ValueError, match=f"expected the {run.target}s that .* was trained for, .*tip; got "):
        other.dataset("test")


def test_a_device_that_is_not_here_is_named(box_run):
    assert usable_device("cpu") == torch.device("cpu")
    assert usable_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="device must be cpu, cuda or mps where the machine has it, got 'tpu'"):
        load_run(box_run, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device must be .*, got 'cuda'"):
            load_run(box_run, device="cuda")
