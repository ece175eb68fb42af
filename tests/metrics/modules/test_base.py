import inspect
import subprocess
import sys

import pytest
import torch

from pcsargmax import metrics
from pcsargmax.metrics.modules.base import BootstrapMetric
from pcsargmax.predictions.calibration_samples import CalibrationSamples

TRUTH = {
    "images": [{"id": 1, "width": 9, "height": 9, "file_name": "1.png"}],
    "annotations": [],
    "categories": [{"id": 1, "name": "one", "keypoints": ["tip"]}],
}
REQUIRED = {"CocoKeypointAP": {"ground_truth": TRUTH, "sigmas": (0.1,)}, "ConfidenceCalibration": {"threshold": 0.1}}
CLASSES = [value for name in metrics.__all__ if inspect.isclass(value := getattr(metrics, name))]
METRICS = [value for value in CLASSES if issubclass(value, BootstrapMetric)]


class Means(BootstrapMetric):
    """The least that a metric needs."""

    size_names = ("columns",)

    def update(self, values):
        """Add rows."""
        self._append(values, values.shape[1], name="values")

    def compute(self):
        """Mean of each column."""
        rows = self._rows(*self._known_sizes())
        return self._results(self._means([f"mean_{i}" for i in range(rows.shape[1])], rows), num_items=len(rows))


def test_all_metrics_share_the_base():
    assert len(METRICS) == 15
    assert [metric.__bases__ for metric in METRICS] == [(BootstrapMetric,)] * 15


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_constructors_have_one_order_and_take_the_arguments_of_torchmetrics(metric):
    arguments = REQUIRED.get(metric.__name__, {})
    made = metric(**arguments, num_bootstrap=7, seed=3, compute_on_cpu=True, sync_on_compute=False)
    assert (made.compute_on_cpu, made.sync_on_compute, made.num_bootstrap, made.seed) == (True, False, 7, 3)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `treshold`"):
        metric(**arguments, treshold=1)
    with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -1"):
        metric(**arguments, num_bootstrap=-1)
    names = {kind: [] for kind in inspect._ParameterKind}
    for parameter in inspect.signature(metric).parameters.values():
        names[parameter.kind].append(parameter.name)
    assert names[inspect.Parameter.POSITIONAL_OR_KEYWORD] in ([], ["thresholds"], ["threshold"], ["ground_truth"])
    assert names[inspect.Parameter.KEYWORD_ONLY][-2:] == ["num_bootstrap", "seed"]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_updates_have_one_order(metric):
    names = [*inspect.signature(metric.update).parameters][1:]
    order = ["preds", "target", "cloud", "visible", "mask", "present", "length", "area", "confidence", "scores"]
    known = [name for name in names if name in order]
    assert names[0] in ("preds", "confidence", "scores")
    assert known == sorted(known, key=order.index)


def test_samples_of_the_calibration_take_the_arguments_of_torchmetrics():
    assert CalibrationSamples(dist_sync_on_step=True).dist_sync_on_step


def test_means_by_hand():
    metric = Means(num_bootstrap=50, compute_on_cpu=True).set_dtype(torch.float64)
    metric.update(torch.tensor([[1.0, torch.nan]]))
    alone = metric.compute()
    assert alone["mean_0/low"].isnan()
    metric.update(torch.tensor([[2.0, 4.0], [6.0, 8.0]]))
    result = metric.compute()
    assert [*result] == ["mean_0", "mean_1", "mean_0/low", "mean_0/high", "mean_1/low", "mean_1/high", "num_items"]
    assert (result["mean_0"], result["num_items"]) == (3, 3)
    assert 1 <= result["mean_0/low"] < 3 < result["mean_0/high"] <= 6
    assert result["mean_1/low"].isnan()
    with pytest.raises(ValueError, match="values must have 2 columns as before, got 3"):
        metric.update(torch.zeros(1, 3))
    metric.reset()
    metric.update(torch.zeros(1, 3))  # the sizes are those of the updates since
    assert metric.compute()["num_items"] == 1


def test_a_function_alone_does_not_import_torchmetrics():
    script = """
import sys
from pcsargmax.metrics import COCO_SIGMAS, das_from_labels, keypoint_errors, oks, repeatability
import pcsargmax.metrics.correspondence
import pcsargmax.metrics.geodesic
import pcsargmax.metrics.statistics
import pcsargmax.metrics.symmetry
assert callable(repeatability) and callable(oks)
print([name for name in ("torchmetrics", "transformers", "matplotlib") if name in sys.modules])
from pcsargmax.metrics import PCK
print("torchmetrics" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == ["[]", "True"]
