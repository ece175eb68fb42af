import pytest
import torch

from pcsargmax.runs.evaluation.repeatability import RepeatabilityScorer


def test_a_detector_that_follows_every_change_repeats_itself():
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(200, 3, dtype=torch.float64, generator=generator) * 30 + 1e4
    ends = RepeatabilityScorer(lambda points: points[[0, 1]])
    ends.update(pos, pos[[0, 1]])
    found = ends.compute()
    assert found["rotation"]["movement"] == pytest.approx(0, abs=1e-6)  # the points keep their order
    assert found["noise"]["movement"] == pytest.approx(0.016, abs=0.012)
    middle = RepeatabilityScorer(lambda points: points.mean(dim=0, keepdim=True) + torch.zeros(2, 1))
    middle.update(pos, pos.mean(dim=0, keepdim=True) + torch.zeros(2, 1))
    assert middle.compute()["density"]["repeatability@0.1"] == 1
    assert middle.compute()["view"]["movement"] > 0
