import numpy as np
import torch

from pcsargmax.prediction import Prediction
from pcsargmax.template import Template
from pcsargmax.training.estimates import ESTIMATES, Scorer, estimates, nearest_point


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


def test_the_nearest_point_is_exact_far_from_the_origin():
    points = torch.tensor([[0.0, 0, 0], [0.001, 0, 0]], dtype=torch.float64) + 1e6
    assert nearest_point(points.flip(0), points).tolist() == [1, 0]


def test_what_cannot_be_measured_is_none():
    scorer = Scorer((0.1,), 0.1, seed=0)
    seen = torch.tensor([[True, False]])
    scorer.update(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.01), seen, seen)
    values = scorer.compute()
    assert values["pck@0.1"] == 1.0
    assert values["pck_per_keypoint"] == [[1.0, None]]
    assert values["mean_error/low"] is None  # one model has no spread
