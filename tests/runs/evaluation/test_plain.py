import torch

from pcsargmax.metrics import SurfaceError
from pcsargmax.runs.evaluation.plain import computed, diagonal, rounded


def test_six_digits_and_none_are_kept():
    assert rounded(torch.tensor([1 / 3, torch.nan, torch.inf, 1234567.0, 0.0]).double()) == [
        0.333333,
        None,
        None,
        1234570.0,
        0.0,
    ]
    assert rounded(torch.tensor([1 / 3]).double(), 4) == [0.3333]


def test_the_diagonal_is_none_to_divide_by_zero():
    assert diagonal(torch.tensor([[0.0, 0, 0], [3, 4, 0], [1, 1, 0]])) == 5
    assert diagonal(torch.ones(7, 3)) == 1.0


def test_what_is_listed_per_keypoint_stays_a_list_for_a_single_one():
    metric = SurfaceError(num_bootstrap=0)
    metric.update(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
    assert computed(metric)["mad_per_surface"] == [1.0]
    assert computed(metric)["mad"] == 1.0
