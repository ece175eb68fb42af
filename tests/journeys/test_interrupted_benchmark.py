"""A benchmark that is killed, whenever and however often, ends with the results of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pcsargmax.benchmark.experiments import plan
from pcsargmax.benchmark.formats import as_json
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.results import read_results
from pcsargmax.benchmark.sources import Source
from pcsargmax.benchmark.tables import make_tables
from pcsargmax.benchmark.worker import Places, run_experiment

#: Of a result, what is not the same the next time.
PASSING = ("finished", "seconds", "machine", "commit")

SETTINGS = {"epochs": 6, "backbone": "light", "batch_size": 4, "device": "cpu", "ema": 0.9, "drop_points": 0.1}


def lasting(results: Path) -> dict[str, dict]:
    """Results by file name, without what passes."""
    found = {}
    for path, result in read_results([results]):
        kept = {name: value for name, value in result.items() if name not in PASSING}
        metrics = {name: value for name, value in result["metrics"].items() if name != "seconds_per_cloud"}
        found[path.name] = kept | {"metrics": metrics}
    return found


def tables(results: Path) -> str:
    """All tables that are made of the results, whatever commits these name."""
    found = [replace(result, commit=None) for result in open_results([results])]
    return as_json(make_tables(found, "all", num_bootstrap=50))


@pytest.fixture
def undisturbed(box_root, tmp_path):
    """Make the results of all experiments with so many seeds, one after another in this process, undisturbed."""

    def make(seeds: int) -> Path:
        places = Places(tmp_path / "undisturbed", tmp_path / "undisturbed-runs")
        source = Source("box", "box", str(box_root))
        for experiment in plan([source], ["soft", "sampling-2"], range(seeds), changes=SETTINGS):
            assert run_experiment(experiment, places) == "done"
        return places.results

    return make


class Benchmark:
    """The command in a process group of its own, seeds 0 to `seeds` - 1 of two methods, two at a time."""

    def __init__(self, folder: Path, root: Path, seeds: int) -> None:
        self.folder = folder
        folder.mkdir()
        # As the installed script does, and so that the processes of the engine can import it.
        call = "import sys; from pcsargmax.cli import main; sys.argv[0] = 'pcsargmax'; main()"
        settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
        self.command = [sys.executable, "-c", call, "benchmark", "box", "--root", str(root), *settings]
        self.command += ["--methods", "soft,sampling-2", "--seeds", f"0-{seeds - 1}" if seeds > 1 else "0"]
        self.command += ["--jobs", "2", "--threads", "1", "--results", "results", "--runs", "runs", "--table", "none"]

    def begin(self) -> subprocess.Popen:
        package = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
        with (self.folder / "output.txt").open("a") as output:
            return subprocess.Popen(
                self.command, cwd=self.folder, env=environment, start_new_session=True, stdout=output, stderr=output
            )

    @property
    def output(self) -> str:
        """What all sittings have printed."""
        return (self.folder / "output.txt").read_text()

    def epochs(self) -> int:
        """How many epochs have been trained in all sittings, those that were lost too."""
        return sum(log.read_text().count("epoch ") for log in self.folder.glob("runs/logs/*.log"))

    def events(self) -> int:
        """What has been done so far in all sittings: epochs ended, and results kept."""
        return self.epochs() + len(list(self.folder.glob("results/[!.]*.json")))

    def kill_after(self, events: int, delay: float, seconds: float = 300.0) -> bool:
        """Begin, wait for so many events more and a little longer, and kill all; False if it ended before."""
        process = self.begin()
        until, before = time.monotonic() + seconds, self.events()
        while self.events() < before + events and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(delay)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return not ended

    def finish(self, seconds: float = 600.0) -> None:
        process = self.begin()
        try:
            assert process.wait(seconds) == 0, self.output
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def schedule(number: int, seed: int) -> list[tuple[int, float]]:
    """Moments to kill at: events to wait for and seconds after them; the same for the same seed."""
    rng = random.Random(seed)
    return [(rng.choice([0, 1, 1, 2, 3]), rng.uniform(0.0, 1.0)) for _ in range(number)]


def check(benchmark: Benchmark, undisturbed: Path) -> None:
    """The results and the tables are those of an undisturbed benchmark, and nothing was thrown away on the way."""
    results = benchmark.folder / "results"
    assert lasting(results) == lasting(undisturbed)
    assert tables(results) == tables(undisturbed)
    assert not list(benchmark.folder.rglob("*.broken*"))


def test_a_benchmark_killed_twice_ends_with_the_same_results(undisturbed, box_root, tmp_path):
    benchmark = Benchmark(tmp_path / "disturbed", box_root, seeds=1)
    killed = [benchmark.kill_after(*moment) for moment in [(3, 0.0), (0, 1.0)]]
    assert killed == [True, True], benchmark.output
    benchmark.finish()
    check(benchmark, undisturbed(seeds=1))


@pytest.mark.slow
def test_a_benchmark_killed_ten_times_ends_with_the_same_results(undisturbed, box_root, tmp_path):
    benchmark = Benchmark(tmp_path / "disturbed", box_root, seeds=2)
    killed = [benchmark.kill_after(*moment) for moment in schedule(10, seed=0)]
    assert killed == [True] * 10, benchmark.output
    benchmark.finish()
    check(benchmark, undisturbed(seeds=2))
    assert 24 <= benchmark.epochs() <= 24 + 2 * 10  # a kill costs each of the two that run at most the epoch it is in


@pytest.mark.slow
def test_two_benchmarks_at_once_share_the_work(undisturbed, box_root, tmp_path):
    benchmark = Benchmark(tmp_path / "shared", box_root, seeds=2)
    processes = [benchmark.begin(), benchmark.begin()]
    try:
        assert [process.wait(600) for process in processes] == [0, 0], benchmark.output
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    check(benchmark, undisturbed(seeds=2))
    assert benchmark.epochs() == 24
