"""Stand-ins for `run_experiment`, in a file that the processes of an engine can import."""

import json
import os
import time


def noted(experiment, places, threads):
    """Leave a result of what this process is like; note when it began and ended."""
    began = time.monotonic()
    time.sleep(0.3)
    told = {"threads": threads, "pid": os.getpid(), "began": began, "ended": time.monotonic()}
    told["omp"] = os.environ.get("OMP_NUM_THREADS")
    places.results.mkdir(parents=True, exist_ok=True)
    (places.results / f"{experiment.seed}.json").write_text(json.dumps(told))
    print("worked")
    return "done"


def by_seed(experiment, places, threads):
    """Do well with seed 0, raise with seed 1, be killed with seed 2, find seed 3 taken, exit with seed 4."""
    if experiment.seed == 1:
        raise ValueError("seed 1 does not fit")
    if experiment.seed == 2:
        os.kill(os.getpid(), 9)
    if experiment.seed == 4:
        os._exit(7)
    return "elsewhere" if experiment.seed == 3 else "done"


def endless(experiment, places, threads):
    """Say that it has begun, and never end."""
    print("begun", os.getpid(), flush=True)
    while True:
        time.sleep(0.05)


def deaf(experiment, places, threads):
    """The same, and not to be terminated."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return endless(experiment, places, threads)
