import importlib.util
import sys
from pathlib import Path

import pytest

from pcsargmax.benchmark.ray_engine import RayEngine
from pcsargmax.benchmark.results import read_result
from pcsargmax.benchmark.runner import run_benchmark
from pcsargmax.benchmark.worker import Places, run_experiment

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

PASSING = ("finished", "seconds", "machine", "commit")


@pytest.fixture(scope="module")
def ray_here(tmp_path_factory):
    """Ray on this machine alone, with two CPUs of its own account."""
    ray = pytest.importorskip("ray")
    package, tests = Path(__file__).parents[2], Path(__file__).parents[1]
    cache = str(tmp_path_factory.getbasetemp() / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{package}:{tests}")
        patch.setenv("PCSARGMAX_CACHE", cache)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"ray is not installed: pip install 'pcsargmax\[ray\]'"):
        RayEngine()


@needs_ray
def test_an_experiment_comes_out_of_ray_as_it_does_here(ray_here, box_plan, places, tmp_path):
    experiments = box_plan("soft", "sampling-2")
    here = Places(tmp_path / "here", tmp_path / "here-runs")
    for experiment in experiments:
        run_experiment(experiment, here)
    states = run_benchmark(experiments, places, RayEngine(jobs=2))
    assert [(state.phase, state.error) for state in states] == [("done", "")] * 2
    for experiment in experiments:
        told, expected = read_result(places.result(experiment)), read_result(here.result(experiment))
        for result in (told, expected):
            del result["metrics"]["seconds_per_cloud"]
            for name in PASSING:
                del result[name]
        assert told == expected
        assert "epoch 3/3" in places.log(experiment).read_text()


@needs_ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_however_a_task_ends_it_is_told(ray_here, box_plan, places):
    from benchmark.work import by_seed

    experiments = box_plan(seeds=(0, 1, 2))
    engine = RayEngine(jobs=3, threads=1, work=by_seed)
    for experiment in experiments:
        engine.start(experiment, places)
    ended = []
    for _ in range(100):
        ended += engine.ended(1.0)
        if len(ended) == 3:
            break
    outcomes = {end.experiment.seed: end.outcome for end in ended}
    assert outcomes == {0: "done", 1: "failed", 2: "failed"}
    causes = {end.experiment.seed: end.cause for end in ended}
    assert causes[1] == "ValueError: seed 1 does not fit"
    assert causes[2]
    assert "ValueError: seed 1 does not fit" in places.log(experiments[1]).read_text()


@needs_ray
def test_each_task_has_its_share_of_the_cluster(ray_here):
    assert [RayEngine(jobs).threads for jobs in (1, 2, 5)] == [2, 1, 1]


@needs_ray
def test_stopping_ends_the_tasks_and_leaves_a_cluster_of_others(ray_here, box_plan, places):
    from benchmark.work import endless

    engine = RayEngine(jobs=1, threads=1, work=endless)
    engine.start(box_plan()[0], places)
    assert engine.ended(0.1) == []
    engine.stop()
    assert engine.ended(0.1) == []
    assert ray_here.is_initialized()
