import shutil

import pytest

from pcsargmax.benchmark.experiments import plan
from pcsargmax.benchmark.sources import Source
from pcsargmax.benchmark.worker import Places, run_experiment

QUICK = {"epochs": 3, "backbone": "light", "batch_size": 4, "device": "cpu"}


@pytest.fixture
def box_plan(box_root):
    """Plan experiments on `box_root` that take a second or two; keyword arguments change them."""

    def make(*methods: str, seeds=(0,), kind="detector", data="box", root=None, **changes):
        quick = QUICK | ({"keypoints": 4, "train_split": "train"} if kind == "discovery" else {}) | changes
        source = Source("box", data, str(root or box_root))
        return plan([source], methods or ("soft",), seeds, kind=kind, changes=quick)

    return make


@pytest.fixture
def places(tmp_path):
    """Folders of results and runs."""
    return Places(tmp_path / "results", tmp_path / "runs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Bring places to where an undisturbed experiment leaves them; each experiment runs only once in a module."""
    made = {}

    def bring(experiment, places: Places) -> None:
        if experiment.name not in made:
            folder = tmp_path_factory.mktemp("finished")
            made[experiment.name] = Places(folder / "results", folder / "runs")
            assert run_experiment(experiment, made[experiment.name]) == "done"
        for name in ("results", "runs"):
            shutil.copytree(getattr(made[experiment.name], name), getattr(places, name), dirs_exist_ok=True)

    return bring
