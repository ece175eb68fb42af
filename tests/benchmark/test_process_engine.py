import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmark.work import by_seed, deaf, endless, noted

from pcsargmax.benchmark import process_engine
from pcsargmax.benchmark.process_engine import ProcessEngine, usable_cores


def all_ended(engine, count, seconds=60.0):
    ended, until = [], time.monotonic() + seconds
    while len(ended) < count and time.monotonic() < until:
        ended += engine.ended(0.2)
    return ended


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def begun(log):
    """The process that a log says has begun, or None."""
    words = log.read_text().split() if log.exists() else []
    return int(words[words.index("begun") + 1]) if "begun" in words else None


def test_as_many_run_at_once_as_there_are_jobs(box_plan, places):
    engine = ProcessEngine(jobs=2, threads=3, work=noted)
    for experiment in box_plan(seeds=(0, 1)):
        engine.start(experiment, places)
    ended = all_ended(engine, 2)
    assert sorted((end.experiment.seed, end.outcome) for end in ended) == [(0, "done"), (1, "done")]
    a, b = (json.loads((places.results / f"{seed}.json").read_text()) for seed in (0, 1))
    assert a["pid"] != b["pid"]
    assert os.getpid() not in (a["pid"], b["pid"])
    assert {one["threads"] for one in (a, b)} == {3}
    assert {one["omp"] for one in (a, b)} == {"3"}
    assert "worked" in places.log(ended[0].experiment).read_text()


def test_each_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(process_engine, "usable_cores", lambda: 8)
    assert [ProcessEngine(jobs).threads for jobs in (1, 3, 8, 20)] == [8, 2, 1, 1]
    assert ProcessEngine(2, threads=1).threads == 1


def test_the_cores_are_those_that_this_process_may_use():
    if hasattr(os, "sched_getaffinity"):
        assert usable_cores() == len(os.sched_getaffinity(0))
    assert usable_cores() >= 1


def test_however_a_process_ends_it_is_told(box_plan, places):
    engine = ProcessEngine(jobs=5, work=by_seed)
    for experiment in box_plan(seeds=range(5)):
        engine.start(experiment, places)
    ended = {end.experiment.seed: (end.outcome, end.cause) for end in all_ended(engine, 5)}
    assert ended == {
        0: ("done", ""),
        1: ("failed", "ended with exit code 1"),
        2: ("failed", "killed by SIGKILL"),
        3: ("elsewhere", ""),
        4: ("failed", "ended with exit code 7"),
    }
    assert places.log(box_plan(seeds=(1,))[0]).read_text().endswith("ValueError: seed 1 does not fit\n")


@pytest.mark.parametrize("work", [endless, deaf])
def test_stopping_ends_the_processes(box_plan, places, work, monkeypatch):
    monkeypatch.setattr(process_engine, "_PATIENCE", 0.5)
    engine = ProcessEngine(jobs=1, work=work)
    (experiment,) = box_plan()
    engine.start(experiment, places)
    pid = wait_for(lambda: begun(places.log(experiment)))
    os.kill(pid, signal.SIGINT)  # of the terminal, which the one that started it hears too
    time.sleep(0.2)
    assert not gone(pid)
    engine.stop()
    assert gone(pid)
    assert engine.ended(0) == []


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from benchmark.work import endless
from pcsargmax.benchmark.experiments import plan
from pcsargmax.benchmark.process_engine import ProcessEngine
from pcsargmax.benchmark.sources import Source
from pcsargmax.benchmark.worker import Places

if __name__ == "__main__":
    engine = ProcessEngine(work=endless)
    (experiment,) = plan([Source("box", "box")], ["soft"], [0], changes={{"device": "cpu"}})
    engine.start(experiment, Places(Path("results"), Path("runs")))
    time.sleep(600)
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])))
    parent = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path)
    try:
        pid = wait_for(lambda: next((begun(log) for log in tmp_path.glob("runs/logs/*.log")), None))
        assert not gone(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: gone(pid))


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for visible, expected in ((None, "0101"), ("3,5", "3535")):
        found = []
        for slot in range(4):
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            if visible:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
            process_engine._choose_gpu(slot)
            found.append(os.environ["CUDA_VISIBLE_DEVICES"])
        assert "".join(found) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1), "jobs must be at least 1, got 0"), ((1, -1), "threads must be at least 1, or 0 .*, got -1")],
)
def test_numbers_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProcessEngine(*arguments)
