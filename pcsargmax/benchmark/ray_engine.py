"""Experiments on a cluster, or on this machine, through Ray (the extra `ray`)."""

from __future__ import annotations

from typing import Any

from pcsargmax.benchmark.engine import Ended, Work, check_jobs, write_to
from pcsargmax.benchmark.experiments import Experiment
from pcsargmax.benchmark.worker import Places, run_experiment


class RayEngine:
    """Runs each experiment as a Ray task, in a fresh process wherever the cluster has room.

    The cluster is the one that this process is connected to, else that of `RAY_ADDRESS` or of `ray start` on this
    machine, else one that is begun on this machine for the while. All its nodes must have the package and see the
    folders of data, runs and results under the same paths, on a file system whose locks hold between nodes.

    Args:
        jobs: how many at once.
        threads: CPUs of each; 0 for its share of the cluster's, at most those of its largest node.
        work: what a task does; must be importable by its name.

    Raises:
        ValueError: Ray is not installed, or a number that does not fit.
    """

    def __init__(self, jobs: int = 1, threads: int = 0, work: Work = run_experiment) -> None:
        check_jobs(jobs, threads)
        try:
            import ray
        except ModuleNotFoundError:
            raise ValueError("ray is not installed: pip install 'pcsargmax[ray]'") from None
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(include_dashboard=False, log_to_driver=False)
        resources = ray.cluster_resources()
        largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        self.jobs, self._work = jobs, work
        self.threads = threads or max(1, min(int(resources.get("CPU", 1)) // jobs, int(largest)))
        self._gpus = min(1.0, resources.get("GPU", 0.0) / jobs)
        self._running: dict[Any, Experiment] = {}

    def start(self, experiment: Experiment, places: Places) -> None:
        """Begin an experiment."""
        gpus = 0.0 if experiment.settings.device == "cpu" else self._gpus
        # One call a process: what a task does to its process, such as where it prints, ends with it.
        task = self._ray.remote(num_cpus=self.threads, num_gpus=gpus, max_calls=1, max_retries=0)(_main)
        absolute = Places(places.results.absolute(), places.runs.absolute())
        self._running[task.remote(self._work, experiment, absolute, self.threads)] = experiment

    def ended(self, timeout: float) -> list[Ended]:
        """Wait until an experiment ends, or for `timeout` seconds; those that have ended."""
        if not self._running:
            return []
        over, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        return [self._result(reference, self._running.pop(reference)) for reference in over]

    def _result(self, reference: Any, experiment: Experiment) -> Ended:
        try:
            return Ended(experiment, self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return Ended(experiment, "failed", lines[-1] if lines else type(error).__name__)

    def stop(self) -> None:
        """End all tasks, and the cluster if it was begun here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running = {}
        if self._own:
            self._ray.shutdown()


def _main(work: Work, experiment: Experiment, places: Places, threads: int) -> str:
    """What the process of an experiment does."""
    write_to(places.log(experiment))
    try:
        return work(experiment, places, threads)
    except BaseException:
        import traceback

        traceback.print_exc()  # to the log
        raise
