import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import fields, replace
from itertools import groupby

import pytest
import torch
from filelock import FileLock

from pcsargmax.benchmark.results import read_result, write_result
from pcsargmax.benchmark.status import Status, read_status
from pcsargmax.benchmark.worker import Places, run_experiment
from pcsargmax.runs.detector import Run
from pcsargmax.runs.load import load_run

#: What differs between two runs of one experiment.
PASSING = ("finished", "seconds", "machine", "commit")


def lasting(result):
    """What must be the same however often an experiment was interrupted."""
    metrics = {name: value for name, value in result["metrics"].items() if name != "seconds_per_cloud"}
    return {name: value for name, value in result.items() if name not in PASSING} | {"metrics": metrics}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


@pytest.fixture
def count(monkeypatch):
    """Count the epochs that are trained and the evaluations, and stop at one of them: stop["epoch"], stop["shape"]."""
    counts, stop = {"epochs": 0, "shapes": 0}, {}
    write = Status.write

    def counting(self, **values):
        write(self, **values)
        if values.get("done"):
            what = "epochs" if self.values["phase"] == "training" else "shapes"
            if "phase" not in values:
                counts[what] += 1
                if stop.get(what) == counts[what]:
                    raise Killed

    monkeypatch.setattr(Status, "write", counting)
    return counts, stop


@pytest.fixture(params=["detector", "discovery"])
def experiment(request, box_plan):
    return box_plan(kind=request.param)[0]


@pytest.fixture
def whole(experiment, finished, tmp_path):
    """The undisturbed result."""
    places = Places(tmp_path / "whole", tmp_path / "whole-runs")
    finished(experiment, places)
    return read_result(places.result(experiment))


def test_an_experiment_leaves_one_result_and_a_run_folder(experiment, places):
    assert run_experiment(experiment, places) == "done"
    assert [path.name for path in places.results.iterdir() if path.name != ".locks"] == [f"{experiment.name}.json"]
    result = read_result(places.result(experiment))
    assert result["settings"] == experiment.counted
    assert result["metrics"]["split"] == ("test" if experiment.kind == "detector" else "all")
    assert len(result["metrics"]["shapes"]["model_id"]) == (3 if experiment.kind == "detector" else 12)
    assert 0 < result["seconds"]["train"] < 60
    assert 0 < result["seconds"]["evaluate"] < 60
    assert result["machine"]["threads"] == 1
    assert re.fullmatch("[0-9a-f]{16}", result["data_hash"])
    assert {path.name for path in places.runs.glob("box-*")} == {experiment.name}  # logs and status lie elsewhere
    assert (places.run(experiment) / "checkpoints" / "last.ckpt").is_file()
    assert places.result(experiment).stat().st_size < 30_000


@pytest.mark.parametrize("kind", ["detector", "discovery"])
def test_a_folder_of_scans_is_measured_too(box_plan, places, landmark_root, kind):
    (experiment,) = box_plan(kind=kind, data=str(landmark_root), num_points=64)
    assert run_experiment(experiment, places) == "done"
    metrics = read_result(places.result(experiment))["metrics"]
    if kind == "detector":
        assert metrics["symmetric"] is None  # landmark files annotate none
        assert metrics["geodesic"]["errors"]["mode"]


def test_what_has_a_result_is_not_run_again(experiment, places, finished, count):
    finished(experiment, places)
    counts, _ = count
    before, told = places.result(experiment).read_bytes(), dict(counts)
    assert run_experiment(experiment, places) == "done"
    assert places.result(experiment).read_bytes() == before
    assert counts == told


@pytest.mark.parametrize(
    ("experiment", "epoch"),
    [("detector", 1), ("detector", 2), ("detector", 3), ("discovery", 2)],
    indirect=["experiment"],
)
def test_an_interrupted_training_goes_on_to_the_same_result(experiment, places, count, whole, epoch):
    counts, stop = count
    counts.update(epochs=0, shapes=0)
    stop["epochs"] = epoch  # after the epoch, before its checkpoint
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    assert not places.result(experiment).exists()
    stop.clear()
    assert run_experiment(experiment, places) == "done"
    assert counts["epochs"] == 4  # the one that was cut off, once more
    assert lasting(read_result(places.result(experiment))) == lasting(whole)


def test_an_interrupted_evaluation_is_done_again_without_training(experiment, places, count, whole):
    counts, stop = count
    counts.update(epochs=0, shapes=0)
    stop["shapes"] = 2
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    stop.clear()
    counts["epochs"] = 0
    assert run_experiment(experiment, places) == "done"
    assert counts["epochs"] == 0
    again = read_result(places.result(experiment))
    assert lasting(again) == lasting(whole)
    assert again["seconds"]["train"] > 0  # of the first sitting


def test_a_run_is_measured_on_the_split_that_it_has(box_plan, places, monkeypatch):
    asked = []

    class Validated(Run):
        default_split = "val"

        def evaluate(self, split, **options):
            asked.append(split)
            return super().evaluate("test", **options)

    def load(folder, **options):
        run = load_run(folder, **options)
        return Validated(**{field.name: getattr(run, field.name) for field in fields(run)})

    monkeypatch.setattr("pcsargmax.runs.load.load_run", load)
    assert run_experiment(box_plan()[0], places) == "done"
    assert asked == ["val"]  # of COCO, whose test split has no labels


def test_a_run_trained_elsewhere_is_evaluated_and_says_so(box_plan, places, count, monkeypatch):
    monkeypatch.setattr("pcsargmax.benchmark.worker.commit", lambda: "c0ffee")
    (experiment,) = box_plan()
    run_experiment(experiment, places)
    assert read_result(places.result(experiment))["commit"] == "c0ffee"
    places.result(experiment).unlink()
    places.status(experiment).unlink()
    counts, _ = count
    counts["epochs"] = 0
    run_experiment(experiment, places)
    result = read_result(places.result(experiment))
    assert (result["commit"], result["seconds"]["train"], counts["epochs"]) == (None, None, 0)


def test_a_discovery_that_was_stopped_before_it_named_its_keypoints_names_them(box_plan, places, monkeypatch):
    from pcsargmax.training.discovery import train as discover

    (experiment,) = box_plan(kind="discovery")
    name = discover.name_keypoints

    def stop(*_):
        raise Killed

    monkeypatch.setattr(discover, "name_keypoints", stop)
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    monkeypatch.setattr(discover, "name_keypoints", name)
    assert run_experiment(experiment, places) == "done"
    assert read_result(places.result(experiment))["metrics"]["correspondence"] is not None


def test_a_training_that_ended_early_for_want_of_patience_is_not_gone_on_with(box_plan, places, count, monkeypatch):
    from pcsargmax.training.detector.module import DetectorModule

    scores = iter([0.2, 0.1, 0.3, 0.4, 0.5])
    monkeypatch.setattr(
        DetectorModule, "on_validation_epoch_end", lambda self: self.log("val/score", torch.tensor(next(scores)))
    )
    (experiment,) = box_plan(epochs=5, patience=1)
    counts, stop = count
    stop["shapes"] = 1
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    stop.clear()
    assert run_experiment(experiment, places) == "done"
    assert counts["epochs"] == 2  # the second was no better; a third would have been


def broken_json(experiment, places):
    places.result(experiment).write_text('{"version": 1, "kin')
    return places.result(experiment)


def broken_checkpoint(experiment, places):
    places.result(experiment).unlink()
    last = places.run(experiment) / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    return places.run(experiment)


def broken_best(experiment, places):
    places.result(experiment).unlink()
    (places.run(experiment) / "checkpoints" / "best.ckpt").write_bytes(b"")
    return places.run(experiment)


def file_for_a_folder(experiment, places):
    places.result(experiment).unlink()
    shutil.rmtree(places.run(experiment))
    places.run(experiment).write_text("what is this?")
    return places.run(experiment)


def strange_folder(experiment, places):
    places.result(experiment).unlink()
    shutil.rmtree(places.run(experiment))
    places.run(experiment).mkdir()
    (places.run(experiment) / "precious.txt").write_text("")
    return places.run(experiment)


def other_settings(experiment, places):
    places.result(experiment).unlink()
    last = places.run(experiment) / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    content["pcsargmax"]["settings"]["lr"] = 0.5
    torch.save(content, last)
    return places.run(experiment)


def other_network(experiment, places):
    places.result(experiment).unlink()
    last = places.run(experiment) / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    del content["state_dict"][next(iter(content["state_dict"]))]
    torch.save(content, last)
    return places.run(experiment)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_json, r"\.json: not a result: .*; moved to .*\.json\.broken, run anew"),
        (broken_checkpoint, r"last\.ckpt: not a checkpoint, cut off.*; moved to .*\.broken, run anew"),
        (broken_best, r"best\.ckpt: not a checkpoint, cut off.*; moved to .*\.broken, run anew"),
        (file_for_a_folder, r": not a folder; moved to .*\.broken, run anew"),
        (strange_folder, r"last\.ckpt.*; moved to .*\.broken, run anew"),
        (other_network, r"last\.ckpt: a damaged checkpoint: its weights do not fit .*; moved to .*\.broken, run anew"),
        (other_settings, r": a run of other settings: lr: was 0\.5, now 0\.001; moved to .*\.broken, run anew"),
    ],
)
def test_what_is_broken_is_named_moved_aside_and_run_anew(box_plan, places, finished, capsys, damage, message):
    (experiment,) = box_plan(epochs=1)
    finished(experiment, places)
    before = lasting(read_result(places.result(experiment)))
    path = damage(experiment, places)
    assert run_experiment(experiment, places) == "done"
    assert lasting(read_result(places.result(experiment))) == before
    (note,) = read_status(places.status(experiment))["notes"]
    assert re.search(message, note)
    assert note in capsys.readouterr().out
    assert path.with_name(f"{path.name}.broken").exists()


def test_a_second_broken_file_does_not_take_the_place_of_the_first(box_plan, places, finished):
    (experiment,) = box_plan(epochs=1)
    finished(experiment, places)
    for _ in range(2):
        run_experiment(experiment, places)
        broken_json(experiment, places)
    run_experiment(experiment, places)
    names = sorted(path.name for path in places.results.glob("*broken*"))
    assert names == [f"{experiment.name}.json.broken", f"{experiment.name}.json.broken-2"]


def test_what_passes_is_an_error_and_moves_nothing(box_plan, places, count, monkeypatch):
    (experiment,) = box_plan()
    _, stop = count
    stop["epochs"] = 2
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    stop.clear()
    for broken in ("pcsargmax.benchmark.worker._follow_data", "pcsargmax.runs.checkpoint.read_checkpoint"):
        with monkeypatch.context() as patch:
            patch.setattr(broken, full_disk)
            with pytest.raises(OSError, match="No space left"):
                run_experiment(experiment, places)
    assert [path.name for path in places.runs.glob("box-*")] == [experiment.name]
    assert read_status(places.status(experiment))["notes"] == []


def full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("told", [True, False])
def test_the_best_weights_are_not_deleted_for_want_of_the_last_ones(box_plan, places, finished, told):
    (experiment,) = box_plan(epochs=1)
    finished(experiment, places)
    places.result(experiment).unlink()
    (places.run(experiment) / "checkpoints" / "last.ckpt").unlink()
    if not told:
        places.status(experiment).unlink()
    run_experiment(experiment, places)
    (aside,) = places.runs.glob("*.broken")
    assert (aside / "checkpoints" / "best.ckpt").is_file()
    assert "last.ckpt" in read_status(places.status(experiment))["notes"][0]


def test_a_first_epoch_that_never_ended_leaves_nothing_aside(box_plan, places, count):
    (experiment,) = box_plan()
    _, stop = count
    stop["epochs"] = 1
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    stop.clear()
    best = places.run(experiment) / "checkpoints" / "best.ckpt"
    best.parent.mkdir(parents=True, exist_ok=True)
    best.write_bytes(b"")  # the last one comes after it
    assert run_experiment(experiment, places) == "done"
    assert not list(places.runs.glob("*.broken"))


def test_other_data_under_the_same_name_are_not_taken_for_the_same(box_plan, places, finished):
    (experiment,) = box_plan(epochs=1)
    other = replace(experiment, data_hash="0" * 16)
    finished(experiment, places)
    with pytest.raises(ValueError, match=r"data_hash: was '[0-9a-f]{16}', now '0000000000000000'"):
        run_experiment(other, places)
    places.result(experiment).unlink()
    run_experiment(other, places)
    assert "data_hash: was" in read_status(places.status(experiment))["notes"][0]
    assert list(places.runs.glob("*.broken"))


def test_the_code_of_all_sittings_is_told(box_plan, places, count, monkeypatch):
    (experiment,) = box_plan()
    _, stop = count
    for code, epoch in (("aaa", 1), ("bbb", 3), ("bbb", None)):
        monkeypatch.setattr("pcsargmax.benchmark.worker.commit", lambda code=code: code)
        stop.update(epochs=epoch)
        if epoch is None:
            run_experiment(experiment, places)
        else:
            with pytest.raises(Killed):
                run_experiment(experiment, places)
    # What trained the first epoch is gone with it.
    assert read_result(places.result(experiment))["commit"] == "bbb"
    for code in ("ccc", "ccc"):
        places.result(experiment).unlink()
        monkeypatch.setattr("pcsargmax.benchmark.worker.commit", lambda code=code: code)
        run_experiment(experiment, places)
    assert read_result(places.result(experiment))["commit"] == "bbb, ccc"


def test_seconds_are_of_epochs_that_were_kept(box_plan, places, count, monkeypatch):
    (experiment,) = box_plan()
    _, stop = count
    stop["epochs"] = 1  # before its checkpoint
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    assert read_status(places.status(experiment))["train_seconds"] == 0


def test_notes_of_a_sitting_that_was_cut_off_are_told_yet(tmp_path):
    Status(tmp_path / "new" / "s").note("moved aside")
    status = Status(tmp_path / "new" / "s")
    assert status.values["notes"] == ["moved aside"]
    status.phase("done")
    assert Status(tmp_path / "new" / "s").values["notes"] == []


def test_a_result_of_other_settings_stays_and_is_an_error(box_plan, places, finished):
    (experiment,) = box_plan(epochs=1)
    finished(experiment, places)
    result = read_result(places.result(experiment))
    write_result(places.result(experiment), result | {"settings": result["settings"] | {"lr": 0.5}})
    with pytest.raises(ValueError, match=r"a result of other settings, move it away to run anew: lr: was 0.5"):
        run_experiment(experiment, places)
    assert places.result(experiment).is_file()


def test_what_a_killed_writer_left_is_removed(box_plan, places, count):
    (experiment,) = box_plan(kind="discovery")
    _, stop = count
    stop["epochs"] = 2
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    halves = [
        places.results / f".{experiment.name}-abc.json",
        places.runs / "logs" / f".{experiment.name}.status-77",
        places.run(experiment) / "checkpoints" / ".last-abc.ckpt",
    ]
    for half in halves:
        half.write_text("half")
    stop.clear()
    assert run_experiment(experiment, places) == "done"
    assert not any(half.exists() for half in halves)


def test_a_run_goes_on_where_its_data_have_moved(experiment, places, count, box_root, tmp_path, box_plan, whole):
    counts, stop = count
    stop["epochs"] = counts["epochs"] + 2
    with pytest.raises(Killed):
        run_experiment(experiment, places)
    stop.clear()
    shutil.copytree(box_root, tmp_path / "moved")
    (moved,) = box_plan(kind=experiment.kind, root=tmp_path / "moved")
    assert moved.name == experiment.name
    stop["shapes"] = counts["shapes"] + 1
    with pytest.raises(Killed):
        run_experiment(moved, places)
    stop.clear()
    shutil.move(tmp_path / "moved", tmp_path / "again")
    (moved,) = box_plan(kind=experiment.kind, root=tmp_path / "again")
    assert run_experiment(moved, places) == "done"  # evaluated only, on the data of the new place
    assert lasting(read_result(places.result(experiment))) == lasting(whole)


@pytest.mark.parametrize("shared", ["results", "runs"])
def test_an_experiment_that_another_process_is_at_is_left_alone(box_plan, places, shared):
    (experiment,) = box_plan()
    folder = getattr(places, shared) / ".locks"
    folder.mkdir(parents=True)
    with ExitStack() as held:
        held.enter_context(FileLock(folder / f"{experiment.name}.lock"))
        assert places.is_locked(experiment)
        assert run_experiment(experiment, places) == "elsewhere"
    assert not places.is_locked(experiment)
    assert not places.run(experiment).exists()


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1], timeout=0):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_dead_process_is_free(box_plan, places):
    (experiment,) = box_plan()
    assert not places.is_locked(experiment)
    lock = places.results / ".locks" / f"{experiment.name}.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert places.is_locked(experiment)
        holder.kill()
    assert lock.exists()
    assert not places.is_locked(experiment)


def test_lock_files_stay_out_of_a_repository(box_plan, places):
    (experiment,) = box_plan()
    assert not places.is_locked(experiment)
    assert (places.results / ".locks" / ".gitignore").read_text() == "*\n"


def test_the_status_tells_how_far_an_experiment_is(box_plan, places, monkeypatch):
    (experiment,) = box_plan()
    told = []
    write = Status.write
    monkeypatch.setattr(Status, "write", lambda self, **v: (write(self, **v), told.append(dict(self.values)))[0])
    run_experiment(experiment, places)
    steps = [step for step, _ in groupby((one["phase"], one["done"], one["total"]) for one in told)]
    assert steps[:2] == [("starting", 0, 0), ("reading", 0, 0)]
    assert steps[2:6] == [("training", 0, 3), ("training", 1, 3), ("training", 2, 3), ("training", 3, 3)]
    assert steps[6:] == [("evaluating", 0, 0), *[("evaluating", i, 3) for i in (1, 2, 3)], ("done", 0, 0)]
    assert read_status(places.status(experiment)) == json.loads(json.dumps(told[-1]))


def test_an_experiment_on_data_that_are_not_there_leaves_no_run(box_plan, places, tmp_path):
    (experiment,) = box_plan(root=tmp_path)
    with pytest.raises(FileNotFoundError, match="not laid out like KeypointNet"):
        run_experiment(experiment, places)
    assert not places.run(experiment).exists()
    assert not places.is_locked(experiment)
    assert read_status(places.status(experiment))["phase"] == "reading"
