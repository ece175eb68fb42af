import dataclasses
import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.runs.evaluation.detector import Evaluation, Protocol
from pcsargmax.runs.evaluation.estimates import ESTIMATES


def shapes():
    """Two bars, 10 and 30 mm long, with a keypoint at either end that is found off by 1, 2, 3 and 6 mm."""
    from pcsargmax.predictions.cloud import Prediction

    for length, off in ((10.0, (1.0, 2.0)), (30.0, (3.0, 6.0))):
        points = torch.tensor([[0.0, 0, 0], [length, 0, 0]])
        item = Data(pos=points, keypoint_pos=points[None].double(), keypoint_visible=torch.ones(1, 2, dtype=torch.bool))
        item.model_id = f"{length:g}"
        found = Prediction(
            name=item.model_id,
            points=points,
            keypoint_names=("a", "b"),
            position=points.numpy() + np.array([[0, off[0], 0], [0, off[1], 0]]),
            confidence=[0.5, 0.5],
            covariance=np.zeros((2, 3, 3)),
            visibility=[1, 1],
            point_index=[0, 1],
            probability=np.eye(2),
            radius=[0.5, 1.5],
            radius_coverage=0.8,
        )
        yield item, found, length


def evaluated(unit: str | None, **protocol) -> dict:
    items, found, diagonals = zip(*shapes(), strict=True)
    fitted = Calibration("threshold_mass", 0.02, (0.0,), (0.5,), "scaled", 0.8, 1.0, 9)
    evaluation = Evaluation(Protocol(**protocol), Template.fit(items), fitted, None, length_unit=unit)
    for one in zip(items, found, diagonals, strict=True):
        evaluation.update(*one)
    return evaluation.compute()


def test_errors_and_radius_are_told_in_the_unit_of_the_files():
    values = evaluated("mm")
    lengths = values["lengths"]
    assert lengths["unit"] == "mm"
    assert lengths.keys() == {"unit", "radius", "diagonal", *ESTIMATES}
    assert lengths["expectation"].keys() == {"mean_error", "mean_error/low", "mean_error/high", "median_error"}
    assert lengths["expectation"]["mean_error"] == pytest.approx(3)  # of 1, 2, 3 and 6 mm
    assert lengths["expectation"]["median_error"] == pytest.approx(2.5)
    assert lengths["expectation"]["mean_error/low"] <= 3 <= lengths["expectation"]["mean_error/high"]
    assert lengths["snapped"]["mean_error"] == lengths["template"]["median_error"] == 0
    assert lengths["radius"] == pytest.approx(1)
    assert values["expectation"]["mean_error"] == pytest.approx((0.1 + 0.2 + 0.1 + 0.2) / 4)  # shares of the diagonal
    again = np.array(values["shapes"]["errors"]["expectation"]) * np.array([lengths["diagonal"]]).T
    np.testing.assert_allclose(again, [[1, 2], [3, 6]], rtol=1e-5)
    json.dumps(values, allow_nan=False)


def test_lengths_count_by_the_protocol():
    items, found, _ = zip(*shapes(), strict=True)
    items[0].keypoint_visible[0, 0] = False
    evaluation = Evaluation(Protocol(average="model"), Template.fit(items), None, None, length_unit="mm")
    for item, one in zip(items, found, strict=True):
        evaluation.update(item, dataclasses.replace(one, radius=None, radius_coverage=None), 1.0)
    lengths = evaluation.compute()["lengths"]
    assert lengths["expectation"]["mean_error"] == pytest.approx((2 + 4.5) / 2)
    assert lengths["radius"] is None


def test_nothing_else_changes_where_a_unit_is_known():
    known, unknown = evaluated("mm"), evaluated(None)
    assert "lengths" not in unknown
    del known["lengths"]
    assert json.dumps(known) == json.dumps(unknown)
