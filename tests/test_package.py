import importlib.metadata
import json
import subprocess
import sys

import pytest

import pcsargmax

HEAVY = ("torch", "open3d", "lightning", "plotly", "matplotlib", "trimesh", "scipy", "torch_geometric", "torchmetrics")


def loaded_by(code: str) -> list[str]:
    """The heavy modules that a fresh Python has loaded after some code."""
    code += f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def test_importing_the_package_is_light():
    assert loaded_by("import pcsargmax, pcsargmax.datasets, pcsargmax.visualize") == []


def test_help_is_light():
    code = "from pcsargmax.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(code) == []


def test_opening_a_run_costs_nothing_until_there_is_one():
    assert loaded_by("from pcsargmax import load_run") == []


@pytest.mark.parametrize(
    "arguments",
    [
        "train no/such",
        "train --root no/such mug",
        "train-image no/such",
        "train-image coco --root no/such",
        "discover no/such",
        "benchmark no/such",
        "benchmark mug --root no/such",
        "evaluate no/such",
        "predict no/such scan.ply",
        "view no/such",
        "report no/such",
        "robustness no/such",
        "annotate no/such --names tip",
        "tables no/such",
        "data check no/such",
    ],
)
def test_wrong_data_and_runs_are_refused_before_anything_slow_is_imported(arguments):
    code = f"from pcsargmax.cli import app\ntry:\n    app({arguments.split()!r})\n"
    code += "except SystemExit as end:\n    assert end.code == 2"
    assert loaded_by(code) == []


def test_every_name_of_the_table_of_contents_is_there():
    assert len(pcsargmax.__all__) > 20
    for name in pcsargmax.__all__:
        assert getattr(pcsargmax, name) is not None
    assert set(pcsargmax.__all__) <= set(dir(pcsargmax))
    with pytest.raises(AttributeError):
        pcsargmax.no_such_name  # noqa: B018


def test_the_version_is_that_of_the_installation():
    assert pcsargmax.__version__ == importlib.metadata.version("pcsargmax")


def test_the_version_of_a_source_tree_that_is_not_installed_is_unknown(monkeypatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert pcsargmax.__version__ == "0+unknown"


def test_generic_names_are_in_their_modules_alone():
    from pcsargmax.core.distances import distance
    from pcsargmax.ops.skeleton import decode

    assert callable(distance)
    assert callable(decode)
    assert not {"decode", "distance"} & set(dir(pcsargmax))
