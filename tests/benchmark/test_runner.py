from contextlib import ExitStack

import pytest

from pcsargmax.benchmark import runner
from pcsargmax.benchmark.engine import Ended
from pcsargmax.benchmark.results import make_result, write_result
from pcsargmax.benchmark.runner import State, last_lines, run_benchmark
from pcsargmax.benchmark.status import Status


class Inline:
    """An engine of this process: what it starts ends at the next look, as `outcomes` says, else well."""

    def __init__(self, jobs=1, outcomes=None):
        self.jobs, self.outcomes = jobs, outcomes or {}
        self.started, self.running, self.most, self.stopped = [], [], 0, False

    def start(self, experiment, places):
        self.started.append(experiment.name)
        self.running.append((experiment, places))
        self.most = max(self.most, len(self.running))

    def ended(self, timeout):
        over, self.running = self.running, []
        return [self.end(*one) for one in over]

    def end(self, experiment, places):
        outcome = self.outcomes.get(experiment.name, "done")
        if isinstance(outcome, list):
            outcome = outcome.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome == "done":
            keep(experiment, places)
        return Ended(experiment, outcome, "it broke" if outcome == "failed" else "")

    def stop(self):
        self.stopped = True


def keep(experiment, places):
    machine = {"cpu": "", "threads": 1, "device": "cpu"}
    write_result(places.result(experiment), make_result(experiment, {}, {}, machine, None))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.0)


def phases(states):
    return [state.phase for state in states]


def test_all_experiments_are_run_in_order_and_the_engine_is_stopped(box_plan, places):
    experiments, engine = box_plan("soft", "sampling-2", seeds=(0, 1, 2)), Inline(jobs=2)
    states = run_benchmark(experiments, places, engine, poll=0)
    assert phases(states) == ["done"] * 6
    assert engine.started == [one.name for one in experiments]
    assert engine.most == 2
    assert engine.stopped


def test_what_has_a_result_is_kept(box_plan, places):
    experiments, engine = box_plan(seeds=(0, 1, 2)), Inline()
    keep(experiments[1], places)
    assert phases(run_benchmark(experiments, places, engine, poll=0)) == ["done", "kept", "done"]
    assert engine.started == [experiments[0].name, experiments[2].name]
    assert phases(run_benchmark(experiments, places, engine, poll=0)) == ["kept"] * 3


def test_a_failure_does_not_stop_the_others_and_its_log_is_quoted(box_plan, places):
    experiments = box_plan(seeds=(0, 1))
    places.log(experiments[0]).parent.mkdir(parents=True)
    places.log(experiments[0]).write_text("".join(f"line {i}\n" for i in range(30)) + "ValueError: no data\n")
    engine = Inline(outcomes={experiments[0].name: "failed"})
    states = run_benchmark(experiments, places, engine, poll=0)
    assert phases(states) == ["failed", "done"]
    lines = states[0].error.splitlines()
    assert lines[0] == f"it broke; {places.log(experiments[0])} ends with"
    assert lines[1:3] == ["line 16", "line 17"]
    assert lines[-1] == "ValueError: no data"


def test_what_another_benchmark_is_at_is_waited_for(box_plan, places):
    experiments, engine = box_plan(seeds=(0, 1)), Inline()
    seen = []

    def progress(states):
        seen.append(phases(states))
        if seen[-1] == ["elsewhere", "done"] and seen.count(seen[-1]) == 3:
            keep(experiments[0], places)  # the other one is through
            held.close()

    with ExitStack() as held:
        held.enter_context(places.lock(experiments[0]))
        states = run_benchmark(experiments, places, engine, progress=progress, poll=0)
    assert phases(states) == ["done", "done"]
    assert engine.started == [experiments[1].name]


def test_what_another_benchmark_gave_up_is_taken_over(box_plan, places):
    (experiment,) = box_plan()
    engine = Inline(outcomes={experiment.name: ["elsewhere", "elsewhere", "done"]})
    assert phases(run_benchmark([experiment], places, engine, poll=0)) == ["done"]
    assert len(engine.started) == 3


def test_what_is_elsewhere_is_looked_at_again_after_a_while_only(box_plan, places, monkeypatch):
    (experiment,) = box_plan()
    now = [0.0]
    monkeypatch.setattr(runner, "RETRY_SECONDS", 5.0)
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(runner.time, "sleep", lambda _: now.__setitem__(0, now[0] + 1))
    started = []

    class Timed(Inline):
        def start(self, experiment, places):
            started.append(now[0])
            super().start(experiment, places)

    run_benchmark([experiment], places, Timed(outcomes={experiment.name: ["elsewhere", "done"]}), poll=0)
    assert started == [0, 5]


def test_a_result_of_other_settings_is_a_failure_of_its_own(box_plan, places):
    first, second = box_plan(seeds=(0, 1))
    keep(first, places)
    result = places.result(first)
    result.write_text(result.read_text().replace('"lr":0.001', '"lr":0.5'))
    states = run_benchmark([first, second], places, Inline(), poll=0)
    assert phases(states) == ["failed", "done"]
    assert "a result of other settings, move it away to run anew: lr: was 0.5, now 0.001" in states[0].error


def test_a_broken_result_is_left_to_the_process_that_runs_it_anew(box_plan, places):
    (experiment,) = box_plan()
    places.results.mkdir()
    places.result(experiment).write_text("{")
    engine = Inline()
    assert phases(run_benchmark([experiment], places, engine, poll=0)) == ["done"]
    assert engine.started == [experiment.name]


def test_what_was_moved_aside_is_told(box_plan, places):
    (experiment,) = box_plan()
    Status(places.status(experiment)).note("moved aside")
    (state,) = run_benchmark([experiment], places, Inline(), poll=0)
    assert state.notes == ["moved aside"]


def test_progress_is_told_with_the_status_of_what_runs(box_plan, places):
    experiments = box_plan(seeds=(0, 1))
    seen = []

    class Slow(Inline):
        looks = 0

        def ended(self, timeout):
            self.looks += 1
            if self.looks == 1:
                Status(places.status(experiments[0])).phase("training", done=2, total=9)
                return []
            return super().ended(timeout)

    engine = Slow()
    run_benchmark(
        experiments,
        places,
        engine,
        poll=0,
        progress=lambda s: seen.append([(o.phase, o.status.get("done")) for o in s]),
    )
    assert seen[0] == [("running", None), ("waiting", None)]
    assert seen[1] == [("running", 2), ("waiting", None)]
    assert [phase for phase, _ in seen[-1]] == ["done", "done"]


def test_an_interrupt_stops_the_engine(box_plan, places):
    (experiment,) = box_plan()
    engine = Inline(outcomes={experiment.name: KeyboardInterrupt()})
    told = []
    with pytest.raises(KeyboardInterrupt):
        run_benchmark([experiment], places, engine, poll=0, stopping=lambda: told.append(engine.stopped))
    assert (told, engine.stopped) == ([False], True)


def test_the_last_lines_of_a_long_file(tmp_path):
    (tmp_path / "log").write_bytes(b"x" * 100_000 + b"\nlast \xff line\n")
    assert last_lines(tmp_path / "log")[-1] == "last � line"
    assert last_lines(tmp_path / "none") == []


def test_a_state_is_over_when_nothing_is_left_to_do(box_plan):
    (experiment,) = box_plan()
    over = {
        phase: State(experiment, phase).over for phase in ("waiting", "running", "elsewhere", "kept", "done", "failed")
    }
    assert [phase for phase in over if over[phase]] == ["kept", "done", "failed"]
