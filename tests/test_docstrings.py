"""Every public function and class has an example in its docstring that runs as it stands and prints what it says."""

import doctest
import inspect
from importlib import import_module
from types import ModuleType

import pytest

MODULES = (
    "pcsargmax",
    "pcsargmax.annotate",
    "pcsargmax.datasets",
    "pcsargmax.datasets.images",
    "pcsargmax.io",
    "pcsargmax.metrics",
    "pcsargmax.visualize",
    "pcsargmax.visualize.figures",
    "pcsargmax.visualize.images",
    "pcsargmax.visualize.report",
)
#: Type aliases and constants, which have no docstring.
VALUES = {
    "ABSENT",
    "COCO_SIGMAS",
    "SHAPES",
    "AnyRun",
    "Basis",
    "Distance",
    "Drawable",
    "Relaxation",
    "Schedule",
    "Sites",
}

PUBLIC = [(module, name) for module in MODULES for name in import_module(module).__all__]


def has_docstring(value: object) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)


@pytest.mark.parametrize(("module", "name"), [one for one in PUBLIC if one[1] not in VALUES])
def test_examples_run(module, name, tmp_path, monkeypatch):
    """Each starts from an empty namespace, so that it brings its imports, in an empty folder."""
    value = getattr(import_module(module), name)
    where = value if isinstance(value, ModuleType) else import_module(value.__module__)
    own, *of_methods = doctest.DocTestFinder(exclude_empty=False).find(value, name, module=where, globs={})
    assert own.examples, f"{module}.{name}: no example (>>>) in its docstring"
    monkeypatch.chdir(tmp_path)
    for found in (own, *of_methods):
        report: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=report.append)
        assert not report, "".join(report)


def test_only_values_need_no_example():
    values = {name for module, name in PUBLIC if not has_docstring(getattr(import_module(module), name))}
    assert values == VALUES
