from dataclasses import replace

import numpy as np
import pytest
import torch

from pcsargmax.models.template import Template
from pcsargmax.predictions.calibration import Calibration
from pcsargmax.predictions.cloud import Prediction
from pcsargmax.runs.evaluation.estimates import ESTIMATES, ConfidenceScorer, Scorer, estimates
from pcsargmax.runs.evaluation.plain import diagonal


def test_estimates_by_hand():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    found = Prediction(
        name="square",
        points=points,
        keypoint_names=("a",),
        position=[[0.6, 0.1, 0]],
        confidence=[1],
        covariance=np.zeros((1, 3, 3)),
        visibility=[1],
        point_index=[1],
        probability=[[0.1, 0.2, 0.3, 0.4]],
    )
    template = Template(torch.tensor([[0.2, 0.9, 0.5]], dtype=torch.float64), torch.tensor([3]))
    made = {name: guess[0].tolist() for name, guess in estimates(found, template).items()}
    assert made == {
        "expectation": [0.6, 0.1, 0.0],
        "snapped": [1.0, 0.0, 0.0],
        "mode": [1.0, 1.0, 0.0],
        "template": [0.2, 0.9, 0.0],
        "template_snapped": [0.0, 1.0, 0.0],
    }
    assert made.keys() == ESTIMATES.keys()


def test_what_cannot_be_measured_is_none():
    scorer = Scorer((0.1,), 0.1, seed=0)
    seen = torch.tensor([[True, False]])
    scorer.update(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.01), seen, seen)
    values = scorer.compute()
    assert values["pck@0.1"] == 1.0
    assert values["pck_per_keypoint"] == [[1.0, None]]
    assert values["mean_error/low"] is None  # one model has no spread


@pytest.fixture
def fitted() -> Calibration:
    return Calibration(
        measure="threshold_mass",
        threshold=0.1,
        knots=(0.0,),
        probabilities=(0.5,),
        form="scaled",
        coverage=0.8,
        quantile=1.0,
        num_keypoints=9,
    )


@pytest.fixture
def found() -> Prediction:
    """Four keypoints on a cloud of diagonal 5, the last without a truth; errors 0.4, 0.6 and 2."""
    position = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    return Prediction(
        name="found",
        points=np.array([[0.0, 0, 0], [3, 4, 0]]),
        keypoint_names=tuple("abcd"),
        position=position,
        confidence=[0.75, 0.25, 0.5, 1.0],
        covariance=np.zeros((4, 3, 3)),
        visibility=np.ones(4),
        point_index=np.zeros(4),
        probability=np.full((4, 2), 0.5),
        truth=position + np.array([[0, 0.4, 0], [0, 0.6, 0], [0, 2, 0], [np.nan] * 3]),
        radius=[0.4, 0.5, 3.0, 1.0],
        radius_coverage=0.8,
    )


def add(scorer: ConfidenceScorer, found: Prediction, length: float = 1.0) -> None:
    scorer.update(found, torch.from_numpy(found.error), length, diagonal(torch.from_numpy(found.points)))


def test_confidence_is_scored_by_hand(found, fitted):
    scorer = ConfidenceScorer(fitted, symmetry="reflection")
    add(scorer, found, length=10.0)
    values = scorer.compute()
    kept = values["calibration"]
    assert kept["pearson"] == pytest.approx(np.corrcoef([0.75, 0.25, 0.5], [1, 0, 0])[0, 1])
    # ranks 3 1 2 of confidence and 3 2 1 of accuracy: 1 − 6 · (0 + 1 + 1) / (3 · 8)
    assert kept["spearman"] == pytest.approx(0.5)
    assert kept["share_correct"] == pytest.approx(1 / 3)
    assert kept["mean_confidence"] == pytest.approx(0.5)
    assert values["confidence"] == {
        "symmetry": "reflection",
        "calibrated": True,
        "measure": "threshold_mass",
        "threshold": 0.1,  # of the diagonal, so 0.5 here
    }
    assert {block["symmetry"] for block in values.values()} == {"reflection"}
    # an error of 0.4 is within 0.4, but for the last digit of one of them
    assert values["radius"]["coverage"] == pytest.approx(2 / 3)
    assert values["radius"] | {"coverage": 0} == {
        "symmetry": "reflection",
        "nominal": 0.8,
        "coverage": 0,
        "mean": pytest.approx(0.13),
        "form": "scaled",
    }


def test_confidence_that_cannot_be_scored_is_none(found, fitted):
    bare = replace(found, radius=None, radius_coverage=None)
    raw, none, same = (ConfidenceScorer(fit) for fit in (None, fitted, replace(fitted, quantile=None)))
    add(raw, bare)
    assert raw.compute()["radius"] is None
    assert raw.compute()["confidence"]["measure"] is None
    assert raw.compute()["confidence"]["threshold"] == 0.02
    assert raw.compute()["calibration"]["pearson"] is None  # no error is that small
    add(none, replace(found, truth=np.full((4, 3), np.nan)))
    assert none.compute()["radius"]["coverage"] is None
    add(same, replace(bare, confidence=np.ones(4)))
    assert same.compute()["radius"] is None
    assert same.compute()["calibration"]["pearson"] is None
    assert same.compute()["calibration"]["spearman"] is None
    assert none.compute()["calibration"] is None
    assert none.compute()["sparsification"] is None


def test_calibration_and_sparsification_are_scored_by_hand(found, fitted):
    scorer = ConfidenceScorer(fitted)
    add(scorer, found, length=10.0)
    add(scorer, found, length=10.0)
    values = scorer.compute()
    kept, sparse = values["calibration"], values["sparsification"]
    # confidence .75 .25 .5, of which the first is right: each in a bin of its own
    assert kept["ece"] == pytest.approx((0.25 + 0.25 + 0.5) / 3)
    assert kept["brier"] == pytest.approx((0.25**2 + 0.25**2 + 0.5**2) / 3)
    assert kept["threshold"] == 0.1
    assert kept["ece/low"] == pytest.approx(kept["ece/high"])  # the same cloud twice
    assert sparse["error"][-1] == pytest.approx(0.1)  # 0.04, 0.06 and 0.2 in units of 10
    assert sparse["error"][9] == pytest.approx((2 * 0.04 + 0.2) / 3)  # 3 of 6 kept
    assert sparse["oracle"][9] == pytest.approx((2 * 0.04 + 0.06) / 3)
