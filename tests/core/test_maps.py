import torch

from pcsargmax.core.bases import take_sites


def test_take_sites():
    values = torch.arange(12.0).reshape(2, 3, 2)
    assert take_sites(values, torch.tensor([[2], [0]])).tolist() == [[[4.0, 5.0]], [[6.0, 7.0]]]
