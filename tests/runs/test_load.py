import builtins
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.runs.load import load_cloud_run, load_run
from pcsargmax.runs.sources import open_dataset


@pytest.fixture(scope="module")
def run(box_run):
    return load_run(box_run)


@pytest.fixture
def items(run) -> list[Data]:
    return list(open_dataset(run.settings, "test"))


def test_a_run_is_opened_by_its_folder_or_a_checkpoint(box_run, run):
    assert run.checkpoint == box_run / "checkpoints" / "best.ckpt"
    last = load_run(box_run, checkpoint="last")
    file = load_run(box_run / "checkpoints" / "last.ckpt")
    assert last.checkpoint == file.checkpoint
    assert last.folder == file.folder == run.folder == box_run
    assert run.keypoint_names == ("0", "1", "2", "3", "4")
    assert run.unit == "raw"
    assert not run.detector.training
    assert run.template.num_seen.tolist() == [7, 7, 7, 0, 4]


def test_a_lone_checkpoint_file_belongs_to_its_folder(box_run, tmp_path):
    shutil.copy(box_run / "checkpoints" / "best.ckpt", tmp_path / "mine.ckpt")
    assert load_run(tmp_path / "mine.ckpt").folder == tmp_path


def test_opening_a_run_leaves_the_global_generator_alone(box_run):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_run(box_run)
    assert torch.equal(before, torch.get_rng_state())


def test_a_missing_run_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"looked for {tmp_path}/checkpoints/last.ckpt")):
        load_run(tmp_path)


class Payload:
    def __reduce__(self):
        return builtins.exec, ("raise SystemExit('this must not run')",)


def broken_checkpoints(good: bytes) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        "empty": b"",
        "text": b"these are no weights\n",
        "numbers": rng.bytes(2000),
        "cut in the middle": good[: len(good) // 2],
        "cut at the end": good[:-100],
        "cut early": good[:30_000],  # so short a file makes torch seek before its start: an OSError that names no file
        "cut at the start": good[100:],
        "code": pickle.dumps(Payload()),
        "code in protocol 0": pickle.dumps(Payload(), protocol=0),
        "zip without tensors": b"PK\x05\x06" + bytes(18),
        "list": pickle.dumps([1, 2]),
    }


@pytest.fixture
def ruined(box_run, tmp_path):
    """Make a checkpoint file from bytes or from a change of the good one."""

    def make(change) -> object:
        good = (box_run / "checkpoints" / "best.ckpt").read_bytes()
        file = tmp_path / "bad.ckpt"
        if callable(change):
            content = torch.load(box_run / "checkpoints" / "best.ckpt", weights_only=True)
            change(content)
            torch.save(content, file)
        else:
            file.write_bytes(broken_checkpoints(good)[change])
        return file

    return make


@pytest.mark.parametrize("kind", broken_checkpoints(b""))
def test_what_is_no_checkpoint_is_an_error_and_runs_nothing(ruined, kind):
    file = ruined(kind)
    with pytest.raises(ValueError, match=re.escape(str(file))) as caught:
        load_run(file)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_carries_code_is_not_run(ruined, tmp_path):
    class Touch:
        def __reduce__(self):
            return builtins.exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    file = ruined(lambda content: content.update(extra=Touch()))
    with pytest.raises(ValueError, match="nothing in it was run"):
        load_run(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["pcsargmax"].update(version=99), "checkpoint version 99, this pcsargmax reads version 2"),
        (lambda c: c["pcsargmax"].pop("version"), "checkpoint version None, this pcsargmax reads version 2"),
        (lambda c: c.pop("pcsargmax"), "not a pcsargmax checkpoint"),
        (lambda c: c.pop("state_dict"), "not a pcsargmax checkpoint"),
        (lambda c: c["pcsargmax"]["settings"].update(magic=1), "unknown keys ['magic']"),
        (
            lambda c: c["pcsargmax"]["settings"].update(backbone="ssg"),
            "its weights do not fit its settings",
        ),
        (lambda c: c["pcsargmax"].pop("template"), "a damaged checkpoint: KeyError: 'template'"),
        (lambda c: c["pcsargmax"].update(template={}), "a template must have the keys"),
        (lambda c: c["pcsargmax"].pop("calibration"), "a damaged checkpoint: KeyError: 'calibration'"),
        (lambda c: c["pcsargmax"].update(calibration={}), "a calibration must have the keys"),
        (lambda c: c["pcsargmax"]["calibration"].update(knots=[2.0, 1.0]), "knots: expected ascending numbers"),
        (
            lambda c: c["pcsargmax"].update(keypoint_names=["a"]),
            "its weights do not fit its settings",
        ),
        (lambda c: c["state_dict"].popitem(), "its weights do not fit its settings"),
    ],
)
def test_another_or_a_damaged_checkpoint_is_named(ruined, change, message):
    file = ruined(change)
    with pytest.raises(ValueError, match=re.escape(str(file))) as caught:
        load_run(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_with_a_second_look_and_a_shape_prior_opens(look_run):
    run = load_run(look_run)
    assert run.detector.second_look.num_points == run.settings.look_points == 16
    assert torch.equal(run.detector.template_start.relative, run.template.relative.float())
    assert run.prior_use.look_noise.tolist() == pytest.approx([0.05] * 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda use: use.update(map_noise=[0.1] * 4), "map_noise: expected 3 finite numbers of at least 0"),
        (lambda use: use.pop("prior"), "the use of a shape prior must have the keys"),
        (lambda use: use["prior"].update(covariance=[[0.0]]), "mean, covariance and num_seen must be"),
        (
            lambda use: (
                use.update(prior={"mean": [[0.0] * 3], "covariance": [[0.0] * 3] * 3, "num_seen": [9]})
                or use.update(map_noise=[0.1], look_noise=None)
            ),
            "a shape prior of 1 keypoints, expected 3",
        ),
    ],
)
def test_a_shape_prior_of_other_keypoints_is_named(look_run, tmp_path, change, message):
    content = torch.load(look_run / "checkpoints" / "last.ckpt", weights_only=True)
    change(content["pcsargmax"]["prior_use"])
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_run(tmp_path / "bad.ckpt")
    assert str(tmp_path / "bad.ckpt") in str(caught.value)


def test_a_deviation_of_other_keypoints_is_named(look_run, tmp_path):
    content = torch.load(look_run / "checkpoints" / "last.ckpt", weights_only=True)
    content["pcsargmax"]["template_deviation"] = [0.25, 0.5, 1.0]
    torch.save(content, tmp_path / "good.ckpt")
    assert load_run(tmp_path / "good.ckpt").template_deviation.tolist() == [0.25, 0.5, 1.0]
    content["pcsargmax"]["template_deviation"] = [0.1]
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match="template_deviation: expected 3 numbers, one per keypoint"):
        load_run(tmp_path / "bad.ckpt")


def test_a_checkpoint_of_another_lightning_module_is_named(tmp_path):
    import lightning

    module = lightning.LightningModule()
    module.layer = torch.nn.Linear(2, 2)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt: not a pcsargmax checkpoint"):
        load_run(tmp_path / "other.ckpt")


def test_only_best_and_last_are_checkpoints(box_run):
    with pytest.raises(ValueError, match="checkpoint must be best or last, got 'worst'"):
        load_run(box_run, checkpoint="worst")


def test_a_run_saved_before_the_presence_head_opens(box_copy, run, items):
    for path in (box_copy / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        weights = content["state_dict"]
        for name in [name for name in weights if name.startswith("detector.presence.")]:
            del weights[name]
        weights["detector.presence.weight"], weights["detector.presence.bias"] = torch.zeros(5, 128), torch.ones(5)
        torch.save(content, path)
    old = load_run(box_copy)
    found = old.predict(items[0])
    np.testing.assert_array_equal(found.position, run.predict(items[0]).position)
    np.testing.assert_allclose(found.visibility[:3], torch.ones(3).sigmoid())


def test_a_run_saved_before_a_setting_and_units_existed_opens(box_copy):
    for path in (box_copy / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        del content["pcsargmax"]["settings"]["mesh_frame"], content["pcsargmax"]["length_unit"]
        torch.save(content, path)
    run = load_run(box_copy)
    assert (run.settings.mesh_frame, run.length_unit) == ("LPS", None)


def test_what_is_of_clouds_refuses_a_run_on_images(dot_run):
    with pytest.raises(ValueError, match="expected a run on clouds, got one on images"):
        load_cloud_run(dot_run)
